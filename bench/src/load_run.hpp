// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "load.hpp"
#include "run.hpp"

namespace mserve::bench {

/// Requests per second with a window of requests under way, in pair mode beside the floor's relay
/// with the same window.
void run_throughput(Run& run, const Plan& plan, const LoadSettings& settings);

/// What `mserve-bench open-loop` was asked for, checked.
struct OpenLoopSettings {
  LoadSettings load;
  std::vector<double> percents = {10, 50, 80, 90};  ///< Of the saturation measured first.
  std::vector<double> rates{};  ///< Requests per second; instead of percents, unless empty.
  bool poisson = true;          ///< Else evenly spaced.
  std::uint64_t seed = 1;
};
/// Latencies from the time that a request was to be sent, for each rate.
void run_open_loop(Run& run, const Plan& plan, const OpenLoopSettings& settings);

}  // namespace mserve::bench
