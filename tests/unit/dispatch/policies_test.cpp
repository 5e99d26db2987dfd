// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <vector>

#include "desk.hpp"

// `least` and `weighted`, policies that take over from each other, and several routes per servant.
namespace mserve::broker::test {
namespace {

TEST(DispatcherLeast, PrefersTheServantThatRunsLeast) {
  Desk desk({.policy = Policy::least});
  desk.join(3, 4);
  for (const std::uint32_t expected : {0U, 1U, 2U, 0U, 1U, 2U}) {
    EXPECT_EQ(desk.run(), expected);
  }
  desk.done(1);
  EXPECT_EQ(desk.run(), 1U);
  EXPECT_EQ(desk.run(), 0U) << "all run two: the least recently used";
}

TEST(DispatcherLeast, LooksAtWhatRunsNotAtWhatIsHeld) {
  Desk desk({.policy = Policy::least});
  desk.join(2);
  EXPECT_EQ(desk.run(7), 0U);
  desk.done(0);
  EXPECT_EQ(desk.run(7), 1U);
}

TEST(DispatcherLeast, ManyLevelsOfLoadStayInOrder) {
  Desk desk({.policy = Policy::least});
  ASSERT_TRUE(desk.it.on(ServantJoined{0, 200}, desk.now));
  for (int count = 0; count < 100; ++count) {
    EXPECT_EQ(desk.run(), 0U);
  }
  ASSERT_TRUE(desk.it.on(ServantJoined{1, 200}, desk.now));
  for (int count = 0; count < 63; ++count) {
    EXPECT_EQ(desk.run(), 1U) << count;
  }
  std::map<std::uint32_t, int> shares;
  for (int count = 0; count < 100; ++count) {
    ++shares[desk.run()];
  }
  EXPECT_EQ(shares[0], 50) << "63 and more count alike";
}

std::vector<std::uint32_t> run_weighted(const std::vector<std::uint32_t>& weights, int requests) {
  Desk desk({.policy = Policy::weighted});
  for (std::uint32_t at = 0; at < weights.size(); ++at) {
    EXPECT_TRUE(desk.it.on(ServantJoined{.servant = at, .weight = weights[at]}, desk.now));
  }
  std::vector<std::uint32_t> order;
  for (int count = 0; count < requests; ++count) {
    order.push_back(desk.run());
    desk.done(order.back());
  }
  return order;
}

TEST(DispatcherWeighted, SharesFollowTheWeights) {
  const std::vector<std::uint32_t> weights = {1, 2, 5, 1000};
  std::map<std::uint32_t, int> shares;
  for (const std::uint32_t servant : run_weighted(weights, 100'800)) {
    ++shares[servant];
  }
  for (std::uint32_t at = 0; at < weights.size(); ++at) {
    EXPECT_NEAR(shares[at], 100.0 * weights[at], 2.0 + weights[at] / 100.0) << "servant " << at;
  }
}

TEST(DispatcherWeighted, EqualWeightsTakeTurns) {
  EXPECT_EQ(run_weighted({3, 3, 3}, 7), (std::vector<std::uint32_t>{0, 1, 2, 0, 1, 2, 0}));
}

TEST(DispatcherWeighted, AHeavyServantsTurnsAreSpreadOut) {
  int longest = 0;
  int since = 0;
  for (const std::uint32_t servant : run_weighted({1, 4}, 500)) {
    since = servant == 1 ? since + 1 : 0;
    longest = std::max(longest, since);
  }
  EXPECT_LE(longest, 5);
}

TEST(DispatcherWeighted, WhatABusyServantMissesIsNotMadeUpFor) {
  Desk desk({.policy = Policy::weighted});
  desk.join(2);
  EXPECT_EQ(desk.run(), 0U);
  for (int count = 0; count < 50; ++count) {
    EXPECT_EQ(desk.run(), 1U);
    desk.done(1);
  }
  desk.done(0);
  std::map<std::uint32_t, int> shares;
  for (int count = 0; count < 20; ++count) {
    const std::uint32_t servant = desk.run();
    ++shares[servant];
    desk.done(servant);
  }
  EXPECT_NEAR(shares[0], 10, 1);
}

TEST(DispatcherWeighted, WeightsOutOfRangeAreCut) {
  std::map<std::uint32_t, int> shares;
  for (const std::uint32_t servant : run_weighted({0, 1}, 100)) {
    ++shares[servant];
  }
  EXPECT_EQ(shares[0], 50);
  for (const std::uint32_t servant : run_weighted({kNone, kWeightMax}, 100)) {
    --shares[servant];
  }
  EXPECT_EQ(shares[0], 0);
}

// Each policy takes over from each other one, with free and busy servants, and nobody is lost.
TEST(DispatcherPolicies, AnyPolicyTakesOverFromAnyOther) {
  for (std::uint32_t from = 0; from < kPolicies; ++from) {
    for (std::uint32_t to = 0; to < kPolicies; ++to) {
      Desk desk({.policy = static_cast<Policy>(from)});
      desk.join(4, 2);
      desk.run(1);
      desk.run(2);
      desk.done(desk.last.servant);
      desk.it.set_options({.policy = static_cast<Policy>(to)}, desk.now);
      EXPECT_EQ(desk.it.audit(), "") << from << " to " << to;
      std::map<std::uint32_t, int> runs;
      for (int count = 0; count < 7; ++count) {
        ++runs[desk.run(static_cast<std::uint64_t>(3 + count))];
      }
      EXPECT_EQ(runs.count(kNone), 0U) << from << " to " << to;
      EXPECT_EQ(desk.run(), kNone) << "all credit is used up";
    }
  }
}

Limits with_routes(std::uint32_t routes_per_servant) {
  Limits limits = Desk::small();
  limits.routes_per_servant = routes_per_servant;
  return limits;
}

TEST(DispatcherRoutesPerServant, SeveralRoutesStayWarmOnOneServant) {
  Desk desk({}, with_routes(3));
  desk.join(1);
  for (const std::uint64_t route : {1U, 2U, 3U, 1U, 2U, 3U}) {
    desk.run(route);
    desk.done(0);
    ++desk.now;
  }
  EXPECT_EQ(desk.it.counters().claims, 3U);
  EXPECT_EQ(desk.it.counters().hits, 3U);
}

TEST(DispatcherRoutesPerServant, TheLeastRecentlyUsedRouteIsDisplaced) {
  Desk desk({}, with_routes(2));
  desk.join(1);
  for (const std::uint64_t route : {1U, 2U, 1U, 3U}) {  // 3 takes the place of 2.
    desk.run(route);
    ++desk.now;
    desk.done(0);
  }
  EXPECT_EQ(desk.it.counters().steals, 1U);
  desk.run(1);
  desk.done(0);
  EXPECT_EQ(desk.it.counters().hits, 2U);
  desk.run(2);
  EXPECT_EQ(desk.it.counters().hits, 2U);
}

TEST(DispatcherRoutesPerServant, RoutesSpreadOverServantsBeforeTheyShareOne) {
  Desk desk({}, with_routes(2));
  desk.join(2);
  std::vector<std::uint32_t> order;
  for (const std::uint64_t route : {1U, 2U, 3U, 4U}) {
    order.push_back(desk.run(route));
    desk.done(order.back());
    ++desk.now;
  }
  EXPECT_EQ(order, (std::vector<std::uint32_t>{0, 1, 0, 1}));
  for (const std::uint64_t route : {4U, 3U, 2U, 1U}) {
    EXPECT_EQ(desk.run(route), (route + 1) % 2) << "route " << route;
    desk.done(desk.last.servant);
  }
  EXPECT_EQ(desk.it.counters().steals, 0U);
  EXPECT_EQ(desk.it.counters().hits, 4U);
}

TEST(DispatcherRoutesPerServant, EachRouteExpiresByItself) {
  Desk desk({.route_expire = kSecond}, with_routes(2));
  desk.join(2);
  EXPECT_EQ(desk.run(1), 0U);
  desk.done(0);
  EXPECT_EQ(desk.run(9), 1U);
  desk.now += kSecond / 2;
  EXPECT_EQ(desk.run(2), 0U) << "the other one is busy";
  desk.done(0);
  desk.done(1);
  desk.now += kSecond / 2;
  EXPECT_EQ(desk.run(2), 0U) << "half its time is left";
  desk.done(0);
  EXPECT_EQ(desk.it.counters().hits, 1U);
  desk.run(1);
  EXPECT_EQ(desk.it.counters().hits, 1U) << "expired a moment ago";
}

}  // namespace
}  // namespace mserve::broker::test
