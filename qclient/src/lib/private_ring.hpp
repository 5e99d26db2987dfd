// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "mserve/shm/layout.hpp"
#include "mserve/shm/ring.hpp"

namespace mserve {

/// A ring in this process's own memory, for links that have no segments: both ends belong to the
/// same thread. Its consumer never counts as polling, so each commit is followed by
/// Link::wake_broker(), which moves it on.
class PrivateRing {
 public:
  /// @param capacity  bytes, a power of two, shm::kRingBytesMin..shm::kRingBytesMax.
  explicit PrivateRing(std::uint32_t capacity)
      : lines_(capacity / sizeof(Line)),
        memory_{lines_[0].bytes, capacity, 0, nullptr, &consumer_pos_, &polled_},
        producer_(memory_),
        consumer_(memory_) {}
  PrivateRing(const PrivateRing&) = delete;
  PrivateRing& operator=(const PrivateRing&) = delete;

  [[nodiscard]] shm::RingProducer& producer() noexcept { return producer_; }
  [[nodiscard]] shm::RingConsumer& consumer() noexcept { return consumer_; }

 private:
  struct alignas(shm::kCacheLine) Line {
    std::byte bytes[shm::kCacheLine] = {};
  };

  std::vector<Line> lines_;
  std::atomic<std::uint64_t> consumer_pos_{0};
  std::atomic<std::uint32_t> polled_{static_cast<std::uint32_t>(shm::Polled::sleeping_on_socket)};
  shm::RingMemory memory_;
  shm::RingProducer producer_;
  shm::RingConsumer consumer_;
};

}  // namespace mserve
