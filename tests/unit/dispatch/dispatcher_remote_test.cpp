// SPDX-License-Identifier: Apache-2.0
// Servants of tier 1: on another host, idle as long as tier 0 serves.
#include "desk.hpp"

namespace mserve::broker::test {
namespace {

constexpr Nanos kSpill = 100;

// Servant 0 is local, servant 9 remote, each with one credit.
class RemoteDesk : public Desk {
 public:
  explicit RemoteDesk(Options options = {.spill_after = kSpill}) : Desk(options) {
    EXPECT_TRUE(it.on(ServantJoined{0}, now));
    EXPECT_TRUE(it.on(ServantJoined{9, 1, true}, now));
  }
};

TEST(DispatcherRemote, IdlesWhileTier0Serves) {
  RemoteDesk desk;
  for (int round = 0; round < 5; ++round) {
    EXPECT_EQ(desk.run(), 0U);
    const RequestId next = desk.submit();
    desk.now += kSpill - 1;
    desk.expect_none();
    EXPECT_EQ(desk.it.next_wakeup(desk.now), desk.now + 1);
    desk.done(0);
    EXPECT_EQ(desk.sent(), next);
    EXPECT_EQ(desk.last.servant, 0U);
    desk.done(0);
  }
  EXPECT_EQ(desk.it.counters().remote, 0U);
}

TEST(DispatcherRemote, TakesWhatWaitedForTier0LongEnough) {
  RemoteDesk desk;
  EXPECT_EQ(desk.run(), 0U);
  const RequestId old = desk.submit();
  desk.now += kSpill / 2;
  const RequestId young = desk.submit();
  desk.expect_none();
  desk.now += kSpill / 2;
  EXPECT_EQ(desk.sent(), old);
  EXPECT_EQ(desk.last.servant, 9U);
  desk.done(9);
  desk.expect_none();  // The queue is younger now.
  EXPECT_EQ(desk.it.next_wakeup(desk.now), desk.now + kSpill / 2);
  desk.now += kSpill / 2;
  EXPECT_EQ(desk.sent(), young);
  EXPECT_EQ(desk.it.counters().remote, 2U);
}

TEST(DispatcherRemote, ServesAtOnceWhenTier0IsNotThere) {
  RemoteDesk desk({.spill_after = kForever});
  EXPECT_EQ(desk.run(), 0U);
  const RequestId waits = desk.submit();
  desk.expect_none();
  EXPECT_EQ(desk.it.next_wakeup(desk.now), kForever);
  EXPECT_TRUE(desk.it.on(ServantSuspended{0}, desk.now));
  EXPECT_EQ(desk.it.next_wakeup(desk.now), desk.now);
  EXPECT_EQ(desk.sent(), waits);
  EXPECT_EQ(desk.last.servant, 9U);
  desk.done(9);
  EXPECT_TRUE(desk.it.on(ServantResumed{0}, desk.now));
  const RequestId again = desk.submit();
  desk.expect_none();
  EXPECT_TRUE(desk.it.on(ServantLeft{0}, desk.now));
  const Decision failed = desk.next();  // Servant 0 took its request along.
  EXPECT_EQ(failed.kind, Decision::Kind::fail);
  EXPECT_EQ(desk.sent(), again);
  EXPECT_EQ(desk.last.servant, 9U);
}

TEST(DispatcherRemote, ADeadServantsRequestGoesToTier1IfNobodyElseIsThere) {
  RemoteDesk desk;
  EXPECT_EQ(desk.run(0, 0, 1), 0U);
  const RequestId request = desk.runs[0];
  EXPECT_TRUE(desk.it.on(ServantLeft{0}, desk.now));
  EXPECT_EQ(desk.sent(), request);
  EXPECT_EQ(desk.last.servant, 9U);
  EXPECT_TRUE(desk.last.again);
}

TEST(DispatcherRemote, HoldsNoRouteSoThatNobodyWaitsForIt) {
  RemoteDesk desk({.match_wait = kForever, .spill_after = kSpill});
  EXPECT_EQ(desk.run(7), 0U);
  const RequestId waits = desk.submit(7);
  desk.now += kSpill;
  EXPECT_EQ(desk.sent(), waits) << "warmth is not worth more than --spill-after";
  EXPECT_EQ(desk.last.servant, 9U);
  desk.done(9);
  desk.done(0);
  EXPECT_EQ(desk.run(7), 0U);
  EXPECT_EQ(desk.it.counters().hits, 1U);
}

TEST(DispatcherRemote, WhatWasQueuedBeforeItJoinedCountsFromThen) {
  Desk desk({.spill_after = kSpill});
  desk.join(1);
  EXPECT_EQ(desk.run(), 0U);
  const RequestId waits = desk.submit();
  desk.now += 10 * kSpill;
  desk.expect_none();
  EXPECT_TRUE(desk.it.on(ServantJoined{9, 1, true}, desk.now));
  desk.expect_none();
  desk.now += kSpill;
  EXPECT_EQ(desk.sent(), waits);
  EXPECT_EQ(desk.last.servant, 9U);
}

TEST(DispatcherRemote, TakesTurnsByOriginLikeAnyServant) {
  RemoteDesk desk;
  EXPECT_TRUE(desk.it.on(OriginOpened{1}, desk.now));
  EXPECT_EQ(desk.run(), 0U);
  const RequestId first = desk.submit();
  desk.submit();
  const RequestId other = desk.submit(0, 1);
  desk.now += kSpill;
  EXPECT_EQ(desk.sent(), first);
  desk.done(9);
  EXPECT_EQ(desk.sent(), other);
}

}  // namespace
}  // namespace mserve::broker::test
