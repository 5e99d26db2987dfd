// SPDX-License-Identifier: Apache-2.0
#include "control/launch_plan.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <set>

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
      return command == "q" ? has_q_ : !missing_.contains(command);
    };
    context_.own_directory = "/opt/bin";
    context_.port = 5000;
    context_.address_towards = [](const std::string& host) {
      return host == "nowhere" ? std::string() : std::string("10.0.0.1");
    };
  }
  std::vector<Program> plan() {
    fault_.clear();
    return plan_programs(options_, context_, fault_);
  }

  mserve::test::TempDir dir_;
  std::string script_;
  BrokerOptions options_;
  PlanContext context_;
  std::map<std::string, std::string> env_;
  bool has_q_ = true;
  std::set<std::string> missing_{"nothing", "/opt/bin/nothing"};
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

// In the folder where it was built it is on no PATH.
TEST_F(LaunchPlan, AProgramThatIsOnNoPathMayLieBesideTheBroker) {
  options_.servant_command = "mserve-servant";
  missing_.insert("mserve-servant");
  const std::vector<Program> programs = plan();
  ASSERT_EQ(programs.size(), 2U) << fault_;
  EXPECT_EQ(programs[0].argv, Words{"/opt/bin/mserve-servant"});
  options_.servant_command = "./mserve-servant";
  missing_.insert("./mserve-servant");
  EXPECT_TRUE(plan().empty()) << "whoever gives a path means that one";
  EXPECT_NE(fault_.find("correct its path"), std::string::npos) << fault_;
}

TEST_F(LaunchPlan, EachServantHasItsCoresAndAShimThoseBehindTheSlash) {
  options_.servant_cores = {{.cores = {4}, .shim = {12}}, {.cores = {5, 6}, .shim = {}}};
  std::vector<Program> programs = plan();
  ASSERT_EQ(programs.size(), 4U) << fault_;
  EXPECT_EQ(programs[0].cores, CoreList{4});
  EXPECT_EQ(programs[1].cores, CoreList{12});
  EXPECT_EQ(programs[2].cores, (CoreList{5, 6}));
  EXPECT_EQ(programs[3].cores, (CoreList{5, 6}));
  options_.hosts = {"hostA"};  // its shim is placed, and ssh to it with the control threads
  options_.control_cores = {0, 1};
  programs = plan();
  ASSERT_EQ(programs.size(), 4U) << fault_;
  EXPECT_EQ(programs[0].cores, (CoreList{0, 1}));
  EXPECT_EQ(programs[1].cores, CoreList{12});
  options_.servant_command = "mserve-servant";
  options_.hosts.clear();
  EXPECT_EQ(plan()[1].cores, (CoreList{5, 6}));
}

TEST_F(LaunchPlan, AQScriptRunsOnThePortsBehindOursWithAShimEach) {
  options_.q_args = {"-T", "60"};
  env_["Q_PLUGINS"] = "a.q b.q";
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

TEST_F(LaunchPlan, HostsGetTheirShareAndServeAsTier1) {
  options_.servant_count = 5;
  options_.hosts = {"localhost", "me@hostA"};
  options_.q_args = {"-s", "4"};
  env_["Q_PLUGINS"] = "it's.q";
  const std::vector<Program> programs = plan();
  ASSERT_EQ(fault_, "");
  ASSERT_EQ(programs.size(), 10U);
  EXPECT_EQ(programs[1].argv.back(), "127.0.0.1:5001");
  EXPECT_EQ(programs[3].argv.back(), "127.0.0.1:5002");
  EXPECT_EQ(programs[4].argv,
            (Words{"ssh", "-tt", "-o", "BatchMode=yes", "me@hostA",
                   "exec env 'Q_SERVANTOF=10.0.0.1' 'Q_PLUGINS=it'\\''s.q' 'q' '" + script_ +
                       "' '-s' '4' '-p' '5001'"}));
  EXPECT_TRUE(programs[4].env.empty());
  EXPECT_EQ(programs[5].argv, (Words{"/opt/bin/mserve-qshim", "--tier", "1", "--q", "hostA:5001"}));
  EXPECT_EQ(programs[9].argv.back(), "hostA:5003");
  EXPECT_EQ(programs[9].servant, 5U);
}

TEST_F(LaunchPlan, AnotherLaunchCommandTakesWhatItNeeds) {
  options_.servant_count = 1;
  options_.hosts = {"fd00::7"};
  options_.launch = "start --on={host} {port}/{port} {script}";
  const std::vector<Program> programs = plan();
  ASSERT_EQ(fault_, "");
  EXPECT_EQ(programs[0].argv, (Words{"start", "--on=fd00::7", "5001/5001", script_}));
  EXPECT_EQ(programs[1].argv.back(), "[fd00::7]:5001");
}

TEST_F(LaunchPlan, HostsThatCannotBeAreRefused) {
  has_q_ = false;  // nor is it needed here
  for (const char* const host : {"-oProxyCommand=x", "a b", "$(x)"}) {
    options_.hosts = {host};
    EXPECT_TRUE(plan().empty());
    EXPECT_NE(fault_.find("is no host name"), std::string::npos) << fault_;
  }
  options_.hosts = {"nowhere"};
  EXPECT_TRUE(plan().empty());
  EXPECT_NE(fault_.find("cannot find the host nowhere"), std::string::npos) << fault_;
  options_.hosts = {"hostA", "hostB", "hostA"};
  EXPECT_TRUE(plan().empty());
  EXPECT_NE(fault_.find("hostA is given twice"), std::string::npos) << fault_;
  options_.hosts = {"hostA"};
  options_.launch = "nothing {host}";
  EXPECT_TRUE(plan().empty());
  EXPECT_NE(fault_.find("--launch"), std::string::npos) << fault_;
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
