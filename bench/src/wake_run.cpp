// SPDX-License-Identifier: Apache-2.0
#include "wake_run.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "futex_chain.hpp"
#include "interrupt.hpp"
#include "own_broker.hpp"

namespace mserve::bench {
namespace {

constexpr std::uint64_t kSettleNs = 200'000'000;
constexpr std::uint64_t kSliceNs = 20'000'000;

/// A broker, an echo servant and a client, all of which sleep when there is nothing to do.
struct Sleepers {
  explicit Sleepers(const WakeSettings& settings)
      : broker(settings.broker_path, settings.idle, std::nullopt) {
    TripOptions options = broker.trip_options(settings.payload_bytes);
    options.idle = settings.idle;
    options.pause_ns = settings.pause_ns;
    if (!interrupted()) {
      broker.start_echo_servant(options);
    }
    if (!interrupted()) {
      trips = attach_client(options);
    }
  }
  OwnBroker broker;
  std::unique_ptr<Trips> trips;
};

Quantiles measure_broker(const WakeSettings& settings, const Timer& timer, std::uint64_t ns) {
  Sleepers sleepers(settings);
  if (!sleepers.trips) {
    return {};
  }
  return quantiles_of(*measure_warm(ns, [&](std::uint64_t part_ns, shm::Histogram& to) {
    sleepers.trips->measure(timer, part_ns, to);
  }));
}

Quantiles measure_futex(int hops, const WakeSettings& settings, const Timer& timer,
                        std::uint64_t ns) {
  FutexChain chain(hops);
  return quantiles_of(*measure_warm(ns, [&](std::uint64_t part_ns, shm::Histogram& to) {
    chain.measure(timer, settings.pause_ns, part_ns, to);
  }));
}

void rest_for(std::uint64_t ns) {
  for (std::uint64_t rested = 0; rested < ns && !interrupted(); rested += kSliceNs) {
    pause_for(kSliceNs);
  }
}

/// What two processes used meanwhile, in percent of one core.
struct Used {
  double broker = 0;
  double servant = 0;
};
Used watch(const WakeSettings& settings) {
  const Sleepers sleepers(settings);
  if (!sleepers.trips) {
    return {};
  }
  rest_for(kSettleNs);
  const int broker = sleepers.broker.pid();
  const int servant = sleepers.broker.servants().front()->pid();
  const double begin = static_cast<double>(shm::steady_now());
  const double broker_before = cpu_seconds_of(broker);
  const double servant_before = cpu_seconds_of(servant);
  rest_for(static_cast<std::uint64_t>(settings.watch_seconds * 1e9));
  const double seconds = (static_cast<double>(shm::steady_now()) - begin) / 1e9;
  return {100 * (cpu_seconds_of(broker) - broker_before) / seconds,
          100 * (cpu_seconds_of(servant) - servant_before) / seconds};
}

Section describe(const WakeSettings& settings) {
  Section s;
  s.title = "waking what sleeps";
  s.sample = fmt::format(
      "a request {:g} ms after the last answer, so that everybody sleeps, until its answer is "
      "checked and copied out",
      static_cast<double>(settings.pause_ns) / 1e6);
  s.pinning = "none, all usable cores";
  s.idle = fmt::format("client, broker and servant {}", to_string(settings.idle));
  s.rows = {{"broker",
             "client, broker and servant are three processes: four wakes, or three "
             "where the client had not fallen asleep again"},
            {"futex, 4 wakes", "a number through a relay and back, three processes on futexes"},
            {"futex, 2 wakes", "a number there and back, two processes on futexes"}};
  s.comparisons = {{0, 1}, {0, 2}};
  return s;
}

}  // namespace

void run_wake(Run& run, const Plan& plan, const WakeSettings& settings) {
  run.measure(describe(settings), plan, [&](Section& section, std::uint64_t ns) {
    const std::uint64_t each_ns = ns / section.rows.size();
    run.say("broker");
    section.rows[0].add(measure_broker(settings, run.timer(), each_ns));
    run.say("futex");
    section.rows[1].add(measure_futex(4, settings, run.timer(), each_ns));
    section.rows[2].add(measure_futex(2, settings, run.timer(), each_ns));
  });
  Section idle;
  idle.title = "processor time while nothing is asked";
  idle.sample = fmt::format("in percent of one core, over {:g} s, all threads of each process",
                            settings.watch_seconds);
  idle.unit = Unit::percent;
  idle.idle = fmt::format("broker and servant {}, one client attached", to_string(settings.idle));
  idle.rows = {{"broker", ""}, {"servant", ""}, {"both", "budget: below 1 %"}};
  run.measure(std::move(idle),
              {settings.watch_seconds, std::min(plan.repetitions, 3), std::nullopt},
              [&](Section& section, std::uint64_t) {
                const Used used = watch(settings);
                section.rows[0].add(used.broker);
                section.rows[1].add(used.servant);
                section.rows[2].add(used.broker + used.servant);
              });
}

}  // namespace mserve::bench
