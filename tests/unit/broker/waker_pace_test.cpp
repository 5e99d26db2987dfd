// SPDX-License-Identifier: Apache-2.0
#include "control/waker_pace.hpp"

#include <gtest/gtest.h>

namespace mserve::broker::test {
namespace {

constexpr Nanos kMs = 1'000'000;

/// Rounds at the pace that it gives, until `until`, with so many requests per millisecond.
Nanos run(WakerPace& pace, Nanos& now, Nanos until, std::uint64_t per_ms, bool sleeps = false) {
  Nanos sleep = 0;
  while (now < until) {
    if (pace.due(now)) {
      pace.looked(sleeps, now / kMs * per_ms, now);
    }
    sleep = pace.sleep_ns(/*repeating=*/false, now);
    now += sleep;
  }
  return sleep;
}

TEST(WakerPace, NapsWhileSomebodySleepsOrAWakeUpIsRepeated) {
  WakerPace pace(0);
  pace.looked(true, 0, kMs);
  EXPECT_EQ(pace.sleep_ns(false, kMs), WakerPace::kNap);
  pace.looked(false, 0, 2 * kMs);
  EXPECT_EQ(pace.sleep_ns(true, 2 * kMs), WakerPace::kNap);
  EXPECT_EQ(pace.sleep_ns(false, 2 * kMs), WakerPace::kSleep);
}

TEST(WakerPace, SleepsLongOnceEverybodyHasSpunForLong) {
  WakerPace pace(0);
  Nanos now = 0;
  EXPECT_EQ(run(pace, now, WakerPace::kAwake - kMs, 1000), WakerPace::kSleep) << "not long enough";
  EXPECT_EQ(run(pace, now, 2 * WakerPace::kAwake, 1000), WakerPace::kLongSleep);
  EXPECT_EQ(run(pace, now, 4 * WakerPace::kAwake, 1000), WakerPace::kLongSleep) << "and stays so";
}

TEST(WakerPace, OneThatSleepsEndsIt) {
  WakerPace pace(0);
  Nanos now = 0;
  (void)run(pace, now, 2 * WakerPace::kAwake, 1000);
  EXPECT_EQ(run(pace, now, now + 5 * kMs, 1000, /*sleeps=*/true), WakerPace::kNap);
  EXPECT_EQ(run(pace, now, now + 50 * kMs, 1000), WakerPace::kSleep);
}

TEST(WakerPace, FewRequestsOrNoneAreNoReasonForIt) {
  for (const std::uint64_t per_ms : {std::uint64_t{0}, WakerPace::kBusyRequests - 1}) {
    WakerPace pace(0);
    Nanos now = 0;
    EXPECT_EQ(run(pace, now, 3 * WakerPace::kAwake, per_ms), WakerPace::kSleep) << per_ms;
  }
  WakerPace pace(0);
  Nanos now = 0;
  EXPECT_EQ(run(pace, now, 3 * WakerPace::kAwake, WakerPace::kBusyRequests), WakerPace::kLongSleep);
}

}  // namespace
}  // namespace mserve::broker::test
