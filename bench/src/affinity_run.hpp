// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "affinity_report.hpp"

namespace mserve::bench {

/// What `mserve-bench affinity` was asked for, checked.
struct AffinitySettings {
  AffinityStage stage;  ///< All but policy and warm routes.
  std::vector<AffinityCase> cases;
  std::vector<double> loads = {30, 60, 85};
  double seconds = 75;  ///< All cells and repetitions together.
  int repetitions = 3;
  std::uint64_t seed = 1;
};

/// "64/16": 64 routes, of which a servant keeps 16 warm, asked for uniformly.
/// @return nothing when the text is anything else, or a number is 0 or above 65536.
[[nodiscard]] std::optional<AffinityCase> parse_affinity_case(std::string_view text);

/// Every policy of the broker with the same arrivals, for each case and load. Prints a table as
/// soon as a case is measured. Returns early, with less, when interrupted(); failures are thrown as
/// std::exception with a text for the user.
[[nodiscard]] AffinityReport run_affinity(const AffinitySettings& settings);

}  // namespace mserve::bench
