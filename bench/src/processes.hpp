// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <vector>

namespace mserve::bench {

/// A process, and not a later one of the same number.
struct Process {
  pid_t pid = 0;
  std::uint64_t started = 0;  ///< Ticks since boot.

  friend bool operator==(const Process&, const Process&) = default;
};

/// Those that its first thread has started and that have not been collected.
[[nodiscard]] std::vector<Process> children_of(pid_t pid);
/// These, theirs, and so on; parents before their children.
[[nodiscard]] std::vector<Process> descendants_of(pid_t pid);
/// Lets a process, and what it starts from now on, use that core only. One that has ended is fine.
void keep_on(pid_t pid, int core);
/// Whether it still runs; one that has ended and waits to be collected does not.
[[nodiscard]] bool runs(const Process& process);

}  // namespace mserve::bench
