// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "mserve/shm/layout.hpp"

namespace mserve::bench {

/// Payload that shares the commit word's cache line.
inline constexpr std::size_t kLinePayloadBytes = shm::kCacheLine - sizeof(std::uint64_t);

// One direction of a floor's relay: slots of commit word and payload, used round and round, in
// memory that forked processes share.
//   Roles     one writer, one reader
//   Edges     E1 send() store release of the commit word -> word_at() load acquire by the reader
//   Invariant the commit word of message n is n, so nothing ever has to be zeroed; at most slots()
//             messages are under way, so no slot is written before it was read
class FloorChannel {
 public:
  /// Throws std::system_error when there is no memory.
  explicit FloorChannel(std::size_t payload_bytes);
  ~FloorChannel();
  FloorChannel(const FloorChannel&) = delete;
  FloorChannel& operator=(const FloorChannel&) = delete;

  /// The commit word of the slot that message `number` uses.
  [[nodiscard]] std::uint64_t word_at(std::uint64_t number) const noexcept {
    return commit_word(number).load(std::memory_order_acquire);  // E1
  }
  [[nodiscard]] std::byte* payload_at(std::uint64_t number) const noexcept {
    return slot(number) + sizeof(std::uint64_t);
  }
  /// Copies payload_bytes() from `from`; a constant number of them for a single line.
  template <bool kOneLine>
  void send(std::uint64_t number, const std::byte* from) const noexcept {
    copy<kOneLine>(payload_at(number), from);
    commit(number, number);
  }
  template <bool kOneLine>
  void copy(std::byte* to, const std::byte* from) const noexcept {
    std::memcpy(to, from, kOneLine ? kLinePayloadBytes : payload_bytes_);
  }
  void commit(std::uint64_t number, std::uint64_t word) const noexcept {
    commit_word(number).store(word, std::memory_order_release);  // E1
  }

  /// Messages that have room at once, at least 1.
  [[nodiscard]] std::uint64_t slots() const noexcept { return slot_mask_ + 1; }
  /// What was asked for, at least kLinePayloadBytes.
  [[nodiscard]] std::size_t payload_bytes() const noexcept { return payload_bytes_; }

 private:
  [[nodiscard]] std::byte* slot(std::uint64_t number) const noexcept {
    return memory_ + (number & slot_mask_) * slot_bytes_;
  }
  [[nodiscard]] std::atomic<std::uint64_t>& commit_word(std::uint64_t number) const noexcept {
    return *reinterpret_cast<std::atomic<std::uint64_t>*>(slot(number));
  }

  std::size_t payload_bytes_;
  std::size_t slot_bytes_;
  std::size_t slot_mask_;  ///< Slots, a power of two, minus one.
  std::byte* memory_;
};

/// The four channels of a relay.
struct FloorChannels {
  explicit FloorChannels(std::size_t payload_bytes)
      : client_to_relay(payload_bytes),
        relay_to_servant(payload_bytes),
        servant_to_relay(payload_bytes),
        relay_to_client(payload_bytes) {}
  FloorChannel client_to_relay;
  FloorChannel relay_to_servant;
  FloorChannel servant_to_relay;
  FloorChannel relay_to_client;
};

}  // namespace mserve::bench
