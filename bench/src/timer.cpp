// SPDX-License-Identifier: Apache-2.0
#include "timer.hpp"

#include <cmath>
#include <memory>

#include "mserve/shm/histogram.hpp"

namespace mserve::bench {
namespace {

constexpr std::uint64_t kCalibrateNs = 50'000'000;
constexpr int kCostSamples = 200'000;

}  // namespace

Timer::Timer() noexcept {
  // The library knows when the counter may be trusted; only the calibration here is longer.
  if (!shm::TscClock(1'000'000).from_tsc()) {
    return;
  }
  from_tsc_ = true;
  const std::uint64_t begin_ns = shm::steady_now();
  const std::uint64_t begin_ticks = read();
  std::uint64_t end_ns = begin_ns;
  while (end_ns - begin_ns < kCalibrateNs) {
    end_ns = shm::steady_now();
  }
  const std::uint64_t ticks = read() - begin_ticks;
  if (ticks == 0) {
    from_tsc_ = false;
    return;
  }
  const double ns_per_tick = static_cast<double>(end_ns - begin_ns) / static_cast<double>(ticks);
  ns_per_tick_q32_ = static_cast<std::uint64_t>(std::ldexp(ns_per_tick, 32));
}

double Timer::ticks_per_us() const noexcept {
  return std::ldexp(1000.0, 32) / static_cast<double>(ns_per_tick_q32_);
}

TimerCost Timer::cost() const {
  const auto samples = std::make_unique<shm::Histogram>();
  for (int i = 0; i < kCostSamples; ++i) {
    const std::uint64_t begin = read();
    const std::uint64_t end = read();
    samples->record(to_ns(end - begin));
  }
  return {samples->percentile(50), samples->percentile(99)};
}

}  // namespace mserve::bench
