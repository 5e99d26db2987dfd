// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include "run.hpp"

namespace mserve::bench {

/// What `mserve-bench restarts` was asked for, checked.
struct RestartsSettings {
  std::uint32_t servants = 82;              ///< Launched, killed and restarted.
  std::uint64_t within_ns = 2'000'000'000;  ///< From the first kill to the last.
  std::size_t payload_bytes = 40;
  CorePair cores;
  std::string broker_path;
  std::string servant_path;
};

/// Round trips while a broker's launched servants are killed one after the other and started again
/// by its launcher, then for as long while nothing happens. What disturbs the data thread is its
/// longest sample.
void run_restarts(Run& run, const Plan& plan, const RestartsSettings& settings);

}  // namespace mserve::bench
