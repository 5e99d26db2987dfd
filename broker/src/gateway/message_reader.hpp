// SPDX-License-Identifier: Apache-2.0
// Messages out of the bytes that a kdb+ client sends behind its handshake.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "mserve/kdb/message.hpp"
#include "mserve/kdb/result.hpp"
#include "mserve/kdb/stream.hpp"

namespace mserve::broker {

struct ReaderLimits {
  std::uint64_t message_bytes_max = kdb::kMessageBytesMax;  ///< `--max-message`, as on the wire.
  /// Bodies up to this size come whole. Plain little-endian ones above it come in pieces.
  std::uint64_t gather_bytes_max = 256 * 1024;
  /// `--max-gathered`: largest body that is held whole because it must be: compressed or big endian
  /// (before and after decompression), or on hold(). Not below gather_bytes_max.
  std::uint64_t held_bytes_max = std::uint64_t{64} << 20;
};

/// Cuts the byte stream of one connection into messages, validates them, and gives them out little
/// endian and plain. Use:
///
///     reader.feed(received);
///     for (;;) {
///       const MessageReader::Event event = reader.next();
///       if (event.what == MessageReader::What::more) break;  // `received` may be reused
///       ...
///     }
///
/// Whoever cannot take more stops calling next() for a while and keeps `received` as it is; the
/// next feed() comes after `more` only.
///
/// Memory: an idle reader holds nothing but itself (sizeof). A message that is entirely in
/// `received`, plain and little endian, is never copied. What must be kept is kept in a buffer that
/// grows with what has really arrived and is given back with the next event; see held_bytes().
/// Threads: one at a time.
class MessageReader {
 public:
  enum class What : std::uint8_t {
    more,    ///< All received bytes are used up.
    whole,   ///< `bytes` is the validated body.
    begin,   ///< A message that comes in pieces. `bytes` is its first min(kStreamHeadBytes, body);
             ///< the pieces start with them again. Now hold() may be called.
    piece,   ///< `bytes` are the next ones of the body (validated as far as they go), `last` at its
             ///< end.
    failed,  ///< `reason` says why. Final: close the connection.
  };
  struct Event {
    What what = What::more;
    bool last = false;
    /// piece: q type of the item of the body that the bytes reached; with `last`: of its last item.
    std::int8_t item_type = 0;
    /// failed: `invalid` when the cause is no limit of ours but the bytes themselves (then the code
    /// says more); too_large: over a limit.
    kdb::Errc code = kdb::Errc::ok;
    /// As it came; for whole, begin and piece; for failed when `has_header`.
    kdb::Header header;
    bool has_header = false;
    std::uint64_t body_bytes = 0;  ///< whole, begin, piece: of the body as given out.
    /// Valid until the next call of next(), feed() or hold().
    std::span<const std::byte> bytes;
    std::string_view reason;  ///< failed: one short phrase, such as "badmsg"; a literal.
  };

  explicit MessageReader(const ReaderLimits& limits = {}) noexcept;

  /// Hands over the next received bytes. Call it only after next() said `more` (or first of all).
  /// @param received  stays in place, unchanged, until next() says `more`.
  void feed(std::span<const std::byte> received) noexcept;

  /// The next event. @param piece_bytes_max  longest piece wanted now, at least 1.
  [[nodiscard]] Event next(std::size_t piece_bytes_max = std::numeric_limits<std::size_t>::max());

  /// Right after `begin`: do not give the body out in pieces, but whole. Over held_bytes_max the
  /// next event is `failed` with the reason "limit".
  void hold() noexcept;

  /// Bytes of memory that this reader owns now beyond itself; for caps over all connections.
  [[nodiscard]] std::size_t held_bytes() const noexcept;
  /// In the middle of a message: closing now loses it. (Not told: bytes fed but not yet looked at.)
  [[nodiscard]] bool mid_message() const noexcept;

 private:
  enum class State : std::uint8_t { header, body, begun, stream, failed };

  Event read_header();
  Event begin_body();
  Event read_body();
  Event give_whole();
  Event unpack();
  Event begin_stream();
  Event read_stream(std::size_t piece_bytes_max);
  Event fail(kdb::Errc code, std::string_view reason) noexcept;
  [[nodiscard]] Event event(What what, std::span<const std::byte> bytes) const noexcept;
  bool gather(std::uint64_t wanted_bytes);
  void release() noexcept;

  ReaderLimits limits_;
  std::span<const std::byte> received_;  // not yet used
  State state_ = State::header;
  bool given_ = false;  // kept_ was given out: release it before anything else
  std::uint8_t header_bytes_ = 0;
  kdb::Errc error_ = kdb::Errc::ok;
  kdb::Header header_;
  std::uint64_t body_bytes_ = 0;
  std::string_view reason_;
  std::size_t kept_used_ = 0;    // stream: bytes of kept_ that were given out
  std::vector<std::byte> kept_;  // what was received of a message that is not complete
  std::unique_ptr<kdb::StreamValidator> validator_;
};

}  // namespace mserve::broker
