// SPDX-License-Identifier: Apache-2.0
// Figures as JSON. Names carry their units; values are what the tables show, unrounded.
#include <boost/json.hpp>

#include "figures.hpp"

namespace mserve::bench {
namespace {

namespace json = boost::json;

std::string key_of(std::size_t percentile) {
  return std::string(kPercentiles[percentile].name) + "_ns";
}

json::object of(const Quantiles& q) {
  json::object object{{"samples", q.count}};
  for (std::size_t i = 0; i < kPercentiles.size(); ++i) {
    object[key_of(i)] = q.ns[i];
  }
  return object;
}

json::object of(const Spread& spread) {
  return {{"median", spread.median}, {"low", spread.low}, {"high", spread.high}};
}

json::object of(const LineProbe& probe) {
  return {{"timed_p50_ns", probe.timed_p50_ns},
          {"untimed_ns", probe.untimed_ns},
          {"placement",
           probe.measured() ? json::value(to_string(placement_of(probe))) : json::value(nullptr)}};
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
  json::object object{{"steady", r.steady()}, {"preemptions", r.preemptions}};
  if (r.line_before && r.line_after) {
    object["line_before"] = of(*r.line_before);
    object["line_after"] = of(*r.line_after);
  }
  return object;
}

json::object of(const Section& section, const Row& row, const Kept& kept) {
  json::object object{{"name", row.name}, {"setting", row.setting}};
  json::array repetitions;
  if (section.unit != Unit::ns) {
    for (std::size_t r = 0; r < row.figures.size(); ++r) {
      repetitions.push_back(measured(section, row, r) ? json::value(row.figures[r].value)
                                                      : json::value(nullptr));
    }
    object["value"] = of(spread_of(section, row, kept, 0));
    object["repetitions"] = std::move(repetitions);
    return object;
  }
  for (const Figure& figure : row.figures) {
    repetitions.push_back(of(figure.quantiles));
  }
  for (std::size_t i = 0; i < kPercentiles.size(); ++i) {
    object[key_of(i)] = of(spread_of(section, row, kept, i));
  }
  json::array curve;
  for (std::size_t i = 0; i < kCurvePercents.size(); ++i) {
    curve.push_back(json::array{kCurvePercents[i], curve_of(row, kept, i).median});
  }
  object["repetitions"] = std::move(repetitions);
  object["curve"] = std::move(curve);
  return object;
}

json::object of(const Section& section, const Comparison& c, const Kept& kept) {
  json::object object{{"above", section.rows.at(c.above).name},
                      {"below", section.rows.at(c.below).name},
                      {"budget", c.budget}};
  if (section.unit == Unit::ns) {
    object["p50"] = of(ratio_of(section, c, kept, kP50));
    object["p99"] = of(ratio_of(section, c, kept, kP99));
  } else {
    object["value"] = of(ratio_of(section, c, kept, 0));
  }
  return object;
}

json::object of(const Section& section) {
  const Kept kept = kept_of(section);
  json::array repetitions;
  for (const Repetition& r : section.repetitions) {
    repetitions.push_back(of(r));
  }
  json::array rows;
  for (const Row& row : section.rows) {
    rows.push_back(of(section, row, kept));
  }
  json::array ratios;
  for (const Comparison& comparison : section.comparisons) {
    ratios.push_back(of(section, comparison, kept));
  }
  return {{"title", section.title},
          {"sample", section.sample},
          {"unit", to_string(section.unit)},
          {"pinning", section.pinning},
          {"idle", section.idle},
          {"repetitions", std::move(repetitions)},
          {"repetitions_used", json::value_from(kept.repetitions)},
          {"placement",
           kept.placement ? json::value(to_string(*kept.placement)) : json::value(nullptr)},
          {"rows", std::move(rows)},
          {"ratios", std::move(ratios)},
          {"warnings", json::value_from(warnings_of(section))}};
}

}  // namespace

std::string to_json(const Document& d) {
  json::array sections;
  for (const Section& section : d.sections) {
    sections.push_back(of(section));
  }
  const json::object document{
      {"format", 2},
      {"command", d.command},
      {"seconds", d.seconds},
      {"machine", of(d.machine)},
      {"build", json::object{{"type", d.machine.build_type},
                             {"compiler", d.machine.compiler},
                             {"flags", d.machine.build_flags},
                             {"commit", d.machine.commit}}},
      {"timer", json::object{{"source", d.timer_from_tsc ? "rdtscp" : "clock_gettime"},
                             {"ticks_per_us", d.timer_ticks_per_us},
                             {"p50_ns", d.timer.p50_ns},
                             {"p99_ns", d.timer.p99_ns}}},
      {"warnings", json::value_from(d.warnings)},
      {"sections", std::move(sections)}};
  return json::serialize(document) + "\n";
}

}  // namespace mserve::bench
