// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "mserve/shm/monitor.hpp"

namespace mserve::stat {

/// "812 ns", "3.42 us", "12.1 ms", "1.20 s", "3.5 h"; at most 7 characters.
[[nodiscard]] std::string time_text(double ns);
/// "812", "3.42k", "12.1M"; at most 5 characters.
[[nodiscard]] std::string count_text(double count);
/// "512", "64.0K", "1.0M": bytes; at most 6 characters.
[[nodiscard]] std::string bytes_text(double bytes);
/// "12.3%".
[[nodiscard]] std::string share_text(double part, double whole);
/// "1970-01-01 00:00:00", UTC. @param ns  since 1970.
[[nodiscard]] std::string date_text(std::int64_t ns);

/// What stands in a cell on the right or on the left.
[[nodiscard]] std::string right(const std::string& text, std::size_t width);
[[nodiscard]] std::string left(const std::string& text, std::size_t width);

/// How wide the first column of latency_lines() is, and each of the others.
inline constexpr std::size_t kLatencyNameWidth = 11;
inline constexpr std::size_t kLatencyCellWidth = 9;
/// The rows of a latency table, with a head line: count, mean, p50 to p99.9, and the upper end of
/// the bucket of the longest, which may be more than it took.
[[nodiscard]] std::vector<std::string> latency_lines(const shm::MonitorLatency& latency,
                                                     const shm::MonitorBrokerTimes* broker);
/// A bar for each power of two between the shortest and the longest.
/// @param lines_max  fewer, wider steps if there would be more.
[[nodiscard]] std::vector<std::string> plot_lines(const shm::MonitorHistogram& histogram,
                                                  std::size_t width, std::size_t lines_max);

}  // namespace mserve::stat
