// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "dispatch/dispatcher.hpp"

// Requests in and out of the queue.
//
// What an origin has queued in one class at one priority stands at one desk. A queued request that
// has a route also stands in the lane of its (desk, route). It is *open*, that is in its desk's
// open list, where any free servant of its class may take it, if
//   - it has no route, or
//   - nobody makes it wait for a holder (policy, match_wait, or it has waited long enough), or
//   - nobody holds its route and it is the first of its lane: whoever takes it will hold the route,
//     so the rest of the lane has somebody to wait for.
// Everything else is in its desk's waiting list, and a holder can take it, through
// RouteQueue::lanes. What is open of a lane is always its beginning, so order within the lane is
// kept either way.
//
// A desk with open requests has one turn in the ring of its class and priority. Every dispatch from
// it uses up that turn, in order or not, and puts the next one at the end.
namespace mserve::broker {

void Dispatcher::settle() noexcept {
  if (pending_ != kNone) {
    const std::uint32_t slot = pending_;
    pending_ = kNone;
    place(slot);
  }
}

// @param moved  it comes from another class, where it has waited enough
void Dispatcher::place(std::uint32_t slot, bool moved) noexcept {
  Request& request = requests_[slot];
  const std::uint32_t route = request.place;
  request.owner = desk_for(request.owner, request.queue);
  request.state = RequestState::queued;
  note_queued(slot);
  if (route == kNone) {
    open(slot);
    return;
  }
  const std::uint32_t lane = lane_for(request.owner, route);
  request.place = lane;
  if (lane == kNone) {
    release_route(route);
    ++counters_.routes_dropped;
    open(slot);
    return;
  }
  append<&Request::lane>(requests_, lanes_[lane].requests, slot);
  // What may have to wait again for a holder (kAged) must not be overtaken by what is behind it.
  // Asked late: on a deep queue the one before is a load from memory.
  const auto may_open = [&] {
    const std::uint32_t before = request.lane.prev;
    return before == kNone ||
           (requests_[before].flags & (Request::kOpen | Request::kAged)) == Request::kOpen;
  };
  // While older ones are still being let go (the wait was shortened), newer ones queue behind them.
  if ((wait() == 0 && class_of(request).aged.empty()) || (moved && may_open())) {
    open(slot);
    return;
  }
  age(slot);
  append<&Request::order>(requests_, desks_[request.owner].waiting, slot);
  offer(lane);
}

// It may have to wait for a holder.
void Dispatcher::age(std::uint32_t slot) noexcept {
  Request& request = requests_[slot];
  request.flags |= Request::kAged;
  append<&Request::age>(requests_, class_of(request).aged, slot);
  aged_classes_ |= std::uint64_t{1} << request.class_number();
}

void Dispatcher::leave_aged(std::uint32_t slot) noexcept {
  Request& request = requests_[slot];
  List& aged = class_of(request).aged;
  remove<&Request::age>(requests_, aged, slot);
  request.flags &= static_cast<std::uint8_t>(~Request::kAged);
  if (aged.empty()) {
    aged_classes_ &= ~(std::uint64_t{1} << request.class_number());
  }
}

void Dispatcher::open(std::uint32_t slot) noexcept {
  Request& request = requests_[slot];
  Desk& desk = desks_[request.owner];
  request.flags |= Request::kOpen;
  request.sequence = desk.entered++;
  append<&Request::order>(requests_, desk.open, slot);
  if (!desk.in_ring && origins_[desk.origin].state == Origin::State::open) {
    enter_ring(request.owner);
  }
}

void Dispatcher::open_waiting(std::uint32_t slot) noexcept {
  remove<&Request::order>(requests_, desks_[requests_[slot].owner].waiting, slot);
  open(slot);
}

void Dispatcher::leave_open(std::uint32_t slot) noexcept {
  Request& request = requests_[slot];
  Desk& desk = desks_[request.owner];
  remove<&Request::order>(requests_, desk.open, slot);
  request.flags &= static_cast<std::uint8_t>(~Request::kOpen);
  ++desk.left;
  if (desk.open.empty() && desk.in_ring) {
    leave_ring(request.owner);
  }
}

void Dispatcher::enter_ring(std::uint32_t node) noexcept {
  DeskQueue& queue = queue_of(desks_[node].queue);
  desks_[node].in_ring = true;
  desks_[node].ring_turn = queue.ring_entered++;
  append<&Desk::ring>(desks_, queue.ring, node);
  set_bit(classes_[desks_[node].queue / kPriorities].ringed, desks_[node].queue % kPriorities,
          true);
}

void Dispatcher::leave_ring(std::uint32_t node) noexcept {
  DeskQueue& queue = queue_of(desks_[node].queue);
  desks_[node].in_ring = false;
  ++queue.ring_left;
  remove<&Desk::ring>(desks_, queue.ring, node);
  set_bit(classes_[desks_[node].queue / kPriorities].ringed, desks_[node].queue % kPriorities,
          !queue.ring.empty());
}

// Takes the request out of the queue to be dispatched, and uses up its desk's turn. What was not
// open gets a number and a turn just to lose them: that counts as overtaking whoever is open.
void Dispatcher::take_turn(std::uint32_t slot) noexcept {
  const Request& request = requests_[slot];
  if (request.state != RequestState::queued) {
    unqueue(slot);
    return;  // To be sent again: it took its turn when it was sent first. Bound: has none.
  }
  const std::uint32_t node = request.owner;
  const bool was_open = (request.flags & Request::kOpen) != 0;
  unqueue(slot);
  Desk& desk = desks_[node];  // Vacant now if that was its last one: not in the ring then.
  DeskQueue& queue = queue_of(request.queue);
  ++class_of(request).turn;
  if (!was_open) {
    ++desk.entered;
    ++desk.left;
  }
  if (desk.in_ring) {
    ++queue.ring_left;
    desk.ring_turn = queue.ring_entered++;
    make_last<&Desk::ring>(desks_, queue.ring, node);
  } else if (!was_open) {
    ++queue.ring_entered;
    ++queue.ring_left;
  }
}

// Out of every list that a waiting request is in. Its place is its route again, its owner its
// origin.
void Dispatcher::unqueue(std::uint32_t slot) noexcept {
  Request& request = requests_[slot];
  if (request.state == RequestState::bound) {
    leave_bound(slot);
    return;
  }
  if (request.state == RequestState::refused) {
    leave_refused(slot);
    return;
  }
  forget_queued(slot);
  if (request.state == RequestState::retry) {
    remove<&Request::order>(requests_, class_of(request).retry, slot);
    remove<&Request::lane>(requests_, origins_[request.owner].retry, slot);
    return;
  }
  const std::uint32_t desk = request.owner;
  if ((request.flags & Request::kAged) != 0) {
    leave_aged(slot);
  }
  if ((request.flags & Request::kOpen) != 0) {
    leave_open(slot);
  } else {
    remove<&Request::order>(requests_, desks_[desk].waiting, slot);
  }
  if (request.place != kNone) {
    leave_lane(slot);
  }
  request.owner = desks_[desk].origin;
  request.state = RequestState::pending;
  if (desks_[desk].open.empty() && desks_[desk].waiting.empty()) {
    leave_desk(desk);
  }
}

// To be sent again, before anything else of its class; to none of those that refused it before.
void Dispatcher::put_back(std::uint32_t slot) noexcept {
  if (!refusals_of(slot).empty()) [[unlikely]] {
    enter_refused(slot);
    return;
  }
  Request& request = requests_[slot];
  request.state = RequestState::retry;
  append<&Request::order>(requests_, class_of(request).retry, slot);
  append<&Request::lane>(requests_, origins_[request.owner].retry, slot);
  note_queued(slot);
}

std::uint32_t Dispatcher::desk_for(std::uint32_t origin, std::uint8_t queue) noexcept {
  List& desks = origins_[origin].desks;
  // As many as classes and priorities that it uses now: one, as a rule.
  for (std::uint32_t at = desks.last; at != kNone; at = desks_[at].of_origin.prev) {
    if (desks_[at].queue == queue) {
      make_last<&Desk::of_origin>(desks_, desks, at);
      return at;
    }
  }
  const std::uint32_t node = vacant_desk_;
  vacant_desk_ = desks_[node].ring.next;
  desks_[node] = {};
  desks_[node].origin = origin;
  desks_[node].queue = queue;
  append<&Desk::of_origin>(desks_, desks, node);
  return node;
}

void Dispatcher::leave_desk(std::uint32_t node) noexcept {
  remove<&Desk::of_origin>(desks_, origins_[desks_[node].origin].desks, node);
  desks_[node].ring.next = vacant_desk_;
  vacant_desk_ = node;
}

// The lane of this desk and route. A new one takes over the caller's reference to the route, an
// existing one has its own. kNone if there is no room for a new one in the index, or if its key is
// that of another one.
std::uint32_t Dispatcher::lane_for(std::uint32_t desk, std::uint32_t route) noexcept {
  const std::uint64_t key = lane_key(desk, index_key(route));
  const std::uint32_t found =
      lane_index_.find(key, [this](std::uint32_t node) { return lanes_[node].key; });
  if (found != kNone && lanes_[found].desk == desk && lanes_[found].route == route) {
    release_route(route);
    return found;
  }
  const std::uint32_t node = vacant_lane_;
  if (found != kNone || !lane_index_.insert(key, node)) {
    return kNone;
  }
  Lane& lane = lanes_[node];
  vacant_lane_ = lane.of_route.next;
  lane.requests = {};
  lane.route = route;
  lane.desk = desk;
  lane.key = key;
  const std::uint32_t priority = desks_[desk].queue % kPriorities;
  const std::uint32_t at = queue_node(route, priority);
  append<&Lane::of_route>(lanes_, route_queues_[at].lanes, node);
  if (route_queues_[at].lane_count++ == 0) {
    routes_[route].priorities |= static_cast<std::uint8_t>(1U << priority);
    update_ready(at);
  }
  return node;
}

void Dispatcher::leave_lane(std::uint32_t slot) noexcept {
  Request& request = requests_[slot];
  const std::uint32_t node = request.place;
  Lane& lane = lanes_[node];
  const bool was_first = lane.requests.first == slot;
  remove<&Request::lane>(requests_, lane.requests, slot);
  request.place = lane.route;
  if (!lane.requests.empty()) {
    ++routes_[lane.route].refs;  // The request's own; the lane keeps its one.
    if (was_first) {
      offer(node);
    }
    return;
  }
  // The lane's reference becomes the request's.
  lane_index_.erase(lane.key, node);
  const std::uint32_t priority = request.priority();
  const std::uint32_t at = queue_node(lane.route, priority);
  remove<&Lane::of_route>(lanes_, route_queues_[at].lanes, node);
  lane.of_route.next = vacant_lane_;
  vacant_lane_ = node;
  if (--route_queues_[at].lane_count == 0) {
    routes_[lane.route].priorities &= static_cast<std::uint8_t>(~(1U << priority));
    update_ready(at);
  }
}

// Opens the first request of the lane if there is nobody to wait for.
void Dispatcher::offer(std::uint32_t lane) noexcept {
  const std::uint32_t first = lanes_[lane].requests.first;
  if (routes_[lanes_[lane].route].holders == 0 && (requests_[first].flags & Request::kOpen) == 0 &&
      origins_[desks_[lanes_[lane].desk].origin].state == Origin::State::open) {
    open_waiting(first);
  }
}

// How old the queue is matters only for servants of other tiers, or if the caller asks. Otherwise
// nothing is listed.
void Dispatcher::note_queued(std::uint32_t slot) noexcept {
  Class& in = class_of(requests_[slot]);
  if (in.queued++ == 0) {
    busy_classes_ |= std::uint64_t{1} << requests_[slot].class_number();
  }
  if (in.remote == 0 && !limits_.list_arrivals) {
    ++in.unlisted;
    return;
  }
  requests_[slot].flags |= Request::kArrived;
  append<&Arrival::by_arrival>(arrived_, in.arrivals, slot);
}

void Dispatcher::forget_queued(std::uint32_t slot) noexcept {
  Request& request = requests_[slot];
  Class& in = class_of(request);
  if (--in.queued == 0 && in.refused.empty()) {
    busy_classes_ &= ~(std::uint64_t{1} << request.class_number());
  }
  if ((request.flags & Request::kArrived) == 0) {
    --in.unlisted;
    return;
  }
  request.flags &= static_cast<std::uint8_t>(~Request::kArrived);
  remove<&Arrival::by_arrival>(arrived_, in.arrivals, slot);
}

Nanos Dispatcher::oldest_submitted() const noexcept {
  Nanos oldest = kForever;
  for (std::uint64_t left = busy_classes_; left != 0; left &= left - 1) {
    const Class& in = classes_[static_cast<std::size_t>(std::countr_zero(left))];
    for (const std::uint32_t first : {in.arrivals.first, in.refused.first}) {
      oldest = first != kNone ? std::min(oldest, requests_[first].submitted) : oldest;
    }
  }
  return oldest;
}

// Whoever would be next if every servant were alike, also if it waits for a holder. kNone: nothing
// is queued but what a chore takes away.
std::uint32_t Dispatcher::next_in_turn(const Class& in) const noexcept {
  if (!in.retry.empty()) {
    return in.retry.first;
  }
  const auto first_of = [&](std::uint32_t priority) {
    const List& ring = in.queues[priority].ring;
    return ring.empty() ? kNone : desks_[ring.first].open.first;
  };
  const std::uint32_t wanted = priority_in_turn(in);
  std::uint32_t found = wanted != kNone ? first_of(wanted) : kNone;
  for (std::uint32_t priority = kPriorities; found == kNone && priority-- != 0;) {
    found = first_of(priority);
  }
  return found != kNone ? found : in.aged.first;
}

// The request is over and in no list any more.
void Dispatcher::finish(std::uint32_t slot) noexcept {
  Request& request = requests_[slot];
  if (is_broadcast(slot)) [[unlikely]] {
    servants_[request.servant].broadcast = kNone;
    vacate(request.servant);
    end_broadcast_part();
  }
  stop_timer(slot);
  --(request.state == RequestState::running ? running_ : queued_);
  if (request.state != RequestState::running) {
    queued_bytes_ -= request.bytes;
  }
  if (request.place != kNone) {
    release_route(request.place);
  }
  Origin& origin = origins_[request.owner];
  if (--origin.live == 0 && origin.state == Origin::State::closed) {
    free_origin(request.owner);
  }
  request.state = RequestState::vacant;
  if (++request.generation == 0) {
    request.generation = 1;  // 0 would name no request.
  }
  request.order.next = vacant_;
  vacant_ = slot;
}

void Dispatcher::free_origin(std::uint32_t node) noexcept {
  origins_[node].state = Origin::State::vacant;
  origins_[node].links.next = vacant_origin_;
  vacant_origin_ = node;
}

}  // namespace mserve::broker
