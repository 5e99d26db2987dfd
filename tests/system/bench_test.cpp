// SPDX-License-Identifier: Apache-2.0
// mserve-bench measures in each of its modes and says what it saw; no figure is judged here.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <boost/json.hpp>
#include <csignal>
#include <filesystem>
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
          {"RttWatched", {"rtt", "--watched"}},
          {"RttProcesses", {"rtt", "--mode", "processes"}},
          {"RttProcessesPinned", {"rtt", "--mode", "processes", "--pin"}},
          {"Throughput", {"throughput", "--window", "8"}},
          {"ThroughputProcesses", {"throughput", "--mode", "processes"}},
          {"OpenLoop", {"open-loop", "--load", "20"}},
          {"OpenLoopEven", {"open-loop", "--rate", "2000,5000", "--arrivals", "even"}},
          {"Wake", {"wake", "--pause", "0.5", "--watch", "0.1"}},
          {"IdleClients", {"idle-clients", "--clients", "20"}},
          {"Many", {"many", "--crowd", "2x1,1x2"}},
          {"Restarts", {"restarts", "--servants", "3", "--within", "0.1"}},
          {"Large", {"large", "--sizes", "100,64k,1m"}}};
}

/// Every row holds one repetition, with samples where there are percentiles.
void expect_figures(const boost::json::value& section) {
  EXPECT_EQ(section.at("repetitions").as_array().size(), 1U);
  EXPECT_FALSE(section.at("rows").as_array().empty());
  for (const boost::json::value& row : section.at("rows").as_array()) {
    const boost::json::value& figure = row.at("repetitions").at(0);
    if (section.at("unit") == "ns") {
      EXPECT_GT(figure.at("samples").to_number<int>(), 0) << row;
    } else {
      EXPECT_TRUE(figure.is_number()) << row;  // null: nothing was measured
    }
  }
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
  argv.insert(argv.end(), {"--seconds", "0.5", "--repeat", "1", "--json", dir.file("json")});
  const Output output = run_to_end(argv);
  ASSERT_EQ(output.exit_code, 0) << output.err;
  EXPECT_NE(output.out.find("Over 1 of 1 repetitions"), std::string::npos) << output.out;
  boost::system::error_code error;
  const boost::json::value json = boost::json::parse(read_file(dir.file("json")), error);
  ASSERT_FALSE(error) << error.message();
  EXPECT_TRUE(json.as_object().contains("machine"));
  ASSERT_FALSE(json.at("sections").as_array().empty());
  for (const boost::json::value& section : json.at("sections").as_array()) {
    expect_figures(section);
  }
}
INSTANTIATE_TEST_SUITE_P(Each, Bench, ::testing::Range(std::size_t{0}, modes().size()),
                         [](const auto& test) { return std::string(modes()[test.param].name); });

/// Ctrl-C once figures are being measured: the exit code tells, no process and no file stays.
class BenchInterrupt : public ::testing::TestWithParam<const char*> {};

TEST_P(BenchInterrupt, LeavesNothingBehind) {
  if (shm::usable_cores() < 2) {
    GTEST_SKIP() << "fewer than two usable cores: mserve-bench refuses";
  }
  const TempDir dir;
  Process bench({.argv = {program("mserve-bench"), GetParam(), "--seconds", "20"},
                 .env = {{"TMPDIR", dir.path()}}});
  ASSERT_TRUE(
      wait_until([&] { return !children_of(bench.pid()).empty(); }, "a process of the bench"));
  const std::vector<pid_t> children = children_of(bench.pid());
  bench.signal(SIGINT);
  EXPECT_EQ(bench.wait(), 128 + SIGINT);
  for (const pid_t child : children) {
    EXPECT_TRUE(gone(child)) << child;
  }
  EXPECT_TRUE(std::filesystem::is_empty(dir.path()));
}
INSTANTIATE_TEST_SUITE_P(Each, BenchInterrupt,
                         ::testing::Values("rtt", "throughput", "open-loop", "wake", "idle-clients",
                                           "many", "large"),
                         [](const auto& test) {
                           std::string name = test.param;
                           std::erase(name, '-');
                           return name;
                         });

// What a signal interrupts fails as if something else were wrong with it.
TEST(BenchInterrupted, WhileItWaitsForAnAnswerEndsAsInterruptedTooAndNotAsFailed) {
  const TempDir dir;
  Process bench({.argv = {program("mserve-bench"), "kdb", "--standin-path", "/bin/true"},
                 .env = {{"TMPDIR", dir.path()}},
                 .stderr_path = dir.file("err")});
  ASSERT_TRUE(wait_until([&] { return !children_of(bench.pid()).empty(); }, "the stand-in"));
  bench.signal(SIGINT);
  EXPECT_EQ(bench.wait(), 128 + SIGINT);
  EXPECT_EQ(read_file(dir.file("err")), "mserve-bench: interrupted\n");
}

TEST(BenchNoBroker, IsTheExitCodeOfAllTools) {
  if (shm::usable_cores() < 2) {
    GTEST_SKIP() << "fewer than two usable cores: mserve-bench refuses";
  }
  const TempDir dir;
  const Output output =
      run_to_end({program("mserve-bench"), "rtt", "--name", "nope"}, {{"MSERVE_DIR", dir.path()}});
  EXPECT_EQ(output.exit_code, 3) << output.err;
  EXPECT_NE(output.err.find("no broker 'nope'"), std::string::npos) << output.err;
}

TEST(BenchAll, PutsEverySubcommandIntoOneDocument) {
  if (shm::usable_cores() < 2) {
    GTEST_SKIP() << "fewer than two usable cores: mserve-bench refuses";
  }
  constexpr rlim_t kDescriptors = 4096;
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_max < kDescriptors) {
    GTEST_SKIP() << "a thousand clients need more descriptors than " << limit.rlim_max
                 << " (ulimit -Hn)";
  }
  const TempDir dir;
  const Output output =
      run_to_end({program("mserve-bench"), "all", "--seconds", "2", "--repeat", "1", "--json",
                  dir.file("json"), "--html", dir.file("html"), "--svg", dir.file("svg")});
  ASSERT_EQ(output.exit_code, 0) << output.err << output.out;
  boost::system::error_code error;
  const boost::json::value json = boost::json::parse(read_file(dir.file("json")), error);
  ASSERT_FALSE(error) << error.message();
  std::string titles;
  for (const boost::json::value& section : json.at("sections").as_array()) {
    titles += std::string(section.at("title").as_string()) + "\n";
    expect_figures(section);
  }
  for (const char* const part : {"floor", "round trip", "throughput", "open loop", "waking",
                                 "silent", "many clients", "large", "kdb+"}) {
    EXPECT_NE(titles.find(part), std::string::npos) << part << " in\n" << titles;
  }
  EXPECT_NE(read_file(dir.file("html")).find("</html>"), std::string::npos);
  EXPECT_NE(read_file(dir.file("svg")).find("</svg>"), std::string::npos);
}

TEST(BenchUnknownSubcommand, IsNamedWithTheNearest) {
  const Output output = run_to_end({program("mserve-bench"), "rrt"});
  EXPECT_EQ(output.exit_code, 2);
  EXPECT_NE(output.err.find("is it 'rtt'?"), std::string::npos) << output.err;
  const Output none = run_to_end({program("mserve-bench")});
  EXPECT_EQ(none.exit_code, 2);
  EXPECT_EQ(none.err.find("mserve-bench: a command is missing; commands are: floor, rtt, "), 0U)
      << none.err;
  EXPECT_EQ(none.err.find("echo-servant"), std::string::npos) << "that one is for itself alone";
  const Output flag = run_to_end({program("mserve-bench"), "rtt", "--second", "2"});
  EXPECT_EQ(flag.exit_code, 2);
  EXPECT_EQ(flag.err.find("mserve-bench: there is no option --second; is it --seconds?\n"), 0U)
      << flag.err;
  const Output value = run_to_end({program("mserve-bench"), "rtt", "--seconds", "x"});
  EXPECT_EQ(value.exit_code, 2);
  EXPECT_EQ(value.err.find("mserve-bench: --seconds: expected "), 0U) << value.err;
}

TEST(BenchMany, EndsWhenAClientDoes) {
  if (shm::usable_cores() < 2) {
    GTEST_SKIP() << "fewer than two usable cores: mserve-bench refuses";
  }
  const TempDir dir;
  Process bench({.argv = {program("mserve-bench"), "many", "--crowd", "2x1", "--seconds", "1000"},
                 .env = {{"TMPDIR", dir.path()}},
                 .stderr_path = dir.file("err")});
  // Broker, servant, two clients.
  ASSERT_TRUE(wait_until([&] { return children_of(bench.pid()).size() == 4; }, "its clients"));
  const std::vector<pid_t> children = children_of(bench.pid());
  ASSERT_EQ(::kill(*std::max_element(children.begin(), children.end()), SIGKILL), 0);
  EXPECT_EQ(bench.wait(), 1);
  EXPECT_NE(read_file(dir.file("err")).find("a client ended"), std::string::npos)
      << read_file(dir.file("err"));
}

TEST(BenchMany, TellsWhatIsWrongWithACrowd) {
  const Output output = run_to_end({program("mserve-bench"), "many", "--crowd", "8"});
  EXPECT_EQ(output.exit_code, 2);
  EXPECT_NE(output.err.find("such as 8x2; not '8'"), std::string::npos) << output.err;
}

TEST(BenchAffinity, AsksEveryPolicyTheSameAndWritesJsonAndPicture) {
  const TempDir dir;
  const Output output =
      run_to_end({program("mserve-bench"), "affinity", "--routes", "2/1", "--load", "20",
                  "--servants", "2", "--clients", "2", "--seconds", "2", "--repeat", "1", "--json",
                  dir.file("json"), "--svg", dir.file("svg")});
  ASSERT_EQ(output.exit_code, 0) << output.err;
  EXPECT_NE(output.out.find("zipf 1.1"), std::string::npos) << output.out;
  EXPECT_NE(read_file(dir.file("svg")).find("</svg>"), std::string::npos);
  boost::system::error_code error;
  const boost::json::value json = boost::json::parse(read_file(dir.file("json")), error);
  ASSERT_FALSE(error) << error.message();
  const auto requests = [&json](std::size_t cell) {
    return json.at("cells").at(cell).at("repetitions").at(0).at("requests").to_number<int>();
  };
  EXPECT_GT(requests(0), 0);
  EXPECT_EQ(requests(0), requests(1));
  EXPECT_EQ(json.at("cells").at(0).at("policy").as_string(), "even");
}

TEST(BenchHosts, SaysTheSameEachTimeInTableAndJson) {
  const TempDir dir;
  std::vector<std::string> argv = {program("mserve-bench"),
                                   "hosts",
                                   "--hosts",
                                   "2,5",
                                   "--requests",
                                   "500",
                                   "--load",
                                   "100",
                                   "--json",
                                   dir.file("json"),
                                   "--html",
                                   dir.file("html")};
  const Output output = run_to_end(argv);
  ASSERT_EQ(output.exit_code, 0) << output.err;
  EXPECT_NE(output.out.find("watch events/s"), std::string::npos) << output.out;
  EXPECT_NE(output.out.find("a host joins"), std::string::npos) << output.out;
  EXPECT_NE(read_file(dir.file("html")).find("5 hosts"), std::string::npos);
  boost::system::error_code error;
  const boost::json::value json = boost::json::parse(read_file(dir.file("json")), error);
  ASSERT_FALSE(error) << error.message();
  const boost::json::value& five = json.at("clusters").at(1);
  EXPECT_EQ(five.at("links").to_number<int>(), 20);
  EXPECT_EQ(five.at("etcd_events_per_s").to_number<int>(), 25);
  EXPECT_GT(five.at("forwarded").at("percent").to_number<double>(), 0);
  const boost::json::value& leaves = json.at("changes").at(1);
  EXPECT_EQ(leaves.at("after").to_number<int>(), 4);
  EXPECT_GT(leaves.at("warm_settled").at("percent").to_number<double>(), 0);
  argv[9] = dir.file("again");
  ASSERT_EQ(run_to_end(argv).exit_code, 0);
  EXPECT_EQ(read_file(dir.file("json")), read_file(dir.file("again")));
  argv.insert(argv.end(), {"--seed", "2"});
  ASSERT_EQ(run_to_end(argv).exit_code, 0);
  EXPECT_NE(read_file(dir.file("json")), read_file(dir.file("again")));
}

TEST(BenchHosts, TellsWhatIsWrong) {
  const Output output = run_to_end({program("mserve-bench"), "hosts", "--hosts", "1"});
  EXPECT_EQ(output.exit_code, 2);
  EXPECT_NE(output.err.find("--hosts"), std::string::npos) << output.err;
}

TEST(BenchAffinity, TellsWhatIsWrongWithACase) {
  const Output output = run_to_end({program("mserve-bench"), "affinity", "--routes", "64"});
  EXPECT_EQ(output.exit_code, 2);
  EXPECT_NE(output.err.find("such as 64/16; not '64'"), std::string::npos) << output.err;
}

}  // namespace
}  // namespace mserve::test
