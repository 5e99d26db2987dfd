// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>

namespace mserve::bench {

/// What `mserve-bench kdb` was asked for, checked.
struct KdbSettings {
  std::size_t payload_bytes = 40;  ///< Characters that echo is given.
  double seconds = 10;             ///< All repetitions together.
  int repetitions = 5;
  std::string broker_path;
  std::string shim_path;
  std::string standin_path;  ///< A q process, as far as kdb+ IPC goes.
  std::string haproxy_path;  ///< Empty: not there, its rows are left out.
};

/// Sync `echo` over loopback TCP: to the stand-in directly, through gateway, rings and shim, and
/// through HAProxy in TCP mode, in turn within each repetition; directly also with threads of the
/// lowest priority that yield on every core, since that is what keeps cores from going to sleep.
/// Prints a table and the ratios that the speed budget is about.
/// @return everything as JSON. Failures are thrown as std::exception with a text for the user.
[[nodiscard]] std::string run_kdb(const KdbSettings& settings);

}  // namespace mserve::bench
