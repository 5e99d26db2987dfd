// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <utility>

#include "dispatch/dispatcher.hpp"

// Routes, who holds them, and which servants are free.
//
// A servant holds the routes of the last requests sent to it that had one, up to
// Limits::routes_per_servant; a route may have several holders (after a spill). A barred servant
// keeps its routes in mind but does not count as a holder. What is queued for a route at some
// priority is *ready* if a free holder and a request of it could meet.
namespace mserve::broker {

// The node of this key with one more reference; kNone if its neighbourhood in the index is crowded,
// or if somebody made a key that looks like one of another class.
std::uint32_t Dispatcher::acquire_route(std::uint64_t key, std::uint32_t class_number) noexcept {
  const std::uint64_t sought = index_key(key, class_number);
  const std::uint32_t found =
      route_index_.find(sought, [this](std::uint32_t node) { return index_key(node); });
  if (found != kNone && routes_[found].class_number == class_number) {
    ++routes_[found].refs;
    return found;
  }
  const std::uint32_t node = vacant_route_;
  if (found != kNone || !route_index_.insert(sought, node)) {
    ++counters_.routes_dropped;
    return kNone;
  }
  vacant_route_ = routes_[node].vacant_next;
  routes_[node] = {};
  routes_[node].key = key;
  routes_[node].refs = 1;
  routes_[node].class_number = static_cast<std::uint8_t>(class_number);
  return node;
}

void Dispatcher::release_route(std::uint32_t route) noexcept {
  if (--routes_[route].refs == 0) {
    route_index_.erase(index_key(route), route);
    routes_[route].vacant_next = vacant_route_;
    vacant_route_ = route;
  }
}

// To be called whenever the lanes of a route queue or the free holders of its route may have become
// none or some.
void Dispatcher::update_ready(std::uint32_t node) noexcept {
  RouteQueue& queue = route_queues_[node];
  const Route& route = routes_[route_of_node(node)];
  const bool ready = !queue.lanes.empty() && !route.free_holders.empty();
  if (queue.released && (queue.lanes.empty() || route.holders != 0)) {
    remove<&RouteQueue::listed>(route_queues_, released_, node);
    queue.released = false;
  }
  if (ready != queue.ready) {
    queue.ready = ready;
    Class& in = classes_[route.class_number];
    const std::uint32_t priority = node % kPriorities;
    List& list = in.queues[priority].ready;
    if (ready) {
      append<&RouteQueue::listed>(route_queues_, list, node);
    } else {
      remove<&RouteQueue::listed>(route_queues_, list, node);
    }
    set_bit(in.ready, priority, !list.empty());
  }
}

void Dispatcher::update_all_ready(std::uint32_t route) noexcept {
  for (std::uint32_t left = routes_[route].priorities; left != 0; left &= left - 1) {
    update_ready(queue_node(route, static_cast<std::uint32_t>(std::countr_zero(left))));
  }
}

void Dispatcher::count_holder(std::uint32_t route) noexcept {
  ++routes_[route].holders;
  update_all_ready(route);
}

void Dispatcher::uncount_holder(std::uint32_t route) noexcept {
  if (--routes_[route].holders != 0 || classes_[routes_[route].class_number].aged.empty()) {
    return;
  }
  // Whoever waited for this holder has nobody to wait for now. Where nobody waits (aged), all are
  // open already.
  for (std::uint32_t left = routes_[route].priorities; left != 0; left &= left - 1) {
    const std::uint32_t node =
        queue_node(route, static_cast<std::uint32_t>(std::countr_zero(left)));
    route_queues_[node].released = true;
    route_queues_[node].sweep_left = route_queues_[node].lane_count;
    append<&RouteQueue::listed>(route_queues_, released_, node);
    chores_ = true;
  }
}

// What it does not hold yet. The servant must not be free while what it holds changes: here and
// below.
void Dispatcher::hold(std::uint32_t servant, std::uint32_t route, Nanos now) noexcept {
  // A vacant place, else the least recently used.
  const auto held = warmths(servant);
  Warmth& place = *std::min_element(held.begin(), held.end(), [](const Warmth& a, const Warmth& b) {
    return std::pair(a.route != kNone, a.used) < std::pair(b.route != kNone, b.used);
  });
  give_up_route(place);
  place.route = route;
  place.used = now;
  ++servants_[servant].routes;
  ++routes_[route].refs;
  count_holder(route);
}

void Dispatcher::unhold(std::uint32_t servant) noexcept {
  for (Warmth& warmth : warmths(servant)) {
    give_up_route(warmth);
  }
}

void Dispatcher::give_up_route(Warmth& warmth) noexcept {
  const std::uint32_t route = warmth.route;
  if (route == kNone) {
    return;
  }
  warmth.route = kNone;
  --servants_[warmth.servant].routes;
  if (!servants_[warmth.servant].barred()) {
    uncount_holder(route);
  }
  release_route(route);
}

FreeServant Dispatcher::seen_free(std::uint32_t index) const noexcept {
  const Servant& servant = servants_[index];
  return {index, servant.outstanding, servant.weight, servant.routes,
          servant.routes < limits_.routes_per_servant};
}

FarServant Dispatcher::seen_far(std::uint32_t index) const noexcept {
  const Servant& servant = servants_[index];
  return {index, servant.tier, servant.outstanding, homes_[index]};
}

// Of another tier, which holds no route.
void Dispatcher::enter_far(std::uint32_t index) noexcept {
  const FarServant seen = seen_far(index);
  for_classes_of(index, [&](Class& in, std::uint32_t number) {
    ++in.spare;
    in.spares->enter(seen);
    free_classes_ |= std::uint64_t{1} << number;
  });
}

void Dispatcher::leave_far(std::uint32_t index) noexcept {
  for_classes_of(index, [&](Class& in, std::uint32_t number) {
    --in.spare;
    in.spares->leave(index);
    if (in.free == 0 && in.spare == 0) {
      free_classes_ &= ~(std::uint64_t{1} << number);
    }
  });
}

void Dispatcher::enter_free(std::uint32_t index) noexcept {
  Servant& servant = servants_[index];
  servant.free = true;
  if (!servant.bound.empty()) [[unlikely]] {
    update_bound_ready(index);
  }
  if (servant.tier != 0) [[unlikely]] {
    enter_far(index);
    return;
  }
  const FreeServant seen = seen_free(index);
  for_classes_of(index, [&](Class& in, std::uint32_t number) {
    ++in.free;
    in.policy->enter(seen);
    free_classes_ |= std::uint64_t{1} << number;
  });
  ++free_servants_;
  if (servant.routes == 0) {
    return;
  }
  for (Warmth& warmth : warmths(index)) {
    if (warmth.route != kNone) {
      append<&Warmth::of_route>(warmths_, routes_[warmth.route].free_holders, index_of(warmth));
      update_all_ready(warmth.route);
    }
  }
}

// @param sent  because a request is being sent to it
void Dispatcher::leave_free(std::uint32_t index, bool sent) noexcept {
  Servant& servant = servants_[index];
  servant.free = false;
  if (!servant.bound.empty()) [[unlikely]] {
    update_bound_ready(index);
  }
  if (servant.tier != 0) [[unlikely]] {
    leave_far(index);
    return;
  }
  for_classes_of(index, [&](Class& in, std::uint32_t number) {
    --in.free;
    in.policy->leave(index, sent);
    if (in.free == 0 && in.spare == 0) {
      free_classes_ &= ~(std::uint64_t{1} << number);
    }
  });
  --free_servants_;
  if (servant.routes == 0) {
    return;
  }
  for (Warmth& warmth : warmths(index)) {
    if (warmth.route != kNone) {
      remove<&Warmth::of_route>(warmths_, routes_[warmth.route].free_holders, index_of(warmth));
      update_all_ready(warmth.route);
    }
  }
}

// leave_free() and enter_free() in one, for an unawaited servant of which only `outstanding`
// changed: no route queue has lanes, so none becomes ready by it.
void Dispatcher::stay_free(std::uint32_t index, bool sent) noexcept {
  const Servant& servant = servants_[index];
  if (servant.tier != 0) [[unlikely]] {
    leave_far(index);
    enter_far(index);
    return;
  }
  const FreeServant seen = seen_free(index);
  for_classes_of(index, [&](Class& in, std::uint32_t) { in.policy->stay(seen, sent); });
  if (servant.routes == 0) {
    return;
  }
  for (Warmth& warmth : warmths(index)) {
    if (warmth.route != kNone) {
      make_last<&Warmth::of_route>(warmths_, routes_[warmth.route].free_holders, index_of(warmth));
    }
  }
}

// Before it becomes barred, for the first of its reasons.
void Dispatcher::bar(std::uint32_t index) noexcept {
  Servant& servant = servants_[index];
  if (servant.free) {
    leave_free(index);
  }
  count_usable(index, false);
  for (const Warmth& warmth : warmths(index)) {
    if (warmth.route != kNone) {
      uncount_holder(warmth.route);
    }
  }
}

// After the last reason for it to be barred went away.
void Dispatcher::unbar(std::uint32_t index) noexcept {
  Servant& servant = servants_[index];
  count_usable(index, true);
  for (Warmth& warmth : warmths(index)) {
    if (warmth.route == kNone) {
      continue;
    }
    // What it held is probably still warm, unless somebody else took it over meanwhile.
    count_holder(warmth.route);
    if (routes_[warmth.route].holders > 1) {
      give_up_route(warmth);
    }
  }
  if (servant.outstanding < servant.credit) {
    enter_free(index);
  }
}

// Makes it give up what it has not used for long.
void Dispatcher::give_up_expired(std::uint32_t index, Nanos now) noexcept {
  leave_free(index);
  for (Warmth& warmth : warmths(index)) {
    if (expired(warmth, now)) {
      give_up_route(warmth);
    }
  }
  enter_free(index);
}

}  // namespace mserve::broker
