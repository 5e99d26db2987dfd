// SPDX-License-Identifier: Apache-2.0
// Processes that a soak starts in order to kill them. Each attaches by hand and goes on, through
// restarts of the broker, until it is killed.
#pragma once

#include <cstdint>
#include <string>

namespace mserve::test {

struct VictimOptions {
  std::string directory{};  ///< Where the broker is,
  std::string broker{};     ///< and its name.
  std::uint64_t seed = 1;
};

/// @param role  client, servant, hostile-client, hostile-servant. @return only for another role.
int run_victim(const std::string& role, const VictimOptions& options);

}  // namespace mserve::test
