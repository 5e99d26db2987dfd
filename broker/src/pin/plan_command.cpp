// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <optional>

#include "pin/commands.hpp"
#include "pin/interrupts.hpp"
#include "pin/plan.hpp"
#include "pin/plan_file.hpp"
#include "pin/topology.hpp"
#include "pin/units.hpp"

namespace mserve::pin {

namespace {

/// Cores to which devices' interrupts come ten times a second and more, on average since boot.
CoreList interrupted_cores(const MachineFiles& files, const CoreList& cores) {
  constexpr double kPerSecond = 10;
  const auto words = words_of(files.line("/proc/uptime").value_or(""));
  const double uptime = words.empty() ? 0 : std::strtod(words.front().c_str(), nullptr);
  CoreList found;
  if (uptime <= 0) {
    return found;
  }
  const std::vector<Interrupt> all = read_interrupts(files);
  for (const int core : cores) {
    double count = 0;
    for (const Arriving& one : arriving_at(files, all, core)) {
      count += static_cast<double>(one.count);
    }
    if (count / uptime >= kPerSecond) {
      found.push_back(core);
    }
  }
  return found;
}

/// A described machine has only the facts that were given with it.
std::optional<CoreFacts> facts_of(const PlanOptions& options, const Topology& topology) {
  CoreFacts facts;
  if (options.topology.empty()) {
    const MachineFiles files;
    facts.known = true;
    facts.isolated = files.cores("/sys/devices/system/cpu/isolated").value_or(CoreList{});
    facts.interrupted = interrupted_cores(files, topology.threads());
  }
  for (const auto& [given, list] :
       {std::pair{&options.isolated, &facts.isolated}, {&options.avoid, &facts.interrupted}}) {
    if (!given->empty()) {
      const auto cores = parse_cores(*given);
      if (!cores) {
        (void)tell_fault(ExitCode::usage,
                         "'" + *given + "' is no list of cores such as 2,3 or 2-5");
        return std::nullopt;
      }
      *list = *cores;
      facts.known = true;
    }
  }
  return facts;
}

std::string command_of(const PlanOptions& options) {
  std::string text = fmt::format("mserve-pin plan --servants {}", options.wishes.servants);
  text += options.wishes.q ? " --q" : "";
  text += options.wishes.gateway == GatewayPlace::none   ? " --gateway none"
          : options.wishes.gateway == GatewayPlace::data ? " --gateway data"
                                                         : "";
  text += options.topology.empty() ? "" : " --topology " + options.topology;
  text += options.isolated.empty() ? "" : " --isolated " + options.isolated;
  text += options.avoid.empty() ? "" : " --avoid " + options.avoid;
  return text;
}

}  // namespace

ExitCode run_plan(const PlanOptions& options) {
  std::string fault;
  const auto topology = read_topology(options.topology, fault);
  if (!topology) {
    return tell_fault(ExitCode::failed, fault);
  }
  const auto facts = facts_of(options, *topology);
  if (!facts) {
    return ExitCode::usage;
  }
  const Plan plan = make_plan(*topology, *facts, options.wishes);
  const std::string text = write_plan(plan, command_of(options));
  // The plan has them as well: whoever reads it on the terminal needs them once.
  const bool seen = options.output.empty() && isatty(STDOUT_FILENO) != 0;
  for (const std::string& warning : seen ? std::vector<std::string>{} : plan.warnings) {
    (void)std::fprintf(stderr, "mserve-pin: warning: %s\n", warning.c_str());
  }
  if (!options.units.empty()) {
    if (fault = write_units(plan, options.units); !fault.empty()) {
      return tell_fault(ExitCode::failed, fault);
    }
  }
  if (options.output.empty()) {
    (void)std::fwrite(text.data(), 1, text.size(), stdout);
    return ExitCode::ok;
  }
  errno = 0;
  std::ofstream file(options.output);
  file << text;
  file.close();
  if (!file) {
    return tell_fault(ExitCode::failed,
                      "cannot write " + options.output + ": " + std::strerror(errno));
  }
  if (options.topology.empty()) {  // else it is for another machine
    (void)std::fprintf(stderr, "mserve-pin: next: mserve-pin run %s -- mserve-broker %u ...\n",
                       options.output.c_str(), options.wishes.servants);
  }
  return ExitCode::ok;
}

}  // namespace mserve::pin
