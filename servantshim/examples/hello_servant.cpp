// SPDX-License-Identifier: Apache-2.0
// A servant of that broker, with one function. Comes back when the broker does.
#include <iostream>

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
  servant.set_events([](mserve::servant::Event event, std::string_view text) {
    std::cerr << "hello: " << to_string(event) << ": " << text << '\n';
  });
  return listed && servant.run().code == mserve::Errc::ok ? 0 : 1;
}
