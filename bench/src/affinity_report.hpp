// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "affinity_stage.hpp"
#include "figures.hpp"
#include "machine.hpp"
#include "statistics.hpp"

namespace mserve::bench {

/// One policy at one load, repetition by repetition.
struct AffinityCell {
  std::vector<AffinityResult> repetitions;

  /// Of one figure of AffinityResult, times `scale`.
  [[nodiscard]] Spread spread(double AffinityResult::*figure, double scale) const;
};

/// What is asked for how often, and how much of it a servant keeps warm.
struct AffinityCase {
  std::uint32_t routes = 64;
  std::uint32_t warm_routes = 16;
  double exponent = 0;                             ///< See RoutePicker.
  std::vector<std::vector<AffinityCell>> cells{};  ///< By load, then by policy.

  /// "uniform" or "zipf 1.1".
  [[nodiscard]] std::string distribution() const;
};

/// A whole run of `mserve-bench affinity`.
struct AffinityReport {
  Machine machine;
  std::vector<std::string> policies;  ///< Names, in the order of the cells.
  std::size_t reference = 0;          ///< The policy that the others are compared with.
  std::vector<double> loads;          ///< In percent of capacity().
  std::vector<AffinityCase> cases;
  std::uint32_t servants = 0;
  std::uint32_t clients = 0;
  std::uint64_t warm_ns = 0;
  std::uint64_t cold_ns = 0;
  std::uint64_t seed = 0;
  double seconds = 0;

  /// Requests per second that the servants can do when each one is cold.
  [[nodiscard]] double capacity() const noexcept;
  /// Mean latency over that of the reference, repetition by repetition; zero without figures.
  [[nodiscard]] Spread ratio(const AffinityCase& at, std::size_t load, std::size_t policy) const;
};

/// What stands above the figures.
void print_heading(std::FILE* out, const AffinityReport& report);
/// The table of one case.
void print_case(std::FILE* out, const AffinityReport& report, const AffinityCase& at);
/// Everything as one JSON document.
[[nodiscard]] std::string to_json(const AffinityReport& report);

/// The latencies as sections, one for each case and load, with a row for each policy.
[[nodiscard]] std::vector<Section> sections_of(const AffinityReport& report);

/// Cases that to_svg() has room for.
inline constexpr std::size_t kSvgCasesMax = 4;
/// The first kSvgCasesMax cases as a picture: hit rate, mean and p99 over load, a line per policy.
[[nodiscard]] std::string to_svg(const AffinityReport& report);

}  // namespace mserve::bench
