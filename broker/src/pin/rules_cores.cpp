// SPDX-License-Identifier: Apache-2.0
// How fast a core is, what it shares, and how deep it sleeps.
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "pin/finding.hpp"

namespace mserve::pin {

namespace {

std::string cpu_path(int core, const std::string& rest) {
  return fmt::format("/sys/devices/system/cpu/cpu{}/{}", core, rest);
}

/// The chosen cores by what a file of each says; "" where there is none.
std::map<std::string, CoreList> cores_by(const AuditInput& in, const std::string& file) {
  std::map<std::string, CoreList> found;
  for (const int core : in.cores) {
    found[in.files.line(cpu_path(core, file)).value_or("")].push_back(core);
  }
  return found;
}

std::string how_to_leave_idle(const CoreList& cores) {
  std::string text = fmt::format("leave core {} idle:", cores_text(cores));
  for (const int core : cores) {
    text +=
        fmt::format("{} echo 0 > {}", core == cores.front() ? "" : ";", cpu_path(core, "online"));
  }
  return text;
}

/// Where one core may wait longest to run again.
struct Deepest {
  std::int64_t latency_us = -1;  ///< -1: it has no states.
  std::string name;
};

Deepest deepest_state(const AuditInput& in, int core) {
  Deepest deepest;
  for (const std::string& state : in.files.list(cpu_path(core, "cpuidle"))) {
    const std::string base = cpu_path(core, "cpuidle/" + state);
    const auto latency = in.files.number(base + "/latency");
    if (latency && in.files.number(base + "/disable").value_or(0) == 0 &&
        *latency > deepest.latency_us) {
      deepest = {*latency, in.files.line(base + "/name").value_or(state)};
    }
  }
  return deepest;
}

}  // namespace

void look_at_governor(const AuditInput& in, Findings& out) {
  constexpr const char* kOfCore = "cpufreq/scaling_governor";
  for (const auto& [governor, cores] : cores_by(in, kOfCore)) {
    Finding f{.topic = "governor", .where = cpu_path(cores.front(), kOfCore)};
    if (governor.empty()) {
      f.seen = fmt::format(
          "no frequency governor for cores {}: {}", cores_text(cores),
          in.around.virtual_machine
              ? "the host decides about their frequency, which cannot be seen from inside"
              : "no cpufreq driver is loaded, so the firmware decides");
    } else if (governor == "performance") {
      f.level = Level::ok;
      f.seen = fmt::format("cores {} have the governor performance", cores_text(cores));
    } else {
      f.level = Level::costs;
      f.seen = fmt::format("cores {} have the governor {}", cores_text(cores), governor);
      f.cost = "10 to 500 us at a lower frequency after each quiet spell";
      f.mend = fmt::format("cpupower -c {} frequency-set -g performance", cores_text(cores));
    }
    out.push_back(f);
  }
}

void look_at_siblings(const AuditInput& in, Findings& out) {
  constexpr const char* kOfCore = "topology/thread_siblings_list";
  for (const auto& [list, cores] : cores_by(in, kOfCore)) {
    Finding f{.topic = "smt", .where = cpu_path(cores.front(), kOfCore)};
    const auto siblings = parse_cores(list);
    if (!siblings || siblings->empty()) {
      f.seen = fmt::format("siblings of cores {} cannot be read", cores_text(cores));
    } else if (siblings->size() > 1) {
      f.level = Level::costs;
      f.seen = fmt::format("cores {} are one physical core", cores_text(*siblings));
      f.cost = "20 to 60 % of the speed while the sibling works, 0.1 to 1 us for each message";
      const CoreList others = minus(*siblings, cores);
      f.mend = how_to_leave_idle(others.empty() ? minus(cores, {cores.front()}) : others);
    } else if (in.around.virtual_machine) {
      f.seen = fmt::format(
          "core {} shows no sibling; whether the host runs two virtual cores on one physical one "
          "cannot be seen from inside",
          cores.front());
    } else {
      f.level = Level::ok;
      f.seen = fmt::format("core {} shares its physical core with nobody", cores.front());
    }
    out.push_back(f);
  }
}

void look_at_idle_states(const AuditInput& in, Findings& out) {
  constexpr std::int64_t kShallowUs = 2;
  std::map<std::string, CoreList> slow;
  CoreList shallow;
  CoreList unseen;
  std::int64_t most_us = 0;
  for (const int core : in.cores) {
    const Deepest deepest = deepest_state(in, core);
    if (deepest.latency_us < 0) {
      unseen.push_back(core);
    } else if (deepest.latency_us > kShallowUs) {
      slow[fmt::format("{} ({} us)", deepest.name, deepest.latency_us)].push_back(core);
      most_us = std::max(most_us, deepest.latency_us);
    } else {
      shallow.push_back(core);
    }
  }
  for (const auto& [state, cores] : slow) {
    out.push_back(
        {.level = Level::costs,
         .topic = "c-states",
         .seen = fmt::format("idle cores {} sleep as deep as {}", cores_text(cores), state),
         .where = cpu_path(cores.front(), "cpuidle/state*/latency"),
         .cost = fmt::format("up to {} us to wake a thread that parks there; a spinning thread "
                             "never sleeps",
                             most_us),
         .mend = fmt::format("cpupower -c {} idle-set -D {}, or boot with processor.max_cstate=1 "
                             "intel_idle.max_cstate=0",
                             cores_text(cores), kShallowUs)});
  }
  const std::string beyond = in.around.virtual_machine
                                 ? "; how deep the host's cores sleep cannot be seen from inside"
                                 : "";
  if (!shallow.empty()) {
    out.push_back({.level = in.around.virtual_machine ? Level::unknown : Level::ok,
                   .topic = "c-states",
                   .seen = fmt::format("idle cores {} leave their own states within {} us{}",
                                       cores_text(shallow), kShallowUs, beyond),
                   .where = cpu_path(shallow.front(), "cpuidle/state*/latency")});
  }
  if (!unseen.empty()) {
    out.push_back(
        {.topic = "c-states",
         .seen = fmt::format("cores {} show no idle states{}", cores_text(unseen), beyond),
         .where = cpu_path(unseen.front(), "cpuidle")});
  }
}

}  // namespace mserve::pin
