// SPDX-License-Identifier: Apache-2.0
#include "timer.hpp"

#include <gtest/gtest.h>

#include "mserve/shm/clock.hpp"

namespace mserve::bench {
namespace {

TEST(Timer, AgreesWithTheMonotonicClock) {
  const Timer timer;
  const std::uint64_t outer_begin = shm::steady_now();
  const std::uint64_t begin = timer.read();
  const std::uint64_t inner_begin = shm::steady_now();
  while (shm::steady_now() - inner_begin < 20'000'000) {
  }
  const std::uint64_t inner_ns = shm::steady_now() - inner_begin;
  const std::uint64_t measured_ns = timer.to_ns(timer.read() - begin);
  const std::uint64_t outer_ns = shm::steady_now() - outer_begin;
  // The calibration may have met a preemption: one part in a hundred is what percentiles need.
  EXPECT_GE(measured_ns + inner_ns / 100, inner_ns);
  EXPECT_LE(measured_ns, outer_ns + outer_ns / 100);
}

TEST(Timer, CostIsOrdered) {
  const Timer timer;
  const TimerCost cost = timer.cost();
  EXPECT_LE(cost.p50_ns, cost.p99_ns);
}

}  // namespace
}  // namespace mserve::bench
