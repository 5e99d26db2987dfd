// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "dispatch/dispatcher.hpp"

// Who runs what next. What a broadcast sends goes first, to each of its servants as soon as that
// runs nothing; nothing else goes there then. Requests that are bound to one servant and all others
// take turns, and of the others the classes that have a free servant. Within a class, as long as a
// servant of tier 0 is free, in this order:
//   0. A request that another servant refused, as soon as one is free, of any tier, that did not.
//   1. A request to be sent again.
//   2. Of the priority whose turn it is, match: a route that has queued requests and a free holder
//      (in turn), and of its desks the next in turn. But never so that the desk at the front of the
//      ring is overtaken more than overtake_max times by later turns, nor the desk's own oldest
//      open request more than that by its later ones: whoever has been overtaken that often goes
//      now.
//   3. The oldest open request of the desk at the front of the ring of that priority.
// With none of them free, one of the nearest other tier that has a free one takes whoever is next
// in turn, if the oldest queued request has waited for Options::spill_after, or no servant of tier
// 0 is there.
//
// Of 16 turns in a class priority 3 has eight, 2 four, 1 two and 0 two, if it has anything; what it
// has no use for goes to the highest that has. So within its class and priority an origin whose
// turn comes waits for at most one dispatch per origin ahead of it in the ring and overtake_max
// more, however much anybody else has queued; and each priority has its share, however much others
// have.
//
// How often something was overtaken needs no counting per request: numbers are given in order, so
// of the oldest one present everything older has left, and "how many left" minus "its number" is
// how many younger ones left before it.
namespace mserve::broker {

std::uint32_t Dispatcher::route_of(const Request& request) const noexcept {
  return request.state == RequestState::queued && request.place != kNone
             ? lanes_[request.place].route
             : request.place;
}

// How long a request waits for a holder under the present options.
Nanos Dispatcher::wait() const noexcept {
  return options_.policy == Policy::match ? options_.match_wait : 0;
}

bool Dispatcher::overdue(const Request& request, Nanos now) const noexcept {
  return wait() != kForever && now - request.submitted >= wait();
}

// Given that no holder of its route is free: it has to wait for one that is busy.
bool Dispatcher::must_wait(const Request& request, Nanos now) const noexcept {
  const bool may_wait =
      request.state == RequestState::pending || (request.flags & Request::kAged) != 0;
  const std::uint32_t route = route_of(request);
  return may_wait && route != kNone && routes_[route].holders != 0 && !overdue(request, now);
}

std::uint32_t Dispatcher::overtaken(const Desk& desk) const noexcept {
  return desk.left - requests_[desk.open.first].sequence;
}

bool Dispatcher::ring_overtaken(const DeskQueue& queue) const noexcept {
  return !queue.ring.empty() &&
         queue.ring_left - desks_[queue.ring.first].ring_turn >= limits_.overtake_max;
}

Decision Dispatcher::next_of_some(Nanos now) noexcept {
  if (now >= timer_due_) [[unlikely]] {
    chores_ = true;
  }
  // hot: one request, nothing else queued, nothing to clear away: it never enters the queue.
  if (pending_ != kNone && queued_ == 1 && !chores_ && free_servants_ != 0) [[likely]] {
    const std::uint32_t servant = servant_for(requests_[pending_], now);
    if (servant != kNone) [[likely]] {
      return send(pending_, servant, now);
    }
  }
  return next_slow(now);
}

[[gnu::noinline]] Decision Dispatcher::next_slow(Nanos now) noexcept {
  settle();
  const bool all_let_go = let_go_overdue(now);
  if (chores_) {
    // In turn, so that neither a mass of deaths nor a full queue keeps the other waiting.
    chore_turn_ = !chore_turn_;
    const Decision first = chore_turn_ ? chore(now) : pick(now);
    if (first.kind != Decision::Kind::none) {
      return first;
    }
    const Decision second = chore_turn_ ? pick(now) : chore(now);
    if (second.kind != Decision::Kind::none) {
      return second;
    }
  } else {
    const Decision decision = pick(now);
    if (decision.kind != Decision::Kind::none) {
      return decision;
    }
  }
  Decision decision;
  // pick() may have found that a holder's route is out of date, which leaves a chore.
  decision.kind = all_let_go && !chores_ ? Decision::Kind::none : Decision::Kind::more;
  return decision;
}

// Of these classes the one that was served longest ago and has something to send; kNone: none has.
std::uint32_t Dispatcher::class_in_turn(std::uint64_t among, Nanos now) const noexcept {
  std::uint32_t found = kNone;
  for (std::uint64_t left = busy_classes_ & free_classes_ & among; left != 0; left &= left - 1) {
    const auto number = static_cast<std::uint32_t>(std::countr_zero(left));
    const Class& in = classes_[number];
    if (found != kNone && in.served >= classes_[found].served) {
      continue;
    }
    const bool some = in.free == 0 ? remote_due(in) <= now && next_in_turn(in) != kNone
                                   : !in.retry.empty() || priority_in_turn(in) != kNone;
    if (some || (!in.refused.empty() && refused_ready(number))) {
      found = number;
    }
  }
  return found;
}

// The priority whose turn it is, if it has something that need not wait for a holder; else the
// highest that has; kNone: none has.
std::uint32_t Dispatcher::priority_in_turn(const Class& in) const noexcept {
  const std::uint32_t have =
      options_.policy == Policy::match ? std::uint32_t{in.ringed} | in.ready : in.ringed;
  if (have == 0) {
    return kNone;
  }
  // Every second turn is that of the highest, of the others every second that of the next, ...
  const auto rank = static_cast<std::uint32_t>(std::countr_zero(in.turn + 1));
  const std::uint32_t wanted = kPriorities - 1 - std::min(rank, kPriorities - 1);
  return (have >> wanted & 1) != 0 ? wanted : static_cast<std::uint32_t>(std::bit_width(have)) - 1;
}

Decision Dispatcher::pick(Nanos now) noexcept {
  if (expired_) {
    return {};
  }
  for (std::uint32_t step = 0; step < kStepsMax; ++step) {
    Decision decision;
    if (barrier_ready_) [[unlikely]] {
      const std::uint32_t slot = next_broadcast_part(/*idle_only=*/true);
      barrier_ready_ = slot != kNone;
      if (slot != kNone) {
        return unwanted(requests_[slot]) ? discard(slot) : send(slot, requests_[slot].servant, now);
      }
    }
    const std::uint32_t bound = bound_ready_.first;
    const std::uint64_t among = bound == kNone ? ~std::uint64_t{0} : pools_[servants_[bound].pool];
    const bool others_turn = bound == kNone || !servants_[bound].bound_turn;
    const std::uint32_t number = others_turn ? class_in_turn(among, now) : kNone;
    if (number != kNone) {
      if (bound != kNone) {
        servants_[bound].bound_turn = true;  // Whoever it went to: once is enough.
      }
      decision = pick_class(number, now);
    } else if (bound != kNone) {
      decision = pick_bound(now);
    } else {
      return {};
    }
    if (decision.kind != Decision::Kind::none) {
      return decision;
    }
  }
  Decision decision;
  decision.kind = Decision::Kind::more;
  return decision;
}

// For a class that has something to send. Kind none: the structure changed, look again.
Decision Dispatcher::pick_class(std::uint32_t number, Nanos now) noexcept {
  Class& in = classes_[number];
  Decision decision;
  if (!in.refused.empty() && refused_ready(number)) [[unlikely]] {
    decision = pick_refused(number, now);
  } else if (in.free == 0) {
    decision = pick_remote(in, now);
  } else if (!in.retry.empty()) {
    const Request& request = requests_[in.retry.first];
    decision = unwanted(request) ? discard(in.retry.first)
                                 : send(in.retry.first, servant_for(request, now), now);
  } else {
    const std::uint32_t priority = priority_in_turn(in);
    if (priority == kNone) {
      __builtin_unreachable();  // class_in_turn() found one, which the compiler cannot know
    }
    DeskQueue& queue = in.queues[priority];
    decision = options_.policy == Policy::match && !queue.ready.empty()
                   ? pick_ready(queue, now)
                   : pick_fair(queue.ring.first, now);
  }
  if (decision.kind == Decision::Kind::dispatch) {
    in.served = ++dispatches_;
  }
  return decision;
}

// A deep queue does not fit the caches, and its lists lead from one cold line to the next. Who has
// the turn after next is known now: by the time it comes, what it needs is here. Two turns, because
// one decision takes less time than one load from memory.
[[gnu::always_inline]] inline void Dispatcher::prefetch_ahead(
    const DeskQueue& queue) const noexcept {
  const std::uint32_t first = queue.ring.first;
  if (first == kNone) {
    return;
  }
  const std::uint32_t second = desks_[first].ring.next;
  if (second == kNone) {  // One desk: its second request has the turn after next.
    const std::uint32_t next = requests_[desks_[first].open.first].order.next;
    if (next != kNone) {
      prefetch(requests_, requests_[next].order.next);
      prefetch(lanes_, requests_[next].place);
    }
    return;
  }
  const Request& soon = requests_[desks_[second].open.first];
  if (soon.place != kNone && soon.lane.next == kNone) {
    const Lane& lane = lanes_[soon.place];  // It will go with its last request.
    prefetch(lanes_, lane.of_route.prev);
    prefetch(lanes_, lane.of_route.next);
    lane_index_.prefetch(lane.key);
  }
  if (desks_[second].ring.next != kNone) {
    const Request& later = requests_[desks_[desks_[second].ring.next].open.first];
    prefetch(requests_, later.order.next);
    prefetch(requests_, later.lane.next);
    prefetch(lanes_, later.place);
  }
}

// The same for a route: of its lanes the first has the next turn, the second the one after that.
[[gnu::always_inline]] inline void Dispatcher::prefetch_lanes(
    const RouteQueue& queue) const noexcept {
  const Lane& soon = lanes_[queue.lanes.first];
  const Request& next = requests_[soon.requests.first];
  prefetch(requests_, next.order.prev);
  prefetch(requests_, next.order.next);
  prefetch(requests_, next.lane.next);
  if (soon.of_route.next != kNone) {
    const Lane& later = lanes_[soon.of_route.next];
    prefetch(requests_, later.requests.first);
    prefetch(lanes_, later.of_route.next);
  }
}

// For the first ready route. Kind none: the structure changed, look again.
Decision Dispatcher::pick_ready(DeskQueue& queue, Nanos now) noexcept {
  const std::uint32_t node = queue.ready.first;
  const std::uint32_t route = route_of_node(node);
  const std::uint32_t servant = warmths_[routes_[route].free_holders.last].servant;
  forget_expired(servant, now);
  if (!holds(servant, route)) {
    return {};
  }
  const std::uint32_t lane = route_queues_[node].lanes.first;
  const std::uint32_t at = lanes_[lane].desk;
  const std::uint32_t slot = lanes_[lane].requests.first;
  if (unwanted(requests_[slot])) {
    return discard(slot);
  }
  if (ring_overtaken(queue) && queue.ring.first != at) {
    ++counters_.forced;
    return pick_fair(queue.ring.first, now);
  }
  const Desk& desk = desks_[at];
  if (!desk.open.empty() && desk.open.first != slot) {
    if (overtaken(desk) >= limits_.overtake_max) {
      ++counters_.forced;
      return pick_fair(at, now);
    }
    ++counters_.overtakes;
  }
  make_last<&Lane::of_route>(lanes_, route_queues_[node].lanes, lane);
  if (deep()) {
    prefetch_lanes(route_queues_[node]);
  }
  make_last<&RouteQueue::listed>(route_queues_, queue.ready, node);
  return send(slot, servant, now);
}

// The oldest open request of a desk in the ring. Kind none: it turned out to have to wait (its
// route found a holder after it was opened), so it is not open any more; look again.
Decision Dispatcher::pick_fair(std::uint32_t desk, Nanos now) noexcept {
  const std::uint32_t slot = desks_[desk].open.first;
  const std::uint32_t servant = servant_for(requests_[slot], now);
  if (servant == kNone) {
    leave_open(slot);
    append<&Request::order>(requests_, desks_[desk].waiting, slot);
    return {};
  }
  const Decision decision = send(slot, servant, now);
  if (deep()) {
    prefetch_ahead(queue_of(requests_[slot].queue));
  }
  return decision;
}

// For a free servant of another tier, whose time has come.
Decision Dispatcher::pick_remote(const Class& in, Nanos now) noexcept {
  const std::uint32_t slot = next_in_turn(in);
  return unwanted(requests_[slot]) ? discard(slot) : send(slot, far_servant_for(in, slot), now);
}

std::uint32_t Dispatcher::far_servant_for(const Class& in, std::uint32_t slot) noexcept {
  const std::uint32_t route = route_of(requests_[slot]);
  const std::uint64_t draw = home_rank(limits_.hash_seed, ++draws_);  // Any mixing would do.
  return in.spares->choose(route != kNone ? routes_[route].key : 0, draw);
}

// When a servant of another tier may run something, unless one of tier 0 becomes free before.
Nanos Dispatcher::remote_due(const Class& in) const noexcept {
  if (in.free != 0 || in.spare == 0 || in.queued == 0) {
    return kForever;
  }
  if (in.local == 0) {
    return 0;
  }
  // A peer that runs nothing refuses at once, and so would take all that waits here past its turn.
  if (!in.refused.empty()) {
    return kForever;
  }
  Nanos since = in.unlisted != 0 ? in.unlisted_since : kForever;
  if (!in.arrivals.empty()) {
    since = std::min(since, requests_[in.arrivals.first].submitted);
  }
  return options_.spill_after > kForever - since ? kForever : since + options_.spill_after;
}

// The best free servant of tier 0 for this request; kNone if it has to wait for a busy one. A
// request to be sent again never waits.
std::uint32_t Dispatcher::servant_for(const Request& request, Nanos now) noexcept {
  if (options_.policy == Policy::match) {
    const std::uint32_t route = route_of(request);
    const std::uint32_t holder = route != kNone ? free_holder(route, now) : kNone;
    if (holder != kNone) {
      return holder;
    }
    if (must_wait(request, now)) {
      return kNone;
    }
  }
  return classes_[request.class_number()].policy->choose();
}

std::uint32_t Dispatcher::free_holder(std::uint32_t route, Nanos now) noexcept {
  for (std::uint32_t tries = 0; tries < kHoldersTriedMax; ++tries) {
    if (routes_[route].free_holders.empty()) {
      break;
    }
    const std::uint32_t holder = warmths_[routes_[route].free_holders.last].servant;
    forget_expired(holder, now);
    if (holds(holder, route)) {
      return holder;
    }
  }
  return kNone;
}

// @param held  the servant holds the request's route
void Dispatcher::note_affinity(const Request& request, std::uint32_t route, std::uint32_t servant,
                               bool held) noexcept {
  if (request.state == RequestState::bound) {
    ++counters_.bound;
  } else if (servants_[servant].tier != 0) {
    ++counters_.remote;
  } else if (route == kNone) {
    ++counters_.unrouted;
  } else if (held) {
    ++counters_.hits;
  } else if (routes_[route].holders != 0) {
    ++counters_.spills;
  } else if (servants_[servant].routes < limits_.routes_per_servant) {
    ++counters_.claims;
  } else {
    ++counters_.steals;
  }
}

Decision Dispatcher::send(std::uint32_t slot, std::uint32_t index, Nanos now) noexcept {
  Request& request = requests_[slot];
  Servant& servant = servants_[index];
  const std::uint32_t route = route_of(request);
  const bool free = servant.free;  // Else it is held by a broadcast, and this is its part.
  if (free) [[likely]] {
    forget_expired(index, now);
  }
  Warmth* const warmth = route != kNone ? warmth_of(index, route) : nullptr;
  note_affinity(request, route, index, warmth != nullptr);
  const bool takes_route =
      route != kNone && servant.tier == 0 && request.state != RequestState::bound;
  const bool more = servant.outstanding + 1 < servant.credit;
  if (free && more && warmth != nullptr && slot == pending_ && unawaited(servant)) {
    ++servant.outstanding;
    warmth->used = now;
    stay_free(index, true);
  } else {
    if (free) [[likely]] {
      leave_free(index, true);
    }
    ++servant.outstanding;
    if (takes_route && warmth != nullptr) {
      warmth->used = now;
    } else if (takes_route) {
      // Before the request leaves its lane: the next of the lane then has a holder to wait for.
      hold(index, route, now);
    }
    if (more && free) {
      enter_free(index);
    }
  }
  if (slot == pending_) {
    pending_ = kNone;
  } else {
    take_turn(slot);
  }
  --queued_;
  ++running_;
  queued_bytes_ -= request.bytes;
  request.state = RequestState::running;
  request.servant = index;
  request.dispatched = now;
  append<&Request::order>(requests_, servant.running, slot);
  if ((request.flags & Request::kTimed) != 0) [[unlikely]] {
    set_timer(slot, terms_[slot].run_timeout, now);
  }
  ++counters_.dispatched;
  Decision decision;
  decision.kind = Decision::Kind::dispatch;
  decision.again = (request.flags & Request::kAgain) != 0;
  decision.request = {slot, request.generation};
  decision.servant = index;
  return decision;
}

}  // namespace mserve::broker
