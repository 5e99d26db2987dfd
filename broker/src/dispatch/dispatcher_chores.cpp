// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "dispatch/dispatcher.hpp"

// What remains to be done after deaths, closings, cancellations and shutdown. Each function takes
// one step; chore() takes as many as a decision needs, within a bound, and the next call goes on.
namespace mserve::broker {

bool Dispatcher::unwanted(const Request& request) const noexcept {
  return (request.flags & Request::kCancelled) != 0 ||
         origins_[origin_of(request)].state != Origin::State::open;
}

// Opens what has waited long enough for its holder. False: there may be more of it.
bool Dispatcher::let_go_overdue(Nanos now) noexcept {
  std::uint32_t steps = 0;
  for (std::uint64_t left = aged_classes_; left != 0; left &= left - 1) {
    const List& aged = classes_[static_cast<std::uint32_t>(std::countr_zero(left))].aged;
    while (!aged.empty() && overdue(requests_[aged.first], now)) {
      if (steps++ == kStepsMax) {
        return false;
      }
      const std::uint32_t slot = aged.first;
      leave_aged(slot);
      if ((requests_[slot].flags & Request::kOpen) == 0) {
        open_waiting(slot);
      }
    }
  }
  return true;
}

Decision Dispatcher::chore(Nanos now) noexcept {
  Decision decision;
  for (std::uint32_t step = 0; step < kStepsMax; ++step) {
    if (!doomed_.empty()) {
      return discard(doomed_.first);
    }
    if (now >= timer_due_) {
      decision = time_out(now);
    } else if (!leaving_.empty()) {
      decision = clear_servant(now);
    } else if (!closing_.empty()) {
      decision = clear_origin();
    } else if (!released_.empty()) {
      sweep_released();
    } else if (expired_ && clear_cursor_ < requests_.size()) {
      decision = clear_slots();
    } else if (unbound_left_ != 0) {
      decision = sweep_unbound();
      if (decision.kind == Decision::Kind::none) {
        break;  // It looked at all servants: enough for once.
      }
    } else if (const std::uint32_t lost = lost_class(); lost != kNone) {
      decision = clear_class(lost);
    } else if (const std::uint32_t slot = lost_refused(); slot != kNone) {
      decision = clear_refused(slot);
    } else {
      chores_ = false;
      if (step == 0) {
        return {};
      }
      break;  // What was done may have given pick() something.
    }
    if (decision.kind != Decision::Kind::none) {
      return decision;
    }
  }
  decision.kind = Decision::Kind::more;
  return decision;
}

// One timer, or a step towards one.
Decision Dispatcher::time_out(Nanos now) noexcept {
  const std::uint32_t slot = timers_.expire(now);
  timer_due_ = timers_.next_due();
  if (slot == kNone) {
    return {};
  }
  Request& request = requests_[slot];
  if (request.state != RequestState::running) {
    const bool ran = (request.flags & Request::kAgain) != 0;
    return give_up(slot, ran ? FailReason::servant_died : FailReason::queue_timeout);
  }
  Servant& servant = servants_[request.servant];
  if (servant.state != Servant::State::attached) {
    return {};  // Cleared away below.
  }
  if (!servant.ends_overruns) {
    if (!servant.barred()) {
      bar(request.servant);
    }
    ++servant.overruns;
    request.flags |= Request::kOverran;
  }
  ++counters_.overruns;
  Decision decision;
  decision.kind = Decision::Kind::overrun;
  decision.deliver = !unwanted(request);
  decision.request = {slot, request.generation};
  decision.servant = request.servant;
  request.flags |= Request::kCancelled;
  return decision;
}

// Of a request that has a Term.
void Dispatcher::set_timer(std::uint32_t slot, Nanos timeout, Nanos now) noexcept {
  if (const Nanos end = terms_[slot].end; end != kForever) {
    timeout = std::min(timeout, end - std::min(now, end));
  }
  if (timeout >= kForever / 2) {  // 292 years, and no sum below overflows
    timers_.stop(slot);
    return;
  }
  timers_.set(slot, now + timeout);
  timer_due_ = std::min(timer_due_, now + timeout);
}

void Dispatcher::stop_timer(std::uint32_t slot) noexcept {
  if ((requests_[slot].flags & Request::kTimed) != 0) [[unlikely]] {
    timers_.stop(slot);
  }
}

// One request of a servant that left: back to the front of the queue, or over.
Decision Dispatcher::clear_servant(Nanos now) noexcept {
  const std::uint32_t index = leaving_.first;
  if (servants_[index].running.empty()) {
    // What its sticky origins have asked it, or its part of a broadcast.
    const std::uint32_t waits = !servants_[index].bound.empty()
                                    ? origins_[servants_[index].bound.first].bound.first
                                    : servants_[index].broadcast;
    return give_up(waits, FailReason::servant_died);
  }
  const std::uint32_t slot = servants_[index].running.first;
  Request& request = requests_[slot];
  stop_running(slot);
  if (unwanted(request) || request.retries == 0 || (request.flags & Request::kBegan) != 0) {
    return give_up(slot, FailReason::servant_died);
  }
  --request.retries;
  request.flags |= Request::kAgain;
  put_back(slot);
  if ((request.flags & Request::kTimed) != 0) {
    set_timer(slot, terms_[slot].queue_timeout, now);
  }
  --running_;
  ++queued_;
  queued_bytes_ += request.bytes;
  ++counters_.retried;
  return {};
}

// One request of an origin that went away.
Decision Dispatcher::clear_origin() noexcept {
  const std::uint32_t node = closing_.first;
  Origin& origin = origins_[node];
  if (!origin.desks.empty()) {
    const Desk& desk = desks_[origin.desks.first];
    return discard(!desk.open.empty() ? desk.open.first : desk.waiting.first);
  }
  if (!origin.bound.empty()) {
    return discard(origin.bound.first);
  }
  if (barrier_left_ != 0 && barrier_origin_ == node) {
    const std::uint32_t slot = next_broadcast_part(/*idle_only=*/false);
    if (slot != kNone) {
      return discard(slot);
    }
  }
  if (!origin.retry.empty()) {
    return discard(origin.retry.first);
  }
  remove<&Origin::links>(origins_, closing_, node);
  origin.state = Origin::State::closed;
  if (origin.live == 0) {
    free_origin(node);
  }
  return {};
}

// One lane of a route queue whose route lost its last holder.
void Dispatcher::sweep_released() noexcept {
  const std::uint32_t node = released_.first;
  RouteQueue& queue = route_queues_[node];
  if (queue.sweep_left == 0) {
    queue.released = false;
    remove<&RouteQueue::listed>(route_queues_, released_, node);
    return;
  }
  --queue.sweep_left;
  const std::uint32_t lane = queue.lanes.first;
  make_last<&Lane::of_route>(lanes_, queue.lanes, lane);
  offer(lane);
}

// DrainExpired: whatever is in the next slot is over.
Decision Dispatcher::clear_slots() noexcept {
  const std::uint32_t slot = clear_cursor_++;
  if (requests_[slot].state == RequestState::vacant) {
    return {};
  }
  if (requests_[slot].state == RequestState::running) {
    stop_running(slot);
  }
  return give_up(slot, FailReason::shutdown);
}

Decision Dispatcher::give_up(std::uint32_t slot, FailReason reason) noexcept {
  return unwanted(requests_[slot]) ? discard(slot) : fail(slot, reason);
}

// Takes a running request from its servant, which gets its credit back.
void Dispatcher::stop_running(std::uint32_t slot) noexcept {
  const std::uint32_t index = requests_[slot].servant;
  Servant& servant = servants_[index];
  remove<&Request::order>(requests_, servant.running, slot);
  if (servant.free && unawaited(servant)) {
    --servant.outstanding;
    stay_free(index, /*sent=*/false);
    return;
  }
  if (servant.free) {
    leave_free(index);  // And in again below, as the one used last.
  }
  --servant.outstanding;
  const bool overran = (requests_[slot].flags & Request::kOverran) != 0;
  servant.overruns -= overran ? 1 : 0;
  barrier_ready_ = barrier_ready_ || servant.held;
  if (servant.state == Servant::State::attached) {
    if (overran && !servant.barred()) {
      unbar(index);
    } else if (!servant.barred()) {
      enter_free(index);
    }
  } else {
    vacate(index);
  }
}

Decision Dispatcher::fail(std::uint32_t slot, FailReason reason) noexcept {
  Decision decision;
  decision.kind = Decision::Kind::fail;
  decision.reason = reason;
  decision.request = {slot, requests_[slot].generation};
  switch (reason) {
    case FailReason::servant_died:
      ++counters_.failed_died;
      break;
    case FailReason::no_servant:
      ++counters_.failed_none;
      break;
    case FailReason::shutdown:
      ++counters_.failed_shutdown;
      break;
    case FailReason::queue_timeout:
      ++counters_.failed_queued;
      break;
  }
  end(slot);
  return decision;
}

Decision Dispatcher::discard(std::uint32_t slot) noexcept {
  Decision decision;
  decision.kind = Decision::Kind::discard;
  decision.request = {slot, requests_[slot].generation};
  ++counters_.discarded;
  end(slot);
  return decision;
}

// Over without an answer, wherever it is; a running one was taken from its servant before.
void Dispatcher::end(std::uint32_t slot) noexcept {
  switch (requests_[slot].state) {
    case RequestState::queued:
    case RequestState::bound:
    case RequestState::retry:
    case RequestState::refused:
      unqueue(slot);
      break;
    case RequestState::doomed:
      remove<&Request::order>(requests_, doomed_, slot);
      break;
    case RequestState::vacant:
    case RequestState::pending:
    case RequestState::running:
      break;
  }
  finish(slot);
}

}  // namespace mserve::broker
