// SPDX-License-Identifier: Apache-2.0
#include "mserve/shm/clock.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <ctime>
#include <string_view>

#include "mserve/shm/unique_fd.hpp"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace mserve::shm {
namespace {

constexpr std::uint64_t kSyncNsMin = 10'000'000;

// The counter ticks at one rate in every power state (what /proc/cpuinfo calls nonstop_tsc).
bool counter_is_invariant() noexcept {
#if defined(__x86_64__)
  unsigned eax = 0;
  unsigned ebx = 0;
  unsigned ecx = 0;
  unsigned edx = 0;
  constexpr unsigned kPowerLeaf = 0x80000007U;
  constexpr unsigned kInvariantTsc = 1U << 8;
  return __get_cpuid(kPowerLeaf, &eax, &ebx, &ecx, &edx) != 0 && (edx & kInvariantTsc) != 0;
#else
  return false;
#endif
}

// The kernel gives the counter up when it finds it unsynchronised between cores; its choice counts.
bool kernel_trusts_counter() noexcept {
  const UniqueFd fd(::open("/sys/devices/system/clocksource/clocksource0/current_clocksource",
                           O_RDONLY | O_CLOEXEC));
  std::array<char, 16> text{};
  const ssize_t got = fd ? ::read(fd.get(), text.data(), text.size()) : -1;
  return got > 0 && std::string_view(text.data(), static_cast<std::size_t>(got)) == "tsc\n";
}

void sleep_ns(std::uint64_t duration_ns) noexcept {
  timespec left = {static_cast<time_t>(duration_ns / kNsPerSecond),
                   static_cast<long>(duration_ns % kNsPerSecond)};
  while (::nanosleep(&left, &left) != 0 && errno == EINTR) {
  }
}

// Nanoseconds per tick, times 2^32; 0 when no time passed.
std::uint64_t rate_q32(std::uint64_t elapsed_ns, std::uint64_t elapsed_ticks) noexcept {
  __extension__ using Wide = unsigned __int128;
  return elapsed_ticks == 0 ? 0
                            : static_cast<std::uint64_t>((Wide{elapsed_ns} << 32) / elapsed_ticks);
}

// Within a hundredth: more is a suspended machine or a reset counter, not a clock being slewed.
bool plausible(std::uint64_t rate, std::uint64_t previous) noexcept {
  const std::uint64_t difference = rate > previous ? rate - previous : previous - rate;
  return difference <= previous / 100;
}

}  // namespace

std::uint64_t steady_now() noexcept {
  timespec now = {};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * kNsPerSecond +
         static_cast<std::uint64_t>(now.tv_nsec);
}

TscClock::TscClock(ClockSource source, std::uint64_t calibrate_ns) noexcept {
  if (source == ClockSource::system || !counter_is_invariant() || !kernel_trusts_counter()) {
    return;
  }
  const Calibration first = measure_pair();
  sleep_ns(calibrate_ns);
  Calibration second = measure_pair();
  if (second.base_ticks <= first.base_ticks || second.base_ns <= first.base_ns) {
    return;
  }
  second.ns_per_tick_q32 =
      rate_q32(second.base_ns - first.base_ns, second.base_ticks - first.base_ticks);
  use_ = second;
  anchor_ = second;
  from_tsc_ = second.ns_per_tick_q32 != 0;
}

// Reads both clocks as close together as it gets: the tightest of several tries, so that an
// interrupt in the middle of one does not matter.
TscClock::Calibration TscClock::measure_pair() noexcept {
  constexpr int kPairTries = 16;
  Calibration best;
  std::uint64_t tightest = UINT64_MAX;
  for (int i = 0; i < kPairTries; ++i) {
    const std::uint64_t before = ticks();
    const std::uint64_t now_ns = steady_now();
    const std::uint64_t after = ticks();
    if (after - before < tightest) {
      tightest = after - before;
      best.base_ticks = before + (after - before) / 2;
      best.base_ns = now_ns;
    }
  }
  return best;
}

bool TscClock::sync() noexcept {
  if (!from_tsc_ || full_.load(std::memory_order_acquire) != 0) {  // K2
    return false;
  }
  Calibration measured = measure_pair();
  const std::uint64_t elapsed_ns = measured.base_ns - anchor_.base_ns;
  if (elapsed_ns < kSyncNsMin) {
    return false;
  }
  const std::uint64_t rate = measured.base_ticks > anchor_.base_ticks
                                 ? rate_q32(elapsed_ns, measured.base_ticks - anchor_.base_ticks)
                                 : 0;
  measured.ns_per_tick_q32 =
      plausible(rate, anchor_.ns_per_tick_q32) ? rate : anchor_.ns_per_tick_q32;
  anchor_ = measured;
  mailbox_ = measured;
  full_.store(1, std::memory_order_release);  // K1
  return true;
}

void TscClock::take() noexcept {
  use_ = mailbox_;
  full_.store(0, std::memory_order_release);  // K2
}

}  // namespace mserve::shm
