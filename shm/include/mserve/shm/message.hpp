// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "mserve/shm/errc.hpp"
#include "mserve/shm/ring.hpp"

namespace mserve::shm {

/// Most payload that one frame of a ring of this capacity carries beside `ext_bytes` of extensions.
[[nodiscard]] constexpr std::uint64_t whole_payload_bytes_max(
    std::uint64_t ring_capacity, std::uint64_t ext_bytes = 0) noexcept {
  return frame_bytes_max(ring_capacity) - kFrameHeaderBytes - ext_bytes;
}

/// Payload per fragment of a flow: an eighth of the ring, so that both sides always have work.
[[nodiscard]] constexpr std::uint64_t fragment_payload_bytes(std::uint64_t ring_capacity) noexcept {
  return ring_capacity / 8 - 128;
}

/// memcpy() without a call for what fits a line: two copies that overlap in the middle.
[[gnu::always_inline]] inline void copy_bytes(std::byte* to, const std::byte* from,
                                              std::size_t bytes) noexcept {
  if (bytes > kCacheLine || bytes < 8) [[unlikely]] {
    std::memcpy(to, from, bytes);
  } else if (bytes >= 32) {
    std::memcpy(to, from, 32);
    std::memcpy(to + bytes - 32, from + bytes - 32, 32);
  } else if (bytes >= 16) {
    std::memcpy(to, from, 16);
    std::memcpy(to + bytes - 16, from + bytes - 16, 16);
  } else {
    std::memcpy(to, from, 8);
    std::memcpy(to + bytes - 8, from + bytes - 8, 8);
  }
}

/// Sends one message that fits one frame. `extensions` is copied behind the header.
/// @param header  its frame_bytes and ext_bytes are not looked at.
/// @return false when there is no room; nothing was sent.
[[nodiscard, gnu::always_inline]] inline bool try_send_whole(
    RingProducer& ring, const FrameHeader& wanted, std::span<const std::byte> extensions,
    std::span<const std::byte> payload) noexcept {
  FrameHeader header = wanted;
  header.ext_bytes = static_cast<std::uint16_t>(extensions.size());
  const std::uint64_t bytes = kFrameHeaderBytes + extensions.size() + payload.size();
  std::byte* const frame = ring.try_claim(bytes);
  if (frame == nullptr) [[unlikely]] {
    return false;
  }
  header.frame_bytes = static_cast<std::uint32_t>(bytes);  // fits: it was claimed
  if (!extensions.empty()) {
    std::memcpy(frame + kFrameHeaderBytes, extensions.data(), extensions.size());
  }
  if (!payload.empty()) {
    copy_bytes(frame + kFrameHeaderBytes + extensions.size(), payload.data(), payload.size());
  }
  ring.commit(header);
  return true;
}

/// Sends fragment after fragment of one large message, as the ring has room. The payload stays the
/// caller's and must live until done().
class FlowWriter {
 public:
  /// @param terms  go with the first fragment.
  FlowWriter(const FrameHeader& header, std::span<const std::byte> payload,
             const RequestTerms& terms = {}) noexcept
      : header_(header), payload_(payload), terms_(terms) {}

  /// Sends one fragment. @return false when there was no room or nothing is left.
  bool step(RingProducer& ring) noexcept;
  [[nodiscard]] bool done() const noexcept { return offset_ == payload_.size(); }
  [[nodiscard]] std::uint64_t id() const noexcept { return header_.id; }

 private:
  FrameHeader header_;
  std::span<const std::byte> payload_;
  RequestTerms terms_;
  std::uint64_t offset_ = 0;
};

/// Puts fragments together again, by id. Memory grows with what arrived, never with what was
/// promised; the sum over all unfinished messages is bounded.
class Assembler {
 public:
  /// @param bytes_max  bound on one message and on all unfinished ones together.
  explicit Assembler(std::uint64_t bytes_max) noexcept : bytes_max_(bytes_max) {}

  /// Adds the next fragment of message `id`.
  /// @return `ok`: complete, moved into `message`; `empty`: more to come; `bad_frame`: gap, overlap
  ///         or changed total; `too_large`: beyond bytes_max. After an error the id is forgotten.
  [[nodiscard]] Errc add(std::uint64_t id, const FlowExt& flow, std::span<const std::byte> payload,
                         std::vector<std::byte>& message);

  /// Forgets what arrived of `id`; unknown ids are fine.
  void drop(std::uint64_t id) noexcept;
  void clear() noexcept;
  [[nodiscard]] std::size_t unfinished() const noexcept { return parts_.size(); }

 private:
  struct Part {
    std::uint64_t total_bytes = 0;
    std::vector<std::byte> bytes;
  };
  std::uint64_t bytes_max_;
  std::uint64_t held_bytes_ = 0;
  std::unordered_map<std::uint64_t, Part> parts_;
};

}  // namespace mserve::shm
