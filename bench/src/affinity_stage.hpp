// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "affinity_load.hpp"
#include "statistics.hpp"

namespace mserve::bench {

/// Servants that have to load what they do not have at hand, and who asks them.
struct AffinityStage {
  std::string broker_path;
  std::vector<std::string> broker_options;  ///< Policy and what belongs to it.
  std::uint32_t servants = 4;
  std::uint32_t clients = 4;
  std::uint32_t warm_routes = 1;     ///< Routes that each servant keeps warm.
  std::uint64_t warm_ns = 50'000;    ///< A request of a warm route takes this long,
  std::uint64_t cold_ns = 1000'000;  ///< and any other one this long.
};

/// What one run of a sequence of arrivals showed.
struct AffinityResult {
  std::uint64_t requests = 0;
  double hit_share = 0;   ///< Requests that met a warm route, as the servants saw it.
  double busy_share = 0;  ///< Of the servants' time.
  double mean_ns = 0;     ///< Latencies, from when a request was to be sent.
  double p50_ns = 0;
  double p99_ns = 0;
  Quantiles quantiles{};  ///< The same, all percentiles.
};

/// Starts a broker and servants with nothing warm, sends `arrivals` at their times whether or not
/// earlier ones were answered, waits for all answers, and stops everything. Requests to be sent
/// before `warm_up_ns` are not counted. Throws std::exception with a text for the user; returns
/// early, with less, when interrupted().
[[nodiscard]] AffinityResult run_affinity(const AffinityStage& stage,
                                          const std::vector<Arrival>& arrivals,
                                          std::uint64_t warm_up_ns);

}  // namespace mserve::bench
