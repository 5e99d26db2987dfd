// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "forked.hpp"
#include "mserve/shm/histogram.hpp"
#include "timer.hpp"

namespace mserve::bench {

/// What a wake-up between processes costs at all: a number goes from process to process and back,
/// each of them asleep on a futex until it comes.
class FutexChain {
 public:
  /// @param hops  2: there and back between two processes. 4: through a relay, as a request goes.
  explicit FutexChain(int hops);
  ~FutexChain();
  FutexChain(const FutexChain&) = delete;
  FutexChain& operator=(const FutexChain&) = delete;

  /// Round trips for `duration_ns`, each after a pause in which everybody falls asleep; returns
  /// early when interrupted(). A sample goes from before the first wake until the number is back.
  void measure(const Timer& timer, std::uint64_t pause_ns, std::uint64_t duration_ns,
               shm::Histogram& samples);

 private:
  struct Word;
  [[nodiscard]] Word* words() const noexcept;

  int hops_;
  SharedMemory memory_;
  std::uint32_t number_ = 0;
  std::vector<std::unique_ptr<Forked>> processes_;
};

/// Sleeps for that long.
void pause_for(std::uint64_t ns) noexcept;

}  // namespace mserve::bench
