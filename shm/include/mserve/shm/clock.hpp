// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

namespace mserve::shm {

inline constexpr std::uint64_t kNsPerSecond = 1'000'000'000;

/// CLOCK_MONOTONIC in nanoseconds; the clock of every deadline. Some 20 to 50 ns.
[[nodiscard]] std::uint64_t steady_now() noexcept;

/// A deadline `span_ns` after `now_ns`; the end of time instead of a wrap, so that "for ever" stays
/// that.
[[nodiscard]] constexpr std::uint64_t add_capped(std::uint64_t now_ns,
                                                 std::uint64_t span_ns) noexcept {
  return span_ns > UINT64_MAX - now_ns ? UINT64_MAX : now_ns + span_ns;
}

/// What a TscClock reads.
enum class ClockSource : std::uint8_t {
  automatic,  ///< The time-stamp counter where it is fit for it.
  system,     ///< clock_gettime, whatever the machine has.
};

// CLOCK_MONOTONIC nanoseconds computed from the time-stamp counter.
//   Roles     one *owner* thread calls now() and apply(); one helper thread at a time calls sync()
//   Progress  now() and apply() wait-free, no system call while from_tsc(); sync() makes some
//   Edges     K1 offer  full_: sync()  store release -> apply() load acquire
//             K2 taken  full_: apply() store release -> sync()  load acquire
//   Invariant the mailbox belongs to the helper while full_ is 0 and to the owner while it is 1;
//             now() never goes back: ahead of a new calibration it stands still until time catches
//             up
//   Trust     no other process is involved
class TscClock {
 public:
  static constexpr std::uint64_t kCalibrateNs = 2'000'000;

  /// Calibrates: sleeps for `calibrate_ns` if the counter is usable (invariant, and the kernel's
  /// own clock source), else falls back to clock_gettime and returns at once.
  /// @param calibrate_ns  longer is more exact: about 20 ppm of drift at 2 ms, until the first
  /// sync().
  explicit TscClock(std::uint64_t calibrate_ns = kCalibrateNs) noexcept
      : TscClock(ClockSource::automatic, calibrate_ns) {}
  /// @param source  `system` to do without the counter.
  explicit TscClock(ClockSource source, std::uint64_t calibrate_ns = kCalibrateNs) noexcept;
  TscClock(const TscClock&) = delete;
  TscClock& operator=(const TscClock&) = delete;

  /// Nanoseconds, as steady_now() counts. hot: one counter read, one multiplication.
  /// @thread the owner
  [[nodiscard]] std::uint64_t now() noexcept {
    const std::uint64_t computed = from_tsc_ ? evaluate(use_, ticks()) : steady_now();
    last_ns_ = computed > last_ns_ ? computed : last_ns_;
    return last_ns_;
  }

  /// Takes over what the helper measured, if there is something new. hot: one acquire load of a
  /// line that changes about once a second; call it once per pass or so.
  /// @return true when a new calibration is in use. @thread the owner
  bool apply() noexcept {
    if (full_.load(std::memory_order_acquire) == 0) [[likely]] {  // K1
      return false;
    }
    take();
    return true;
  }

  /// Measures the counter against CLOCK_MONOTONIC anew; call it about once a second, or the clock
  /// drifts by what the kernel's clock is slewed (up to 500 ppm). @return false when there was
  /// nothing to do: the fallback is in use, the last measurement is less than 10 ms old, or the
  /// owner has not applied the last one. @thread one helper at a time
  bool sync() noexcept;

  /// False when now() is clock_gettime.
  [[nodiscard]] bool from_tsc() const noexcept { return from_tsc_; }

 private:
  struct Calibration {
    std::uint64_t base_ticks = 0;
    std::uint64_t base_ns = 0;
    std::uint64_t ns_per_tick_q32 = 0;  ///< Nanoseconds per tick, times 2^32.
  };

  static std::uint64_t ticks() noexcept {
#if defined(__x86_64__)
    return __rdtsc();
#else
    return 0;
#endif
  }
  static std::uint64_t evaluate(const Calibration& c, std::uint64_t at_ticks) noexcept {
    __extension__ using Wide = unsigned __int128;
    // A reading from before the base (another core, a few ticks behind) counts as the base.
    const std::uint64_t delta = at_ticks > c.base_ticks ? at_ticks - c.base_ticks : 0;
    return c.base_ns + static_cast<std::uint64_t>((Wide{delta} * c.ns_per_tick_q32) >> 32);
  }
  static Calibration measure_pair() noexcept;
  [[gnu::cold]] void take() noexcept;

  Calibration use_;            // the owner's
  std::uint64_t last_ns_ = 0;  // the owner's
  bool from_tsc_ = false;      // constant after construction
  Calibration anchor_;         // the helper's: the previous measurement
  Calibration mailbox_;        // see the invariant
  std::atomic<std::uint32_t> full_{0};
};

}  // namespace mserve::shm
