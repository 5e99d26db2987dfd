// SPDX-License-Identifier: Apache-2.0
#include "mserve/kdb/admit.hpp"

#include <utility>

#include "mserve/kdb/codec.hpp"
#include "mserve/kdb/print.hpp"

namespace mserve::kdb {

namespace {

/// How much of what was not found is repeated to the client: enough to recognise it, too little to
/// flood a log.
constexpr std::size_t kUnknownTextBytesMax = 64;

Value unknown_command(const Value& what) {
  return Value::error("unknown command: " + text(what, kUnknownTextBytesMax));
}

/// For a query that does not start with a function's name: shows what stands in its place.
Value unknown_head(std::span<const std::byte> query) {
  const Result<Value> value = decode(query);
  if (!value) {
    return Value::error("badmsg");
  }
  const bool has_head =
      (value->is_list() || value->is_vector()) && !value->is_string() && value->count() > 0;
  return unknown_command(has_head ? value->at(0) : *value);
}

Value refusal(const CallError& why, std::span<const std::byte> query, const IsListed& listed) {
  if (!why.name.empty() && !listed(why.name)) {
    return unknown_command(Value::symbol(why.name));
  }
  switch (why.error.code) {
    case Errc::nested_evaluation:
    case Errc::not_literal:
      return Value::error("nested evaluation");
    case Errc::not_a_call:
      return unknown_head(query);
    case Errc::unparsable:
      return Value::error("parse");
    case Errc::text_too_long:
    case Errc::too_deep:
    case Errc::too_large:
      return Value::error("limit");
    default:
      return Value::error("badmsg");
  }
}

}  // namespace

Result<Call, Value> admit(std::span<const std::byte> query, const IsListed& listed) {
  Result<Call, CallError> parsed = call_of(query);
  if (!parsed) {
    return refusal(parsed.error(), query, listed);
  }
  if (!listed(parsed->name)) {
    return unknown_command(Value::symbol(parsed->name));
  }
  return std::move(parsed).value();
}

}  // namespace mserve::kdb
