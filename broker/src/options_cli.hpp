// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "options.hpp"
#include "reload.hpp"

namespace mserve::broker {

/// What a broker was told by command line, environment and configuration file, in this order of
/// precedence.
struct CommandLine {
  BrokerOptions options;
  std::vector<Setting> values;  ///< Every key, given or not, always in the same order.
};

/// Reads all three. Prints help, version, what --check asks for and every fault by itself, and sets
/// the log's level.
/// @return nothing to go on, or the exit code to end with.
[[nodiscard]] std::optional<int> read_command_line(int argc, char** argv, CommandLine& line);

/// Reads all three again, for SIGHUP. `current` follows when Reloaded::applied is called.
[[nodiscard]] Reloaded reload(int argc, char** argv, CommandLine& current);

}  // namespace mserve::broker
