// SPDX-License-Identifier: Apache-2.0
#include "affinity_report.hpp"

#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <cstdio>
#include <cstdlib>
#include <regex>
#include <string>
#include <vector>

#include "affinity_run.hpp"

namespace mserve::bench {
namespace {

AffinityCell cell(double hit_share, double mean_ns) {
  AffinityResult result;
  result.requests = 100;
  result.hit_share = hit_share;
  result.mean_ns = mean_ns;
  result.p50_ns = mean_ns / 2;
  result.p99_ns = mean_ns * 7;
  AffinityCell cell;
  cell.repetitions = {result, result};
  return cell;
}

AffinityReport some_report() {
  AffinityReport report;
  report.policies = {"even", "a < b & c"};
  report.loads = {30, 85};
  report.servants = report.clients = 4;
  report.warm_ns = 50'000;
  report.cold_ns = 1'000'000;
  AffinityCase at;
  at.routes = 4;
  at.warm_routes = 1;
  at.exponent = 1.1;
  at.cells = {{cell(0.25, 800'000), cell(0.9, 200'000)}, {cell(0.3, 4'000'000), cell(0.8, 1e6)}};
  report.cases = {at};
  return report;
}

/// The table of the first case.
std::string table(const AffinityReport& report) {
  char* text = nullptr;
  std::size_t size = 0;
  std::FILE* const out = open_memstream(&text, &size);
  print_case(out, report, report.cases.at(0));
  (void)std::fclose(out);
  std::string all(text, size);
  std::free(text);
  return all;
}

/// Where XML is no XML any more: tags that do not match, or text that should have been escaped.
std::string fault_of_xml(const std::string& xml) {
  static const std::regex kTag(R"re(<(/?)([a-z]+)((?: [a-zA-Z-]+="[^"<&]*")*)(/?)>)re");
  static const std::regex kText(R"re((?:[^<&]|&amp;|&lt;)*)re");
  std::vector<std::string> open;
  auto from = xml.cbegin();
  for (std::sregex_iterator tag(xml.begin(), xml.end(), kTag), end; tag != end; ++tag) {
    const auto begin = xml.cbegin() + tag->position();
    if (!std::regex_match(from, begin, kText)) {
      return "not escaped: " + std::string(from, begin);
    }
    from = begin + tag->length();
    if (tag->str(1).empty() && tag->str(4).empty()) {
      open.push_back(tag->str(2));
    } else if (!tag->str(1).empty()) {
      if (open.empty() || open.back() != tag->str(2)) {
        return "unexpected " + tag->str(0);
      }
      open.pop_back();
    }
  }
  return open.empty() && std::string(from, xml.cend()) == "\n" ? "" : "not closed";
}

TEST(AffinityReport, ComparesMeansWithTheReferenceRepetitionByRepetition) {
  const AffinityReport report = some_report();
  EXPECT_DOUBLE_EQ(report.ratio(report.cases[0], 0, 1).median, 0.25);
  EXPECT_DOUBLE_EQ(report.ratio(report.cases[0], 1, 0).median, 1);
}

TEST(AffinityReport, RatioToNothingIsZero) {
  AffinityReport report = some_report();
  report.cases[0].cells[0][0].repetitions.clear();
  EXPECT_EQ(report.ratio(report.cases[0], 0, 1).median, 0);
}

TEST(AffinityReport, CapacityIsWhatTheServantsDoWhenAllIsCold) {
  EXPECT_DOUBLE_EQ(some_report().capacity(), 4000);
}

TEST(AffinityTable, HasARowForEachLoadAndPolicyWithHitRateMeanAndRatio) {
  const std::string text = table(some_report());
  EXPECT_NE(text.find("4 routes, zipf 1.1; each servant keeps 1 warm"), std::string::npos) << text;
  EXPECT_TRUE(std::regex_search(text, std::regex("30  even +25\\.0 .* 800 .* 1\\.00"))) << text;
  EXPECT_TRUE(std::regex_search(text, std::regex("85  a < b & c +80\\.0 .* 1000 .* 0\\.25")))
      << text;
}

TEST(AffinityJson, HoldsEachCellWithItsRepetitions) {
  const boost::json::value json = boost::json::parse(to_json(some_report()));
  const boost::json::array& cells = json.at("cells").as_array();
  ASSERT_EQ(cells.size(), 4U);
  EXPECT_EQ(cells[1].at("policy").as_string(), "a < b & c");
  EXPECT_EQ(cells[1].at("routes").to_number<int>(), 4);
  EXPECT_DOUBLE_EQ(cells[1].at("hit_share").at("median").to_number<double>(), 0.9);
  EXPECT_DOUBLE_EQ(cells[1].at("mean_ratio").at("median").to_number<double>(), 0.25);
  EXPECT_EQ(cells[1].at("repetitions").as_array().size(), 2U);
}

TEST(AffinitySvg, IsWellFormedWhateverAPolicyIsCalled) {
  const std::string svg = to_svg(some_report());
  EXPECT_EQ(fault_of_xml(svg), "") << svg;
  EXPECT_NE(svg.find("a &lt; b &amp; c"), std::string::npos);
}

TEST(AffinitySvg, IsWellFormedWithoutFiguresAndWithoutCases) {
  AffinityReport report = some_report();
  report.cases[0].cells[0][0].repetitions.clear();
  report.cases[0].cells[1][1] = cell(0, 0);
  EXPECT_EQ(fault_of_xml(to_svg(report)), "");
  report.cases.clear();
  EXPECT_EQ(fault_of_xml(to_svg(report)), "");
}

TEST(AffinitySvg, KnowsDarkBackgroundsAndHasNoScriptAndNoSmallText) {
  const std::string svg = to_svg(some_report());
  EXPECT_NE(svg.find("prefers-color-scheme:dark"), std::string::npos);
  EXPECT_EQ(svg.find("<script"), std::string::npos);
  static const std::regex kSize("font-size:([0-9]+)px");
  for (std::sregex_iterator size(svg.begin(), svg.end(), kSize), end; size != end; ++size) {
    EXPECT_GE(std::stoi(size->str(1)), 12);
  }
}

TEST(AffinitySvg, DrawsALineForEachPolicyAndFigureWithinThePicture) {
  const std::string svg = to_svg(some_report());
  std::smatch box;
  ASSERT_TRUE(std::regex_search(svg, box, std::regex("viewBox=\"0 0 ([0-9]+) ([0-9]+)\"")));
  static const std::regex kPoint("translate\\(([-0-9.]+) ([-0-9.]+)\\)");
  int markers = 0;
  for (std::sregex_iterator point(svg.begin(), svg.end(), kPoint), end; point != end; ++point) {
    ++markers;
    EXPECT_GT(std::stod(point->str(1)), 0);
    EXPECT_LT(std::stod(point->str(1)), std::stod(box.str(1)));
    EXPECT_GT(std::stod(point->str(2)), 0);
    EXPECT_LT(std::stod(point->str(2)), std::stod(box.str(2)));
  }
  EXPECT_EQ(markers, 2 + 3 * 2 * 2);  // the legend, and three figures of two policies at two loads
}

TEST(AffinityCase, IsReadAsRoutesAndWarmOnes) {
  const std::optional<AffinityCase> at = parse_affinity_case("64/16");
  ASSERT_TRUE(at);
  EXPECT_EQ(at->routes, 64U);
  EXPECT_EQ(at->warm_routes, 16U);
  EXPECT_EQ(at->distribution(), "uniform");
}

TEST(AffinityCase, RefusesWhatIsNone) {
  for (const char* const text :
       {"", "64", "64/", "/16", "0/1", "1/0", "4/1x", "4 /1", "-4/1", "65537/1", "1/65537"}) {
    EXPECT_FALSE(parse_affinity_case(text)) << text;
  }
}

}  // namespace
}  // namespace mserve::bench
