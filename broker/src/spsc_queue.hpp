// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "mserve/shm/layout.hpp"

namespace mserve::broker {

// Bounded queue between two threads of the broker, for what one of them only hands over.
//   Shape     capacity a power of two, all items made at construction; positions only grow
//   Roles     one producer, one consumer. Another thread may take over a role if something else
//             orders what both do (a join, the hand-over of DataLoan)
//   Progress  every call wait-free: bounded steps, no system call, and no allocation but the item's
//   Edges     S1 there   added_: try_put()  store release -> try_take() load acquire
//             S2 free    taken_: try_take() store release -> try_put()  load acquire
//   Invariant added_ - taken_ <= capacity; each word has one storing side
//   Trust     no other process is involved
template <class T>
class SpscQueue {
 public:
  /// @param capacity  at least so many items; 1 to 2^32.
  explicit SpscQueue(std::size_t capacity)
      : items_(std::bit_ceil(std::max<std::size_t>(capacity, 1))) {}
  SpscQueue(const SpscQueue&) = delete;
  SpscQueue& operator=(const SpscQueue&) = delete;

  /// hot: one shared load if it seems full, one shared store.
  /// @return false: it is full, and `item` is as it was. @thread the producer
  template <class U>
  [[nodiscard]] bool try_put(U&& item) {
    const std::uint64_t at = added_.load(std::memory_order_relaxed);  // only this thread stores it
    if (at - taken_seen_ == items_.size()) [[unlikely]] {
      taken_seen_ = taken_.load(std::memory_order_acquire);  // S2
      if (at - taken_seen_ == items_.size()) {
        return false;
      }
    }
    items_[at & (items_.size() - 1)] = std::forward<U>(item);
    added_.store(at + 1, std::memory_order_release);  // S1
    return true;
  }
  /// The oldest item. @return false: there is none. @thread the consumer
  [[nodiscard]] bool try_take(T& item) {
    const std::uint64_t at = taken_.load(std::memory_order_relaxed);  // only this thread stores it
    if (at == added_.load(std::memory_order_acquire)) {               // S1
      return false;
    }
    item = std::move(items_[at & (items_.size() - 1)]);
    taken_.store(at + 1, std::memory_order_release);  // S2
    return true;
  }
  /// Whoever takes so many items has had all that were there when it began.
  [[nodiscard]] std::size_t capacity() const noexcept { return items_.size(); }

 private:
  std::vector<T> items_;
  alignas(shm::kCacheStride) std::atomic<std::uint64_t> added_{0};
  std::uint64_t taken_seen_ = 0;  // the producer's
  alignas(shm::kCacheStride) std::atomic<std::uint64_t> taken_{0};
};

}  // namespace mserve::broker
