// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "cores.hpp"
#include "mserve/shm/idle.hpp"
#include "report.hpp"

namespace mserve::bench {

/// Who makes the round trips.
enum class Mode : std::uint8_t {
  pair,       ///< One thread is client and servant, opposite a broker of ours.
  processes,  ///< Client, broker and servant are three processes of ours.
  running,    ///< Client of a broker that runs already, with its own servants.
};

/// What the user asked for, checked.
struct Settings {
  Mode mode = Mode::pair;
  std::size_t payload_bytes = 40;
  double seconds = 5;  ///< All repetitions together, floor and probes included.
  int repetitions = 5;
  std::optional<shm::IdleStrategy> idle;  ///< Nothing: what suits the mode.
  CorePair cores;
  bool pin = false;  ///< Mode processes: client and servant on one core, broker on the other.
  std::string broker_name;  ///< Mode running.
  std::string directory;    ///< Mode running; empty: the usual rule.
  std::string broker_path;  ///< Modes pair and processes: the executable.
};

/// Measures and prints heading, repetitions and summary to stdout, progress to a terminal on
/// stderr. Both return early, with fewer repetitions, when interrupted(). Failures are thrown as
/// std::exception with a text for the user.
[[nodiscard]] Report run_floor(const Settings& settings);
[[nodiscard]] Report run_rtt(const Settings& settings);

}  // namespace mserve::bench
