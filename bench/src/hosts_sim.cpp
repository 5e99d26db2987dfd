// SPDX-License-Identifier: Apache-2.0
#include "hosts_sim.hpp"

#include <algorithm>
#include <cmath>
#include <memory>
#include <queue>
#include <string>

#include "affinity_load.hpp"
#include "control/servant_tags.hpp"
#include "dispatch/dispatcher.hpp"
#include "interrupt.hpp"
#include "mserve/kdb/route.hpp"
#include "mserve/shm/histogram.hpp"

namespace mserve::bench {
namespace {

using broker::Decision;
using broker::Nanos;
using broker::RequestId;

constexpr std::uint32_t kRequestsMax = 2048;      ///< Of a broker, under way.
constexpr std::uint64_t kRoutesCounted = 10'000;  ///< To see how many homes move.
/// What clients ask, and what peers ask: the same servants, but no links.
constexpr std::uint32_t kAnyClass = 0;
constexpr std::uint32_t kLocalClass = 1;
constexpr std::uint32_t kServantPool = 0;
constexpr std::uint32_t kLinkPool = 1;

/// The same numbers with every compiler.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::uint64_t word() noexcept { return broker::home_rank(state_ += 0x9E3779B97F4A7C15, 1); }
  /// Of [0, 1).
  double uniform() noexcept { return static_cast<double>(word() >> 11) * 0x1p-53; }
  Nanos exponential(double mean) noexcept {
    return static_cast<Nanos>(-std::log(1 - uniform()) * mean);
  }

 private:
  std::uint64_t state_;
};

/// A request of a client. One that is forwarded has an id at its own broker and one at the peer's.
struct Asked {
  std::uint32_t host = 0;  ///< Whose client asks.
  std::uint32_t route = 0;
  Nanos born = 0;
  HostsPhase phase = HostsPhase::warm_up;
  std::uint32_t link = broker::kNone;  ///< Servant number of the link that it took.
  RequestId id{};                      ///< At its own broker.
};

struct Event {
  enum class Kind : std::uint8_t { arrival, delivered, served, answered, wakeup };
  Nanos at = 0;
  std::uint64_t number = 0;  ///< Of two at the same time the older one goes first.
  Kind kind = Kind::arrival;
  std::uint32_t host = 0;  ///< Where it happens.
  std::uint32_t asked = 0;
  std::uint32_t servant = 0;  ///< served
  RequestId id{};             ///< served

  friend bool operator>(const Event& a, const Event& b) noexcept {
    return a.at != b.at ? a.at > b.at : a.number > b.number;
  }
};

struct Host {
  Host(const broker::Limits& limits, const broker::Options& options)
      : dispatcher(limits, options), asked_of(kRequestsMax) {}

  broker::Dispatcher dispatcher;
  std::vector<std::uint32_t> asked_of;  ///< By slot of the Dispatcher.
  std::vector<WarmSet> servants;
  double per_ns = 0;                ///< Requests of its own clients.
  Nanos wakeup = broker::kForever;  ///< The next one that is on its way.
};

class Cluster {
 public:
  Cluster(const HostsSettings& settings, std::uint32_t hosts)
      : s_(settings),
        random_(settings.seed),
        picker_(settings.routes, settings.route_exponent),
        zones_((hosts + settings.zone_hosts - 1) / settings.zone_hosts) {
    result_.hosts = hosts;
    result_.zones = zones_;
    result_.regions = (zones_ + s_.region_zones - 1) / s_.region_zones;
    for (std::uint32_t route = 0; route < s_.routes; ++route) {
      hashes_.push_back(kdb::route_of_text("SYM" + std::to_string(route)).hash);
    }
    for (std::uint32_t host = 0; host < hosts; ++host) {
      add_host();
    }
    share_out_demand();
  }

  HostsResult run() {
    for (std::uint32_t host = 0; host < result_.hosts; ++host) {
      schedule_arrival(host);
    }
    phase_ = HostsPhase::warm_up;
    run_until(s_.requests / 4);
    phase_ = HostsPhase::before;
    run_until(s_.requests);
    const std::vector<std::uint32_t> before = homes_in(zone_of(result_.hosts));
    phase_ = HostsPhase::right_after;
    add_host();
    count_moves(before);
    run_until(s_.requests);
    arrivals_over_ = true;
    while (!events_.empty() && !interrupted()) {
      step();
    }
    result_.waiting = quantiles_of(*waiting_);
    return result_;
  }

 private:
  [[nodiscard]] std::uint32_t zone_of(std::uint32_t host) const noexcept { return host % zones_; }
  [[nodiscard]] std::uint32_t tier_between(std::uint32_t a, std::uint32_t b) const noexcept {
    if (zone_of(a) == zone_of(b)) {
      return 1;
    }
    return zone_of(a) / s_.region_zones == zone_of(b) / s_.region_zones ? 2 : 3;
  }
  /// The servant that is the link to a host; those below are its own servants.
  [[nodiscard]] std::uint32_t link_to(std::uint32_t host) const noexcept {
    return s_.servants + host;
  }

  void add_host() {
    broker::Limits limits;
    limits.servants_max = s_.servants + result_.hosts + 1;
    limits.origins_max = 1;
    limits.requests_max = kRequestsMax;
    limits.classes_max = 2;
    limits.routes_per_servant = s_.warm_routes;
    limits.hash_seed = random_.word();
    const auto number = static_cast<std::uint32_t>(hosts_.size());
    hosts_.push_back(std::make_unique<Host>(limits, broker::Options{.spill_after = s_.spill_ns}));
    homes_.push_back(broker::home_of("peer=host-" + std::to_string(number)));
    broker::Dispatcher& own = hosts_.back()->dispatcher;
    own.on(broker::OriginOpened{0}, now_);
    own.on(broker::ClassDefined{.number = kLocalClass, .pools = 1U << kServantPool}, now_);
    own.on(broker::PoolDefined{.pool = kLinkPool, .classes = 1U << kAnyClass}, now_);
    for (std::uint32_t servant = 0; servant < s_.servants; ++servant) {
      own.on(broker::ServantJoined{.servant = servant, .pool = kServantPool}, now_);
      hosts_.back()->servants.emplace_back(s_.warm_routes);
    }
    for (std::uint32_t other = 0; other < number; ++other) {
      join(number, other);
      join(other, number);
    }
  }

  void join(std::uint32_t host, std::uint32_t peer) {
    hosts_[host]->dispatcher.on(broker::ServantJoined{.servant = link_to(peer),
                                                      .credit = s_.credit,
                                                      .tier = tier_between(host, peer),
                                                      .pool = kLinkPool,
                                                      .home = homes_[peer]},
                                now_);
    decide(host);
  }

  void share_out_demand() {
    double sum = 0;
    for (std::uint32_t host = 0; host < result_.hosts; ++host) {
      sum += std::pow(host + 1.0, -s_.skew);
    }
    const double capacity_per_ns =
        static_cast<double>(result_.hosts) * s_.servants / static_cast<double>(s_.cold_ns);
    for (std::uint32_t host = 0; host < result_.hosts; ++host) {
      hosts_[host]->per_ns =
          capacity_per_ns * s_.load_percent / 100 * std::pow(host + 1.0, -s_.skew) / sum;
    }
    result_.per_second = capacity_per_ns * s_.load_percent / 100 * 1e9;
  }

  void schedule(Event event) {
    event.number = ++numbers_;
    events_.push(event);
  }

  void schedule_arrival(std::uint32_t host) {
    schedule({.at = now_ + random_.exponential(1 / hosts_[host]->per_ns),
              .kind = Event::Kind::arrival,
              .host = host});
  }

  void run_until(std::uint64_t arrivals) {
    arrivals_ = 0;
    while (arrivals_ < arrivals && !interrupted()) {
      step();
    }
  }

  void step() {
    const Event event = events_.top();
    events_.pop();
    now_ = event.at;
    switch (event.kind) {
      case Event::Kind::arrival:
        arrive(event.host);
        break;
      case Event::Kind::delivered:
        deliver(event.host, event.asked);
        break;
      case Event::Kind::served:
        finish(event);
        break;
      case Event::Kind::answered:
        end(event.asked);
        break;
      case Event::Kind::wakeup:
        hosts_[event.host]->wakeup = broker::kForever;
        break;
    }
    decide(event.host);
  }

  void arrive(std::uint32_t host) {
    if (arrivals_over_) {
      return;
    }
    ++arrivals_;
    schedule_arrival(host);
    const std::uint32_t at = new_asked();
    asked_[at] = {
        .host = host, .route = picker_.pick(random_.uniform()), .born = now_, .phase = phase_};
    asked_[at].id = submit(host, at, kAnyClass);
    if (!asked_[at].id) {
      ++result_.refused;
      free_.push_back(at);
    }
  }

  RequestId submit(std::uint32_t host, std::uint32_t at, std::uint32_t class_number) {
    Host& here = *hosts_[host];
    const broker::Submitted answer = here.dispatcher.on(
        broker::Submit{
            .origin = 0, .route = hashes_[asked_[at].route], .class_number = class_number},
        now_);
    if (answer.id) {
      here.asked_of[answer.id.slot] = at;
    }
    return answer.id;
  }

  /// At the peer, which never sends it on.
  void deliver(std::uint32_t host, std::uint32_t at) {
    if (!submit(host, at, kLocalClass)) {
      ++result_.refused;
      send_answer(host, at);
    }
  }

  void send_answer(std::uint32_t from, std::uint32_t at) {
    const std::uint32_t to = asked_[at].host;
    schedule(
        {.at = now_ + latency(from, to), .kind = Event::Kind::answered, .host = to, .asked = at});
  }

  [[nodiscard]] Nanos latency(std::uint32_t a, std::uint32_t b) const noexcept {
    return s_.latency_ns[tier_between(a, b) - 1];
  }

  void finish(const Event& event) {
    hosts_[event.host]->dispatcher.on(broker::Done{event.id, event.servant}, now_);
    if (asked_[event.asked].host == event.host) {
      free_.push_back(event.asked);
    } else {
      send_answer(event.host, event.asked);
    }
  }

  void end(std::uint32_t at) {
    const Asked& asked = asked_[at];
    hosts_[asked.host]->dispatcher.on(broker::Done{asked.id, asked.link}, now_);
    free_.push_back(at);
  }

  void decide(std::uint32_t host) {
    Host& here = *hosts_[host];
    for (;;) {
      const Decision decision = here.dispatcher.next(now_);
      if (decision.kind == Decision::Kind::none) {
        break;
      }
      if (decision.kind == Decision::Kind::dispatch) {
        carry_out(host, decision);
      }
    }
    const Nanos wakeup = here.dispatcher.next_wakeup(now_);
    if (wakeup < here.wakeup) {
      here.wakeup = wakeup;
      schedule({.at = wakeup, .kind = Event::Kind::wakeup, .host = host});
    }
  }

  void carry_out(std::uint32_t host, const Decision& decision) {
    const std::uint32_t at = hosts_[host]->asked_of[decision.request.slot];
    Asked& asked = asked_[at];
    if (decision.servant < s_.servants) {
      serve(host, at, decision);
      return;
    }
    asked.link = decision.servant;
    const std::uint32_t peer = decision.servant - s_.servants;
    note_forwarded(asked, peer);
    schedule({.at = now_ + latency(host, peer),
              .kind = Event::Kind::delivered,
              .host = peer,
              .asked = at});
  }

  void serve(std::uint32_t host, std::uint32_t at, const Decision& decision) {
    const Asked& asked = asked_[at];
    const bool warm = hosts_[host]->servants[decision.servant].use(asked.route);
    const bool forwarded = asked.host != host;
    const auto phase = static_cast<std::size_t>(asked.phase);
    (forwarded ? result_.warm : result_.warm_here)[phase].count(warm);
    if (asked.phase == HostsPhase::before) {
      waiting_->record(now_ - asked.born);
      result_.forwarded.count(forwarded);
    }
    if (forwarded && asked.phase == HostsPhase::right_after &&
        result_.warm[phase].of == kRightAfter) {
      phase_ = HostsPhase::after;
    }
    schedule({.at = now_ + random_.exponential(static_cast<double>(warm ? s_.warm_ns : s_.cold_ns)),
              .kind = Event::Kind::served,
              .host = host,
              .asked = at,
              .servant = decision.servant,
              .id = decision.request});
  }

  void note_forwarded(const Asked& asked, std::uint32_t peer) {
    const std::uint32_t tier = tier_between(asked.host, peer);
    result_.at_home[static_cast<std::size_t>(asked.phase)].count(
        home_of(asked.host, hashes_[asked.route], tier) == peer);
    for (std::size_t each = 0; each < kLinkTiers && phase_ == HostsPhase::before; ++each) {
      result_.of_tier[each].count(each + 1 == tier);
    }
  }

  /// As a host sees it, of all its links of this tier; kNone: there is none.
  [[nodiscard]] std::uint32_t home_of(std::uint32_t host, std::uint64_t hash,
                                      std::uint32_t tier) const noexcept {
    std::uint32_t best = broker::kNone;
    for (std::uint32_t peer = 0; peer < hosts_.size(); ++peer) {
      if (peer != host && tier_between(host, peer) == tier &&
          (best == broker::kNone ||
           broker::home_rank(hash, homes_[peer]) > broker::home_rank(hash, homes_[best]))) {
        best = peer;
      }
    }
    return best;
  }

  /// Of many routes at each host of a zone, those within it, or kNone. Other zones have homes of
  /// their own, so what joins this one moves nothing there.
  [[nodiscard]] std::vector<std::uint32_t> homes_in(std::uint32_t zone) const {
    std::vector<std::uint32_t> found;
    for (std::uint32_t host = 0; host < result_.hosts; ++host) {
      for (std::uint64_t route = 1; zone_of(host) == zone && route <= kRoutesCounted; ++route) {
        found.push_back(home_of(host, broker::home_rank(route, 1), 1));
      }
    }
    return found;
  }

  void count_moves(const std::vector<std::uint32_t>& before) {
    const auto added = static_cast<std::uint32_t>(hosts_.size() - 1);
    const std::vector<std::uint32_t> after = homes_in(zone_of(added));
    for (std::size_t at = 0; at < before.size(); ++at) {
      if (before[at] != broker::kNone) {
        result_.moved.count(after[at] == added);
      }
      result_.moved_elsewhere += after[at] != before[at] && after[at] != added ? 1 : 0;
    }
  }

  std::uint32_t new_asked() {
    if (free_.empty()) {
      asked_.emplace_back();
      return static_cast<std::uint32_t>(asked_.size() - 1);
    }
    const std::uint32_t at = free_.back();
    free_.pop_back();
    return at;
  }

  const HostsSettings& s_;
  Random random_;
  RoutePicker picker_;
  std::uint32_t zones_;
  HostsResult result_;
  std::vector<std::uint64_t> hashes_;  ///< By route.
  std::vector<std::uint64_t> homes_;   ///< By host.
  std::vector<std::unique_ptr<Host>> hosts_;
  std::vector<Asked> asked_;
  std::vector<std::uint32_t> free_;  ///< Places of these that are over.
  std::priority_queue<Event, std::vector<Event>, std::greater<>> events_;
  std::unique_ptr<shm::Histogram> waiting_ = std::make_unique<shm::Histogram>();
  Nanos now_ = 1;
  std::uint64_t numbers_ = 0;
  std::uint64_t arrivals_ = 0;  ///< Of this phase.
  bool arrivals_over_ = false;
  HostsPhase phase_ = HostsPhase::warm_up;
};

}  // namespace

HostsResult simulate_hosts(const HostsSettings& settings, std::uint32_t hosts) {
  return Cluster(settings, hosts).run();
}

}  // namespace mserve::bench
