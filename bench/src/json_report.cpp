// SPDX-License-Identifier: Apache-2.0
// Report as JSON. Names carry their units; values are what the tables show, unrounded.
#include <boost/json.hpp>

#include "report.hpp"

namespace mserve::bench {
namespace {

namespace json = boost::json;

json::object of(const Quantiles& q) {
  json::object object{{"samples", q.count}};
  for (std::size_t i = 0; i < kPercentiles.size(); ++i) {
    object[std::string(kPercentiles[i].name) + "_ns"] = q.ns[i];
  }
  return object;
}

json::object of(const LineProbe& probe) {
  return {{"timed_p50_ns", probe.timed_p50_ns},
          {"untimed_ns", probe.untimed_ns},
          {"placement", to_string(placement_of(probe))}};
}

json::object of(const Machine& m) {
  return {{"processor", m.processor},
          {"cores_online", m.cores_online},
          {"cores_usable", json::value_from(m.cores)},
          {"kernel", m.kernel},
          {"clocksource", m.clocksource},
          {"governor", m.governor},
          {"virtualisation", m.virtualisation},
          {"load", m.load}};
}

json::object of(const Repetition& r) {
  json::object object{{"line_before", of(r.line_before)},
                      {"line_after", of(r.line_after)},
                      {"steady", r.steady()},
                      {"floor", of(r.floor)},
                      {"floor_before", of(r.floor_before)},
                      {"floor_after", of(r.floor_after)},
                      {"preemptions", r.preemptions}};
  if (r.relay) {
    object["relay"] = of(*r.relay);
    object["relay_ratio_p50"] = r.relay_ratio(kP50);
    object["relay_ratio_p99"] = r.relay_ratio(kP99);
  }
  if (r.rtt) {
    object["rtt"] = of(*r.rtt);
    object["ratio_p50"] = r.ratio(kP50);
    object["ratio_p99"] = r.ratio(kP99);
  }
  return object;
}

json::object of(const Spread& spread) {
  return {{"median", spread.median}, {"low", spread.low}, {"high", spread.high}};
}

template <class Value>
json::object spread_over(const std::vector<Repetition>& repetitions, Value value) {
  std::vector<double> values;
  values.reserve(repetitions.size());
  for (const Repetition& r : repetitions) {
    values.push_back(static_cast<double>(value(r)));
  }
  return of(spread_of(values));
}

template <class Pick>
json::object medians(const std::vector<Repetition>& repetitions, Pick pick) {
  json::object object;
  for (std::size_t i = 0; i < kPercentiles.size(); ++i) {
    object[std::string(kPercentiles[i].name) + "_ns"] =
        spread_over(repetitions, [&](const Repetition& r) { return pick(r).ns[i]; });
  }
  return object;
}

json::object summary(const Report& report) {
  const Comparable kept = comparable(report.repetitions);
  json::object object{{"repetitions_used", kept.repetitions.size()},
                      {"placement", kept.placement ? json::value(to_string(*kept.placement))
                                                   : json::value(nullptr)}};
  if (kept.repetitions.empty()) {
    return object;
  }
  const std::vector<Repetition>& all = kept.repetitions;
  object["floor"] = medians(all, [](const Repetition& r) { return r.floor; });
  if (all.front().relay) {
    object["relay"] =
        medians(all, [](const Repetition& r) { return r.relay.value_or(Quantiles{}); });
    object["relay_ratio_p50"] =
        spread_over(all, [](const Repetition& r) { return r.relay_ratio(kP50); });
    object["relay_ratio_p99"] =
        spread_over(all, [](const Repetition& r) { return r.relay_ratio(kP99); });
  }
  if (all.front().rtt) {
    object["rtt"] = medians(all, [](const Repetition& r) { return r.rtt.value_or(Quantiles{}); });
    object["ratio_p50"] = spread_over(all, [](const Repetition& r) { return r.ratio(kP50); });
    object["ratio_p99"] = spread_over(all, [](const Repetition& r) { return r.ratio(kP99); });
  }
  return object;
}

}  // namespace

std::string to_json(const Report& report) {
  json::array repetitions;
  for (const Repetition& r : report.repetitions) {
    repetitions.push_back(of(r));
  }
  std::vector<std::string> warnings = report.warnings;
  for (std::string& warning : judge(report)) {
    warnings.push_back(std::move(warning));
  }
  const json::object document{
      {"format", 1},
      {"command", report.command},
      {"mode", report.mode},
      {"path", report.path},
      {"payload_bytes", report.payload_bytes},
      {"seconds", report.seconds},
      {"pinning", report.pinning},
      {"idle", report.idle},
      {"machine", of(report.machine)},
      {"build", json::object{{"type", report.machine.build_type},
                             {"compiler", report.machine.compiler},
                             {"flags", report.machine.build_flags},
                             {"commit", report.machine.commit}}},
      {"timer", json::object{{"source", report.timer_from_tsc ? "rdtscp" : "clock_gettime"},
                             {"ticks_per_us", report.timer_ticks_per_us},
                             {"p50_ns", report.timer.p50_ns},
                             {"p99_ns", report.timer.p99_ns}}},
      {"warnings", json::value_from(warnings)},
      {"repetitions", std::move(repetitions)},
      {"summary", summary(report)}};
  return json::serialize(document) + "\n";
}

}  // namespace mserve::bench
