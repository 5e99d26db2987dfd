// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "drawing.hpp"
#include "figures.hpp"

namespace mserve::bench {

/// Width of every drawing of a section.
inline constexpr double kSectionWidth = 960;
/// Above what is plotted, and below it, for the axis.
inline constexpr double kChartTop = 12;
inline constexpr double kChartBottom = 52;

/// humane(), with the letters that a drawing can show and a terminal may not.
[[nodiscard]] std::string drawn(Unit unit, double value);

/// Latency over percentile (1 / (1 - p), logarithmic) of each row, with bands from the lowest to
/// the highest repetition. Only of a section in ns with at least one repetition.
[[nodiscard]] Drawing curves_of(const Section& section, double width, double height);

/// A bar for each row: p50 and p99, or the value, with strokes from the lowest to the highest
/// repetition, and the ratios below. Names carry the curves' colours and markers.
[[nodiscard]] Drawing bars_of(const Section& section, double width);

/// Both beside each other, below the section's title unless that stands there already.
[[nodiscard]] Drawing drawing_of(const Section& section, bool titled = true);

}  // namespace mserve::bench
