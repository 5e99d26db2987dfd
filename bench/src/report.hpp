// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdio>
#include <optional>
#include <string>
#include <vector>

#include "machine.hpp"
#include "statistics.hpp"
#include "timer.hpp"

namespace mserve::bench {

/// One repetition: probe, floor, relay, round trips, floor, probe.
struct Repetition {
  LineProbe line_before;
  LineProbe line_after;
  Quantiles floor;  ///< Both halves together.
  Quantiles floor_before;
  Quantiles floor_after;
  std::optional<Quantiles> relay;  ///< The floor's relay as three processes, where rtt is that.
  std::optional<Quantiles> rtt;    ///< Not in a run that measures only the floor.
  std::uint64_t preemptions = 0;   ///< Of the measuring thread, during round trips or floor.

  [[nodiscard]] bool steady() const noexcept { return is_steady(line_before, line_after); }
  /// Round trip over floor at kPercentiles[index]; 0 without either.
  [[nodiscard]] double ratio(std::size_t index) const noexcept;
  /// Round trip over relay at kPercentiles[index]; 0 without either.
  [[nodiscard]] double relay_ratio(std::size_t index) const noexcept;
};

/// A whole run, ready to be printed.
struct Report {
  std::string command;  ///< "floor" or "rtt".
  std::string mode;     ///< What was measured, in a word: "pair", "processes", "running broker".
  std::string path;     ///< One sentence: what a sample contains.
  std::string pinning;
  std::string idle;  ///< Who waits how.
  std::size_t payload_bytes = 0;
  double seconds = 0;
  Machine machine;
  TimerCost timer;
  double timer_ticks_per_us = 0;
  bool timer_from_tsc = false;
  std::vector<std::string> warnings;
  std::vector<Repetition> repetitions;
};

/// The repetitions that may be compared with one another.
struct Comparable {
  std::vector<Repetition> repetitions;
  std::optional<Placement> placement;  ///< Nothing: no repetition was steady, so all are shown.
};

/// The steady repetitions of the placement that most of them had.
[[nodiscard]] Comparable comparable(const std::vector<Repetition>& repetitions);

/// Warnings that only the figures can tell: changed placements, disturbed floors.
[[nodiscard]] std::vector<std::string> judge(const Report& report);

/// What stands above the figures.
void print_heading(std::FILE* out, const Report& report);
/// One repetition, numbered from 1.
void print_repetition(std::FILE* out, std::size_t number, const Repetition& repetition);
/// Medians, spreads, ratios and all warnings.
void print_summary(std::FILE* out, const Report& report);

/// Everything as one JSON document.
[[nodiscard]] std::string to_json(const Report& report);

}  // namespace mserve::bench
