// SPDX-License-Identifier: Apache-2.0
#include "affinity_report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>

namespace mserve::bench {
namespace {

namespace json = boost::json;

std::string with_ends(const Spread& s, int digits) {
  return fmt::format("{:.{}f} ({:.{}f}-{:.{}f})", s.median, digits, s.low, digits, s.high, digits);
}

void print_row(std::FILE* out, const AffinityReport& report, const AffinityCase& at,
               std::size_t load, std::size_t policy) {
  const AffinityCell& cell = at.cells[load][policy];
  const auto us = [&cell](double AffinityResult::*figure) { return cell.spread(figure, 1e-3); };
  fmt::print(out, "{:>4.0f}  {:<18}{:>18}{:>22}{:>20}{:>10.0f}{:>24}{:>6.0f}\n", report.loads[load],
             report.policies[policy], with_ends(cell.spread(&AffinityResult::hit_share, 100), 1),
             with_ends(us(&AffinityResult::mean_ns), 0),
             with_ends(report.ratio(at, load, policy), 2), us(&AffinityResult::p50_ns).median,
             with_ends(us(&AffinityResult::p99_ns), 0),
             cell.spread(&AffinityResult::busy_share, 100).median);
}

json::object json_of(const AffinityResult& r) {
  return {{"requests", r.requests}, {"hit_share", r.hit_share}, {"busy_share", r.busy_share},
          {"mean_ns", r.mean_ns},   {"p50_ns", r.p50_ns},       {"p99_ns", r.p99_ns}};
}

json::object json_of(const Spread& s) {
  return {{"median", s.median}, {"low", s.low}, {"high", s.high}};
}

json::object json_of(const AffinityReport& report, const AffinityCase& at, std::size_t load,
                     std::size_t policy) {
  const AffinityCell& cell = at.cells[load][policy];
  json::array repetitions;
  for (const AffinityResult& r : cell.repetitions) {
    repetitions.push_back(json_of(r));
  }
  return {{"routes", at.routes},
          {"warm_routes", at.warm_routes},
          {"exponent", at.exponent},
          {"load_percent", report.loads[load]},
          {"policy", report.policies[policy]},
          {"hit_share", json_of(cell.spread(&AffinityResult::hit_share, 1))},
          {"mean_ns", json_of(cell.spread(&AffinityResult::mean_ns, 1))},
          {"p50_ns", json_of(cell.spread(&AffinityResult::p50_ns, 1))},
          {"p99_ns", json_of(cell.spread(&AffinityResult::p99_ns, 1))},
          {"mean_ratio", json_of(report.ratio(at, load, policy))},
          {"repetitions", std::move(repetitions)}};
}

}  // namespace

Spread AffinityCell::spread(double AffinityResult::*figure, double scale) const {
  std::vector<double> values;
  values.reserve(repetitions.size());
  for (const AffinityResult& r : repetitions) {
    values.push_back(r.*figure * scale);
  }
  return spread_of(values);
}

std::string AffinityCase::distribution() const {
  return exponent > 0 ? fmt::format("zipf {:g}", exponent) : "uniform";
}

double AffinityReport::capacity() const noexcept {
  return servants * 1e9 / static_cast<double>(cold_ns);
}

Spread AffinityReport::ratio(const AffinityCase& at, std::size_t load, std::size_t policy) const {
  const std::vector<AffinityResult>& above = at.cells[load][policy].repetitions;
  const std::vector<AffinityResult>& below = at.cells[load][reference].repetitions;
  std::vector<double> values;
  for (std::size_t r = 0; r < above.size() && r < below.size(); ++r) {
    if (below[r].mean_ns > 0) {
      values.push_back(above[r].mean_ns / below[r].mean_ns);
    }
  }
  return spread_of(values);
}

void print_heading(std::FILE* out, const AffinityReport& r) {
  fmt::print(out,
             "measures   affinity: {} clients ask {} servants; {} us when the route is warm, {} us "
             "when it is not\n"
             "load       100 % = {:.0f} requests/s, what the servants do when every route is cold\n"
             "arrivals   Poisson, seed {}; each policy gets the same ones\n",
             r.clients, r.servants, r.warm_ns / 1000, r.cold_ns / 1000, r.capacity(), r.seed);
}

void print_case(std::FILE* out, const AffinityReport& report, const AffinityCase& at) {
  fmt::print(out, "\n{} {}, {}; each servant keeps {} warm. Medians (lowest-highest).\n", at.routes,
             at.routes == 1 ? "route" : "routes", at.distribution(), at.warm_routes);
  fmt::print(out, "{:>4}  {:<18}{:>18}{:>22}{:>20}{:>10}{:>24}{:>6}\n", "load", "policy", "hit %",
             "mean us", "mean / " + report.policies[report.reference], "p50 us", "p99 us", "busy");
  for (std::size_t load = 0; load < at.cells.size(); ++load) {
    for (std::size_t policy = 0; policy < at.cells[load].size(); ++policy) {
      print_row(out, report, at, load, policy);
    }
  }
  (void)std::fflush(out);
}

std::vector<Section> sections_of(const AffinityReport& report) {
  std::vector<Section> all;
  for (const AffinityCase& at : report.cases) {
    for (std::size_t load = 0; load < at.cells.size(); ++load) {
      Section s;
      s.title = fmt::format("{} routes, {}, {} warm per servant, load {:g} %", at.routes,
                            at.distribution(), at.warm_routes, report.loads[load]);
      s.sample =
          "from when a request was to be sent until its answer was taken; servants sleep while "
          "they serve";
      s.pinning = "none, all usable cores";
      s.idle = "broker auto, clients and servants park";
      for (std::size_t p = 0; p < at.cells[load].size(); ++p) {
        Row row{report.policies[p], ""};
        for (const AffinityResult& result : at.cells[load][p].repetitions) {
          row.add(result.quantiles);
        }
        s.repetitions.resize(std::max(s.repetitions.size(), row.figures.size()));
        s.rows.push_back(std::move(row));
        if (p != report.reference) {
          s.comparisons.push_back({p, report.reference});
        }
      }
      all.push_back(std::move(s));
    }
  }
  return all;
}

std::string to_json(const AffinityReport& report) {
  json::array cells;
  for (const AffinityCase& at : report.cases) {
    for (std::size_t load = 0; load < at.cells.size(); ++load) {
      for (std::size_t policy = 0; policy < at.cells[load].size(); ++policy) {
        cells.push_back(json_of(report, at, load, policy));
      }
    }
  }
  const Machine& m = report.machine;
  return json::serialize(json::object{
             {"format", 1},
             {"command", "affinity"},
             {"seconds", report.seconds},
             {"seed", report.seed},
             {"servants", report.servants},
             {"clients", report.clients},
             {"warm_ns", report.warm_ns},
             {"cold_ns", report.cold_ns},
             {"capacity_per_second", report.capacity()},
             {"machine", json::object{{"processor", m.processor},
                                      {"cores_usable", m.cores.size()},
                                      {"kernel", m.kernel},
                                      {"load", m.load}}},
             {"build",
              json::object{{"type", m.build_type}, {"compiler", m.compiler}, {"commit", m.commit}}},
             {"cells", std::move(cells)}}) +
         "\n";
}

}  // namespace mserve::bench
