// SPDX-License-Identifier: Apache-2.0
#include "peers/peers_run.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <optional>

#include "floor_relay.hpp"
#include "interrupt.hpp"
#include "peers/in_copy.hpp"
#include "peers/peer_stage.hpp"

namespace mserve::bench {
namespace {

/// How the time is shared out.
constexpr double kTuneShare = 0.3;
constexpr double kThroughputShare = 0.25;

/// A peer as it is measured, with the row of its figures.
struct Entrant {
  const PeerKind* kind;
  PeerSetting setting;
};

std::string words(const Entrant& entrant) {
  return fmt::format("{}; {}", entrant.kind->how, describe(entrant.setting));
}

PeerOptions peer_options(const PeersSettings& settings, PeerMode mode, const PeerSetting& setting) {
  return {mode, setting, settings.cores, settings.payload_bytes, {}};
}

Quantiles measure_latency(PeerStage& stage, const Timer& timer, std::uint64_t ns) {
  return quantiles_of(*measure_warm(
      ns, [&](std::uint64_t part_ns, shm::Histogram& to) { stage.measure(timer, part_ns, to); }));
}

/// The fastest relay of the mode, which looks at nothing.
Quantiles measure_raw(const PeersSettings& settings, PeerMode mode, const Timer& timer,
                      std::uint64_t ns) {
  if (mode == PeerMode::pair) {
    return quantiles_of(*measure_floor(settings.cores, settings.payload_bytes, timer, ns));
  }
  ProcessRelay relay(settings.payload_bytes, settings.cores);
  const Pinned pinned(settings.cores.measuring);
  return quantiles_of(*measure_warm(
      ns, [&](std::uint64_t part_ns, shm::Histogram& to) { relay.measure(timer, part_ns, to); }));
}

/// Calls `measure` with a stage of that peer, in a process of its own. A failure is noted and
/// leaves an empty figure.
template <class Measure>
auto with_stage(Run& run, const PeersSettings& settings, PeerMode mode, const Entrant& entrant,
                Measure measure) {
  using Result = decltype(measure(std::declval<PeerStage&>()));
  run.say(entrant.kind->title);
  try {
    return in_copy([&] {
      PeerStage stage(*entrant.kind, peer_options(settings, mode, entrant.setting));
      return interrupted() ? Result{} : measure(stage);
    });
  } catch (const std::exception& e) {
    run.add_failure(fmt::format("{} ({}, {}): {}", entrant.kind->name, to_string(mode),
                                describe(entrant.setting), e.what()));
  }
  return Result{};
}

Section described(const PeersSettings& settings, PeerMode mode, const char* title) {
  Section s;
  s.title = fmt::format("{}, {}", title, to_string(mode));
  s.pinning =
      mode == PeerMode::pair
          ? fmt::format("client and servant are one thread on core {}, the relay has core {}",
                        settings.cores.measuring, settings.cores.relaying)
          : fmt::format(
                "client, relay and servant are three processes; apart: client and servant "
                "on core {}, the relay on core {}; one core: all on core {}; anywhere: "
                "where the kernel likes",
                settings.cores.measuring, settings.cores.relaying, settings.cores.measuring);
  s.idle = "as each row says";
  return s;
}

Section latency_section(const PeersSettings& settings, PeerMode mode, const char* title) {
  Section s = described(settings, mode, title);
  s.sample = fmt::format(
      "{} B, one request at a time: from before the client sends until the answer stands in its "
      "buffer; every answer compared with its request outside of that",
      settings.payload_bytes);
  return s;
}

void add_comparisons(Section& s, std::size_t mserve_row) {
  for (std::size_t i = 0; i < s.rows.size(); ++i) {
    if (i != mserve_row) {
      s.comparisons.push_back({i, mserve_row});
    }
  }
}

Plan part_of(const Plan& plan, double share, std::size_t modes) {
  Plan part = plan;
  part.seconds = plan.seconds * share / static_cast<double>(modes);
  return part;
}

void run_peer_latency(Run& run, const PeersSettings& settings, PeerMode mode,
                      const std::vector<Entrant>& entrants, const Plan& plan) {
  Section s = latency_section(settings, mode, "round trip through each peer");
  s.rows.push_back({"floor", mode == PeerMode::pair
                                 ? "a relay thread that only copies; both spin"
                                 : "the same as three processes; all yield, apart"});
  for (const Entrant& entrant : entrants) {
    s.rows.push_back({entrant.kind->name, words(entrant)});
  }
  for (const PeerKind& kind : settings.kinds) {
    if (!kind.missing.empty()) {
      s.warnings.push_back(fmt::format("{} is not measured: {}", kind.name, kind.missing));
    }
  }
  add_comparisons(s, 1);
  run.measure(std::move(s), plan, [&](Section& section, std::uint64_t ns) {
    const std::uint64_t part_ns = ns / section.rows.size();
    run.say("floor");
    section.rows[0].add(measure_raw(settings, mode, run.timer(), part_ns));
    for (std::size_t i = 0; i < entrants.size() && !interrupted(); ++i) {
      section.rows[i + 1].add(with_stage(run, settings, mode, entrants[i], [&](PeerStage& stage) {
        return measure_latency(stage, run.timer(), part_ns);
      }));
    }
  });
}

void run_peer_throughput(Run& run, const PeersSettings& settings, PeerMode mode,
                         const std::vector<Entrant>& entrants, const Plan& plan) {
  Section s = described(settings, mode, "throughput through each peer");
  s.unit = Unit::requests_per_s;
  s.sample = fmt::format("answers to requests of {} B, {} under way at once",
                         settings.payload_bytes, peer_window(settings.payload_bytes));
  for (const Entrant& entrant : entrants) {
    s.rows.push_back({entrant.kind->name, words(entrant)});
  }
  add_comparisons(s, 0);
  run.measure(std::move(s), plan, [&](Section& section, std::uint64_t ns) {
    const std::uint64_t part_ns = ns / section.rows.size();
    for (std::size_t i = 0; i < entrants.size() && !interrupted(); ++i) {
      section.rows[i].add(with_stage(run, settings, mode, entrants[i], [&](PeerStage& stage) {
        const std::uint64_t warm_ns = share_of(part_ns, kWarmUpShare);
        (void)stage.throughput(warm_ns);
        return interrupted() ? 0.0 : stage.throughput(part_ns - warm_ns);
      }));
    }
  });
}

/// Tries every setting of every entrant for a short while and takes the one with the lowest product
/// of p50 and p99. mserve keeps its own.
void tune(Run& run, const PeersSettings& settings, PeerMode mode, std::vector<Entrant>& entrants,
          const Plan& plan) {
  Section s = latency_section(settings, mode, "settings tried");
  std::vector<std::pair<Entrant*, PeerSetting>> tried;
  for (Entrant& entrant : entrants) {
    std::size_t number = 0;
    for (const PeerSetting& setting : entrant.kind->settings(mode)) {
      tried.emplace_back(&entrant, setting);
      s.rows.push_back({fmt::format("{} {}", entrant.kind->name, ++number), describe(setting)});
    }
  }
  Plan once = plan;
  once.repetitions = 1;
  once.probed.reset();
  run.measure(std::move(s), once, [&](Section& section, std::uint64_t ns) {
    for (std::size_t i = 0; i < tried.size() && !interrupted(); ++i) {
      section.rows[i].add(with_stage(
          run, settings, mode, {tried[i].first->kind, tried[i].second}, [&](PeerStage& stage) {
            return measure_latency(stage, run.timer(), ns / tried.size());
          }));
    }
    std::vector<double> best(entrants.size(), 0);
    for (std::size_t i = 0; i < tried.size() && !interrupted(); ++i) {
      const Quantiles& q = section.rows[i].figures.back().quantiles;
      const double product = static_cast<double>(q.ns[kP50]) * static_cast<double>(q.ns[kP99]);
      double& lowest = best[static_cast<std::size_t>(tried[i].first - entrants.data())];
      if (product > 0 && (lowest == 0 || product < lowest)) {
        lowest = product;
        tried[i].first->setting = tried[i].second;
      }
    }
  });
}

}  // namespace

void run_peers(Run& run, const PeersSettings& settings) {
  const double measured = settings.tune ? 1 - kTuneShare : 1;
  for (const PeerMode mode : settings.modes) {
    std::vector<Entrant> entrants;
    for (const PeerKind& kind : settings.kinds) {
      if (kind.missing.empty()) {
        entrants.push_back({&kind, kind.settings(mode).front()});
      }
    }
    const auto part = [&](double share) {
      return part_of(settings.plan, share, settings.modes.size());
    };
    if (settings.tune) {
      tune(run, settings, mode, entrants, part(kTuneShare));
    }
    if (!interrupted()) {
      run_peer_latency(run, settings, mode, entrants, part(measured * (1 - kThroughputShare)));
    }
    if (!interrupted()) {
      run_peer_throughput(run, settings, mode, entrants, part(measured * kThroughputShare));
    }
  }
}

}  // namespace mserve::bench
