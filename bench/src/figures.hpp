// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "machine.hpp"
#include "statistics.hpp"
#include "timer.hpp"

namespace mserve::bench {

/// What the figures of a section are. Of `ns` percentiles are kept; of the others one value for
/// each repetition.
enum class Unit : std::uint8_t { ns, ms, requests, requests_per_s, bytes_per_s, percent };
[[nodiscard]] std::string_view to_string(Unit unit) noexcept;
/// Whether 0 is a figure as any other, and not the sign of one that failed.
[[nodiscard]] bool counts_from_zero(Unit unit) noexcept;
/// A value for people, with its unit: "552 ns", "3.34 us", "10.8 M/s", "12.3 GB/s", "0.4 %", "17".
[[nodiscard]] std::string humane(Unit unit, double value);

/// A ratio with as many digits as are worth reading: "0.013", "1.24", "217".
[[nodiscard]] std::string ratio_text(double ratio);

/// What one repetition showed of one row.
struct Figure {
  Quantiles quantiles;  ///< Of a section in ns.
  double value = 0;     ///< Of any other section.
};

/// One thing that is measured, in every repetition of its section.
struct Row {
  std::string name;               ///< Short, and the only one of this name in its section.
  std::string setting;            ///< What is special about it, in words; may be empty.
  std::vector<Figure> figures{};  ///< By repetition, as many as the section has.

  void add(const Quantiles& quantiles) { figures.push_back({quantiles, 0}); }
  void add(double value) { figures.push_back({{}, value}); }
};

/// The state of the machine during one repetition.
struct Repetition {
  std::optional<LineProbe> line_before;  ///< Nothing: this section does not depend on two cores.
  std::optional<LineProbe> line_after;
  std::uint64_t preemptions = 0;  ///< Of the measuring thread.

  /// Whether its figures may be compared: the line between the cores did not change its speed.
  [[nodiscard]] bool steady() const noexcept;
};

/// A ratio that is worth reading: row over row, repetition by repetition.
struct Comparison {
  std::size_t above = 0;  ///< Index into Section::rows.
  std::size_t below = 0;
  std::string budget{};  ///< What DESIGN asks for, in words; may be empty.
  double most_p50 = 0;   ///< The same as ratios, of a section in ns; 0: none.
  double most_p99 = 0;
};

/// Rows that were measured in turn, under one heading.
struct Section {
  std::string title;
  std::string sample;  ///< What a sample contains, or what is counted; one sentence.
  Unit unit = Unit::ns;
  std::string pinning{};  ///< Who runs where.
  std::string idle{};     ///< Who waits how.
  std::vector<Row> rows{};
  std::vector<Comparison> comparisons{};
  std::vector<Repetition> repetitions{};
  std::vector<std::string> warnings{};

  /// Row by name; throws std::out_of_range when there is none.
  [[nodiscard]] const Row& row(std::string_view name) const;
};

/// The repetitions of a section that may be compared with one another.
struct Kept {
  std::vector<std::size_t> repetitions;  ///< Indices.
  std::optional<Placement> placement;    ///< Nothing: none was steady, or none was probed.
  bool probed = false;                   ///< Whether there are line probes at all.
};
/// The steady repetitions of the placement that most of them had; all, when none was steady.
[[nodiscard]] Kept kept_of(const Section& section);

/// Whether that repetition of the row has a figure: what fails leaves none, and counts nowhere.
[[nodiscard]] bool measured(const Section& section, const Row& row, std::size_t repetition);

/// Over the kept repetitions: of kPercentiles[index], or of the value where the unit has no
/// percentiles.
[[nodiscard]] Spread spread_of(const Section& section, const Row& row, const Kept& kept,
                               std::size_t index);
/// As spread_of(), of the point kCurvePercents[index] of the curve.
[[nodiscard]] Spread curve_of(const Row& row, const Kept& kept, std::size_t index);
/// Row over row, by repetition; a repetition whose lower figure is 0 is left out.
[[nodiscard]] Spread ratio_of(const Section& section, const Comparison& comparison,
                              const Kept& kept, std::size_t index);
/// The section's own warnings and those that only its repetitions can tell.
[[nodiscard]] std::vector<std::string> warnings_of(const Section& section);

/// A picture that a subcommand drew itself; `svg` is a whole document.
struct Picture {
  std::string title;
  std::string svg;
};

/// A whole run.
struct Document {
  std::string command;  ///< As it was typed.
  Machine machine;
  TimerCost timer;
  double timer_ticks_per_us = 0;
  bool timer_from_tsc = false;
  double seconds = 0;  ///< What was asked for.
  std::vector<std::string> warnings{};
  std::vector<Section> sections{};
  std::vector<Picture> pictures{};
};

/// Machine, build, timer, warnings.
void print_heading(std::FILE* out, const Document& document);
/// What stands above the figures of a section.
void print_heading(std::FILE* out, const Section& section);
/// One repetition of it, counted from 0.
void print_repetition(std::FILE* out, const Section& section, std::size_t repetition);
/// Medians, spreads, ratios and warnings.
void print_summary(std::FILE* out, const Section& section);

/// Everything as one JSON document: "format" 2, see bench/README.md.
[[nodiscard]] std::string to_json(const Document& document);
/// Everything as one page that needs no other file.
[[nodiscard]] std::string to_html(const Document& document);
/// A picture for each section, one below the other.
[[nodiscard]] std::string to_svg(const Document& document);

}  // namespace mserve::bench
