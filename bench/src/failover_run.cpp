// SPDX-License-Identifier: Apache-2.0
#include "failover_run.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "cluster_side.hpp"
#include "failover_client.hpp"
#include "interrupt.hpp"
#include "kdb_peer.hpp"
#include "processes.hpp"
#include "waiting.hpp"

namespace mserve::bench {
namespace {

constexpr int kServants = 2;  ///< Of each peer.
constexpr std::uint32_t kSentAtLoss = 16;
constexpr double kBeforeShare = 0.3;
constexpr std::uint64_t kSettleNsMax = 20'000'000'000;
constexpr auto kGoneWithin = std::chrono::minutes(1);
constexpr double kAllowedMs = 1000;
constexpr const char* kLink = "peer-b";  ///< As A calls its link to B.

/// What is done to B.
enum class Loss : std::uint8_t { killed, stopped };
constexpr std::array<Loss, 2> kLosses = {Loss::killed, Loss::stopped};
constexpr const char* name_of(Loss loss) noexcept {
  return loss == Loss::killed ? "killed" : "stopped";
}

/// Holds a process back until this ends.
class Stopped {
 public:
  explicit Stopped(pid_t pid) noexcept : pid_(pid) { (void)::kill(pid_, SIGSTOP); }
  ~Stopped() { (void)::kill(pid_, SIGCONT); }
  Stopped(const Stopped&) = delete;
  Stopped& operator=(const Stopped&) = delete;

 private:
  pid_t pid_;
};

/// Three hosts, as far as one machine can be that.
class ThreeHosts {
 public:
  explicit ThreeHosts(const FailoverSettings& settings) : s_(settings), etcd_(settings.etcd_path) {
    a_ = start("a", free_port(), 0);
    c_ = start("c", free_port(), kServants);
    port_of_b_ = free_port();
    b_ = start("b", port_of_b_, kServants);
    wait_for_servants(*a_, 2);  // a link to each
  }

  [[nodiscard]] TripOptions asked() const { return a_->trip_options(0); }

  /// Loses B, as told.
  void lose(Loss loss) {
    if (loss == Loss::stopped) {
      stopped_.emplace(b_->pid());
      return;
    }
    orphans_ = descendants_of(b_->pid());
    (void)::kill(b_->pid(), SIGKILL);
  }

  /// Has it back, and waits for its link.
  void bring_back(Loss loss) {
    wait_for_servants(*a_, 1);
    if (loss == Loss::killed) {
      b_.reset();
      const auto is_left = [](const Process& process) { return runs(process); };
      wait_for(
          kGoneWithin, [&] { return std::none_of(orphans_.begin(), orphans_.end(), is_left); },
          [] { return "what a killed broker had started does not end"; });
      b_ = start("b", port_of_b_, kServants);
    }
    stopped_.reset();
    wait_for_servants(*a_, 2);
  }

 private:
  [[nodiscard]] std::unique_ptr<OwnBroker> start(const char* id, std::uint16_t port,
                                                 int servants) const {
    std::vector<std::string> options = options_of({etcd_.url(), id, port});
    options.insert(options.end(), {"-p", std::to_string(port)});
    if (servants > 0) {
      options.insert(options.end(),
                     {"--servant-args", "--rows 0", std::to_string(servants), s_.servant_path});
    }
    return std::make_unique<OwnBroker>(s_.broker_path, shm::IdleStrategy::automatic, std::nullopt,
                                       options);
  }

  const FailoverSettings& s_;
  OwnEtcd etcd_;
  std::uint16_t port_of_b_ = 0;
  std::unique_ptr<OwnBroker> a_;
  std::unique_ptr<OwnBroker> c_;
  std::unique_ptr<OwnBroker> b_;
  std::vector<Process> orphans_{};    ///< What B had started when it was killed.
  std::optional<Stopped> stopped_{};  ///< Ends before B does.
};

FailoverFigures measure(ThreeHosts& hosts, const FailoverSettings& settings, Loss loss,
                        std::uint64_t ns) {
  SteadyClient client(hosts.asked(), settings.per_second, settings.window);
  const std::uint64_t before_ns = share_of(ns, kBeforeShare);
  client.run_for(before_ns);
  client.send_now(kSentAtLoss);
  hosts.lose(loss);
  client.note_loss(kLink);
  client.run_for(ns - before_ns);
  client.settle(kSettleNsMax);
  if (!interrupted()) {
    hosts.bring_back(loss);
    // What a host says late that was given up would come now.
    client.settle(0);
  }
  return client.figures();
}

/// Rows of a section: what, and of what it is.
using Value = double (*)(const FailoverFigures&);
struct What {
  const char* name;
  const char* setting;
  Value value;
};
constexpr std::array<What, 2> kTimeRows = {
    {{"wait", "the longest that a request which was at B took to its answer",
      [](const FailoverFigures& f) { return static_cast<double>(f.wait_ns) / 1e6; }},
     {"silence", "the longest time without an answer to any request",
      [](const FailoverFigures& f) { return static_cast<double>(f.silence_ns) / 1e6; }}}};
constexpr std::array<What, 5> kCountRows = {
    {{"sent", "", [](const FailoverFigures& f) { return static_cast<double>(f.sent); }},
     {"moved", "sent to B, and again to C",
      [](const FailoverFigures& f) { return static_cast<double>(f.moved); }},
     {"failed", "answered with an error",
      [](const FailoverFigures& f) { return static_cast<double>(f.failed); }},
     {"lost", "never answered",
      [](const FailoverFigures& f) { return static_cast<double>(f.lost); }},
     {"twice", "answered more than once",
      [](const FailoverFigures& f) { return static_cast<double>(f.twice); }}}};

template <std::size_t N>
void add_rows(Section& section, const std::array<What, N>& all) {
  for (const Loss loss : kLosses) {
    for (const What& what : all) {
      section.rows.push_back({fmt::format("{}: {}", name_of(loss), what.name), what.setting});
    }
  }
}

template <std::size_t N>
void add_figures(Section& section, const std::array<What, N>& all, std::size_t loss,
                 const FailoverFigures& figures) {
  for (std::size_t i = 0; i < N; ++i) {
    section.rows[loss * N + i].add(all[i].value(figures));
  }
}

std::vector<Section> describe(const FailoverSettings& settings) {
  Section times;
  times.title = "a host is lost";
  times.unit = Unit::ms;
  times.sample = fmt::format(
      "from when broker B of a cluster was killed (SIGKILL), or stopped (SIGSTOP: silent, while "
      "its connections stand); {:g} repeatable requests/s at broker A, which has no servants, up "
      "to {} under way; B and C have {} servants each",
      settings.per_second, settings.window, kServants);
  times.pinning = "none, all usable cores; hosts are brokers with directories of their own";
  times.idle = "brokers, links and servants auto; the client sleeps";
  add_rows(times, kTimeRows);
  times.rows.push_back({"allowed", "not measured: what a failover may take"});
  for (std::size_t row = 0; row + 1 < times.rows.size(); ++row) {
    times.comparisons.push_back({row, times.rows.size() - 1, "failover of 1 s allowed"});
  }
  Section counts;
  counts.title = "requests meanwhile, and before";
  counts.unit = Unit::requests;
  counts.sample = "requests of that repetition; lost and twice have to be 0";
  add_rows(counts, kCountRows);
  return {times, counts};
}

/// What is no figure: requests that were not answered once, and what the others were told.
class Verdict {
 public:
  void add(const FailoverFigures& figures) {
    lost_ += figures.lost;
    twice_ += figures.twice;
    for (const auto& [error, count] : figures.errors) {
      errors_[error] += count;
    }
  }
  void tell(Run& run) const {
    for (const auto& [error, count] : errors_) {
      run.add_warning(fmt::format("{} requests failed: {}", count, error));
    }
    if (lost_ + twice_ > 0) {
      run.add_failure(
          fmt::format("{} requests were lost and {} were answered more than once", lost_, twice_));
    }
  }

 private:
  std::uint64_t lost_ = 0;
  std::uint64_t twice_ = 0;
  std::map<std::string, std::uint64_t> errors_;
};

}  // namespace

void run_failover(Run& run, const Plan& plan, const FailoverSettings& settings) {
  ThreeHosts hosts(settings);
  if (interrupted()) {
    return;
  }
  Verdict verdict;
  run.measure(describe(settings), plan, [&](std::vector<Section>& sections, std::uint64_t ns) {
    for (std::size_t loss = 0; loss < kLosses.size() && !interrupted(); ++loss) {
      run.say(name_of(kLosses[loss]));
      const FailoverFigures figures = measure(hosts, settings, kLosses[loss], ns / kLosses.size());
      if (interrupted()) {
        return;
      }
      add_figures(sections[0], kTimeRows, loss, figures);
      add_figures(sections[1], kCountRows, loss, figures);
      verdict.add(figures);
    }
    sections[0].rows.back().add(kAllowedMs);
  });
  if (!interrupted()) {
    verdict.tell(run);
  }
}

}  // namespace mserve::bench
