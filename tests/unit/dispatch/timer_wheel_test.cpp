// SPDX-License-Identifier: Apache-2.0
#include "dispatch/timer_wheel.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <iostream>
#include <map>
#include <random>

namespace mserve::broker::test {
namespace {

// Against a map: the same slots expire at the same times, whatever is set, moved and stopped.
TEST(TimerWheel, ExpiresTheSameSlotsAsAMap) {
  constexpr std::uint64_t kSeed = 20'261'124;
  std::cout << "seed " << kSeed << "\n";
  std::mt19937_64 random(kSeed);
  for (const std::uint32_t tick_bits : {0U, 4U, 16U}) {
    TimerWheel wheel(100, tick_bits);
    std::map<std::uint32_t, Nanos> expected;
    Nanos now = 0;
    const Nanos tick = Nanos{1} << tick_bits;
    for (int step = 0; step < 20'000; ++step) {
      const auto slot = static_cast<std::uint32_t>(random() % 100);
      switch (random() % 4) {
        case 0:
        case 1: {
          const Nanos due = now + (random() >> (20 + random() % 44));
          wheel.set(slot, due);
          expected[slot] = due;
          break;
        }
        case 2:
          wheel.stop(slot);
          expected.erase(slot);
          break;
        default:
          now += random() >> (24 + random() % 40);
      }
      while (wheel.next_due() <= now) {
        const std::uint32_t expired = wheel.expire(now);
        if (expired == kNone) {
          continue;
        }
        ASSERT_TRUE(expected.contains(expired)) << "step " << step;
        ASSERT_LE(expected[expired], now) << "step " << step;
        expected.erase(expired);
      }
      for (const auto& [left, due] : expected) {
        ASSERT_TRUE(wheel.is_set(left));
        ASSERT_GT(due + tick, now) << "step " << step << " slot " << left;
        ASSERT_LE(wheel.next_due(), due + tick) << "step " << step;
      }
    }
    EXPECT_GT(now, 1'000'000U);
  }
}

TEST(TimerWheel, WithoutTimersNothingIsDue) {
  TimerWheel wheel(1, 0);
  EXPECT_EQ(wheel.next_due(), kForever);
  wheel.set(0, 70);
  EXPECT_LE(wheel.next_due(), 70U);
  wheel.stop(0);
  EXPECT_EQ(wheel.next_due(), kForever);
  EXPECT_EQ(wheel.expire(1000), kNone);
}

TEST(TimerWheel, TheLastTickBeforeForEverNeverComes) {
  for (const std::uint32_t tick_bits : {2U, 16U, 32U}) {
    TimerWheel wheel(1, tick_bits);
    wheel.set(0, kForever - 1);
    EXPECT_GT(wheel.next_due(), kForever / 2);
    for (int step = 0; step < 20; ++step) {
      EXPECT_EQ(wheel.expire(kForever - 1), kNone);
    }
  }
}

TEST(TimerWheel, ATimeThatHasPassedIsDueAtOnce) {
  TimerWheel wheel(2, 0);
  EXPECT_EQ(wheel.expire(1000), kNone);
  wheel.set(1, 10);
  EXPECT_EQ(wheel.next_due(), 0U);
  EXPECT_EQ(wheel.expire(1000), 1U);
}

// The places of a wheel are used again every lap.
TEST(TimerWheel, KeepsItsTimesOverManyLaps) {
  TimerWheel wheel(1, 0);
  for (Nanos now = 0; now < 10'000; now += 61) {
    wheel.set(0, now + 61);
    EXPECT_EQ(wheel.expire(now + 60), kNone);
    std::uint32_t expired = kNone;
    for (int tries = 0; tries < 4 && expired == kNone; ++tries) {
      expired = wheel.expire(now + 61);
    }
    EXPECT_EQ(expired, 0U) << now;
  }
}

}  // namespace
}  // namespace mserve::broker::test
