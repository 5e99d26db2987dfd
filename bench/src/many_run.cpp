// SPDX-License-Identifier: Apache-2.0
#include "many_run.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <atomic>
#include <charconv>
#include <cstring>
#include <memory>
#include <new>
#include <stdexcept>

#include "child.hpp"
#include "forked.hpp"
#include "futex_chain.hpp"
#include "interrupt.hpp"
#include "mserve/shm/clock.hpp"
#include "own_broker.hpp"

namespace mserve::bench {
namespace {

constexpr std::uint32_t kCrowdMax = 256;
constexpr std::uint64_t kNapNs = 1'000'000;

enum State : int { starting, ready, done, failed };

// What a client process tells us.
//   Roles  it stores `state` and what belongs to it, we store `go`
//   Edges  E1 `go` store release -> load acquire by the clients; E2 `state` store release, after
//   the
//          figures -> load acquire by us
struct ClientBoard {
  std::atomic<int> state;
  double seconds;
  shm::Histogram samples;
  char reason[256];
};
struct Board {
  std::atomic<int> go;
};

void be_client(Board& board, ClientBoard& own, const TripOptions& options, const Timer& timer,
               std::uint64_t ns) {
  try {
    const std::unique_ptr<Trips> trips = attach_client(options);
    own.state.store(ready, std::memory_order_release);       // E2
    while (board.go.load(std::memory_order_acquire) == 0) {  // E1
      pause_for(kNapNs);
    }
    const auto warm_ns = static_cast<std::uint64_t>(static_cast<double>(ns) * kWarmUpShare);
    trips->measure(timer, warm_ns, own.samples);
    own.samples.reset();
    const std::uint64_t begin_ns = shm::steady_now();
    trips->measure(timer, ns - warm_ns, own.samples);
    own.seconds = static_cast<double>(shm::steady_now() - begin_ns) / 1e9;
    own.state.store(done, std::memory_order_release);  // E2
    while (!interrupted()) {
      pause_for(kNapNs);  // until we are killed: detaching would disturb those who still measure
    }
  } catch (const std::exception& e) {
    std::strncpy(own.reason, e.what(), sizeof(own.reason) - 1);
    own.state.store(failed, std::memory_order_release);  // E2
  }
}

class ClientProcesses {
 public:
  ClientProcesses(std::uint32_t count, const TripOptions& options, const Timer& timer,
                  std::uint64_t ns)
      : memory_(sizeof(Board) + alignof(ClientBoard) + count * sizeof(ClientBoard)),
        board_(new (memory_.data()) Board{}) {
    void* at = static_cast<std::byte*>(memory_.data()) + sizeof(Board);
    std::size_t room = SIZE_MAX / 2;
    at = std::align(alignof(ClientBoard), sizeof(ClientBoard), at, room);
    for (std::uint32_t c = 0; c < count; ++c) {
      own_.push_back(new (static_cast<std::byte*>(at) + c * sizeof(ClientBoard)) ClientBoard{});
    }
    for (ClientBoard* const own : own_) {
      processes_.push_back(std::make_unique<Forked>(
          [this, own, &options, &timer, ns] { be_client(*board_, *own, options, timer, ns); }));
    }
  }

  /// Lets all of them begin at once, when all are attached, and waits for all.
  void run() {
    wait_for(ready);
    board_->go.store(1, std::memory_order_release);  // E1
    wait_for(done);
  }
  [[nodiscard]] Quantiles latencies() const {
    const auto all = std::make_unique<shm::Histogram>();
    for (const ClientBoard* const own : own_) {
      all->merge(own->samples);
    }
    return quantiles_of(*all);
  }
  [[nodiscard]] double per_second() const {
    double sum = 0;
    for (const ClientBoard* const own : own_) {
      sum += own->seconds > 0 ? static_cast<double>(own->samples.count()) / own->seconds : 0;
    }
    return sum;
  }

 private:
  void wait_for(State state) {
    const auto all_there = [&] {
      bool all = true;
      for (std::size_t i = 0; i < own_.size(); ++i) {
        const bool ended = has_ended(processes_[i]->pid());
        const int now = own_[i]->state.load(std::memory_order_acquire);  // E2
        if (now == failed) {
          throw std::runtime_error(std::string("a client failed: ") + own_[i]->reason);
        }
        if (ended && now < state) {
          throw std::runtime_error("a client ended before it had measured");
        }
        all = all && now >= state;
      }
      return all;
    };
    while (!all_there() && !interrupted()) {
      pause_for(kNapNs);
    }
  }

  SharedMemory memory_;
  Board* board_;
  std::vector<ClientBoard*> own_;
  std::vector<std::unique_ptr<Forked>> processes_;
};

void measure(Run& run, const ManySettings& settings, const Crowd& crowd, std::uint64_t ns,
             Row& latency, Row& rate) {
  OwnBroker broker(settings.broker_path, settings.idle, std::nullopt);
  TripOptions options = broker.trip_options(settings.payload_bytes);
  options.idle = settings.idle;
  for (std::uint32_t s = 0; s < crowd.servants && !interrupted(); ++s) {
    broker.start_echo_servant(options);
  }
  if (interrupted()) {
    return;
  }
  ClientProcesses clients(crowd.clients, options, run.timer(), ns);
  clients.run();
  latency.add(clients.latencies());
  rate.add(clients.per_second());
}

Section describe(const ManySettings& settings, Unit unit) {
  Section s;
  s.unit = unit;
  s.title = unit == Unit::ns ? "many clients and servants" : "the same, all clients together";
  s.sample = unit == Unit::ns ? "a round trip of any client; each has one request under way"
                              : "answers that the clients checked and copied out, per second";
  s.pinning = "none, all usable cores; each client and each servant is a process";
  s.idle = fmt::format("all {}", to_string(settings.idle));
  for (const Crowd& crowd : settings.crowds) {
    s.rows.push_back(
        {fmt::format("{} x {}", crowd.clients, crowd.servants),
         fmt::format("{} {}, {} {}, {} B of payload", crowd.clients,
                     crowd.clients == 1 ? "client" : "clients", crowd.servants,
                     crowd.servants == 1 ? "servant" : "servants", settings.payload_bytes)});
  }
  return s;
}

}  // namespace

std::optional<Crowd> parse_crowd(std::string_view text) {
  Crowd crowd;
  const char* const end = text.data() + text.size();
  const auto clients = std::from_chars(text.data(), end, crowd.clients);
  if (clients.ec != std::errc{} || clients.ptr == end || *clients.ptr != 'x') {
    return std::nullopt;
  }
  const auto servants = std::from_chars(clients.ptr + 1, end, crowd.servants);
  const auto fits = [](std::uint32_t n) { return n > 0 && n <= kCrowdMax; };
  if (servants.ec != std::errc{} || servants.ptr != end || !fits(crowd.clients) ||
      !fits(crowd.servants)) {
    return std::nullopt;
  }
  return crowd;
}

void run_many(Run& run, const Plan& plan, const ManySettings& settings) {
  std::vector<Section> sections;
  sections.push_back(describe(settings, Unit::ns));
  sections.push_back(describe(settings, Unit::requests_per_s));
  run.measure(std::move(sections), plan, [&](std::vector<Section>& all, std::uint64_t ns) {
    for (std::size_t c = 0; c < settings.crowds.size() && !interrupted(); ++c) {
      run.say(all[0].rows[c].name.c_str());
      measure(run, settings, settings.crowds[c], ns / settings.crowds.size(), all[0].rows[c],
              all[1].rows[c]);
    }
  });
}

}  // namespace mserve::bench
