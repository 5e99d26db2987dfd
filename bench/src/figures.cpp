// SPDX-License-Identifier: Apache-2.0
#include "figures.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <stdexcept>

namespace mserve::bench {
namespace {

struct Prefix {
  double factor;
  const char* suffix;
};
constexpr std::array<Prefix, 4> kTimes = {{{1, "ns"}, {1e3, "us"}, {1e6, "ms"}, {1e9, "s"}}};
constexpr std::array<Prefix, 4> kRates = {{{1, "/s"}, {1e3, "k/s"}, {1e6, "M/s"}, {1e9, "G/s"}}};
constexpr std::array<Prefix, 4> kBytes = {
    {{1, "B/s"}, {1e3, "kB/s"}, {1e6, "MB/s"}, {1e9, "GB/s"}}};

/// Three figures, as in 552, 3.34, 10.8.
std::string three_figures(double value, const char* suffix) {
  const int digits = value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
  const bool whole = std::abs(value - std::round(value)) < 1e-9;
  return fmt::format("{:.{}f} {}", value, whole ? 0 : digits, suffix);
}

std::string with_prefix(double value, const std::array<Prefix, 4>& prefixes) {
  const Prefix* best = &prefixes.front();
  for (const Prefix& prefix : prefixes) {
    best = std::abs(value) >= 0.9995 * prefix.factor ? &prefix : best;
  }
  return three_figures(value / best->factor, best->suffix);
}

double figure(const Section& section, const Row& row, std::size_t repetition, std::size_t index) {
  const Figure& f = row.figures.at(repetition);
  return section.unit == Unit::ns ? static_cast<double>(f.quantiles.ns.at(index)) : f.value;
}

Placement placement(const Repetition& r) noexcept {
  return placement_of(*r.line_before);
}

}  // namespace

std::string_view to_string(Unit unit) noexcept {
  switch (unit) {
    case Unit::ns:
      return "ns";
    case Unit::ms:
      return "ms";
    case Unit::requests:
      return "requests";
    case Unit::requests_per_s:
      return "requests/s";
    case Unit::bytes_per_s:
      return "bytes/s";
    case Unit::percent:
      break;
  }
  return "percent";
}

bool counts_from_zero(Unit unit) noexcept {
  return unit == Unit::ms || unit == Unit::requests || unit == Unit::percent;
}

std::string humane(Unit unit, double value) {
  constexpr double kNsPerMs = 1e6;
  switch (unit) {
    case Unit::ns:
      return with_prefix(value, kTimes);
    case Unit::ms:
      return value == 0 ? "0 ms" : with_prefix(value * kNsPerMs, kTimes);
    case Unit::requests:
      return fmt::format("{:g}", value);
    case Unit::requests_per_s:
      return with_prefix(value, kRates);
    case Unit::bytes_per_s:
      return with_prefix(value, kBytes);
    case Unit::percent:
      break;
  }
  return three_figures(value, "%");
}

std::string ratio_text(double ratio) {
  constexpr double kSmall = 0.1;
  constexpr double kLarge = 100;
  return ratio >= kLarge               ? fmt::format("{:.0f}", ratio)
         : ratio < kSmall && ratio > 0 ? fmt::format("{:.2g}", ratio)
                                       : fmt::format("{:.2f}", ratio);
}

bool Repetition::steady() const noexcept {
  return !line_before || !line_after || is_steady(*line_before, *line_after);
}

const Row& Section::row(std::string_view name) const {
  const auto found =
      std::find_if(rows.begin(), rows.end(), [name](const Row& r) { return r.name == name; });
  if (found == rows.end()) {
    throw std::out_of_range("no row '" + std::string(name) + "'");
  }
  return *found;
}

Kept kept_of(const Section& section) {
  Kept near;
  Kept far;
  Kept all;
  for (std::size_t i = 0; i < section.repetitions.size(); ++i) {
    const Repetition& r = section.repetitions[i];
    all.repetitions.push_back(i);
    if (!r.line_before || !r.line_after) {
      continue;
    }
    all.probed = true;
    if (r.steady()) {
      (placement(r) == Placement::near ? near : far).repetitions.push_back(i);
    }
  }
  if (near.repetitions.empty() && far.repetitions.empty()) {
    return all;
  }
  const bool mostly_near = near.repetitions.size() >= far.repetitions.size();
  Kept kept = mostly_near ? near : far;
  kept.placement = mostly_near ? Placement::near : Placement::far;
  kept.probed = true;
  return kept;
}

bool measured(const Section& section, const Row& row, std::size_t repetition) {
  const Figure& f = row.figures.at(repetition);
  return section.unit == Unit::ns ? f.quantiles.count > 0
                                  : counts_from_zero(section.unit) || f.value > 0;
}

Spread spread_of(const Section& section, const Row& row, const Kept& kept, std::size_t index) {
  std::vector<double> values;
  for (const std::size_t r : kept.repetitions) {
    if (measured(section, row, r)) {
      values.push_back(figure(section, row, r, index));
    }
  }
  return spread_of(std::move(values));
}

Spread curve_of(const Row& row, const Kept& kept, std::size_t index) {
  std::vector<double> values;
  for (const std::size_t r : kept.repetitions) {
    if (row.figures.at(r).quantiles.count > 0) {
      values.push_back(static_cast<double>(row.figures.at(r).quantiles.curve_ns.at(index)));
    }
  }
  return spread_of(std::move(values));
}

Spread ratio_of(const Section& section, const Comparison& comparison, const Kept& kept,
                std::size_t index) {
  std::vector<double> values;
  for (const std::size_t r : kept.repetitions) {
    const double below = figure(section, section.rows.at(comparison.below), r, index);
    if (below > 0 && measured(section, section.rows.at(comparison.above), r)) {
      values.push_back(figure(section, section.rows.at(comparison.above), r, index) / below);
    }
  }
  return spread_of(std::move(values));
}

std::vector<std::string> warnings_of(const Section& section) {
  std::vector<std::string> warnings = section.warnings;
  const auto count = [&section](auto condition) {
    return std::count_if(section.repetitions.begin(), section.repetitions.end(), condition);
  };
  if (const auto n = count([](const Repetition& r) { return !r.steady(); }); n > 0) {
    warnings.push_back(fmt::format(
        "the line between the two cores changed its speed during {} of {} repetitions: their "
        "figures say nothing",
        n, section.repetitions.size()));
  }
  const Kept kept = kept_of(section);
  if (!kept.placement) {
    return warnings;
  }
  const auto other = count([&kept](const Repetition& r) {
    return r.line_before && r.line_after && r.steady() && placement(r) != *kept.placement;
  });
  if (other > 0) {
    warnings.push_back(
        fmt::format("{} repetitions met the other placement and are left out", other));
  }
  return warnings;
}

}  // namespace mserve::bench
