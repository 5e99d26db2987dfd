// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "mserve/shm/counters.hpp"
#include "mserve/shm/errc.hpp"

namespace mserve::broker {

// What --sandbox takes from a broker that has started, so that whoever gets it to run code of his
// own gets little with it. Two lists of system calls are allowed, everything else is refused:
//
//   process   all threads: what serving needs. Not among it: new processes and programs, opening a
//             file to write, executable memory, sockets other than AF_UNIX, anything about another
//             process but whether it lives.
//   compute   the data thread and the threads that check passwords: memory, waiting, and
//             descriptors that are open already. Not among it: files, new sockets, segments.
//
// A refused call returns EPERM, is counted, and is named in the log: a broker is to outlive its own
// mistakes, and a call of the C library that nobody foresaw is one, more often than an attack. A
// process that speaks another ABI (32 bit, x32) is killed, as no mistake leads there.
//
// The launcher was forked before, so servants have none of this.

/// Puts all threads of this process into the list `process`, for good: no new privileges, no core
/// dump, nobody of the same user may trace it or read its memory.
/// @param reason  gets why not, and what to do.
/// @return `os` where the kernel has no seccomp filters.
/// @thread one call, at the end of the start, before strangers are served
[[nodiscard]] Error enter_sandbox(std::string& reason);

/// Puts the calling thread into the list `compute` as well. What it opens it has opened before.
/// @return `os`, and the thread goes on with what the process may.
[[nodiscard]] Error enter_compute_cell() noexcept;

/// Says in the log what was refused, by name. @thread one, such as control's
class RefusedCalls {
 public:
  /// @param counter  gets how many there have been since the start.
  void look(shm::Counter& counter);

 private:
  std::array<std::uint32_t, 1024> told_{};  // by number of the call
};

}  // namespace mserve::broker
