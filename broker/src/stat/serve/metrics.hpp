// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "mserve/shm/monitor.hpp"
#include "stat/counters_call.hpp"

// A broker in the text format 0.0.4 of Prometheus.
namespace mserve::stat {

/// What is shown.
struct MetricsFacts {
  std::string broker;       ///< Its name.
  std::int64_t pid = 0;     ///< 0: none was there yet.
  std::uint64_t looks = 0;  ///< How often somebody asked for metrics, this time included.
  const shm::MonitorSnapshot* snapshot = nullptr;  ///< Null: no broker is there.
  Counters counters{};
};

/// So many sessions of a kind and routes are shown; the most used routes, and of sessions those
/// with the lowest numbers. `mserve_left_out` tells how many more there are.
inline constexpr std::size_t kMetricServantsMax = 256;
inline constexpr std::size_t kMetricClientsMax = 256;
inline constexpr std::size_t kMetricRoutesMax = 100;

/// The whole answer. Without a snapshot `mserve_up` is 0, and nothing is told of a broker.
[[nodiscard]] std::string metrics_text(const MetricsFacts& facts);

/// The value of a label, without the quotes: what is not printable ASCII becomes `?`.
[[nodiscard]] std::string label_text(std::string_view text);

/// The word behind `group=` among a servant's tags; empty: it is in none.
[[nodiscard]] std::string group_of(std::string_view tags);

}  // namespace mserve::stat
