// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "mserve/shm/frame.hpp"
#include "mserve/shm/ring.hpp"

namespace mserve {

/// Turns request frames into the bytes of LBT's `(id; query)` and `(id; query; options)`, async and
/// little endian. One that must not run twice says so in its options, since gateways repeat what is
/// async; a request that has options of its own has to say it there. Copies nothing but what goes
/// in front: payload is sent from the ring. The stream cannot take back what it was given, so
/// nobody may abort a request that was begun.
///
///   while (writer.next()) { n = ...send(writer.pieces()...); writer.sent(n); }
class RequestWriter {
 public:
  /// What goes in front of a request's payload: message header, head of the list, id.
  static constexpr std::size_t kFrontBytes = 8 + 6 + 9;
  /// The options ``(enlist `repeatable)!enlist 0b``, behind the payload.
  static constexpr std::size_t kBackBytes = 1 + 6 + 11 + 6 + 1;

  explicit RequestWriter(shm::RingConsumer& ring) noexcept : ring_(ring) {}

  /// Takes the next frame once the last one is sent. @return false when there is nothing to send.
  [[nodiscard]] bool next() noexcept;

  /// What is left of the frame that next() found, in order; either may be empty.
  [[nodiscard]] std::array<std::span<const std::byte>, 3> pieces() const noexcept {
    return {std::span(front_).subspan(front_sent_, front_bytes_ - front_sent_), payload_, back_};
  }

  /// @param bytes  at most what pieces() hold.
  void sent(std::size_t bytes) noexcept;

  /// The request that next() just began, if it wants the info; told once. 0: none.
  [[nodiscard]] std::uint64_t take_info_wish() noexcept { return std::exchange(info_wish_, 0); }

 private:
  void put_front(const shm::FrameHeader& header, std::uint64_t payload_bytes) noexcept;

  shm::RingConsumer& ring_;
  std::array<std::byte, kFrontBytes> front_{};
  std::size_t front_bytes_ = 0;
  std::size_t front_sent_ = 0;
  std::span<const std::byte> payload_;
  std::span<const std::byte> back_;  // Not empty only with the last of the payload.
  bool once_ = false;                // The request under way is not repeatable.
  bool loaded_ = false;
  std::uint64_t info_wish_ = 0;
};

}  // namespace mserve
