// SPDX-License-Identifier: Apache-2.0
// Every way of asking comes down to the encoded bytes of one argument, so that all give the same
// route.
#include "mserve/kdb/route.hpp"

#include <algorithm>
#include <charconv>
#include <vector>

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

std::uint64_t hash_of(std::span<const std::byte> bytes) noexcept {
  std::uint64_t hash = kFnvBasis;
  const auto add = [&hash](std::byte byte) {
    hash ^= std::to_integer<std::uint64_t>(byte);
    hash *= kFnvPrime;
  };
  for (const std::byte byte : bytes.first(std::min(bytes.size(), kRouteHashBytesMax))) {
    add(byte);
  }
  for (unsigned i = 0; i < 8; ++i) {
    add(static_cast<std::byte>(static_cast<std::uint64_t>(bytes.size()) >> (8 * i) & 0xff));
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

/// The route of one well-formed encoded object.
Route route_of_element(std::span<const std::byte> element) {
  const auto type = static_cast<std::int8_t>(element[0]);
  if (type == -11 || type == -10 || type == 10) {
    return route_of_text(text_of(element));
  }
  if (type == 101) {  // `::` and its like say nothing about data
    return {};
  }
  Route route{hash_of(element), {}};
  const Result<Value> value =
      element.size() <= kDecodeBytesMax ? decode(element) : Error{Errc::too_large, 0};
  route.text = value ? shortened(text(*value, kRouteTextBytesMax)) : "type " + std::to_string(type);
  return route;
}

Route route_of_call(const Result<Call, CallError>& call, const RouteRule& rule) {
  return call ? route_of(call->name, call->arguments, rule) : Route{};
}

}  // namespace

Result<RouteRule> parse_rule(std::string_view text) noexcept {
  constexpr std::string_view kPrefix = "arg:";
  const std::string_view number = text.substr(std::min(text.size(), kPrefix.size()));
  RouteRule rule;
  const auto read = std::from_chars(number.data(), number.data() + number.size(), rule.argument);
  const bool whole = read.ec == std::errc() && read.ptr == number.data() + number.size();
  if (!text.starts_with(kPrefix) || !whole || rule.argument == 0 || rule.argument > kArgumentMax) {
    return Error{Errc::bad_rule, 0};
  }
  return rule;
}

std::string to_text(const RouteRule& rule) {
  return "arg:" + std::to_string(rule.argument);
}

Route route_of_text(std::string_view argument) {
  if (argument.empty()) {
    return {};
  }
  return {hash_of(std::as_bytes(std::span(argument.data(), argument.size()))), shortened(argument)};
}

Route route_of(std::string_view /*name*/, std::span<const Value> arguments, const RouteRule& rule) {
  if (rule.argument == 0 || rule.argument > arguments.size()) {
    return {};
  }
  const Value& argument = arguments[rule.argument - 1];
  if (argument.type_code() == -11 || argument.type_code() == -10 || argument.is_string()) {
    return route_of_text(*argument.text_view());
  }
  return route_of_element(encode(argument));
}

Route route_of(std::span<const std::byte> object, const RouteRule& rule) {
  if (object.empty() || rule.argument == 0) {
    return {};
  }
  if (static_cast<std::int8_t>(object[0]) == static_cast<std::int8_t>(Type::character)) {
    return route_of_call(call_of(object), rule);
  }
  Result<ListReader> reader = ListReader::open(object);
  if (!reader || rule.argument >= reader->count()) {
    return {};
  }
  std::optional<Element> element;
  for (std::uint32_t i = 0; i <= rule.argument; ++i) {
    element = reader->next();
    if (!element) {
      return {};
    }
    const bool name = element->type == -11 || element->type == -10 || element->type == 10;
    if (i == 0 && !name) {
      return {};
    }
  }
  return element->in_vector ? route_of_text(element->text()) : route_of_element(element->bytes);
}

}  // namespace mserve::kdb
