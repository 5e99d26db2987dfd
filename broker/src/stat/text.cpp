// SPDX-License-Identifier: Apache-2.0
#include "stat/text.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <ctime>

namespace mserve::stat {

namespace {

/// Three digits, as wide as they must be.
std::string digits(double value) {
  constexpr double kTen = 9.995;
  constexpr double kHundred = 99.95;
  std::array<char, 32> text{};
  const int decimals = value < kTen ? 2 : value < kHundred ? 1 : 0;
  (void)std::snprintf(text.data(), text.size(), "%.*f", decimals, value);
  return text.data();
}

struct Unit {
  double size;
  const char* name;
};

template <std::size_t N>
std::string in_units(double value, const std::array<Unit, N>& units) {
  const Unit* unit = &units.front();
  for (const Unit& one : units) {
    if (value >= one.size * 0.9995) {
      unit = &one;
    }
  }
  return digits(value / unit->size) + unit->name;
}

constexpr std::array kShown{50.0, 90.0, 99.0, 99.9};

std::string latency_line(const std::string& name, const shm::MonitorHistogram& histogram) {
  std::string line = left(name, kLatencyNameWidth);
  line += right(count_text(static_cast<double>(histogram.count())), kLatencyCellWidth);
  if (histogram.count() == 0) {
    return line;
  }
  line += right(time_text(histogram.mean_ns()), kLatencyCellWidth);
  for (const double percent : kShown) {
    line += right(time_text(histogram.percentile_ns(percent)), kLatencyCellWidth);
  }
  return line + right(time_text(static_cast<double>(histogram.max_ns())), kLatencyCellWidth);
}

}  // namespace

std::string time_text(double ns) {
  constexpr std::array<Unit, 5> kUnits{
      {{1, " ns"}, {1e3, " us"}, {1e6, " ms"}, {1e9, " s"}, {3.6e12, " h"}}};
  if (ns < 1e3) {
    return std::to_string(std::llround(ns)) + " ns";
  }
  return in_units(ns, kUnits);
}

std::string count_text(double count) {
  constexpr std::array<Unit, 5> kUnits{{{1, ""}, {1e3, "k"}, {1e6, "M"}, {1e9, "G"}, {1e12, "T"}}};
  return count < 1e3 ? std::to_string(std::llround(count)) : in_units(count, kUnits);
}

std::string bytes_text(double bytes) {
  constexpr double kKibi = 1024;
  constexpr std::array<Unit, 4> kUnits{
      {{1, ""}, {kKibi, "K"}, {kKibi * kKibi, "M"}, {kKibi * kKibi * kKibi, "G"}}};
  return bytes < kKibi ? std::to_string(std::llround(bytes)) : in_units(bytes, kUnits);
}

std::string share_text(double part, double whole) {
  constexpr double kPercent = 100;
  return whole > 0 ? digits(std::min(part / whole, 1.0) * kPercent) + "%" : "-";
}

std::string date_text(std::int64_t ns) {
  constexpr std::int64_t kNsPerSecond = 1'000'000'000;
  const std::time_t seconds = ns / kNsPerSecond;
  std::tm parts{};
  std::array<char, 32> text{};
  if (gmtime_r(&seconds, &parts) == nullptr ||
      std::strftime(text.data(), text.size(), "%Y-%m-%d %H:%M:%S", &parts) == 0) {
    return "-";
  }
  return text.data();
}

std::string right(const std::string& text, std::size_t width) {
  return text.size() < width ? std::string(width - text.size(), ' ') + text : text;
}

std::string left(const std::string& text, std::size_t width) {
  return text.size() < width ? text + std::string(width - text.size(), ' ') : text.substr(0, width);
}

std::vector<std::string> latency_lines(const shm::MonitorLatency& latency,
                                       const shm::MonitorBrokerTimes* broker) {
  std::string title = left("", kLatencyNameWidth);
  for (const char* const name : {"count", "mean", "p50", "p90", "p99", "p99.9", "max<="}) {
    title += right(name, kLatencyCellWidth);
  }
  std::vector<std::string> lines{title, latency_line("queue", latency.queue),
                                 latency_line("execution", latency.execution),
                                 latency_line("round trip", latency.whole)};
  if (broker != nullptr) {
    lines.push_back(latency_line("broker in", broker->in));
    lines.push_back(latency_line("broker out", broker->out));
  }
  return lines;
}

std::vector<std::string> plot_lines(const shm::MonitorHistogram& histogram, std::size_t width,
                                    std::size_t lines_max) {
  std::uint32_t first = 0;
  std::uint32_t last = shm::kMonitorBuckets;
  while (first < last && histogram.counts[first] == 0) {
    ++first;
  }
  while (last > first && histogram.counts[last - 1] == 0) {
    --last;
  }
  if (first == last) {
    return {"nothing yet"};
  }
  // Steps of one or more powers of two, which are four buckets each.
  first -= first % 4;
  std::uint32_t step = 4;
  while ((last - first + step - 1) / step > std::max<std::size_t>(lines_max, 1)) {
    step += 4;
  }
  std::vector<std::uint64_t> sums;
  for (std::uint32_t i = first; i < last; ++i) {
    if ((i - first) % step == 0) {
      sums.push_back(0);
    }
    sums.back() += histogram.counts[i];
  }
  constexpr std::size_t kTextWidth = 10 + 1 + 8;
  const std::size_t bar_max = width > kTextWidth + 4 ? width - kTextWidth - 1 : 4;
  const std::uint64_t most = *std::max_element(sums.begin(), sums.end());
  std::vector<std::string> lines;
  constexpr std::ptrdiff_t kGap = 3;  // so many empty ones are one line
  for (std::size_t i = 0; i < sums.size(); ++i) {
    const auto from_here = sums.begin() + static_cast<std::ptrdiff_t>(i);
    const auto used =
        std::find_if(from_here, sums.end(), [](std::uint64_t count) { return count != 0; });
    if (used - from_here >= kGap) {
      lines.push_back(right("..", 9));
      i += static_cast<std::size_t>(used - from_here) - 1;
      continue;
    }
    const std::uint64_t from =
        shm::monitor_bucket_begin(first + static_cast<std::uint32_t>(i) * step);
    const double share = static_cast<double>(sums[i]) / static_cast<double>(most);
    auto bar = static_cast<std::size_t>(share * static_cast<double>(bar_max));
    bar = std::max<std::size_t>(bar, sums[i] != 0 ? 1 : 0);
    lines.push_back(
        right(time_text(static_cast<double>(from)), 9) + "+ " +
        right(share_text(static_cast<double>(sums[i]), static_cast<double>(histogram.count())), 6) +
        " " + std::string(bar, '#'));
  }
  return lines;
}

}  // namespace mserve::stat
