// SPDX-License-Identifier: Apache-2.0
// Servants of other tiers: on another host, idle as long as nearer ones serve.
#include <algorithm>
#include <string>
#include <vector>

#include "control/servant_tags.hpp"
#include "desk.hpp"

namespace mserve::broker::test {
namespace {

constexpr Nanos kSpill = 100;

// Servant 0 is local, servant 9 remote, each with one credit.
class RemoteDesk : public Desk {
 public:
  explicit RemoteDesk(Options options = {.spill_after = kSpill}) : Desk(options) {
    EXPECT_TRUE(it.on(ServantJoined{0}, now));
    EXPECT_TRUE(it.on(ServantJoined{9, 1, 1}, now));
  }
};

TEST(DispatcherTier1, IdlesWhileTier0Serves) {
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

TEST(DispatcherTier1, TakesWhatWaitedForTier0LongEnough) {
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

TEST(DispatcherTier1, ServesAtOnceWhenTier0IsNotThere) {
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

TEST(DispatcherTier1, ADeadServantsRequestGoesToTier1IfNobodyElseIsThere) {
  RemoteDesk desk;
  EXPECT_EQ(desk.run(0, 0, 1), 0U);
  const RequestId request = desk.runs[0];
  EXPECT_TRUE(desk.it.on(ServantLeft{0}, desk.now));
  EXPECT_EQ(desk.sent(), request);
  EXPECT_EQ(desk.last.servant, 9U);
  EXPECT_TRUE(desk.last.again);
}

TEST(DispatcherTier1, HoldsNoRouteSoThatNobodyWaitsForIt) {
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

TEST(DispatcherTier1, WhatWasQueuedBeforeItJoinedCountsFromThen) {
  Desk desk({.spill_after = kSpill});
  desk.join(1);
  EXPECT_EQ(desk.run(), 0U);
  const RequestId waits = desk.submit();
  desk.now += 10 * kSpill;
  desk.expect_none();
  EXPECT_TRUE(desk.it.on(ServantJoined{9, 1, 1}, desk.now));
  desk.expect_none();
  desk.now += kSpill;
  EXPECT_EQ(desk.sent(), waits);
  EXPECT_EQ(desk.last.servant, 9U);
}

TEST(DispatcherTier1, TakesTurnsByOriginLikeAnyServant) {
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

TEST(DispatcherTiers, ANearerTierServesAsLongAsItHasAnybodyFree) {
  Desk desk;
  for (std::uint32_t tier = 1; tier < kTiers; ++tier) {
    EXPECT_TRUE(desk.it.on(ServantJoined{.servant = 9 - tier, .tier = tier}, desk.now));
  }
  EXPECT_EQ(desk.run(), 8U);
  EXPECT_EQ(desk.run(), 7U);
  EXPECT_EQ(desk.run(), 6U);
  desk.done(7);
  desk.done(8);
  EXPECT_EQ(desk.run(), 8U);
  EXPECT_TRUE(desk.it.on(ServantSuspended{8}, desk.now));
  EXPECT_EQ(desk.run(), 7U);
  EXPECT_EQ(desk.it.counters().remote, 5U);
  EXPECT_EQ(desk.it.free_servants(), 0U);
}

TEST(DispatcherTiers, OneBeyondTheLastIsOfTheLast) {
  Desk desk;
  EXPECT_TRUE(desk.it.on(ServantJoined{.servant = 0, .tier = kNone}, desk.now));
  EXPECT_TRUE(desk.it.on(ServantJoined{.servant = 1, .tier = kTiers - 1}, desk.now));
  EXPECT_EQ(desk.run(), 0U);
}

TEST(DispatcherTiers, AStickyOriginIsBoundToTheNearest) {
  Desk desk;
  EXPECT_TRUE(desk.it.on(OriginOpened{1, true}, desk.now));
  EXPECT_TRUE(desk.it.on(ServantJoined{.servant = 0, .tier = 3}, desk.now));
  EXPECT_TRUE(desk.it.on(ServantJoined{.servant = 1, .tier = 2}, desk.now));
  EXPECT_EQ(desk.run(0, 1), 1U);
}

// Servants of one tier that lead to so many peers.
class PeerDesk : public Desk {
 public:
  explicit PeerDesk(std::uint32_t peers, std::uint64_t seed = 1, std::uint32_t first = 0)
      : Desk({}, seeded(seed)), first_(first) {
    for (std::uint32_t peer = 0; peer < peers; ++peer) {
      add(peer);
    }
  }
  void add(std::uint32_t peer) {
    const std::uint64_t home = home_of("group=hdb peer=host-" + std::to_string(peer));
    EXPECT_TRUE(
        it.on(ServantJoined{.servant = first_ + peer, .credit = 64, .tier = 1, .home = home}, now));
  }
  // The peer that a route belongs to while all run nothing.
  std::uint32_t home(std::uint64_t route) {
    const std::uint32_t servant = run(route);
    done(servant);
    return servant - first_;
  }
  std::vector<std::uint32_t> homes(std::uint32_t routes) {
    std::vector<std::uint32_t> found(routes);
    for (std::uint32_t at = 0; at < routes; ++at) {
      found[at] = home(kdb::route_of_text("SYM" + std::to_string(at)).hash);
    }
    return found;
  }

 private:
  static Limits seeded(std::uint64_t seed) {
    Limits limits = small();
    limits.hash_seed = seed;
    return limits;
  }
  std::uint32_t first_;
};

constexpr std::uint32_t kRoutes = 10'000;

TEST(RouteHomes, AreSharedOutEvenlyAndTheSameForEveryBroker) {
  PeerDesk one(4, 1);
  PeerDesk other(4, 2, 7);  // Another seed, other numbers of servants.
  const std::vector<std::uint32_t> homes = one.homes(kRoutes);
  EXPECT_EQ(homes, other.homes(kRoutes));
  for (std::uint32_t peer = 0; peer < 4; ++peer) {
    const auto share = std::count(homes.begin(), homes.end(), peer);
    EXPECT_NEAR(static_cast<double>(share) / kRoutes, 0.25, 0.03) << "peer " << peer;
  }
}

TEST(RouteHomes, AddingAFifthHostMovesAFifthOfThemAllToIt) {
  PeerDesk desk(4);
  const std::vector<std::uint32_t> before = desk.homes(kRoutes);
  desk.add(4);
  const std::vector<std::uint32_t> after = desk.homes(kRoutes);
  std::uint32_t moved = 0;
  for (std::uint32_t at = 0; at < kRoutes; ++at) {
    EXPECT_TRUE(after[at] == before[at] || after[at] == 4) << at;
    moved += after[at] != before[at];
  }
  RecordProperty("moved", static_cast<int>(moved));
  EXPECT_GT(moved, kRoutes * 17 / 100);
  EXPECT_LT(moved, kRoutes * 23 / 100);
}

TEST(RouteHomes, RemovingAHostMovesOnlyItsOwn) {
  PeerDesk desk(4);
  const std::vector<std::uint32_t> before = desk.homes(kRoutes);
  EXPECT_TRUE(desk.it.on(ServantLeft{2}, desk.now));
  const std::vector<std::uint32_t> after = desk.homes(kRoutes);
  std::vector<std::uint32_t> heirs(4);
  for (std::uint32_t at = 0; at < kRoutes; ++at) {
    EXPECT_EQ(after[at] == before[at], before[at] != 2) << at;
    heirs[after[at]] += before[at] == 2;
  }
  for (const std::uint32_t peer : {0U, 1U, 3U}) {
    EXPECT_GT(heirs[peer], 500U) << "they are shared out among all others";
  }
}

// What one broker of a cluster says every other one has to say, whatever its version.
TEST(RouteHomes, NeverChange) {
  EXPECT_EQ(home_of("peer=host-a"), 0x0e335b4def069dbbU);
  EXPECT_EQ(home_rank(kdb::route_of_text("IBM").hash, home_of("peer=host-a")), 0x32c40ec92f21c9bfU);
}

TEST(DispatcherHomes, AHomeIsLeftWhenItHasTwiceAsMuchAsTheNextAndTwoMore) {
  PeerDesk desk(2);
  const std::uint32_t home = desk.home(7);
  const std::uint32_t other = 1 - home;
  EXPECT_EQ(desk.run(7), home);
  EXPECT_EQ(desk.run(7), home);
  EXPECT_EQ(desk.run(7), other) << "2 against 0";
  EXPECT_EQ(desk.run(7), home);
  EXPECT_EQ(desk.run(7), home);
  EXPECT_EQ(desk.run(7), other) << "4 against 1";
  desk.done(other);
  EXPECT_EQ(desk.run(7), other) << "4 against 1 again";
  EXPECT_EQ(desk.run(7), home) << "4 against 2";
}

TEST(DispatcherHomes, TheNextInRankTakesWhatAFullOrPausedHomeCannot) {
  PeerDesk desk(3);
  const std::uint32_t home = desk.home(7);
  EXPECT_TRUE(desk.it.on(ServantSuspended{home}, desk.now));
  const std::uint32_t second = desk.home(7);
  EXPECT_NE(second, home);
  EXPECT_EQ(desk.home(7), second);
  EXPECT_TRUE(desk.it.on(ServantResumed{home}, desk.now));
  EXPECT_EQ(desk.home(7), home);
}

TEST(DispatcherHomes, WithoutARouteOfTwoThatAreDrawnTheOneThatRunsLess) {
  PeerDesk desk(3);
  std::vector<std::uint32_t> runs(3);
  for (int count = 0; count < 120; ++count) {
    ++runs[desk.run()];
  }
  for (const std::uint32_t outstanding : runs) {
    EXPECT_NEAR(outstanding, 40, 3);
  }
  PeerDesk idle(3);
  PeerDesk elsewhere(3, 2);
  std::vector<std::uint32_t> here, there;
  for (int count = 0; count < 50; ++count) {
    here.push_back(idle.home(0));
    there.push_back(elsewhere.home(0));
  }
  EXPECT_NE(here, there) << "brokers that start together do not draw together";
}

TEST(DispatcherHomes, ThoseWithoutGoFirstTheOneThatWasIdleLongest) {
  PeerDesk desk(2);
  for (const std::uint32_t servant : {12U, 11U}) {
    EXPECT_TRUE(desk.it.on(ServantJoined{.servant = servant, .tier = 1}, desk.now));
  }
  EXPECT_EQ(desk.run(7), 12U);
  EXPECT_EQ(desk.run(7), 11U);
  EXPECT_LT(desk.run(7), 2U);
  desk.done(11);
  desk.done(12);
  EXPECT_EQ(desk.run(), 11U);
  EXPECT_EQ(desk.run(), 12U);
}

// The bound on what one decision costs.
TEST(FarPolicy, LooksAtTheFirst256OfATier) {
  constexpr std::uint32_t kMany = FarPolicy::kHomesSeenMax + 100;
  FarPolicy policy(kMany);
  for (std::uint32_t at = kMany; at-- != 0;) {
    policy.enter({.index = at, .home = at + 1});
  }
  std::uint32_t highest = 0;
  for (std::uint64_t word = 1; word < 4000; ++word) {
    const std::uint64_t mixed = home_rank(word, 1);
    highest = std::max({highest, policy.choose(mixed, 0), policy.choose(0, mixed)});
  }
  EXPECT_LT(highest, FarPolicy::kHomesSeenMax);
  EXPECT_GT(highest, FarPolicy::kHomesSeenMax - 20);
  for (std::uint32_t at = 0; at < FarPolicy::kHomesSeenMax; ++at) {
    policy.leave(at);
  }
  EXPECT_GE(policy.choose(7, 7), FarPolicy::kHomesSeenMax);
  for (std::uint32_t at = FarPolicy::kHomesSeenMax; at < kMany; ++at) {
    policy.leave(at);
  }
  EXPECT_EQ(policy.choose(7, 7), kNone);
}

}  // namespace
}  // namespace mserve::broker::test
