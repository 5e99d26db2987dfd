// SPDX-License-Identifier: Apache-2.0
// When servants of the reserve are started and stopped.
#include "control/reserve.hpp"

#include <gtest/gtest.h>

namespace mserve::broker::test {
namespace {

constexpr Nanos kAfter = 100;
constexpr Nanos kIdle = 1000;
constexpr Nanos kQuiet = 0;

/// Two of five: servants 4 and 5.
Reserve two(Nanos idle = kIdle) {
  return Reserve({.first = 4, .count = 2, .after = kAfter, .idle = idle});
}

TEST(Reserve, WithoutOneNothingIsCovered) {
  Reserve none({.first = 6, .count = 0, .after = kAfter, .idle = kIdle});
  EXPECT_FALSE(none.any());
  EXPECT_FALSE(none.can_start());
  EXPECT_FALSE(none.covers(5));
  EXPECT_FALSE(none.covers(6));
  EXPECT_EQ(none.start(kAfter, kAfter), std::nullopt);
  EXPECT_EQ(none.hold(kIdle, kQuiet), std::nullopt);
}

TEST(Reserve, CoversTheLastServants) {
  const Reserve reserve = two();
  EXPECT_FALSE(reserve.covers(0)) << "a servant that nobody launched";
  EXPECT_FALSE(reserve.covers(3));
  EXPECT_TRUE(reserve.covers(4));
  EXPECT_TRUE(reserve.covers(5));
  EXPECT_FALSE(reserve.covers(6));
}

TEST(Reserve, OneMoreIsStartedEachTimeWhileTheQueueStaysOld) {
  Reserve reserve = two();
  EXPECT_EQ(reserve.start(10, kAfter - 1), std::nullopt);
  EXPECT_EQ(reserve.start(11, kAfter), 4U);
  EXPECT_EQ(reserve.start(12, kAfter + 1), std::nullopt);
  EXPECT_EQ(reserve.start(10 + kAfter, 2 * kAfter), std::nullopt);
  EXPECT_EQ(reserve.start(11 + kAfter, kAfter - 1), std::nullopt) << "it is young by now";
  EXPECT_TRUE(reserve.can_start());
  EXPECT_EQ(reserve.start(12 + kAfter, kAfter), 5U);
  EXPECT_FALSE(reserve.can_start());
  EXPECT_EQ(reserve.start(12 + 5 * kAfter, kAfter), std::nullopt) << "there are no more";
}

TEST(Reserve, TheNewestOfThoseThatAreIdleIsStoppedOneAtATime) {
  Reserve reserve = two();
  EXPECT_EQ(reserve.start(0, kAfter), 4U);
  EXPECT_EQ(reserve.start(kAfter, kAfter), 5U);
  reserve.used(4, 200);
  reserve.used(5, 300);
  EXPECT_EQ(reserve.hold(199 + kIdle, kQuiet), std::nullopt);
  EXPECT_EQ(reserve.hold(300 + kIdle, kAfter), std::nullopt) << "not while the queue is old";
  EXPECT_EQ(reserve.hold(300 + kIdle, kQuiet), 5U) << "both are idle, it is the newest";
  EXPECT_EQ(reserve.leaving(), 5U);
  EXPECT_EQ(reserve.hold(301 + kIdle, kQuiet), std::nullopt);
  reserve.end(5);
  EXPECT_EQ(reserve.hold(302 + kIdle, kQuiet), std::nullopt) << "it is not gone yet";
  EXPECT_FALSE(reserve.can_start());
  reserve.ended(5);
  EXPECT_TRUE(reserve.can_start());
  EXPECT_EQ(reserve.hold(303 + kIdle, kQuiet), 4U);
}

TEST(Reserve, AnOlderOneThatIsIdleIsStoppedBeforeANewerThatIsNot) {
  Reserve reserve = two();
  EXPECT_EQ(reserve.start(0, kAfter), 4U);
  EXPECT_EQ(reserve.start(kAfter, kAfter), 5U);
  reserve.used(5, kIdle);
  EXPECT_EQ(reserve.hold(kIdle, kQuiet), 4U);
}

TEST(Reserve, WhoWasHeldAndHadWorkHasAllItsTimeAgain) {
  Reserve reserve = two();
  EXPECT_EQ(reserve.start(0, kAfter), 4U);
  EXPECT_EQ(reserve.hold(kIdle, kQuiet), 4U);
  reserve.keep(4, kIdle);
  EXPECT_EQ(reserve.state(4), Reserve::State::started);
  EXPECT_EQ(reserve.leaving(), std::nullopt);
  EXPECT_EQ(reserve.hold(2 * kIdle - 1, kQuiet), std::nullopt);
  EXPECT_EQ(reserve.hold(2 * kIdle, kQuiet), 4U);
}

TEST(Reserve, ForeverIsNeverIdleLongEnough) {
  Reserve reserve = two(kForever);
  EXPECT_EQ(reserve.start(0, kAfter), 4U);
  EXPECT_EQ(reserve.hold(kForever, kQuiet), std::nullopt);
}

TEST(Reserve, ARetiredOneIsNeverStartedAgain) {
  Reserve reserve = two();
  reserve.retire(4);
  EXPECT_EQ(reserve.start(0, kAfter), 5U);
  EXPECT_EQ(reserve.hold(kIdle, kQuiet), 5U);
  reserve.retire(5);
  EXPECT_EQ(reserve.leaving(), std::nullopt);
  EXPECT_FALSE(reserve.can_start());
  EXPECT_EQ(reserve.start(2 * kIdle, kAfter), std::nullopt);
}

}  // namespace
}  // namespace mserve::broker::test
