// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "cores.hpp"
#include "mserve/shm/idle.hpp"
#include "run.hpp"

namespace mserve::bench {

/// Who makes the round trips.
enum class Mode : std::uint8_t {
  pair,       ///< One thread is client and servant, opposite a broker of ours.
  processes,  ///< Client, broker and servant are three processes of ours.
  running,    ///< Client of a broker that runs already, with its own servants.
};

/// What the user asked for, checked.
struct RttSettings {
  Plan plan;  ///< Probed.
  Mode mode = Mode::pair;
  std::size_t payload_bytes = 40;
  std::optional<shm::IdleStrategy> idle;  ///< Nothing: what suits the mode.
  CorePair cores;
  bool pin = false;       ///< Mode processes: client and servant on one core, broker on the other.
  bool watched = false;   ///< Mode pair: a row with mserve-stat looking at the broker.
  std::string etcd_path;  ///< Mode pair: a row of a broker in a cluster; empty: none.
  std::string broker_name;  ///< Mode running.
  std::string directory;    ///< Mode running; empty: the usual rule.
  std::string broker_path;  ///< Modes pair and processes: the executable.
};

/// The floor alone.
void run_floor(Run& run, const Plan& plan, const CorePair& cores, std::size_t payload_bytes);
/// Round trips, one at a time, beside the floor and, in modes processes and running, beside the
/// floor's relay as three processes. Failures are thrown as std::exception with a text for the
/// user.
void run_rtt(Run& run, const RttSettings& settings);

}  // namespace mserve::bench
