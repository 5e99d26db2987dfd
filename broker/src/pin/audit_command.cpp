// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <boost/json.hpp>
#include <chrono>
#include <cstdio>
#include <optional>
#include <thread>

#include "pin/commands.hpp"
#include "pin/finding.hpp"
#include "pin/jitter.hpp"
#include "pin/load.hpp"

namespace mserve::pin {

namespace {

constexpr auto kLoadTime = std::chrono::milliseconds(500);
constexpr const char* kOnline = "/sys/devices/system/cpu/online";

/// 0: stdout is no terminal.
std::size_t terminal_width() noexcept {
  winsize size{};
  return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

boost::json::object to_json(const Finding& f) {
  return {{"level", to_string(f.level)},
          {"topic", f.topic},
          {"seen", f.seen},
          {"where", f.where},
          {"cost", f.cost},
          {"mend", f.mend}};
}

boost::json::object to_json(const Jitter& jitter) {
  if (!jitter.fault.empty()) {
    return {{"core", jitter.core}, {"fault", jitter.fault}};
  }
  const GapHistogram& gaps = jitter.gaps;
  boost::json::object histogram;
  for (std::uint64_t ns = 1; ns <= gaps.max_ns(); ns *= 2) {
    histogram[std::to_string(ns)] = gaps.between(ns, 2 * ns);
  }
  boost::json::object interrupts;
  for (const auto& [id, count] : jitter.interrupts) {
    interrupts[id] = count;
  }
  return {{"core", jitter.core},
          {"time_ns", jitter.time_ns},
          {"looks", gaps.count()},
          {"p50_ns", gaps.percentile_ns(0.5)},
          {"p99_ns", gaps.percentile_ns(0.99)},
          {"p999_ns", gaps.percentile_ns(0.999)},
          {"p9999_ns", gaps.percentile_ns(0.9999)},
          {"max_ns", gaps.max_ns()},
          {"over_1us", gaps.over_1us()},
          {"over_10us", gaps.over_10us()},
          {"over_100us", gaps.over_100us()},
          {"lost_ns", gaps.lost_ns()},
          {"from_ns", std::move(histogram)},
          {"interrupts", std::move(interrupts)}};
}

/// At once: the next core takes a while.
void print(const std::string& text) {
  (void)std::fwrite(text.data(), 1, text.size(), stdout);
  (void)std::fflush(stdout);
}

void print_findings(const CoreList& cores, const Findings& findings) {
  std::string text = fmt::format("cores {}\n", cores_text(cores));
  const std::size_t width = terminal_width();
  for (const Finding& f : findings) {
    text += to_text(f, width);
  }
  print(text);
}

void print_sum(const Findings& findings) {
  const auto count = [&](Level level) {
    return std::count_if(findings.begin(), findings.end(),
                         [level](const Finding& f) { return f.level == level; });
  };
  print(fmt::format("{} ok, {} cost, {} cannot be seen from here\n", count(Level::ok),
                    count(Level::costs), count(Level::unknown)));
}

void print_json(const CoreList& cores, const Findings& findings,
                const std::vector<Jitter>& jitters) {
  boost::json::array found;
  for (const Finding& f : findings) {
    found.push_back(to_json(f));
  }
  boost::json::array measured;
  for (const Jitter& jitter : jitters) {
    measured.push_back(to_json(jitter));
  }
  const boost::json::object all{{"cores", cores_text(cores)},
                                {"findings", std::move(found)},
                                {"jitter", std::move(measured)}};
  (void)std::puts(boost::json::serialize(all).c_str());
}

/// The cores to look at. @return the fault, empty when there is none.
std::string choose_cores(const AuditOptions& options, const CoreList& online, CoreList& cores) {
  if (!options.cores.empty()) {
    const auto given = parse_cores(options.cores);
    if (!given || given->empty()) {
      return "--cores: '" + options.cores + "' is no list such as 2,3 or 2-5";
    }
    cores = *given;
  } else {
    cores = options.root.empty() ? possible_cores() : online;
  }
  if (const CoreList absent = minus(cores, online); !absent.empty()) {
    return fmt::format("core {} is not online here (online: {})", cores_text(absent),
                       cores_text(online));
  }
  return {};
}

}  // namespace

ExitCode run_audit(const AuditOptions& options) {
  const MachineFiles files(options.root);
  const auto online = files.cores(kOnline);
  if (!online || online->empty()) {
    return tell_fault(ExitCode::failed, fmt::format("cannot read {}{}, which names the cores",
                                                    options.root, kOnline));
  }
  CoreList cores;
  if (const std::string fault = choose_cores(options, *online, cores); !fault.empty()) {
    return tell_fault(ExitCode::usage, fault);
  }
  const Surroundings around = look_around(files);
  const AuditInput in{.files = files, .around = around, .online = *online, .cores = cores};
  const LoadSample before = sample_load(files);
  if (files.live()) {
    std::this_thread::sleep_for(kLoadTime);
  }
  const LoadSample after = files.live() ? sample_load(files) : before;
  Findings findings = audit(in);
  look_at_load(in, before, after, static_cast<int>(getpid()), findings);
  std::for_each(findings.begin(), findings.end(), make_printable);
  if (!options.json) {
    print_findings(cores, findings);
  }
  std::vector<Jitter> jitters;
  // A described machine has no cores to spin on.
  if (files.live() && options.seconds > 0) {
    for (const int core : cores) {
      jitters.push_back(
          measure_jitter(files, core, static_cast<std::uint64_t>(options.seconds * 1e9)));
      if (!options.json) {
        print(to_text(jitters.back()));
      }
    }
  }
  options.json ? print_json(cores, findings, jitters) : print_sum(findings);
  const bool costs = std::any_of(findings.begin(), findings.end(),
                                 [](const Finding& f) { return f.level == Level::costs; });
  return options.strict && costs ? ExitCode::costs : ExitCode::ok;
}

}  // namespace mserve::pin
