// SPDX-License-Identifier: Apache-2.0
// Any text as a literal and as a call: what is accepted can be encoded, is valid, and reads back
// from its own text.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "mserve/kdb/codec.hpp"
#include "mserve/kdb/parse.hpp"
#include "mserve/kdb/print.hpp"
#include "mserve/kdb/route.hpp"
#include "mserve/kdb/skip.hpp"

namespace {

using namespace mserve::kdb;

void require(bool good) {
  if (!good) {
    std::abort();
  }
}

void fuzz_value(std::string_view line) {
  const Result<Value> value = parse_value(line);
  if (!value) {
    require(value.error().offset <= line.size());
    return;
  }
  require(validate(encode(*value)).ok());
  // A text may be deeper nested than the limit once one-item lists are written as `,x`.
  const Result<Value> back = parse_value(text(*value));
  require(back.ok() || back.error().code == Errc::too_deep);
}

void fuzz_call(std::string_view line) {
  const Result<Call, CallError> call = parse_call(line);
  if (!call) {
    require(call.error().error.offset <= line.size());
    return;
  }
  require(is_name(call->name));
  const auto object = encode_call(call->name, call->arguments);
  require(validate(object).ok());
  const Result<Call, CallError> again = call_of(object);
  require(again.ok() && again->name == call->name && again->arguments == call->arguments);
  for (const char* const text : {"arg:1", "fn", "fn+arg:2", "const"}) {
    const RouteRule rule = *parse_rule(text);
    require(route_of(object, rule) == route_of(call->name, call->arguments, rule));
    require(route_of(encode(Value::chars(std::string(line))), rule) == route_of(object, rule));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view line(reinterpret_cast<const char*>(data), size);
  fuzz_value(line);
  fuzz_call(line);
  return 0;
}
