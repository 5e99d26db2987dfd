// SPDX-License-Identifier: Apache-2.0
#include "rtt_run.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "broker_side.hpp"
#include "floor_relay.hpp"
#include "interrupt.hpp"

namespace mserve::bench {
namespace {

/// How a repetition's time is shared out, behind the line probes.
constexpr double kFloorShare = 0.17;  // twice
constexpr double kRttShare = 0.66;
// Taken from the round trips', for each that is measured beside them; less where there are many.
constexpr double kBesideShare = 0.17;
/// Floors of one repetition that differ by more than this were disturbed, whatever the probe says.
constexpr double kFloorRatioMax = 1.3;
constexpr double kBusyShareMax = 0.5;

constexpr std::size_t kFloorRow = 0;
constexpr std::size_t kRttRow = 1;
constexpr std::size_t kBesideRow = 2;  // pair mode: with stamps; else: the relay

bool with_relay(const RttSettings& settings) {
  return settings.mode != Mode::pair;
}

/// The floor's relay as three processes.
Quantiles measure_relay(const RttSettings& settings, const Timer& timer, std::uint64_t ns) {
  ProcessRelay relay(settings.payload_bytes,
                     settings.pin ? std::optional(settings.cores) : std::nullopt);
  const PinnedIf pinned(settings.pin, settings.cores.measuring);
  return quantiles_of(*measure_warm(
      ns, [&](std::uint64_t part_ns, shm::Histogram& to) { relay.measure(timer, part_ns, to); }));
}

Quantiles measure_trips(const Timer& timer, BrokerSide& side, BrokerSide::Extra extra,
                        std::uint64_t ns) {
  Quantiles quantiles;
  side.with_trips(extra, [&](Trips& trips) {
    quantiles = quantiles_of(*measure_warm(
        ns, [&](std::uint64_t part_ns, shm::Histogram& to) { trips.measure(timer, part_ns, to); }));
  });
  return quantiles;
}

bool disturbed(const shm::Histogram& before, const shm::Histogram& after) {
  const auto [low, high] = std::minmax({before.percentile(50), after.percentile(50)});
  return static_cast<double>(high) > kFloorRatioMax * static_cast<double>(low);
}

Section describe_rtt(const RttSettings& settings) {
  const std::string idle = to_string(idle_of(settings));
  const CorePair& cores = settings.cores;
  const std::string floor_cores =
      fmt::format("floor and probe on cores {} and {}", cores.measuring, cores.relaying);
  Section s;
  switch (settings.mode) {
    case Mode::pair:
      s.title = "round trip";
      s.sample =
          "request claimed, copied in, committed; through the broker; echoed by the "
          "servant; through the broker; answer checked and copied out";
      s.pinning = fmt::format(
          "client and servant are one thread on core {}, the broker's data "
          "thread is on core {}; {}",
          cores.measuring, cores.relaying, floor_cores);
      s.idle = "client and servant spin; broker " + idle;
      break;
    case Mode::processes:
      s.title = settings.pin ? "round trip, three processes pinned" : "round trip, three processes";
      s.sample = "as in pair mode, but client, broker and servant are three processes";
      s.pinning = (settings.pin ? fmt::format("client and servant share core {}, the broker's "
                                              "data thread is on core {}; ",
                                              cores.measuring, cores.relaying)
                                : "round trips: none, all usable cores; ") +
                  floor_cores;
      s.idle = "client, broker and servant " + idle;
      break;
    case Mode::running:
      s.title = "round trip, running broker";
      s.sample = fmt::format(
          "a call (`echo;chars) to broker '{}' and its own servants, which "
          "decode, look up, call and encode; no servant of ours",
          settings.broker_name);
      s.pinning = "client: none; broker and servants: as they were started; " + floor_cores;
      s.idle = "client " + idle + "; broker and servants as they were started";
      break;
  }
  return s;
}

void add_rows(const RttSettings& settings, Section& s) {
  const std::string payload = fmt::format("{} B of payload", settings.payload_bytes);
  s.rows.push_back({"floor", "a relay that only copies, two threads; " + payload});
  s.rows.push_back({"rtt", "through the broker; " + payload});
  s.comparisons.push_back(
      settings.mode == Mode::pair && settings.payload_bytes == 40
          ? Comparison{kRttRow, kFloorRow, "at most 1.3 at p50, 1.6 at p99", 1.3, 1.6}
          : Comparison{kRttRow, kFloorRow});
  if (with_relay(settings)) {
    s.rows.push_back({"relay", "the floor's relay as three processes; " + payload});
    s.comparisons.push_back({kRttRow, kBesideRow});
  } else {
    s.rows.push_back(
        {"with stamps", "each answer brings the broker's info with its times; " + payload});
    s.comparisons.push_back({kBesideRow, kFloorRow});
  }
  if (settings.watched) {
    s.rows.push_back(
        {"watched", "mserve-stat top and GET /metrics look ten times a second; " + payload});
    s.comparisons.push_back({s.rows.size() - 1, kRttRow});
  }
  if (!settings.etcd_path.empty()) {
    const std::string idle = fmt::format("idle {}", to_string(idle_of_gateway(settings)));
    s.rows.push_back({"with -p", "the broker has a gateway, which nobody uses; " + idle});
    s.rows.push_back({"in a cluster",
                      "and has --cluster: etcd, mserve-cluster, a peer with a servant, and a link "
                      "to and from it, which nothing takes; " +
                          idle});
    s.comparisons.push_back({s.rows.size() - 1, s.rows.size() - 2});
  }
}

/// What is measured on demand, behind the rows that are always there and in this order.
std::vector<std::pair<const char*, BrokerSide::Extra>> extras_of(const RttSettings& settings) {
  std::vector<std::pair<const char*, BrokerSide::Extra>> extras;
  if (settings.watched) {
    extras.emplace_back("watched", BrokerSide::Extra::watched);
  }
  if (!settings.etcd_path.empty()) {
    extras.emplace_back("with -p", BrokerSide::Extra::gateway);
    extras.emplace_back("in a cluster", BrokerSide::Extra::cluster);
  }
  return extras;
}

/// Threads that hold a core each while they wait.
void warn_about_cores(const RttSettings& settings, Section& s) {
  const std::size_t cores = usable_core_list().size();
  if (settings.mode == Mode::pair || cores >= 3) {
    return;
  }
  s.warnings.push_back(
      settings.mode == Mode::processes && idle_of(settings) == shm::IdleStrategy::spin
          ? fmt::format("3 spinning threads on {} cores: they starve one another, expect "
                        "milliseconds; use --idle auto",
                        cores)
          : fmt::format("client, broker and servant share {} cores: every round trip contains "
                        "changes of process, which the floor does not; compare with the relay",
                        cores));
}

void note_interference(const BrokerSide& side, Section& s) {
  constexpr double kIdleSeconds = 0.1;
  const double before = cpu_seconds_of(side.broker_pid());
  (void)usleep(static_cast<useconds_t>(kIdleSeconds * 1e6));
  const double after = cpu_seconds_of(side.broker_pid());
  if (before < 0 || after < 0 || after - before < kBusyShareMax * kIdleSeconds) {
    return;
  }
  s.warnings.push_back(fmt::format(
      "the running broker (process {}) keeps a core busy while nothing is asked of it: it spins or "
      "serves others, and the floor shared a core with it unless --cores avoids that core",
      side.broker_pid()));
}

/// One repetition: floor, round trips, relay, floor.
void repeat(Run& run, const RttSettings& settings, BrokerSide& side, Section& s, std::uint64_t ns) {
  const std::uint64_t floor_ns = share_of(ns, kFloorShare);
  const auto floor = [&] {
    run.say("floor");
    return measure_floor(settings.cores, settings.payload_bytes, run.timer(), floor_ns);
  };
  const auto before = floor();
  run.say("round trips");
  const auto extras = extras_of(settings);
  const auto besides = static_cast<double>(1 + extras.size());
  const double beside_share = std::min(kBesideShare, kRttShare / (besides + 1));
  const std::uint64_t trips_ns = share_of(ns, kRttShare - beside_share * besides);
  const std::uint64_t beside_ns = share_of(ns, beside_share);
  s.rows[kRttRow].add(measure_trips(run.timer(), side, BrokerSide::Extra::none, trips_ns));
  if (with_relay(settings)) {
    run.say("relay");
    s.rows[kBesideRow].add(measure_relay(settings, run.timer(), beside_ns));
  } else {
    run.say("with stamps");
    s.rows[kBesideRow].add(measure_trips(run.timer(), side, BrokerSide::Extra::stamps, beside_ns));
  }
  for (std::size_t i = 0; i < extras.size(); ++i) {
    run.say(extras[i].first);
    s.rows[kBesideRow + 1 + i].add(measure_trips(run.timer(), side, extras[i].second, beside_ns));
  }
  const auto after = floor();
  if (disturbed(*before, *after)) {
    s.warnings.push_back(
        fmt::format("the floor before and after differs by more than {:.0f} % in repetition {}: do "
                    "not trust its ratios",
                    (kFloorRatioMax - 1) * 100, s.repetitions.size() + 1));
  }
  before->merge(*after);
  s.rows[kFloorRow].add(quantiles_of(*before));
}

}  // namespace

void run_floor(Run& run, const Plan& plan, const CorePair& cores, std::size_t payload_bytes) {
  Section s;
  s.title = "floor";
  s.sample =
      "client to relay to servant to relay to client, four hops of one cache line (more if the "
      "payload needs them), every payload byte copied at each";
  s.pinning = fmt::format("client and servant are one thread on core {}, the relay is on core {}",
                          cores.measuring, cores.relaying);
  s.idle = "both spin";
  s.rows.push_back({"floor", fmt::format("a relay that only copies, two threads; {} B of payload",
                                         payload_bytes)});
  run.measure(std::move(s), plan, [&](Section& section, std::uint64_t ns) {
    section.rows[0].add(quantiles_of(*measure_floor(cores, payload_bytes, run.timer(), ns)));
  });
}

void run_rtt(Run& run, const RttSettings& settings) {
  Section s = describe_rtt(settings);
  add_rows(settings, s);
  warn_about_cores(settings, s);
  BrokerSide side(settings);
  if (settings.mode == Mode::running) {
    note_interference(side, s);
  }
  run.measure(std::move(s), settings.plan, [&](Section& section, std::uint64_t ns) {
    repeat(run, settings, side, section, ns);
  });
}

}  // namespace mserve::bench
