// SPDX-License-Identifier: Apache-2.0
// Every way of asking comes down to the encoded bytes of one argument, so that all give the same
// route.
#include "mserve/kdb/route.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <utility>

#include "mserve/kdb/codec.hpp"
#include "mserve/kdb/parse.hpp"
#include "mserve/kdb/print.hpp"
#include "mserve/kdb/skip.hpp"

namespace mserve::kdb {

namespace {

constexpr std::uint64_t kFnvBasis = 0xcbf29ce484222325;
constexpr std::uint64_t kFnvPrime = 0x100000001b3;
constexpr std::uint64_t kMix = 0x9e3779b97f4a7c15;
constexpr std::uint32_t kArgumentMax = 255;
/// Longer arguments are not decoded for the sake of a printable text.
constexpr std::size_t kDecodeBytesMax = 4096;

std::uint64_t hash_of(std::string_view salt, std::span<const std::byte> bytes) noexcept {
  std::uint64_t hash = kFnvBasis;
  const auto add = [&hash](std::uint64_t byte) {
    hash ^= byte & 0xff;
    hash *= kFnvPrime;
  };
  if (!salt.empty()) {
    for (const char c : salt) {
      add(static_cast<unsigned char>(c));
    }
    add(0);
  }
  for (const std::byte byte : bytes.first(std::min(bytes.size(), kRouteHashBytesMax))) {
    add(std::to_integer<std::uint64_t>(byte));
  }
  for (unsigned i = 0; i < 8; ++i) {
    add(static_cast<std::uint64_t>(bytes.size()) >> (8 * i));
  }
  hash ^= hash >> 32;
  hash *= kMix;
  hash ^= hash >> 29;
  return hash == 0 ? 1 : hash;
}

/// At most kRouteTextBytesMax bytes, not cut inside a UTF-8 sequence.
std::string shortened(std::string_view text) {
  std::size_t size = std::min(text.size(), kRouteTextBytesMax);
  while (size < text.size() && size > 0 &&
         (static_cast<unsigned char>(text[size]) & 0xc0U) == 0x80U) {
    --size;
  }
  return std::string(text.substr(0, size));
}

Route salted_text(std::string_view salt, std::string_view text) {
  if (text.empty()) {
    return {};
  }
  return {hash_of(salt, std::as_bytes(std::span(text.data(), text.size()))), shortened(text)};
}

/// The route of one well-formed encoded object.
Route salted_element(std::string_view salt, std::span<const std::byte> element) {
  const auto type = static_cast<std::int8_t>(element[0]);
  if (type == -11 || type == -10 || type == 10) {
    return salted_text(salt, text_of(element));
  }
  if (type == 101) {  // `::` and its like say nothing about data
    return {};
  }
  Route route{hash_of(salt, element), {}};
  const Result<Value> value =
      element.size() <= kDecodeBytesMax ? decode(element) : Error{Errc::too_large, 0};
  route.text = value ? shortened(text(*value, kRouteTextBytesMax)) : "type " + std::to_string(type);
  return route;
}

Route salted_value(std::string_view salt, const Value& value) {
  if (value.type_code() == -11 || value.type_code() == -10 || value.is_string()) {
    return salted_text(salt, *value.text_view());
  }
  return salted_element(salt, encode(value));
}

Route route_of_function(std::string_view name) {
  if (name.size() > kRouteHashBytesMax || !is_name(name)) {
    return {};
  }
  return salted_text("fn", name.substr(0, kRouteTextBytesMax));
}

Route route_of_option(std::span<const std::byte> options, std::string_view key) {
  if (options.empty() || options.size() > kRouteOptionsBytesMax) {
    return {};
  }
  const Result<Value> dictionary = decode(options);
  const std::optional<Value> value = dictionary ? dictionary->find(key) : std::nullopt;
  return value ? salted_value("option", *value) : Route{};
}

/// The route of a rule that reads no query; nothing for those that do.
std::optional<Route> route_beside(const RouteRule& rule, const RouteContext& context) {
  switch (rule.kind) {
    case RouteRule::Kind::user:
      return salted_text("user", context.user);
    case RouteRule::Kind::constant:
      return Route{hash_of("const", {}), "const"};
    case RouteRule::Kind::option:
      return route_of_option(context.options, rule.key);
    default:
      return std::nullopt;
  }
}

bool reads_function(const RouteRule& rule) noexcept {
  return rule.kind != RouteRule::Kind::argument;
}

/// Which item of the list form a rule reads last.
std::uint32_t last_item(const RouteRule& rule) noexcept {
  return rule.kind == RouteRule::Kind::function ? 0 : rule.argument;
}

/// What a call says to the rules that read it.
struct Parts {
  Route function;  ///< Only if the rule reads it.
  Route argument;
};

Parts parts_of_call(std::string_view name, std::span<const Value> arguments,
                    const RouteRule& rule) {
  Parts parts;
  if (reads_function(rule)) {
    parts.function = route_of_function(name);
  }
  const std::uint32_t item = last_item(rule);
  if (item != 0 && item <= arguments.size()) {
    parts.argument = salted_value("", arguments[item - 1]);
  }
  return parts;
}

Parts parts_of_text(std::span<const std::byte> object, const RouteRule& rule) {
  const Result<Call, CallError> call = call_of(object);
  if (call) {
    return parts_of_call(call->name, call->arguments, rule);
  }
  // What is called is known, only not with what.
  const bool named = call.error().error.code == Errc::nested_evaluation;
  return named ? parts_of_call(call.error().name, {}, rule) : Parts{};
}

Parts parts_of_list(std::span<const std::byte> object, const RouteRule& rule) {
  Parts parts;
  Result<ListReader> reader = ListReader::open(object);
  if (!reader) {
    return parts;
  }
  const std::uint32_t last = last_item(rule) < reader->count() ? last_item(rule) : 0;
  for (std::uint32_t i = 0; i <= last; ++i) {
    const std::optional<Element> element = reader->next();
    if (!element) {
      return parts;
    }
    const bool name = element->type == -11 || element->type == -10 || element->type == 10;
    if (i == 0 && !name) {
      return parts;
    }
    if (i == 0 && reads_function(rule)) {
      parts.function = route_of_function(element->text());
    } else if (i == last && i != 0) {
      parts.argument =
          element->in_vector ? route_of_text(element->text()) : salted_element("", element->bytes);
    }
  }
  return parts;
}

Parts parts_of(std::span<const std::byte> object, const RouteRule& rule) {
  if (object.empty()) {
    return {};
  }
  switch (static_cast<std::int8_t>(object[0])) {
    case 10:
      return parts_of_text(object, rule);
    case -11: {
      const Result<std::int8_t> symbol = validate(object);
      return symbol ? parts_of_call(text_of(object), {}, rule) : Parts{};
    }
    default:
      return parts_of_list(object, rule);
  }
}

std::optional<CallTexts> texts_of_call(std::string_view name, std::span<const Value> arguments,
                                       std::size_t arguments_max) {
  CallTexts texts{route_of_function(name).text, {}};
  if (texts.function.empty()) {
    return std::nullopt;
  }
  for (const Value& argument : arguments.first(std::min(arguments.size(), arguments_max))) {
    texts.arguments.push_back(salted_value("", argument).text);
  }
  return texts;
}

std::optional<CallTexts> texts_of_text(std::span<const std::byte> object,
                                       std::size_t arguments_max) {
  const Result<Call, CallError> call = call_of(object);
  if (call) {
    return texts_of_call(call->name, call->arguments, arguments_max);
  }
  const bool named = call.error().error.code == Errc::nested_evaluation;
  return named ? texts_of_call(call.error().name, {}, 0) : std::nullopt;
}

std::optional<CallTexts> texts_of_list(std::span<const std::byte> object,
                                       std::size_t arguments_max) {
  Result<ListReader> reader = ListReader::open(object);
  const std::optional<Element> name = reader ? reader->next() : std::nullopt;
  if (!name || (name->type != -11 && name->type != -10 && name->type != 10)) {
    return std::nullopt;
  }
  std::optional<CallTexts> texts = texts_of_call(name->text(), {}, 0);
  while (texts && texts->arguments.size() < arguments_max) {
    const std::optional<Element> element = reader->next();
    if (!element) {
      break;
    }
    texts->arguments.push_back(element->in_vector ? route_of_text(element->text()).text
                                                  : salted_element("", element->bytes).text);
  }
  return texts;
}

void put_hash(std::span<std::byte> out, std::uint64_t hash) noexcept {
  for (unsigned i = 0; i < 8; ++i) {
    out[i] = static_cast<std::byte>(hash >> (8 * i));
  }
}

Route joined(Parts parts, const RouteRule& rule) {
  if (rule.kind == RouteRule::Kind::argument) {
    return std::move(parts.argument);
  }
  if (parts.function.hash == 0 || parts.argument.hash == 0) {
    return std::move(parts.function);
  }
  std::array<std::byte, 16> both{};
  put_hash(std::span(both).first(8), parts.function.hash);
  put_hash(std::span(both).last(8), parts.argument.hash);
  return {hash_of("fn+arg", both), shortened(parts.function.text + " " + parts.argument.text)};
}

/// Reads N of `arg:N`; 0 when it is none.
std::uint32_t argument_number(std::string_view text) noexcept {
  constexpr std::string_view kPrefix = "arg:";
  const std::string_view number = text.substr(std::min(text.size(), kPrefix.size()));
  std::uint32_t argument = 0;
  const auto read = std::from_chars(number.data(), number.data() + number.size(), argument);
  const bool whole = read.ec == std::errc() && read.ptr == number.data() + number.size();
  return text.starts_with(kPrefix) && whole && argument <= kArgumentMax ? argument : 0;
}

bool is_key(std::string_view text) noexcept {
  return !text.empty() && text.size() <= kRouteKeyBytesMax &&
         std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c <= '~'; });
}

}  // namespace

Result<RouteRule> parse_rule(std::string_view text) {
  using Kind = RouteRule::Kind;
  constexpr std::string_view kBoth = "fn+";
  constexpr std::string_view kOption = "option:";
  RouteRule rule;
  if (text == "fn" || text == "user" || text == "const") {
    rule.kind = text == "fn" ? Kind::function : text == "user" ? Kind::user : Kind::constant;
    return rule;
  }
  if (text.starts_with(kOption) && is_key(text.substr(kOption.size()))) {
    rule.kind = Kind::option;
    rule.key = text.substr(kOption.size());
    return rule;
  }
  const bool both = text.starts_with(kBoth);
  rule.kind = both ? Kind::function_argument : Kind::argument;
  rule.argument = argument_number(both ? text.substr(kBoth.size()) : text);
  if (rule.argument == 0) {
    return Error{Errc::bad_rule, 0};
  }
  return rule;
}

std::string to_text(const RouteRule& rule) {
  switch (rule.kind) {
    case RouteRule::Kind::argument:
      break;
    case RouteRule::Kind::function:
      return "fn";
    case RouteRule::Kind::function_argument:
      return "fn+arg:" + std::to_string(rule.argument);
    case RouteRule::Kind::user:
      return "user";
    case RouteRule::Kind::constant:
      return "const";
    case RouteRule::Kind::option:
      return "option:" + rule.key;
  }
  return "arg:" + std::to_string(rule.argument);
}

Route route_of_text(std::string_view argument) {
  return salted_text("", argument);
}

Route route_of(std::string_view name, std::span<const Value> arguments, const RouteRule& rule,
               const RouteContext& context) {
  if (std::optional<Route> route = route_beside(rule, context)) {
    return *std::move(route);
  }
  return joined(parts_of_call(name, arguments, rule), rule);
}

Route route_of(std::span<const std::byte> object, const RouteRule& rule,
               const RouteContext& context) {
  if (std::optional<Route> route = route_beside(rule, context)) {
    return *std::move(route);
  }
  return joined(parts_of(object, rule), rule);
}

std::optional<CallTexts> call_texts(std::span<const std::byte> object, std::size_t arguments_max) {
  if (object.empty()) {
    return std::nullopt;
  }
  switch (static_cast<std::int8_t>(object[0])) {
    case 10:
      return texts_of_text(object, arguments_max);
    case -11: {
      const Result<std::int8_t> symbol = validate(object);
      return symbol ? texts_of_call(text_of(object), {}, 0) : std::nullopt;
    }
    default:
      return texts_of_list(object, arguments_max);
  }
}

}  // namespace mserve::kdb
