// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <queue>
#include <vector>

#include "affinity_load.hpp"
#include "dispatch/dispatcher.hpp"
#include "hosts_sim.hpp"

namespace mserve::bench {

/// The same numbers with every compiler.
class Random {
 public:
  explicit Random(std::uint64_t seed) noexcept : state_(seed) {}
  std::uint64_t word() noexcept;
  double uniform() noexcept;                        ///< Of [0, 1).
  broker::Nanos exponential(double mean) noexcept;  ///< In what the mean is in.

 private:
  std::uint64_t state_;
};

/// A request of a client. One that is forwarded has an id at its own broker and one at the peer's.
struct Asked {
  std::uint32_t host = 0;  ///< Whose client asks.
  std::uint32_t route = 0;
  broker::Nanos born = 0;
  HostsPhase phase = HostsPhase::warm_up;  ///< When it came.
  std::uint32_t link = broker::kNone;      ///< Servant number of the link that it took.
  broker::RequestId id{};                  ///< At its own broker.
};

/// What is told of a HostsModel while it goes on.
class HostsWatcher {
 public:
  virtual ~HostsWatcher() = default;
  HostsWatcher(const HostsWatcher&) = delete;
  HostsWatcher& operator=(const HostsWatcher&) = delete;

  /// A request was given to the link to `peer`.
  virtual void on_forwarded(const Asked& asked, std::uint32_t peer) = 0;
  /// A servant begins with it. @param warm  it has the route at hand.
  virtual void on_served(const Asked& asked, bool forwarded, bool warm) = 0;

 protected:
  HostsWatcher() = default;
};

/// Hosts that are a Dispatcher of the broker, its servants and a link to each other host, with
/// clients that ask at random times, on virtual time. Hosts have numbers from 0, in the order in
/// which they were added. Threads: one at a time.
class HostsModel {
 public:
  /// @param settings   outlives this, as `watcher` does; the number of hosts is not looked at.
  /// @param hosts_max  that are ever added. Each takes about a megabyte (std::bad_alloc).
  /// @param zones      host k is in zone k modulo this.
  HostsModel(const HostsSettings& settings, std::uint32_t hosts_max, std::uint32_t zones,
             HostsWatcher& watcher);

  /// A host of so many servants joins, at most as many as the settings say, and has no clients.
  void add_host(std::uint32_t servants);
  /// It leaves in good order: no link gives it anything new, and what is there is finished.
  void retire_host(std::uint32_t host);
  /// How often its clients ask, per nanosecond. Before begin().
  void set_demand(std::uint32_t host, double per_ns) { hosts_[host]->per_ns = per_ns; }

  /// Clients begin to ask.
  void begin();
  /// What comes from now on counts to this.
  void enter(HostsPhase phase) noexcept { phase_ = phase; }
  [[nodiscard]] HostsPhase phase() const noexcept { return phase_; }
  /// Goes on until so many more requests have come, or interrupted().
  void run_arrivals(std::uint64_t arrivals);
  /// Goes on for so long, or until interrupted().
  void run_for(broker::Nanos ns);
  /// Nobody asks any more; goes on until everything is answered, or interrupted().
  void finish();

  [[nodiscard]] broker::Nanos now() const noexcept { return now_; }
  [[nodiscard]] std::uint64_t refused() const noexcept { return refused_; }
  [[nodiscard]] std::uint32_t zone_of(std::uint32_t host) const noexcept { return host % zones_; }
  /// 1 to 3: same zone, same region, elsewhere.
  [[nodiscard]] std::uint32_t tier_between(std::uint32_t a, std::uint32_t b) const noexcept;
  /// What a client sends of a route.
  [[nodiscard]] std::uint64_t hash_of(std::uint32_t route) const noexcept { return hashes_[route]; }
  /// Where a route of this hash is at home, as a host sees it, of its links of this tier; kNone:
  /// there is none.
  [[nodiscard]] std::uint32_t home_of(std::uint32_t host, std::uint64_t hash,
                                      std::uint32_t tier) const noexcept;

 private:
  struct Event {
    enum class Kind : std::uint8_t { arrival, delivered, served, answered, wakeup };
    broker::Nanos at = 0;
    std::uint64_t number = 0;  ///< Of two at the same time the older one goes first.
    Kind kind = Kind::arrival;
    std::uint32_t host = 0;  ///< Where it happens.
    std::uint32_t asked = 0;
    std::uint32_t servant = 0;  ///< served
    broker::RequestId id{};     ///< served

    friend bool operator>(const Event& a, const Event& b) noexcept {
      return a.at != b.at ? a.at > b.at : a.number > b.number;
    }
  };
  struct Host {
    Host(const broker::Limits& limits, const broker::Options& options);

    broker::Dispatcher dispatcher;
    std::vector<std::uint32_t> asked_of;  ///< By slot of the Dispatcher.
    std::vector<WarmSet> servants;
    double per_ns = 0;                        ///< Requests of its own clients.
    broker::Nanos wakeup = broker::kForever;  ///< The next one that is on its way.
    bool retired = false;
  };

  /// The servant that is the link to a host; those below are its own servants.
  [[nodiscard]] std::uint32_t link_to(std::uint32_t host) const noexcept {
    return s_.servants + host;
  }
  [[nodiscard]] broker::Nanos latency(std::uint32_t a, std::uint32_t b) const noexcept {
    return s_.latency_ns[tier_between(a, b) - 1];
  }
  void join(std::uint32_t host, std::uint32_t peer);
  void schedule(Event event);
  void schedule_arrival(std::uint32_t host);
  void step();
  void arrive(std::uint32_t host);
  broker::RequestId submit(std::uint32_t host, std::uint32_t at, std::uint32_t class_number);
  void deliver(std::uint32_t host, std::uint32_t at);
  void send_answer(std::uint32_t from, std::uint32_t at);
  void finish(const Event& event);
  void end(std::uint32_t at);
  void decide(std::uint32_t host);
  void carry_out(std::uint32_t host, const broker::Decision& decision);
  void serve(std::uint32_t host, std::uint32_t at, const broker::Decision& decision);
  std::uint32_t new_asked();

  const HostsSettings& s_;
  HostsWatcher& watcher_;
  std::uint32_t hosts_max_;
  std::uint32_t zones_;
  Random random_;
  RoutePicker picker_;
  std::vector<std::uint64_t> hashes_;  ///< By route.
  std::vector<std::uint64_t> homes_;   ///< By host.
  std::vector<std::unique_ptr<Host>> hosts_;
  std::vector<Asked> asked_;
  std::vector<std::uint32_t> free_;  ///< Places of these that are over.
  std::priority_queue<Event, std::vector<Event>, std::greater<>> events_;
  broker::Nanos now_ = 1;
  std::uint64_t numbers_ = 0;
  std::uint64_t arrivals_ = 0;
  bool arrivals_over_ = false;
  HostsPhase phase_ = HostsPhase::warm_up;
  std::uint64_t refused_ = 0;
};

}  // namespace mserve::bench
