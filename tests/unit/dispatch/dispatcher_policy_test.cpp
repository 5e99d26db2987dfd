// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cstdint>
#include <map>
#include <set>
#include <vector>

#include "desk.hpp"

// Which servant runs a request: orig, even, match; waiting for a holder; turns and overtaking.
namespace mserve::broker::test {
namespace {

TEST(DispatcherOrig, TakesTheFirstFreeServantFromTheTop) {
  Desk desk({.policy = Policy::orig});
  desk.join(3);
  EXPECT_EQ(desk.run(), 0U);
  EXPECT_EQ(desk.run(), 1U);
  desk.done(0);
  EXPECT_EQ(desk.run(), 0U);
  EXPECT_EQ(desk.run(), 2U);
  EXPECT_EQ(desk.run(), kNone);
}

TEST(DispatcherEven, TakesTheNextFreeServantAfterTheLastOneUsedAndWraps) {
  Desk desk({.policy = Policy::even});
  desk.join(3);
  for (const std::uint32_t expected : {0U, 1U, 2U, 0U, 1U}) {
    EXPECT_EQ(desk.run(), expected);
    desk.done(expected);
  }
  EXPECT_EQ(desk.run(), 2U);
  EXPECT_EQ(desk.run(), 0U);
  desk.done(2);
  EXPECT_EQ(desk.run(), 1U);
  EXPECT_EQ(desk.run(), 2U);
}

TEST(DispatcherMatch, ReturnsToTheFreeServantThatHoldsTheRoute) {
  Desk desk;
  desk.join(3);
  EXPECT_EQ(desk.run(7), 0U);
  EXPECT_EQ(desk.run(8), 1U);
  desk.done(0);
  desk.done(1);
  EXPECT_EQ(desk.run(8), 1U);
  EXPECT_EQ(desk.run(7), 0U);
  EXPECT_EQ(desk.it.counters().hits, 2U);
  EXPECT_EQ(desk.it.counters().claims, 2U);
}

TEST(DispatcherMatch, ClaimsAServantWithoutRouteBeforeTheLeastRecentlyUsed) {
  Desk desk;
  desk.join(3);
  EXPECT_EQ(desk.run(1), 0U);
  desk.done(0);
  EXPECT_EQ(desk.run(2), 1U);
  desk.done(1);
  EXPECT_EQ(desk.run(3), 2U) << "the one without a route";
  desk.done(2);
  EXPECT_EQ(desk.run(1), 0U);
  desk.done(0);
  EXPECT_EQ(desk.run(4), 1U) << "the least recently used of three that hold a route";
  EXPECT_EQ(desk.it.counters().steals, 1U);
}

TEST(DispatcherMatch, AnExpiredRouteIsNotHeldAnyMore) {
  Desk desk({.route_expire = 12 * kSecond});
  desk.join(3);
  EXPECT_EQ(desk.run(1), 0U);
  EXPECT_EQ(desk.run(2), 1U);
  desk.done(0);
  desk.done(1);
  desk.now += 12 * kSecond - 1;
  EXPECT_EQ(desk.run(2), 1U) << "just in time";
  desk.done(1);
  desk.now += 1;
  EXPECT_EQ(desk.run(1), 0U);
  EXPECT_EQ(desk.it.counters().hits, 1U) << "the second one was a claim";
  EXPECT_EQ(desk.it.counters().claims, 3U);
}

TEST(DispatcherMatch, ARunningRequestKeepsItsRouteFromExpiring) {
  Desk desk({.match_wait = kForever, .route_expire = kSecond});
  desk.join(2);
  EXPECT_EQ(desk.run(1), 0U);
  desk.now += 100 * kSecond;
  EXPECT_EQ(desk.run(1), kNone) << "its holder is still at it";
}

TEST(DispatcherMatch, WithoutWaitingABusyHolderIsPassedBy) {
  Desk desk;
  desk.join(2);
  EXPECT_EQ(desk.run(1), 0U);
  EXPECT_EQ(desk.run(1), 1U);
  EXPECT_EQ(desk.it.counters().spills, 1U);
  desk.done(0);
  desk.done(1);
  EXPECT_EQ(desk.run(1), 1U) << "both hold it now; the warmest is preferred";
}

TEST(DispatcherMatch, ARequestWithoutRouteLeavesTheHeldRouteAlone) {
  Desk desk;
  desk.join(1);
  EXPECT_EQ(desk.run(1), 0U);
  desk.done(0);
  EXPECT_EQ(desk.run(0), 0U);
  desk.done(0);
  EXPECT_EQ(desk.run(1), 0U);
  EXPECT_EQ(desk.it.counters().hits, 1U);
  EXPECT_EQ(desk.it.counters().unrouted, 1U);
}

// LBT's demonstration: 400 requests over 8 symbols and 8 servants, submitted at once.
TEST(DispatcherMatchWait, ForeverRunsEachRouteOnExactlyOneServant) {
  Desk desk({.match_wait = kForever});
  desk.join(8);
  for (std::uint32_t count = 0; count < 400; ++count) {
    desk.submit(1 + count * 5 % 8);
  }
  std::map<std::uint64_t, std::set<std::uint32_t>> ran_on;
  std::uint32_t completed = 0;
  while (completed < 400) {
    std::vector<std::uint32_t> busy;
    for (Decision decision = desk.next(); decision.kind != Decision::Kind::none;
         decision = desk.next()) {
      ASSERT_EQ(decision.kind, Decision::Kind::dispatch);
      desk.remember(decision);
      busy.push_back(decision.servant);
    }
    ASSERT_FALSE(busy.empty());
    for (const std::uint32_t servant : busy) {
      ran_on[desk.done(servant).route].insert(servant);
      ++completed;
    }
  }
  std::set<std::uint32_t> used;
  for (const auto& [route, servants] : ran_on) {
    EXPECT_EQ(servants.size(), 1U) << "route " << route;
    used.insert(servants.begin(), servants.end());
  }
  EXPECT_EQ(used.size(), 8U);
}

TEST(DispatcherMatchWait, AFiniteWaitEndsInOrderOfAge) {
  Desk desk({.match_wait = 100});
  desk.join(3);
  EXPECT_EQ(desk.run(1), 0U);
  const RequestId older = desk.submit(1);
  desk.expect_none();
  desk.now += 10;
  const RequestId newer = desk.submit(1);
  desk.expect_none();
  EXPECT_EQ(desk.it.next_wakeup(desk.now), desk.now + 90);
  desk.now += 89;
  desk.expect_none();
  desk.now += 1;
  EXPECT_EQ(desk.sent(), older);
  desk.expect_none();
  EXPECT_EQ(desk.it.next_wakeup(desk.now), desk.now + 10);
  desk.now += 10;
  EXPECT_EQ(desk.sent(), newer);
  EXPECT_EQ(desk.it.counters().spills, 2U);
  EXPECT_EQ(desk.it.next_wakeup(desk.now), kForever);
}

TEST(DispatcherMatchWait, AHolderThatBecomesFreeEndsTheWait) {
  Desk desk({.match_wait = 100});
  desk.join(2);
  EXPECT_EQ(desk.run(1), 0U);
  const RequestId waiting = desk.submit(1);
  desk.expect_none();
  desk.done(0);
  EXPECT_EQ(desk.sent(), waiting);
  EXPECT_EQ(desk.last.servant, 0U);
}

TEST(DispatcherMatchWait, AHolderThatIsSuspendedOrLeavesIsNotWaitedFor) {
  for (const bool leave : {false, true}) {
    Desk desk({.match_wait = kForever});
    desk.join(2);
    EXPECT_EQ(desk.run(1), 0U);
    const RequestId first = desk.submit(1);
    const RequestId second = desk.submit(1);
    desk.expect_none();
    if (leave) {
      desk.it.on(ServantLeft{0}, desk.now);
      desk.expect_over(Decision::Kind::fail, desk.runs[0]);
    } else {
      desk.it.on(ServantSuspended{0}, desk.now);
    }
    EXPECT_EQ(desk.sent(), first);
    EXPECT_EQ(desk.last.servant, 1U);
    desk.expect_none();
    desk.done(1);
    EXPECT_EQ(desk.sent(), second);
    EXPECT_EQ(desk.last.servant, 1U) << "it is the holder now";
  }
}

TEST(DispatcherMatchWait, ShorteningTheWaitLetsTheWaitingGoInOrder) {
  Desk desk({.match_wait = kForever});
  desk.join(3);
  EXPECT_EQ(desk.run(1), 0U);
  const RequestId first = desk.submit(1);
  const RequestId second = desk.submit(1);
  desk.expect_none();
  desk.it.set_options({.match_wait = 0}, desk.now);
  EXPECT_EQ(desk.sent(), first);
  EXPECT_EQ(desk.sent(), second);
}

TEST(DispatcherSuspend, AResumedServantStillHoldsItsRouteUnlessItWasTakenOver) {
  Desk desk;
  desk.join(3);
  EXPECT_EQ(desk.run(1), 0U);
  desk.done(0);
  desk.it.on(ServantSuspended{0}, desk.now);
  desk.it.on(ServantResumed{0}, desk.now);
  EXPECT_EQ(desk.run(1), 0U);
  desk.done(0);
  desk.it.on(ServantSuspended{0}, desk.now);
  EXPECT_EQ(desk.run(1), 1U);
  desk.done(1);
  desk.it.on(ServantResumed{0}, desk.now);
  EXPECT_EQ(desk.run(1), 1U);
  EXPECT_EQ(desk.run(2), 0U) << "without a route now, so the first to be claimed";
}

TEST(DispatcherSuspend, ASuspendedServantGetsNothingButFinishesWhatItRuns) {
  Desk desk;
  desk.join(1);
  EXPECT_EQ(desk.run(), 0U);
  desk.it.on(ServantSuspended{0}, desk.now);
  EXPECT_EQ(desk.it.free_servants(), 0U);
  EXPECT_TRUE(desk.done(0).deliver);
  EXPECT_EQ(desk.run(), kNone);
  desk.it.on(ServantResumed{0}, desk.now);
  desk.sent();
}

TEST(DispatcherCredit, AServantIsFreeUntilItsCreditIsUsedUp) {
  Desk desk({.policy = Policy::orig});
  desk.join(2, 3);
  for (const std::uint32_t expected : {0U, 0U, 0U, 1U, 1U, 1U, kNone}) {
    EXPECT_EQ(desk.run(), expected);
  }
  EXPECT_EQ(desk.it.running(), 6U);
}

TEST(DispatcherCredit, MatchSpreadsOverIdleServantsFirst) {
  Desk desk;
  desk.join(3, 2);
  for (const std::uint32_t expected : {0U, 1U, 2U, 0U, 1U, 2U}) {
    EXPECT_EQ(desk.run(), expected);
  }
}

TEST(DispatcherQueue, AFreedServantPrefersTheOldestRequestOfItsRoute) {
  Desk desk;
  desk.join(2);
  EXPECT_EQ(desk.run(1), 0U);
  EXPECT_EQ(desk.run(2), 1U);
  const RequestId third = desk.submit(3);
  const RequestId two = desk.submit(2);
  const RequestId two_again = desk.submit(2);
  desk.done(1);
  EXPECT_EQ(desk.sent(), two);
  desk.done(1);
  EXPECT_EQ(desk.sent(), two_again);
  desk.done(1);
  EXPECT_EQ(desk.sent(), third);
}

TEST(DispatcherQueue, NobodyIsOvertakenMoreOftenThanTheLimitSays) {
  Limits limits = Desk::small();
  limits.overtake_max = 5;
  Desk desk({}, limits);
  desk.join(1);
  EXPECT_EQ(desk.run(1), 0U);
  const RequestId cold = desk.submit(2);
  for (int count = 0; count < 20; ++count) {
    desk.submit(1);
  }
  int overtaken = -1;
  do {
    desk.done(0);
    ++overtaken;
  } while (desk.sent() != cold);
  EXPECT_EQ(overtaken, 5);
  EXPECT_EQ(desk.it.counters().overtakes, 5U);
  EXPECT_GE(desk.it.counters().forced, 1U);
}

TEST(DispatcherQueue, WithoutOvertakingOrderIsStrict) {
  Limits limits = Desk::small();
  limits.overtake_max = 0;
  Desk desk({}, limits);
  desk.join(1);
  EXPECT_EQ(desk.run(1), 0U);
  std::vector<RequestId> order;
  for (std::uint64_t count = 0; count < 20; ++count) {
    order.push_back(desk.submit(1 + count % 3));
  }
  for (const RequestId id : order) {
    desk.done(0);
    EXPECT_EQ(desk.sent(), id);
  }
}

TEST(DispatcherQueue, OriginsTakeTurns) {
  Desk desk({.policy = Policy::orig});
  desk.it.on(OriginOpened{1}, desk.now);
  desk.it.on(OriginOpened{2}, desk.now);
  desk.join(1);
  desk.run();
  for (int count = 0; count < 100; ++count) {
    desk.submit(0, 0);
  }
  const RequestId one = desk.submit(0, 1);
  const RequestId two = desk.submit(0, 2);
  desk.done(0);
  desk.sent();
  desk.done(0);
  EXPECT_EQ(desk.sent(), one);
  desk.done(0);
  EXPECT_EQ(desk.sent(), two);
}

// The hot origin asks for the route that the only servant holds, the other for another one.
TEST(DispatcherQueue, AHotRouteDelaysAnotherOriginByTheOvertakingLimitOnly) {
  Limits limits = Desk::small();
  limits.overtake_max = 8;
  Desk desk({}, limits);
  desk.it.on(OriginOpened{1}, desk.now);
  desk.join(1);
  desk.run(1);
  for (int count = 0; count < 500; ++count) {
    desk.submit(1, 0);
  }
  const RequestId other = desk.submit(2, 1);
  int before = -1;
  do {
    desk.done(0);
    ++before;
  } while (desk.sent() != other);
  EXPECT_LE(before, 1 + 8);
}

TEST(DispatcherQueue, OriginsOfOneRouteTakeTurnsAtItsHolder) {
  Desk desk({.match_wait = kForever});
  desk.it.on(OriginOpened{1}, desk.now);
  desk.join(1);
  desk.run(1);
  for (int count = 0; count < 100; ++count) {
    desk.submit(1, 0);
  }
  const RequestId other = desk.submit(1, 1);
  desk.done(0);
  desk.sent();
  desk.done(0);
  EXPECT_EQ(desk.sent(), other);
}

TEST(DispatcherOptions, ThePolicyCanChangeWhileRequestsWait) {
  Desk desk({.policy = Policy::orig});
  desk.join(1);
  EXPECT_EQ(desk.run(1), 0U);
  const RequestId cold = desk.submit(2);
  const RequestId warm = desk.submit(1);
  desk.it.set_options({.policy = Policy::match}, desk.now);
  desk.done(0);
  EXPECT_EQ(desk.sent(), warm) << "what was held under the old policy is known";
  desk.done(0);
  EXPECT_EQ(desk.sent(), cold);
}

// Keys that all want the same slot of the route index: the crowd is refused, not searched.
TEST(DispatcherRoutes, ARouteThatDoesNotFitTheIndexIsServedWithoutAffinity) {
  Limits limits;
  limits.servants_max = 1;
  limits.origins_max = 1;
  limits.requests_max = 200;
  Desk desk({}, limits);
  const HashIndex twin(limits.requests_max + limits.servants_max, limits.hash_seed);
  std::vector<std::uint64_t> crowd;
  for (std::uint64_t key = 1; crowd.size() < HashIndex::kProbeMax + 10; ++key) {
    if (twin.home_of(key) == twin.home_of(1)) {
      crowd.push_back(key);
    }
  }
  for (const std::uint64_t key : crowd) {
    desk.submit(key);
  }
  EXPECT_EQ(desk.it.counters().routes_dropped, 10U);
  EXPECT_EQ(desk.it.audit(), "");
  desk.join(1);
  for (std::size_t count = 0; count < crowd.size(); ++count) {
    desk.sent();
    desk.done(0);
  }
  EXPECT_EQ(desk.it.counters().completed, crowd.size());
}

}  // namespace
}  // namespace mserve::broker::test
