// SPDX-License-Identifier: Apache-2.0
#include "dispatch/dispatcher.hpp"

// What a servant did not run (NotRun) is for another one.
//
// Such a request belongs to its class without those that refused it, and with a fallback to that
// one without them. It stands in Class::refused, where only the first one is looked at: as long as
// somebody else of the class can run anything, that one becomes free at some time, and those behind
// it have their turn. Once nobody else can, it moves on or fails.
namespace mserve::broker {

bool Dispatcher::on(const NotRun& event, Nanos now) noexcept {
  if (!runs(event.request, event.servant)) {
    ++counters_.invalid;
    return false;
  }
  settle();
  const std::uint32_t slot = event.request.slot;
  Request& request = requests_[slot];
  const bool here_only = is_broadcast(slot) || origins_[request.owner].sticky;
  if (expired_ || here_only || unwanted(request) || (request.flags & Request::kBegan) != 0 ||
      waited_out(slot, now) || !note_refusal(slot, event.servant)) {
    return false;
  }
  const std::uint32_t number = class_elsewhere(slot);
  if (number == kNone) {
    --refusals_[slot].count;
    return false;
  }
  stop_running(slot);
  --running_;
  ++queued_;
  queued_bytes_ += request.bytes;
  if (number != request.class_number()) {
    change_class(slot, number);
  }
  enter_refused(slot);
  if ((request.flags & Request::kTimed) != 0) {
    const Nanos wait = terms_[slot].queue_timeout;
    set_timer(slot, wait < kForever / 2 ? request.submitted + wait - now : wait, now);
  }
  ++counters_.elsewhere;
  return true;
}

std::span<const Refusals::By> Dispatcher::refusals_of(std::uint32_t slot) const noexcept {
  const Refusals& refusals = refusals_[slot];
  const bool of_this = refusals.generation == requests_[slot].generation;
  return std::span(refusals.by).first(of_this ? refusals.count : 0);
}

// False: as many have refused it as may.
bool Dispatcher::note_refusal(std::uint32_t slot, std::uint32_t servant) noexcept {
  const auto count = static_cast<std::uint32_t>(refusals_of(slot).size());
  if (count == kRefusalsMax) {
    return false;
  }
  Refusals& refusals = refusals_[slot];
  refusals.generation = requests_[slot].generation;
  refusals.count = count + 1;
  refusals.by[count] = {servant, servants_[servant].joined};
  return true;
}

// Whether its time to wait, which the time with whoever refused it belongs to, has passed.
bool Dispatcher::waited_out(std::uint32_t slot, Nanos now) const noexcept {
  const Request& request = requests_[slot];
  return (request.flags & Request::kTimed) != 0 &&
         (now - request.submitted >= terms_[slot].queue_timeout || now >= terms_[slot].end);
}

// How many servants of the class can run something and did not refuse this.
std::uint32_t Dispatcher::usable_others(std::uint32_t slot, std::uint32_t number) const noexcept {
  std::uint32_t others = classes_[number].usable;
  for (const Refusals::By& by : refusals_of(slot)) {
    const bool counted =
        refused_by(by) && !servants_[by.servant].barred() && may_run(by.servant, number);
    others -= counted ? 1U : 0U;
  }
  return others;
}

// The class that it belongs to now: the first of its own and those behind it where somebody else
// can run anything; its own one if somebody is expected; kNone: there is nobody else.
std::uint32_t Dispatcher::class_elsewhere(std::uint32_t slot) const noexcept {
  const std::uint32_t own = requests_[slot].class_number();
  bool expected = false;
  std::uint32_t at = own;
  for (std::uint32_t hops = 0; hops <= kClassesMax; ++hops) {
    if (at >= classes_.size() || !classes_[at].defined) {
      break;
    }
    if (usable_others(slot, at) != 0) {
      return at;
    }
    expected = expected || (expected_ >> at & 1U) != 0;
    at = classes_[at].fallback;
  }
  return expected ? own : kNone;
}

void Dispatcher::enter_refused(std::uint32_t slot) noexcept {
  Request& request = requests_[slot];
  request.state = RequestState::refused;
  append<&Request::order>(requests_, class_of(request).refused, slot);
  append<&Request::lane>(requests_, origins_[request.owner].retry, slot);
  busy_classes_ |= std::uint64_t{1} << request.class_number();
  ++refused_count_;
}

void Dispatcher::leave_refused(std::uint32_t slot) noexcept {
  const Request& request = requests_[slot];
  Class& in = class_of(request);
  remove<&Request::order>(requests_, in.refused, slot);
  remove<&Request::lane>(requests_, origins_[request.owner].retry, slot);
  --refused_count_;
  if (!in.refused.empty()) {
    chores_ = true;  // Nobody may be left for the next one.
  } else if (in.queued == 0) {
    busy_classes_ &= ~(std::uint64_t{1} << request.class_number());
  }
}

// Whether somebody is free for the first one of a class that has any.
bool Dispatcher::refused_ready(std::uint32_t number) const noexcept {
  const Class& in = classes_[number];
  std::uint32_t others = in.free + in.spare;
  for (const Refusals::By& by : refusals_of(in.refused.first)) {
    const bool counted =
        refused_by(by) && servants_[by.servant].free && may_run(by.servant, number);
    others -= counted ? 1U : 0U;
  }
  return others != 0;
}

// Given that somebody is. Those that refused it are out of everybody's sight while one is chosen.
Decision Dispatcher::pick_refused(std::uint32_t number, Nanos now) noexcept {
  Class& in = classes_[number];
  const std::uint32_t slot = in.refused.first;
  if (unwanted(requests_[slot])) {
    return discard(slot);
  }
  std::array<std::uint32_t, kRefusalsMax> hidden{};
  std::uint32_t hidden_count = 0;
  for (const Refusals::By& by : refusals_of(slot)) {
    if (refused_by(by) && servants_[by.servant].free) {
      leave_free(by.servant);
      hidden[hidden_count++] = by.servant;
    }
  }
  const std::uint32_t servant =
      in.free != 0 ? servant_for(requests_[slot], now) : far_servant_for(in, slot);
  while (hidden_count != 0) {
    enter_free(hidden[--hidden_count]);
  }
  return send(slot, servant, now);
}

// One for which nobody but those that refused it is left in its class; kNone: there is none.
std::uint32_t Dispatcher::lost_refused() const noexcept {
  for (std::uint64_t left = refused_count_ != 0 ? busy_classes_ : 0; left != 0; left &= left - 1) {
    const auto number = static_cast<std::uint32_t>(std::countr_zero(left));
    const std::uint32_t first = classes_[number].refused.first;
    if (first != kNone && class_elsewhere(first) != number) {
      return first;
    }
  }
  return kNone;
}

// It moves to the fallback, or fails.
Decision Dispatcher::clear_refused(std::uint32_t slot) noexcept {
  const std::uint32_t to = class_elsewhere(slot);
  if (to == kNone) {
    const bool ran = (requests_[slot].flags & Request::kAgain) != 0;
    return give_up(slot, ran ? FailReason::servant_died : FailReason::no_servant);
  }
  leave_refused(slot);
  change_class(slot, to);
  enter_refused(slot);
  return {};
}

}  // namespace mserve::broker
