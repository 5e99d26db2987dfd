// SPDX-License-Identifier: Apache-2.0
#include "affinity_run.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <sstream>

#include "interrupt.hpp"

namespace mserve::bench {
namespace {

/// What the broker can do; a new policy is one more line.
struct Policy {
  const char* name;
  const char* broker_options;
  bool told = true;  ///< How many routes a servant keeps warm (--routes-per-servant); else 1.
};
constexpr std::array<Policy, 7> kPolicies = {{
    {"even", "--policy even"},  // the reference
    {"orig", "--policy orig"},
    {"least", "--policy least"},
    {"weighted", "--policy weighted"},
    {"match, one route", "--policy match --match-wait 0", false},
    {"match, wait 0", "--policy match --match-wait 0"},
    {"match, wait 1 ms", "--policy match --match-wait 1ms"},
}};
constexpr std::uint32_t kToldMax = 64;  ///< What the broker takes.
constexpr std::size_t kReference = 0;

constexpr std::uint32_t kRoutesMax = 65536;
constexpr double kCellWarmUpShare = 0.2;
/// What starting and stopping a broker takes, away from a cell's time.
constexpr double kStartSeconds = 0.1;
constexpr double kCellSecondsMin = 0.05;

std::vector<std::string> words(const char* text) {
  std::istringstream in(text);
  std::vector<std::string> all;
  for (std::string word; in >> word;) {
    all.push_back(word);
  }
  return all;
}

/// A seed of its own for each repetition of each load of each case, the same for every policy.
std::uint64_t mix(std::uint64_t seed, std::uint64_t number) {
  return seed * 0x9e3779b97f4a7c15 + number;
}

double cell_seconds(const AffinitySettings& s) {
  const auto cells =
      static_cast<double>(s.cases.size() * s.loads.size() * kPolicies.size()) * s.repetitions;
  return std::max(s.seconds / cells - kStartSeconds, kCellSecondsMin);
}

ArrivalPlan plan_of(const AffinitySettings& s, const AffinityReport& report, std::size_t which,
                    std::size_t load, int repetition) {
  const AffinityCase& at = s.cases[which];
  const std::size_t number =
      (which * s.loads.size() + load) * static_cast<std::size_t>(s.repetitions) +
      static_cast<std::size_t>(repetition);
  ArrivalPlan plan;
  plan.seed = mix(s.seed, number);
  plan.per_second = report.capacity() * s.loads[load] / 100;
  plan.duration_ns = static_cast<std::uint64_t>(cell_seconds(s) * 1e9);
  plan.routes = at.routes;
  plan.exponent = at.exponent;
  plan.clients = s.stage.clients;
  return plan;
}

/// One repetition of one load: each policy in turn, so that they meet the same machine too.
void measure(const AffinitySettings& s, const AffinityCase& at, const ArrivalPlan& plan,
             std::vector<AffinityCell>& cells) {
  const std::vector<Arrival> arrivals = make_arrivals(plan);
  const auto warm_up_ns =
      static_cast<std::uint64_t>(static_cast<double>(plan.duration_ns) * kCellWarmUpShare);
  AffinityStage stage = s.stage;
  stage.warm_routes = at.warm_routes;
  for (std::size_t p = 0; p < kPolicies.size() && !interrupted(); ++p) {
    stage.broker_options = words(kPolicies[p].broker_options);
    if (kPolicies[p].told) {
      const std::uint32_t routes = std::min<std::uint32_t>(at.warm_routes, kToldMax);
      stage.broker_options.insert(stage.broker_options.end(),
                                  {"--routes-per-servant", std::to_string(routes)});
    }
    const AffinityResult result = run_affinity(stage, arrivals, warm_up_ns);
    if (!interrupted()) {
      cells[p].repetitions.push_back(result);
    }
  }
}

AffinityReport begin_report(const AffinitySettings& s) {
  AffinityReport report;
  report.machine = describe_machine();
  for (const Policy& policy : kPolicies) {
    report.policies.emplace_back(policy.name);
  }
  report.reference = kReference;
  report.loads = s.loads;
  report.servants = s.stage.servants;
  report.clients = s.stage.clients;
  report.warm_ns = s.stage.warm_ns;
  report.cold_ns = s.stage.cold_ns;
  report.seed = s.seed;
  report.seconds = s.seconds;
  return report;
}

}  // namespace

std::optional<AffinityCase> parse_affinity_case(std::string_view text) {
  AffinityCase at;
  const char* const end = text.data() + text.size();
  const auto routes = std::from_chars(text.data(), end, at.routes);
  if (routes.ec != std::errc{} || routes.ptr == end || *routes.ptr != '/') {
    return std::nullopt;
  }
  const auto warm = std::from_chars(routes.ptr + 1, end, at.warm_routes);
  const auto fits = [](std::uint32_t number) { return number > 0 && number <= kRoutesMax; };
  if (warm.ec != std::errc{} || warm.ptr != end || !fits(at.routes) || !fits(at.warm_routes)) {
    return std::nullopt;
  }
  return at;
}

AffinityReport run_affinity(const AffinitySettings& s) {
  AffinityReport report = begin_report(s);
  print_heading(stdout, report);
  for (std::size_t c = 0; c < s.cases.size() && !interrupted(); ++c) {
    AffinityCase at = s.cases[c];
    at.cells.assign(s.loads.size(), std::vector<AffinityCell>(kPolicies.size()));
    for (int r = 0; r < s.repetitions; ++r) {
      for (std::size_t load = 0; load < s.loads.size() && !interrupted(); ++load) {
        measure(s, at, plan_of(s, report, c, load, r), at.cells[load]);
      }
    }
    if (!interrupted()) {
      print_case(stdout, report, at);
      report.cases.push_back(std::move(at));
    }
  }
  return report;
}

}  // namespace mserve::bench
