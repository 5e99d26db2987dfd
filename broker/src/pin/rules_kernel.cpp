// SPDX-License-Identifier: Apache-2.0
// What the kernel was told: who is scheduled on the cores, what interrupts them by itself.
#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "pin/finding.hpp"

namespace mserve::pin {

namespace {

constexpr const char* kIsolated = "/sys/devices/system/cpu/isolated";
constexpr const char* kTickless = "/sys/devices/system/cpu/nohz_full";
constexpr const char* kCommandLine = "/proc/cmdline";
constexpr const char* kAutogroup = "/proc/sys/kernel/sched_autogroup_enabled";
constexpr const char* kClock = "/sys/devices/system/clocksource/clocksource0/current_clocksource";

/// The value of a kernel parameter, the last one given.
std::optional<std::string> parameter(const MachineFiles& files, const std::string& name) {
  std::optional<std::string> value;
  for (const std::string& word : words_of(files.read(kCommandLine).value_or(""))) {
    if (word.starts_with(name + "=")) {
      value = word.substr(name.size() + 1);
    }
  }
  return value;
}

/// A list of cores as the kernel takes it at boot: `all`, and N for the last core.
/// @return nothing when it is none of those that parse_cores() knows.
std::optional<CoreList> cores_at_boot(std::string text, const CoreList& online) {
  if (text == "all") {
    return online;
  }
  for (std::size_t at = text.find('N'); at != std::string::npos; at = text.find('N')) {
    text.replace(at, 1, std::to_string(online.empty() ? 0 : online.back()));
  }
  return parse_cores(text);
}

/// The chosen cores that may be taken from the system: one must stay with it.
CoreList could_be_isolated(const AuditInput& in) {
  CoreList cores = in.cores;
  if (cores == in.online && !cores.empty()) {
    cores.erase(cores.begin());
  }
  return cores;
}

std::string boot_with(const AuditInput& in, const std::string& parameters) {
  const CoreList cores = could_be_isolated(in);
  if (cores.empty()) {
    return "one core alone cannot be taken from the system; use a machine with more";
  }
  std::string text = "boot with " + parameters;
  const std::string list = cores_text(cores);
  for (std::size_t at = text.find("{}"); at != std::string::npos; at = text.find("{}")) {
    text.replace(at, 2, list);
  }
  if (cores != in.cores) {
    text += fmt::format(" (core {} stays with the system)", in.cores.front());
  }
  return text;
}

}  // namespace

void look_at_isolation(const AuditInput& in, Findings& out) {
  Finding f{.topic = "isolcpus", .where = kIsolated};
  const auto isolated = in.files.cores(kIsolated);
  if (!isolated) {
    f.seen = "which cores are isolated cannot be read";
    out.push_back(f);
    return;
  }
  const CoreList open = minus(in.cores, *isolated);
  f.level = open.empty() ? Level::ok : Level::costs;
  f.seen = open.empty() ? fmt::format("{} isolated", cores_are(in.cores))
                        : fmt::format("{} not isolated (isolated: {})", cores_are(open),
                                      isolated->empty() ? "none" : cores_text(*isolated));
  if (f.level == Level::costs) {
    f.cost =
        "3 to 10 us for each switch to another thread, and up to 4000 us while that runs there";
    f.mend = boot_with(in, "isolcpus=managed_irq,domain,{}");
  }
  out.push_back(f);
}

void look_at_tick(const AuditInput& in, Findings& out) {
  Finding f{.topic = "nohz_full", .where = kTickless};
  // The kernel prints "(null)" where it could do it and was not told to.
  const auto text = in.files.line(kTickless);
  const CoreList tickless = text ? parse_cores(*text).value_or(CoreList{}) : CoreList{};
  const CoreList ticking = minus(in.cores, tickless);
  if (ticking.empty()) {
    f.level = Level::ok;
    f.seen =
        fmt::format("cores {} run without a tick while one thread has them", cores_text(in.cores));
    out.push_back(f);
    return;
  }
  if (!text && !in.files.exists(kIsolated)) {
    f.seen = "which cores run without a tick cannot be read";
    out.push_back(f);
    return;
  }
  f.level = Level::costs;
  f.cost = "1 to 5 us each time, 100 to 1000 times a second (in the jitter: LOC)";
  if (!text) {
    f.seen = fmt::format(
        "no such file: this kernel was built without CONFIG_NO_HZ_FULL, so the "
        "tick interrupts cores {}",
        cores_text(in.cores));
    f.mend = "run a kernel with CONFIG_NO_HZ_FULL=y (Debian's has it), then " +
             boot_with(in, "nohz_full={}");
  } else {
    f.seen = fmt::format("the tick interrupts cores {} (nohz_full: {})", cores_text(ticking),
                         tickless.empty() ? "none" : cores_text(tickless));
    f.mend = boot_with(in, "nohz_full={}");
  }
  out.push_back(f);
}

void look_at_rcu(const AuditInput& in, Findings& out) {
  Finding f{.topic = "rcu_nocbs", .where = kCommandLine};
  if (!in.files.read(kCommandLine)) {
    f.seen = "the kernel's command line cannot be read";
    out.push_back(f);
    return;
  }
  const std::string given = parameter(in.files, "rcu_nocbs").value_or("");
  const auto named = cores_at_boot(given, in.online);
  // nohz_full brings it along.
  const CoreList offloaded =
      joined(named.value_or(CoreList{}), in.files.cores(kTickless).value_or(CoreList{}));
  const CoreList open = minus(in.cores, offloaded);
  if (open.empty()) {
    f.level = Level::ok;
    f.seen = fmt::format("RCU callbacks of cores {} run elsewhere", cores_text(in.cores));
  } else if (!named) {
    f.seen = fmt::format("rcu_nocbs={} is not understood", given);
  } else {
    f.level = Level::costs;
    f.seen = fmt::format("RCU callbacks run on cores {} ({})", cores_text(open),
                         given.empty() ? "rcu_nocbs is not given" : "rcu_nocbs=" + given);
    f.cost = "1 to 50 us at the end of an interrupt, when callbacks have gathered";
    f.mend = boot_with(in, "rcu_nocbs={}");
  }
  out.push_back(f);
}

void look_at_autogroup(const AuditInput& in, Findings& out) {
  Finding f{.topic = "autogroup", .where = kAutogroup};
  const auto value = in.files.line(kAutogroup);
  if (value == "1") {
    f.level = Level::costs;
    f.seen = "processes of one session are scheduled as a group";
    f.cost =
        "nothing on a core that one thread has; beside one that spins those of other sessions wait "
        "1000 us and more, on some kernels (6.18 of a virtual machine) up to a minute";
    f.mend = "sysctl -w kernel.sched_autogroup_enabled=0, or boot with noautogroup";
  } else if (value == "0") {
    f.level = Level::ok;
    f.seen = "each process is scheduled by itself, whatever its session";
  } else if (!value && in.files.exists("/proc/sys/kernel/ostype")) {
    f.level = Level::ok;
    f.seen = "no such file: this kernel knows no groups of a session";
  } else {
    f.seen = "whether processes of one session are a group cannot be read";
  }
  out.push_back(f);
}

void look_at_clock(const AuditInput& in, Findings& out) {
  Finding f{.topic = "clock", .where = kClock};
  const auto clock = in.files.line(kClock);
  if (!clock || clock->empty()) {
    f.seen = "the clock source cannot be read";
  } else if (*clock == "tsc" || *clock == "arch_sys_counter") {
    f.level = Level::ok;
    f.seen = fmt::format("clock source {}: read without a system call, 0.02 us", *clock);
  } else if (*clock == "kvm-clock" || *clock == "hyperv_clocksource_tsc_page") {
    f.level = Level::ok;
    f.seen = fmt::format("clock source {}: mostly read without a system call, 0.03 us", *clock);
  } else {
    f.level = Level::costs;
    f.seen = fmt::format("clock source {}", *clock);
    f.cost = "0.2 to 2 us for each look at the clock, which is a system call then";
    f.mend =
        "find in dmesg why tsc was given up; where the processor's is sound, boot with "
        "clocksource=tsc tsc=reliable";
  }
  out.push_back(f);
}

}  // namespace mserve::pin
