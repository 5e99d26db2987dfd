// SPDX-License-Identifier: Apache-2.0
#include "mserve/servant/servant.hpp"

int main() {
  mserve::Servant servant({.name = "adder"});
  if (!servant.add("seven", [](auto) { return mserve::kdb::Value::long_atom(7); })) {
    return 1;
  }
  servant.stop();  // Nobody serves here, so run() is asked to end before it begins.
  return servant.run().code == mserve::Errc::ok ? 0 : 1;
}
