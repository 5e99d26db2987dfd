// SPDX-License-Identifier: Apache-2.0
#include "dispatch/dispatcher.hpp"

// Routes, who holds them, and which servants are free.
//
// A servant holds the route of the last request sent to it that had one; a route may have several
// holders (after a spill). A suspended servant keeps its route in mind but does not count as a
// holder. A route is *ready* if a free holder and a queued request could meet.
namespace mserve::broker {

// The node of this key with one more reference; kNone if its neighbourhood in the index is crowded.
std::uint32_t Dispatcher::acquire_route(std::uint64_t key) noexcept {
  const std::uint32_t found =
      route_index_.find(key, [this](std::uint32_t node) { return routes_[node].key; });
  if (found != kNone) {
    ++routes_[found].refs;
    return found;
  }
  const std::uint32_t node = vacant_route_;
  if (!route_index_.insert(key, node)) {
    ++counters_.routes_dropped;
    return kNone;
  }
  vacant_route_ = routes_[node].listed.next;
  routes_[node] = {};
  routes_[node].key = key;
  routes_[node].refs = 1;
  return node;
}

void Dispatcher::release_route(std::uint32_t route) noexcept {
  if (--routes_[route].refs == 0) {
    route_index_.erase(routes_[route].key, route);
    routes_[route].listed.next = vacant_route_;
    vacant_route_ = route;
  }
}

// To be called whenever the route's lanes or free holders may have become none or some.
void Dispatcher::update_ready(std::uint32_t node) noexcept {
  Route& route = routes_[node];
  const bool ready = !route.lanes.empty() && !route.free_holders.empty();
  if (route.released && (route.lanes.empty() || route.holders != 0)) {
    remove<&Route::listed>(routes_, released_, node);
    route.released = false;
  }
  if (ready != route.ready) {
    route.ready = ready;
    if (ready) {
      append<&Route::listed>(routes_, ready_, node);
    } else {
      remove<&Route::listed>(routes_, ready_, node);
    }
  }
}

void Dispatcher::count_holder(std::uint32_t node) noexcept {
  ++routes_[node].holders;
  update_ready(node);
}

void Dispatcher::uncount_holder(std::uint32_t node) noexcept {
  Route& route = routes_[node];
  // Whoever waited for this holder has nobody to wait for now. Where nobody waits (aged_), all are
  // open already.
  if (--route.holders == 0 && !route.lanes.empty() && !aged_.empty()) {
    route.released = true;
    route.sweep_left = route.lane_count;
    append<&Route::listed>(routes_, released_, node);
    chores_ = true;
  }
}

// The servant must not be in the sets of free ones while what it holds changes.
void Dispatcher::hold(std::uint32_t servant, std::uint32_t route) noexcept {
  if (servants_[servant].route == route) {
    return;
  }
  unhold(servant);
  servants_[servant].route = route;
  ++routes_[route].refs;
  count_holder(route);
}

void Dispatcher::unhold(std::uint32_t servant) noexcept {
  const std::uint32_t route = servants_[servant].route;
  if (route == kNone) {
    return;
  }
  servants_[servant].route = kNone;
  if (!servants_[servant].suspended) {
    uncount_holder(route);
  }
  release_route(route);
}

void Dispatcher::enter_free(std::uint32_t index) noexcept {
  Servant& servant = servants_[index];
  servant.free = true;
  if (servant.remote) {
    append<&Servant::use>(servants_, spares_, index);
    return;
  }
  ++free_servants_;
  free_.set(index);
  servant.bare = servant.route == kNone && servant.outstanding == 0;
  if (servant.bare) {
    bare_.set(index);
    return;
  }
  append<&Servant::use>(servants_, used_, index);
  if (servant.route != kNone) {
    append<&Servant::of_route>(servants_, routes_[servant.route].free_holders, index);
    update_ready(servant.route);
  }
}

void Dispatcher::leave_free(std::uint32_t index) noexcept {
  Servant& servant = servants_[index];
  servant.free = false;
  if (servant.remote) {
    remove<&Servant::use>(servants_, spares_, index);
    return;
  }
  --free_servants_;
  free_.clear(index);
  if (servant.bare) {
    bare_.clear(index);
    return;
  }
  remove<&Servant::use>(servants_, used_, index);
  if (servant.route != kNone) {
    remove<&Servant::of_route>(servants_, routes_[servant.route].free_holders, index);
    update_ready(servant.route);
  }
}

// A free servant that runs nothing and has not used its route for long does not hold it any more.
void Dispatcher::forget_expired(std::uint32_t index, Nanos now) noexcept {
  const Servant& servant = servants_[index];
  if (servant.route != kNone && servant.outstanding == 0 && options_.route_expire != kForever &&
      now - servant.route_used >= options_.route_expire) {
    leave_free(index);
    unhold(index);
    enter_free(index);
  }
}

}  // namespace mserve::broker
