// SPDX-License-Identifier: Apache-2.0
#include "report.hpp"

#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <string>

namespace mserve::bench {
namespace {

constexpr LineProbe kNear{200, 136};
constexpr LineProbe kFar{600, 500};

Quantiles all_at(std::uint64_t ns) {
  Quantiles quantiles;
  quantiles.count = 1000;
  quantiles.ns.fill(ns);
  return quantiles;
}

Repetition repetition(LineProbe before, LineProbe after, std::uint64_t floor_ns,
                      std::uint64_t rtt_ns) {
  Repetition r;
  r.line_before = before;
  r.line_after = after;
  r.floor = r.floor_before = r.floor_after = all_at(floor_ns);
  r.rtt = all_at(rtt_ns);
  return r;
}

TEST(Repetition, RatioIsRoundTripOverFloor) {
  EXPECT_DOUBLE_EQ(repetition(kNear, kNear, 300, 390).ratio(kP50), 1.3);
}

TEST(Repetition, RatioIsZeroWithoutRoundTripOrFloor) {
  Repetition r = repetition(kNear, kNear, 0, 390);
  EXPECT_EQ(r.ratio(kP50), 0);
  r = repetition(kNear, kNear, 300, 390);
  r.rtt.reset();
  EXPECT_EQ(r.ratio(kP50), 0);
}

TEST(Comparable, LeavesOutRepetitionsThatChanged) {
  const Comparable kept =
      comparable({repetition(kNear, kNear, 300, 390), repetition(kNear, kFar, 700, 2000)});
  EXPECT_EQ(kept.placement, Placement::near);
  ASSERT_EQ(kept.repetitions.size(), 1U);
  EXPECT_EQ(kept.repetitions[0].floor.ns[kP50], 300U);
}

TEST(Comparable, TakesThePlacementOfTheMajority) {
  const Comparable kept =
      comparable({repetition(kFar, kFar, 1000, 1200), repetition(kNear, kNear, 300, 390),
                  repetition(kFar, kFar, 1100, 1300)});
  EXPECT_EQ(kept.placement, Placement::far);
  EXPECT_EQ(kept.repetitions.size(), 2U);
}

TEST(Comparable, TakesAllAndNamesNoPlacementWhenNoneWasSteady) {
  const Comparable kept =
      comparable({repetition(kFar, kNear, 1000, 1200), repetition(kNear, kFar, 300, 390)});
  EXPECT_EQ(kept.placement, std::nullopt);
  EXPECT_EQ(kept.repetitions.size(), 2U);
}

TEST(Comparable, OfNothingIsNothing) {
  EXPECT_TRUE(comparable({}).repetitions.empty());
}

TEST(Judge, HasNothingToSayAboutASteadyRun) {
  Report report;
  report.repetitions = {repetition(kNear, kNear, 300, 390)};
  EXPECT_TRUE(judge(report).empty());
}

TEST(Judge, WarnsOfAChangedPlacement) {
  Report report;
  report.repetitions = {repetition(kNear, kFar, 300, 390), repetition(kNear, kNear, 300, 390)};
  ASSERT_EQ(judge(report).size(), 1U);
  EXPECT_NE(judge(report)[0].find("1 of 2 repetitions"), std::string::npos) << judge(report)[0];
}

TEST(Judge, WarnsOfAFloorThatMovedBetweenBeforeAndAfter) {
  Report report;
  report.repetitions = {repetition(kNear, kNear, 300, 390)};
  report.repetitions[0].floor_after = all_at(420);
  EXPECT_EQ(judge(report).size(), 1U);
}

TEST(Judge, WarnsOfSteadyRepetitionsOfTheOtherPlacement) {
  Report report;
  report.repetitions = {repetition(kNear, kNear, 300, 390), repetition(kNear, kNear, 300, 390),
                        repetition(kFar, kFar, 1000, 1300)};
  EXPECT_EQ(judge(report).size(), 1U);
}

TEST(Json, HoldsFiguresMachineAndWarnings) {
  Report report;
  report.command = "rtt";
  report.mode = "pair";
  report.machine.processor = "some \"processor\"";
  report.warnings = {"first"};
  report.repetitions = {repetition(kNear, kNear, 300, 390), repetition(kNear, kFar, 300, 900)};
  const boost::json::value json = boost::json::parse(to_json(report));
  EXPECT_EQ(json.at("command").as_string(), "rtt");
  EXPECT_EQ(json.at("machine").at("processor").as_string(), "some \"processor\"");
  EXPECT_EQ(json.at("warnings").as_array().size(), 2U);
  EXPECT_EQ(json.at("repetitions").as_array().size(), 2U);
  EXPECT_EQ(json.at("repetitions").at(1).at("steady").as_bool(), false);
  EXPECT_EQ(json.at("summary").at("repetitions_used").to_number<int>(), 1);
  EXPECT_EQ(json.at("summary").at("rtt").at("p50_ns").at("median").to_number<double>(), 390);
  EXPECT_DOUBLE_EQ(json.at("summary").at("ratio_p99").at("median").to_number<double>(), 1.3);
}

TEST(Json, OfARunWithoutRepetitionsIsStillADocument) {
  const boost::json::value json = boost::json::parse(to_json(Report{}));
  EXPECT_TRUE(json.at("repetitions").as_array().empty());
  EXPECT_TRUE(json.at("summary").at("placement").is_null());
}

}  // namespace
}  // namespace mserve::bench
