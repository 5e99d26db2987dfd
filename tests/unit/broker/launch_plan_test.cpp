// SPDX-License-Identifier: Apache-2.0
#include "control/launch_plan.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <map>

#include "support/temp_dir.hpp"

namespace mserve::broker {
namespace {

class LaunchPlan : public ::testing::Test {
 protected:
  LaunchPlan() {
    script_ = dir_.file("servant.q");
    std::ofstream(script_) << "/ a script\n";
    options_.servant_count = 2;
    options_.servant_command = script_;
    context_.env = [this](const char* name) {
      const auto found = env_.find(name);
      return found != env_.end() ? found->second.c_str() : nullptr;
    };
    context_.executable = [this](const std::string& command) {
      return command == "q" ? has_q_ : command != "nothing";
    };
    context_.own_directory = "/opt/bin";
    context_.port = 5000;
  }
  std::vector<Program> plan() {
    fault_.clear();
    return plan_programs(options_, context_, fault_);
  }

  test::TempDir dir_;
  std::string script_;
  BrokerOptions options_;
  PlanContext context_;
  std::map<std::string, std::string> env_;
  bool has_q_ = true;
  std::string fault_;
};

using Words = std::vector<std::string>;

TEST_F(LaunchPlan, AProgramRunsAsOftenAsAskedForWithItsArguments) {
  options_.servant_command = "mserve-servant";
  options_.servant_args = {"--rows", "0"};
  const std::vector<Program> programs = plan();
  ASSERT_EQ(programs.size(), 2U);
  EXPECT_EQ(programs[1].argv, (Words{"mserve-servant", "--rows", "0"}));
  EXPECT_EQ(programs[1].servant, 2U);
  EXPECT_TRUE(programs[1].env.empty());
}

TEST_F(LaunchPlan, AQScriptRunsOnThePortsBehindOursWithAShimEach) {
  options_.q_args = {"-T", "60"};
  env_["MSERVE_PLUGINS"] = "a.q b.q";
  const std::vector<Program> programs = plan();
  ASSERT_EQ(fault_, "");
  ASSERT_EQ(programs.size(), 4U);
  EXPECT_EQ(programs[0].argv, (Words{"q", script_, "-T", "60", "-p", "5001"}));
  EXPECT_EQ(programs[1].argv, (Words{"/opt/bin/mserve-qshim", "--q", "127.0.0.1:5001"}));
  EXPECT_EQ(programs[2].argv.back(), "5002");
  EXPECT_EQ(programs[3].servant, 2U);
  using Env = std::vector<std::pair<std::string, std::string>>;
  EXPECT_EQ(programs[0].env, (Env{{"Q_SERVANTOF", "127.0.0.1"}, {"Q_PLUGINS", "a.q b.q"}}));
  EXPECT_TRUE(programs[1].env.empty());
}

TEST_F(LaunchPlan, QbinSaysWhichQ) {
  env_["QBIN"] = "/opt/kx/l64/q";
  EXPECT_EQ(plan().at(0).argv[0], "/opt/kx/l64/q");
}

TEST_F(LaunchPlan, EachFaultSaysWhatToDo) {
  has_q_ = false;
  EXPECT_TRUE(plan().empty());
  for (const char* const way : {"PATH", "QBIN", "mserve-qshim --q"}) {
    EXPECT_NE(fault_.find(way), std::string::npos) << fault_;
  }
  has_q_ = true;
  context_.port = 0;
  EXPECT_TRUE(plan().empty());
  EXPECT_NE(fault_.find("-p PORT"), std::string::npos) << fault_;
  context_.port = 65534;
  EXPECT_TRUE(plan().empty());
  EXPECT_NE(fault_.find("no room"), std::string::npos) << fault_;
  context_.port = 5000;
  options_.servant_command = dir_.file("missing.q");
  EXPECT_TRUE(plan().empty());
  EXPECT_NE(fault_.find("cannot read"), std::string::npos) << fault_;
  options_.servant_command = "nothing";
  EXPECT_TRUE(plan().empty());
  EXPECT_NE(fault_.find("cannot run 'nothing'"), std::string::npos) << fault_;
}

}  // namespace
}  // namespace mserve::broker
