// SPDX-License-Identifier: Apache-2.0
#include "restarts_run.hpp"

#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <utility>
#include <vector>

#include "broker_counters.hpp"
#include "ends.hpp"
#include "interrupt.hpp"
#include "mserve/shm/clock.hpp"
#include "own_broker.hpp"
#include "pace.hpp"
#include "processes.hpp"

namespace mserve::bench {
namespace {

constexpr std::size_t kRestartedRow = 0;
constexpr std::size_t kQuietRow = 1;
/// A sample longer than this may be our own absence: then the kernel is asked.
constexpr std::uint64_t kSuspectNs = 10'000;
constexpr std::uint64_t kLookNs = 20'000'000;  // between two looks whether all are back
constexpr std::uint64_t kAllBackNsMax = 120'000'000'000;
/// What counts of the time between two looks: more is this process's, or the machine's, absence.
constexpr std::uint64_t kLookNsMax = 1'000'000'000;

/// How long the broker's data thread was ready to run and did not, since its start.
std::uint64_t data_thread_waited_ns(pid_t broker) {
  std::error_code error;
  const std::string tasks = "/proc/" + std::to_string(broker) + "/task";
  for (const auto& task : std::filesystem::directory_iterator(tasks, error)) {
    if (contents_of(task.path().string() + "/comm") == "mserve-data\n") {
      std::istringstream stat(contents_of(task.path().string() + "/schedstat"));
      std::uint64_t ran = 0;
      std::uint64_t waited = 0;
      stat >> ran >> waited;
      return waited;
    }
  }
  return 0;
}

/// How often this thread left its core.
long switches() noexcept {
  rusage usage{};
  (void)getrusage(RUSAGE_THREAD, &usage);
  return usage.ru_nvcsw + usage.ru_nivcsw;
}

/// What else may have kept servants from starting, where this thread spins on the core they have.
std::string advice() {
  return contents_of("/proc/sys/kernel/sched_autogroup_enabled") == "1\n"
             ? " (some kernels leave processes of other sessions waiting beside a thread that "
               "spins: try sysctl -w kernel.sched_autogroup_enabled=0)"
             : "";
}

/// Round trips of one thread that is client and servant, without those in which it was away itself.
class Watch {
 public:
  Watch(const Timer& timer, const TripOptions& options)
      : timer_(timer),
        servant_(attach(options, shm::Role::servant)),
        client_(opaque_side(options)),
        counters_(options) {}

  void trip() {
    const std::uint64_t begin = timer_.read();
    // Away between two samples: nothing that the next one contains.
    if (end_ != 0 && timer_.to_ns(begin - end_) > kSuspectNs) {
      switches_ = switches();
    }
    round_trip(client_, servant_);
    end_ = timer_.read();
    const std::uint64_t ns = timer_.to_ns(end_ - begin);
    if (ns > kSuspectNs) [[unlikely]] {
      const long now = switches();
      if (now != switches_) {
        switches_ = now;
        ++own_;
        end_ = timer_.read();
        return;
      }
      end_ = timer_.read();
    }
    samples_.record(ns);
  }

  [[nodiscard]] std::uint64_t attached_servants() const { return counters_.value("servants"); }

  void begin() {
    samples_.reset();
    end_ = 0;
    switches_ = switches();
  }
  [[nodiscard]] const shm::Histogram& samples() const noexcept { return samples_; }
  [[nodiscard]] std::uint64_t own_absences() const noexcept { return own_; }

 private:
  const Timer& timer_;
  shm::Attachment servant_;
  ClientSide client_;
  BrokerCounters counters_;
  shm::Histogram samples_;
  std::uint64_t end_ = 0;
  long switches_ = 0;
  std::uint64_t own_ = 0;
};

/// What one phase showed.
struct Shown {
  Quantiles trips;
  double waited_percent = 0;  ///< Of the phase, by the data thread for its core.
  std::uint64_t ns = 0;
};

class RestartTrial {
 public:
  RestartTrial(const RestartsSettings& settings, const Timer& timer, const OwnBroker& broker)
      : settings_(settings),
        watch_(timer, broker.trip_options(settings.payload_bytes)),
        broker_(broker) {}

  /// Kills them all, and goes on until as many are attached again and none of the killed is left.
  Shown restart() {
    const std::vector<Process> launchers = children_of(broker_.pid());
    launcher_ = launchers.empty() ? 0 : launchers.front().pid;
    victims_ = launched();
    if (victims_.size() != settings_.servants) {
      throw std::runtime_error(
          fmt::format("{} servants run, not {}", victims_.size(), settings_.servants));
    }
    std::size_t killed = 0;
    std::uint64_t looked = 0;
    std::uint64_t waited = 0;
    return during([&](std::uint64_t ns) {
      if (killed < victims_.size()) {
        if (ns >= settings_.within_ns * killed / victims_.size()) {
          (void)::kill(victims_[killed++].pid, SIGKILL);
        }
        return true;
      }
      if (ns - looked < kLookNs) {
        return true;
      }
      waited += std::min(ns - std::exchange(looked, ns), kLookNsMax);
      const Seen seen = look();
      if (!seen.all_back(settings_.servants) && waited > kAllBackNsMax) {
        throw std::runtime_error(fmt::format(
            "{:.0f} s after {} servants were killed {} of them are still there, {} others run and "
            "{} are attached{}; the broker said:\n{}",
            static_cast<double>(waited) / 1e9, settings_.servants, seen.killed, seen.started,
            seen.attached, advice(), broker_.said()));
      }
      return !seen.all_back(settings_.servants);
    });
  }

  Shown stay_quiet(std::uint64_t for_ns) {
    return during([for_ns](std::uint64_t ns) { return ns < for_ns; });
  }

  [[nodiscard]] std::uint64_t own_absences() const noexcept { return watch_.own_absences(); }

 private:
  /// What is there at one moment.
  struct Seen {
    std::uint64_t attached = 0;  ///< Servants, without the bench's own.
    std::size_t killed = 0;      ///< Processes that were to be killed,
    std::size_t started = 0;     ///< and those that were started since.

    [[nodiscard]] bool all_back(std::size_t servants) const noexcept {
      return attached == servants && killed == 0 && started == servants;
    }
  };

  [[nodiscard]] Seen look() const {
    Seen seen{.attached = watch_.attached_servants() - 1};
    for (const Process& process : launched()) {
      const bool was_there = std::find(victims_.begin(), victims_.end(), process) != victims_.end();
      ++(was_there ? seen.killed : seen.started);
    }
    return seen;
  }

  [[nodiscard]] std::vector<Process> launched() const {
    return launcher_ == 0 ? std::vector<Process>{} : children_of(launcher_);
  }

  /// Round trips as long as `go_on(ns since the begin)`, which may take its time, wants them.
  template <class GoOn>
  Shown during(GoOn go_on) {
    const std::uint64_t waited = data_thread_waited_ns(broker_.pid());
    watch_.begin();
    const std::uint64_t begin = shm::steady_now();
    std::uint64_t ns = 0;
    do {
      for (int i = 0; i < kTripsPerLook; ++i) {
        watch_.trip();
      }
      ns = shm::steady_now() - begin;
    } while (!interrupted() && go_on(ns));
    const auto waited_ns = static_cast<double>(data_thread_waited_ns(broker_.pid()) - waited);
    return {quantiles_of(watch_.samples()), waited_ns / static_cast<double>(ns) * 100, ns};
  }

  const RestartsSettings& settings_;
  Watch watch_;
  const OwnBroker& broker_;
  pid_t launcher_ = 0;
  std::vector<Process> victims_{};
};

std::vector<Section> describe(const RestartsSettings& settings) {
  Section trips;
  trips.title = fmt::format("{} servants restarted", settings.servants);
  trips.sample =
      "a round trip in pair mode, as of `rtt`, unless the measuring thread itself left its core";
  trips.pinning = fmt::format(
      "client and servant are one thread on core {}, the broker's data thread is on core {}; all "
      "else where the kernel puts it, off that core",
      settings.cores.measuring, settings.cores.relaying);
  trips.idle = "both spin";
  trips.rows = {
      {"restarted", fmt::format("servants are killed within {} s, and until the last is back",
                                static_cast<double>(settings.within_ns) / 1e9)},
      {"quiet", "for as long, afterwards"}};
  trips.comparisons = {{kRestartedRow, kQuietRow}};
  Section waited;
  waited.title = "the broker's data thread, ready to run and not on its core";
  waited.sample = "share of the same time, by the scheduler's own count";
  waited.unit = Unit::percent;
  waited.rows = {{"restarted", ""}, {"quiet", ""}};
  return {trips, waited};
}

}  // namespace

void run_restarts(Run& run, const Plan& plan, const RestartsSettings& settings) {
  // Their own tag keeps the requests of the measurement away from them.
  const std::vector<std::string> options = {"--servant-args",
                                            "--rows 0 --tags restarted",
                                            "--rule",
                                            "-> !restarted",
                                            "--max-sessions",
                                            std::to_string(2 * settings.servants + 16),
                                            std::to_string(settings.servants),
                                            settings.servant_path};
  std::uint64_t own_absences = 0;
  run.measure(describe(settings), plan, [&](std::vector<Section>& sections, std::uint64_t) {
    OwnBroker broker(settings.broker_path, shm::IdleStrategy::spin, settings.cores.relaying,
                     options);
    if (interrupted()) {
      return;
    }
    const Pinned pinned(settings.cores.measuring);
    try {
      RestartTrial trial(settings, run.timer(), broker);
      const Shown restarted = trial.restart();
      const Shown quiet = trial.stay_quiet(restarted.ns);
      sections[0].rows[kRestartedRow].add(restarted.trips);
      sections[0].rows[kQuietRow].add(quiet.trips);
      sections[1].rows[kRestartedRow].add(restarted.waited_percent);
      sections[1].rows[kQuietRow].add(quiet.waited_percent);
      own_absences += trial.own_absences();
    } catch (const Interrupted&) {
      // The caller looks at interrupted() too.
    }
  });
  if (own_absences > 0) {
    run.add_warning(fmt::format("{} samples are left out: the measuring thread was not on its core",
                                own_absences));
  }
}

}  // namespace mserve::bench
