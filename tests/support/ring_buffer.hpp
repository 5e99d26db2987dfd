// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>

#include "mserve/shm/layout.hpp"
#include "mserve/shm/ring.hpp"

namespace mserve::test {

/// Memory of one ring, with the words that lie in segments in real life.
class RingBuffer {
 public:
  RingBuffer(std::uint64_t capacity, std::uint64_t start)
      : data_(static_cast<std::byte*>(std::aligned_alloc(shm::kCacheStride, capacity))),
        capacity_(capacity) {
    // Not zero: the ring must not rely on fresh memory beyond the words that it zeroes itself.
    std::fill(data_.get(), data_.get() + capacity, std::byte{0xa5});
    producer_pos_ = start;
    consumer_pos_ = start;
    polled_ = static_cast<std::uint32_t>(shm::Polled::polling);
    start_ = start;
  }
  shm::RingMemory memory() {
    return {data_.get(), capacity_, start_, &producer_pos_, &consumer_pos_, &polled_};
  }
  std::byte* data() { return data_.get(); }
  std::atomic<std::uint64_t>& consumer_pos() { return consumer_pos_; }
  std::atomic<std::uint32_t>& polled() { return polled_; }

 private:
  struct Free {
    void operator()(std::byte* p) const { std::free(p); }
  };
  std::unique_ptr<std::byte[], Free> data_;
  std::uint64_t capacity_;
  std::uint64_t start_ = 0;
  std::atomic<std::uint64_t> producer_pos_{0};
  std::atomic<std::uint64_t> consumer_pos_{0};
  std::atomic<std::uint32_t> polled_{0};
};

}  // namespace mserve::test
