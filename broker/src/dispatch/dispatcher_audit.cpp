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
    classes();
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
  template <auto kLinks, class Nodes>
  std::vector<std::uint32_t> members(const Nodes& nodes, const List& list, std::string_view name) {
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
        Seen& seen = seen_[request.class_number()];
        ++seen.queued;
        seen.arrived += flag(slot, Request::kArrived);
        seen.retries += request.state == RequestState::retry;
      }
      if (request.state == RequestState::queued) {
        opened_ += flag(slot, Request::kOpen);
        seen_[request.class_number()].aged += flag(slot, Request::kAged);
        check(flag(slot, Request::kOpen) || flag(slot, Request::kAged), "request: lost", slot);
        routed_ += request.place != kNone;
      }
      check(!d_.timers_.is_set(slot) ||
                (request.state != RequestState::vacant && flag(slot, Request::kTimed)),
            "request: timer", slot);
      timed_ += d_.timers_.is_set(slot);
      if (request.state != RequestState::vacant) {
        check(d_.origins_[d_.origin_of(request)].state != Origin::State::vacant, "request: origin",
              slot);
        const bool counted = request.state != RequestState::running;
        bytes += counted ? request.bytes : 0;
        const std::uint32_t route = d_.route_of(request);
        check(route == kNone || d_.routes_[route].refs != 0, "request: route", slot);
      }
    }
    check(bytes == d_.queued_bytes_, "queued bytes", bytes);
    check((in_state(RequestState::pending) == 1) == (d_.pending_ != kNone), "pending", d_.pending_);
    in_list(members<&Request::order>(d_.requests_, d_.doomed_, "doomed"), RequestState::doomed);
  }

  void classes() {
    for (std::uint32_t number = 0; number < d_.classes_.size(); ++number) {
      const Class& in = d_.classes_[number];
      const Seen& seen = seen_[number];
      check(in.queued == seen.queued, "class: queued", number);
      check((d_.busy_classes_ >> number & 1) == (in.queued != 0 || !in.refused.empty()),
            "class: busy", number);
      const auto arrivals = members<&Arrival::by_arrival>(d_.arrived_, in.arrivals, "arrivals");
      check(arrivals.size() == seen.arrived, "arrivals: count", number);
      check(in.unlisted + seen.arrived == in.queued, "arrivals: not listed", number);
      check(in.unlisted == 0 || !d_.limits_.list_arrivals, "arrivals: forgotten", number);
      for (const std::uint32_t slot : arrivals) {
        check(flag(slot, Request::kArrived) && d_.requests_[slot].class_number() == number,
              "arrivals: stranger", slot);
      }
      const auto aged = members<&Request::age>(d_.requests_, in.aged, "aged");
      check(aged.size() == seen.aged, "aged: count", number);
      check((d_.aged_classes_ >> number & 1) == !aged.empty(), "class: aged", number);
      for (const std::uint32_t slot : aged) {
        check(flag(slot, Request::kAged) && d_.requests_[slot].class_number() == number,
              "aged: stranger", slot);
      }
      check(sent_before(in.retry, RequestState::retry, number).size() == seen.retries,
            "class: retries", number);
      const auto refused = sent_before(in.refused, RequestState::refused, number);
      refused_ += refused.size();
      check(refused.empty() || d_.class_elsewhere(refused[0]) == number || d_.chores_,
            "refused: lost and forgotten", number);
      const bool lost = in.usable == 0 && in.queued != 0 &&
                        (d_.hopeless(number) || d_.effective_class(number) != number);
      check(!lost || d_.chores_, "class: lost and forgotten", number);
    }
  }

  std::vector<std::uint32_t> sent_before(const List& list, RequestState state,
                                         std::uint32_t number) {
    auto slots = members<&Request::order>(d_.requests_, list, "retry");
    for (const std::uint32_t slot : slots) {
      const Request& request = d_.requests_[slot];
      check(request.state == state && request.class_number() == number, "retry: stranger", slot);
    }
    return slots;
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
        ++live[d_.origin_of(request)];
      }
    }
    std::size_t closing = 0;
    std::size_t retries = 0;
    std::size_t bound = 0;
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
      closing += origin.state == Origin::State::closing;
      for (const std::uint32_t at :
           members<&Desk::of_origin>(d_.desks_, origin.desks, "origin: desks")) {
        desk(node, at);
      }
      for (const std::uint32_t slot :
           members<&Request::lane>(d_.requests_, origin.retry, "origin: retry")) {
        check(d_.requests_[slot].owner == node, "origin: stranger in retry", slot);
        ++retries;
      }
      bound += sticky(node);
    }
    check(waiting_ + opened_ == in_state(RequestState::queued), "waiting: count", waiting_);
    check(retries == in_state(RequestState::retry) + in_state(RequestState::refused),
          "origin: retries", retries);
    check(refused_ == in_state(RequestState::refused) && refused_ == d_.refused_count_,
          "refused: count", refused_);
    bound_ = bound;
    check(closing == members<&Origin::links>(d_.origins_, d_.closing_, "closing").size(), "closing",
          closing);
    check(closing == 0 || d_.chores_, "closing: forgotten", closing);
    for (std::uint32_t queue = 0; queue < d_.classes_.size() * kPriorities; ++queue) {
      const DeskQueue& of = d_.classes_[queue / kPriorities].queues[queue % kPriorities];
      const auto ring = members<&Desk::ring>(d_.desks_, of.ring, "ring");
      const Class& in = d_.classes_[queue / kPriorities];
      check((in.ringed >> queue % kPriorities & 1) == !ring.empty() &&
                (in.ready >> queue % kPriorities & 1) == !of.ready.empty(),
            "class: priorities", queue);
      check(ring.size() == ringed_[queue], "ring", queue);
      check(of.ring_entered - of.ring_left == ring.size(), "ring: numbers", queue);
    }
  }

  void desk(std::uint32_t origin, std::uint32_t node) {
    const Desk& desk = d_.desks_[node];
    check(desk.origin == origin, "desk: origin", node);
    check(desk.in_ring == (d_.origins_[origin].state == Origin::State::open && !desk.open.empty()),
          "desk: turn", node);
    ringed_[desk.queue] += desk.in_ring;
    const std::size_t open = open_list(node);
    const std::size_t waiting = waiting_list(node);
    check(open + waiting != 0, "desk: empty", node);
    waiting_ += waiting;
  }

  // What the origin's servant is to run, and that the servant knows.
  std::size_t sticky(std::uint32_t node) {
    const Origin& origin = d_.origins_[node];
    const auto slots = members<&Request::order>(d_.requests_, origin.bound, "bound");
    for (const std::uint32_t slot : slots) {
      check(d_.requests_[slot].state == RequestState::bound && d_.requests_[slot].owner == node,
            "bound: stranger", slot);
    }
    if (!slots.empty()) {
      ++(origin.servant != kNone ? bound_origins_ : unbound_origins_);
    }
    if (origin.state == Origin::State::open && d_.is_bound(origin)) {
      ++stuck_[origin.servant];
    }
    return slots.size();
  }

  std::size_t open_list(std::uint32_t node) {
    const Desk& desk = d_.desks_[node];
    const auto slots = members<&Request::order>(d_.requests_, desk.open, "open");
    check(desk.entered - desk.left == slots.size(), "open: numbers", node);
    for (std::size_t at = 0; at < slots.size(); ++at) {
      const Request& request = d_.requests_[slots[at]];
      check(request.owner == node && request.state == RequestState::queued &&
                request.queue == desk.queue && flag(slots[at], Request::kOpen),
            "open: stranger", slots[at]);
      check(at == 0 || static_cast<std::int32_t>(request.sequence -
                                                 d_.requests_[slots[at - 1]].sequence) > 0,
            "open: order", slots[at]);
    }
    return slots.size();
  }

  std::size_t waiting_list(std::uint32_t node) {
    const auto slots = members<&Request::order>(d_.requests_, d_.desks_[node].waiting, "waiting");
    for (const std::uint32_t slot : slots) {
      const Request& request = d_.requests_[slot];
      check(request.owner == node && request.queue == d_.desks_[node].queue &&
                flag(slot, Request::kAged) && !flag(slot, Request::kOpen) &&
                request.state == RequestState::queued,
            "waiting: stranger", slot);
    }
    return slots.size();
  }

  void lanes() {
    std::size_t routed = 0;
    for (std::uint32_t node = 0; node < d_.route_queues_.size(); ++node) {
      const RouteQueue& queue = d_.route_queues_[node];
      const Route& route = d_.routes_[d_.route_of_node(node)];
      if (route.refs == 0) {
        continue;
      }
      const auto lanes = members<&Lane::of_route>(d_.lanes_, queue.lanes, "lanes");
      check(lanes.size() == queue.lane_count, "route: lanes", node);
      check((route.priorities >> node % kPriorities & 1) == !lanes.empty(), "route: priorities",
            node);
      for (const std::uint32_t at : lanes) {
        routed += lane(at, node);
      }
    }
    check(routed == routed_, "lanes: requests", routed);
  }

  std::size_t lane(std::uint32_t node, std::uint32_t queue_node) {
    const Lane& lane = d_.lanes_[node];
    const Route& route = d_.routes_[lane.route];
    const Desk& desk = d_.desks_[lane.desk];
    check(desk.queue / kPriorities == route.class_number &&
              d_.queue_node(lane.route, desk.queue % kPriorities) == queue_node,
          "lane: in the wrong queue", node);
    const auto slots = members<&Request::lane>(d_.requests_, lane.requests, "lane");
    check(!slots.empty(), "lane: empty", node);
    check(lane.key == d_.lane_key(lane.desk, d_.index_key(lane.route)), "lane: key", node);
    const auto key_of = [this](std::uint32_t at) { return d_.lanes_[at].key; };
    check(d_.lane_index_.find(lane.key, key_of) == node, "lane: not indexed", node);
    bool open = true;
    for (const std::uint32_t slot : slots) {
      const Request& request = d_.requests_[slot];
      check(request.place == node && request.owner == lane.desk &&
                request.state == RequestState::queued,
            "lane: stranger", slot);
      // What is open is the beginning of the lane: else order within the lane would be lost.
      check(open || !flag(slot, Request::kOpen), "lane: open behind one that is not", slot);
      open = flag(slot, Request::kOpen);
    }
    const bool stuck = route.holders == 0 && !slots.empty() && !flag(slots[0], Request::kOpen) &&
                       d_.origins_[desk.origin].state == Origin::State::open;
    check(!stuck || (d_.route_queues_[queue_node].released && d_.chores_), "lane: waits for nobody",
          node);
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
    std::vector<std::size_t> ready(d_.classes_.size() * kPriorities, 0);
    std::size_t released = 0;
    for (std::uint32_t node = 0; node < d_.routes_.size(); ++node) {
      const Route& route = d_.routes_[node];
      if (route.refs == 0) {
        check(refs[node] == 0, "route: used but vacant", node);
        continue;
      }
      std::size_t lanes = 0;
      for (std::uint32_t priority = 0; priority < kPriorities; ++priority) {
        const RouteQueue& queue = d_.route_queues_[d_.queue_node(node, priority)];
        lanes += queue.lane_count;
        check(queue.ready == (!route.free_holders.empty() && !queue.lanes.empty()), "route: ready",
              node);
        check(!queue.released || (route.holders == 0 && !queue.lanes.empty()), "route: released",
              node);
        ready[Request::queue_of(route.class_number, priority)] += queue.ready;
        released += queue.released;
      }
      check(refs[node] + lanes == route.refs, "route: refs", node);
      check(holders[node] == route.holders, "route: holders", node);
      check(d_.route_index_.find(d_.index_key(node),
                                 [this](std::uint32_t at) { return d_.index_key(at); }) == node,
            "route: not indexed", node);
      const auto free = members<&Warmth::of_route>(d_.warmths_, route.free_holders, "holders");
      for (const std::uint32_t at : free) {
        check(d_.warmths_[at].route == node && d_.servants_[d_.warmths_[at].servant].free,
              "route: free holder", at);
      }
      for (const Servant& servant : d_.servants_) {
        const auto held = held_by(servant);
        check(std::none_of(held.begin(), held.end(),
                           [&](const Warmth& warmth) { return warmth.route == node; }) ||
                  d_.may_run(static_cast<std::uint32_t>(&servant - d_.servants_.data()),
                             route.class_number),
              "route: held outside its class", node);
      }
    }
    for (std::uint32_t queue = 0; queue < ready.size(); ++queue) {
      const List& list = d_.classes_[queue / kPriorities].queues[queue % kPriorities].ready;
      check(ready[queue] == members<&RouteQueue::listed>(d_.route_queues_, list, "ready").size(),
            "ready", queue);
    }
    check(
        released == members<&RouteQueue::listed>(d_.route_queues_, d_.released_, "released").size(),
        "released", released);
  }

  void part_of_broadcast(std::uint32_t index) {
    const Servant& servant = d_.servants_[index];
    const bool attached = servant.state == Servant::State::attached;
    held_ += servant.held;
    check(!servant.held || attached, "servant: held and gone", index);
    if (servant.broadcast != kNone) {
      const Request& part = d_.requests_[servant.broadcast];
      ++parts_;
      check(part.servant == index && d_.barrier_left_ != 0 && part.state != RequestState::vacant &&
                part.state != RequestState::queued,
            "servant: part of a broadcast", index);
      parts_bound_ += part.state == RequestState::bound;
      check(part.state != RequestState::bound || servant.outstanding != 0 || !attached ||
                d_.barrier_ready_,
            "broadcast: forgotten", index);
    }
  }

  // In which classes it is, and what their policies know of it.
  void membership(std::uint32_t index) {
    const Servant& servant = d_.servants_[index];
    const bool attached = servant.state == Servant::State::attached;
    const bool can = attached && !servant.barred() && servant.outstanding < servant.credit;
    const bool free = can && servant.tier == 0;
    check(servant.tier < kTiers, "servant: tier", index);
    for (std::uint32_t number = 0; number < d_.classes_.size(); ++number) {
      const Class& in = d_.classes_[number];
      const bool member = attached && d_.may_run(index, number);
      Seen& seen = seen_[number];
      seen.attached += member;
      seen.usable += member && !servant.barred();
      seen.local += member && !servant.barred() && servant.tier == 0;
      seen.remote += member && servant.tier != 0;
      seen.free += member && free;
      const bool spare = member && can && servant.tier != 0;
      seen.spare += spare;
      seen.nearest = spare ? std::min(seen.nearest, std::uint32_t{servant.tier}) : seen.nearest;
      const FarServant known = in.spares->seen(index);
      check(spare ? known == d_.seen_far(index) : known.tier == 0, "servant: known as a spare one",
            index);
      for (const auto& policy : in.policies) {
        check(policy->contains(index) == (member && free && policy.get() == in.policy),
              "servant: known to the policy", index);
      }
    }
  }

  void servants_of_classes() {
    for (std::uint32_t number = 0; number < d_.classes_.size(); ++number) {
      const Class& in = d_.classes_[number];
      const Seen& seen = seen_[number];
      const std::uint32_t chosen = in.policy->choose();
      check(seen.free == 0 ? chosen == kNone
                           : chosen < d_.servants_.size() && in.policy->contains(chosen),
            "policy: chooses one that is not free", chosen);
      for (const std::uint64_t word : {std::uint64_t{0}, std::uint64_t{number} + 1}) {
        const std::uint32_t far = in.spares->choose(word, ~word * d_.limits_.hash_seed);
        check(seen.spare == 0
                  ? far == kNone
                  : far < d_.servants_.size() && in.spares->seen(far).tier == seen.nearest,
              "class: chooses one that is not free, or not the nearest", far);
      }
      check(in.attached == seen.attached && in.usable == seen.usable && in.local == seen.local &&
                in.remote == seen.remote && in.free == seen.free && in.spare == seen.spare,
            "class: servants", number);
      check((d_.free_classes_ >> number & 1) == (seen.free + seen.spare != 0), "class: free",
            number);
    }
  }

  std::size_t routes_held(std::uint32_t index) {
    const Servant& servant = d_.servants_[index];
    std::size_t routes = 0;
    for (const Warmth& warmth : held_by(servant)) {
      routes += warmth.route != kNone;
      check(warmth.servant == index, "servant: somebody else's place", index);
    }
    check(routes == (servant.state == Servant::State::attached ? servant.routes : 0),
          "servant: routes", index);
    check(servant.tier == 0 || routes == 0, "servant: a far one holds a route", index);
    return routes;
  }

  std::size_t origins_bound(std::uint32_t index, bool can) {
    const Servant& servant = d_.servants_[index];
    const auto bound = members<&Origin::of_servant>(d_.origins_, servant.bound, "bound origins");
    for (const std::uint32_t node : bound) {
      check(d_.origins_[node].servant == index && !d_.origins_[node].bound.empty(),
            "servant: bound to a stranger", index);
    }
    check(servant.bound_ready == (can && !bound.empty()), "servant: bound requests", index);
    return bound.size();
  }

  void servants() {
    std::size_t leaving = 0;
    std::size_t held_free = 0;
    std::size_t bound_ready = 0;
    std::size_t bound_origins = 0;
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
      part_of_broadcast(index);
      const bool can = attached && !servant.barred() && servant.outstanding < servant.credit;
      check(servant.free == can, "servant: free", index);
      const std::size_t routes = routes_held(index);
      bound_origins += origins_bound(index, can);
      bound_ready += servant.bound_ready;
      check(!attached || servant.stuck == stuck_[index], "servant: stuck", index);
      const bool free = can && servant.tier == 0;
      membership(index);
      free_ += free;
      held_free += free ? routes : 0;
    }
    servants_of_classes();
    check(bound_ + parts_bound_ == in_state(RequestState::bound), "bound: count", bound_);
    check(parts_ + d_.barrier_unsent_ == d_.barrier_left_, "broadcast: parts", parts_);
    check(held_ == members<&Servant::of_barrier>(d_.servants_, d_.held_, "held").size(), "held",
          held_);
    check(bound_ready == members<&Servant::ready>(d_.servants_, d_.bound_ready_, "bound").size(),
          "bound: ready", bound_ready);
    check(bound_origins == bound_origins_, "bound: origins", bound_origins);
    check(unbound_origins_ == d_.unbound_count_ &&
              unbound_origins_ ==
                  members<&Origin::of_servant>(d_.origins_, d_.unbound_, "unbound").size(),
          "unbound: origins", unbound_origins_);
    check(d_.unbound_left_ <= d_.unbound_count_ && (d_.unbound_left_ == 0 || d_.chores_),
          "unbound: forgotten", d_.unbound_left_);
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
    check(free_ == d_.free_servants_, "free servants", free_);
    check(timed_ == 0 || d_.timer_due_ != kForever, "timers: forgotten", timed_);
    const Counters& c = d_.counters_;
    check(c.submitted == c.completed + c.orphaned + c.discarded + c.failed_died + c.failed_none +
                             c.failed_shutdown + c.failed_queued + d_.queued_ + d_.running_,
          "counters: requests do not balance", c.submitted);
    check(c.dispatched == c.hits + c.claims + c.steals + c.spills + c.unrouted + c.remote + c.bound,
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
  struct Seen {
    std::uint32_t queued = 0;
    std::size_t arrived = 0;
    std::size_t aged = 0;
    std::size_t retries = 0;
    std::uint32_t attached = 0;
    std::uint32_t usable = 0;
    std::uint32_t local = 0;
    std::uint32_t remote = 0;
    std::uint32_t free = 0;
    std::uint32_t spare = 0;
    std::uint32_t nearest = kTiers;  // Tier of these.
  };
  Seen seen_[kClassesMax];
  std::size_t ringed_[kClassesMax * kPriorities] = {};
  std::vector<std::uint32_t> stuck_ = std::vector<std::uint32_t>(d_.servants_.size(), 0);
  std::size_t waiting_ = 0;
  std::size_t bound_ = 0;
  std::size_t held_ = 0;
  std::size_t parts_ = 0;
  std::size_t parts_bound_ = 0;
  std::size_t bound_origins_ = 0;
  std::size_t unbound_origins_ = 0;
  std::size_t refused_ = 0;
  std::size_t in_state_[8] = {};
  std::size_t timed_ = 0;
  std::size_t opened_ = 0;
  std::size_t routed_ = 0;
  std::size_t running_ = 0;
  std::size_t attached_ = 0;
  std::size_t free_ = 0;
};

std::string Dispatcher::audit() const {
  return DispatcherAudit(*this).run();
}

}  // namespace mserve::broker
