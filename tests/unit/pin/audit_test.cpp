// SPDX-License-Identifier: Apache-2.0
// The rules of `mserve-pin audit`, on machines that the tests describe.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "pin/finding.hpp"
#include "pin/load.hpp"
#include "support/described_machine.hpp"

namespace mserve::pin {
namespace {

class Audit : public ::testing::Test {
 protected:
  Audit() { machine_.describe_tuned(); }

  [[nodiscard]] Findings look(CoreList cores = {1}) const {
    const MachineFiles files(machine_.root());
    const Surroundings around = look_around(files);
    return audit({.files = files,
                  .around = around,
                  .online = files.cores("/sys/devices/system/cpu/online").value(),
                  .cores = std::move(cores)});
  }
  /// The only finding about it.
  [[nodiscard]] Finding about(const std::string& topic, CoreList cores = {1}) const {
    std::vector<Finding> found = look(std::move(cores));
    std::erase_if(found, [&](const Finding& f) { return f.topic != topic; });
    EXPECT_EQ(found.size(), 1U) << topic;
    return found.empty() ? Finding{} : found.front();
  }
  /// It costs, and says how much and what to do.
  void expect_costs(const Finding& f, const std::string& seen, const std::string& mend) const {
    EXPECT_EQ(f.level, Level::costs) << f.topic;
    EXPECT_NE(f.seen.find(seen), std::string::npos) << f.seen;
    EXPECT_NE(f.mend.find(mend), std::string::npos) << f.mend;
    EXPECT_NE(f.cost.find("us"), std::string::npos) << f.cost;
    EXPECT_FALSE(f.where.empty());
  }
  void expect_unknown(const Finding& f, const std::string& seen) const {
    EXPECT_EQ(f.level, Level::unknown) << f.topic;
    EXPECT_NE(f.seen.find(seen), std::string::npos) << f.seen;
    EXPECT_EQ(f.cost, "") << "nothing was seen that could cost";
  }

  test::DescribedMachine machine_;
};

TEST_F(Audit, OfATunedCoreFindsNothingThatCosts) {
  for (const Finding& f : look()) {
    EXPECT_EQ(f.level, Level::ok) << f.topic << ": " << f.seen;
    EXPECT_EQ(f.cost + f.mend, "") << f.topic;
  }
}

TEST_F(Audit, NamesTheCoresThatAreNotIsolatedAndTheParameterForThem) {
  machine_.write("/sys/devices/system/cpu/online", "0-3");
  expect_costs(about("isolcpus", {1, 2}), "core 2 is not isolated (isolated: 1)",
               "isolcpus=managed_irq,domain,1-2");
}

TEST_F(Audit, LeavesOneCoreToTheSystem) {
  machine_.write("/sys/devices/system/cpu/isolated", "");
  expect_costs(about("isolcpus", {0, 1}), "cores 0-1 are not isolated (isolated: none)",
               "isolcpus=managed_irq,domain,1 (core 0 stays with the system)");
}

TEST_F(Audit, TellsAKernelThatCannotStopTheTickFromOneThatWasNotTold) {
  machine_.write("/sys/devices/system/cpu/nohz_full", "  (null)");
  expect_costs(about("nohz_full"), "(nohz_full: none)", "boot with nohz_full=1");
  machine_.remove("/sys/devices/system/cpu/nohz_full");
  expect_costs(about("nohz_full"), "built without CONFIG_NO_HZ_FULL", "CONFIG_NO_HZ_FULL=y");
}

TEST_F(Audit, CountsCoresWithoutATickAsOffloadedFromRcu) {
  machine_.write("/proc/cmdline", "quiet");
  EXPECT_EQ(about("rcu_nocbs").level, Level::ok);
  machine_.write("/sys/devices/system/cpu/nohz_full", "");
  expect_costs(about("rcu_nocbs"), "rcu_nocbs is not given", "rcu_nocbs=1");
  machine_.write("/proc/cmdline", "rcu_nocbs=all");
  EXPECT_EQ(about("rcu_nocbs").level, Level::ok);
}

TEST_F(Audit, NamesTheInterruptsOfACoreAndWhereTheyCouldGo) {
  expect_costs(about("irq", {0}), "core 0 takes the interrupts 36 eth0-rx (500 since boot), 9 acpi",
               "for i in 36 9; do echo 1 > /proc/irq/$i/smp_affinity_list");
  expect_costs(about("irq", {0}), "36 eth0-rx", "IRQBALANCE_BANNED_CPULIST=0");
  machine_.write("/proc/irq/36/effective_affinity_list", "1");  // sent there, but none has come
  EXPECT_EQ(about("irq").level, Level::ok);
}

TEST_F(Audit, InterruptsWhoseCoresCannotBeReadAreUnknown) {
  machine_.remove("/proc/irq");
  expect_unknown(about("irq"), "cannot be read");
}

TEST_F(Audit, ReadsListsOfCoresAsTheKernelDoesAtBoot) {
  machine_.write("/sys/devices/system/cpu/nohz_full", "");
  machine_.write("/proc/cmdline", "rcu_nocbs=1-N");
  EXPECT_EQ(about("rcu_nocbs").level, Level::ok);
  machine_.write("/proc/cmdline", "rcu_nocbs=0-31:1/2");
  expect_unknown(about("rcu_nocbs"), "rcu_nocbs=0-31:1/2 is not understood");
}

TEST_F(Audit, OnlyTheGovernorPerformanceIsRight) {
  machine_.write("/sys/devices/system/cpu/cpu1/cpufreq/scaling_governor", "powersave");
  expect_costs(about("governor"), "powersave", "cpupower -c 1 frequency-set -g performance");
}

TEST_F(Audit, SiblingsShareACore) {
  machine_.write("/sys/devices/system/cpu/cpu1/topology/thread_siblings_list", "1,5");
  expect_costs(about("smt"), "cores 1,5 are one physical core",
               "echo 0 > /sys/devices/system/cpu/cpu5/online");
  // What is chosen stays.
  machine_.write("/sys/devices/system/cpu/cpu1/topology/thread_siblings_list", "0-1");
  EXPECT_EQ(about("smt").mend, "leave core 0 idle: echo 0 > /sys/devices/system/cpu/cpu0/online");
  machine_.write("/sys/devices/system/cpu/cpu0/topology/thread_siblings_list", "0-1");
  EXPECT_EQ(about("smt", {0, 1}).mend,
            "leave core 1 idle: echo 0 > /sys/devices/system/cpu/cpu1/online");
}

TEST_F(Audit, TheDeepestStateThatIsNotDisabledCounts) {
  const std::string deep = "/sys/devices/system/cpu/cpu1/cpuidle/state2";
  machine_.write(deep + "/latency", "133");
  machine_.write(deep + "/name", "C6");
  const Finding f = about("c-states");
  expect_costs(f, "C6 (133 us)", "cpupower -c 1 idle-set -D 2");
  EXPECT_NE(f.cost.find("133 us"), std::string::npos);
  machine_.write(deep + "/disable", "1");
  EXPECT_EQ(about("c-states").level, Level::ok);
}

TEST_F(Audit, SessionsAsGroupsCostWhereAThreadSpins) {
  const std::string file = "/proc/sys/kernel/sched_autogroup_enabled";
  machine_.write(file, "1");
  expect_costs(about("autogroup"), "one session", "sysctl -w kernel.sched_autogroup_enabled=0");
  machine_.write(file, "0");
  EXPECT_EQ(about("autogroup").level, Level::ok);
  machine_.remove(file);
  expect_unknown(about("autogroup"), "cannot be read");
  machine_.write("/proc/sys/kernel/ostype", "Linux");
  EXPECT_EQ(about("autogroup").level, Level::ok);
}

TEST_F(Audit, AClockThatNeedsASystemCallCosts) {
  machine_.write("/sys/devices/system/clocksource/clocksource0/current_clocksource", "hpet");
  expect_costs(about("clock"), "hpet", "clocksource=tsc");
}

TEST_F(Audit, CoresOfTwoNodesAreFarFromEachOther) {
  machine_.write("/sys/devices/system/node/online", "0-1");
  machine_.write("/sys/devices/system/node/node0/cpulist", "0");
  machine_.write("/sys/devices/system/node/node0/distance", "10 32");
  machine_.write("/sys/devices/system/node/node1/cpulist", "1");
  machine_.write("/sys/devices/system/node/node1/distance", "32 10");
  expect_costs(about("numa", {0, 1}), "0 on node 0, 1 on node 1 (distance 32, 10 within one)",
               "mserve-pin plan");
  EXPECT_EQ(about("numa").level, Level::ok);  // one core is on one node
}

TEST_F(Audit, PagesThatTheKernelJoinsOrSwapsCost) {
  machine_.write("/sys/kernel/mm/transparent_hugepage/enabled", "[always] madvise never");
  expect_costs(about("thp"), "always", "echo madvise > /sys/kernel/mm");
  machine_.write("/proc/swaps", "Filename Type Size Used Priority\n/dev/sda2 partition 1 0 -2");
  expect_costs(about("swap"), "1 swap area", "swapoff -a");
}

TEST_F(Audit, ASmallLimitOfLockedMemoryCostsUnlessACapabilityLiftsIt) {
  machine_.write("/proc/self/limits", "Max locked memory         8388608    8388608    bytes");
  expect_costs(about("memlock"), "8 MiB may be locked", "LimitMEMLOCK=infinity");
  machine_.write("/proc/self/status", "Name: x\nCapEff:\t0000000000004000");
  EXPECT_EQ(about("memlock").level, Level::ok);
}

TEST_F(Audit, AQuotaOfAGroupAboveStopsASpinner) {
  machine_.write("/sys/fs/cgroup/cpu.max", "150000 100000");
  const Finding f = about("quota");
  expect_costs(f, "150000 us of each 100000 us", "CPUQuota=");
  EXPECT_EQ(f.where, "/sys/fs/cgroup/cpu.max");
  machine_.write("/proc/self/cgroup", "4:memory:/a\n3:cpu,cpuacct:/a\n0::/b");
  machine_.write("/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us", "50000");
  machine_.write("/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us", "100000");
  expect_costs(about("quota"), "50000 us of each 100000 us", "--cpuset-cpus");
}

TEST_F(Audit, AQuotaThatMayBeHiddenIsUnknown) {
  EXPECT_EQ(about("quota").level, Level::ok);
  machine_.write("/proc/self/cgroup", "0::/");
  expect_unknown(about("quota"), "are hidden");
  machine_.link("/proc/self/ns/cgroup", "cgroup:[4026531835]");
  EXPECT_EQ(about("quota").level, Level::ok) << "this is the group at the top";
  machine_.write("/proc/self/cgroup", "0::/../x");
  expect_unknown(about("quota"), "are hidden");
  machine_.write("/proc/self/cgroup", "0::/user.slice");
  machine_.remove("/proc/self/ns/pid");
  machine_.link("/proc/self/ns/pid", "pid:[4026532271]");
  expect_unknown(about("quota"), "are hidden");
}

TEST_F(Audit, AQuotaThatNoKernelWritesIsNotBelieved) {
  for (const char* const odd : {"50000 0", "50000 -1", "-5 100000", "9223372036854775807 100000",
                                "50000 9223372036854775807", "x y"}) {
    machine_.write("/sys/fs/cgroup/user.slice/cpu.max", odd);
    expect_unknown(about("quota"), "not understood");
  }
  machine_.write("/sys/fs/cgroup/cpu.max", "50000 100000");
  expect_costs(about("quota"), "50000 us of each 100000 us", "CPUQuota=");
  machine_.write("/proc/self/cgroup", "0::foo");  // without a slash
  EXPECT_EQ(about("quota").where, "/sys/fs/cgroup/cpu.max");
}

TEST_F(Audit, InAVirtualMachineTheHostsAffairsAreUnknown) {
  machine_.write("/proc/cpuinfo", "flags : fpu hypervisor tsc");
  machine_.write("/sys/class/dmi/id/sys_vendor", "QEMU");
  expect_unknown(about("machine"), "a virtual machine (QEMU)");
  expect_unknown(about("smt"), "cannot be seen from inside");
  expect_unknown(about("c-states"), "cannot be seen from inside");
  expect_unknown(about("numa"), "need not show the nodes of its host");
  machine_.remove("/sys/devices/system/cpu/cpu1/cpufreq");
  expect_unknown(about("governor"), "the host decides");
  // What is bad inside is bad all the same.
  machine_.write("/sys/devices/system/cpu/cpu1/topology/thread_siblings_list", "0-1");
  EXPECT_EQ(about("smt").level, Level::costs);
}

TEST_F(Audit, AContainerHidesProcessesOnlyWithANamespaceOfItsOwn) {
  machine_.write("/.dockerenv", "");
  EXPECT_EQ(about("container").level, Level::ok);
  machine_.remove("/proc/self/ns/pid");
  expect_unknown(about("container"), "/proc does not tell");
  machine_.link("/proc/self/ns/pid", "pid:[4026532271]");
  expect_unknown(about("container"), "processes outside of it");
  machine_.remove("/.dockerenv");
  expect_unknown(about("container"), "processes outside of it");
}

// Where nothing can be read, nothing is claimed.
TEST_F(Audit, OfAnEmptyRootKnowsNothing) {
  machine_.remove("/proc");
  machine_.remove("/sys");
  machine_.write("/sys/devices/system/cpu/online", "0-1");
  for (const Finding& f : look()) {
    if (f.topic != "machine" && f.topic != "container") {
      EXPECT_EQ(f.level, Level::unknown) << f.topic << ": " << f.seen;
    }
  }
}

TEST_F(Audit, LoadIsWhatPassedBetweenTwoLooks) {
  const MachineFiles files(machine_.root());
  const Surroundings around;
  const AuditInput in{.files = files, .around = around, .online = {0, 1}, .cores = {1}};
  const auto thread = [&](const std::string& ticks) {
    std::string line = "71 (a (b) c) R";  // fields 1 to 3; 14 is the time used, 39 the core
    for (int field = 4; field <= 52; ++field) {
      line += field == 14 ? " " + ticks : field == 39 ? " 1" : " 0";
    }
    machine_.write("/proc/70/task/71/stat", line);
  };
  thread("10");
  const LoadSample before = sample_load(files);
  Findings found;
  look_at_load(in, before, before, 1, found);
  ASSERT_EQ(found.size(), 1U);
  expect_unknown(found[0], "no time passed");
  machine_.write("/proc/stat", "cpu1 40 0 0 69 0 0 0 0 0 0");
  thread("50");
  found.clear();
  look_at_load(in, before, sample_load(files), 1, found);
  ASSERT_EQ(found.size(), 1U);
  expect_costs(found[0], "core 1 was busy for 40 % of 1000 ms, last there: a (b) c (pid 70)",
               "AllowedCPUs=0");
  machine_.write("/proc/stat", "cpu1 1 0 0 98 0 0 0 10 0 0");
  found.clear();
  look_at_load(in, before, sample_load(files), 1, found);
  ASSERT_EQ(found.size(), 2U);
  EXPECT_EQ(found[0].level, Level::ok);  // one tick in a hundred
  EXPECT_EQ(found[1].topic, "steal");
  expect_costs(found[1], "the host took core 1 away for 10 %", "pinned");
}

TEST(FindingText, IsOneLineForFilesAndPipes) {
  const Finding f{.level = Level::costs,
                  .topic = "irq",
                  .seen = "core 1 takes interrupts",
                  .where = "/proc/interrupts",
                  .cost = "2 to 20 us",
                  .mend = "choose fewer"};
  EXPECT_EQ(to_text(f, 0),
            "costs    irq        core 1 takes interrupts [/proc/interrupts]; costs 2 to 20 us; "
            "mend: choose fewer\n");
}

TEST(FindingText, OnATerminalNoLineIsWiderAndEachPartHasItsOwn) {
  const Finding f{.level = Level::costs,
                  .topic = "isolcpus",
                  .seen = "cores 0-1 are not isolated, and somebody said a lot about that",
                  .where = "/sys/devices/system/cpu/isolated",
                  .cost = "3 us",
                  .mend = "boot with isolcpus=managed_irq,domain,1"};
  EXPECT_EQ(to_text(f, 60),
            "costs    isolcpus   cores 0-1 are not isolated, and somebody\n"
            "                    said a lot about that\n"
            "                    costs 3 us\n"
            "                    mend: boot with\n"
            "                    isolcpus=managed_irq,domain,1\n"
            "                    [/sys/devices/system/cpu/isolated]\n");
  EXPECT_EQ(to_text(f, 10), to_text(f, 60)) << "narrower than that nobody could read it";
}

TEST(FindingText, AWordThatFitsNowhereStaysWhole) {
  const Finding f{.level = Level::ok, .topic = "x", .seen = std::string(90, 'w') + " end"};
  EXPECT_EQ(to_text(f, 80),
            "ok       x          " + std::string(90, 'w') + "\n                    end\n");
}

}  // namespace
}  // namespace mserve::pin
