// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

namespace mserve::broker {

/// What /proc/PID/stat says of a process.
struct ProcessStat {
  char state = '?';  ///< The kernel's letter, T or t when it is stopped; '?' when unknown.
  pid_t parent = 0;  ///< 0 when unknown.
};

/// Reads it; never fails, and says unknown instead.
[[nodiscard]] ProcessStat process_stat(pid_t pid) noexcept;

}  // namespace mserve::broker
