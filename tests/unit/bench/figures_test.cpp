// SPDX-License-Identifier: Apache-2.0
#include "figures.hpp"

#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "figures_drawing.hpp"

namespace mserve::bench {
namespace {

constexpr LineProbe kNear{200, 136};
constexpr LineProbe kFar{600, 500};

Quantiles all_at(std::uint64_t ns) {
  Quantiles quantiles;
  quantiles.count = 1000;
  quantiles.ns.fill(ns);
  quantiles.curve_ns.fill(ns);
  return quantiles;
}

/// Rows "floor" and "rtt" with their ratio.
Section two_rows() {
  Section s;
  s.title = "round <trip>";
  s.rows = {{"floor", ""}, {"rtt", ""}};
  s.comparisons = {{1, 0}};
  return s;
}

void repeat(Section& s, LineProbe before, LineProbe after, std::uint64_t floor_ns,
            std::uint64_t rtt_ns) {
  s.repetitions.push_back({before, after, 0});
  s.rows[0].add(all_at(floor_ns));
  s.rows[1].add(all_at(rtt_ns));
}

Spread ratio(const Section& s) {
  return ratio_of(s, s.comparisons[0], kept_of(s), kP50);
}

TEST(Ratio, IsTheFirstRowOverTheSecond) {
  Section s = two_rows();
  repeat(s, kNear, kNear, 300, 390);
  EXPECT_DOUBLE_EQ(ratio(s).median, 1.3);
}

TEST(Ratio, IsJudgedByItsBudgetAtEachPercentile) {
  Section s = two_rows();
  s.comparisons = {{1, 0, "at most 1.3 at p50, 1.6 at p99", 1.3, 1.6}};
  repeat(s, kNear, kNear, 100, 140);
  const auto summary = [&] {
    char* text = nullptr;
    std::size_t size = 0;
    std::FILE* const out = open_memstream(&text, &size);
    print_summary(out, s);
    (void)std::fclose(out);
    std::string all(text, size);
    std::free(text);
    return all;
  };
  std::string text = summary();
  EXPECT_NE(text.find("rtt / floor at p50  1.40  (1.40 to 1.40)  over the budget of 1.3\n"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("(1.40 to 1.40)  within the budget of 1.6\n"), std::string::npos) << text;
  EXPECT_EQ(text.find("at most"), std::string::npos) << text;
  s.comparisons = {{1, 0, "at least 0.5"}};
  text = summary();
  EXPECT_NE(text.find("budget   at least 0.5\n"), std::string::npos) << text;
  EXPECT_EQ(text.find("the budget of"), std::string::npos) << text;
}

TEST(Ratio, KeepsTheDigitsThatAreWorthReading) {
  EXPECT_EQ(ratio_text(0.0127), "0.013");
  EXPECT_EQ(ratio_text(1.2345), "1.23");
  EXPECT_EQ(ratio_text(217.4), "217");
  EXPECT_EQ(ratio_text(0), "0.00");
}

TEST(FailedFigure, CountsNowhere) {
  Section s = two_rows();
  repeat(s, kNear, kNear, 100, 200);
  s.repetitions.push_back({kNear, kNear, 0});
  s.rows[0].add(all_at(100));
  s.rows[1].add(Quantiles{});
  EXPECT_FALSE(measured(s, s.rows[1], 1));
  EXPECT_DOUBLE_EQ(ratio(s).low, 2);
  EXPECT_DOUBLE_EQ(spread_of(s, s.rows[1], kept_of(s), kP50).low, 200);
  Section rates = two_rows();
  rates.unit = Unit::requests_per_s;
  rates.repetitions = s.repetitions;
  for (const double value : {3.0, 0.0}) {
    rates.rows[0].add(1.0);
    rates.rows[1].add(value);
  }
  EXPECT_DOUBLE_EQ(spread_of(rates, rates.rows[1], kept_of(rates), 0).low, 3);
  EXPECT_DOUBLE_EQ(ratio_of(rates, rates.comparisons[0], kept_of(rates), 0).median, 3);
  for (const Unit unit : {Unit::ms, Unit::requests, Unit::percent}) {
    rates.unit = unit;
    EXPECT_TRUE(measured(rates, rates.rows[1], 1)) << "0 is a figure as any other";
    EXPECT_DOUBLE_EQ(spread_of(rates, rates.rows[1], kept_of(rates), 0).low, 0);
  }
}

TEST(Ratio, IsTakenRepetitionByRepetition) {
  Section s = two_rows();
  repeat(s, kNear, kNear, 100, 200);
  repeat(s, kNear, kNear, 300, 300);
  repeat(s, kNear, kNear, 100, 400);
  EXPECT_DOUBLE_EQ(ratio(s).low, 1);
  EXPECT_DOUBLE_EQ(ratio(s).median, 2);
  EXPECT_DOUBLE_EQ(ratio(s).high, 4);
}

TEST(Ratio, LeavesOutWhatCannotBeDividedBy) {
  Section s = two_rows();
  repeat(s, kNear, kNear, 0, 390);
  EXPECT_EQ(ratio(s).median, 0);
  repeat(s, kNear, kNear, 100, 300);
  EXPECT_EQ(ratio(s).low, 3);
}

TEST(Kept, LeavesOutRepetitionsThatChanged) {
  Section s = two_rows();
  repeat(s, kNear, kNear, 300, 390);
  repeat(s, kNear, kFar, 700, 2000);
  const Kept kept = kept_of(s);
  EXPECT_EQ(kept.placement, Placement::near);
  EXPECT_EQ(kept.repetitions, std::vector<std::size_t>{0});
  EXPECT_EQ(spread_of(s, s.row("rtt"), kept, kP99).high, 390);
}

TEST(Kept, TakesThePlacementOfTheMajority) {
  Section s = two_rows();
  repeat(s, kFar, kFar, 1000, 1200);
  repeat(s, kNear, kNear, 300, 390);
  repeat(s, kFar, kFar, 1100, 1300);
  const Kept kept = kept_of(s);
  EXPECT_EQ(kept.placement, Placement::far);
  EXPECT_EQ(kept.repetitions, (std::vector<std::size_t>{0, 2}));
}

TEST(Kept, TakesAllAndNamesNoPlacementWhenNoneWasSteady) {
  Section s = two_rows();
  repeat(s, kFar, kNear, 1000, 1200);
  repeat(s, kNear, kFar, 300, 390);
  const Kept kept = kept_of(s);
  EXPECT_EQ(kept.placement, std::nullopt);
  EXPECT_TRUE(kept.probed);
  EXPECT_EQ(kept.repetitions.size(), 2U);
}

TEST(Kept, TakesAllWhereNothingWasProbed) {
  Section s = two_rows();
  repeat(s, kNear, kNear, 300, 390);
  s.repetitions[0] = {};
  const Kept kept = kept_of(s);
  EXPECT_FALSE(kept.probed);
  EXPECT_EQ(kept.repetitions.size(), 1U);
}

TEST(Kept, OfNothingIsNothing) {
  EXPECT_TRUE(kept_of(Section{}).repetitions.empty());
}

TEST(Warnings, HaveNothingToSayAboutASteadySection) {
  Section s = two_rows();
  repeat(s, kNear, kNear, 300, 390);
  EXPECT_TRUE(warnings_of(s).empty());
}

TEST(Warnings, TellOfAChangedPlacement) {
  Section s = two_rows();
  repeat(s, kNear, kFar, 300, 390);
  repeat(s, kNear, kNear, 300, 390);
  ASSERT_EQ(warnings_of(s).size(), 1U);
  EXPECT_NE(warnings_of(s)[0].find("1 of 2 repetitions"), std::string::npos) << warnings_of(s)[0];
}

TEST(Warnings, TellOfSteadyRepetitionsOfTheOtherPlacement) {
  Section s = two_rows();
  repeat(s, kNear, kNear, 300, 390);
  repeat(s, kNear, kNear, 300, 390);
  repeat(s, kFar, kFar, 1000, 1300);
  EXPECT_EQ(warnings_of(s).size(), 1U);
}

TEST(Row, IsFoundByName) {
  const Section s = two_rows();
  EXPECT_EQ(&s.row("rtt"), &s.rows[1]);
  EXPECT_THROW((void)s.row("other"), std::out_of_range);
}

TEST(Humane, GivesThreeFiguresAndTheUnit) {
  EXPECT_EQ(humane(Unit::ns, 552), "552 ns");
  EXPECT_EQ(humane(Unit::ns, 3336), "3.34 us");
  EXPECT_EQ(humane(Unit::ns, 24'500'000), "24.5 ms");
  EXPECT_EQ(humane(Unit::requests_per_s, 10'800'000), "10.8 M/s");
  EXPECT_EQ(humane(Unit::bytes_per_s, 12.34e9), "12.3 GB/s");
  EXPECT_EQ(humane(Unit::percent, 0.4), "0.40 %");
  EXPECT_EQ(humane(Unit::ns, 0), "0 ns");
  EXPECT_EQ(humane(Unit::ms, 612.3), "612 ms");
  EXPECT_EQ(humane(Unit::ms, 0), "0 ms");
  EXPECT_EQ(humane(Unit::requests, 12'345), "12345");
}

Document document() {
  Document d;
  d.command = "mserve-bench rtt";
  d.machine.processor = "some \"processor\"";
  d.warnings = {"first"};
  d.sections.push_back(two_rows());
  repeat(d.sections[0], kNear, kNear, 300, 390);
  repeat(d.sections[0], kNear, kFar, 300, 900);
  Section rates;
  rates.title = "throughput";
  rates.unit = Unit::requests_per_s;
  rates.rows = {{"broker", "window 64"}};
  rates.rows[0].add(5e6);
  rates.rows[0].add(7e6);
  rates.repetitions.resize(2);
  d.sections.push_back(rates);
  return d;
}

TEST(Json, HoldsFiguresMachineAndWarnings) {
  const boost::json::value json = boost::json::parse(to_json(document()));
  EXPECT_EQ(json.at("command").as_string(), "mserve-bench rtt");
  EXPECT_EQ(json.at("machine").at("processor").as_string(), "some \"processor\"");
  EXPECT_EQ(json.at("warnings").as_array().size(), 1U);
  const boost::json::value& section = json.at("sections").at(0);
  EXPECT_EQ(section.at("unit").as_string(), "ns");
  EXPECT_EQ(section.at("repetitions").at(1).at("steady").as_bool(), false);
  EXPECT_EQ(section.at("repetitions_used").as_array().size(), 1U);
  EXPECT_EQ(section.at("rows").at(1).at("p99.99_ns").at("median").to_number<double>(), 390);
  EXPECT_EQ(section.at("rows").at(1).at("repetitions").at(1).at("p50_ns").to_number<int>(), 900);
  EXPECT_DOUBLE_EQ(section.at("ratios").at(0).at("p99").at("median").to_number<double>(), 1.3);
}

TEST(Json, HoldsOneValueWhereThereAreNoPercentiles) {
  const boost::json::value json = boost::json::parse(to_json(document()));
  const boost::json::value& row = json.at("sections").at(1).at("rows").at(0);
  EXPECT_EQ(row.at("value").at("median").to_number<double>(), 6e6);
  EXPECT_EQ(row.at("repetitions").at(1).to_number<double>(), 7e6);
}

TEST(Json, OfARunWithoutSectionsIsStillADocument) {
  EXPECT_TRUE(boost::json::parse(to_json(Document{})).at("sections").as_array().empty());
}

TEST(Drawing, ShowsEveryRowAndKeepsTextApartFromMarkup) {
  const std::string svg = to_svg(document());
  EXPECT_NE(svg.find(">floor</text>"), std::string::npos);
  EXPECT_NE(svg.find(">rtt</text>"), std::string::npos);
  EXPECT_NE(svg.find(">broker</text>"), std::string::npos);
  EXPECT_NE(svg.find("round &lt;trip&gt;"), std::string::npos);
  EXPECT_EQ(svg.find("round <trip>"), std::string::npos);
  EXPECT_EQ(svg.find("nan"), std::string::npos) << svg;
}

TEST(Drawing, OfASectionWithoutRepetitionsSaysSo) {
  EXPECT_NE(drawing_of(two_rows()).body.find("nothing was measured"), std::string::npos);
}

TEST(Drawing, OfNothingButZeroesHasNoBrokenNumbers) {
  Section s = two_rows();
  repeat(s, kNear, kNear, 0, 0);
  const std::string body = drawing_of(s).body;
  EXPECT_EQ(body.find("nan"), std::string::npos) << body;
  EXPECT_EQ(body.find("inf"), std::string::npos) << body;
}

TEST(Axis, OfLogarithmsEndsBeyondItsValues) {
  const Axis axis = log_axis(170, 4100);
  EXPECT_LE(axis.ticks.front(), 170);
  EXPECT_GE(axis.ticks.back(), 4100);
  EXPECT_EQ(axis.place(axis.ticks.front()), 0);
  EXPECT_EQ(axis.place(1e9), 1);
}

TEST(Axis, OfEqualStepsStartsAtZero) {
  const Axis axis = linear_axis(4.2e6);
  EXPECT_EQ(axis.ticks.front(), 0);
  EXPECT_EQ(axis.ticks.back(), 5e6);
}

TEST(Html, IsOnePageThatNeedsNoOtherFile) {
  const std::string html = to_html(document());
  EXPECT_NE(html.find("prefers-color-scheme:dark"), std::string::npos);
  EXPECT_NE(html.find("</svg>"), std::string::npos);
  EXPECT_EQ(html.find("<script"), std::string::npos);
  EXPECT_EQ(html.find("href="), std::string::npos);
  EXPECT_EQ(html.find("src="), std::string::npos);
}

}  // namespace
}  // namespace mserve::bench
