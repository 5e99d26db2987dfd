// SPDX-License-Identifier: Apache-2.0
// What `mserve-pin plan` proposes for machines that are described, and what it reads back.
#include "pin/plan.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <string>

#include "pin/plan_file.hpp"
#include "pin/topology.hpp"
#include "pin/units.hpp"
#include "support/temp_dir.hpp"

namespace mserve::pin {
namespace {

/// Two sockets with a node and a last cache each, eight cores with two threads: 0 to 15, and their
/// siblings 16 to 31.
Topology two_sockets() {
  std::string fault;
  auto topology = read_topology(MSERVE_TEST_SOURCE_DIR "/data/two_sockets.xml", fault);
  EXPECT_TRUE(topology) << fault;
  return topology.value_or(Topology{});
}

/// Cores without siblings, one node, one cache.
Topology plain(int cores) {
  Topology topology;
  for (int core = 0; core < cores; ++core) {
    topology.cores.push_back({.threads = {core}});
  }
  return topology;
}

bool warns(const Plan& plan, const std::string& text) {
  for (const std::string& warning : plan.warnings) {
    if (warning.find(text) != std::string::npos) {
      return true;
    }
  }
  return false;
}

CoreList servant_cores(const Plan& plan) {
  CoreList all;
  for (const Plan::Servant& servant : plan.servants) {
    all = joined(all, servant.cores);
  }
  return all;
}

TEST(PlanTopology, IsReadFromXml) {
  const Topology topology = two_sockets();
  EXPECT_EQ(topology.to_text(), "2 packages, 2 NUMA nodes, 16 cores, 32 threads");
  ASSERT_EQ(topology.cores.size(), 16U);
  EXPECT_EQ(topology.cores[0].threads, (CoreList{0, 16}));
  EXPECT_EQ(topology.cores[7].node, 0);
  EXPECT_EQ(topology.cores[8].node, 1);
  EXPECT_NE(topology.cores[7].l3, topology.cores[8].l3);
}

TEST(PlanTopology, OfAFileThatIsNoneIsRefusedByName) {
  std::string fault;
  EXPECT_FALSE(read_topology("/nowhere/x.xml", fault));
  EXPECT_NE(fault.find("/nowhere/x.xml: "), std::string::npos);
  EXPECT_FALSE(read_topology(MSERVE_TEST_SOURCE_DIR "/unit/pin/plan_test.cpp", fault));
  EXPECT_NE(fault.find("not a hwloc XML file"), std::string::npos) << fault;
}

TEST(PlanOfTwoSockets, KeepsAllOnOneNodeOffTheFirstCoreAndSiblingsIdle) {
  const Plan plan = make_plan(two_sockets(), {}, {.servants = 4});
  EXPECT_EQ(plan.broker, 1);
  EXPECT_EQ(plan.idle, "spin");
  EXPECT_EQ(plan.gateway_core, 2);
  EXPECT_EQ(servant_cores(plan), (CoreList{3, 4, 5, 6}));
  EXPECT_EQ(plan.left_idle, (CoreList{17, 18, 19, 20, 21, 22}));
  EXPECT_EQ(plan.control, (CoreList{0, 7, 16, 23}));
  EXPECT_TRUE(plan.warnings.empty());
}

TEST(PlanOfTwoSockets, PrefersIsolatedCoresAndTheNodeThatHasThem) {
  const Plan plan =
      make_plan(two_sockets(), {.isolated = {10, 11, 12, 13, 26, 27, 28, 29}, .known = true},
                {.servants = 2, .gateway = GatewayPlace::own});
  EXPECT_EQ(plan.broker, 10);
  EXPECT_EQ(plan.gateway_core, 11);
  EXPECT_EQ(servant_cores(plan), (CoreList{12, 13}));
  EXPECT_EQ(plan.control, (CoreList{8, 9, 14, 15, 24, 25, 30, 31}));
  EXPECT_TRUE(plan.warnings.empty());
}

TEST(PlanOfTwoSockets, SaysWhichCoresAreNotIsolated) {
  const Plan plan = make_plan(two_sockets(), {.isolated = {1, 2}, .known = true}, {.servants = 1});
  EXPECT_EQ(plan.broker, 1);
  EXPECT_TRUE(warns(
      plan, "cores 3,17-19 are not isolated: boot with isolcpus=managed_irq,domain,1-3,17-19 "));
}

TEST(PlanOfTwoSockets, TakesInterruptedCoresLast) {
  const Plan plan = make_plan(two_sockets(), {.interrupted = {1, 3}, .known = true},
                              {.servants = 5, .gateway = GatewayPlace::none});
  EXPECT_EQ(plan.broker, 8) << "the other node has enough quiet ones";
  const Plan near = make_plan(two_sockets(), {.isolated = {}, .interrupted = {1, 3, 9, 10, 11, 12}},
                              {.servants = 5, .gateway = GatewayPlace::none});
  EXPECT_EQ(near.broker, 2);
  EXPECT_TRUE(contains(servant_cores(near), 1)) << "a noisy core nearby before one far away";
  EXPECT_FALSE(contains(servant_cores(near), 3)) << "not both: five quiet ones and one are enough";
}

TEST(PlanOfTwoSockets, ServantsThatOverflowToTheOtherNodeAreNamed) {
  const Plan plan = make_plan(two_sockets(), {}, {.servants = 8});
  EXPECT_EQ(plan.broker, 8) << "of the node that lacks only two";
  EXPECT_TRUE(warns(plan, "servants 7-8 are on another node than the broker")) << plan.warnings[0];
  EXPECT_EQ(servant_cores(plan).size(), 8U);
}

TEST(PlanOfTwoSockets, QAndItsShimAreSiblings) {
  const Plan plan = make_plan(two_sockets(), {}, {.servants = 3, .q = true});
  ASSERT_EQ(plan.servants.size(), 3U);
  EXPECT_EQ(plan.servants[0].cores, CoreList{3});
  EXPECT_EQ(plan.servants[0].shim, CoreList{19});
  EXPECT_EQ(plan.left_idle, (CoreList{17, 18})) << "of broker and gateway only";
}

TEST(PlanWithoutSiblings, QAndItsShimHaveACoreEach) {
  const Plan plan =
      make_plan(plain(6), {}, {.servants = 2, .q = true, .gateway = GatewayPlace::data});
  EXPECT_EQ(plan.broker, 1);
  EXPECT_EQ(plan.idle, "auto") << "a data thread with sockets makes system calls";
  EXPECT_EQ(plan.servants[1].cores, CoreList{4});
  EXPECT_EQ(plan.servants[1].shim, CoreList{5});
  EXPECT_EQ(plan.control, CoreList{0});
}

TEST(PlanWithFewCores, TheGatewaySharesFirst) {
  const Plan plan = make_plan(plain(4), {}, {.servants = 2});
  EXPECT_EQ(plan.gateway, GatewayPlace::shared);
  EXPECT_EQ(plan.broker, 1);
  EXPECT_EQ(servant_cores(plan), (CoreList{2, 3}));
  EXPECT_TRUE(warns(plan, "4 cores are wanted and 3 can be given: the gateway shares"));
}

TEST(PlanWithFewCores, ThenOnlyTheBrokerHasItsOwn) {
  for (const int cores : {2, 3}) {
    const Plan plan = make_plan(plain(cores), {.known = true}, {.servants = 4});
    EXPECT_EQ(plan.broker, 1);
    EXPECT_EQ(plan.idle, "auto");
    EXPECT_EQ(servant_cores(plan), cores == 2 ? CoreList{0} : (CoreList{0, 2}));
    EXPECT_EQ(plan.control, servant_cores(plan));
    EXPECT_TRUE(warns(plan, "everything else shares the rest"));
    EXPECT_TRUE(warns(plan, "core 1 is not isolated: boot with isolcpus=managed_irq,domain,1 "));
  }
}

TEST(PlanWithFewCores, NothingIsPinnedWhereTheDataThreadServesTwoOrAllIsOneCore) {
  for (const int cores : {1, 2}) {
    const Plan plan = make_plan(plain(cores), {}, {.servants = 2, .gateway = GatewayPlace::data});
    EXPECT_EQ(plan.broker, -1);
    EXPECT_EQ(plan.control.size(), static_cast<std::size_t>(cores));
    EXPECT_TRUE(warns(plan, "nothing is pinned"));
    EXPECT_EQ(broker_flags(plan),
              (std::vector<std::string>{"--idle", "auto", "--gateway-thread", "data"}));
  }
}

// The kernel does not balance them: twenty q processes with all of these as mask stay on one.
TEST(PlanWithFewCores, IsolatedOnesAreDealtOneByOne) {
  CoreList isolated;
  for (int core = 1; core < 16; ++core) {
    isolated.push_back(core);
  }
  const Plan plan =
      make_plan(two_sockets(), {.isolated = isolated, .known = true}, {.servants = 20, .q = true});
  EXPECT_TRUE(contains(isolated, plan.broker));
  EXPECT_EQ(plan.control, minus(two_sockets().threads(), joined(isolated, plan.left_idle)));
  std::map<int, int> on;
  for (const Plan::Servant& servant : plan.servants) {
    for (const CoreList& cores : {servant.cores, servant.shim}) {
      EXPECT_TRUE(cores == plan.control || cores.size() == 1) << cores_text(cores);
      on[cores.front()] += cores.size() == 1 ? 1 : 0;
    }
  }
  for (const int core : minus(isolated, {plan.broker})) {
    EXPECT_GE(on[core], 1) << core;
    EXPECT_LE(on[core], 2) << core;
  }
  EXPECT_FALSE(warns(plan, "moves nobody between isolated cores"));
}

TEST(PlanWithFewCores, SaysWhereOnlyIsolatedOnesAreLeftToShare) {
  const Plan plan = make_plan(plain(4), {.isolated = {0, 1, 2, 3}, .known = true},
                              {.servants = 9, .gateway = GatewayPlace::none});
  EXPECT_TRUE(warns(plan, "moves nobody between isolated cores"));
}

// Whatever is asked of whatever machine: who spins shares with nobody, all cores are there.
TEST(PlanOfAnyMachine, GivesNoCoreOfASpinnerToOthers) {
  for (const Topology& topology : {plain(1), plain(2), plain(5), plain(40), two_sockets()}) {
    for (const std::uint32_t servants : {1U, 2U, 3U, 7U, 15U, 40U}) {
      for (const GatewayPlace place : {GatewayPlace::none, GatewayPlace::own, GatewayPlace::data}) {
        for (const bool q : {false, true}) {
          const Plan plan = make_plan(topology, {.isolated = {1, 2}, .known = true},
                                      {.servants = servants, .q = q, .gateway = place});
          EXPECT_EQ(plan.servants.size(), servants);
          EXPECT_TRUE(minus(plan.used(), topology.threads()).empty());
          EXPECT_FALSE(plan.control.empty());
          std::string fault;
          const std::string text = write_plan(plan, "test");
          const auto again = read_plan(text, "x", fault);
          ASSERT_TRUE(again) << fault << "\n" << text;
          EXPECT_EQ(again->used(), plan.used());
          EXPECT_EQ(broker_flags(*again), broker_flags(plan));
        }
      }
    }
  }
}

class PlanFile : public ::testing::Test {
 protected:
  /// The fault that reading `text` ends with; "" where it is a plan.
  static std::string fault_of(const std::string& text) {
    std::string fault;
    const bool read = read_plan(text, "p", fault).has_value();
    EXPECT_EQ(read, fault.empty());
    return fault;
  }
  static std::string with(const std::string& servant, const std::string& control = "0") {
    return "format = 1\n[broker]\ncore = 1\nidle = \"spin\"\n[control]\ncores = \"" + control +
           "\"\n[gateway]\nthread = \"own\"\ncore = 2\n[[servant]]\n" + servant + "\n";
  }
};

TEST_F(PlanFile, TellsWhereAMistakeIs) {
  EXPECT_EQ(fault_of(with("cores = \"3-4\"")), "");
  EXPECT_EQ(fault_of(with("cores = \"x\"")), "p:11: cores takes a list of cores such as \"2,4-6\"");
  EXPECT_EQ(fault_of(with("cores = 3")), "p:11: cores takes text");
  EXPECT_TRUE(fault_of(with("cores = \"3\"") + "[`a`]").starts_with("p:12: "));
  EXPECT_EQ(fault_of(with("cores = \"3\"\ncore = 3")), "p:12: there is no key 'core' here");
  EXPECT_EQ(fault_of(with("shim = \"3\"")), "p:10: the key 'cores' is missing");
  EXPECT_EQ(fault_of("format = 2"), "p:1: this mserve-pin reads format 1");
  EXPECT_NE(fault_of("format = "), "");
  EXPECT_NE(fault_of(""), "");
  EXPECT_NE(fault_of("format = 1\nbroker = 3").find("'broker' is no table"), std::string::npos);
}

TEST_F(PlanFile, RefusesToShareWithWhoSpins) {
  EXPECT_EQ(fault_of(with("cores = \"1\"")),
            "p: core 1 is the data thread's, and servant 1 would be there too");
  EXPECT_EQ(fault_of(with("cores = \"3\"\nshim = \"2\"")),
            "p: core 2 is the gateway's, and servant 1 would be there too");
  EXPECT_EQ(fault_of(with("cores = \"3\"", "0-1")),
            "p: core 1 is the data thread's, and the control threads would be there too");
}

TEST(PlanFlags, AreThoseOfTheBroker) {
  Plan plan = make_plan(two_sockets(), {}, {.servants = 2, .q = true});
  const std::vector<std::string> expected{
      "--core",           "1",   "--idle",         "spin", "--control-cores", "0,5-7,16,21-23",
      "--gateway-thread", "own", "--gateway-core", "2",    "--servant-cores", "3/19,4/20"};
  EXPECT_EQ(broker_flags(plan), expected);
  plan = make_plan(plain(4), {}, {.servants = 9, .gateway = GatewayPlace::none});
  plan.servants.resize(2);
  EXPECT_EQ(broker_flags(plan).back(), "0+2-3,0+2-3");
}

TEST(PlanUnits, OfALargerPlanAreTakenAway) {
  const test::TempDir dir;
  const auto there = [&dir](const std::string& unit) {
    return std::filesystem::exists(dir.file(unit + ".d/10-cores.conf"));
  };
  ASSERT_EQ(write_units(make_plan(two_sockets(), {}, {.servants = 3, .q = true}), dir.path()), "");
  EXPECT_TRUE(there("mserve-servant@3.service"));
  EXPECT_TRUE(there("mserve-qshim@2.service"));
  std::filesystem::create_directories(dir.file("mserve-servant@9.service.d"));
  std::ofstream(dir.file("mserve-servant@9.service.d/10-cores.conf")) << "[Service]\nNice=1\n";
  ASSERT_EQ(write_units(make_plan(two_sockets(), {}, {.servants = 2}), dir.path()), "");
  EXPECT_TRUE(there("mserve-servant@2.service"));
  EXPECT_FALSE(there("mserve-servant@3.service"));
  EXPECT_FALSE(there("mserve-qshim@2.service"));
  EXPECT_TRUE(there("mserve-servant@9.service")) << "somebody else's";
}

}  // namespace
}  // namespace mserve::pin
