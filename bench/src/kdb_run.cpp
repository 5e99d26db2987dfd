// SPDX-License-Identifier: Apache-2.0
#include "kdb_run.hpp"

#include <fmt/format.h>
#include <sched.h>

#include <array>
#include <atomic>
#include <fstream>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "child.hpp"
#include "cores.hpp"
#include "interrupt.hpp"
#include "kdb_peer.hpp"
#include "statistics.hpp"

namespace mserve::bench {
namespace {

/// One way for a query to take.
struct Way {
  const char* name;
  const char* setting;
  std::uint16_t port;
  bool yielders;
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
    std::vector<Way> all = {
        {"direct", "to the stand-in for q", direct_, false},
        {"gateway+shim", "through gateway, rings and shim", gateway_, false},
        {"direct, yielders", "to the stand-in, while idle threads keep all cores awake", direct_,
         true}};
    if (haproxy_ != 0) {
      all.push_back({"haproxy", "through HAProxy in TCP mode", haproxy_, false});
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
  return quantiles_of(*measure_warm(
      duration_ns, [&](std::uint64_t ns, shm::Histogram& to) { peer.measure(timer, ns, to); }));
}

Section describe(const KdbSettings& settings, const std::vector<Way>& ways) {
  constexpr std::size_t kOurs = 1;
  Section s;
  s.title = "sync query over kdb+ IPC";
  s.sample = fmt::format(
      "a blocking client sends a sync echo of {} B over loopback TCP and waits for the whole "
      "response",
      settings.payload_bytes);
  s.pinning = "none, all usable cores";
  s.idle = "the stand-in and HAProxy block; gateway, data thread and shim auto";
  for (const Way& way : ways) {
    s.rows.push_back({way.name, way.setting});
  }
  s.comparisons = {{kOurs, 0, "at most 1"}, {kOurs, 2, "at most 2.5"}};
  if (ways.size() > 3) {
    s.comparisons.push_back({kOurs, 3});
  }
  if (settings.haproxy_path.empty()) {
    s.warnings.emplace_back(
        "haproxy is not installed: its row is missing (apt-get install haproxy)");
  }
  return s;
}

}  // namespace

void run_kdb(Run& run, const KdbSettings& settings) {
  const Stage stage(settings);
  const std::vector<Way> ways = stage.ways();
  run.measure(describe(settings, ways), settings.plan, [&](Section& section, std::uint64_t ns) {
    for (std::size_t w = 0; w < ways.size(); ++w) {
      run.say(ways[w].name);
      section.rows[w].add(measure(settings, ways[w], ns / ways.size(), run.timer()));
    }
  });
}

}  // namespace mserve::bench
