// SPDX-License-Identifier: Apache-2.0
#include "pin/surroundings.hpp"

#include <algorithm>
#include <array>
#include <string_view>

namespace mserve::pin {

namespace {

/// Number of the kernel's first PID namespace (PROC_PID_INIT_INO), the same on every Linux.
constexpr std::string_view kFirstPidNamespace = "pid:[4026531836]";

void look_for_machine(const MachineFiles& files, Surroundings& around) {
  if (const auto type = files.line("/sys/hypervisor/type"); type && !type->empty()) {
    around.virtual_machine = true;
    around.virtual_by = "/sys/hypervisor/type: " + *type;
    around.hypervisor = *type;
  }
  // The processor's own word weighs most, so it is told where both say so.
  for (const std::string& line : lines_of(files.read("/proc/cpuinfo").value_or(""))) {
    if (!line.starts_with("flags")) {
      continue;
    }
    const auto flags = words_of(line);
    if (std::find(flags.begin(), flags.end(), "hypervisor") != flags.end()) {
      around.virtual_machine = true;
      around.virtual_by = "flag hypervisor in /proc/cpuinfo";
    }
    break;
  }
  // Where the processor has no such flag (not x86), firmware may tell. Makers that sell whole
  // machines as well are not among these: their name says nothing.
  constexpr std::array<std::string_view, 6> kMakers{"QEMU", "VMware",    "innotek",
                                                    "Xen",  "Parallels", "BHYVE"};
  const std::string vendor = files.line("/sys/class/dmi/id/sys_vendor").value_or("");
  const bool made_virtual =
      std::any_of(kMakers.begin(), kMakers.end(),
                  [&vendor](std::string_view maker) { return vendor.starts_with(maker); });
  if (made_virtual && !around.virtual_machine) {
    around.virtual_machine = true;
    around.virtual_by = "/sys/class/dmi/id/sys_vendor: " + vendor;
  }
  if (around.virtual_machine && around.hypervisor.empty()) {
    around.hypervisor = vendor;
  }
}

void look_for_container(const MachineFiles& files, Surroundings& around) {
  for (const char* const sign : {"/.dockerenv", "/run/.containerenv"}) {
    if (files.exists(sign)) {
      around.container = true;
      around.container_by = std::string(sign) + " is there";
      break;
    }
  }
  if (const auto kind = files.line("/run/systemd/container"); kind && !kind->empty()) {
    around.container = true;
    around.container_by = "/run/systemd/container: " + *kind;
  }
  if (!around.container) {
    const std::string groups = files.read("/proc/1/cgroup").value_or("");
    for (const char* const sign : {"docker", "kubepods", "lxc", "libpod", "containerd"}) {
      if (groups.find(sign) != std::string::npos) {
        around.container = true;
        around.container_by = std::string("/proc/1/cgroup names ") + sign;
        break;
      }
    }
  }
  if (const auto space = files.link("/proc/self/ns/pid")) {
    around.namespaces_known = true;
    around.processes_hidden = *space != kFirstPidNamespace;
    if (around.processes_hidden && !around.container) {
      around.container = true;
      around.container_by = "/proc/self/ns/pid is " + *space + ", not the kernel's first";
    }
  }
}

}  // namespace

Surroundings look_around(const MachineFiles& files) {
  Surroundings around;
  look_for_machine(files, around);
  look_for_container(files, around);
  return around;
}

}  // namespace mserve::pin
