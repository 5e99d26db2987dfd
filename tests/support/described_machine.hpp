// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <fstream>
#include <string>

#include "support/temp_dir.hpp"

namespace mserve::test {

/// The /sys and /proc of a machine that a test describes, below a directory of its own.
class DescribedMachine {
 public:
  void write(const std::string& path, const std::string& text) const {
    make_folder(path);
    std::ofstream(root() + path) << text << "\n";
  }
  void link(const std::string& path, const std::string& target) const {
    make_folder(path);
    std::filesystem::create_symlink(target, root() + path);
  }
  void remove(const std::string& path) const { std::filesystem::remove_all(root() + path); }
  [[nodiscard]] const std::string& root() const noexcept { return dir_.path(); }

  /// A server of two cores without SMT, as it should be for core 1: core 1 is isolated, nothing
  /// disturbs it.
  void describe_tuned() const {
    write("/sys/devices/system/cpu/online", "0-1");
    write("/sys/devices/system/cpu/isolated", "1");
    write("/sys/devices/system/cpu/nohz_full", "1");
    write("/proc/sys/kernel/sched_autogroup_enabled", "0");
    write("/proc/cmdline", "root=/dev/sda1 isolcpus=managed_irq,domain,1 nohz_full=1 rcu_nocbs=1");
    write("/proc/cpuinfo", "processor : 0\nflags : fpu tsc constant_tsc nonstop_tsc");
    link("/proc/self/ns/pid", "pid:[4026531836]");
    write("/sys/devices/system/clocksource/clocksource0/current_clocksource", "tsc");
    for (const std::string core : {"0", "1"}) {
      const std::string base = "/sys/devices/system/cpu/cpu" + core;
      write(base + "/cpufreq/scaling_governor", "performance");
      write(base + "/topology/thread_siblings_list", core);
      write(base + "/cpuidle/state0/latency", "0");
      write(base + "/cpuidle/state0/name", "POLL");
      write(base + "/cpuidle/state1/latency", "2");
      write(base + "/cpuidle/state1/name", "C1");
    }
    write("/proc/interrupts",
          "           CPU0       CPU1\n"
          "  9:         10          0  IO-APIC   9-fasteoi  acpi\n"
          " 36:        500          0  PCI-MSI 1-edge      eth0-rx\n"
          "LOC:       1000         20   Local timer interrupts");
    write("/proc/irq/9/smp_affinity_list", "0-1");
    write("/proc/irq/9/effective_affinity_list", "0");
    write("/proc/irq/36/smp_affinity_list", "0");
    write("/sys/devices/system/node/online", "0");
    write("/sys/devices/system/node/node0/cpulist", "0-1");
    write("/sys/devices/system/node/node0/distance", "10");
    write("/sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never");
    write("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "0");
    write("/proc/swaps", "Filename Type Size Used Priority");
    write("/proc/self/limits",
          "Limit                     Soft Limit           Hard Limit           Units\n"
          "Max locked memory         unlimited            unlimited            bytes");
    write("/proc/self/cgroup", "0::/user.slice");
    write("/sys/fs/cgroup/user.slice/cpu.max", "max 100000");
    write("/proc/stat",
          "cpu  9 0 9 99 0 0 0 0 0 0\ncpu0 9 0 9 90 0 0 0 0 0 0\ncpu1 0 0 0 9 0 0 0 0 0 0");
  }

 private:
  void make_folder(const std::string& path) const {
    std::filesystem::create_directories(std::filesystem::path(root() + path).parent_path());
  }

  TempDir dir_;
};

}  // namespace mserve::test
