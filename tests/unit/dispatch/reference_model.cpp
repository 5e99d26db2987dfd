// SPDX-License-Identifier: Apache-2.0
#include "reference_model.hpp"

namespace mserve::broker::test {

std::vector<RequestId> ReferenceModel::live_ids() const {
  std::vector<RequestId> ids;
  for (const Asked& asked : live_) {
    ids.push_back(asked.id);
  }
  return ids;
}

std::vector<Done> ReferenceModel::running() const {
  std::vector<Done> found;
  for (const Asked& asked : live_) {
    if (asked.running && !asked.limbo) {
      found.push_back({asked.id, asked.servant});
    }
  }
  return found;
}

void ReferenceModel::defined(const ClassDefined& event) {
  if (event.number == class_fallback_.size()) {
    class_fallback_.push_back(event.fallback);
    for (std::uint32_t pool = 0; pool < kPoolsMax; ++pool) {
      pools_[pool] |= std::uint64_t{event.pools[pool]} << event.number;
    }
  }
  class_fallback_[event.number] = event.fallback;
}

std::uint32_t ReferenceModel::effective_class(std::uint32_t number) const {
  std::uint32_t at = number;
  for (std::size_t hops = 0; hops <= class_fallback_.size() && at < class_fallback_.size();
       ++hops) {
    if (anybody(at, [](const Server& server) { return server.attached && !barred(server); })) {
      return at;
    }
    at = class_fallback_[at];
  }
  return number;
}

// Whether nobody of a class or of its fallbacks is attached or on his way.
bool ReferenceModel::hopeless(std::uint32_t number) const {
  std::uint32_t at = number;
  for (std::size_t hops = 0; hops <= class_fallback_.size() && at < class_fallback_.size();
       ++hops) {
    if ((expected_ >> at & 1U) != 0 ||
        anybody(at, [](const Server& server) { return server.attached; })) {
      return false;
    }
    at = class_fallback_[at];
  }
  return true;
}

// Every queued request may move to the fallback of its class at any time from now on.
void ReferenceModel::widen_classes() {
  for (Asked& asked : live_) {
    for (std::uint64_t left = asked.running && !asked.limbo ? 0 : asked.classes; left != 0;
         left &= left - 1) {
      asked.classes |= std::uint64_t{1}
                       << effective_class(static_cast<std::uint32_t>(std::countr_zero(left)));
    }
  }
}

std::uint64_t ReferenceModel::queued_bytes() const {
  std::uint64_t bytes = 0;
  for (const Asked& asked : live_) {
    bytes += asked.running || asked.submit.flow ? 0 : asked.submit.bytes;
  }
  return bytes;
}

void ReferenceModel::submit(const Submit& event, const Submitted& answer, Nanos now) {
  const std::uint32_t number =
      event.class_number < class_fallback_.size() ? effective_class(event.class_number) : kNone;
  const bool limbo =
      std::any_of(live_.begin(), live_.end(), [](const Asked& asked) { return asked.limbo; });
  const std::uint64_t bytes = event.flow ? 0 : event.bytes;
  const auto of_origin = [&](const Asked& asked) {
    return event.origin < origin_of_.size() && asked.origin == origin_of_[event.origin];
  };
  Refusal refusal = Refusal::none;
  if (event.origin >= origin_of_.size() || origin_of_[event.origin] < 0) {
    refusal = Refusal::unknown_origin;
  } else if (draining_) {
    refusal = Refusal::shutting_down;
  } else if (number == kNone || hopeless(number)) {
    refusal = Refusal::no_servant;
  } else if (live_.size() >= limits_.requests_max ||
             static_cast<std::uint64_t>(std::count_if(live_.begin(), live_.end(), of_origin)) >=
                 limits_.origin_requests_max ||
             (bytes != 0 && queued_bytes() + bytes > limits_.queued_bytes_max)) {
    refusal = Refusal::busy;
  }
  if (event.broadcast != 0 && refusal != Refusal::unknown_origin) {
    const Refusal part = refusal_of_part(event);
    refusal = part != Refusal::none ? part : refusal;
  }
  // What is in limbo may be queued again already, with its bytes.
  const bool may_differ = limbo && (refusal == Refusal::none || refusal == Refusal::busy) &&
                          (answer.refusal == Refusal::none || answer.refusal == Refusal::busy);
  check(answer.refusal == refusal || may_differ, "submit: wrong refusal");
  check(answer.backlog == live_.size(), "submit: wrong backlog");
  check((answer.refusal == Refusal::none) == static_cast<bool>(answer.id), "submit: id");
  const bool counted = event.broadcast != 0 && refusal != Refusal::unknown_origin &&
                       barrier_origin_ == origin_of_[event.origin] && counted_;
  if (answer.refusal != Refusal::none) {
    if (counted) {
      end_part();
    }
    return;
  }
  check(answer.id.slot < limits_.requests_max, "submit: slot out of range");
  check(ids_.insert(answer.id.packed()).second, "submit: id used twice");
  Asked asked;
  asked.id = answer.id;
  asked.submit = event;
  asked.submit.priority =
      static_cast<std::uint8_t>(std::min(std::uint32_t{event.priority}, kPriorities - 1));
  asked.classes = std::uint64_t{1} << number;
  asked.origin = origin_of_[event.origin];
  asked.submitted = now;
  const bool limited = event.queue_timeout != kForever || event.run_timeout != kForever;
  if (limited && event.whole_timeout != kForever) {
    asked.end = now + event.whole_timeout;
  }
  limit(asked, event.queue_timeout, now);
  timed_ = timed_ || limited;
  asked.listed = limits_.list_arrivals || anybody(number, [](const Server& server) {
                   return server.attached && server.tier != 0;
                 });
  if (event.broadcast != 0) {
    asked.broadcast = true;
    asked.servant = event.target;
    asked.submit.retries = 0;
    servants_[event.target].held = true;
    held_.push_back(event.target);
  }
  asked.backlog = answer.backlog;
  // Behind what its origin asked of a servant that left, as long as that has not failed yet.
  asked.doomed_with_servant = std::any_of(live_.begin(), live_.end(), [&](const Asked& other) {
    return other.origin == asked.origin && other.doomed_with_servant && !other.broadcast &&
           !asked.broadcast;
  });
  live_.push_back(asked);
  update_turns(nullptr);
}

// Why a part of a broadcast is refused, and whether it counts as a part that is over then.
Refusal ReferenceModel::refusal_of_part(const Submit& event) {
  const int origin = origin_of_[event.origin];
  counted_ = false;
  if (barrier_left_ == 0) {
    barrier_left_ = barrier_unsent_ = event.broadcast;
    barrier_origin_ = origin;
  } else if (barrier_origin_ != origin || barrier_unsent_ == 0) {
    return Refusal::busy;
  }
  counted_ = true;
  --barrier_unsent_;
  if (!attached(event.target) || servants_[event.target].suspended) {
    return Refusal::no_servant;
  }
  const bool twice = std::any_of(live_.begin(), live_.end(), [&](const Asked& asked) {
    return asked.broadcast && asked.servant == event.target;
  });
  return twice ? Refusal::busy : Refusal::none;
}

void ReferenceModel::end_part() {
  if (--barrier_left_ != 0) {
    return;
  }
  barrier_unsent_ = 0;
  barrier_origin_ = -1;
  for (const std::uint32_t at : held_) {
    if (servants_[at].held) {
      servants_[at].held = false;
      unbarred(servants_[at]);
    }
  }
  held_.clear();
}

void ReferenceModel::done(const Done& event, const Completion& answer, Nanos now) {
  const auto asked = find_in(live_, event.request);
  const bool valid =
      asked != live_.end() && asked->running && !asked->limbo && asked->servant == event.servant;
  check(answer.valid == valid, valid ? "done: not believed" : "done: believed");
  if (!valid || !answer.valid) {
    return;
  }
  check(answer.deliver == !unwanted(*asked), "done: deliver");
  check(answer.origin == asked->submit.origin, "done: origin");
  check(answer.route == asked->submit.route, "done: route");
  check(answer.submitted == asked->submitted, "done: submitted");
  check(answer.dispatched == asked->dispatched, "done: dispatched");
  check(answer.backlog == asked->backlog, "done: backlog");
  check(answer.remaining == live_.size() - 1, "done: remaining");
  Server& server = servants_[event.servant];
  const auto held = server.routes.find(route_of(*asked));
  if (held != server.routes.end()) {
    held->second = now;
  }
  ended_running(*asked);
  over(event.request);
}

void ReferenceModel::reply_began(const ReplyBegan& event, bool answer) {
  const auto asked = find_in(live_, event.request);
  const bool valid =
      asked != live_.end() && asked->running && !asked->limbo && asked->servant == event.servant;
  check(answer == valid, "reply began: belief");
  if (valid) {
    asked->began = true;
    asked->due = asked->late = kForever;
  }
}

void ReferenceModel::cancel(RequestId id, Cancelled answer) {
  const auto asked = find_in(live_, id);
  if (asked == live_.end()) {
    check(answer == Cancelled::unknown, "cancel: of nothing");
    return;
  }
  if (asked->limbo) {
    check(answer != Cancelled::unknown, "cancel: limbo");
  } else {
    check(answer == (asked->running ? Cancelled::running : Cancelled::queued), "cancel: answer");
  }
  asked->cancelled = true;
  update_turns(nullptr);
}

void ReferenceModel::joined(const ServantJoined& event, bool answer, Nanos now) {
  const bool taken = event.servant >= servants_.size() || servants_[event.servant].attached;
  const bool limbo = std::any_of(live_.begin(), live_.end(), [&](const Asked& asked) {
    return asked.doomed_with_servant || (asked.limbo && asked.servant == event.servant);
  });
  check(taken ? !answer : (answer || limbo), "joined: answer");
  if (answer) {
    for (std::uint32_t number = 0; event.tier != 0 && number < class_fallback_.size(); ++number) {
      if ((pools_[event.pool] >> number & 1) != 0 && !anybody(number, [](const Server& server) {
            return server.attached && server.tier != 0;
          })) {
        remote_since_[number] = now;
      }
    }
    servants_[event.servant] = {};
    servants_[event.servant].pool = event.pool;
    servants_[event.servant].tier = event.tier;
    servants_[event.servant].home = event.home;
    servants_[event.servant].ends_overruns = event.ends_overruns;
    servants_[event.servant].attached = true;
    servants_[event.servant].credit = std::max(event.credit, 1U);
    servants_[event.servant].weight = std::clamp(event.weight, 1U, kWeightMax);
    servants_[event.servant].used = ++stamp_;
  }
}

void ReferenceModel::left(std::uint32_t servant, bool answer, Nanos now) {
  check(answer == attached(servant), "left: answer");
  if (!answer) {
    return;
  }
  servants_[servant] = {};
  std::erase(held_, servant);
  for (Opening& opening : openings_) {
    opening.servant = opening.servant == servant ? kNone : opening.servant;
  }
  for (Asked& asked : live_) {
    asked.doomed_with_servant =
        asked.doomed_with_servant || (asked.broadcast && asked.servant == servant) ||
        (!asked.running && sticky(asked) && !asked.broadcast &&
         openings_[static_cast<std::size_t>(asked.origin)].servant == kNone);
    if (asked.running && !asked.limbo && asked.servant == servant) {
      asked.limbo = true;
      limit(asked, asked.submit.queue_timeout, now);  // From here on, if it is queued again.
    }
  }
}

void ReferenceModel::suspended(const ServantSuspended& event, bool answer) {
  const std::uint32_t servant = event.servant;
  check(answer == attached(servant), "suspended: answer");
  if (answer) {
    servants_[servant].suspended = true;
    for (Opening& opening : openings_) {
      opening.servant =
          event.release_sticky && opening.servant == servant ? kNone : opening.servant;
    }
  }
}

void ReferenceModel::resumed(std::uint32_t servant, bool answer) {
  check(answer == attached(servant), "resumed: answer");
  if (!answer || !servants_[servant].suspended) {
    return;
  }
  servants_[servant].suspended = false;
  unbarred(servants_[servant]);
}

// It still holds what nobody else took over meanwhile.
void ReferenceModel::unbarred(Server& back) {
  if (barred(back)) {
    return;
  }
  std::erase_if(back.routes, [&](const auto& route) {
    // Whether one whose route is out of date still counts depends on whether anybody looked; with
    // several routes that matters no further than holds() tells.
    return std::any_of(servants_.begin(), servants_.end(), [&](const Server& server) {
      return &server != &back && server.attached && !barred(server) &&
             server.routes.contains(route.first);
    });
  });
  back.used = ++stamp_;
}

// Its servant has its credit back.
void ReferenceModel::ended_running(const Asked& asked) {
  Server& server = servants_[asked.servant];
  --server.outstanding;
  server.used = ++stamp_;
  if (asked.overran) {
    --server.overruns;
    unbarred(server);
  }
}

void ReferenceModel::set_options(const Options& options) {
  if (options.policy != options_.policy) {
    // The new policy starts with the free ones in the order of their indices.
    for (Server& server : servants_) {
      server.used = server.tier != 0 ? server.used : ++stamp_;
    }
  }
  options_ = options;
}

void ReferenceModel::opened(const OriginOpened& event, bool answer) {
  const std::uint32_t origin = event.origin;
  const bool vacant = origin < origin_of_.size() && origin_of_[origin] < 0;
  check(answer == vacant, "opened: answer");
  if (answer) {
    origin_of_[origin] = static_cast<int>(openings_.size());
    openings_.push_back({});
    openings_.back().index = origin;
    openings_.back().sticky = event.sticky;
  }
}

void ReferenceModel::closed(std::uint32_t origin, bool answer) {
  const bool open = origin < origin_of_.size() && origin_of_[origin] >= 0;
  check(answer == open, "closed: answer");
  if (answer) {
    openings_[static_cast<std::size_t>(origin_of_[origin])].open = false;
    if (barrier_left_ != 0 && barrier_origin_ == origin_of_[origin]) {
      barrier_left_ -= barrier_unsent_;
      if (barrier_unsent_ != 0 && barrier_left_ == 0) {
        barrier_left_ = 1;
        end_part();
      }
      barrier_unsent_ = 0;
    }
    origin_of_[origin] = -1;
    update_turns(nullptr);
  }
}

void ReferenceModel::over(RequestId id) {
  const bool part = find_in(live_, id)->broadcast;
  live_.erase(find_in(live_, id));
  if (part) {
    end_part();
  }
  past_.push_back(id);
}

}  // namespace mserve::broker::test
