// SPDX-License-Identifier: Apache-2.0
// mserve-bench peers measures what this build has, says what it lacks, and leaves nothing behind.
#include <gtest/gtest.h>
#include <signal.h>

#include <array>
#include <boost/json.hpp>
#include <iostream>
#include <string>
#include <vector>

#include "mserve/shm/idle.hpp"
#include "support/process.hpp"
#include "support/temp_dir.hpp"
#include "support/wait.hpp"

namespace mserve::test {
namespace {

constexpr std::array<const char*, 7> kPeerNames = {"mserve", "unix", "tcp",    "boost",
                                                   "zmq",    "nng",  "haproxy"};

bool enough_cores() {
  return shm::usable_cores() >= 2;
}

/// The warning that says why there is no row of that name; empty when there is none.
std::string excuse(const boost::json::value& section, const std::string& name) {
  for (const boost::json::value& warning : section.at("warnings").as_array()) {
    const std::string text(warning.as_string());
    if (text.starts_with(name + " is not measured: ")) {
      return text;
    }
  }
  return "";
}

const boost::json::value* row_named(const boost::json::value& section, const std::string& name) {
  for (const boost::json::value& row : section.at("rows").as_array()) {
    if (row.at("name").as_string() == name) {
      return &row;
    }
  }
  return nullptr;
}

TEST(BenchPeers, MeasuresEveryPeerThatIsThereInBothModes) {
  if (!enough_cores()) {
    GTEST_SKIP() << "fewer than two usable cores: mserve-bench refuses";
  }
  const TempDir dir;
  const Output output = run_to_end({program("mserve-bench"), "peers", "--seconds", "0.8",
                                    "--repeat", "1", "--json", dir.file("json")});
  ASSERT_EQ(output.exit_code, 0) << output.out << output.err;
  const boost::json::value json = boost::json::parse(read_file(dir.file("json")));
  const auto& sections = json.at("sections").as_array();
  ASSERT_EQ(sections.size(), 4U) << "round trip and throughput, pair and processes";
  for (const std::size_t latency : {std::size_t{0}, std::size_t{2}}) {
    for (const std::string name : kPeerNames) {
      const boost::json::value* const row = row_named(sections[latency], name);
      const boost::json::value* const rate = row_named(sections[latency + 1], name);
      if (row == nullptr || rate == nullptr) {
        const std::string why = excuse(sections[latency], name);
        EXPECT_NE(why, "") << name << " is neither measured nor excused";
        std::cout << why << "\n";
        continue;
      }
      EXPECT_GT(row->at("repetitions").at(0).at("samples").to_number<int>(), 0) << name;
      EXPECT_NE(row->at("setting").as_string().find("relay"), std::string::npos) << *row;
      EXPECT_GT(rate->at("repetitions").at(0).to_number<double>(), 0) << name;
    }
  }
}

TEST(BenchPeers, TriesSettingsAndSaysWhichWasBest) {
  if (!enough_cores()) {
    GTEST_SKIP() << "fewer than two usable cores: mserve-bench refuses";
  }
  const TempDir dir;
  const Output output =
      run_to_end({program("mserve-bench"), "peers", "--tune", "--only", "unix", "--mode", "pair",
                  "--seconds", "1", "--repeat", "1", "--json", dir.file("json")});
  ASSERT_EQ(output.exit_code, 0) << output.out << output.err;
  const boost::json::value json = boost::json::parse(read_file(dir.file("json")));
  const boost::json::value& tried = json.at("sections").at(0);
  const boost::json::value* const chosen = row_named(json.at("sections").at(1), "unix");
  ASSERT_NE(chosen, nullptr);
  const std::string setting(chosen->at("setting").as_string());
  double lowest = 0;
  std::string best;
  for (const boost::json::value& row : tried.at("rows").as_array()) {
    const boost::json::value& figure = row.at("repetitions").at(0);
    const double product =
        figure.at("p50_ns").to_number<double>() * figure.at("p99_ns").to_number<double>();
    if (std::string(row.at("name").as_string()).starts_with("unix") &&
        (lowest == 0 || product < lowest)) {
      lowest = product;
      best = row.at("setting").as_string();
    }
  }
  EXPECT_NE(best, "");
  EXPECT_TRUE(setting.ends_with(best)) << setting << " was chosen, but best was " << best;
}

TEST(BenchPeers, TellsWhatIsWrongWithAName) {
  const Output output = run_to_end({program("mserve-bench"), "peers", "--only", "carrier-pigeon"});
  EXPECT_EQ(output.exit_code, 2);
  EXPECT_NE(output.err.find("haproxy; not 'carrier-pigeon'"), std::string::npos) << output.err;
}

/// A process and all below it.
void add_descendants(pid_t pid, std::vector<pid_t>& all) {
  for (const pid_t child : children_of(pid)) {
    all.push_back(child);
    add_descendants(child, all);
  }
}

struct Ending {
  const char* name;
  const char* peer;
  int signal;
};
constexpr std::array<Ending, 12> kEndings = {{{"UnixTerm", "unix", SIGTERM},
                                              {"TcpTerm", "tcp", SIGTERM},
                                              {"BoostTerm", "boost", SIGTERM},
                                              {"ZmqTerm", "zmq", SIGTERM},
                                              {"NngTerm", "nng", SIGTERM},
                                              {"HaproxyTerm", "haproxy", SIGTERM},
                                              {"MserveInt", "mserve", SIGINT},
                                              {"BoostInt", "boost", SIGINT},
                                              {"MserveKill", "mserve", SIGKILL},
                                              {"BoostKill", "boost", SIGKILL},
                                              {"ZmqKill", "zmq", SIGKILL},
                                              {"HaproxyKill", "haproxy", SIGKILL}}};

class BenchPeersEnd : public ::testing::TestWithParam<Ending> {};

// Goal: no process, directory or queue is left. Method: signals while client, relay and servant are
// processes.
TEST_P(BenchPeersEnd, LeavesNothingBehind) {
  if (!enough_cores()) {
    GTEST_SKIP() << "fewer than two usable cores: mserve-bench refuses";
  }
  const TempDir dir;
  const std::string queues = "mserve-bench.";
  const std::size_t queues_before = count_entries("/dev/shm", queues);
  Process bench({{program("mserve-bench"), "peers", "--only", GetParam().peer, "--mode",
                  "processes", "--seconds", "1000", "--repeat", "1000"},
                 {{"TMPDIR", dir.path()}},
                 "",
                 dir.file("err")});
  std::vector<pid_t> all;
  const bool there = wait_until(
      [&] {
        all.clear();
        add_descendants(bench.pid(), all);
        // The measuring copy, relay or broker, and servant.
        return all.size() >= 3 || bench.ended();
      },
      "relay and servant do not run");
  if (bench.exit_code() == 3) {
    GTEST_SKIP() << read_file(dir.file("err"));
  }
  ASSERT_TRUE(there && !bench.ended()) << read_file(dir.file("err"));
  bench.signal(GetParam().signal);
  EXPECT_EQ(bench.wait(), 128 + GetParam().signal);
  for (const pid_t pid : all) {
    EXPECT_TRUE(wait_until([&] { return gone(pid); }, "a process of the bench is still there"));
  }
  EXPECT_TRUE(wait_until([&] { return count_entries(dir.path(), "mserve-bench.") == 0; },
                         "a directory of the bench is still there"));
  EXPECT_EQ(count_entries("/dev/shm", queues), queues_before);
}
INSTANTIATE_TEST_SUITE_P(Each, BenchPeersEnd, ::testing::ValuesIn(kEndings),
                         [](const auto& test) { return std::string(test.param.name); });

}  // namespace
}  // namespace mserve::test
