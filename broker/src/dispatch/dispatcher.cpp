// SPDX-License-Identifier: Apache-2.0
#include "dispatch/dispatcher.hpp"

#include <algorithm>

// Construction, and the events that happen once per request or less often. Events only record: they
// move a node from one list to another, and next() finds it there.
namespace mserve::broker {

namespace {

// Keeps every count, and the sums of them below, inside 32 bits.
constexpr std::uint32_t kCountMax = std::uint32_t{1} << 26;

std::uint32_t count_of(std::uint32_t wanted) noexcept {
  return std::clamp(wanted, std::uint32_t{1}, kCountMax);
}

Limits cleaned(Limits limits) noexcept {
  limits.servants_max = count_of(limits.servants_max);
  limits.origins_max = count_of(limits.origins_max);
  limits.requests_max = count_of(limits.requests_max);
  limits.overtake_max = std::min(limits.overtake_max, kCountMax);
  limits.routes_per_servant =
      std::clamp(limits.routes_per_servant, std::uint32_t{1}, kRoutesPerServantMax);
  limits.tick_bits = std::min(limits.tick_bits, std::uint32_t{32});
  limits.classes_max = std::clamp(limits.classes_max, std::uint32_t{1}, kClassesMax);
  return limits;
}

}  // namespace

// How many nodes suffice: a lane and a desk have a request; a route has a lane, a running or
// waiting request or a holder; an origin node that is not open any more has a request.
Dispatcher::Dispatcher(const Limits& limits, const Options& options)
    : limits_(cleaned(limits)),
      options_(options),
      classes_(limits_.classes_max),
      requests_(limits_.requests_max),
      arrived_(limits_.requests_max),
      terms_(limits_.requests_max),
      refusals_(limits_.requests_max),
      timers_(limits_.requests_max, limits_.tick_bits),
      servants_(limits_.servants_max),
      homes_(limits_.servants_max),
      warmths_(std::size_t{limits_.servants_max} * limits_.routes_per_servant),
      routes_(limits_.requests_max + warmths_.size()),
      route_queues_(routes_.size() * kPriorities),
      desks_(limits_.requests_max),
      origins_(std::size_t{limits_.requests_max} + limits_.origins_max),
      origin_of_(limits_.origins_max, kNone),
      lanes_(limits_.requests_max),
      route_index_(static_cast<std::uint32_t>(routes_.size()), limits_.hash_seed),
      lane_index_(limits_.requests_max, limits_.hash_seed) {
  for (Class& each : classes_) {
    for (std::uint32_t at = 0; at < kPolicies; ++at) {
      each.policies[at] =
          make_policy(static_cast<Policy>(at), limits_.servants_max, limits_.plugin);
    }
    each.policy = each.policies[static_cast<std::size_t>(options_.policy)].get();
    each.spares = std::make_unique<FarPolicy>(limits_.servants_max);
  }
  classes_[0].defined = true;
  pools_[0] = 1;
  for (std::uint32_t slot = 0; slot < requests_.size(); ++slot) {
    requests_[slot].order.next = slot + 1 < requests_.size() ? slot + 1 : kNone;
    requests_[slot].generation = 1;
  }
  for (std::uint32_t node = 0; node < routes_.size(); ++node) {
    routes_[node].vacant_next = node + 1 < routes_.size() ? node + 1 : kNone;
  }
  for (std::uint32_t node = 0; node < lanes_.size(); ++node) {
    lanes_[node].of_route.next = node + 1 < lanes_.size() ? node + 1 : kNone;
  }
  for (std::uint32_t node = 0; node < desks_.size(); ++node) {
    desks_[node].ring.next = node + 1 < desks_.size() ? node + 1 : kNone;
  }
  for (std::uint32_t node = 0; node < origins_.size(); ++node) {
    origins_[node].links.next = node + 1 < origins_.size() ? node + 1 : kNone;
  }
  for (std::size_t at = 0; at < warmths_.size(); ++at) {
    warmths_[at].servant = static_cast<std::uint32_t>(at / limits_.routes_per_servant);
  }
}

Submitted Dispatcher::on(const Submit& event, Nanos now) noexcept {
  if (event.broadcast != 0) [[unlikely]] {
    return accept_broadcast(event, now);
  }
  const Submitted answer = accept(event, now);
  if (pending_ != kNone && origins_[requests_[pending_].owner].sticky) [[unlikely]] {
    place_bound(pending_);
  }
  return answer;
}

Submitted Dispatcher::accept(const Submit& event, Nanos now) noexcept {
  const std::uint32_t backlog = queued_ + running_;
  const auto refuse = [&](Refusal refusal) {
    ++counters_.refused;
    return Submitted{{}, refusal, backlog};
  };
  if (event.origin >= origin_of_.size() || origin_of_[event.origin] == kNone) {
    return refuse(Refusal::unknown_origin);
  }
  if (draining_) {
    return refuse(Refusal::shutting_down);
  }
  const std::uint32_t number = effective_class(event.class_number);
  if (number == kNone || (classes_[number].attached == 0 && hopeless(number))) {
    return refuse(Refusal::no_servant);
  }
  const std::uint64_t bytes = event.flow ? 0 : event.bytes;
  // Retries come back uninvited, so queued_bytes_ may already be above the limit.
  const std::uint64_t room =
      limits_.queued_bytes_max - std::min(queued_bytes_, limits_.queued_bytes_max);
  Origin& origin = origins_[origin_of_[event.origin]];
  if (vacant_ == kNone || bytes > room || origin.live >= limits_.origin_requests_max) {
    return refuse(Refusal::busy);
  }
  settle();
  if (event.route != 0 && deep() && !origin.desks.empty()) {
    lane_index_.prefetch(lane_key(origin.desks.last, index_key(event.route, number)));
  }
  const std::uint32_t slot = vacant_;
  Request& request = requests_[slot];
  vacant_ = request.order.next;
  request.submitted = now;
  request.bytes = bytes;
  request.owner = origin_of_[event.origin];
  request.queue =
      Request::queue_of(number, std::min(std::uint32_t{event.priority}, kPriorities - 1));
  request.place = event.route != 0 ? acquire_route(event.route, number) : kNone;
  request.backlog = backlog;
  request.state = RequestState::pending;
  request.flags = 0;
  request.retries = event.flow ? std::uint8_t{0} : event.retries;
  if (event.queue_timeout != kForever || event.run_timeout != kForever) {
    request.flags = Request::kTimed;
    const bool ends = event.whole_timeout < kForever / 2;
    terms_[slot] = {event.queue_timeout, event.run_timeout,
                    ends ? now + event.whole_timeout : kForever};
    set_timer(slot, event.queue_timeout, now);
  }
  ++origin.live;
  queued_bytes_ += bytes;
  ++queued_;
  ++counters_.submitted;
  counters_.fallbacks += number != event.class_number ? 1 : 0;
  pending_ = slot;
  return {{slot, request.generation}, Refusal::none, backlog};
}

Completion Dispatcher::on(const Done& event, Nanos now) noexcept {
  Completion completion;
  const std::uint32_t slot = event.request.slot;
  if (!runs(event.request, event.servant)) {
    ++counters_.invalid;
    return completion;
  }
  Request& request = requests_[slot];
  if ((request.flags & Request::kOverran) != 0 || servants_[event.servant].held) [[unlikely]] {
    settle();  // Its servant comes back: what is pending may belong to another class then.
  }
  const Origin& origin = origins_[request.owner];
  completion.valid = true;
  completion.deliver = !unwanted(request);
  completion.origin = origin.index;
  completion.route = request.place != kNone ? routes_[request.place].key : 0;
  completion.submitted = request.submitted;
  completion.dispatched = request.dispatched;
  completion.backlog = request.backlog;
  if (request.place != kNone) {
    if (Warmth* const warmth = warmth_of(event.servant, request.place)) {
      warmth->used = now;
    }
  }
  ++(completion.deliver ? counters_.completed : counters_.orphaned);
  stop_running(slot);
  finish(slot);
  completion.remaining = queued_ + running_;
  return completion;
}

bool Dispatcher::on(const ReplyBegan& event, Nanos /*now*/) noexcept {
  if (!runs(event.request, event.servant)) {
    ++counters_.invalid;
    return false;
  }
  requests_[event.request.slot].flags |= Request::kBegan;
  stop_timer(event.request.slot);
  return true;
}

Cancelled Dispatcher::on(const Cancel& event, Nanos /*now*/) noexcept {
  settle();
  const std::uint32_t slot = event.request.slot;
  if (!names_request(event.request)) {
    return Cancelled::unknown;
  }
  Request& request = requests_[slot];
  if (request.state == RequestState::doomed) {
    return Cancelled::queued;
  }
  request.flags |= Request::kCancelled;
  if (request.state == RequestState::running) {
    return Cancelled::running;
  }
  unqueue(slot);
  request.state = RequestState::doomed;
  append<&Request::order>(requests_, doomed_, slot);
  chores_ = true;
  return Cancelled::queued;
}

bool Dispatcher::on(const ServantJoined& event, Nanos now) noexcept {
  if (event.servant >= servants_.size() || event.pool >= kPoolsMax ||
      servants_[event.servant].state != Servant::State::vacant) {
    return false;
  }
  settle();
  Servant& servant = servants_[event.servant];
  servant = {};
  servant.joined = ++joinings_;
  servant.pool = static_cast<std::uint8_t>(event.pool);
  servant.credit = std::max(event.credit, std::uint32_t{1});
  servant.weight =
      static_cast<std::uint16_t>(std::clamp(event.weight, std::uint32_t{1}, kWeightMax));
  servant.state = Servant::State::attached;
  servant.tier = static_cast<std::uint8_t>(std::min(event.tier, kTiers - 1));
  servant.ends_overruns = event.ends_overruns;
  homes_[event.servant] = event.home;
  ++attached_;
  for_classes_of(event.servant, [&](Class& in, std::uint32_t) {
    for (const auto& policy : in.policies) {
      policy->renew(event.servant);
    }
  });
  count_servant(event.servant, true, now);
  count_usable(event.servant, true);
  enter_free(event.servant);
  return true;
}

bool Dispatcher::on(const ServantLeft& event, Nanos now) noexcept {
  if (!attached(event.servant)) {
    return false;
  }
  settle();
  Servant& servant = servants_[event.servant];
  if (servant.free) {
    leave_free(event.servant);
  }
  unhold(event.servant);
  servant.state = Servant::State::vacant;
  --attached_;
  if (!servant.barred()) {
    count_usable(event.servant, false);
  }
  count_servant(event.servant, false, now);
  if (servant.held) {
    servant.held = false;
    remove<&Servant::of_barrier>(servants_, held_, event.servant);
  }
  if (!servant.running.empty() || !servant.bound.empty() || servant.broadcast != kNone) {
    servant.state = Servant::State::leaving;
    append<&Servant::use>(servants_, leaving_, event.servant);
  }
  chores_ = true;  // Its requests, or the queue if nobody is left to run it.
  return true;
}

bool Dispatcher::on(const ServantSuspended& event, Nanos /*now*/) noexcept {
  if (!attached(event.servant)) {
    return false;
  }
  settle();
  Servant& servant = servants_[event.servant];
  if (!servant.barred()) {
    bar(event.servant);
  }
  servant.suspended = true;
  if (event.release_sticky) {
    release_sticky(event.servant);
  }
  return true;
}

bool Dispatcher::on(const ServantResumed& event, Nanos /*now*/) noexcept {
  if (!attached(event.servant)) {
    return false;
  }
  settle();
  Servant& servant = servants_[event.servant];
  if (servant.suspended) {
    servant.suspended = false;
    if (!servant.barred()) {
      unbar(event.servant);
    }
  }
  return true;
}

void Dispatcher::on(const ServantsExpected& event, Nanos /*now*/) noexcept {
  settle();
  expected_ = event.classes;
  look_at_unbound();
  chores_ = true;
}

bool Dispatcher::on(const OriginOpened& event, Nanos /*now*/) noexcept {
  // There is always a vacant node: see the constructor.
  if (event.origin >= origin_of_.size() || origin_of_[event.origin] != kNone) {
    return false;
  }
  const std::uint32_t node = vacant_origin_;
  vacant_origin_ = origins_[node].links.next;
  origins_[node] = {};
  origins_[node].index = event.origin;
  origins_[node].state = Origin::State::open;
  origins_[node].sticky = event.sticky;
  origin_of_[event.origin] = node;
  return true;
}

bool Dispatcher::on(const OriginClosed& event, Nanos /*now*/) noexcept {
  if (event.origin >= origin_of_.size() || origin_of_[event.origin] == kNone) {
    return false;
  }
  settle();
  const std::uint32_t node = origin_of_[event.origin];
  origin_of_[event.origin] = kNone;
  Origin& origin = origins_[node];
  for (std::uint32_t at = origin.desks.first; at != kNone; at = desks_[at].of_origin.next) {
    if (desks_[at].in_ring) {
      leave_ring(at);
    }
  }
  if (is_bound(origin)) {
    --servants_[origin.servant].stuck;
  }
  end_broadcast_of(node);
  origin.state = Origin::State::closing;
  append<&Origin::links>(origins_, closing_, node);
  chores_ = true;
  return true;
}

void Dispatcher::on(const DrainBegan& /*event*/, Nanos /*now*/) noexcept {
  draining_ = true;
}

void Dispatcher::on(const DrainExpired& /*event*/, Nanos /*now*/) noexcept {
  settle();
  draining_ = true;
  expired_ = true;
  chores_ = true;
}

void Dispatcher::set_options(const Options& options, Nanos /*now*/) noexcept {
  settle();
  const auto of = [](const Class& in, Policy policy) {
    return in.policies[static_cast<std::size_t>(policy)].get();
  };
  for (std::uint32_t at = 0; options.policy != options_.policy && at < servants_.size(); ++at) {
    if (servants_[at].free && servants_[at].tier == 0) {
      for_classes_of(at, [&](Class& in, std::uint32_t) {
        in.policy->leave(at, false);
        of(in, options.policy)->enter(seen_free(at));
      });
    }
  }
  for (Class& in : classes_) {
    in.policy = of(in, options.policy);
  }
  options_ = options;
}

Nanos Dispatcher::next_wakeup(Nanos now) const noexcept {
  if (pending_ != kNone || chores_) {
    return now;
  }
  if (expired_) {
    return kForever;
  }
  Nanos due = timer_due_;
  for (std::uint64_t left = busy_classes_; left != 0; left &= left - 1) {
    const Class& in = classes_[static_cast<std::uint32_t>(std::countr_zero(left))];
    if (in.free == 0) {
      due = std::min(due, remote_due(in));
    } else if (!in.aged.empty()) {
      // A request that waits for its holder has a time; the oldest one is due first.
      const Nanos submitted = requests_[in.aged.first].submitted;
      due = std::min(due, wait() > kForever - submitted ? kForever : submitted + wait());
    }
  }
  return std::max(due, now);
}

}  // namespace mserve::broker
