// SPDX-License-Identifier: Apache-2.0
// What the first bytes of a connection are. One port serves kdb+ IPC, KX's text console and HTTP.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace mserve::broker {

/// Longest opening: credentials, console line, or head of an HTTP request. More is refused.
inline constexpr std::size_t kOpeningBytesMax = 4096;
/// The capability that we offer; the answer to a kdb+ opening is the smaller of both.
/// The first one that allows messages above 2 GiB.
inline constexpr std::uint8_t kCapabilityLarge = 5;
inline constexpr std::uint8_t kCapability = 6;

struct Opening {
  enum class Kind : std::uint8_t {
    more,     ///< Cannot be told yet: call again with more bytes.
    kdb,      ///< Answer one byte, answer_capability(), or close without a byte to refuse.
    qcon,     ///< Answer `text` as plain text without any handshake byte, then close.
    http,     ///< Answer the request `method` `text`, then close.
    refused,  ///< Close without an answer; `reason` is for the log.
  };
  Kind kind = Kind::more;
  /// kdb: what the client offers; 0 for clients of before 2012 that send no such byte.
  std::uint8_t capability = 0;
  /// Bytes that the opening takes; what lies behind them is the first message.
  std::size_t consumed = 0;
  std::string user;         ///< kdb, qcon: up to the first colon; may be empty. Any bytes but NUL.
  std::string password;     ///< kdb, qcon: behind that colon.
  std::string text;         ///< qcon: the query. http: the request target, such as "/?x".
  std::string_view method;  ///< http: "GET", "HEAD", ...; a literal.
  std::string_view reason;  ///< refused: one short phrase; a literal.
};

/// Recognises an opening. Work and memory are bounded by kOpeningBytesMax.
/// @param bytes  all bytes received so far. @param ended  the peer half-closed: no more will come.
/// A console line (no capability byte, text behind the NUL) is told from an old client by what
/// follows the NUL; when nothing does, it is taken as an old client, which waits for its answer.
[[nodiscard]] Opening parse_opening(std::span<const std::byte> bytes, bool ended);

/// The byte that answers a kdb+ opening.
[[nodiscard]] constexpr std::uint8_t answer_capability(std::uint8_t offered) noexcept {
  return offered < kCapability ? offered : kCapability;
}

}  // namespace mserve::broker
