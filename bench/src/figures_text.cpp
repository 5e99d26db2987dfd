// SPDX-License-Identifier: Apache-2.0
// Figures as tables for a terminal.
#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "figures.hpp"

namespace mserve::bench {
namespace {

constexpr std::size_t kNameWidthMin = 9;

void line(std::FILE* out, std::string_view label, const std::string& text) {
  if (!text.empty()) {
    fmt::print(out, "{:<11}{}\n", label, text);
  }
}

std::string known(const std::string& text, const char* otherwise) {
  return text.empty() ? otherwise : text;
}

std::string describe(const Machine& m) {
  return fmt::format("{}, {} cores online, {} usable, {}; {}, clocksource {}, governor {}",
                     known(m.processor, "unknown processor"), m.cores_online, m.cores.size(),
                     m.virtualisation.empty() ? "no hypervisor seen"
                                              : "virtual machine (" + m.virtualisation + ")",
                     known(m.kernel, "unknown kernel"), known(m.clocksource, "not visible"),
                     known(m.governor, "not visible"));
}

std::size_t name_width(const Section& section) {
  std::size_t width = kNameWidthMin;
  for (const Row& row : section.rows) {
    width = std::max(width, row.name.size() + 1);
  }
  return width;
}

bool in_ns(const Section& section) {
  return section.unit == Unit::ns;
}

/// The heads of the columns of figures.
std::string column_names(const Section& section) {
  if (!in_ns(section)) {
    return fmt::format("{:>12}", to_string(section.unit));
  }
  std::string text;
  for (const PercentileName& percentile : kPercentiles) {
    text += fmt::format("{:>12}", percentile.name);
  }
  return text;
}

std::string figures_of(const Section& section, const Row& row, std::size_t repetition) {
  const Figure& figure = row.figures.at(repetition);
  if (!measured(section, row, repetition)) {
    return fmt::format("{:>12}", "failed");
  }
  if (!in_ns(section)) {
    return fmt::format("{:>12}", humane(section.unit, figure.value));
  }
  std::string text;
  for (const std::uint64_t ns : figure.quantiles.ns) {
    text += fmt::format("{:>12}", ns);
  }
  return text;
}

std::string describe(const Repetition& r) {
  std::string text;
  if ((r.line_before && !r.line_before->measured()) ||
      (r.line_after && !r.line_after->measured())) {
    text = "line not measured, the cores were too busy; ";
  } else if (r.line_before && r.line_after) {
    const std::string_view before = to_string(placement_of(*r.line_before));
    text =
        fmt::format("line {} ({:.0f}) before, {} ({:.0f}) after: {}; ", r.line_before->timed_p50_ns,
                    r.line_before->untimed_ns, r.line_after->timed_p50_ns, r.line_after->untimed_ns,
                    r.steady() ? before : std::string_view("CHANGED"));
  }
  return text + fmt::format("preempted {} times", r.preemptions);
}

/// Median, lowest and highest of one row.
void print_medians(std::FILE* out, const Section& section, const Row& row, const Kept& kept) {
  const std::size_t width = name_width(section);
  if (!in_ns(section)) {
    const Spread s = spread_of(section, row, kept, 0);
    if (std::none_of(kept.repetitions.begin(), kept.repetitions.end(),
                     [&](std::size_t r) { return measured(section, row, r); })) {
      fmt::print(out, "{:<{}}{:>14}\n", row.name, width, "failed");
      return;
    }
    fmt::print(out, "{:<{}}{:>14}   ({} to {})\n", row.name, width, humane(section.unit, s.median),
               humane(section.unit, s.low), humane(section.unit, s.high));
    return;
  }
  std::string median = fmt::format("{:<{}}{:<8}", row.name, width, "median");
  std::string low = fmt::format("{:<{}}{:<8}", "", width, "lowest");
  std::string high = fmt::format("{:<{}}{:<8}", "", width, "highest");
  for (std::size_t i = 0; i < kPercentiles.size(); ++i) {
    const Spread s = spread_of(section, row, kept, i);
    median += fmt::format("{:>12.0f}", s.median);
    low += fmt::format("{:>12.0f}", s.low);
    high += fmt::format("{:>12.0f}", s.high);
  }
  fmt::print(out, "{}\n{}\n{}\n", median, low, high);
}

void print_ratio(std::FILE* out, const Section& section, const Comparison& c, const Kept& kept) {
  const auto one = [&](std::size_t index, const std::string& at, double most) {
    const Spread s = ratio_of(section, c, kept, index);
    const std::string verdict =
        most > 0 && s.median > 0
            ? fmt::format("  {} the budget of {}", s.median > most ? "over" : "within", most)
            : "";
    fmt::print(out, "{} / {}{}  {}  ({} to {}){}\n", section.rows.at(c.above).name,
               section.rows.at(c.below).name, at, ratio_text(s.median), ratio_text(s.low),
               ratio_text(s.high), verdict);
  };
  if (!in_ns(section)) {
    one(0, "", 0);
  } else {
    one(kP50, fmt::format(" at {}", kPercentiles[kP50].name), c.most_p50);
    one(kP99, fmt::format(" at {}", kPercentiles[kP99].name), c.most_p99);
  }
  line(out, "  budget", c.most_p50 > 0 ? "" : c.budget);
}

}  // namespace

void print_heading(std::FILE* out, const Document& d) {
  line(out, "machine", describe(d.machine));
  line(out, "build",
       fmt::format("{}, {}, flags \"{}\", commit {}", known(d.machine.build_type, "no build type"),
                   d.machine.compiler, d.machine.build_flags, known(d.machine.commit, "unknown")));
  line(out, "load", fmt::format("{} before the run", known(d.machine.load, "unknown")));
  line(out, "timer",
       fmt::format("{}, {} ns at p50, {} ns at p99, contained once in each sample",
                   d.timer_from_tsc ? fmt::format("rdtscp at {:.1f} MHz", d.timer_ticks_per_us)
                                    : "clock_gettime",
                   d.timer.p50_ns, d.timer.p99_ns));
  for (const std::string& warning : d.warnings) {
    line(out, "warning", warning);
  }
  (void)std::fflush(out);
}

void print_heading(std::FILE* out, const Section& s) {
  fmt::print(out, "\n{}\n", s.title);
  line(out, in_ns(s) ? "a sample" : "counted", s.sample);
  line(out, "pinning", s.pinning);
  line(out, "idle", s.idle);
  for (const Row& row : s.rows) {
    if (!row.setting.empty()) {
      fmt::print(out, "{:<11}{}: {}\n", "row", row.name, row.setting);
    }
  }
  fmt::print(out, "\n{:>3}  {:<{}}{}{}\n", "rep", "what", name_width(s),
             in_ns(s) ? fmt::format("{:>11}", "samples") : "", column_names(s));
  (void)std::fflush(out);
}

void print_repetition(std::FILE* out, const Section& section, std::size_t repetition) {
  std::string number = std::to_string(repetition + 1);
  std::string note = describe(section.repetitions.at(repetition));
  for (const Row& row : section.rows) {
    const std::string samples =
        in_ns(section) ? fmt::format("{:>11}", row.figures.at(repetition).quantiles.count) : "";
    fmt::print(out, "{:>3}  {:<{}}{}{}  {}\n", number, row.name, name_width(section), samples,
               figures_of(section, row, repetition), note);
    number.clear();
    note.clear();
  }
  (void)std::fflush(out);
}

void print_summary(std::FILE* out, const Section& section) {
  if (section.repetitions.empty()) {
    return;
  }
  const Kept kept = kept_of(section);
  const std::string which = kept.placement
                                ? fmt::format(" (steady, placement {})", to_string(*kept.placement))
                            : kept.probed ? " (none was steady, so all)"
                                          : "";
  fmt::print(out, "\nOver {} of {} repetitions{}, {}:\n", kept.repetitions.size(),
             section.repetitions.size(), which,
             in_ns(section) ? "in ns" : "median with lowest and highest");
  if (in_ns(section)) {
    fmt::print(out, "{:{}}{}\n", "", name_width(section) + 8, column_names(section));
  }
  for (const Row& row : section.rows) {
    print_medians(out, section, row, kept);
  }
  for (const Comparison& comparison : section.comparisons) {
    print_ratio(out, section, comparison, kept);
  }
  for (const std::string& warning : warnings_of(section)) {
    line(out, "warning", warning);
  }
  (void)std::fflush(out);
}

}  // namespace mserve::bench
