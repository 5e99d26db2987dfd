// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "mserve/shm/clock.hpp"

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

namespace mserve::bench {

/// What the timer itself adds: two readings with nothing between them.
struct TimerCost {
  std::uint64_t p50_ns = 0;
  std::uint64_t p99_ns = 0;
};

/// Reads time for samples. On x86 with a usable time-stamp counter one reading is an rdtscp, which
/// waits until everything before it has executed; elsewhere it is CLOCK_MONOTONIC.
class Timer {
 public:
  /// Calibrates against CLOCK_MONOTONIC; takes about 50 ms.
  Timer() noexcept;

  /// hot: one instruction; subtract two readings and give the difference to to_ns().
  [[nodiscard]] std::uint64_t read() const noexcept {
#if defined(__x86_64__)
    if (from_tsc_) [[likely]] {
      unsigned core = 0;
      return __rdtscp(&core);
    }
#endif
    return shm::steady_now();
  }

  [[nodiscard]] std::uint64_t to_ns(std::uint64_t ticks) const noexcept {
    __extension__ using Wide = unsigned __int128;
    return static_cast<std::uint64_t>((Wide{ticks} * ns_per_tick_q32_) >> 32);
  }

  [[nodiscard]] bool from_tsc() const noexcept {
    return from_tsc_;
  }
  /// Readings per microsecond of the underlying counter.
  [[nodiscard]] double ticks_per_us() const noexcept;
  /// Measures the timer's own cost on the core of the caller.
  [[nodiscard]] TimerCost cost() const;

 private:
  bool from_tsc_ = false;
  std::uint64_t ns_per_tick_q32_ = std::uint64_t{1} << 32;
};

}  // namespace mserve::bench
