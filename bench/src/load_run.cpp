// SPDX-License-Identifier: Apache-2.0
#include "load_run.hpp"

#include <fmt/format.h>

#include "floor_relay.hpp"
#include "interrupt.hpp"

namespace mserve::bench {
namespace {

/// Of the whole time of an open loop: how long the saturation is measured for.
constexpr double kSaturationShare = 0.1;
/// Fewer requests than this part of those that were meant: the rate could not be kept.
constexpr double kUnsentMax = 0.001;

void describe(const LoadSettings& settings, Section& s) {
  const CorePair& cores = settings.cores;
  if (settings.processes) {
    s.pinning = "none, all usable cores; client, broker and servant are three processes";
    s.idle = "client, broker and servant auto";
  } else {
    s.pinning = fmt::format(
        "client and servant are one thread on core {}, the broker's data thread is on core {}",
        cores.measuring, cores.relaying);
    s.idle = "both spin";
  }
}

double floor_rate(const LoadSettings& settings, std::uint64_t ns) {
  const Pinned pinned(settings.cores.measuring);
  FloorRelay relay(settings.cores, settings.payload_bytes, FloorRelay::Use::throughput);
  return relay.saturate(settings.window, ns);
}

double broker_rate(const LoadSettings& settings, std::uint64_t ns) {
  double rate = 0;
  with_load(settings, [&](Load& load) { rate = load.saturate(settings.window, ns); });
  return rate;
}

/// What the loop that measures latencies can do at most: one without its reads of the clock does
/// more, and a share of that could be more than this one keeps up with.
double timed_rate(const LoadSettings& settings, const Timer& timer, std::uint64_t ns) {
  double rate = 0;
  with_load(settings, [&](Load& load) {
    shm::Histogram unread;
    rate = load.open_loop(timer, even_gaps(), Load::kAtOnce, ns, unread).answered_per_s;
  });
  return rate;
}

/// One row for each rate, by percent of `saturation` or as they were given.
std::vector<double> add_rates(const OpenLoopSettings& settings, double saturation, Section& s) {
  std::vector<double> rates = settings.rates;
  for (const double rate : rates) {
    s.rows.push_back({humane(Unit::requests_per_s, rate), ""});
  }
  if (rates.empty()) {
    for (const double percent : settings.percents) {
      rates.push_back(saturation * percent / 100);
      s.rows.push_back(
          {fmt::format("{:g} %", percent), humane(Unit::requests_per_s, rates.back()) +
                                               " of this loop's saturation, " +
                                               humane(Unit::requests_per_s, saturation)});
    }
  }
  return rates;
}

}  // namespace

void run_throughput(Run& run, const Plan& plan, const LoadSettings& settings) {
  Section s;
  s.title = fmt::format("throughput, window {}{}", settings.window,
                        settings.processes ? ", three processes" : "");
  s.sample = "answers that the client checked and copied out, per second";
  s.unit = Unit::requests_per_s;
  describe(settings, s);
  const std::string payload = fmt::format("{} B of payload", settings.payload_bytes);
  const bool near_budget = !settings.processes && settings.window == 64;
  s.rows.push_back({"broker", payload + (near_budget ? "; budget 10 M/s near" : "")});
  if (!settings.processes) {
    s.rows.push_back({"floor", "a relay that only copies, two threads; " + payload});
    s.comparisons.push_back({0, 1});
  }
  run.measure(std::move(s), plan, [&](Section& section, std::uint64_t ns) {
    const std::uint64_t each_ns = ns / section.rows.size();
    run.say("broker");
    section.rows[0].add(broker_rate(settings, each_ns));
    if (!settings.processes) {
      run.say("floor");
      section.rows[1].add(floor_rate(settings, each_ns));
    }
  });
}

void run_open_loop(Run& run, const Plan& plan, const OpenLoopSettings& settings) {
  Section s;
  s.title = fmt::format("open loop, {} arrivals{}", settings.poisson ? "Poisson" : "even",
                        settings.load.processes ? ", three processes" : "");
  s.sample =
      "from the time when the request was to be sent, whether or not it could be, until its answer "
      "was checked and copied out";
  describe(settings.load, s);
  Plan rest = plan;
  double saturation = 0;
  if (settings.rates.empty()) {
    run.say("saturation");
    const double seconds = plan.seconds * kSaturationShare;
    saturation = timed_rate(settings.load, run.timer(), static_cast<std::uint64_t>(seconds * 1e9));
    rest.seconds -= seconds;
    if (interrupted()) {
      return;
    }
  }
  const std::vector<double> rates = add_rates(settings, saturation, s);
  run.measure(std::move(s), rest, [&](Section& section, std::uint64_t ns) {
    const std::vector<double> gaps =
        settings.poisson ? poisson_gaps(settings.seed + section.repetitions.size()) : even_gaps();
    for (std::size_t r = 0; r < rates.size(); ++r) {
      run.say(section.rows[r].name.c_str());
      shm::Histogram samples;
      Load::OpenLoop done;
      with_load(settings.load, [&](Load& load) {
        done = load.open_loop(run.timer(), gaps, rates[r], ns / rates.size(), samples);
      });
      section.rows[r].add(quantiles_of(samples));
      if (static_cast<double>(done.unsent) > kUnsentMax * static_cast<double>(done.meant)) {
        section.warnings.push_back(
            fmt::format("{}: {} of {} requests could not be sent within twice the time",
                        section.rows[r].name, done.unsent, done.meant));
      }
    }
  });
}

}  // namespace mserve::bench
