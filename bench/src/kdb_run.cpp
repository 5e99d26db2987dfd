// SPDX-License-Identifier: Apache-2.0
#include "kdb_run.hpp"

#include <fmt/format.h>
#include <sched.h>

#include <array>
#include <atomic>
#include <boost/json.hpp>
#include <fstream>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "child.hpp"
#include "cores.hpp"
#include "interrupt.hpp"
#include "kdb_peer.hpp"
#include "machine.hpp"
#include "statistics.hpp"

namespace mserve::bench {
namespace {

constexpr double kWarmUpShare = 0.15;

/// One way for a query to take.
struct Way {
  const char* name;
  std::uint16_t port;
  bool yielders;
  std::vector<Quantiles> repetitions{};
};

/// A thread of the lowest priority on each core that does nothing but yield: no core goes to sleep,
/// so that a wake-up costs what it costs on a busy machine.
class Yielders {
 public:
  Yielders() {
    for (const int core : usable_core_list()) {
      threads_.emplace_back([this, core] {
        (void)pin_to(core);
        const sched_param none{};
        (void)sched_setscheduler(0, SCHED_IDLE, &none);
        while (!stop_.load(std::memory_order_relaxed)) {
          sched_yield();
        }
      });
    }
  }
  ~Yielders() {
    stop_.store(true, std::memory_order_relaxed);
    for (std::thread& thread : threads_) {
      thread.join();
    }
  }
  Yielders(const Yielders&) = delete;
  Yielders& operator=(const Yielders&) = delete;

 private:
  std::atomic<bool> stop_{false};
  std::vector<std::thread> threads_;
};

/// All processes of a run.
class Stage {
 public:
  explicit Stage(const KdbSettings& s) {
    const std::string log = dir_.path() + "/log";
    direct_ = free_port();
    start({s.standin_path, "--port", std::to_string(direct_)}, log);
    wait_for_answer(direct_, "the stand-in for q");
    gateway_ = free_port();
    start({s.broker_path, "--name", "bench", "--dir", dir_.path(), "--log-level", "warning", "-p",
           std::to_string(gateway_)},
          log);
    start({s.shim_path, "--q", "127.0.0.1:" + std::to_string(direct_), "--broker", "bench", "--dir",
           dir_.path()},
          log);
    wait_for_answer(gateway_, "the stand-in through gateway and shim");
    if (!s.haproxy_path.empty()) {
      haproxy_ = free_port();
      start({s.haproxy_path, "-f", haproxy_config(), "-db"}, log);
      wait_for_answer(haproxy_, "the stand-in through HAProxy");
    }
  }
  ~Stage() {
    while (!children_.empty()) {
      children_.pop_back();
    }
  }
  Stage(const Stage&) = delete;
  Stage& operator=(const Stage&) = delete;

  [[nodiscard]] std::vector<Way> ways() const {
    std::vector<Way> all = {{"direct", direct_, false},
                            {"gateway+shim", gateway_, false},
                            {"direct, yielders", direct_, true}};
    if (haproxy_ != 0) {
      all.push_back({"haproxy", haproxy_, false});
    }
    return all;
  }

 private:
  void start(std::vector<std::string> command, const std::string& log) {
    children_.push_back(std::make_unique<Child>(std::move(command), log, Child::Ready::not_at_all));
  }
  std::string haproxy_config() const {
    std::string path = dir_.path() + "/haproxy.cfg";
    std::ofstream(path) << "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 60s\n"
                           "  timeout server 60s\nlisten q\n  bind 127.0.0.1:"
                        << haproxy_ << "\n  server q 127.0.0.1:" << direct_ << "\n";
    return path;
  }

  TempDir dir_;
  std::vector<std::unique_ptr<Child>> children_;
  std::uint16_t direct_ = 0;
  std::uint16_t gateway_ = 0;
  std::uint16_t haproxy_ = 0;
};

Quantiles measure(const KdbSettings& settings, const Way& way, std::uint64_t duration_ns,
                  const Timer& timer) {
  std::optional<Yielders> yielders;
  if (way.yielders) {
    yielders.emplace();
  }
  KdbPeer peer(way.port, settings.payload_bytes);
  const auto warm_ns = static_cast<std::uint64_t>(static_cast<double>(duration_ns) * kWarmUpShare);
  const auto thrown_away = std::make_unique<shm::Histogram>();
  const auto samples = std::make_unique<shm::Histogram>();
  peer.measure(timer, warm_ns, *thrown_away);
  peer.measure(timer, duration_ns - warm_ns, *samples);
  return quantiles_of(*samples);
}

Spread over_repetitions(const Way& way, std::size_t percentile) {
  std::vector<double> values;
  for (const Quantiles& q : way.repetitions) {
    values.push_back(static_cast<double>(q.ns[percentile]) / 1000);
  }
  return spread_of(values);
}

/// `above` over `below`, repetition by repetition.
Spread ratio(const Way& above, const Way& below, std::size_t percentile) {
  std::vector<double> values;
  for (std::size_t i = 0; i < above.repetitions.size(); ++i) {
    values.push_back(static_cast<double>(above.repetitions[i].ns[percentile]) /
                     static_cast<double>(below.repetitions[i].ns[percentile]));
  }
  return spread_of(values);
}

void print(const std::vector<Way>& ways) {
  fmt::print("\nMedians over {} repetitions, with lowest and highest, in us:\n{:18}",
             ways.front().repetitions.size(), "");
  for (const PercentileName& p : kPercentiles) {
    fmt::print("{:>22}", p.name);
  }
  fmt::print("\n");
  for (const Way& way : ways) {
    fmt::print("{:18}", way.name);
    for (std::size_t i = 0; i < kPercentiles.size(); ++i) {
      const Spread s = over_repetitions(way, i);
      fmt::print("{:>22}", fmt::format("{:.1f} ({:.1f}-{:.1f})", s.median, s.low, s.high));
    }
    fmt::print("\n");
  }
  for (const Way& way : ways) {
    if (&way != &ways[1]) {
      for (const std::size_t p : {kP50, kP99}) {
        const Spread s = ratio(ways[1], way, p);
        fmt::print("{} / {:18} at {}  {:.2f}  ({:.2f} to {:.2f})\n", ways[1].name, way.name,
                   kPercentiles[p].name, s.median, s.low, s.high);
      }
    }
  }
}

std::string to_json(const KdbSettings& settings, const Machine& machine,
                    const std::vector<Way>& ways) {
  boost::json::array rows;
  for (const Way& way : ways) {
    boost::json::array repetitions;
    for (const Quantiles& q : way.repetitions) {
      boost::json::object one{{"samples", q.count}};
      for (std::size_t i = 0; i < kPercentiles.size(); ++i) {
        one[std::string(kPercentiles[i].name) + "_ns"] = q.ns[i];
      }
      repetitions.push_back(std::move(one));
    }
    rows.push_back({{"way", way.name}, {"repetitions", std::move(repetitions)}});
  }
  return boost::json::serialize(boost::json::object{
             {"format", 1},
             {"command", "kdb"},
             {"payload_bytes", settings.payload_bytes},
             {"machine", boost::json::object{{"processor", machine.processor},
                                             {"cores_usable", machine.cores.size()},
                                             {"kernel", machine.kernel},
                                             {"load", machine.load}}},
             {"ways", std::move(rows)}}) +
         "\n";
}

}  // namespace

std::string run_kdb(const KdbSettings& settings) {
  const Machine machine = describe_machine();
  fmt::print(
      "measures   kdb: sync echo of {} B over loopback TCP, one at a time\n"
      "machine    {}, {} usable cores; {}; load {} before the run\n",
      settings.payload_bytes, machine.processor, machine.cores.size(), machine.kernel,
      machine.load);
  if (settings.haproxy_path.empty()) {
    fmt::print(
        "warning    haproxy is not installed: its row is missing (apt-get install haproxy)\n");
  }
  const Timer timer;
  const Stage stage(settings);
  std::vector<Way> ways = stage.ways();
  const auto each_ns = static_cast<std::uint64_t>(settings.seconds * 1e9 / settings.repetitions /
                                                  static_cast<double>(ways.size()));
  for (int r = 0; r < settings.repetitions && !interrupted(); ++r) {
    for (Way& way : ways) {
      way.repetitions.push_back(measure(settings, way, each_ns, timer));
    }
  }
  if (!interrupted()) {
    print(ways);
  }
  return to_json(settings, machine, ways);
}

}  // namespace mserve::bench
