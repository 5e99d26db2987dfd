// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <vector>

#include "desk.hpp"

// Which servants may run what: classes and their fallbacks, priorities, sticky origins.
namespace mserve::broker::test {
namespace {

constexpr std::uint32_t kAny = 0;
constexpr std::uint32_t kHdb = 1;

// Servants 0 and 1 are of pool 0, servants 2 and 3 of pool 1, which is also class kHdb.
class DispatcherClasses : public ::testing::Test {
 protected:
  static Limits limits() {
    Limits limits = Desk::small();
    limits.classes_max = 4;
    return limits;
  }
  void SetUp() override {
    ASSERT_TRUE(desk.it.on(ClassDefined{kHdb}, desk.now));
    ASSERT_TRUE(desk.it.on(PoolDefined{1, 1 << kAny | 1 << kHdb}, desk.now));
    for (std::uint32_t at = 0; at < 4; ++at) {
      ASSERT_TRUE(desk.it.on(ServantJoined{.servant = at, .pool = at / 2}, desk.now));
    }
  }
  RequestId submit(std::uint32_t number, std::uint64_t route = 0) {
    const Submitted answer =
        desk.it.on(Submit{.origin = 0, .route = route, .class_number = number}, desk.now);
    EXPECT_EQ(answer.refusal, Refusal::none);
    return answer.id;
  }
  // To which servant it goes at once.
  std::uint32_t run(std::uint32_t number, std::uint64_t route = 0) {
    (void)submit(number, route);
    const Decision decision = desk.next();
    desk.remember(decision);
    return decision.servant;
  }

  Desk desk{{}, limits()};
};

TEST_F(DispatcherClasses, ARequestGoesToServantsOfItsClassOnly) {
  EXPECT_EQ(run(kHdb), 2U);
  EXPECT_EQ(run(kHdb), 3U);
  const RequestId waits = submit(kHdb);
  desk.expect_none();  // Two others are idle.
  desk.done(3);
  EXPECT_EQ(desk.sent(), waits);
  EXPECT_EQ(desk.last.servant, 3U);
}

TEST_F(DispatcherClasses, ServantsOfSeveralClassesServeThemInTurn) {
  EXPECT_EQ(run(kAny), 0U);
  EXPECT_EQ(run(kAny), 1U);
  EXPECT_EQ(run(kHdb), 2U);
  EXPECT_EQ(run(kHdb), 3U);
  const std::vector<RequestId> any = {submit(kAny), submit(kAny)};
  const std::vector<RequestId> hdb = {submit(kHdb), submit(kHdb)};
  std::vector<RequestId> order;
  for (int turn = 0; turn < 4; ++turn) {
    desk.done(2);
    order.push_back(desk.sent());
  }
  EXPECT_EQ(order, (std::vector<RequestId>{hdb[0], any[0], hdb[1], any[1]}));
}

TEST_F(DispatcherClasses, ARouteIsWarmWithinItsClass) {
  EXPECT_EQ(run(kAny, 7), 0U);
  desk.done(0);
  EXPECT_EQ(run(kHdb, 7), 2U);  // Servant 0 holds it, but may not run this.
  desk.done(2);
  EXPECT_EQ(run(kHdb, 7), 2U);
  EXPECT_EQ(run(kAny, 7), 0U);
}

TEST_F(DispatcherClasses, WithoutAServantTheFallbackServes) {
  ASSERT_TRUE(desk.it.on(ClassDefined{.number = kHdb, .fallback = kAny}, desk.now));
  EXPECT_EQ(run(kHdb), 2U);
  EXPECT_EQ(run(kHdb), 3U);
  const RequestId queued = submit(kHdb, 5);
  desk.expect_none();  // They live: it waits for them.
  EXPECT_TRUE(desk.it.on(ServantSuspended{2}, desk.now));
  desk.expect_none();
  EXPECT_TRUE(desk.it.on(ServantSuspended{3}, desk.now));
  EXPECT_EQ(desk.sent(), queued);
  EXPECT_EQ(desk.last.servant, 0U);
  EXPECT_EQ(desk.it.counters().fallbacks, 1U);
  EXPECT_EQ(run(kHdb), 1U);  // New ones begin there.
  desk.done(1);
  EXPECT_TRUE(desk.it.on(ServantResumed{3}, desk.now));
  desk.done(3);
  EXPECT_EQ(run(kHdb), 3U);
}

TEST_F(DispatcherClasses, WithoutServantAndFallbackItFails) {
  desk.it.on(ServantsExpected{0}, desk.now);
  EXPECT_EQ(run(kHdb), 2U);
  EXPECT_EQ(run(kHdb), 3U);
  const RequestId queued = submit(kHdb);
  desk.expect_none();
  EXPECT_TRUE(desk.it.on(ServantLeft{2}, desk.now));
  EXPECT_EQ(desk.next().reason, FailReason::servant_died);
  EXPECT_TRUE(desk.it.on(ServantLeft{3}, desk.now));
  EXPECT_EQ(desk.next().reason, FailReason::servant_died);
  const Decision failed = desk.next();
  EXPECT_EQ(failed.request, queued);
  EXPECT_EQ(failed.reason, FailReason::no_servant);
  EXPECT_EQ(desk.it.on(Submit{.origin = 0, .class_number = kHdb}, desk.now).refusal,
            Refusal::no_servant);
  EXPECT_EQ(run(kAny), 0U);
}

TEST_F(DispatcherClasses, WaitsForServantsThatAreExpectedForItOnly) {
  EXPECT_TRUE(desk.it.on(ServantLeft{2}, desk.now));
  EXPECT_TRUE(desk.it.on(ServantLeft{3}, desk.now));
  const RequestId queued = submit(kHdb);
  desk.expect_none();
  desk.it.on(ServantsExpected{1U << kHdb}, desk.now);
  desk.expect_none();
  desk.it.on(ServantsExpected{1U << kAny}, desk.now);
  const Decision failed = desk.next();
  EXPECT_EQ(failed.request, queued);
  EXPECT_EQ(failed.reason, FailReason::no_servant);
  EXPECT_EQ(desk.it.on(Submit{.origin = 0, .class_number = kHdb}, desk.now).refusal,
            Refusal::no_servant);
}

TEST_F(DispatcherClasses, WaitsForServantsThatAreExpectedForItsFallback) {
  ASSERT_TRUE(desk.it.on(ClassDefined{.number = 2, .pools = 0, .fallback = kHdb}, desk.now));
  EXPECT_TRUE(desk.it.on(ServantLeft{2}, desk.now));
  EXPECT_TRUE(desk.it.on(ServantLeft{3}, desk.now));
  desk.it.on(ServantsExpected{1U << kHdb}, desk.now);
  const RequestId queued = submit(2);
  desk.expect_none();
  EXPECT_TRUE(desk.it.on(ServantJoined{.servant = 2, .pool = 1}, desk.now));
  EXPECT_EQ(desk.sent(), queued);
}

TEST_F(DispatcherClasses, AClassNobodyDefinedHasNoServants) {
  for (const std::uint32_t number : {2U, 4U, 64U, kNone}) {
    EXPECT_EQ(desk.it.on(Submit{.origin = 0, .class_number = number}, desk.now).refusal,
              Refusal::no_servant);
  }
}

TEST_F(DispatcherClasses, AClassDefinedLaterTakesInWhoIsThere) {
  ASSERT_TRUE(desk.it.on(ClassDefined{.number = 2, .pools = 1}, desk.now));
  EXPECT_EQ(run(2), 0U);
  EXPECT_EQ(run(2), 1U);
  (void)submit(2);
  desk.expect_none();
}

// A pool for each link to another broker: there used to be room for 64.
TEST_F(DispatcherClasses, TheLastPoolIsLikeTheFirst) {
  constexpr std::uint32_t kLast = kPoolsMax - 1;
  static_assert(kLast >= 200);
  ASSERT_TRUE(desk.it.on(ServantLeft{0}, desk.now));
  ASSERT_TRUE(desk.it.on(ServantLeft{1}, desk.now));
  ASSERT_TRUE(desk.it.on(PoolDefined{kLast, 1 << kAny | 1 << kHdb}, desk.now));
  ASSERT_TRUE(desk.it.on(ServantJoined{.servant = 0, .pool = kLast}, desk.now));
  ASSERT_TRUE(desk.it.on(ClassDefined{.number = 2, .pools = PoolSet().set(kLast)}, desk.now));
  EXPECT_EQ(run(2), 0U);
  const RequestId waits = submit(2);
  EXPECT_EQ(run(kHdb), 2U);
  desk.expect_none();
  desk.done(0);
  EXPECT_EQ(desk.sent(), waits);
  EXPECT_EQ(desk.last.servant, 0U);
}

TEST_F(DispatcherClasses, DefinitionsThatMakeNoSenseAreRefused) {
  EXPECT_FALSE(desk.it.on(PoolDefined{1, 1}, desk.now));  // It has servants.
  EXPECT_FALSE(desk.it.on(PoolDefined{kPoolsMax, 1}, desk.now));
  EXPECT_FALSE(desk.it.on(ClassDefined{.number = 4}, desk.now));
  EXPECT_FALSE(desk.it.on(ClassDefined{.number = 2, .fallback = 4}, desk.now));
  EXPECT_FALSE(desk.it.on(ServantJoined{.servant = 9, .pool = kPoolsMax}, desk.now));
}

TEST_F(DispatcherClasses, FallbacksInACircleEndSomewhere) {
  ASSERT_TRUE(desk.it.on(ClassDefined{.number = 2, .fallback = 3}, desk.now));
  ASSERT_TRUE(desk.it.on(ClassDefined{.number = 3, .fallback = 2}, desk.now));
  (void)submit(2);  // Servants are expected.
  desk.expect_none();
}

TEST(DispatcherPriority, EachHasItsShareAndTheHighestTheMost) {
  Desk desk;
  desk.join(1);
  EXPECT_EQ(desk.run(), 0U);
  std::vector<std::uint8_t> priority_of(64);
  const auto submit = [&](std::uint8_t priority) {
    const Submitted answer = desk.it.on(Submit{.origin = 0, .priority = priority}, desk.now);
    ASSERT_EQ(answer.refusal, Refusal::none);
    priority_of[answer.id.slot] = priority;
  };
  for (int count = 0; count < 2; ++count) {
    for (std::uint8_t priority = 0; priority < kPriorities; ++priority) {
      submit(priority);
    }
  }
  std::vector<int> sent(kPriorities, 0);
  for (int turn = 0; turn < 16; ++turn) {
    desk.done(0);
    const std::uint8_t priority = priority_of[desk.sent().slot];
    ++sent[priority];
    submit(priority);  // All of them always have something.
  }
  EXPECT_EQ(sent, (std::vector<int>{2, 2, 4, 8}));
}

TEST(DispatcherPriority, WhatIsAboveTheHighestCountsAsTheHighest) {
  Desk desk;
  desk.join(1);
  EXPECT_EQ(desk.run(), 0U);
  (void)desk.submit();
  const RequestId urgent = desk.it.on(Submit{.origin = 0, .priority = 200}, desk.now).id;
  desk.done(0);
  EXPECT_EQ(desk.sent(), urgent);
}

class DispatcherSticky : public ::testing::Test {
 protected:
  void SetUp() override {
    for (const std::uint32_t origin : {1U, 2U, 3U}) {
      ASSERT_TRUE(desk.it.on(OriginOpened{.origin = origin, .sticky = true}, desk.now));
    }
  }
  Desk desk;
};

TEST_F(DispatcherSticky, OneServantRunsAllThatAnOriginAsks) {
  desk.join(2);
  const std::uint32_t own = desk.run(7, 1);
  const RequestId waits = desk.submit(7, 1);
  desk.expect_none();  // The other servant is idle.
  EXPECT_EQ(desk.run(7, 0), 1 - own);
  desk.done(own);
  EXPECT_EQ(desk.sent(), waits);
  EXPECT_EQ(desk.last.servant, own);
  EXPECT_EQ(desk.it.counters().bound, 2U);
}

TEST_F(DispatcherSticky, OriginsSpreadOverServants) {
  desk.join(3);
  std::vector<std::uint32_t> servants = {desk.run(0, 1), desk.run(0, 2), desk.run(0, 3)};
  std::sort(servants.begin(), servants.end());
  EXPECT_EQ(servants, (std::vector<std::uint32_t>{0, 1, 2}));
  desk.done(0);
  ASSERT_TRUE(desk.it.on(OriginClosed{1}, desk.now));  // Whoever served it has the fewest now.
  ASSERT_TRUE(desk.it.on(OriginOpened{.origin = 1, .sticky = true}, desk.now));
  EXPECT_EQ(desk.run(0, 1), 0U);
}

TEST_F(DispatcherSticky, BoundRequestsAndOthersTakeTurns) {
  desk.join(1);
  EXPECT_EQ(desk.run(0, 1), 0U);
  const std::vector<RequestId> bound = {desk.submit(0, 1), desk.submit(0, 1)};
  const std::vector<RequestId> others = {desk.submit(0, 0), desk.submit(0, 0)};
  std::vector<RequestId> order;
  for (int turn = 0; turn < 4; ++turn) {
    desk.done(0);
    order.push_back(desk.sent());
  }
  EXPECT_EQ(order, (std::vector<RequestId>{others[0], bound[0], others[1], bound[1]}));
}

TEST_F(DispatcherSticky, WhenItsServantLeavesItsRequestsFailAndTheNextIsBoundAnew) {
  desk.join(2);
  const std::uint32_t own = desk.run(0, 1, /*retries=*/5);
  const RequestId waits = desk.submit(0, 1, /*retries=*/5);
  ASSERT_TRUE(desk.it.on(ServantLeft{own}, desk.now));
  desk.expect_over(Decision::Kind::fail, desk.runs[own]);
  desk.expect_over(Decision::Kind::fail, waits);
  EXPECT_EQ(desk.run(0, 1), 1 - own);
  ASSERT_TRUE(desk.it.on(ServantJoined{own}, desk.now));
  desk.done(1 - own);
  EXPECT_EQ(desk.run(0, 1), 1 - own);
}

TEST_F(DispatcherSticky, WaitsForTheFirstServantThereIs) {
  const std::vector<RequestId> early = {desk.submit(0, 1), desk.submit(0, 1)};
  desk.expect_none();
  desk.join(1);
  EXPECT_EQ(desk.sent(), early[0]);
  desk.done(0);
  EXPECT_EQ(desk.sent(), early[1]);
}

TEST_F(DispatcherSticky, FailsWhenNobodyIsExpectedAnyMore) {
  const std::vector<RequestId> early = {desk.submit(0, 1), desk.submit(0, 2)};
  desk.expect_none();
  desk.it.on(ServantsExpected{0}, desk.now);
  desk.expect_over(Decision::Kind::fail, early[0]);
  desk.expect_over(Decision::Kind::fail, early[1]);
}

}  // namespace
}  // namespace mserve::broker::test
