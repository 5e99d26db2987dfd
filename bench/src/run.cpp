// SPDX-License-Identifier: Apache-2.0
#include "run.hpp"

#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include "floor_relay.hpp"
#include "interrupt.hpp"
#include "line_probe.hpp"

namespace mserve::bench {
namespace {

constexpr double kProbeShare = 0.05;  // twice
constexpr double kLoadMax = 0.5;

std::uint64_t preemptions_so_far() {
  rusage usage{};
  return getrusage(RUSAGE_THREAD, &usage) == 0 ? static_cast<std::uint64_t>(usage.ru_nivcsw) : 0;
}

std::optional<LineProbe> probe(const Plan& plan, const Timer& timer, std::uint64_t ns) {
  if (!plan.probed) {
    return std::nullopt;
  }
  const Pinned pinned(plan.probed->measuring);
  return probe_line(*plan.probed, timer, share_of(ns, kProbeShare));
}

TimerCost timer_cost(const Timer& timer) {
  const std::vector<int> cores = usable_core_list();
  const PinnedIf pinned(!cores.empty(), cores.empty() ? 0 : cores.front());
  return timer.cost();
}

}  // namespace

Run::Run(std::string command, double seconds) : show_progress_(isatty(STDERR_FILENO) == 1) {
  document_.command = std::move(command);
  document_.seconds = seconds;
  document_.machine = describe_machine();
  document_.timer_from_tsc = timer_.from_tsc();
  document_.timer_ticks_per_us = timer_.ticks_per_us();
  document_.timer = timer_cost(timer_);
  if (document_.machine.load_1min > kLoadMax) {
    document_.warnings.push_back(fmt::format(
        "load average {:.2f}: others use this machine, expect tails of a scheduler tick (1 to 10 "
        "ms)",
        document_.machine.load_1min));
  }
  if (!timer_.from_tsc()) {
    document_.warnings.emplace_back(
        "no usable time-stamp counter: every sample contains a clock_gettime");
  }
  print_heading(stdout, document_);
}

void Run::measure(Section section, const Plan& plan,
                  const std::function<void(Section& section, std::uint64_t ns)>& repeat) {
  std::vector<Section> one;
  one.push_back(std::move(section));
  measure(std::move(one), plan,
          [&repeat](std::vector<Section>& all, std::uint64_t ns) { repeat(all.front(), ns); });
}

void Run::measure(
    std::vector<Section> sections, const Plan& plan,
    const std::function<void(std::vector<Section>& sections, std::uint64_t ns)>& repeat) {
  const bool at_once = sections.size() == 1;
  Section& first = sections.front();
  if (plan.probed && plan.probed->siblings) {
    first.warnings.emplace_back(
        "both cores are threads of one physical core: they share its caches and slow each other");
  }
  if (at_once) {
    print_heading(stdout, first);
  }
  const auto all_ns = static_cast<std::uint64_t>(plan.seconds * 1e9 / plan.repetitions);
  const std::uint64_t rest_ns = plan.probed ? share_of(all_ns, 1 - 2 * kProbeShare) : all_ns;
  for (int i = 0; i < plan.repetitions && !interrupted(); ++i) {
    progress_ = fmt::format("{}: repetition {} of {}", first.title, i + 1, plan.repetitions);
    say("");
    Repetition r;
    r.line_before = probe(plan, timer_, all_ns);
    const std::uint64_t preempted = preemptions_so_far();
    repeat(sections, rest_ns);
    r.preemptions = preemptions_so_far() - preempted;
    r.line_after = probe(plan, timer_, all_ns);
    clear_progress();
    if (interrupted()) {
      break;
    }
    for (Section& section : sections) {
      section.repetitions.push_back(r);
    }
    if (at_once) {
      print_repetition(stdout, first, first.repetitions.size() - 1);
    }
  }
  for (Section& section : sections) {
    add(std::move(section), !at_once);
  }
}

void Run::add(Section section, bool with_repetitions) {
  for (Row& row : section.rows) {
    row.figures.resize(section.repetitions.size());  // one may be there of what was interrupted
  }
  if (with_repetitions) {
    print_heading(stdout, section);
    for (std::size_t i = 0; i < section.repetitions.size(); ++i) {
      print_repetition(stdout, section, i);
    }
  }
  print_summary(stdout, section);
  document_.sections.push_back(std::move(section));
}

void Run::say(const char* what) const {
  if (show_progress_) {
    fmt::print(stderr, "\r\033[K{}{}{} ...", progress_, *what == '\0' ? "" : ", ", what);
    (void)std::fflush(stderr);
  }
}

void Run::clear_progress() const {
  if (show_progress_) {
    fmt::print(stderr, "\r\033[K");
    (void)std::fflush(stderr);
  }
}

void Run::add_failure(std::string text) {
  failed_ = true;
  add_warning(std::move(text));
}

void Run::add_warning(std::string text) {
  clear_progress();
  fmt::print(stdout, "\nwarning    {}\n", text);
  document_.warnings.push_back(std::move(text));
}

std::unique_ptr<shm::Histogram> measure_floor(const CorePair& cores, std::size_t payload_bytes,
                                              const Timer& timer, std::uint64_t duration_ns) {
  const Pinned pinned(cores.measuring);
  FloorRelay relay(cores, payload_bytes);
  return measure_warm(duration_ns,
                      [&](std::uint64_t ns, shm::Histogram& to) { relay.measure(timer, ns, to); });
}

}  // namespace mserve::bench
