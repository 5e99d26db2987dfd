// SPDX-License-Identifier: Apache-2.0
#include "dispatch/dispatcher.hpp"

// Requests in and out of the queue.
//
// A queued request that has a route stands in the lane of its (origin, route). It is *open*, that
// is in its origin's open list, where any free servant may take it, if
//   - it has no route, or
//   - nobody makes it wait for a holder (policy, match_wait, or it has waited long enough), or
//   - nobody holds its route and it is the first of its lane: whoever takes it will hold the route,
//     so the rest of the lane has somebody to wait for.
// Everything else is in its origin's waiting list, and a holder can take it, through Route::lanes.
// What is open of a lane is always its beginning, so order within the lane is kept either way.
//
// An origin with open requests has one turn in the ring. Every dispatch uses up the origin's turn,
// in order or not, and puts the next one at the end.
namespace mserve::broker {

void Dispatcher::settle() noexcept {
  if (pending_ != kNone) {
    const std::uint32_t slot = pending_;
    pending_ = kNone;
    place(slot);
  }
}

void Dispatcher::place(std::uint32_t slot) noexcept {
  Request& request = requests_[slot];
  request.state = RequestState::queued;
  note_arrival(slot);
  if (request.place == kNone) {
    open(slot);
    return;
  }
  const std::uint32_t route = request.place;
  const std::uint32_t lane = lane_for(request.origin, route);
  if (lane == kNone) {
    request.place = kNone;
    release_route(route);
    ++counters_.routes_dropped;
    open(slot);
    return;
  }
  request.place = lane;
  append<&Request::lane>(requests_, lanes_[lane].requests, slot);
  // While older ones are still being let go (the wait was shortened), newer ones queue behind them.
  if (wait() == 0 && aged_.empty()) {
    open(slot);
    return;
  }
  request.flags |= Request::kAged;
  append<&Request::age>(requests_, aged_, slot);
  append<&Request::order>(requests_, origins_[request.origin].waiting, slot);
  offer(lane);
}

void Dispatcher::open(std::uint32_t slot) noexcept {
  Request& request = requests_[slot];
  Origin& origin = origins_[request.origin];
  request.flags |= Request::kOpen;
  request.sequence = origin.entered++;
  append<&Request::order>(requests_, origin.open, slot);
  if (!origin.in_ring && origin.state == Origin::State::open) {
    enter_ring(request.origin);
  }
}

void Dispatcher::open_waiting(std::uint32_t slot) noexcept {
  remove<&Request::order>(requests_, origins_[requests_[slot].origin].waiting, slot);
  open(slot);
}

void Dispatcher::leave_open(std::uint32_t slot) noexcept {
  Request& request = requests_[slot];
  Origin& origin = origins_[request.origin];
  remove<&Request::order>(requests_, origin.open, slot);
  request.flags &= static_cast<std::uint8_t>(~Request::kOpen);
  ++origin.left;
  if (origin.open.empty() && origin.in_ring) {
    leave_ring(request.origin);
  }
}

void Dispatcher::enter_ring(std::uint32_t node) noexcept {
  origins_[node].in_ring = true;
  origins_[node].ring_turn = ring_entered_++;
  append<&Origin::ring>(origins_, ring_, node);
}

void Dispatcher::leave_ring(std::uint32_t node) noexcept {
  origins_[node].in_ring = false;
  ++ring_left_;
  remove<&Origin::ring>(origins_, ring_, node);
}

// Takes the request out of the queue to be dispatched, and uses up its origin's turn. What was not
// open gets a number and a turn just to lose them: that counts as overtaking whoever is open.
void Dispatcher::take_turn(std::uint32_t slot) noexcept {
  const Request& request = requests_[slot];
  const std::uint32_t node = request.origin;
  Origin& origin = origins_[node];
  const bool was_open = (request.flags & Request::kOpen) != 0;
  const bool retry = request.state == RequestState::retry;
  unqueue(slot);
  if (retry) {
    return;  // It took its turn when it was sent first.
  }
  if (!was_open) {
    ++origin.entered;
    ++origin.left;
  }
  if (origin.in_ring) {
    leave_ring(node);
    enter_ring(node);
  } else if (!was_open) {
    ++ring_entered_;
    ++ring_left_;
  }
}

// Out of every list that a waiting request is in. Its place is its route again.
void Dispatcher::unqueue(std::uint32_t slot) noexcept {
  Request& request = requests_[slot];
  forget_arrival(slot);
  if (request.state == RequestState::retry) {
    remove<&Request::order>(requests_, retry_, slot);
    remove<&Request::lane>(requests_, origins_[request.origin].retry, slot);
    return;
  }
  if ((request.flags & Request::kAged) != 0) {
    remove<&Request::age>(requests_, aged_, slot);
    request.flags &= static_cast<std::uint8_t>(~Request::kAged);
  }
  if ((request.flags & Request::kOpen) != 0) {
    leave_open(slot);
  } else {
    remove<&Request::order>(requests_, origins_[request.origin].waiting, slot);
  }
  if (request.place != kNone) {
    leave_lane(slot);
  }
}

// The lane of this origin and route. A new one takes over the caller's reference to the route, an
// existing one has its own. kNone if there is no room for a new one in the index.
std::uint32_t Dispatcher::lane_for(std::uint32_t origin, std::uint32_t route) noexcept {
  const auto key_of = [this](std::uint32_t node) {
    return std::uint64_t{lanes_[node].origin} << 32 | lanes_[node].route;
  };
  const std::uint64_t key = std::uint64_t{origin} << 32 | route;
  const std::uint32_t found = lane_index_.find(key, key_of);
  if (found != kNone) {
    release_route(route);
    return found;
  }
  const std::uint32_t node = vacant_lane_;
  if (!lane_index_.insert(key, node)) {
    return kNone;
  }
  Lane& lane = lanes_[node];
  vacant_lane_ = lane.of_route.next;
  lane.requests = {};
  lane.route = route;
  lane.origin = origin;
  append<&Lane::of_route>(lanes_, routes_[route].lanes, node);
  ++routes_[route].lane_count;
  update_ready(route);
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
  Route& route = routes_[lane.route];
  lane_index_.erase(std::uint64_t{lane.origin} << 32 | lane.route, node);
  remove<&Lane::of_route>(lanes_, route.lanes, node);
  --route.lane_count;
  lane.of_route.next = vacant_lane_;
  vacant_lane_ = node;
  update_ready(request.place);
}

// Opens the first request of the lane if there is nobody to wait for.
void Dispatcher::offer(std::uint32_t lane) noexcept {
  const std::uint32_t first = lanes_[lane].requests.first;
  if (routes_[lanes_[lane].route].holders == 0 && (requests_[first].flags & Request::kOpen) == 0 &&
      origins_[lanes_[lane].origin].state == Origin::State::open) {
    open_waiting(first);
  }
}

// How old the queue is matters only for servants of tier 1. Without any of them nothing is listed.
void Dispatcher::note_arrival(std::uint32_t slot) noexcept {
  if (remote_ == 0) {
    ++unlisted_;
    return;
  }
  requests_[slot].flags |= Request::kArrived;
  append<&Arrival::by_arrival>(arrived_, arrivals_, slot);
}

void Dispatcher::forget_arrival(std::uint32_t slot) noexcept {
  Request& request = requests_[slot];
  if ((request.flags & Request::kArrived) == 0) {
    --unlisted_;
    return;
  }
  request.flags &= static_cast<std::uint8_t>(~Request::kArrived);
  remove<&Arrival::by_arrival>(arrived_, arrivals_, slot);
}

// Whoever would be next if every servant were alike, also if it waits for a holder. kNone: nothing
// is queued but what a chore takes away.
std::uint32_t Dispatcher::next_in_turn() const noexcept {
  if (!retry_.empty()) {
    return retry_.first;
  }
  return !ring_.empty() ? origins_[ring_.first].open.first : aged_.first;
}

// The request is over and in no list any more.
void Dispatcher::finish(std::uint32_t slot) noexcept {
  Request& request = requests_[slot];
  stop_timer(slot);
  --(request.state == RequestState::running ? running_ : queued_);
  if (request.state != RequestState::running) {
    queued_bytes_ -= request.bytes;
  }
  if (request.place != kNone) {
    release_route(request.place);
  }
  Origin& origin = origins_[request.origin];
  if (--origin.live == 0 && origin.state == Origin::State::closed) {
    free_origin(request.origin);
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
  origins_[node].ring.next = vacant_origin_;
  vacant_origin_ = node;
}

}  // namespace mserve::broker
