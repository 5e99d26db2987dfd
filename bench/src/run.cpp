// SPDX-License-Identifier: Apache-2.0
#include "run.hpp"

#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <stdexcept>

#include "broker_side.hpp"
#include "floor_relay.hpp"
#include "interrupt.hpp"
#include "line_probe.hpp"

namespace mserve::bench {
namespace {

/// How a repetition's time is shared out.
constexpr double kProbeShare = 0.05;  // twice
constexpr double kFloorShare = 0.15;  // twice
constexpr double kRttShare = 0.60;
constexpr double kRelayShare = 0.15;  // taken from the round trips', where there is a relay
/// Of each measurement, run before it and thrown away.
constexpr double kWarmUpShare = 0.15;

constexpr double kLoadMax = 0.5;
constexpr double kBusyShareMax = 0.5;

/// "repetition 2 of 5: floor", rewritten in place, if stderr is a terminal.
class Progress {
 public:
  explicit Progress(int total) : total_(total), shown_(isatty(STDERR_FILENO) == 1) {}
  ~Progress() { clear(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void say(int repetition, const char* what) const {
    if (shown_) {
      fmt::print(stderr, "\r\033[Krepetition {} of {}: {} ...", repetition + 1, total_, what);
      (void)std::fflush(stderr);
    }
  }
  void clear() const {
    if (shown_) {
      fmt::print(stderr, "\r\033[K");
    }
  }

 private:
  int total_;
  bool shown_;
};

std::uint64_t share_ns(const Settings& settings, double share) {
  return static_cast<std::uint64_t>(settings.seconds * 1e9 * share / settings.repetitions);
}

std::uint64_t preemptions_so_far() {
  rusage usage{};
  return getrusage(RUSAGE_THREAD, &usage) == 0 ? static_cast<std::uint64_t>(usage.ru_nivcsw) : 0;
}

/// Runs `measure(duration_ns, histogram)` for a warm-up, then for the record.
template <class Measure>
void measure_warm(std::uint64_t duration_ns, shm::Histogram& samples, Measure measure) {
  const auto thrown_away = std::make_unique<shm::Histogram>();
  const auto warm_up_ns =
      static_cast<std::uint64_t>(static_cast<double>(duration_ns) * kWarmUpShare);
  measure(warm_up_ns, *thrown_away);
  measure(duration_ns - warm_up_ns, samples);
}

/// The thread must be pinned to the measuring core.
void measure_floor(const Settings& settings, const Timer& timer, double share,
                   shm::Histogram& samples) {
  FloorRelay relay(settings.cores, settings.payload_bytes);
  measure_warm(share_ns(settings, share), samples,
               [&](std::uint64_t ns, shm::Histogram& to) { relay.measure(timer, ns, to); });
}

/// The floor's relay as three processes.
Quantiles measure_relay(const Settings& settings, const Timer& timer) {
  const auto samples = std::make_unique<shm::Histogram>();
  ProcessRelay relay(settings.payload_bytes,
                     settings.pin ? std::optional(settings.cores) : std::nullopt);
  const PinnedIf pinned(settings.pin, settings.cores.measuring);
  measure_warm(share_ns(settings, kRelayShare), *samples,
               [&](std::uint64_t ns, shm::Histogram& to) { relay.measure(timer, ns, to); });
  return quantiles_of(*samples);
}

/// The round trips of one repetition, and the relay before them where it shows what they are worth.
void measure_rtt(const Settings& settings, const Timer& timer, BrokerSide& side, Repetition& r) {
  const bool with_relay = settings.mode != Mode::pair;
  if (with_relay) {
    r.relay = measure_relay(settings, timer);
  }
  if (interrupted()) {
    return;
  }
  const auto samples = std::make_unique<shm::Histogram>();
  const std::uint64_t preempted = preemptions_so_far();
  side.with_trips([&](Trips& trips) {
    measure_warm(share_ns(settings, with_relay ? kRttShare - kRelayShare : kRttShare), *samples,
                 [&](std::uint64_t ns, shm::Histogram& to) { trips.measure(timer, ns, to); });
  });
  r.preemptions = preemptions_so_far() - preempted;
  r.rtt = quantiles_of(*samples);
}

/// Everything but the round trips: `between` runs after the first floor and before the second.
template <class Between>
Repetition repeat(const Settings& settings, const Timer& timer, double floor_share,
                  Between between) {
  Repetition r;
  const auto before = std::make_unique<shm::Histogram>();
  const auto after = std::make_unique<shm::Histogram>();
  {
    const Pinned pinned(settings.cores.measuring);
    r.line_before = probe_line(settings.cores, timer, share_ns(settings, kProbeShare));
    measure_floor(settings, timer, floor_share, *before);
  }
  between(r);
  {
    const Pinned pinned(settings.cores.measuring);
    measure_floor(settings, timer, floor_share, *after);
    r.line_after = probe_line(settings.cores, timer, share_ns(settings, kProbeShare));
  }
  r.floor_before = quantiles_of(*before);
  r.floor_after = quantiles_of(*after);
  before->merge(*after);
  r.floor = quantiles_of(*before);
  return r;
}

Report begin_report(const Settings& settings, const Timer& timer) {
  Report report;
  report.machine = describe_machine();
  report.payload_bytes = settings.payload_bytes;
  report.seconds = settings.seconds;
  report.timer_from_tsc = timer.from_tsc();
  report.timer_ticks_per_us = timer.ticks_per_us();
  {
    const Pinned pinned(settings.cores.measuring);
    if (!pinned.ok()) {
      throw std::runtime_error(fmt::format("cannot run on core {}: the kernel refuses; see --cores",
                                           settings.cores.measuring));
    }
    report.timer = timer.cost();
  }
  if (const Pinned probe(settings.cores.relaying); !probe.ok()) {
    throw std::runtime_error(fmt::format("cannot run on core {}: the kernel refuses; see --cores",
                                         settings.cores.relaying));
  }
  if (report.machine.load_1min > kLoadMax) {
    report.warnings.push_back(fmt::format(
        "load average {:.2f}: others use this machine, expect tails of a scheduler tick (1 to 10 "
        "ms)",
        report.machine.load_1min));
  }
  if (settings.cores.siblings) {
    report.warnings.push_back(
        "both cores are threads of one physical core: they share its caches and slow each other");
  }
  if (!timer.from_tsc()) {
    report.warnings.push_back(
        "no usable time-stamp counter: every sample contains a clock_gettime");
  }
  return report;
}

constexpr const char* kFloorPath =
    "client to relay to servant to relay to client, four hops of one cache line (more if the "
    "payload needs them), every payload byte copied at each";

void describe_rtt(const Settings& settings, Report& report) {
  const std::string idle = to_string(idle_of(settings));
  const CorePair& cores = settings.cores;
  const std::string floor_cores =
      fmt::format("floor and probe on cores {} and {}", cores.measuring, cores.relaying);
  report.command = "rtt";
  switch (settings.mode) {
    case Mode::pair:
      report.mode = "pair";
      report.path =
          "request claimed, copied in, committed; through the broker; echoed by the "
          "servant; through the broker; answer checked and copied out";
      report.pinning = fmt::format(
          "client and servant are one thread on core {}, the broker's data "
          "thread is on core {}; {}",
          cores.measuring, cores.relaying, floor_cores);
      report.idle = "client and servant spin; broker " + idle;
      break;
    case Mode::processes:
      report.mode = "processes";
      report.path = "as in pair mode, but client, broker and servant are three processes";
      report.pinning = (settings.pin ? fmt::format("client and servant share core {}, the broker's "
                                                   "data thread is on core {}; ",
                                                   cores.measuring, cores.relaying)
                                     : "round trips: none, all usable cores; ") +
                       floor_cores;
      report.idle = "client, broker and servant " + idle;
      break;
    case Mode::running:
      report.mode = "running broker";
      report.path = fmt::format(
          "a call (`echo;chars) to broker '{}' and its own servants, which "
          "decode, look up, call and encode; no servant of ours",
          settings.broker_name);
      report.pinning = "client: none; broker and servants: as they were started; " + floor_cores;
      report.idle = "client " + idle + "; broker and servants as they were started";
      break;
  }
}

/// Threads that hold a core each while they wait.
void warn_about_cores(const Settings& settings, Report& report) {
  const std::size_t cores = report.machine.cores.size();
  const shm::IdleStrategy idle = idle_of(settings);
  if (settings.mode == Mode::processes && cores < 3) {
    report.warnings.push_back(
        idle == shm::IdleStrategy::spin
            ? fmt::format("3 spinning threads on {} cores: they starve one another, expect "
                          "milliseconds; use --idle auto",
                          cores)
            : fmt::format("3 waiting threads on {} cores: every round trip contains changes of "
                          "process, which the floor does not; compare with the relay",
                          cores));
  }
  if (settings.mode == Mode::running && cores < 3) {
    report.warnings.push_back(fmt::format(
        "client, broker and servant share {} cores: every round trip contains changes of process, "
        "which the floor does not; compare with the relay",
        cores));
  }
}

void note_interference(const BrokerSide& side, double idle_seconds, double busy_before,
                       Report& report) {
  const double busy_after = cpu_seconds_of(side.broker_pid());
  if (busy_before < 0 || busy_after < 0 ||
      busy_after - busy_before < kBusyShareMax * idle_seconds) {
    return;
  }
  report.warnings.push_back(fmt::format(
      "the running broker (process {}) keeps a core busy while nothing is asked of it: it spins or "
      "serves others, and the floor shared a core with it unless --cores avoids that core",
      side.broker_pid()));
}

}  // namespace

Report run_floor(const Settings& settings) {
  const Timer timer;
  Report report = begin_report(settings, timer);
  report.command = "floor";
  report.mode = "relay thread";
  report.path = kFloorPath;
  report.pinning = fmt::format(
      "client and servant are one thread on core {}, the relay is on core "
      "{}",
      settings.cores.measuring, settings.cores.relaying);
  report.idle = "both spin";
  print_heading(stdout, report);
  const Progress progress(settings.repetitions);
  for (int i = 0; i < settings.repetitions && !interrupted(); ++i) {
    progress.say(i, "line probe and floor");
    const std::uint64_t preempted = preemptions_so_far();
    Repetition r = repeat(settings, timer, (1 - 2 * kProbeShare) / 2, [](Repetition&) {});
    r.preemptions = preemptions_so_far() - preempted;
    progress.clear();
    if (!interrupted()) {
      print_repetition(stdout, static_cast<std::size_t>(i) + 1, r);
      report.repetitions.push_back(r);
    }
  }
  print_summary(stdout, report);
  return report;
}

Report run_rtt(const Settings& settings) {
  const Timer timer;
  Report report = begin_report(settings, timer);
  describe_rtt(settings, report);
  warn_about_cores(settings, report);
  BrokerSide side(settings);
  if (settings.mode == Mode::running) {
    const double seconds = 0.1;
    const double busy = cpu_seconds_of(side.broker_pid());
    usleep(static_cast<useconds_t>(seconds * 1e6));
    note_interference(side, seconds, busy, report);
  }
  print_heading(stdout, report);
  const Progress progress(settings.repetitions);
  for (int i = 0; i < settings.repetitions && !interrupted(); ++i) {
    progress.say(i, "line probe, floor, round trips");
    const Repetition r = repeat(settings, timer, kFloorShare, [&](Repetition& repetition) {
      measure_rtt(settings, timer, side, repetition);
    });
    progress.clear();
    if (!interrupted()) {
      print_repetition(stdout, static_cast<std::size_t>(i) + 1, r);
      report.repetitions.push_back(r);
    }
  }
  print_summary(stdout, report);
  return report;
}

}  // namespace mserve::bench
