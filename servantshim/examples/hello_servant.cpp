// SPDX-License-Identifier: Apache-2.0
// A servant with one function. With a broker running (`mserve-broker`), start it, then:
// mserve-client 'hello `world'
#include <cstdio>
#include <string>

#include "mserve/servant/servant.hpp"

int main() {
  using mserve::kdb::Value;
  mserve::Servant servant({.name = "hello"});
  const bool listed = servant.add("hello", [](std::span<const Value> arguments) {
    if (arguments.size() != 1) {
      return Value::error("rank");
    }
    const auto whom = arguments[0].text_view();  // a symbol, a char or a string
    return whom ? Value::chars("hello " + std::string(*whom)) : Value::error("type");
  });
  servant.set_events([](mserve::servant::Event, std::string_view text) {
    std::fprintf(stderr, "hello_servant: %.*s\n", static_cast<int>(text.size()), text.data());
  });
  return listed && servant.run().code == mserve::Errc::ok ? 0 : 1;
}
