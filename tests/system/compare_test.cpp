// SPDX-License-Identifier: Apache-2.0
// bench/compare with executables that only pretend to be mserve-bench.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <boost/json.hpp>
#include <filesystem>
#include <fstream>
#include <string>

#include "support/process.hpp"
#include "support/temp_dir.hpp"
#include "support/wait.hpp"

namespace mserve::test {
namespace {

const std::string kCompare = std::string(MSERVE_TEST_SOURCE_DIR) + "/../bench/compare";

/// A "build" whose mserve-bench notes its arguments in `log` and always measures the same.
std::string fake_build(const TempDir& dir, const std::string& name, const std::string& p50,
                       const std::string& placement = "\"near\"") {
  const std::string place = dir.file(name);
  std::filesystem::create_directories(place + "/bin");
  const std::string bench = place + "/bin/mserve-bench";
  std::ofstream(bench) << "#!/bin/sh\necho " << name << " \"$1\" >> '" << dir.file("log") << "'\n"
                       << "for last; do :; done\ncat > \"$last\" <<'END'\n"
                       << R"({"format": 2, "sections": [{"title": "round trip", "placement": )"
                       << placement << R"(, "rows": [{"name": "rtt", "p50_ns": {"median": )" << p50
                       << R"(}, "p99_ns": {"median": 900}}]},)"
                       << R"({"title": "throughput", "placement": "near", "rows": [)"
                       << R"({"name": "broker", "value": {"median": 5e6}}]}]})"
                       << "\nEND\n";
  (void)chmod(bench.c_str(), 0755);
  return place;
}

TEST(Compare, RunsBothInTurnAndPrintsTheRatioOfEachPair) {
  const TempDir dir;
  const std::string a = fake_build(dir, "a", "600");
  const std::string b = fake_build(dir, "b", "300");
  const Output output =
      run_to_end({kCompare, "-n", "2", "--json", dir.file("json"), a, b, "--", "rtt"});
  ASSERT_EQ(output.exit_code, 0) << output.err;
  EXPECT_EQ(read_file(dir.file("log")), "a rtt\nb rtt\nb rtt\na rtt\n");
  const boost::json::value json = boost::json::parse(read_file(dir.file("json")));
  const boost::json::value& p50 = json.at("ratios").at(0);
  EXPECT_EQ(p50.at("row").as_string(), "rtt");
  EXPECT_EQ(p50.at("what").as_string(), "p50");
  EXPECT_EQ(p50.at("median").to_number<double>(), 0.5);
  EXPECT_EQ(p50.at("pairs").to_number<int>(), 2);
  EXPECT_EQ(json.at("ratios").as_array().size(), 3U);
  EXPECT_NE(output.out.find("0.500"), std::string::npos) << output.out;
}

TEST(Compare, LeavesOutPairsOfDifferentPlacements) {
  const TempDir dir;
  const std::string a = fake_build(dir, "a", "600");
  const std::string b = fake_build(dir, "b", "300", "\"far\"");
  const Output output = run_to_end({kCompare, "-n", "1", a, b});
  ASSERT_EQ(output.exit_code, 0) << output.err;
  EXPECT_EQ(output.out.find("rtt p50"), std::string::npos) << output.out;
  EXPECT_NE(output.out.find("broker value"), std::string::npos) << output.out;
  EXPECT_NE(output.err.find("left out"), std::string::npos) << output.err;
}

TEST(Compare, ExplainsItselfAndItsRefusals) {
  const TempDir dir;
  EXPECT_NE(run_to_end({kCompare, "--help"}).out.find("PAIRS"), std::string::npos);
  const Output output = run_to_end({kCompare, dir.file(""), "no-such-revision"});
  EXPECT_EQ(output.exit_code, 1);
  EXPECT_NE(output.err.find("there is no"), std::string::npos) << output.err;
}

}  // namespace
}  // namespace mserve::test
