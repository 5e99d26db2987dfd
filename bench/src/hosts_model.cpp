// SPDX-License-Identifier: Apache-2.0
#include "hosts_model.hpp"

#include <cmath>
#include <string>

#include "control/servant_tags.hpp"
#include "interrupt.hpp"
#include "mserve/kdb/route.hpp"

namespace mserve::bench {

using broker::Decision;
using broker::Nanos;
using broker::RequestId;

namespace {

constexpr std::uint32_t kRequestsMax = 2048;  ///< Of a broker, under way.
/// What clients ask, and what peers ask: the same servants, but no links.
constexpr std::uint32_t kAnyClass = 0;
constexpr std::uint32_t kLocalClass = 1;
constexpr std::uint32_t kServantPool = 0;
constexpr std::uint32_t kLinkPool = 1;

}  // namespace

std::uint64_t Random::word() noexcept {
  return broker::home_rank(state_ += 0x9E3779B97F4A7C15, 1);
}

double Random::uniform() noexcept {
  return static_cast<double>(word() >> 11) * 0x1p-53;
}

Nanos Random::exponential(double mean) noexcept {
  return static_cast<Nanos>(-std::log(1 - uniform()) * mean);
}

HostsModel::Host::Host(const broker::Limits& limits, const broker::Options& options)
    : dispatcher(limits, options), asked_of(kRequestsMax) {}

HostsModel::HostsModel(const HostsSettings& settings, std::uint32_t hosts_max, std::uint32_t zones,
                       HostsWatcher& watcher)
    : s_(settings),
      watcher_(watcher),
      hosts_max_(hosts_max),
      zones_(zones),
      random_(settings.seed),
      picker_(settings.routes, settings.route_exponent) {
  for (std::uint32_t route = 0; route < s_.routes; ++route) {
    hashes_.push_back(kdb::route_of_text("SYM" + std::to_string(s_.first_route + route)).hash);
  }
}

std::uint32_t HostsModel::tier_between(std::uint32_t a, std::uint32_t b) const noexcept {
  if (zone_of(a) == zone_of(b)) {
    return 1;
  }
  return zone_of(a) / s_.region_zones == zone_of(b) / s_.region_zones ? 2 : 3;
}

void HostsModel::add_host(std::uint32_t servants) {
  broker::Limits limits;
  limits.servants_max = s_.servants + hosts_max_;
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
  for (std::uint32_t servant = 0; servant < servants; ++servant) {
    own.on(broker::ServantJoined{.servant = servant, .pool = kServantPool}, now_);
    hosts_.back()->servants.emplace_back(s_.warm_routes);
  }
  for (std::uint32_t other = 0; other < number; ++other) {
    // As brokers do: there is no link to a peer without servants.
    if (!hosts_[other]->servants.empty() && !hosts_[other]->retired) {
      join(number, other);
    }
    if (servants > 0) {
      join(other, number);
    }
  }
}

void HostsModel::join(std::uint32_t host, std::uint32_t peer) {
  hosts_[host]->dispatcher.on(broker::ServantJoined{.servant = link_to(peer),
                                                    .credit = s_.credit,
                                                    .tier = tier_between(host, peer),
                                                    .pool = kLinkPool,
                                                    .home = homes_[peer]},
                              now_);
  decide(host);
}

void HostsModel::retire_host(std::uint32_t host) {
  hosts_[host]->retired = true;
  for (std::uint32_t other = 0; other < hosts_.size(); ++other) {
    if (other != host) {
      hosts_[other]->dispatcher.on(broker::ServantSuspended{.servant = link_to(host)}, now_);
      decide(other);
    }
  }
}

void HostsModel::schedule(Event event) {
  event.number = ++numbers_;
  events_.push(event);
}

void HostsModel::schedule_arrival(std::uint32_t host) {
  schedule({.at = now_ + random_.exponential(1 / hosts_[host]->per_ns),
            .kind = Event::Kind::arrival,
            .host = host});
}

void HostsModel::begin() {
  for (std::uint32_t host = 0; host < hosts_.size(); ++host) {
    if (hosts_[host]->per_ns > 0) {
      schedule_arrival(host);
    }
  }
}

void HostsModel::run_arrivals(std::uint64_t arrivals) {
  arrivals_ = 0;
  while (arrivals_ < arrivals && !interrupted()) {
    step();
  }
}

void HostsModel::run_for(Nanos ns) {
  const Nanos until = now_ + ns;
  while (!events_.empty() && events_.top().at <= until && !interrupted()) {
    step();
  }
  now_ = until;
}

void HostsModel::finish() {
  arrivals_over_ = true;
  while (!events_.empty() && !interrupted()) {
    step();
  }
}

void HostsModel::step() {
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

void HostsModel::arrive(std::uint32_t host) {
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
    ++refused_;
    free_.push_back(at);
  }
}

RequestId HostsModel::submit(std::uint32_t host, std::uint32_t at, std::uint32_t class_number) {
  Host& here = *hosts_[host];
  const broker::Submitted answer = here.dispatcher.on(
      broker::Submit{.origin = 0, .route = hashes_[asked_[at].route], .class_number = class_number},
      now_);
  if (answer.id) {
    here.asked_of[answer.id.slot] = at;
  }
  return answer.id;
}

/// At the peer, which never sends it on.
void HostsModel::deliver(std::uint32_t host, std::uint32_t at) {
  if (!submit(host, at, kLocalClass)) {
    ++refused_;
    send_answer(host, at);
  }
}

void HostsModel::send_answer(std::uint32_t from, std::uint32_t at) {
  const std::uint32_t to = asked_[at].host;
  schedule(
      {.at = now_ + latency(from, to), .kind = Event::Kind::answered, .host = to, .asked = at});
}

void HostsModel::finish(const Event& event) {
  hosts_[event.host]->dispatcher.on(broker::Done{event.id, event.servant}, now_);
  if (asked_[event.asked].host == event.host) {
    free_.push_back(event.asked);
  } else {
    send_answer(event.host, event.asked);
  }
}

void HostsModel::end(std::uint32_t at) {
  const Asked& asked = asked_[at];
  hosts_[asked.host]->dispatcher.on(broker::Done{asked.id, asked.link}, now_);
  free_.push_back(at);
}

void HostsModel::decide(std::uint32_t host) {
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

void HostsModel::carry_out(std::uint32_t host, const Decision& decision) {
  const std::uint32_t at = hosts_[host]->asked_of[decision.request.slot];
  Asked& asked = asked_[at];
  if (decision.servant < s_.servants) {
    serve(host, at, decision);
    return;
  }
  asked.link = decision.servant;
  const std::uint32_t peer = decision.servant - s_.servants;
  watcher_.on_forwarded(asked, peer);
  schedule({.at = now_ + latency(host, peer),
            .kind = Event::Kind::delivered,
            .host = peer,
            .asked = at});
}

void HostsModel::serve(std::uint32_t host, std::uint32_t at, const Decision& decision) {
  const Asked& asked = asked_[at];
  const bool warm = hosts_[host]->servants[decision.servant].use(asked.route);
  watcher_.on_served(asked, asked.host != host, warm);
  schedule({.at = now_ + random_.exponential(static_cast<double>(warm ? s_.warm_ns : s_.cold_ns)),
            .kind = Event::Kind::served,
            .host = host,
            .asked = at,
            .servant = decision.servant,
            .id = decision.request});
}

std::uint32_t HostsModel::home_of(std::uint32_t host, std::uint64_t hash,
                                  std::uint32_t tier) const noexcept {
  std::uint32_t best = broker::kNone;
  for (std::uint32_t peer = 0; peer < hosts_.size(); ++peer) {
    const bool linked = peer != host && !hosts_[peer]->servants.empty() && !hosts_[peer]->retired;
    if (linked && tier_between(host, peer) == tier &&
        (best == broker::kNone ||
         broker::home_rank(hash, homes_[peer]) > broker::home_rank(hash, homes_[best]))) {
      best = peer;
    }
  }
  return best;
}

std::uint32_t HostsModel::new_asked() {
  if (free_.empty()) {
    asked_.emplace_back();
    return static_cast<std::uint32_t>(asked_.size() - 1);
  }
  const std::uint32_t at = free_.back();
  free_.pop_back();
  return at;
}

}  // namespace mserve::bench
