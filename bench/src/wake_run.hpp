// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include "mserve/shm/idle.hpp"
#include "run.hpp"

namespace mserve::bench {

/// What `mserve-bench wake` was asked for, checked.
struct WakeSettings {
  std::size_t payload_bytes = 40;
  std::uint64_t pause_ns = 2'000'000;  ///< Before each request, so that everybody sleeps.
  double watch_seconds = 1;            ///< How long the idle system is watched, each repetition.
  shm::IdleStrategy idle = shm::IdleStrategy::automatic;
  std::string broker_path;
};

/// Round trips of a system that sleeps, beside wake-ups of futexes alone; then what the system uses
/// while nothing is asked of it.
void run_wake(Run& run, const Plan& plan, const WakeSettings& settings);

}  // namespace mserve::bench
