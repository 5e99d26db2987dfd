// SPDX-License-Identifier: Apache-2.0
#include "mserve/kdb/parse.hpp"

#include <algorithm>

#include "mserve/kdb/codec.hpp"
#include "parser.hpp"

namespace mserve::kdb {

namespace {

using detail::Parser;

constexpr std::size_t kNameShownMax = 64;

std::size_t depth_of(const ParseLimits& limits) noexcept {
  return std::min(limits.depth_max, kDepthMax);
}

CallError refusal(Error error, std::string_view name) {
  return {error, std::string(name.substr(0, kNameShownMax))};
}

/// What a parser's complaint means for a call: behind a known name, anything but a literal is a
/// nested evaluation.
CallError refusal_of(const Parser& parser, std::string_view name) {
  Error error = parser.error();
  if (error.code == Errc::not_literal) {
    error.code = name.empty() ? Errc::not_a_call : Errc::nested_evaluation;
  }
  return refusal(error, name);
}

/// Arguments up to `close`, which ends the text.
bool arguments_until(Parser& parser, char close, std::vector<Value>& arguments) {
  do {
    const char next = parser.peek();
    if (next == ';' || next == close) {  // left out: a projection
      return parser.fail(Errc::not_literal, parser.position());
    }
    if (!parser.expression(arguments.emplace_back())) {
      return false;
    }
  } while (parser.take(';'));
  if (!parser.take(close)) {
    return parser.fail(Errc::unparsable, parser.position());
  }
  return parser.at_end() || parser.fail_here();
}

/// name[...] behind the bracket; name[] has the one argument `::`.
bool bracket_arguments(Parser& parser, std::vector<Value>& arguments) {
  if (parser.take(']')) {
    arguments.emplace_back();
    return parser.at_end() || parser.fail_here();
  }
  return arguments_until(parser, ']', arguments);
}

/// @param name_end  where the name ends: a minus right there subtracts, with a blank between them
/// it starts a number.
bool juxtaposed_argument(Parser& parser, std::size_t name_end, std::vector<Value>& arguments) {
  if (parser.peek() == '-' && parser.position() == name_end) {
    return parser.fail_here();
  }
  return parser.expression(arguments.emplace_back()) && (parser.at_end() || parser.fail_here());
}

/// The list form, behind its parenthesis.
Result<Call, CallError> list_call(Parser& parser) {
  Value head;
  if (!parser.expression(head)) {
    return refusal_of(parser, "");
  }
  const std::string_view name =
      head.type_code() == -11 || head.is_string() || head.type_code() == -10 ? *head.text_view()
                                                                             : std::string_view();
  if (!is_name(name)) {
    return refusal({Errc::not_a_call, 0}, name);
  }
  Call call{std::string(name), {}};
  if (parser.take(';')) {
    if (!arguments_until(parser, ')', call.arguments)) {
      return refusal_of(parser, name);
    }
  } else if (!parser.take(')')) {
    return refusal({Errc::unparsable, parser.position()}, name);
  } else if (!parser.at_end()) {
    static_cast<void>(parser.fail_here());
    return refusal_of(parser, name);
  }
  return call;
}

Result<Call, CallError> call_of_list(std::span<const Value> items) {
  const Value& head = items.front();
  const bool texts = head.type_code() == -11 || head.is_string() || head.type_code() == -10;
  const std::string_view name = texts ? *head.text_view() : std::string_view();
  if (!is_name(name)) {
    return refusal({Errc::not_a_call, 0}, name);
  }
  Call call{std::string(name), {}};
  for (const Value& argument : items.subspan(1)) {
    if (holds_function(argument)) {
      return refusal({Errc::nested_evaluation, 0}, name);
    }
    call.arguments.push_back(argument);
  }
  return call;
}

}  // namespace

bool holds_function(const Value& value) {
  if (value.is_function()) {
    return !value.is_null();
  }
  if (value.is_splayed() || (value.is_dict() && value.values().is_atom())) {
    return true;  // q reads what they name when it uses them
  }
  if (value.is_dict() || value.is_table()) {
    return holds_function(value.keys()) || holds_function(value.values());
  }
  return std::any_of(value.list_items().begin(), value.list_items().end(), holds_function);
}

bool is_name(std::string_view text) noexcept {
  Parser parser(text, 1, false);
  return !text.empty() && text.front() != ' ' && text.front() != '\t' &&
         parser.name().size() == text.size();
}

Result<Value> parse_value(std::string_view text, const ParseLimits& limits) {
  if (text.size() > limits.text_bytes_max) {
    return Error{Errc::text_too_long, limits.text_bytes_max};
  }
  Parser parser(text, depth_of(limits), true);
  Value value;
  if (!parser.expression(value) ||
      !(parser.at_end() || parser.fail(Errc::unparsable, parser.position()))) {
    return parser.error();
  }
  return value;
}

Result<Call, CallError> parse_call(std::string_view text, const ParseLimits& limits) {
  if (text.size() > limits.text_bytes_max) {
    return refusal({Errc::text_too_long, limits.text_bytes_max}, "");
  }
  Parser parser(text, depth_of(limits), false);
  if (parser.at_end()) {
    return refusal({Errc::not_a_call, 0}, "");
  }
  if (parser.take('(')) {
    return list_call(parser);
  }
  const std::string_view name = parser.name();
  if (name.empty()) {
    static_cast<void>(parser.fail_here());
    return refusal_of(parser, "");
  }
  const std::size_t name_end = parser.position();
  Call call{std::string(name), {}};
  bool good = true;
  if (parser.take('[')) {
    good = bracket_arguments(parser, call.arguments);
  } else if (!parser.at_end()) {
    good = juxtaposed_argument(parser, name_end, call.arguments);
  }
  if (!good) {
    return refusal_of(parser, name);
  }
  return call;
}

Result<Call, CallError> call_of(const Value& query, const ParseLimits& limits) {
  if (query.is_string()) {
    return parse_call(*query.text_view(), limits);
  }
  if (query.is_list() && query.count() != 0) {
    return call_of_list(query.list_items());
  }
  if (query.type_code() == -11 && is_name(*query.text_view())) {
    return Call{std::string(*query.text_view()), {}};
  }
  const std::span<const std::string> symbols = query.items<std::string>();
  if (symbols.empty() || !is_name(symbols.front())) {
    return refusal({Errc::not_a_call, 0}, symbols.empty() ? std::string_view() : symbols.front());
  }
  Call call{symbols.front(), {}};
  for (const std::string& argument : symbols.subspan(1)) {
    call.arguments.push_back(Value::symbol(argument));
  }
  return call;
}

Result<Call, CallError> call_of(std::span<const std::byte> object, const ParseLimits& limits) {
  Result<Value> query = decode(object);
  if (!query) {
    return CallError{query.error(), {}};
  }
  return call_of(*query, limits);
}

}  // namespace mserve::kdb
