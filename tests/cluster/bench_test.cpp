// SPDX-License-Identifier: Apache-2.0
// mserve-bench with clusters of its own; no figure is judged here.
#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <csignal>
#include <filesystem>
#include <string>
#include <vector>

#include "cluster/etcd_process.hpp"
#include "mserve/shm/idle.hpp"
#include "support/process.hpp"
#include "support/sanitized.hpp"
#include "support/temp_dir.hpp"
#include "support/wait.hpp"

namespace mserve::test {
namespace {

class BenchCluster : public ::testing::Test {
 protected:
  void SetUp() override {
    if (kSanitized) {
      GTEST_SKIP()
          << "a cluster of some fifteen processes that answer within fractions of a second "
             "is too much for a sanitizer on two cores; the parts are tested one by one";
    }
    if (!etcd_is_here()) {
      GTEST_SKIP() << "etcd and etcdctl are not on PATH: install etcd-server and etcd-client";
    }
    if (shm::usable_cores() < 2) {
      GTEST_SKIP() << "fewer than two usable cores: mserve-bench refuses";
    }
  }
  /// What it wrote as JSON. Its directories are below `dir_`.
  boost::json::value measured(std::vector<std::string> args) {
    args.insert(args.begin(), program("mserve-bench"));
    args.insert(args.end(), {"--repeat", "1", "--json", dir_.file("json")});
    const Output output = run_to_end(args, {{"TMPDIR", work_.path()}});
    EXPECT_EQ(output.exit_code, 0) << output.err << output.out;
    EXPECT_TRUE(std::filesystem::is_empty(work_.path()));
    said_ = output.out;
    boost::system::error_code error;
    boost::json::value json = boost::json::parse(read_file(dir_.file("json")), error);
    EXPECT_FALSE(error) << error.message();
    return json;
  }

  TempDir dir_;
  TempDir work_;
  std::string said_;
};

const boost::json::value& row_of(const boost::json::value& section, const std::string& name) {
  for (const boost::json::value& row : section.at("rows").as_array()) {
    if (row.at("name").as_string() == name) {
      return row;
    }
  }
  throw std::out_of_range("no row " + name);
}

TEST_F(BenchCluster, RoundTripsAreMeasuredAlsoInACluster) {
  const boost::json::value json = measured({"rtt", "--seconds", "0.5", "--cluster"});
  const boost::json::value& section = json.at("sections").at(0);
  EXPECT_EQ(section.at("rows").as_array().size(), 5U);
  for (const char* const row : {"with -p", "in a cluster"}) {
    const boost::json::value& figure = row_of(section, row).at("repetitions").at(0);
    EXPECT_GT(figure.at("samples").to_number<int>(), 0) << row;
  }
  EXPECT_NE(said_.find("in a cluster / with -p at p50"), std::string::npos) << said_;
}

TEST_F(BenchCluster, WhoLosesAHostGetsEachAnswerOnce) {
  const boost::json::value json = measured({"failover", "--seconds", "1", "--rate", "500"});
  const boost::json::value& times = json.at("sections").at(0);
  const boost::json::value& counts = json.at("sections").at(1);
  const auto value = [](const boost::json::value& section, const std::string& name) {
    return row_of(section, name).at("repetitions").at(0).to_number<double>();
  };
  for (const std::string loss : {"killed", "stopped"}) {
    EXPECT_GT(value(times, loss + ": silence"), 0);
    EXPECT_GT(value(counts, loss + ": sent"), 50);
    EXPECT_EQ(value(counts, loss + ": lost"), 0);
    EXPECT_EQ(value(counts, loss + ": twice"), 0);
  }
  EXPECT_GT(value(counts, "stopped: moved"), 0) << "what is at home at B was sent there";
  EXPECT_GT(value(times, "stopped: wait"), 0);
  EXPECT_NE(said_.find("stopped: wait / allowed"), std::string::npos) << said_;
  EXPECT_NE(said_.find("failover of 1 s allowed"), std::string::npos) << said_;
}

TEST_F(BenchCluster, WhatIsInterruptedLeavesNothingBehind) {
  Process bench({.argv = {program("mserve-bench"), "failover", "--seconds", "1000"},
                 .env = {{"TMPDIR", work_.path()}}});
  // etcd, and the brokers A, C and B.
  ASSERT_TRUE(wait_until([&] { return children_of(bench.pid()).size() == 4; }, "three brokers"));
  const std::vector<pid_t> children = children_of(bench.pid());
  bench.signal(SIGINT);
  EXPECT_EQ(bench.wait(), 128 + SIGINT);
  for (const pid_t child : children) {
    EXPECT_TRUE(gone(child)) << child;
  }
  EXPECT_TRUE(std::filesystem::is_empty(work_.path()));
}

TEST(BenchWithoutEtcd, SaysWhichPackageHasIt) {
  if (shm::usable_cores() < 2) {
    GTEST_SKIP() << "fewer than two usable cores: mserve-bench refuses";
  }
  const auto without = [](std::vector<std::string> args) {
    args.insert(args.begin(), program("mserve-bench"));
    return run_to_end(std::move(args), {{"PATH", "/nonexistent"}});
  };
  const Output none = without({"rtt", "--cluster"});
  EXPECT_EQ(none.exit_code, 3);
  EXPECT_NE(none.err.find("apt-get install etcd-server"), std::string::npos) << none.err;
  EXPECT_EQ(without({"failover"}).exit_code, 3);
  const Output given = without({"rtt", "--cluster", "/nowhere/etcd"});
  EXPECT_EQ(given.exit_code, 3);
  EXPECT_NE(given.err.find("no etcd at /nowhere/etcd"), std::string::npos) << given.err;
  const Output processes =
      run_to_end({program("mserve-bench"), "rtt", "--mode", "processes", "--cluster", "etcd"});
  EXPECT_EQ(processes.exit_code, 2);
  EXPECT_NE(processes.err.find("--cluster goes with pair mode"), std::string::npos)
      << processes.err;
}

}  // namespace
}  // namespace mserve::test
