// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "subcommand.hpp"
#include "trips.hpp"

namespace mserve::bench {

struct CommandLine {
  std::unique_ptr<Subcommand> subcommand;  ///< Nothing: be an echo servant.
  std::string text;                        ///< As it was typed.
  TripOptions echo;
  int ready_fd = -1;  ///< Of the echo servant.
};

/// Exit codes of mserve-bench, for scripts.
inline constexpr int kExitFailed = 1;  ///< Something that was needed failed, or the broker went.
inline constexpr int kExitUsage = 2;   ///< Wrong options.
inline constexpr int kExitCannotMeasure =
    3;  ///< Fewer than two cores, or no such broker: see CannotMeasure.

/// @return an exit code when there is nothing left to do (--help, a mistake that was explained).
[[nodiscard]] std::optional<int> read_command_line(int argc, char** argv, CommandLine& line);

}  // namespace mserve::bench
