// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "pin/finding.hpp"

namespace mserve::pin {

/// Ticks (1/100 s) that a core spent so far.
struct CoreTime {
  std::uint64_t busy = 0;
  std::uint64_t idle = 0;
  std::uint64_t stolen = 0;  ///< The host gave the core to somebody else.
};

/// One thread of some process.
struct ThreadTime {
  int pid = 0;
  std::string name;
  int core = -1;  ///< Where it ran last.
  std::uint64_t ticks = 0;
};

/// How the cores were used up to a moment.
struct LoadSample {
  std::map<int, CoreTime> cores;      ///< Empty: /proc/stat cannot be read.
  std::map<int, ThreadTime> threads;  ///< By thread id.
};

[[nodiscard]] LoadSample sample_load(const MachineFiles& files);

/// What others did on each chosen core between two samples; and, where the host is shared, what it
/// took away. @param own_pid  this process, whose share is no finding.
void look_at_load(const AuditInput& in, const LoadSample& before, const LoadSample& after,
                  int own_pid, Findings& out);

}  // namespace mserve::pin
