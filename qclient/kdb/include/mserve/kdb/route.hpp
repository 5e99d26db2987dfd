// SPDX-License-Identifier: Apache-2.0
// The route of a request: which argument decides which servant is preferred. A hint for placement
// only, never for access.
//   Rule   `arg:N`, N >= 1: the Nth argument of the call, however the query is written:
//          proc1 `IBM, proc1[`IBM;1], (`proc1;`IBM), ("proc1";`IBM) all route by IBM.
//   Text   a symbol or string as it is; any other argument as text() shows it; at most
//   kRouteTextBytesMax bytes. Hash   FNV-1a (64 bit, offset basis cbf29ce484222325, prime
//   100000001b3) over the first kRouteHashBytesMax bytes of the
//          symbol's or string's text, or of the encoded little-endian argument (type byte included)
//          for any other type, then over the full length as 8 little-endian bytes, then mixed: h ^=
//          h >> 32; h *= 9e3779b97f4a7c15; h ^= h >> 29; 0 becomes 1. It crosses processes, so it
//          never changes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "mserve/kdb/result.hpp"
#include "mserve/kdb/value.hpp"

namespace mserve::kdb {

inline constexpr std::size_t kRouteTextBytesMax = 64;
inline constexpr std::size_t kRouteHashBytesMax = 4096;

/// The routing rule as data.
struct RouteRule {
  std::uint32_t argument = 1;  ///< Which argument, from 1.
  friend bool operator==(const RouteRule&, const RouteRule&) = default;
};

/// A route; hash 0 and no text when the request has none.
struct Route {
  std::uint64_t hash = 0;
  std::string text;
  friend bool operator==(const Route&, const Route&) = default;
};

/// "arg:1" .. "arg:255"; anything else is bad_rule.
[[nodiscard]] Result<RouteRule> parse_rule(std::string_view text) noexcept;
/// The rule as text, "arg:1".
[[nodiscard]] std::string to_text(const RouteRule& rule);

/// The route of an encoded little-endian query. List forms are read by skipping, without decoding;
/// char vectors by the text parser. No route when the query is malformed or no literal call, or the
/// argument is missing, `::`, or an empty symbol or string.
[[nodiscard]] Route route_of(std::span<const std::byte> object, const RouteRule& rule = {});

/// The route of a call that is known already; the same as that of its encoded forms.
[[nodiscard]] Route route_of(std::string_view name, std::span<const Value> arguments,
                             const RouteRule& rule = {});

/// The route that a symbol or string argument with this text gives; no route for an empty text.
[[nodiscard]] Route route_of_text(std::string_view argument);

}  // namespace mserve::kdb
