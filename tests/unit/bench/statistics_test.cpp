// SPDX-License-Identifier: Apache-2.0
#include "statistics.hpp"

#include <gtest/gtest.h>

#include <memory>

#include "mserve/shm/histogram.hpp"

namespace mserve::bench {
namespace {

TEST(Spread, OfNothingIsZero) {
  const Spread spread = spread_of({});
  EXPECT_EQ(spread.median, 0);
  EXPECT_EQ(spread.low, 0);
  EXPECT_EQ(spread.high, 0);
}

TEST(Spread, OfOneValueIsThatValue) {
  const Spread spread = spread_of({7});
  EXPECT_EQ(spread.median, 7);
  EXPECT_EQ(spread.low, 7);
  EXPECT_EQ(spread.high, 7);
}

TEST(Spread, OfAnOddNumberHasTheMiddleOneWhateverTheirOrder) {
  const Spread spread = spread_of({900, 1, 5});
  EXPECT_EQ(spread.median, 5);
  EXPECT_EQ(spread.low, 1);
  EXPECT_EQ(spread.high, 900);
}

TEST(Spread, OfAnEvenNumberHasTheMeanOfTheMiddleTwo) {
  EXPECT_EQ(spread_of({10, 4, 1, 3}).median, 3.5);
}

TEST(Quantiles, FollowTheHistogramInTheOrderOfTheirNames) {
  const auto histogram = std::make_unique<shm::Histogram>();
  for (std::uint64_t ns = 1; ns <= 100; ++ns) {
    histogram->record(ns);
  }
  histogram->record(123'456'789);
  const Quantiles quantiles = quantiles_of(*histogram);
  EXPECT_EQ(quantiles.count, 101U);
  EXPECT_EQ(quantiles.ns[kP50], 51U);
  EXPECT_EQ(quantiles.ns[kP99], 100U);
  EXPECT_EQ(quantiles.ns.back(), 123'456'789U);
}

TEST(Quantiles, NamedIndicesPointAtTheirPercentiles) {
  EXPECT_STREQ(kPercentiles[kP50].name, "p50");
  EXPECT_STREQ(kPercentiles[kP99].name, "p99");
}

TEST(Placement, IsNearUpToTheLimitAndFarBeyond) {
  EXPECT_EQ(placement_of({160, 136}), Placement::near);
  EXPECT_EQ(placement_of({kNearNsMax, 200}), Placement::near);
  EXPECT_EQ(placement_of({kNearNsMax + 1, 200}), Placement::far);
  EXPECT_EQ(placement_of({700, 600}), Placement::far);
}

TEST(Placement, IsToldByTheTimedProbeAlone) {
  EXPECT_EQ(placement_of({200, 90'000}), Placement::near);
}

TEST(Steadiness, HoldsForEqualProbes) {
  EXPECT_TRUE(is_steady({200, 136}, {210, 140}));
}

TEST(Steadiness, IsLostWhenThePlacementChanges) {
  EXPECT_FALSE(is_steady({330, 200}, {350, 200}));
  EXPECT_FALSE(is_steady({600, 500}, {200, 136}));
}

TEST(Steadiness, IsLostWhenOneClassHidesALargeChangeEitherWay) {
  EXPECT_FALSE(is_steady({160, 130}, {250, 130}));
  EXPECT_FALSE(is_steady({1000, 900}, {600, 500}));
}

TEST(Steadiness, IsLostWhenAProbeFailed) {
  EXPECT_FALSE(is_steady({0, 0}, {200, 136}));
  EXPECT_FALSE(is_steady({0, 0}, {0, 0}));
}

}  // namespace
}  // namespace mserve::bench
