// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include "pin/finding.hpp"

namespace mserve::pin {

namespace {

void look_at_surroundings(const AuditInput& in, Findings& out) {
  const Surroundings& around = in.around;
  if (around.virtual_machine) {
    out.push_back(
        {.topic = "machine",
         .seen = fmt::format(
             "a virtual machine{}: which physical cores run these, at which frequency, next to "
             "whom, cannot be seen from inside",
             around.hypervisor.empty() ? "" : " (" + around.hypervisor + ")"),
         .where = around.virtual_by,
         .mend = "ask whoever runs the host for virtual cores pinned to physical ones of one NUMA "
                 "node; the jitter shows what is left"});
  } else {
    out.push_back({.level = Level::ok,
                   .topic = "machine",
                   .seen = "no sign of a virtual machine",
                   .where = "/proc/cpuinfo, /sys/hypervisor, /sys/class/dmi/id"});
  }
  Finding f{.topic = "container", .where = around.container_by};
  if (around.container && around.processes_hidden) {
    f.seen = "a container: processes outside of it, and who else uses these cores, cannot be seen";
    f.mend = "run `mserve-pin audit` on the host as well";
  } else if (around.container && around.namespaces_known) {
    f.level = Level::ok;
    f.seen = "a container's mark, but in the kernel's first PID namespace: all processes are seen";
    f.where += ", /proc/self/ns/pid";
  } else if (around.container) {
    f.seen = "a container's mark, and /proc does not tell what it hides";
  } else {
    f.level = Level::ok;
    f.seen = "no sign of a container";
    f.where = "/.dockerenv, /run/.containerenv, /run/systemd/container, /proc/1/cgroup";
    f.where += around.namespaces_known ? ", /proc/self/ns/pid" : "";
  }
  out.push_back(f);
}

}  // namespace

void make_printable(Finding& finding) {
  for (std::string* const text :
       {&finding.topic, &finding.seen, &finding.where, &finding.cost, &finding.mend}) {
    for (char& c : *text) {
      c = c >= 0x20 && c < 0x7f ? c : '?';
    }
  }
}

Findings audit(const AuditInput& in) {
  Findings out;
  look_at_surroundings(in, out);
  look_at_isolation(in, out);
  look_at_tick(in, out);
  look_at_rcu(in, out);
  look_at_autogroup(in, out);
  look_at_interrupts(in, out);
  look_at_governor(in, out);
  look_at_siblings(in, out);
  look_at_idle_states(in, out);
  look_at_clock(in, out);
  look_at_nodes(in, out);
  look_at_transparent_pages(in, out);
  look_at_huge_pages(in, out);
  look_at_swap(in, out);
  look_at_memory_lock(in, out);
  look_at_quota(in, out);
  return out;
}

}  // namespace mserve::pin
