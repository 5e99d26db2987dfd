// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <vector>

#include "desk.hpp"

// One query to many servants behind a barrier.
namespace mserve::broker::test {
namespace {

class DispatcherBroadcast : public ::testing::Test {
 protected:
  void SetUp() override {
    desk.join(3, /*credit=*/2);
    ASSERT_TRUE(desk.it.on(OriginOpened{1}, desk.now));
  }
  Submitted part(std::uint32_t target, std::uint32_t count, std::uint32_t origin = 1) {
    return desk.it.on(Submit{.origin = origin, .retries = 3, .broadcast = count, .target = target},
                      desk.now);
  }

  Desk desk{{.policy = Policy::even}};
};

TEST_F(DispatcherBroadcast, NobodyRunsAnythingElseUntilAllHaveAnswered) {
  EXPECT_EQ(desk.run(), 0U);
  const RequestId first = part(0, 2).id;
  const RequestId second = part(1, 2).id;
  EXPECT_EQ(desk.sent(), second);  // Servant 0 has something to finish.
  EXPECT_EQ(desk.run(), 2U);       // Not in the broadcast.
  EXPECT_EQ(desk.run(), 2U);
  const RequestId waits = desk.submit();
  desk.expect_none();
  EXPECT_TRUE(desk.done(1).valid);
  desk.expect_none();  // Servant 1 has answered, but servant 0 has not even begun.
  const RequestId ordinary = desk.runs[0];
  EXPECT_TRUE(desk.it.on(Done{ordinary, 0}, desk.now).valid);
  EXPECT_EQ(desk.sent(), first);
  EXPECT_EQ(desk.last.servant, 0U);
  desk.expect_none();
  EXPECT_TRUE(desk.done(0).valid);
  EXPECT_EQ(desk.sent(), waits);  // Over: both are free again.
  EXPECT_NE(desk.last.servant, 2U);
}

TEST_F(DispatcherBroadcast, WhoeverDiesFailsItsPartAndTheOthersGoOn) {
  const RequestId first = part(0, 2).id;
  const RequestId second = part(1, 2).id;
  EXPECT_EQ(desk.sent(), first);
  EXPECT_EQ(desk.sent(), second);
  ASSERT_TRUE(desk.it.on(ServantLeft{0}, desk.now));
  const Decision failed = desk.next();
  EXPECT_EQ(failed.request, first);
  EXPECT_EQ(failed.reason, FailReason::servant_died);
  EXPECT_TRUE(desk.done(1).valid);
  EXPECT_EQ(desk.run(), 1U);
}

TEST_F(DispatcherBroadcast, WhoIsNotThereOrSuspendedIsRefusedAndCounts) {
  ASSERT_TRUE(desk.it.on(ServantSuspended{2}, desk.now));
  EXPECT_EQ(part(9, 3).refusal, Refusal::no_servant);
  EXPECT_EQ(part(2, 3).refusal, Refusal::no_servant);
  const RequestId last = part(0, 3).id;
  EXPECT_EQ(desk.sent(), last);
  EXPECT_TRUE(desk.done(0).valid);
  EXPECT_EQ(desk.run(), 0U);
}

TEST_F(DispatcherBroadcast, ThereIsOneAtATime) {
  const RequestId first = part(0, 2).id;
  EXPECT_EQ(part(1, 1, /*origin=*/0).refusal, Refusal::busy);
  EXPECT_EQ(part(0, 2).refusal, Refusal::busy);  // Twice; that was the second of two.
  EXPECT_EQ(part(1, 2).refusal, Refusal::busy);  // One too many.
  EXPECT_EQ(desk.sent(), first);
  EXPECT_TRUE(desk.done(0).valid);
  EXPECT_EQ(part(1, 1, /*origin=*/0).refusal, Refusal::none);
}

TEST_F(DispatcherBroadcast, AnOriginThatClosesInTheMiddleHoldsNobody) {
  const RequestId sent = part(0, 3).id;
  EXPECT_EQ(desk.sent(), sent);
  EXPECT_EQ(desk.run(), 1U);
  const RequestId waits = part(1, 3).id;  // The third never comes.
  ASSERT_TRUE(desk.it.on(OriginClosed{1}, desk.now));
  desk.expect_over(Decision::Kind::discard, waits);
  EXPECT_EQ(desk.run(), 2U);
  EXPECT_EQ(desk.run(), 2U);
  const RequestId queued = desk.submit();
  desk.expect_none();  // Servant 0 still runs its part, so servant 1 is held as well.
  EXPECT_FALSE(desk.done(0).deliver);
  EXPECT_EQ(desk.sent(), queued);
}

TEST_F(DispatcherBroadcast, ItsPartsHaveTheirLimits) {
  EXPECT_EQ(desk.run(), 0U);
  const Submitted part =
      desk.it.on(Submit{.origin = 1, .queue_timeout = 1000, .broadcast = 1, .target = 0}, desk.now);
  desk.expect_none();
  desk.now += kSecond;
  desk.expect_over(Decision::Kind::fail, part.id);
  EXPECT_EQ(desk.run(), 1U);
  EXPECT_EQ(desk.run(), 2U);
  EXPECT_EQ(desk.run(), 0U);  // Nobody is held any more.
}

TEST(DispatcherSuspend, StickyOriginsMayChooseAnew) {
  Desk desk;
  desk.join(2);
  ASSERT_TRUE(desk.it.on(OriginOpened{.origin = 1, .sticky = true}, desk.now));
  const std::uint32_t own = desk.run(0, 1);
  const std::vector<RequestId> waiting = {desk.submit(0, 1), desk.submit(0, 1)};
  ASSERT_TRUE(desk.it.on(ServantSuspended{own}, desk.now));
  desk.expect_none();  // They wait for it.
  ASSERT_TRUE(desk.it.on(ServantSuspended{.servant = own, .release_sticky = true}, desk.now));
  EXPECT_EQ(desk.sent(), waiting[0]);
  EXPECT_EQ(desk.last.servant, 1 - own);
  desk.done(1 - own);
  EXPECT_EQ(desk.sent(), waiting[1]);
  desk.done(1 - own);
  desk.done(own);
  EXPECT_EQ(desk.run(0, 1), 1 - own);
}

}  // namespace
}  // namespace mserve::broker::test
