// SPDX-License-Identifier: Apache-2.0
#include "report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

namespace mserve::bench {
namespace {

/// Floors of one repetition that differ by more than this were disturbed, whatever the probe says.
constexpr double kFloorRatioMax = 1.3;

void line(std::FILE* out, std::string_view label, const std::string& text) {
  fmt::print(out, "{:<11}{}\n", label, text);
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

void print_row(std::FILE* out, std::string_view number, std::string_view what, const Quantiles& q,
               const std::string& note) {
  fmt::print(out, "{:>3}  {:<6}{:>11}", number, what, q.count);
  for (const std::uint64_t ns : q.ns) {
    fmt::print(out, "{:>10}", ns);
  }
  fmt::print(out, "  {}\n", note);
}

/// One row of the table of medians, for what `pick` finds in a repetition.
template <class Pick>
void print_medians(std::FILE* out, const char* what, const std::vector<Repetition>& repetitions,
                   Pick pick) {
  std::string median = fmt::format("{:<8}{:<8}", what, "median");
  std::string low = fmt::format("{:<8}{:<8}", "", "lowest");
  std::string high = fmt::format("{:<8}{:<8}", "", "highest");
  for (std::size_t i = 0; i < kPercentiles.size(); ++i) {
    std::vector<double> values;
    values.reserve(repetitions.size());
    for (const Repetition& r : repetitions) {
      values.push_back(static_cast<double>(pick(r).ns[i]));
    }
    const Spread spread = spread_of(values);
    median += fmt::format("{:>10.0f}", spread.median);
    low += fmt::format("{:>10.0f}", spread.low);
    high += fmt::format("{:>10.0f}", spread.high);
  }
  fmt::print(out, "{}\n{}\n{}\n", median, low, high);
}

using Ratio = double (Repetition::*)(std::size_t) const noexcept;

void print_ratio(std::FILE* out, const char* what, const std::vector<Repetition>& repetitions,
                 Ratio ratio) {
  for (const std::size_t index : {kP50, kP99}) {
    std::vector<double> ratios;
    ratios.reserve(repetitions.size());
    for (const Repetition& r : repetitions) {
      ratios.push_back((r.*ratio)(index));
    }
    const Spread spread = spread_of(ratios);
    fmt::print(out, "round trip / {:<5} at {}  {:.2f}  ({:.2f} to {:.2f})\n", what,
               kPercentiles[index].name, spread.median, spread.low, spread.high);
  }
}

double over(const std::optional<Quantiles>& above, const Quantiles& below, std::size_t index) {
  return above && below.ns[index] != 0
             ? static_cast<double>(above->ns[index]) / static_cast<double>(below.ns[index])
             : 0;
}

}  // namespace

double Repetition::ratio(std::size_t index) const noexcept {
  return over(rtt, floor, index);
}

double Repetition::relay_ratio(std::size_t index) const noexcept {
  return relay ? over(rtt, *relay, index) : 0;
}

Comparable comparable(const std::vector<Repetition>& repetitions) {
  std::vector<Repetition> near;
  std::vector<Repetition> far;
  for (const Repetition& r : repetitions) {
    if (r.steady()) {
      (placement_of(r.line_before) == Placement::near ? near : far).push_back(r);
    }
  }
  if (near.empty() && far.empty()) {
    return {repetitions, std::nullopt};
  }
  const bool mostly_near = near.size() >= far.size();
  return mostly_near ? Comparable{near, Placement::near} : Comparable{far, Placement::far};
}

std::vector<std::string> judge(const Report& report) {
  std::vector<std::string> warnings;
  const auto count = [&report](auto condition) {
    return std::count_if(report.repetitions.begin(), report.repetitions.end(), condition);
  };
  if (const auto n = count([](const Repetition& r) { return !r.steady(); }); n > 0) {
    warnings.push_back(fmt::format(
        "the line between the two cores changed its speed during {} of {} repetitions: their "
        "figures say nothing",
        n, report.repetitions.size()));
  }
  const auto disturbed = [](const Repetition& r) {
    const auto [low, high] = std::minmax(r.floor_before.ns[kP50], r.floor_after.ns[kP50]);
    return static_cast<double>(high) > kFloorRatioMax * static_cast<double>(low);
  };
  if (const auto n = count(disturbed); n > 0) {
    warnings.push_back(fmt::format(
        "the floor before and after differs by more than {:.0f} % in {} of {} repetitions: do not "
        "trust their ratios",
        (kFloorRatioMax - 1) * 100, n, report.repetitions.size()));
  }
  const Comparable kept = comparable(report.repetitions);
  const auto other = count([&kept](const Repetition& r) {
    return r.steady() && placement_of(r.line_before) != kept.placement;
  });
  if (other > 0) {
    warnings.push_back(
        fmt::format("{} repetitions met the other placement and are left out", other));
  }
  return warnings;
}

void print_heading(std::FILE* out, const Report& r) {
  line(out, "measures",
       fmt::format("{} ({}), {} B of payload", r.command, r.mode, r.payload_bytes));
  line(out, "a sample", r.path);
  line(out, "machine", describe(r.machine));
  line(out, "pinning", r.pinning);
  line(out, "idle", r.idle);
  line(out, "build",
       fmt::format("{}, {}, flags \"{}\", commit {}", known(r.machine.build_type, "no build type"),
                   r.machine.compiler, r.machine.build_flags, known(r.machine.commit, "unknown")));
  line(out, "load", fmt::format("{} before the run", known(r.machine.load, "unknown")));
  line(out, "timer",
       fmt::format("{}, {} ns at p50, {} ns at p99, contained once in each sample",
                   r.timer_from_tsc ? fmt::format("rdtscp at {:.1f} MHz", r.timer_ticks_per_us)
                                    : "clock_gettime",
                   r.timer.p50_ns, r.timer.p99_ns));
  for (const std::string& warning : r.warnings) {
    line(out, "warning", warning);
  }
  fmt::print(out, "\nAll in ns.\n{:>3}  {:<6}{:>11}", "rep", "what", "samples");
  for (const PercentileName& percentile : kPercentiles) {
    fmt::print(out, "{:>10}", percentile.name);
  }
  fmt::print(out, "  notes\n");
}

void print_repetition(std::FILE* out, std::size_t number, const Repetition& r) {
  const std::string_view before = to_string(placement_of(r.line_before));
  std::string note =
      fmt::format("line {} ({:.0f}) before, {} ({:.0f}) after: {}", r.line_before.timed_p50_ns,
                  r.line_before.untimed_ns, r.line_after.timed_p50_ns, r.line_after.untimed_ns,
                  r.steady() ? before : std::string_view("CHANGED"));
  print_row(out, std::to_string(number), "floor", r.floor, note);
  if (r.relay) {
    print_row(out, "", "relay", *r.relay, "the floor's relay as three processes");
  }
  if (r.rtt) {
    note = fmt::format("floor x {:.2f} at p50, x {:.2f} at p99; preempted {} times", r.ratio(kP50),
                       r.ratio(kP99), r.preemptions);
    print_row(out, "", "rtt", *r.rtt, note);
  }
  (void)std::fflush(out);
}

void print_summary(std::FILE* out, const Report& report) {
  if (report.repetitions.empty()) {
    return;
  }
  const Comparable kept = comparable(report.repetitions);
  const std::string which = kept.placement
                                ? fmt::format("steady, placement {}", to_string(*kept.placement))
                                : "none was steady, so all";
  fmt::print(out, "\nOver {} of {} repetitions ({}), in ns:\n{:16}", kept.repetitions.size(),
             report.repetitions.size(), which, "");
  for (const PercentileName& percentile : kPercentiles) {
    fmt::print(out, "{:>10}", percentile.name);
  }
  fmt::print(out, "\n");
  const std::vector<Repetition>& all = kept.repetitions;
  print_medians(out, "floor", all, [](const Repetition& r) { return r.floor; });
  if (all.front().relay) {
    print_medians(out, "relay", all,
                  [](const Repetition& r) { return r.relay.value_or(Quantiles{}); });
  }
  if (all.front().rtt) {
    print_medians(out, "rtt", all, [](const Repetition& r) { return r.rtt.value_or(Quantiles{}); });
    print_ratio(out, "floor", all, &Repetition::ratio);
  }
  if (all.front().relay) {
    print_ratio(out, "relay", all, &Repetition::relay_ratio);
  }
  for (const std::string& warning : judge(report)) {
    line(out, "warning", warning);
  }
}

}  // namespace mserve::bench
