// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "pin/machine_files.hpp"
#include "pin/plan.hpp"

namespace mserve::pin {

/// Scripts test these; --help lists them.
enum class ExitCode : int { ok = 0, failed = 1, usage = 2, costs = 3 };

struct AuditOptions {
  std::string root;    ///< Empty: this machine.
  std::string cores;   ///< Empty: possible_cores(), or all of `root`.
  double seconds = 1;  ///< Of jitter on each core; 0: none.
  bool json = false;
  bool strict = false;
};

/// Prints what was found to stdout, faults to stderr.
[[nodiscard]] ExitCode run_audit(const AuditOptions& options);

struct PlanOptions {
  Wishes wishes;
  std::string topology;  ///< A hwloc XML file; empty: this machine.
  std::string isolated;  ///< Empty: what the kernel says.
  std::string avoid;     ///< Empty: those to which many interrupts come.
  std::string output;    ///< Empty: stdout.
  std::string units;     ///< Where drop-ins for systemd are written; empty: nowhere.
};

/// Writes the plan, and warnings to stderr.
[[nodiscard]] ExitCode run_plan(const PlanOptions& options);

struct RunOptions {
  std::string plan;  ///< A file.
  std::string role = "broker";
  std::vector<std::string> command;  ///< At least one word.
};

/// Becomes the command, on the cores of its role. Returns only when it cannot.
[[nodiscard]] ExitCode run_run(const RunOptions& options);

/// Says what is wrong on stderr. @return `code`
ExitCode tell_fault(ExitCode code, const std::string& fault);

}  // namespace mserve::pin
