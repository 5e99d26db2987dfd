// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

namespace mserve::bench {

/// What has to stand beside every figure. Text is empty where this system does not tell.
struct Machine {
  std::string processor;
  std::vector<int> cores;  ///< Those that this process may use.
  int cores_online = 0;
  std::string kernel;
  std::string clocksource;
  std::string governor;        ///< Of the first usable core.
  std::string virtualisation;  ///< The hypervisor; empty: none seen.
  std::string load;            ///< 1, 5 and 15 minute averages, when the run began.
  double load_1min = 0;

  std::string compiler;
  std::string build_type;
  std::string build_flags;
  std::string commit;
};

[[nodiscard]] Machine describe_machine();

/// CPU time that all threads of a process that live have used so far, in seconds; negative when it
/// cannot be read.
[[nodiscard]] double cpu_seconds_of(int pid);

}  // namespace mserve::bench
