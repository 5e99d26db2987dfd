// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "pin/machine_files.hpp"
#include "pin/surroundings.hpp"

namespace mserve::pin {

enum class Level : std::uint8_t {
  ok,       ///< As it should be.
  costs,    ///< It costs latency; `cost` says how much, `mend` what to do.
  unknown,  ///< It cannot be seen from here; `seen` says why.
};

[[nodiscard]] constexpr const char* to_string(Level level) noexcept {
  switch (level) {
    case Level::ok:
      return "ok";
    case Level::costs:
      return "costs";
    default:
      return "unknown";
  }
}

/// One thing that was looked at. Each text is a piece of one line.
struct Finding {
  Level level = Level::unknown;
  std::string topic;    ///< One word, such as "irq".
  std::string seen{};   ///< What is so, with the value that was read.
  std::string where{};  ///< The file or call that said it.
  std::string cost{};   ///< Order of magnitude; empty where it costs nothing.
  std::string mend{};   ///< Kernel parameter or command; empty where there is nothing to do.
};

/// What the rules look at.
struct AuditInput {
  const MachineFiles& files;
  const Surroundings& around;
  CoreList online;
  CoreList cores;  ///< The chosen ones, all online.
};

using Findings = std::vector<Finding>;

// The rules, each a pure function of the files. They add one finding each, those named "per core"
// one for each chosen core.

/// isolcpus, nohz_full, rcu_nocbs, autogroup, clocksource (rules_kernel.cpp).
void look_at_isolation(const AuditInput& in, Findings& out);
void look_at_tick(const AuditInput& in, Findings& out);
void look_at_rcu(const AuditInput& in, Findings& out);
void look_at_autogroup(const AuditInput& in, Findings& out);
void look_at_clock(const AuditInput& in, Findings& out);
/// Governor, SMT siblings (per core), C-states (rules_cores.cpp).
void look_at_governor(const AuditInput& in, Findings& out);
void look_at_siblings(const AuditInput& in, Findings& out);
void look_at_idle_states(const AuditInput& in, Findings& out);
/// Interrupts (per core; rules_irq.cpp).
void look_at_interrupts(const AuditInput& in, Findings& out);
/// NUMA, THP, huge pages, swap, limits of memory and processor time (rules_memory.cpp,
/// rules_limits.cpp).
void look_at_nodes(const AuditInput& in, Findings& out);
void look_at_transparent_pages(const AuditInput& in, Findings& out);
void look_at_huge_pages(const AuditInput& in, Findings& out);
void look_at_swap(const AuditInput& in, Findings& out);
void look_at_memory_lock(const AuditInput& in, Findings& out);
void look_at_quota(const AuditInput& in, Findings& out);

/// For people. @param width  of the terminal: what it costs, how to mend it and where it was seen
/// get lines of their own, broken between words; 0: all of it in one line, for files and pipes.
[[nodiscard]] std::string to_text(const Finding& finding, std::size_t width);

/// Names that others chose (of threads, devices, machines) for terminals and JSON: each byte that
/// is not printable ASCII becomes a question mark.
void make_printable(Finding& finding);

/// All of them, after what the surroundings hide.
[[nodiscard]] Findings audit(const AuditInput& in);

}  // namespace mserve::pin
