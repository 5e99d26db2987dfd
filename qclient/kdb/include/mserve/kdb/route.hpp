// SPDX-License-Identifier: Apache-2.0
// The route of a request: what decides which servant is preferred. A hint for placement only, never
// for access.
//   Rules  `arg:N`     the Nth argument of the call, 1 <= N <= 255, however the query is written:
//                      proc1 `IBM, proc1[`IBM;1], (`proc1;`IBM), ("proc1";`IBM) all route by IBM.
//          `fn`        the name of the function, the first 64 bytes of it; also of a text whose
//                      arguments are no literals (proc1 .z.d).
//          `fn+arg:N`  both; the function alone where there is no such argument.
//          `user`      whose query it is.
//          `const`     one route for everything.
//          `option:KEY` what LBT's options, the third item of (id; query; options), hold at KEY.
//   Text   a symbol or string as it is; any other value as text() shows it; function and argument
//          with a blank between them; at most kRouteTextBytesMax bytes.
//   Hash   of bytes B under a salt S, a word: FNV-1a (64 bit, offset basis cbf29ce484222325, prime
//          100000001b3) over S and a zero byte, over the first kRouteHashBytesMax bytes of B, then
//          over the full length of B as 8 little-endian bytes, then mixed: h ^= h >> 32; h *=
//          9e3779b97f4a7c15; h ^= h >> 29; 0 becomes 1. It crosses processes, so it never changes.
//            rule        S         B
//            arg:N       nothing, without the zero byte either    the value
//            fn          "fn"      the name
//            fn+arg:N    "fn+arg"  the hashes of name (fn) and value (arg:N), 8 little-endian bytes
//                                  each; as fn where there is no such argument
//            user        "user"    the user
//            const       "const"   none
//            option:KEY  "option"  the value
//          The bytes of a value are a symbol's or string's text, or the encoded little-endian value
//          (type byte and attribute included: `s#1 2 is another value) for any other type.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "mserve/kdb/result.hpp"
#include "mserve/kdb/value.hpp"

namespace mserve::kdb {

inline constexpr std::size_t kRouteTextBytesMax = 64;
inline constexpr std::size_t kRouteHashBytesMax = 4096;

/// For messages: the rules there are.
inline constexpr std::string_view kRouteRules = "arg:N|fn|fn+arg:N|user|const|option:KEY";
/// Longest KEY of `option:KEY`; printable ASCII without blanks.
inline constexpr std::size_t kRouteKeyBytesMax = 56;
/// Options that are larger have no route.
inline constexpr std::size_t kRouteOptionsBytesMax = 4096;

/// The routing rule as data.
struct RouteRule {
  enum class Kind : std::uint8_t { argument, function, function_argument, user, constant, option };

  Kind kind = Kind::argument;
  std::uint32_t argument = 1;  ///< Which argument, from 1; of the two kinds that read one.
  std::string key{};           ///< Of option.
  friend bool operator==(const RouteRule&, const RouteRule&) = default;
};

/// What a rule may read beside the query. Borrowed.
struct RouteContext {
  std::string_view user{};               ///< Whose query it is; empty: nobody knows.
  std::span<const std::byte> options{};  ///< LBT's, an encoded dictionary; empty: none.
};

/// A route; hash 0 and no text when the request has none.
struct Route {
  std::uint64_t hash = 0;
  std::string text;
  friend bool operator==(const Route&, const Route&) = default;
};

/// One of kRouteRules; anything else is bad_rule.
[[nodiscard]] Result<RouteRule> parse_rule(std::string_view text);
/// The rule as text, such as "arg:1"; at most 63 bytes.
[[nodiscard]] std::string to_text(const RouteRule& rule);

/// The route of an encoded little-endian query. List forms are read by skipping, without decoding;
/// char vectors by the text parser; options by decoding them, if there are no more than
/// kRouteOptionsBytesMax bytes of them. No route when what the rule reads is missing, `::`, or an
/// empty symbol or string, or the query is malformed or no literal call.
[[nodiscard]] Route route_of(std::span<const std::byte> object, const RouteRule& rule = {},
                             const RouteContext& context = {});

/// The route of a call that is known already; the same as that of its encoded forms.
[[nodiscard]] Route route_of(std::string_view name, std::span<const Value> arguments,
                             const RouteRule& rule = {}, const RouteContext& context = {});

/// The route that a symbol or string argument with this text gives under `arg:N`; no route for an
/// empty text.
[[nodiscard]] Route route_of_text(std::string_view argument);

/// A call as the rules print it: what Route::text is under `fn`, and under `arg:N` for each
/// argument; empty for one that gives no route.
struct CallTexts {
  std::string function;
  std::vector<std::string> arguments;
};

/// The texts of an encoded little-endian query, of at most `arguments_max` arguments: those that
/// are there before its end or the first malformed one; none if the query is a text with one that
/// is no literal. Nothing where `fn` gives no route.
[[nodiscard]] std::optional<CallTexts> call_texts(std::span<const std::byte> object,
                                                  std::size_t arguments_max);

}  // namespace mserve::kdb
