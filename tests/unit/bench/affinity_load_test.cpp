// SPDX-License-Identifier: Apache-2.0
#include "affinity_load.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace mserve::bench {
namespace {

/// How often each route is picked by `draws` numbers spread evenly over [0, 1).
std::vector<int> frequencies(const RoutePicker& picker, std::uint32_t routes, int draws) {
  std::vector<int> counts(routes);
  for (int i = 0; i < draws; ++i) {
    ++counts.at(picker.pick((i + 0.5) / draws));
  }
  return counts;
}

ArrivalPlan some_plan() {
  ArrivalPlan plan;
  plan.seed = 7;
  plan.per_second = 10'000;
  plan.duration_ns = 2'000'000'000;
  plan.routes = 8;
  plan.clients = 4;
  return plan;
}

TEST(RoutePicker, GivesEachRouteTheSameShareAtExponentZero) {
  for (const int count : frequencies(RoutePicker(8, 0), 8, 8000)) {
    EXPECT_NEAR(count, 1000, 1);
  }
}

TEST(RoutePicker, FollowsZipfsLaw) {
  const std::vector<int> counts = frequencies(RoutePicker(64, 1.1), 64, 1'000'000);
  for (const std::size_t k : {2U, 4U, 10U, 64U}) {
    EXPECT_NEAR(static_cast<double>(counts[0]) / counts[k - 1],
                std::pow(static_cast<double>(k), 1.1), 0.2)
        << "route " << k;
  }
}

TEST(RoutePicker, NeverLeavesTheRoutes) {
  EXPECT_EQ(RoutePicker(3, 1.1).pick(0), 0U);
  EXPECT_EQ(RoutePicker(3, 1.1).pick(1), 2U);
  EXPECT_EQ(RoutePicker(1, 0).pick(0.999), 0U);
}

TEST(WarmSet, IsColdTheFirstTimeAndWarmThen) {
  WarmSet warm(2);
  EXPECT_FALSE(warm.use(5));
  EXPECT_TRUE(warm.use(5));
}

TEST(WarmSet, GivesUpTheRouteThatWasNotUsedForLongest) {
  WarmSet warm(2);
  (void)warm.use(1);
  (void)warm.use(2);
  EXPECT_TRUE(warm.use(1));
  EXPECT_FALSE(warm.use(3));  // in the place of 2
  EXPECT_TRUE(warm.use(1));
  EXPECT_FALSE(warm.use(2));
}

TEST(WarmSet, OfNothingIsAlwaysCold) {
  WarmSet warm(0);
  EXPECT_FALSE(warm.use(1));
  EXPECT_FALSE(warm.use(1));
}

TEST(Arrivals, AreTheSameForTheSamePlanAndOthersForAnotherSeed) {
  ArrivalPlan plan = some_plan();
  const std::vector<Arrival> first = make_arrivals(plan);
  const std::vector<Arrival> again = make_arrivals(plan);
  ASSERT_EQ(first.size(), again.size());
  for (std::size_t i = 0; i < first.size(); ++i) {
    ASSERT_EQ(first[i].at_ns, again[i].at_ns);
    ASSERT_EQ(first[i].route, again[i].route);
    ASSERT_EQ(first[i].client, again[i].client);
  }
  plan.seed = 8;
  EXPECT_NE(make_arrivals(plan).front().at_ns, first.front().at_ns);
}

TEST(Arrivals, HaveTheRateAndTheIrregularityOfAPoissonProcess) {
  const std::vector<Arrival> arrivals = make_arrivals(some_plan());
  EXPECT_NEAR(static_cast<double>(arrivals.size()), 20'000, 600);  // four standard deviations
  double squares = 0;
  for (std::size_t i = 1; i < arrivals.size(); ++i) {
    ASSERT_GE(arrivals[i].at_ns, arrivals[i - 1].at_ns);
    const double gap = static_cast<double>(arrivals[i].at_ns - arrivals[i - 1].at_ns) / 100'000;
    squares += gap * gap;
  }
  EXPECT_NEAR(squares / static_cast<double>(arrivals.size()), 2, 0.2);  // of an exponential gap
}

TEST(Arrivals, AreSharedOutAmongClientsAndRoutes) {
  std::vector<int> clients(4);
  std::vector<int> routes(8);
  for (const Arrival& arrival : make_arrivals(some_plan())) {
    ++clients.at(arrival.client);
    ++routes.at(arrival.route);
  }
  for (const int count : clients) {
    EXPECT_NEAR(count, 5000, 300);
  }
  for (const int count : routes) {
    EXPECT_NEAR(count, 2500, 250);
  }
}

}  // namespace
}  // namespace mserve::bench
