// SPDX-License-Identifier: Apache-2.0
#include "dispatch/dispatcher.hpp"

// A broadcast: one query to many servants behind a barrier.
//
// Each of its requests is bound to its servant, which is held from the moment that it is submitted:
// barred for everything else, it finishes what it runs, is sent its part, and stays held until the
// last part of all is over. Since there is one broadcast at a time, no two of them can wait for
// each other.
namespace mserve::broker {

Submitted Dispatcher::accept_broadcast(const Submit& event, Nanos now) noexcept {
  const std::uint32_t node = event.origin < origin_of_.size() ? origin_of_[event.origin] : kNone;
  const auto refuse = [&](Refusal refusal) {
    ++counters_.refused;
    return Submitted{{}, refusal, queued_ + running_};
  };
  if (node == kNone) {
    return refuse(Refusal::unknown_origin);
  }
  settle();
  if (barrier_left_ == 0) {
    barrier_left_ = barrier_unsent_ = event.broadcast;
    barrier_origin_ = node;
  } else if (barrier_origin_ != node || barrier_unsent_ == 0) {
    return refuse(Refusal::busy);
  }
  --barrier_unsent_;
  Submitted answer;
  if (!attached(event.target) || servants_[event.target].suspended) {
    answer = refuse(Refusal::no_servant);
  } else if (servants_[event.target].broadcast != kNone) {
    answer = refuse(Refusal::busy);
  } else {
    answer = accept(event, now);
  }
  if (answer.refusal != Refusal::none) {
    end_broadcast_part();
    return answer;
  }
  const std::uint32_t slot = pending_;
  pending_ = kNone;
  requests_[slot].state = RequestState::bound;
  requests_[slot].servant = event.target;
  requests_[slot].retries = 0;
  servants_[event.target].broadcast = slot;
  hold_back(event.target);
  barrier_ready_ = true;
  return answer;
}

void Dispatcher::hold_back(std::uint32_t index) noexcept {
  Servant& servant = servants_[index];
  if (servant.held) {
    return;
  }
  if (!servant.barred()) {
    bar(index);
  }
  servant.held = true;
  append<&Servant::of_barrier>(servants_, held_, index);
}

void Dispatcher::let_go(std::uint32_t index) noexcept {
  Servant& servant = servants_[index];
  remove<&Servant::of_barrier>(servants_, held_, index);
  servant.held = false;
  if (!servant.barred()) {
    unbar(index);
  }
}

// After the last part of all nobody is held any more: O(servants of the broadcast).
void Dispatcher::end_broadcast_part() noexcept {
  if (--barrier_left_ != 0) {
    return;
  }
  while (!held_.empty()) {
    let_go(held_.first);
  }
  barrier_unsent_ = 0;
  barrier_origin_ = kNone;
  barrier_ready_ = false;
}

// Its origin closes: what it did not submit yet will not come.
void Dispatcher::end_broadcast_of(std::uint32_t origin) noexcept {
  if (barrier_left_ == 0 || barrier_origin_ != origin || barrier_unsent_ == 0) {
    return;
  }
  barrier_left_ -= barrier_unsent_ - 1;
  barrier_unsent_ = 0;
  end_broadcast_part();
}

// A part that waits for its servant; kNone if there is none. O(servants of the broadcast).
std::uint32_t Dispatcher::next_broadcast_part(bool idle_only) const noexcept {
  for (std::uint32_t at = held_.first; at != kNone; at = servants_[at].of_barrier.next) {
    const Servant& servant = servants_[at];
    if (servant.broadcast != kNone && requests_[servant.broadcast].state == RequestState::bound &&
        (!idle_only || servant.outstanding == 0)) {
      return servant.broadcast;
    }
  }
  return kNone;
}

}  // namespace mserve::broker
