// SPDX-License-Identifier: Apache-2.0
#include "hosts_report.hpp"

#include <fmt/format.h>

#include <boost/json.hpp>
#include <functional>

namespace mserve::bench {
namespace {

namespace json = boost::json;

constexpr std::uint64_t kHeartbeatsPerS = 5;
constexpr std::uint64_t kRefreshesPerS = 1;  ///< Of a broker's key, at most.
/// A key such as /mserve/default/brokers/host-17-prices, and what it holds of a host with two
/// groups; both in base64, as the gateway sends them.
constexpr std::size_t kKeyBytes = 38;
constexpr const char* kValue =
    R"({"format":1,"id":"host-17-prices","address":"host-17.example.com:5000","zone":"zone-a","region":"region-1","version":"0.1.0","state":"serving","epoch":1764331200000000000,"servants":[{"tags":"group=hdb zone=a","free":2,"busy":2},{"tags":"group=rdb zone=a","free":1,"busy":1}],"queued":12,"queue_age_ms":20,"load":0.67})";

constexpr std::size_t base64_bytes(std::size_t bytes) noexcept {
  return (bytes + 2) / 3 * 4;
}

/// A line of a table with a column for each `Of`.
template <class Of>
struct TableLine {
  const char* name;
  std::function<std::string(const Of&)> text;
};

std::string percent(const Share& share) {
  return share.of == 0 ? "-" : fmt::format("{:.1f} %", share.percent());
}

std::string milliseconds(std::uint64_t ns) {
  return fmt::format("{:.1f} ms", static_cast<double>(ns) / 1e6);
}

std::string megabytes(double bytes) {
  return fmt::format("{:.3g} MB/s", bytes / 1e6);
}

std::vector<TableLine<HostsResult>> lines() {
  using Result = HostsResult;
  return {
      {"zones, regions", [](const Result& r) { return fmt::format("{}, {}", r.zones, r.regions); }},
      {"requests/s of clients",
       [](const Result& r) { return fmt::format("{:.0f}", r.per_second); }},
      {"waiting for a servant, p50",
       [](const Result& r) { return milliseconds(r.waiting.ns[kP50]); }},
      {"waiting for a servant, p99",
       [](const Result& r) { return milliseconds(r.waiting.ns[kP99]); }},
      {"forwarded", [](const Result& r) { return percent(r.forwarded); }},
      {"  within the zone", [](const Result& r) { return percent(r.of_tier[0]); }},
      {"  within the region", [](const Result& r) { return percent(r.of_tier[1]); }},
      {"  elsewhere", [](const Result& r) { return percent(r.of_tier[2]); }},
      {"at the home of the route",
       [](const Result& r) { return percent(r.at_home[index_of(HostsPhase::before)]); }},
      {"  with one host more",
       [](const Result& r) { return percent(r.at_home[index_of(HostsPhase::after)]); }},
      {"route warm, not forwarded",
       [](const Result& r) { return percent(r.warm_here[index_of(HostsPhase::before)]); }},
      {"route warm, forwarded",
       [](const Result& r) { return percent(r.warm[index_of(HostsPhase::before)]); }},
      {"  right after a host is added",
       [](const Result& r) { return percent(r.warm[index_of(HostsPhase::right_after)]); }},
      {"  from then on",
       [](const Result& r) { return percent(r.warm[index_of(HostsPhase::after)]); }},
      {"homes that moved, in that zone", [](const Result& r) { return percent(r.moved); }},
      {"messages/request, host to host",
       [](const Result& r) { return fmt::format("{:.2f}", costs_of(r).messages_per_request); }},
      {"links, a process each",
       [](const Result& r) { return fmt::format("{}", costs_of(r).links); }},
      {"  of one host, to and from it",
       [](const Result& r) { return fmt::format("{}", 2 * (r.hosts - 1)); }},
      {"heartbeat messages/s",
       [](const Result& r) { return fmt::format("{}", costs_of(r).heartbeats_per_s); }},
      {"etcd: writes/s, at most",
       [](const Result& r) { return fmt::format("{}", costs_of(r).writes_per_s); }},
      {"etcd: watch events/s, at most",
       [](const Result& r) { return fmt::format("{}", costs_of(r).events_per_s); }},
      {"etcd: bytes/s to those who watch",
       [](const Result& r) {
         const HostsCosts costs = costs_of(r);
         return megabytes(static_cast<double>(costs.events_per_s * costs.event_bytes));
       }},
  };
}

std::string name_of(const HostsChange& change) {
  return change.after > change.before ? "a host joins" : "a host leaves";
}

std::vector<TableLine<HostsChange>> change_lines() {
  using Change = HostsChange;
  return {
      {"hosts with servants",
       [](const Change& c) { return fmt::format("{} to {}", c.before, c.after); }},
      {"requests/s of clients",
       [](const Change& c) { return fmt::format("{:.0f}", c.per_second); }},
      {"route warm, before", [](const Change& c) { return percent(c.warm_before); }},
      {"  in the first second after", [](const Change& c) { return percent(c.warm_first_second); }},
      {"    where the home moved", [](const Change& c) { return percent(c.warm_moved); }},
      {"  ten seconds later", [](const Change& c) { return percent(c.warm_settled); }},
      {"routes whose home moved", [](const Change& c) { return percent(c.moved); }},
      {"  to and from other hosts",
       [](const Change& c) { return fmt::format("{}", c.moved_elsewhere); }},
  };
}

/// @param heads  of the columns, one for each of `all`.
template <class Of>
void print_lines(std::FILE* out, const std::string& title, const std::vector<std::string>& heads,
                 const std::vector<TableLine<Of>>& lines, std::span<const Of> all) {
  fmt::print(out, "\n{:<34}", title);
  for (const std::string& head : heads) {
    fmt::print(out, "{:>14}", head);
  }
  fmt::print(out, "\n");
  for (const TableLine<Of>& line : lines) {
    fmt::print(out, "{:<34}", line.name);
    for (const Of& one : all) {
      fmt::print(out, "{:>14}", line.text(one));
    }
    fmt::print(out, "\n");
  }
  (void)std::fflush(out);
}

json::object object_of(const Share& share) {
  return {{"of", share.of}, {"percent", share.percent()}};
}
json::object object_of(const HostsResult& r);
json::object object_of(const HostsChange& c);

template <class Of>
json::array array_of(std::span<const Of> all) {
  json::array array;
  for (const Of& one : all) {
    array.push_back(object_of(one));
  }
  return array;
}

json::object object_of(const HostsResult& r) {
  const HostsCosts costs = costs_of(r);
  return {{"hosts", r.hosts},
          {"zones", r.zones},
          {"regions", r.regions},
          {"requests_per_s", r.per_second},
          {"refused", r.refused},
          {"waiting_p50_ns", r.waiting.ns[kP50]},
          {"waiting_p99_ns", r.waiting.ns[kP99]},
          {"forwarded", object_of(r.forwarded)},
          {"of_tier", array_of(std::span<const Share>(r.of_tier))},
          {"at_home", array_of(std::span<const Share>(r.at_home))},
          {"warm", array_of(std::span<const Share>(r.warm))},
          {"warm_here", array_of(std::span<const Share>(r.warm_here))},
          {"moved", object_of(r.moved)},
          {"moved_elsewhere", r.moved_elsewhere},
          {"links", costs.links},
          {"heartbeats_per_s", costs.heartbeats_per_s},
          {"messages_per_request", costs.messages_per_request},
          {"etcd_writes_per_s", costs.writes_per_s},
          {"etcd_events_per_s", costs.events_per_s},
          {"etcd_event_bytes", costs.event_bytes}};
}

json::object object_of(const HostsChange& c) {
  return {{"before", c.before},
          {"after", c.after},
          {"requests_per_s", c.per_second},
          {"refused", c.refused},
          {"warm_before", object_of(c.warm_before)},
          {"warm_first_second", object_of(c.warm_first_second)},
          {"warm_moved", object_of(c.warm_moved)},
          {"warm_settled", object_of(c.warm_settled)},
          {"moved", object_of(c.moved)},
          {"moved_elsewhere", c.moved_elsewhere}};
}

}  // namespace

std::string watch_event_sample() {
  return fmt::format(
      R"({{"result":{{"header":{{"cluster_id":"14841639068965178418","member_id":"10276657743932975437","revision":"1234567","raft_term":"12"}},"events":[{{"kv":{{"key":"{}","create_revision":"1200000","mod_revision":"1234567","version":"34567","value":"{}","lease":"7587885322111161345"}}}}]}}}})"
      "\n",
      std::string(base64_bytes(kKeyBytes), 'k'),
      std::string(base64_bytes(std::char_traits<char>::length(kValue)), 'v'));
}

HostsCosts costs_of(const HostsResult& r) {
  const std::uint64_t hosts = r.hosts;
  HostsCosts costs;
  costs.links = hosts * (hosts - 1);
  costs.heartbeats_per_s = 2 * kHeartbeatsPerS * costs.links;
  costs.messages_per_request = 2 * r.forwarded.percent() / 100;
  costs.writes_per_s = hosts * kRefreshesPerS;
  costs.events_per_s = hosts * costs.writes_per_s;
  costs.event_bytes = watch_event_sample().size();
  return costs;
}

void print_heading(std::FILE* out, const HostsSettings& s) {
  fmt::print(out,
             "measures   nothing of this machine: Dispatchers of as many brokers on virtual time, "
             "seed {}\n"
             "servants   {} for each host; a request takes {} where its route is warm, {} where it "
             "is not\n"
             "demand     {:g} % of what they do when all is cold; host k's in proportion to 1 / "
             "k^{:g}, route k's to 1 / k^{:g}\n"
             "routes     {}, of which a servant keeps {} warm\n"
             "hosts      {} to a zone, {} zones to a region; one way {}, {} between zones, {} "
             "between regions\n"
             "links      credit {}, used once a request waits for {}\n",
             s.seed, s.servants, milliseconds(s.warm_ns), milliseconds(s.cold_ns), s.load_percent,
             s.skew, s.route_exponent, s.routes, s.warm_routes, s.zone_hosts, s.region_zones,
             milliseconds(s.latency_ns[0]), milliseconds(s.latency_ns[1]),
             milliseconds(s.latency_ns[2]), s.credit, milliseconds(s.spill_ns));
}

void print_table(std::FILE* out, std::span<const HostsResult> results) {
  std::vector<std::string> heads;
  for (const HostsResult& result : results) {
    heads.push_back(std::to_string(result.hosts));
  }
  print_lines(out, "hosts", heads, lines(), results);
}

void print_changes(std::FILE* out, std::span<const HostsChange> changes) {
  std::vector<std::string> heads;
  for (const HostsChange& change : changes) {
    heads.push_back(name_of(change));
  }
  print_lines(out, "all clients ask where nobody serves", heads, change_lines(), changes);
}

std::string to_json(const HostsSettings& s, std::span<const HostsResult> results,
                    std::span<const HostsChange> changes) {
  return json::serialize(json::object{{"format", 1},
                                      {"command", "hosts"},
                                      {"seed", s.seed},
                                      {"load_percent", s.load_percent},
                                      {"skew", s.skew},
                                      {"servants", s.servants},
                                      {"credit", s.credit},
                                      {"requests", s.requests},
                                      {"spill_ns", s.spill_ns},
                                      {"clusters", array_of(results)},
                                      {"changes", array_of(changes)}}) +
         "\n";
}

std::vector<Section> sections_of(std::span<const HostsResult> results,
                                 std::span<const HostsChange> changes) {
  Section waiting{"how it grows: waiting for a servant",
                  "from a client's request to its start at a servant; virtual time", Unit::ns};
  Section shares{"how it grows: forwarded requests", "of all requests of clients; virtual time",
                 Unit::percent};
  for (const HostsResult& result : results) {
    const std::string name = fmt::format("{} hosts", result.hosts);
    waiting.rows.push_back({name, ""});
    waiting.rows.back().add(result.waiting);
    shares.rows.push_back({name, ""});
    shares.rows.back().add(result.forwarded.percent());
  }
  Section warm{"a host joins, or leaves: requests that found their route warm",
               "of all requests that came in that time; virtual time", Unit::percent};
  for (const HostsChange& change : changes) {
    const auto add = [&](const char* when, const Share& share) {
      warm.rows.push_back({name_of(change) + ", " + when, ""});
      warm.rows.back().add(share.percent());
    };
    add("before", change.warm_before);
    add("first second", change.warm_first_second);
    add("settled", change.warm_settled);
  }
  for (Section* const section : {&waiting, &shares, &warm}) {
    section->repetitions.resize(1);
  }
  return {std::move(waiting), std::move(shares), std::move(warm)};
}

}  // namespace mserve::bench
