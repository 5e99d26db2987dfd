// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>

#include "affinity_run.hpp"
#include "kdb_run.hpp"
#include "run.hpp"
#include "trips.hpp"

namespace mserve::bench {

enum class Command : std::uint8_t { floor, rtt, kdb, affinity, echo_servant };

struct CommandLine {
  Command command = Command::floor;
  Settings settings;
  KdbSettings kdb;            ///< Command kdb.
  AffinitySettings affinity;  ///< Command affinity.
  std::string json_file;      ///< Empty: none.
  std::string svg_file;       ///< Command affinity; empty: none.
  TripOptions echo;           ///< Command echo_servant.
  int ready_fd = -1;          ///< Command echo_servant.
};

/// Exit codes of mserve-bench, for scripts.
inline constexpr int kExitFailed = 1;  ///< Something that was needed failed, or the broker went.
inline constexpr int kExitUsage = 2;   ///< Wrong options.
inline constexpr int kExitCannotMeasure =
    3;  ///< This machine cannot show it: fewer than two cores.

/// @return an exit code when there is nothing left to do (--help, a mistake that was explained).
[[nodiscard]] std::optional<int> read_command_line(int argc, char** argv, CommandLine& line);

}  // namespace mserve::bench
