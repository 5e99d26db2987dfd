// SPDX-License-Identifier: Apache-2.0
// Which convention a client's message follows, told by skipping over its elements, never by
// decoding.
//   sync   a sync message: the response is the bare result
//   flush  sync "": the gateway answers once everything before it is answered
//   lbt    async (id; query) or (id; query; options), id an integer: async (id; result; info)
//   np     async (query; callback), query a string or list, callback a symbol or string:
//          async (callback; qid; query; result)
//   aw     any other async message: async, the bare result
// (string; symbol) and (string; string) may be np or aw: the connection's history decides.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "mserve/kdb/message.hpp"

namespace mserve::broker {

enum class Convention : std::uint8_t {
  sync,
  flush,
  lbt,
  np,
  aw,
  ignored,  ///< Log it; no answer: a response, or an error object, that nobody asked for.
  refused,  ///< Answer an error with the text `reason`, in the form that `refused_as` names.
};

/// `--protocol`.
enum class Protocol : std::uint8_t { automatic, lbt, np, aw };

/// How the gateway was told to read async messages.
struct ConventionRules {
  Protocol protocol = Protocol::automatic;
  Convention ambiguous = Convention::np;  ///< `--protocol-default`: np or aw.
};

/// What one connection has shown so far.
struct History {
  Convention last = Convention::np;  ///< Its last unambiguous async message: np or aw.
  bool known = false;                ///< There was one.
  bool told = false;  ///< For the caller: an ambiguous message of this connection was logged.
};

struct Classified {
  Convention convention = Convention::aw;
  /// For refused: sync (kdb+ error), lbt (null id and "Error: ..."), aw (bare "Error: ...").
  Convention refused_as = Convention::aw;
  bool ambiguous = false;  ///< Could have been np as well as aw: count it.
  /// The request's payload: all of `query`, and behind it `options` if there are any (then it is a
  /// pair). Empty for flush, ignored and refused.
  std::span<const std::byte> payload;
  std::span<const std::byte> query;
  std::span<const std::byte> options;   ///< lbt with three items: a dictionary.
  std::span<const std::byte> id;        ///< lbt: the integer atom, as it came.
  std::span<const std::byte> callback;  ///< np: the symbol or string, as it came.
  std::string_view reason;              ///< refused: the error's text; a literal.
};

/// @param body  a whole, validated, little-endian object; the spans of the result point into it.
/// Costs at most one skip over the elements of a list of two or three. Allocates nothing.
[[nodiscard]] Classified classify(kdb::MessageKind kind, std::span<const std::byte> body,
                                  const ConventionRules& rules, History& history) noexcept;

/// Bytes at the start of a body that classify_head() should see.
inline constexpr std::size_t kStreamHeadBytes = 4096;

struct StreamHead {
  Convention convention = Convention::aw;  ///< sync, lbt, aw, ignored or refused.
  Convention refused_as = Convention::aw;  ///< As in Classified.
  /// It may be an np pair, or is one: only the whole body can tell. Hold it (MessageReader::hold())
  /// and classify() it; `convention` means nothing. The history is as before.
  bool gather = false;
  bool pair =
      false;  ///< lbt with three items. That the third is a dictionary shows at the end only.
  std::size_t payload_offset = 0;  ///< Where the request's payload starts in the body.
  std::span<const std::byte> id;   ///< lbt.
  std::string_view reason;         ///< refused: the error's text; a literal.
};

/// The same for a body that is to be streamed, from its first bytes. Agrees with classify() on the
/// whole, or says `gather`. Two exceptions: it never says flush, and a list of three, an integer
/// first, whose third item is no dictionary is lbt: its sender gets an error at the end.
/// @param head  the first kStreamHeadBytes of the body; with fewer it says `gather` more often.
[[nodiscard]] StreamHead classify_head(kdb::MessageKind kind, std::span<const std::byte> head,
                                       const ConventionRules& rules, History& history) noexcept;

}  // namespace mserve::broker
