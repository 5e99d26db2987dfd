// SPDX-License-Identifier: Apache-2.0
#include "idle_clients_run.hpp"

#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <stdexcept>

#include "ends.hpp"
#include "interrupt.hpp"
#include "mserve/shm/clock.hpp"
#include "own_broker.hpp"
#include "pace.hpp"

namespace mserve::bench {
namespace {

/// The broker's --cool here: who was silent for so long is looked at less often.
constexpr const char* kCool = "2ms";
constexpr std::uint64_t kCooledNs = 6'000'000;  // longer than that, with the broker's own tick
constexpr std::size_t kFirstMessagesMax = 100;
constexpr std::size_t kOneRow = 0;
constexpr std::size_t kManyRow = 1;
constexpr std::size_t kColdRow = 2;

/// For this process, and for the broker that it starts.
rlim_t raise_descriptor_limit() noexcept {
  rlimit limit{};
  (void)getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  (void)setrlimit(RLIMIT_NOFILE, &limit);
  (void)getrlimit(RLIMIT_NOFILE, &limit);
  return limit.rlim_cur;
}

std::vector<ClientSide> attach_silent(const TripOptions& options, std::uint32_t count) {
  std::vector<ClientSide> silent;
  silent.reserve(count);
  while (silent.size() < count && !interrupted()) {
    try {
      silent.push_back(opaque_side(options));
    } catch (const std::runtime_error& e) {
      throw std::runtime_error(fmt::format(
          "client {} of {}: {}; RLIMIT_NOFILE is {} here and in the broker (see ulimit -Hn), "
          "vm.max_map_count bounds mappings: ask for fewer with --clients",
          silent.size() + 2, count + 1, e.what(), raise_descriptor_limit()));
    }
  }
  return silent;
}

class SilenceTrial {
 public:
  SilenceTrial(const IdleClientsSettings& settings, const Timer& timer, const OwnBroker& broker)
      : settings_(settings), timer_(timer), options_(broker.trip_options(settings.payload_bytes)) {
    options_.ring_bytes = settings.ring_bytes;
    TripOptions servant = options_;
    servant.ring_bytes = 0;
    servant_.emplace(attach(servant, shm::Role::servant));
    busy_.emplace(opaque_side(options_));
  }

  void measure(Section& section, std::uint64_t ns) {
    section.rows[kOneRow].add(trips_for(ns / 2));
    std::vector<ClientSide> silent = attach_silent(options_, settings_.clients - 1);
    shm::Histogram ignored;
    for (ClientSide& client : silent) {  // silent, not new: its memory was touched before
      one_trip(client, ignored);
    }
    trips_until_cool(ignored);
    section.rows[kManyRow].add(trips_for(ns / 2));
    shm::Histogram first;
    const std::size_t step = std::max<std::size_t>(silent.size() / kFirstMessagesMax, 1);
    for (std::size_t i = 0; i < silent.size() && !interrupted(); i += step) {
      trips_until_cool(ignored);
      one_trip(silent[i], first);
    }
    section.rows[kColdRow].add(quantiles_of(first));
  }

 private:
  void one_trip(ClientSide& client, shm::Histogram& samples) {
    const std::uint64_t begin = timer_.read();
    round_trip(client, *servant_);
    samples.record(timer_.to_ns(timer_.read() - begin));
  }
  /// Until whoever spoke before counts as silent again.
  void trips_until_cool(shm::Histogram& ignored) {
    const std::uint64_t begin_ns = shm::steady_now();
    while (shm::steady_now() - begin_ns < kCooledNs && !interrupted()) {
      one_trip(*busy_, ignored);
    }
  }
  Quantiles trips_for(std::uint64_t all_ns) {
    return quantiles_of(*measure_warm(all_ns, [&](std::uint64_t ns, shm::Histogram& samples) {
      const std::uint64_t begin_ns = shm::steady_now();
      while (shm::steady_now() - begin_ns < ns && !interrupted()) {
        for (int i = 0; i < kTripsPerLook; ++i) {
          one_trip(*busy_, samples);
        }
      }
    }));
  }

  const IdleClientsSettings& settings_;
  const Timer& timer_;
  TripOptions options_;
  std::optional<shm::Attachment> servant_;
  std::optional<ClientSide> busy_;
};

Section describe(const IdleClientsSettings& settings) {
  Section s;
  s.title = fmt::format("{} attached clients that are silent", settings.clients - 1);
  s.sample = "a round trip in pair mode, as of `rtt`";
  s.pinning = fmt::format(
      "clients and servant are one thread on core {}, the broker's data thread is on core {}",
      settings.cores.measuring, settings.cores.relaying);
  s.idle = "both spin";
  s.rows = {{"1 client", "nobody else is attached"},
            {fmt::format("{} clients", settings.clients),
             fmt::format("all but one silent, rings of {} B", settings.ring_bytes)},
            {"first message", "of a silent client while all others are silent; budget 25 us"}};
  s.comparisons = {{kManyRow, kOneRow, "at most 1.2"}, {kColdRow, kOneRow}};
  return s;
}

}  // namespace

void run_idle_clients(Run& run, const Plan& plan, const IdleClientsSettings& settings) {
  (void)raise_descriptor_limit();
  const std::vector<std::string> options = {"--max-sessions", std::to_string(settings.clients + 8),
                                            "--client-ring",  std::to_string(settings.ring_bytes),
                                            "--cool",         kCool};
  run.measure(describe(settings), plan, [&](Section& section, std::uint64_t ns) {
    OwnBroker broker(settings.broker_path, shm::IdleStrategy::spin, settings.cores.relaying,
                     options);
    if (interrupted()) {
      return;
    }
    const Pinned pinned(settings.cores.measuring);
    try {
      SilenceTrial(settings, run.timer(), broker).measure(section, ns);
    } catch (const Interrupted&) {
      // The caller looks at interrupted() too.
    }
  });
}

}  // namespace mserve::bench
