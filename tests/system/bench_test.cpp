// SPDX-License-Identifier: Apache-2.0
// mserve-bench measures in each of its modes and says what it saw; no figure is judged here.
#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <string>
#include <vector>

#include "mserve/shm/idle.hpp"
#include "support/process.hpp"
#include "support/temp_dir.hpp"
#include "support/wait.hpp"

namespace mserve::test {
namespace {

struct Mode {
  const char* name;
  std::vector<std::string> args;
};

std::vector<Mode> modes() {
  return {{"Floor", {"floor"}},
          {"RttPair", {"rtt"}},
          {"RttProcesses", {"rtt", "--mode", "processes"}},
          {"RttProcessesPinned", {"rtt", "--mode", "processes", "--pin"}}};
}

class Bench : public ::testing::TestWithParam<std::size_t> {};

TEST_P(Bench, MeasuresAndWritesValidJson) {
  if (shm::usable_cores() < 2) {
    GTEST_SKIP() << "fewer than two usable cores: mserve-bench refuses";
  }
  const TempDir dir;
  std::vector<std::string> argv = {program("mserve-bench")};
  const std::vector<std::string> args = modes()[GetParam()].args;
  argv.insert(argv.end(), args.begin(), args.end());
  for (const std::string& arg :
       {std::string("--seconds"), std::string("1"), std::string("--repeat"), std::string("1"),
        std::string("--json"), dir.file("json")}) {
    argv.push_back(arg);
  }
  const Output output = run_to_end(argv);
  ASSERT_EQ(output.exit_code, 0) << output.err;
  EXPECT_NE(output.out.find("p99.9"), std::string::npos) << output.out;
  boost::system::error_code error;
  const boost::json::value json = boost::json::parse(read_file(dir.file("json")), error);
  ASSERT_FALSE(error) << error.message();
  EXPECT_TRUE(json.as_object().contains("machine"));
}
INSTANTIATE_TEST_SUITE_P(Each, Bench, ::testing::Range(std::size_t{0}, modes().size()),
                         [](const auto& test) { return std::string(modes()[test.param].name); });

}  // namespace
}  // namespace mserve::test
