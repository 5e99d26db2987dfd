// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>

#include "options.hpp"

namespace mserve::broker {

/// Reads the command line into `options`; defaults come from MSERVE_NAME, MSERVE_DIR and
/// MSERVE_ALGO. Prints help, version or every fault by itself.
/// @return nothing to go on, or the exit code to end with.
[[nodiscard]] std::optional<int> read_command_line(int argc, char** argv, BrokerOptions& options);

}  // namespace mserve::broker
