// SPDX-License-Identifier: Apache-2.0
#include "dispatch/dispatcher.hpp"

// Which servants may run what. Servants alike in group and tags are a *pool*; a request belongs to
// a *class*, which is a set of pools. A servant is known to the policy of each class that its pool
// belongs to, so each class sees its own free servants in its own order. While nobody of a class
// can run anything, its requests move on to its fallback, one by one, oldest first.
//
// What a sticky origin asks waits for one servant, outside all classes: its requests are in order
// in Origin::bound, and the origin in turn in Servant::bound. While there is no servant to choose,
// the origin is in unbound_.
namespace mserve::broker {

bool Dispatcher::on(const PoolDefined& event, Nanos /*now*/) noexcept {
  if (event.pool >= kPoolsMax) {
    return false;
  }
  for (const Servant& servant : servants_) {
    if (servant.state == Servant::State::attached && servant.pool == event.pool) {
      return false;
    }
  }
  pools_[event.pool] = 0;
  for (std::uint32_t number = 0; number < classes_.size(); ++number) {
    const bool in = classes_[number].defined && (event.classes >> number & 1) != 0;
    pools_[event.pool] |= std::uint64_t{in} << number;
  }
  return true;
}

bool Dispatcher::on(const ClassDefined& event, Nanos now) noexcept {
  if (event.number >= classes_.size() ||
      (event.fallback != kNone && event.fallback >= classes_.size())) {
    return false;
  }
  settle();
  Class& defined = classes_[event.number];
  defined.fallback = event.fallback;
  chores_ = true;
  look_at_unbound();
  if (defined.defined) {
    return true;
  }
  defined.defined = true;
  for (std::uint32_t pool = 0; pool < kPoolsMax; ++pool) {
    if (event.pools[pool]) {
      pools_[pool] |= std::uint64_t{1} << event.number;
    }
  }
  // Those that are here already join it.
  const auto joins = [&](const Servant& servant) {
    return servant.state == Servant::State::attached && event.pools[servant.pool];
  };
  for (std::uint32_t at = 0; at < servants_.size(); ++at) {
    const Servant& servant = servants_[at];
    if (!joins(servant)) {
      continue;
    }
    ++defined.attached;
    defined.usable += servant.barred() ? 0U : 1U;
    defined.local += servant.barred() || servant.tier != 0 ? 0U : 1U;
    if (servant.tier != 0 && defined.remote++ == 0) {
      defined.unlisted_since = now;
    }
    if (!servant.free) {
      continue;
    }
    free_classes_ |= std::uint64_t{1} << event.number;
    if (servant.tier != 0) {
      ++defined.spare;
      defined.spares->enter(seen_far(at));
    } else {
      ++defined.free;
      defined.policy->enter(seen_free(at));
    }
  }
  return true;
}

// The effective class of one without a usable servant.
[[gnu::cold]] std::uint32_t Dispatcher::class_behind(std::uint32_t number) const noexcept {
  std::uint32_t at = number;
  for (std::uint32_t hops = 0; hops <= kClassesMax; ++hops) {
    if (at >= classes_.size() || !classes_[at].defined) {
      break;
    }
    if (classes_[at].usable != 0) {
      return at;
    }
    at = classes_[at].fallback;
  }
  // Nobody can run it anywhere: it waits where it is.
  return number < classes_.size() && classes_[number].defined ? number : kNone;
}

void Dispatcher::count_servant(std::uint32_t index, bool attached, Nanos now) noexcept {
  const bool remote = servants_[index].tier != 0;
  for_classes_of(index, [&](Class& in, std::uint32_t) {
    if (remote && attached && in.remote == 0) {
      in.unlisted_since = now;
    }
    in.attached += attached ? 1U : ~0U;
    in.remote += remote ? (attached ? 1U : ~0U) : 0U;
  });
  chores_ = chores_ || !attached;
  look_at_unbound();
}

void Dispatcher::count_usable(std::uint32_t index, bool usable) noexcept {
  const bool remote = servants_[index].tier != 0;
  for_classes_of(index, [&](Class& in, std::uint32_t) {
    in.usable += usable ? 1U : ~0U;
    in.local += remote ? 0U : (usable ? 1U : ~0U);
    // Whatever has it as its fallback moves here, or what is here moves on.
    chores_ = chores_ || (busy_classes_ != 0 && in.usable == (usable ? 1U : 0U));
  });
  chores_ = chores_ || refused_count_ != 0;
  look_at_unbound();
}

// Whether no servant of a class, or of those behind it, is attached or expected.
bool Dispatcher::hopeless(std::uint32_t number) const noexcept {
  std::uint32_t at = number;
  for (std::uint32_t hops = 0; hops <= kClassesMax && at < classes_.size(); ++hops) {
    if (classes_[at].attached != 0 || (expected_ >> at & 1U) != 0) {
      return false;
    }
    at = classes_[at].fallback;
  }
  return true;
}

// A class whose requests nobody will run: kNone if there is none.
std::uint32_t Dispatcher::lost_class() const noexcept {
  for (std::uint64_t left = busy_classes_; left != 0; left &= left - 1) {
    const auto number = static_cast<std::uint32_t>(std::countr_zero(left));
    const Class& in = classes_[number];
    if (in.usable == 0 && in.queued != 0 &&
        (hopeless(number) || effective_class(number) != number)) {
      return number;
    }
  }
  return kNone;
}

// One request of a lost class moves to the fallback, or fails.
Decision Dispatcher::clear_class(std::uint32_t number) noexcept {
  const std::uint32_t slot = next_in_turn(classes_[number]);
  const std::uint32_t to = effective_class(number);
  if (to == number) {
    return give_up(slot, FailReason::no_servant);
  }
  const bool again = requests_[slot].state == RequestState::retry;
  unqueue(slot);
  change_class(slot, to);
  if (again) {
    put_back(slot);
  } else {
    place(slot, /*moved=*/true);
  }
  return {};
}

// Of a request that is in no list. Its route is that of another class now.
void Dispatcher::change_class(std::uint32_t slot, std::uint32_t to) noexcept {
  Request& request = requests_[slot];
  request.queue = Request::queue_of(to, request.priority());
  if (request.place != kNone) {
    const std::uint64_t key = routes_[request.place].key;
    release_route(request.place);
    request.place = acquire_route(key, to);
  }
  ++counters_.fallbacks;
}

bool Dispatcher::is_bound(const Origin& origin) const noexcept {
  return origin.servant != kNone && attached(origin.servant) &&
         servants_[origin.servant].joined == origin.joined;
}

// To the usable servant of the class that has the fewest sticky origins, of the nearest tier.
// O(servants), once per origin and servant lost.
void Dispatcher::bind(std::uint32_t node, std::uint32_t class_number) noexcept {
  Origin& origin = origins_[node];
  origin.servant = kNone;
  if (classes_[class_number].usable == 0) {
    return;
  }
  const auto rank = [&](std::uint32_t at) {
    return std::uint64_t{servants_[at].tier} << 32 | servants_[at].stuck;
  };
  for (std::uint32_t at = 0; at < servants_.size(); ++at) {
    if (attached(at) && !servants_[at].barred() && may_run(at, class_number) &&
        (origin.servant == kNone || rank(at) < rank(origin.servant))) {
      origin.servant = at;
    }
  }
  if (origin.servant != kNone) {
    origin.joined = servants_[origin.servant].joined;
    ++servants_[origin.servant].stuck;
  }
}

// Whoever is bound to it chooses anew. O(sticky origins that have something waiting for it).
void Dispatcher::release_sticky(std::uint32_t index) noexcept {
  Servant& servant = servants_[index];
  servant.joined = ++joinings_;  // No origin knows this number.
  servant.stuck = 0;
  while (!servant.bound.empty()) {
    const std::uint32_t node = servant.bound.first;
    remove<&Origin::of_servant>(origins_, servant.bound, node);
    origins_[node].servant = kNone;
    append<&Origin::of_servant>(origins_, unbound_, node);
    ++unbound_count_;
  }
  update_bound_ready(index);
  look_at_unbound();
}

// A pending request of a sticky origin. It stays pending if it is an ordinary one all the same.
void Dispatcher::place_bound(std::uint32_t slot) noexcept {
  Request& request = requests_[slot];
  const std::uint32_t node = request.owner;
  Origin& origin = origins_[node];
  if (origin.bound.empty()) {
    if (!is_bound(origin)) {
      bind(node, request.class_number());
    }
    if (origin.servant != kNone && !may_run(origin.servant, request.class_number())) {
      return;
    }
    if (origin.servant != kNone) {
      append<&Origin::of_servant>(origins_, servants_[origin.servant].bound, node);
    } else {
      append<&Origin::of_servant>(origins_, unbound_, node);
      ++unbound_count_;
    }
  } else if (is_bound(origin)) {
    if (!may_run(origin.servant, request.class_number())) {
      return;
    }
  } else if (origin.servant == kNone) {
    // What it asked before finds nobody; perhaps this one does, and it is bound by that.
    bind(node, request.class_number());
    if (origin.servant != kNone) {
      enter_bound(node);
    }
  }
  pending_ = kNone;
  request.state = RequestState::bound;
  append<&Request::order>(requests_, origin.bound, slot);
  if (origin.servant != kNone) {
    update_bound_ready(origin.servant);
  }
}

void Dispatcher::leave_bound(std::uint32_t slot) noexcept {
  if (is_broadcast(slot)) {
    return;  // Its servant knows it until it is over.
  }
  const std::uint32_t node = requests_[slot].owner;
  Origin& origin = origins_[node];
  remove<&Request::order>(requests_, origin.bound, slot);
  if (!origin.bound.empty()) {
    return;
  }
  if (origin.servant == kNone) {
    remove<&Origin::of_servant>(origins_, unbound_, node);
    --unbound_count_;
    unbound_left_ = std::min(unbound_left_, unbound_count_);
    return;
  }
  remove<&Origin::of_servant>(origins_, servants_[origin.servant].bound, node);
  update_bound_ready(origin.servant);
  vacate(origin.servant);
}

// A servant that left is gone for good once nothing is left of it.
void Dispatcher::vacate(std::uint32_t index) noexcept {
  Servant& servant = servants_[index];
  if (servant.state == Servant::State::leaving && servant.running.empty() &&
      servant.bound.empty() && servant.broadcast == kNone) {
    remove<&Servant::use>(servants_, leaving_, index);
    servant.state = Servant::State::vacant;
  }
}

void Dispatcher::update_bound_ready(std::uint32_t index) noexcept {
  Servant& servant = servants_[index];
  const bool ready = servant.free && !servant.bound.empty();
  if (ready != servant.bound_ready) {
    servant.bound_ready = ready;
    if (ready) {
      append<&Servant::ready>(servants_, bound_ready_, index);
    } else {
      remove<&Servant::ready>(servants_, bound_ready_, index);
    }
  }
}

// Something changed that may give an unbound origin its servant, or make it give up.
void Dispatcher::look_at_unbound() noexcept {
  unbound_left_ = unbound_count_;
  chores_ = chores_ || unbound_left_ != 0;
}

// An origin that waited for a servant has one.
void Dispatcher::enter_bound(std::uint32_t node) noexcept {
  const std::uint32_t servant = origins_[node].servant;
  remove<&Origin::of_servant>(origins_, unbound_, node);
  --unbound_count_;
  unbound_left_ = std::min(unbound_left_, unbound_count_);
  append<&Origin::of_servant>(origins_, servants_[servant].bound, node);
  update_bound_ready(servant);
}

// One origin that waits for a servant to be bound to.
Decision Dispatcher::sweep_unbound() noexcept {
  --unbound_left_;
  const std::uint32_t node = unbound_.first;
  Origin& origin = origins_[node];
  // By the first of its requests that somebody may run; what that one may not is an ordinary
  // request.
  std::uint32_t at = origin.bound.first;
  for (std::uint32_t step = 0; at != kNone && step < kStepsMax; ++step) {
    bind(node, effective_class(requests_[at].class_number()));
    if (origin.servant != kNone) {
      break;
    }
    at = requests_[at].order.next;
  }
  const std::uint32_t slot = origin.bound.first;
  const std::uint32_t number = effective_class(requests_[slot].class_number());
  if (origin.servant != kNone) {
    enter_bound(node);
    return {};
  }
  if (hopeless(number)) {
    ++unbound_left_;  // The rest of what it asked comes after this.
    return give_up(slot, FailReason::no_servant);
  }
  make_last<&Origin::of_servant>(origins_, unbound_, node);
  return {};
}

// For the first free servant that sticky origins wait for. Kind none: the structure changed.
Decision Dispatcher::pick_bound(Nanos now) noexcept {
  const std::uint32_t index = bound_ready_.first;
  const std::uint32_t node = servants_[index].bound.first;
  const std::uint32_t slot = origins_[node].bound.first;
  if (unwanted(requests_[slot])) {
    return discard(slot);
  }
  const std::uint32_t number = requests_[slot].class_number();
  const std::uint32_t to = effective_class(number);
  if (!may_run(index, to)) {  // It came before the servant was chosen.
    leave_bound(slot);
    if (to != number) {
      change_class(slot, to);
    }
    place(slot, /*moved=*/true);
    chores_ = true;  // Nobody may be left for that class meanwhile.
    return {};
  }
  if (to != number) {
    change_class(slot, to);
  }
  requests_[slot].retries = 0;
  servants_[index].bound_turn = false;
  make_last<&Origin::of_servant>(origins_, servants_[index].bound, node);
  return send(slot, index, now);
}

}  // namespace mserve::broker
