// SPDX-License-Identifier: Apache-2.0
#include "mserve/kdb/codec.hpp"
#include "mserve/kdb/json.hpp"
#include "mserve/kdb/value.hpp"

int main() {
  const auto seven = mserve::kdb::Value::long_atom(7);
  const auto back = mserve::kdb::decode(mserve::kdb::encode(seven));
  return back.ok() && mserve::kdb::to_json(back.value()) == "7" ? 0 : 1;
}
