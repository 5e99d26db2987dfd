// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>

#include "run.hpp"

namespace mserve::bench {

/// What `mserve-bench kdb` was asked for, checked.
struct KdbSettings {
  Plan plan{.seconds = 10};        ///< Not probed: sockets hide what a line costs.
  std::size_t payload_bytes = 40;  ///< Characters that echo is given.
  std::string broker_path;
  std::string shim_path;
  std::string standin_path;  ///< A q process, as far as kdb+ IPC goes.
  std::string haproxy_path;  ///< Empty: not there, its row is left out.
};

/// Sync `echo` over loopback TCP: to the stand-in directly, through gateway, rings and shim, and
/// through HAProxy in TCP mode, in turn within each repetition; directly also with threads of the
/// lowest priority that yield on every core, since that is what keeps cores from going to sleep.
/// Failures are thrown as std::exception with a text for the user.
void run_kdb(Run& run, const KdbSettings& settings);

}  // namespace mserve::bench
