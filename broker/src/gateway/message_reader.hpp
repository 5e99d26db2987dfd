// SPDX-License-Identifier: Apache-2.0
// Messages out of the bytes that a kdb+ client sends behind its handshake.
#pragma once

#include <array>
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
  /// Bodies up to this size come whole; plain little-endian ones above it come in pieces.
  std::uint64_t gather_bytes_max = std::uint64_t{256} * 1024;
  /// `--max-gathered`: largest body that is held whole because it must be: compressed or big endian
  /// (before and after decompression), or on hold().
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
/// Memory: an idle reader holds nothing but itself. A message that is entirely in `received`, plain
/// and little endian, is not copied. What must be kept is kept in a buffer that grows with what has
/// really arrived, to the size of the message at most, and is given back by the call behind the
/// event that gave it out; decompression holds both forms for a moment. See held_bytes().
/// Threads: one at a time.
class MessageReader {
 public:
  enum class What : std::uint8_t {
    more,   ///< All received bytes are used up.
    whole,  ///< `bytes` is the validated body.
    begin,  ///< A message that comes in pieces. `bytes` is its beginning, kStreamHeadBytes long (or
            ///< the body, if shorter), not yet validated; the pieces start with it again. hold()
            ///< may be called now.
    piece,  ///< `bytes` are the next ones of the body (validated as far as they go), `last` at its
            ///< end.
    failed,  ///< `reason` says why. Final: close the connection.
  };
  struct Event {
    What what = What::more;
    bool last = false;
    /// piece: q type of the item of the body that the bytes reached; with `last`: of its last item.
    std::int8_t item_type = 0;
    kdb::Errc code = kdb::Errc::ok;  ///< failed: too_large for our limits, else what is wrong.
    /// As it came; for whole, begin and piece; for failed when `has_header`.
    kdb::Header header;
    bool has_header = false;
    std::uint64_t body_bytes = 0;  ///< whole, begin, piece: of the body as given out.
    /// Valid until the next call of next(), feed() or hold().
    std::span<const std::byte> bytes;
    std::string_view reason;  ///< failed: "badmsg", "bad header" or "limit"; a literal.
  };

  explicit MessageReader(const ReaderLimits& limits = {}) noexcept;

  /// Hands over the next received bytes. Call it only after next() said `more` (or first of all).
  /// @param received  stays in place, unchanged, until next() says `more`.
  void feed(std::span<const std::byte> received) noexcept;

  /// What was fed and not looked at yet. Whoever needs the memory of `received` for something else
  /// copies it and calls unread_moved() with the copy.
  [[nodiscard]] std::span<const std::byte> unread() const noexcept { return received_; }
  /// @param copy  the bytes of unread(), in place from now on.
  void unread_moved(std::span<const std::byte> copy) noexcept { received_ = copy; }

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
  enum class State : std::uint8_t {
    header,   // of the next message
    gather,   // a message that is kept until it is whole
    opening,  // the beginning of one that comes in pieces
    begun,    // that was given out
    stream,
    failed,
  };

  /// Plain and little endian.
  [[nodiscard]] bool as_it_is() const noexcept;
  Event read_header();
  Event after_header();
  Event read_whole();
  Event give_whole(std::span<const std::byte> body);
  Event give_valid(std::span<const std::byte> body) noexcept;
  Event read_beginning();
  Event read_stream(std::size_t piece_bytes_max);
  Event refuse(kdb::Errc code) noexcept;
  Event fail(kdb::Errc code, std::string_view reason) noexcept;
  [[nodiscard]] Event event(What what, std::span<const std::byte> bytes) const noexcept;
  [[nodiscard]] Event failure() const noexcept;
  bool gather(std::uint64_t bytes_wanted);
  std::span<const std::byte> take(std::size_t bytes) noexcept;
  void release() noexcept;

  ReaderLimits limits_;
  std::span<const std::byte> received_;  // not used yet
  State state_ = State::header;
  bool given_ = false;             // kept_ was given out whole: release it before anything else
  std::uint8_t header_bytes_ = 0;  // received of the header
  bool has_header_ = false;
  kdb::Errc error_ = kdb::Errc::ok;
  std::array<std::byte, kdb::kHeaderBytes> raw_header_{};
  kdb::Header header_;
  std::uint64_t body_bytes_ = 0;
  std::string_view reason_;
  std::vector<std::byte> kept_;  // received of a message that is not complete
  std::size_t kept_used_ = 0;    // stream: bytes of kept_ that were given out
  std::unique_ptr<kdb::StreamValidator> validator_;
};

}  // namespace mserve::broker
