// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <vector>

#include "desk.hpp"

// Nobody starves: turns of classes that share servants, of what is bound and what is not, and what
// happens where classes, fallbacks and sticky origins meet.
namespace mserve::broker::test {
namespace {

Limits with_classes(std::uint32_t count) {
  Limits limits = Desk::small();
  limits.classes_max = count;
  return limits;
}

/// Keeps `kinds` kinds of requests queued, and counts how often each is sent.
class Contest {
 public:
  Contest(Desk& desk, std::uint32_t kinds, RequestId (*ask)(Desk&, std::uint32_t))
      : desk_(desk), ask_(ask), sent(kinds, 0) {
    for (std::uint32_t at = 0; at < 3 * kinds; ++at) {
      submit(at % kinds);
    }
    take();
  }
  /// Servants 0 and 1 finish in turn.
  void run(std::uint32_t turns) {
    for (std::uint32_t turn = 0; turn < turns; ++turn) {
      desk_.done(turn % 2);
      take();
    }
  }

 private:
  void submit(std::uint32_t kind) { kind_of_[ask_(desk_, kind).slot] = kind; }
  void take() {
    for (Decision d = desk_.next(); d.kind == Decision::Kind::dispatch; d = desk_.next()) {
      desk_.remember(d);
      const std::uint32_t kind = kind_of_[d.request.slot];
      ++sent[kind];
      submit(kind);
    }
  }

  Desk& desk_;
  RequestId (*ask_)(Desk&, std::uint32_t);
  std::vector<std::uint32_t> kind_of_ = std::vector<std::uint32_t>(Desk::small().requests_max);

 public:
  std::vector<int> sent;
};

TEST(DispatcherTurns, NoClassStarvesWhereClassesOverlap) {
  Desk desk({}, with_classes(3));
  ASSERT_TRUE(desk.it.on(ClassDefined{1}, desk.now));
  ASSERT_TRUE(desk.it.on(ClassDefined{2}, desk.now));
  ASSERT_TRUE(desk.it.on(PoolDefined{1, 0b011}, desk.now));
  ASSERT_TRUE(desk.it.on(PoolDefined{2, 0b101}, desk.now));
  ASSERT_TRUE(desk.it.on(ServantJoined{.servant = 0, .pool = 1}, desk.now));
  ASSERT_TRUE(desk.it.on(ServantJoined{.servant = 1, .pool = 2}, desk.now));
  Contest contest(desk, 3, [](Desk& d, std::uint32_t kind) {
    return d.it.on(Submit{.origin = 0, .class_number = kind}, d.now).id;
  });
  contest.run(300);
  for (const int count : contest.sent) {
    EXPECT_GE(count, 75);
  }
}

TEST(DispatcherTurns, BoundAndOrdinaryTakeTurnsAtEachServant) {
  Desk desk;
  desk.join(2);
  for (const std::uint32_t origin : {1U, 2U}) {
    ASSERT_TRUE(desk.it.on(OriginOpened{.origin = origin, .sticky = true}, desk.now));
  }
  Contest contest(desk, 3, [](Desk& d, std::uint32_t kind) { return d.submit(0, kind); });
  contest.run(400);
  EXPECT_GE(contest.sent[0], 150);
  EXPECT_GE(contest.sent[1], 90);
  EXPECT_GE(contest.sent[2], 90);
}

// Servant 0 runs class 1 and what is bound to it, servant 1 class 2.
TEST(DispatcherTurns, WhatOthersAreSentDoesNotChangeWhoseTurnItIsAtAServant) {
  Desk desk({}, with_classes(3));
  ASSERT_TRUE(desk.it.on(ClassDefined{1}, desk.now));
  ASSERT_TRUE(desk.it.on(ClassDefined{2}, desk.now));
  ASSERT_TRUE(desk.it.on(PoolDefined{1, 0b010}, desk.now));
  ASSERT_TRUE(desk.it.on(PoolDefined{2, 0b100}, desk.now));
  ASSERT_TRUE(desk.it.on(ServantJoined{.servant = 0, .pool = 1}, desk.now));
  ASSERT_TRUE(desk.it.on(ServantJoined{.servant = 1, .pool = 2}, desk.now));
  ASSERT_TRUE(desk.it.on(OriginOpened{.origin = 1, .sticky = true}, desk.now));
  Contest contest(desk, 3, [](Desk& d, std::uint32_t kind) {
    const std::uint32_t number = kind == 2 ? 2 : 1;
    return d.it.on(Submit{.origin = kind == 1 ? 1U : 0U, .class_number = number}, d.now).id;
  });
  contest.run(400);
  EXPECT_GE(contest.sent[0], 90);   // Ordinary at servant 0.
  EXPECT_GE(contest.sent[1], 90);   // Bound to it.
  EXPECT_GE(contest.sent[2], 200);  // All that servant 1 does.
}

TEST(DispatcherTurns, WeightsHoldInAClassWhoseServantsOthersUseAsWell) {
  Desk desk({.policy = Policy::weighted}, with_classes(2));
  ASSERT_TRUE(desk.it.on(ClassDefined{1}, desk.now));
  ASSERT_TRUE(desk.it.on(PoolDefined{1, 0b11}, desk.now));
  ASSERT_TRUE(desk.it.on(ServantJoined{.servant = 0, .pool = 1}, desk.now));
  ASSERT_TRUE(desk.it.on(ServantJoined{.servant = 1}, desk.now));
  for (int count = 0; count < 500; ++count) {  // Only servant 0 may run these.
    ASSERT_EQ(desk.it.on(Submit{.origin = 0, .class_number = 1}, desk.now).refusal, Refusal::none);
    (void)desk.sent();
    desk.done(0);
  }
  int of_one = 0;
  for (int count = 0; count < 400; ++count) {
    const std::uint32_t servant = desk.run();
    of_one += servant == 1;
    desk.done(servant);
  }
  EXPECT_GE(of_one, 190);
}

TEST(DispatcherTurns, NobodyTakesARouteAwayFromAnotherClass) {
  Desk desk({}, with_classes(2));
  ASSERT_TRUE(desk.it.on(ClassDefined{1}, desk.now));
  ASSERT_TRUE(desk.it.on(PoolDefined{1, 0b11}, desk.now));
  ASSERT_TRUE(desk.it.on(ServantJoined{.servant = 0, .pool = 1}, desk.now));
  constexpr std::uint64_t kRoute = 77;
  EXPECT_EQ(desk.run(kRoute ^ 0x9E3779B97F4A7C15), 0U);
  desk.done(0);
  (void)desk.it.on(Submit{.origin = 0, .route = kRoute, .class_number = 1}, desk.now);
  (void)desk.sent();
  EXPECT_EQ(desk.it.counters().routes_dropped, 0U);
}

TEST(DispatcherTurns, WhatIsPendingMovesWhenItsFallbackComesBack) {
  Desk desk({}, with_classes(2));
  ASSERT_TRUE(desk.it.on(ClassDefined{.number = 1, .fallback = 0}, desk.now));
  desk.join(1);
  const Submitted slow = desk.it.on(Submit{.origin = 0, .run_timeout = 10}, desk.now);
  (void)desk.sent();
  desk.now += kSecond;
  EXPECT_EQ(desk.next().kind, Decision::Kind::overrun);
  const Submitted waits = desk.it.on(Submit{.origin = 0, .class_number = 1}, desk.now);
  EXPECT_TRUE(desk.it.on(Done{slow.id, 0}, desk.now).valid);
  EXPECT_EQ(desk.sent(), waits.id);
}

TEST(DispatcherTurns, WhatFellBackHasWaitedEnoughForAHolder) {
  Desk desk({.match_wait = kSecond}, with_classes(2));
  ASSERT_TRUE(desk.it.on(ClassDefined{.number = 1, .fallback = 0}, desk.now));
  ASSERT_TRUE(desk.it.on(PoolDefined{1, 0b10}, desk.now));
  ASSERT_TRUE(desk.it.on(ServantJoined{.servant = 9, .pool = 1}, desk.now));
  desk.join(2);
  EXPECT_EQ(desk.run(7), 0U);  // Holds the route, in class 0.
  (void)desk.it.on(Submit{.origin = 0, .route = 7, .class_number = 1}, desk.now);
  (void)desk.sent();
  const Submitted waits = desk.it.on(Submit{.origin = 0, .route = 7, .class_number = 1}, desk.now);
  desk.expect_none();
  ASSERT_TRUE(desk.it.on(ServantSuspended{9}, desk.now));
  EXPECT_EQ(desk.sent(), waits.id);
  EXPECT_EQ(desk.last.servant, 1U);
}

TEST(DispatcherTurns, WhatAStickyServantMayNotRunIsOrdinaryAndFallsBack) {
  Desk desk({}, with_classes(4));
  ASSERT_TRUE(desk.it.on(ClassDefined{1}, desk.now));
  ASSERT_TRUE(desk.it.on(ClassDefined{2}, desk.now));
  ASSERT_TRUE(desk.it.on(ClassDefined{.number = 3, .fallback = 2}, desk.now));
  ASSERT_TRUE(desk.it.on(PoolDefined{1, 0b0010}, desk.now));
  ASSERT_TRUE(desk.it.on(PoolDefined{2, 0b0100}, desk.now));
  ASSERT_TRUE(desk.it.on(OriginOpened{.origin = 1, .sticky = true}, desk.now));
  const RequestId first = desk.it.on(Submit{.origin = 1, .class_number = 1}, desk.now).id;
  const RequestId second = desk.it.on(Submit{.origin = 1, .class_number = 3}, desk.now).id;
  desk.expect_none();
  ASSERT_TRUE(desk.it.on(ServantJoined{.servant = 0, .pool = 1}, desk.now));
  ASSERT_TRUE(desk.it.on(ServantJoined{.servant = 1, .pool = 2}, desk.now));
  EXPECT_EQ(desk.sent(), first);
  desk.done(0);
  EXPECT_EQ(desk.sent(), second);
  EXPECT_EQ(desk.last.servant, 1U);
}

TEST(DispatcherTurns, WhoWaitsForNobodyDoesNotKeepTheNextOfItsOriginWaiting) {
  Desk desk({}, with_classes(2));
  ASSERT_TRUE(desk.it.on(ClassDefined{1}, desk.now));
  desk.join(1);
  ASSERT_TRUE(desk.it.on(OriginOpened{.origin = 1, .sticky = true}, desk.now));
  (void)desk.it.on(Submit{.origin = 1, .class_number = 1}, desk.now);  // Nobody has that class.
  desk.expect_none();
  EXPECT_EQ(desk.run(0, 1), 0U);
}

}  // namespace
}  // namespace mserve::broker::test
