// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "dispatch/dispatcher.hpp"

// Dispatcher::audit(): every list walked in both directions, every count taken again by another
// way than the one by which it is kept.
namespace mserve::broker {

class DispatcherAudit {
 public:
  explicit DispatcherAudit(const Dispatcher& dispatcher) : d_(dispatcher) {}

  std::string run() {
    requests();
    origins();
    lanes();
    routes();
    servants();
    totals();
    return fault_;
  }

 private:
  void check(bool holds, std::string_view what, std::uint64_t where) {
    if (!holds && fault_.empty()) {
      fault_ = std::string(what) + " (" + std::to_string(where) + ")";
    }
  }

  // The members of a list, in order. Stops at a broken link, and at more nodes than there are.
  template <auto kLinks, class Node>
  std::vector<std::uint32_t> members(const std::vector<Node>& nodes, const List& list,
                                     std::string_view name) {
    std::vector<std::uint32_t> found;
    std::uint32_t prev = kNone;
    for (std::uint32_t at = list.first; at != kNone; at = (nodes[at].*kLinks).next) {
      if (at >= nodes.size() || (nodes[at].*kLinks).prev != prev || found.size() >= nodes.size()) {
        check(false, std::string(name) + ": broken link", at);
        return found;
      }
      found.push_back(at);
      prev = at;
    }
    check(list.last == prev, std::string(name) + ": wrong last", prev);
    return found;
  }

  std::span<const Warmth> held_by(const Servant& servant) const {
    const auto index = static_cast<std::size_t>(&servant - d_.servants_.data());
    const std::size_t count = d_.limits_.routes_per_servant;
    return {&d_.warmths_[index * count], count};
  }

  bool flag(std::uint32_t slot, std::uint8_t bit) const {
    return (d_.requests_[slot].flags & bit) != 0;
  }

  // The lists that the Dispatcher itself keeps, and the counts by state.
  void requests() {
    std::uint64_t bytes = 0;
    for (std::uint32_t slot = 0; slot < d_.requests_.size(); ++slot) {
      const Request& request = d_.requests_[slot];
      ++in_state_[static_cast<std::size_t>(request.state)];
      check(request.generation != 0, "request: generation 0", slot);
      if (request.state == RequestState::queued || request.state == RequestState::retry) {
        arrived_ += flag(slot, Request::kArrived);
      }
      if (request.state == RequestState::queued) {
        opened_ += flag(slot, Request::kOpen);
        aged_ += flag(slot, Request::kAged);
        check(flag(slot, Request::kOpen) || flag(slot, Request::kAged), "request: lost", slot);
        routed_ += request.place != kNone;
      }
      check(!d_.timers_.is_set(slot) ||
                (request.state != RequestState::vacant && flag(slot, Request::kTimed)),
            "request: timer", slot);
      timed_ += d_.timers_.is_set(slot);
      if (request.state != RequestState::vacant) {
        check(d_.origins_[request.origin].state != Origin::State::vacant, "request: origin", slot);
        const bool counted = request.state != RequestState::running;
        bytes += counted ? request.bytes : 0;
        const std::uint32_t route = d_.route_of(request);
        check(route == kNone || d_.routes_[route].refs != 0, "request: route", slot);
      }
    }
    check(bytes == d_.queued_bytes_, "queued bytes", bytes);
    check((in_state(RequestState::pending) == 1) == (d_.pending_ != kNone), "pending", d_.pending_);
    const auto arrivals = members<&Arrival::by_arrival>(d_.arrived_, d_.arrivals_, "arrivals");
    check(arrivals.size() == arrived_, "arrivals: count", arrivals.size());
    for (const std::uint32_t slot : arrivals) {
      check(flag(slot, Request::kArrived), "arrivals: not flagged", slot);
    }
    check(d_.unlisted_ + arrived_ == in_state(RequestState::queued) + in_state(RequestState::retry),
          "arrivals: not listed", d_.unlisted_);
    const auto aged = members<&Request::age>(d_.requests_, d_.aged_, "aged");
    check(aged.size() == aged_, "aged: count", aged.size());
    for (std::size_t at = 0; at < aged.size(); ++at) {
      check(flag(aged[at], Request::kAged), "aged: not flagged", aged[at]);
      check(at == 0 || d_.requests_[aged[at - 1]].submitted <= d_.requests_[aged[at]].submitted,
            "aged: order", aged[at]);
    }
    in_list(members<&Request::order>(d_.requests_, d_.retry_, "retry"), RequestState::retry);
    in_list(members<&Request::order>(d_.requests_, d_.doomed_, "doomed"), RequestState::doomed);
  }

  std::size_t in_state(RequestState state) const {
    return in_state_[static_cast<std::size_t>(state)];
  }

  void in_list(const std::vector<std::uint32_t>& slots, RequestState state) {
    check(slots.size() == in_state(state), "list and state disagree", slots.size());
    for (const std::uint32_t slot : slots) {
      check(d_.requests_[slot].state == state, "list: state", slot);
    }
  }

  void origins() {
    std::vector<std::uint32_t> live(d_.origins_.size(), 0);
    for (const Request& request : d_.requests_) {
      if (request.state != RequestState::vacant) {
        ++live[request.origin];
      }
    }
    std::size_t opened = 0;
    std::size_t waiting = 0;
    std::size_t ringed = 0;
    std::size_t closing = 0;
    std::size_t retries = 0;
    for (std::uint32_t node = 0; node < d_.origins_.size(); ++node) {
      const Origin& origin = d_.origins_[node];
      if (origin.state == Origin::State::vacant) {
        check(live[node] == 0, "origin: vacant with requests", node);
        continue;
      }
      check(live[node] == origin.live, "origin: live", node);
      check((origin.state == Origin::State::open) == (d_.origin_of_[origin.index] == node),
            "origin: index", node);
      check(origin.state != Origin::State::closed || origin.live != 0, "origin: not freed", node);
      check(origin.in_ring == (origin.state == Origin::State::open && !origin.open.empty()),
            "origin: turn", node);
      ringed += origin.in_ring;
      closing += origin.state == Origin::State::closing;
      opened += open_list(node);
      waiting += waiting_list(node);
      for (const std::uint32_t slot :
           members<&Request::lane>(d_.requests_, origin.retry, "origin: retry")) {
        check(d_.requests_[slot].origin == node, "origin: stranger in retry", slot);
        ++retries;
      }
    }
    check(waiting + opened_ == in_state(RequestState::queued), "waiting: count", waiting);
    check(opened == opened_, "open: count", opened);
    check(retries == in_state(RequestState::retry), "origin: retries", retries);
    check(ringed == members<&Origin::ring>(d_.origins_, d_.ring_, "ring").size(), "ring", ringed);
    check(closing == members<&Origin::ring>(d_.origins_, d_.closing_, "closing").size(), "closing",
          closing);
    check(closing == 0 || d_.chores_, "closing: forgotten", closing);
    check(d_.ring_entered_ - d_.ring_left_ == ringed, "ring: numbers", d_.ring_entered_);
  }

  std::size_t open_list(std::uint32_t node) {
    const Origin& origin = d_.origins_[node];
    const auto slots = members<&Request::order>(d_.requests_, origin.open, "open");
    check(origin.entered - origin.left == slots.size(), "open: numbers", node);
    for (std::size_t at = 0; at < slots.size(); ++at) {
      const Request& request = d_.requests_[slots[at]];
      check(request.origin == node && request.state == RequestState::queued &&
                flag(slots[at], Request::kOpen),
            "open: stranger", slots[at]);
      check(at == 0 || static_cast<std::int32_t>(request.sequence -
                                                 d_.requests_[slots[at - 1]].sequence) > 0,
            "open: order", slots[at]);
    }
    return slots.size();
  }

  std::size_t waiting_list(std::uint32_t node) {
    const auto slots = members<&Request::order>(d_.requests_, d_.origins_[node].waiting, "waiting");
    for (const std::uint32_t slot : slots) {
      check(d_.requests_[slot].origin == node && flag(slot, Request::kAged) &&
                !flag(slot, Request::kOpen) && d_.requests_[slot].state == RequestState::queued,
            "waiting: stranger", slot);
    }
    return slots.size();
  }

  void lanes() {
    std::size_t routed = 0;
    for (const Route& route : d_.routes_) {
      if (route.refs == 0) {
        continue;
      }
      for (const std::uint32_t node : members<&Lane::of_route>(d_.lanes_, route.lanes, "lanes")) {
        routed += lane(node);
      }
    }
    check(routed == routed_, "lanes: requests", routed);
  }

  std::size_t lane(std::uint32_t node) {
    const Lane& lane = d_.lanes_[node];
    const Route& route = d_.routes_[lane.route];
    const auto slots = members<&Request::lane>(d_.requests_, lane.requests, "lane");
    check(!slots.empty(), "lane: empty", node);
    const std::uint64_t key = std::uint64_t{lane.origin} << 32 | lane.route;
    const auto key_of = [this](std::uint32_t at) {
      return std::uint64_t{d_.lanes_[at].origin} << 32 | d_.lanes_[at].route;
    };
    check(d_.lane_index_.find(key, key_of) == node, "lane: not indexed", node);
    bool open = true;
    for (const std::uint32_t slot : slots) {
      const Request& request = d_.requests_[slot];
      check(request.place == node && request.origin == lane.origin &&
                request.state == RequestState::queued,
            "lane: stranger", slot);
      // What is open is the beginning of the lane: else order within the lane would be lost.
      check(open || !flag(slot, Request::kOpen), "lane: open behind one that is not", slot);
      open = flag(slot, Request::kOpen);
    }
    const bool stuck = route.holders == 0 && !slots.empty() && !flag(slots[0], Request::kOpen) &&
                       d_.origins_[lane.origin].state == Origin::State::open;
    check(!stuck || (route.released && d_.chores_), "lane: waits for nobody", node);
    return slots.size();
  }

  void routes() {
    std::vector<std::uint32_t> refs(d_.routes_.size(), 0);
    std::vector<std::uint32_t> holders(d_.routes_.size(), 0);
    for (const Request& request : d_.requests_) {
      const bool own = request.state != RequestState::vacant &&
                       request.state != RequestState::queued && request.place != kNone;
      if (own) {
        ++refs[request.place];
      }
    }
    for (const Servant& servant : d_.servants_) {
      for (const Warmth& warmth : held_by(servant)) {
        if (warmth.route != kNone) {
          ++refs[warmth.route];
          holders[warmth.route] += !servant.barred();
        }
      }
    }
    std::size_t ready = 0;
    std::size_t released = 0;
    for (std::uint32_t node = 0; node < d_.routes_.size(); ++node) {
      const Route& route = d_.routes_[node];
      if (route.refs == 0) {
        check(refs[node] == 0, "route: used but vacant", node);
        continue;
      }
      check(refs[node] + route.lane_count == route.refs, "route: refs", node);
      check(holders[node] == route.holders, "route: holders", node);
      check(d_.route_index_.find(route.key,
                                 [this](std::uint32_t at) { return d_.routes_[at].key; }) == node,
            "route: not indexed", node);
      check(members<&Lane::of_route>(d_.lanes_, route.lanes, "lanes").size() == route.lane_count,
            "route: lanes", node);
      const auto free = members<&Warmth::of_route>(d_.warmths_, route.free_holders, "holders");
      for (const std::uint32_t at : free) {
        check(d_.warmths_[at].route == node && d_.servants_[d_.warmths_[at].servant].free,
              "route: free holder", at);
      }
      check(route.ready == (!free.empty() && !route.lanes.empty()), "route: ready", node);
      check(!route.released || (route.holders == 0 && !route.lanes.empty()), "route: released",
            node);
      ready += route.ready;
      released += route.released;
    }
    check(ready == members<&Route::listed>(d_.routes_, d_.ready_, "ready").size(), "ready", ready);
    check(released == members<&Route::listed>(d_.routes_, d_.released_, "released").size(),
          "released", released);
  }

  void servants() {
    std::size_t leaving = 0;
    std::size_t held_free = 0;
    std::size_t spares = 0;
    for (std::uint32_t index = 0; index < d_.servants_.size(); ++index) {
      const Servant& servant = d_.servants_[index];
      const bool attached = servant.state == Servant::State::attached;
      const auto slots = members<&Request::order>(d_.requests_, servant.running, "running");
      check(slots.size() == (servant.state == Servant::State::vacant ? 0 : servant.outstanding),
            "servant: outstanding", index);
      check(servant.state == Servant::State::vacant || servant.outstanding <= servant.credit,
            "servant: credit", index);
      for (const std::uint32_t slot : slots) {
        check(d_.requests_[slot].state == RequestState::running &&
                  d_.requests_[slot].servant == index,
              "servant: stranger", slot);
      }
      running_ += slots.size();
      attached_ += attached;
      leaving += servant.state == Servant::State::leaving;
      const auto overran = std::count_if(slots.begin(), slots.end(), [this](std::uint32_t slot) {
        return flag(slot, Request::kOverran);
      });
      check(servant.state == Servant::State::vacant || overran == servant.overruns,
            "servant: overruns", index);
      const bool can = attached && !servant.barred() && servant.outstanding < servant.credit;
      check(servant.free == can, "servant: free", index);
      std::size_t routes = 0;
      for (const Warmth& warmth : held_by(servant)) {
        routes += warmth.route != kNone;
        check(warmth.servant == index, "servant: somebody else's place", index);
      }
      check(routes == (servant.state == Servant::State::attached ? servant.routes : 0),
            "servant: routes", index);
      check(!servant.remote || routes == 0, "servant: a remote one holds a route", index);
      spares += can && servant.remote;
      remote_ += attached && servant.remote;
      local_ += attached && !servant.remote && !servant.barred();
      const bool free = can && !servant.remote;
      for (const auto& policy : d_.policies_) {
        check(policy->contains(index) == (free && policy.get() == d_.policy_),
              "servant: known to the policy", index);
      }
      free_ += free;
      held_free += free ? routes : 0;
    }
    const std::uint32_t chosen = d_.policy_->choose();
    check(
        free_ == 0 ? chosen == kNone : chosen < d_.servants_.size() && d_.policy_->contains(chosen),
        "policy: chooses one that is not free", chosen);
    check(spares == members<&Servant::use>(d_.servants_, d_.spares_, "spares").size(), "spares",
          spares);
    check(leaving == members<&Servant::use>(d_.servants_, d_.leaving_, "leaving").size(), "leaving",
          leaving);
    check(leaving == 0 || d_.chores_, "leaving: forgotten", leaving);
    std::size_t listed = 0;
    for (const Route& route : d_.routes_) {
      if (route.refs != 0) {
        listed += members<&Warmth::of_route>(d_.warmths_, route.free_holders, "holders").size();
      }
    }
    check(listed == held_free, "servants: holders listed", listed);
  }

  void totals() {
    const std::size_t vacant = in_state(RequestState::vacant);
    const std::size_t running = in_state(RequestState::running);
    check(running == d_.running_ && running == running_, "running", running);
    check(d_.requests_.size() - vacant - running == d_.queued_, "queued", d_.queued_);
    check(attached_ == d_.attached_, "attached", attached_);
    check(local_ == d_.local_ && remote_ == d_.remote_, "tiers", local_);
    check(free_ == d_.free_servants_, "free servants", free_);
    check(timed_ == 0 || d_.timer_due_ != kForever, "timers: forgotten", timed_);
    const Counters& c = d_.counters_;
    check(c.submitted == c.completed + c.orphaned + c.discarded + c.failed_died + c.failed_none +
                             c.failed_shutdown + c.failed_queued + d_.queued_ + d_.running_,
          "counters: requests do not balance", c.submitted);
    check(c.dispatched == c.hits + c.claims + c.steals + c.spills + c.unrouted + c.remote,
          "counters: dispatches do not balance", c.dispatched);
    std::size_t vacant_listed = 0;
    for (std::uint32_t slot = d_.vacant_; slot != kNone && vacant_listed <= vacant;
         slot = d_.requests_[slot].order.next) {
      check(d_.requests_[slot].state == RequestState::vacant, "vacant: in use", slot);
      ++vacant_listed;
    }
    check(vacant_listed == vacant, "vacant: count", vacant_listed);
  }

  const Dispatcher& d_;
  std::string fault_;
  std::size_t in_state_[6] = {};
  std::size_t timed_ = 0;
  std::size_t opened_ = 0;
  std::size_t aged_ = 0;
  std::size_t routed_ = 0;
  std::size_t running_ = 0;
  std::size_t attached_ = 0;
  std::size_t local_ = 0;
  std::size_t remote_ = 0;
  std::size_t arrived_ = 0;
  std::size_t free_ = 0;
};

std::string Dispatcher::audit() const {
  return DispatcherAudit(*this).run();
}

}  // namespace mserve::broker
