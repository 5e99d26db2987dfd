// SPDX-License-Identifier: Apache-2.0
// The simulation of clusters: small ones, and what must hold whatever the figures are.
#include <gtest/gtest.h>

#include <boost/json.hpp>

#include "hosts_change.hpp"
#include "hosts_report.hpp"
#include "hosts_sim.hpp"

namespace mserve::bench {
namespace {

HostsSettings small() {
  HostsSettings settings;
  settings.requests = 2000;
  return settings;
}

constexpr auto kBefore = static_cast<std::size_t>(HostsPhase::before);
constexpr auto kAfter = static_cast<std::size_t>(HostsPhase::right_after);

TEST(HostsSim, EachRequestIsServedOnceHereOrAtAPeer) {
  const HostsResult result = simulate_hosts(small(), 5);
  EXPECT_EQ(result.refused, 0U);
  EXPECT_EQ(result.forwarded.of, 2000U);
  EXPECT_EQ(result.waiting.count, 2000U);
  EXPECT_EQ(result.forwarded.holds, result.warm[kBefore].of);
  EXPECT_EQ(result.forwarded.holds, result.at_home[kBefore].of);
  EXPECT_EQ(result.forwarded.of - result.forwarded.holds, result.warm_here[kBefore].of);
}

TEST(HostsSim, NothingIsForwardedWhereNobodyWaits) {
  HostsSettings settings = small();
  settings.load_percent = 5;
  settings.skew = 0;
  const HostsResult result = simulate_hosts(settings, 4);
  EXPECT_LT(result.forwarded.percent(), 0.5);
  EXPECT_EQ(result.waiting.ns[kP50], 0U);
}

// With all requests at one host its peers carry the rest, each route at its home.
TEST(HostsSim, WhatOneHostCannotTakeGoesToItsPeersAndMostOfItHome) {
  HostsSettings settings = small();
  settings.skew = 3;
  const HostsResult result = simulate_hosts(settings, 4);
  EXPECT_GT(result.forwarded.percent(), 30);
  EXPECT_GT(result.at_home[kBefore].percent(), 50);
  EXPECT_GT(result.warm[kBefore].percent(), 20);
  EXPECT_GT(result.at_home[kAfter].percent(), 50);
  EXPECT_DOUBLE_EQ(result.of_tier[0].percent(), 100);
}

TEST(HostsSim, AHostThatIsAddedTakesItsShareOfHomesAndMovesNoOther) {
  const HostsResult result = simulate_hosts(small(), 5);  // Four peers become five.
  EXPECT_EQ(result.moved_elsewhere, 0U);
  EXPECT_EQ(result.moved.of, 5U * 10'000U);
  EXPECT_NEAR(result.moved.percent(), 20, 3);
}

/// What holds of both: one host of five takes or leaves its share of homes, and what has another
/// home is cold there at first.
void expect_change(const HostsChange& change) {
  EXPECT_EQ(change.refused, 0U);
  EXPECT_DOUBLE_EQ(change.per_second, 800);
  EXPECT_EQ(change.moved.of, 4U * kRoutesThatStay);
  EXPECT_NEAR(change.moved.percent(), 20, 6);
  EXPECT_EQ(change.moved_elsewhere, 0U);
  EXPECT_NEAR(static_cast<double>(change.warm_before.of), 32'000, 1000);
  EXPECT_NEAR(static_cast<double>(change.warm_first_second.of), 3200, 300);
  EXPECT_NEAR(static_cast<double>(change.warm_settled.of), 32'000, 1000);
  EXPECT_LT(change.warm_moved.of, change.warm_first_second.of / 2);
  EXPECT_LT(change.warm_moved.percent(), change.warm_first_second.percent());
  EXPECT_GT(change.warm_first_second.percent(), 50) << "most are where they were";
}

HostsSettings four_trials() {
  HostsSettings settings;
  settings.requests = 20'000;
  return settings;
}

TEST(HostsChange, AHostThatJoinsTakesAFifthOfTheHomes) {
  const HostsChange change = simulate_joining(four_trials());
  EXPECT_EQ(change.before, 4U);
  EXPECT_EQ(change.after, 5U);
  expect_change(change);
  EXPECT_GT(change.warm_settled.percent(), change.warm_before.percent());
}

TEST(HostsChange, AHostThatLeavesInGoodOrderLosesNothing) {
  const HostsChange change = simulate_leaving(four_trials());
  EXPECT_EQ(change.before, 5U);
  EXPECT_EQ(change.after, 4U);
  expect_change(change);
  EXPECT_LT(change.warm_first_second.percent(), change.warm_before.percent());
}

TEST(HostsSim, ZonesAndRegionsAreUsedOneAfterTheOther) {
  HostsSettings settings = small();
  settings.zone_hosts = 1;
  settings.region_zones = 2;
  settings.skew = 3;
  settings.credit = 2;
  const HostsResult result = simulate_hosts(settings, 4);
  EXPECT_EQ(result.zones, 4U);
  EXPECT_EQ(result.regions, 2U);
  EXPECT_EQ(result.of_tier[0].holds, 0U);
  EXPECT_GT(result.of_tier[1].holds, 0U);
  EXPECT_GT(result.of_tier[2].holds, 0U);
}

TEST(HostsSim, TheSeedDecidesAll) {
  HostsSettings settings = small();
  const auto of = [&settings] {
    const std::vector<HostsResult> results = {simulate_hosts(settings, 3)};
    const std::vector<HostsChange> changes = {simulate_joining(settings)};
    return to_json(settings, results, changes);
  };
  const std::string first = of();
  EXPECT_EQ(of(), first);
  settings.seed = 2;
  EXPECT_NE(of(), first);
}

TEST(HostsCosts, GrowWithTheSquare) {
  HostsResult result;
  result.hosts = 20;
  result.forwarded = {.of = 100, .holds = 25};
  const HostsCosts costs = costs_of(result);
  EXPECT_EQ(costs.links, 380U);
  EXPECT_EQ(costs.heartbeats_per_s, 3800U);
  EXPECT_EQ(costs.writes_per_s, 20U);
  EXPECT_EQ(costs.events_per_s, 400U);
  EXPECT_DOUBLE_EQ(costs.messages_per_request, 0.5);
  boost::system::error_code error;
  (void)boost::json::parse(watch_event_sample(), error);
  EXPECT_FALSE(error) << "it is what etcd would say: " << error.message();
  EXPECT_EQ(costs.event_bytes, watch_event_sample().size());
}

}  // namespace
}  // namespace mserve::bench
