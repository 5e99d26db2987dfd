// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "mserve/plugin.h"

namespace mserve::broker {

/// The tables of the plugins that were loaded. They live as long as the process: a plugin is never
/// unloaded, since what it registered with libc may still call it.
struct Plugins {
  const mserve_policy_table* policy = nullptr;
  const mserve_route_table* route = nullptr;
};

/// Loads a plugin of --policy-plugin and tries its create() and destroy() once. Runs the code of
/// the file, so it belongs before any thread.
/// @param file          absolute, or relative to the working directory; no search along a path.
/// @param servants_max  as the broker will have it.
/// @return its table, whose members are all there; null if it is refused, with one line more in
///         `faults` that names the file and says what to do.
[[nodiscard]] const mserve_policy_table* load_policy_plugin(const std::string& file,
                                                            std::uint32_t servants_max,
                                                            std::vector<std::string>& faults);

/// The same for --route-plugin.
[[nodiscard]] const mserve_route_table* load_route_plugin(const std::string& file,
                                                          std::vector<std::string>& faults);

}  // namespace mserve::broker
