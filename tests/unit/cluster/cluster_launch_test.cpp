// SPDX-License-Identifier: Apache-2.0
// What a broker starts because it is in a cluster.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "control/launch_plan.hpp"

namespace mserve::broker {
namespace {

class ClusterPlan : public ::testing::Test {
 protected:
  ClusterPlan() {
    options_.cluster = {.endpoints = {"http://e1:1", "http://e2:1"}, .id = "a", .advertise = "h:1"};
    context_.env = [](const char*) -> const char* { return nullptr; };
    context_.executable = [this](const std::string& command) { return command != missing_; };
    context_.own_directory = "/opt/bin";
  }
  std::vector<Program> plan() {
    fault_.clear();
    return plan_programs(options_, context_, fault_);
  }
  BrokerOptions options_;
  PlanContext context_;
  std::string missing_;
  std::string fault_;
};

TEST_F(ClusterPlan, IsOneProgramThatBelongsToNoServant) {
  options_.control_cores = {0, 1};
  const std::vector<Program> alone = plan();
  ASSERT_EQ(alone.size(), 1U) << fault_;
  EXPECT_EQ(alone[0].servant, 0U);
  EXPECT_EQ(alone[0].name, "cluster");
  EXPECT_EQ(alone[0].cores, (CoreList{0, 1}));
  ASSERT_GE(alone[0].argv.size(), 3U);
  EXPECT_EQ(alone[0].argv[0], "/opt/bin/mserve-cluster");
  EXPECT_EQ(alone[0].argv[1], "--cluster");
  EXPECT_EQ(alone[0].argv[2], "http://e1:1,http://e2:1");
  options_.servant_count = 2;
  options_.servant_command = "mserve-servant";
  const std::vector<Program> all = plan();
  ASSERT_EQ(all.size(), 3U) << fault_;
  EXPECT_EQ(all[1].servant, 1U);
  EXPECT_EQ(all[2].servant, 2U);
  missing_ = "/opt/bin/mserve-cluster";
  EXPECT_EQ(plan()[0].argv[0], "mserve-cluster") << "by PATH";
}

TEST_F(ClusterPlan, SaysWhatIsMissing) {
  context_.executable = [](const std::string&) { return false; };
  EXPECT_TRUE(plan().empty());
  EXPECT_NE(fault_.find("cannot find mserve-cluster"), std::string::npos) << fault_;
  options_.cluster = {};
  EXPECT_TRUE(plan().empty());
  EXPECT_EQ(fault_, "");
}

}  // namespace
}  // namespace mserve::broker
