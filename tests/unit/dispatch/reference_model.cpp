// SPDX-License-Identifier: Apache-2.0
#include "reference_model.hpp"

namespace mserve::broker::test {

namespace {

template <class List>
auto find(List& list, RequestId id) {
  return std::find_if(list.begin(), list.end(), [&](const auto& asked) { return asked.id == id; });
}

}  // namespace

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

std::uint64_t ReferenceModel::queued_bytes() const {
  std::uint64_t bytes = 0;
  for (const Asked& asked : live_) {
    bytes += asked.running || asked.submit.flow ? 0 : asked.submit.bytes;
  }
  return bytes;
}

void ReferenceModel::submit(const Submit& event, const Submitted& answer, Nanos now) {
  const bool attached = anybody([](const Server& server) { return server.attached; });
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
  } else if (!attached && !expected_) {
    refusal = Refusal::no_servant;
  } else if (live_.size() >= limits_.requests_max ||
             static_cast<std::uint64_t>(std::count_if(live_.begin(), live_.end(), of_origin)) >=
                 limits_.origin_requests_max ||
             (bytes != 0 && queued_bytes() + bytes > limits_.queued_bytes_max)) {
    refusal = Refusal::busy;
  }
  // What is in limbo may be queued again already, with its bytes.
  const bool may_differ = limbo && (refusal == Refusal::none || refusal == Refusal::busy) &&
                          (answer.refusal == Refusal::none || answer.refusal == Refusal::busy);
  check(answer.refusal == refusal || may_differ, "submit: wrong refusal");
  check(answer.backlog == live_.size(), "submit: wrong backlog");
  check((answer.refusal == Refusal::none) == static_cast<bool>(answer.id), "submit: id");
  if (answer.refusal != Refusal::none) {
    return;
  }
  check(answer.id.slot < limits_.requests_max, "submit: slot out of range");
  check(ids_.insert(answer.id.packed()).second, "submit: id used twice");
  Asked asked;
  asked.id = answer.id;
  asked.submit = event;
  asked.origin = origin_of_[event.origin];
  asked.submitted = now;
  limit(asked, event.queue_timeout, now);
  timed_ = timed_ || event.queue_timeout != kForever || event.run_timeout != kForever;
  asked.listed = anybody([](const Server& server) { return server.attached && server.remote; });
  asked.backlog = answer.backlog;
  live_.push_back(asked);
  update_turns(-1);
}

void ReferenceModel::done(const Done& event, const Completion& answer, Nanos now) {
  const auto asked = find(live_, event.request);
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
  const auto held = server.routes.find(asked->submit.route);
  if (held != server.routes.end()) {
    held->second = now;
  }
  ended_running(*asked);
  over(event.request);
}

void ReferenceModel::reply_began(const ReplyBegan& event, bool answer) {
  const auto asked = find(live_, event.request);
  const bool valid =
      asked != live_.end() && asked->running && !asked->limbo && asked->servant == event.servant;
  check(answer == valid, "reply began: belief");
  if (valid) {
    asked->began = true;
    limit(*asked, kForever, 0);
  }
}

void ReferenceModel::cancel(RequestId id, Cancelled answer) {
  const auto asked = find(live_, id);
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
  update_turns(-1);
}

void ReferenceModel::joined(const ServantJoined& event, bool answer, Nanos now) {
  const bool taken = event.servant >= servants_.size() || servants_[event.servant].attached;
  const bool limbo = std::any_of(live_.begin(), live_.end(), [&](const Asked& asked) {
    return asked.limbo && asked.servant == event.servant;
  });
  check(taken ? !answer : (answer || limbo), "joined: answer");
  if (answer) {
    if (event.remote &&
        !anybody([](const Server& server) { return server.attached && server.remote; })) {
      remote_since_ = now;
    }
    servants_[event.servant] = {};
    servants_[event.servant].remote = event.remote;
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
  for (Asked& asked : live_) {
    if (asked.running && !asked.limbo && asked.servant == servant) {
      asked.limbo = true;
      limit(asked, asked.submit.queue_timeout, now);  // From here on, if it is queued again.
    }
  }
}

void ReferenceModel::suspended(std::uint32_t servant, bool answer) {
  check(answer == attached(servant), "suspended: answer");
  if (answer) {
    servants_[servant].suspended = true;
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
      server.used = server.remote ? server.used : ++stamp_;
    }
  }
  options_ = options;
}

void ReferenceModel::opened(std::uint32_t origin, bool answer) {
  const bool vacant = origin < origin_of_.size() && origin_of_[origin] < 0;
  check(answer == vacant, "opened: answer");
  if (answer) {
    origin_of_[origin] = static_cast<int>(openings_.size());
    openings_.push_back({});
    openings_.back().index = origin;
  }
}

void ReferenceModel::closed(std::uint32_t origin, bool answer) {
  const bool open = origin < origin_of_.size() && origin_of_[origin] >= 0;
  check(answer == open, "closed: answer");
  if (answer) {
    openings_[static_cast<std::size_t>(origin_of_[origin])].open = false;
    origin_of_[origin] = -1;
    update_turns(-1);
  }
}

void ReferenceModel::over(RequestId id) {
  live_.erase(find(live_, id));
  past_.push_back(id);
}

bool ReferenceModel::waits_for_busy_holder(const Asked& asked, Nanos now) const {
  bool held = false;
  for (const Server& server : servants_) {
    if (holds(server, asked.submit.route, now)) {
      held = true;
      if (free(server)) {
        return false;
      }
    }
  }
  return held && !overdue(asked, now);
}

// A free servant could run a queued request of the route it holds.
bool ReferenceModel::pair_ready(Nanos now) const {
  return std::any_of(live_.begin(), live_.end(), [&](const Asked& asked) {
    return first_time(asked) && !unwanted(asked) &&
           std::any_of(servants_.begin(), servants_.end(), [&](const Server& server) {
             return free_local(server) && holds(server, asked.submit.route, now);
           });
  });
}

void ReferenceModel::decided(const Decision& decision, Nanos now, const Counters& before,
                             const Counters& after) {
  using Kind = Decision::Kind;
  if (decision.kind == Kind::none || decision.kind == Kind::more) {
    return;
  }
  const auto found = find(live_, decision.request);
  check(found != live_.end(), "decision: about no request");
  if (found == live_.end()) {
    return;
  }
  Asked& asked = *found;
  if (decision.kind == Kind::overrun) {
    return check_overrun(asked, decision, now);
  }
  if (decision.kind == Kind::dispatch) {
    dispatched(asked, decision, now, after.forced != before.forced);
    return;
  }
  check(!asked.running || asked.limbo || expired_, "over: still running");
  if (decision.kind == Kind::discard) {
    check(unwanted(asked), "discard: somebody wants it");
  } else {
    check(!unwanted(asked), "fail: nobody wants to know");
    switch (decision.reason) {
      case FailReason::servant_died:
        if (asked.sent != 0 && now >= asked.due) {
          break;  // It could be sent again, but nobody was free for it.
        }
        check(asked.limbo, "fail: servant_died, but it lives");
        check(asked.began || asked.submit.flow || asked.sent > asked.submit.retries,
              "fail: could have been sent again");
        break;
      case FailReason::no_servant:
        check(!expected_ && !anybody([](const Server& server) { return server.attached; }),
              "fail: no_servant, but there is one");
        break;
      case FailReason::shutdown:
        check(expired_, "fail: shutdown too early");
        break;
      case FailReason::queue_timeout:
        check(asked.sent == 0, "fail: queue_timeout, but it was sent");
        check(now >= asked.due, "fail: queue_timeout too early");
        break;
    }
  }
  if (asked.running && !asked.limbo) {
    ended_running(asked);
  }
  over(decision.request);
  update_turns(-1);
}

void ReferenceModel::dispatched(Asked& asked, const Decision& decision, Nanos now, bool forced) {
  check(!expired_, "dispatch: after the end");
  check(!asked.running || asked.limbo, "dispatch: runs already");
  check(!unwanted(asked), "dispatch: nobody wants it");
  check(decision.again == (asked.sent != 0), "dispatch: again");
  check(decision.servant < servants_.size() && free(servants_[decision.servant]),
        "dispatch: servant not free");
  if (!fault_.empty()) {
    return;
  }
  if (asked.sent != 0) {
    check(!asked.began && !asked.submit.flow, "dispatch: may not be sent again");
  } else {
    for (const Asked& other : live_) {
      if (other.id == asked.id) {
        break;
      }
      check(!(first_time(other) && other.origin == asked.origin && !unwanted(other) &&
              other.submit.route == asked.submit.route),
            "dispatch: not in order within origin and route");
    }
    check(options_.policy != Policy::match || forced || !pair_ready(now) ||
              holds(servants_[decision.servant], asked.submit.route, now),
          "dispatch: a holder was free for another request");
  }
  check_servant(asked, decision.servant, now);
  const bool first = asked.sent == 0;
  asked.limbo = false;
  asked.running = true;
  asked.servant = decision.servant;
  asked.dispatched = now;
  ++asked.sent;
  check(asked.sent <= 1U + asked.submit.retries, "dispatch: too often");
  Server& server = servants_[decision.servant];
  std::erase_if(server.routes,
                [&](const auto& route) { return out_of_date(server, route.second, now); });
  ++server.outstanding;
  check(server.outstanding <= server.credit, "dispatch: beyond the credit");
  server.used = ++stamp_;
  if (asked.submit.route != 0 && !server.remote) {
    take_route(server, asked.submit.route, now);
  }
  if (options_.policy == Policy::even && !server.remote) {
    last_used_ = decision.servant;
  }
  limit(asked, asked.submit.run_timeout, now);
  if (first) {
    count_overtaking(asked);
    update_turns(asked.origin);
  }
}

// Of several used last at the same time any may have been given up, and the model cannot tell
// which: the schedules give every use a time of its own where servants hold more than one route.
void ReferenceModel::take_route(Server& server, std::uint64_t route, Nanos now) {
  if (!server.routes.contains(route) && server.routes.size() == limits_.routes_per_servant) {
    server.routes.erase(
        std::min_element(server.routes.begin(), server.routes.end(),
                         [](const auto& a, const auto& b) { return a.second < b.second; }));
  }
  server.routes[route] = now;
}

void ReferenceModel::check_overrun(Asked& asked, const Decision& decision, Nanos now) {
  check(asked.running && !asked.limbo, "overrun: does not run");
  check(decision.deliver == !unwanted(asked), "overrun: deliver");
  check(!asked.began, "overrun: its answer has begun");
  check(now >= asked.due, "overrun: too early");
  check(decision.servant == asked.servant, "overrun: wrong servant");
  asked.overran = asked.cancelled = true;
  limit(asked, kForever, 0);
  ++servants_[asked.servant].overruns;
}

Nanos ReferenceModel::remote_due() const {
  if (!anybody([](const Server& s) { return s.attached && !barred(s) && !s.remote; })) {
    return 0;
  }
  Nanos due = kForever;
  for (const Asked& asked : live_) {
    if (!asked.running || asked.limbo) {
      const Nanos since = asked.listed || asked.sent != 0 ? asked.submitted : remote_since_;
      due =
          std::min(due, options_.spill_after == kForever ? kForever : since + options_.spill_after);
    }
  }
  return due;
}

void ReferenceModel::check_remote(std::uint32_t chosen, Nanos now) {
  check(!anybody(free_local), "remote: a servant of tier 0 was free");
  check(remote_due() <= now, "remote: too early");
  for (const Server& other : servants_) {
    check(!free_remote(other) || servants_[chosen].used <= other.used,
          "remote: not the least recently used");
  }
}

void ReferenceModel::check_servant(const Asked& asked, std::uint32_t chosen, Nanos now) {
  if (servants_[chosen].remote) {
    return check_remote(chosen, now);
  }
  switch (options_.policy) {
    case Policy::orig:
      for (std::uint32_t at = 0; at < chosen; ++at) {
        check(!free_local(servants_[at]), "orig: not the first free one");
      }
      break;
    case Policy::even: {
      const auto count = static_cast<std::uint32_t>(servants_.size());
      std::uint32_t at = last_used_ == kNone ? 0 : (last_used_ + 1) % count;
      while (!free_local(servants_[at])) {
        at = (at + 1) % count;
      }
      check(at == chosen, "even: not the next free one");
      break;
    }
    case Policy::match:
      check_match(asked, chosen, now);
      break;
    case Policy::least:
      check_least(chosen);
      break;
    case Policy::weighted:
      break;  // Shares need more than one decision: policies_test.cpp.
  }
}

void ReferenceModel::check_least(std::uint32_t chosen) {
  const Server& server = servants_[chosen];
  for (const Server& other : servants_) {
    if (free_local(other)) {
      check(server.outstanding <= other.outstanding, "least: somebody runs less");
      check(server.outstanding < other.outstanding || server.used <= other.used,
            "least: not the least recently used");
    }
  }
}

void ReferenceModel::check_match(const Asked& asked, std::uint32_t chosen, Nanos now) {
  const std::uint64_t route = asked.submit.route;
  const Server& server = servants_[chosen];
  if (holds(server, route, now)) {
    return;
  }
  // What is out of date may be forgotten or not, depending on whether anybody looked: `most` counts
  // as if it were not, `least` as if it were. 0: bare, 1: has room, 2: neither.
  const auto rank = [&](const Server& of, std::size_t routes) {
    if (of.outstanding != 0 || routes == limits_.routes_per_servant) {
      return 2;
    }
    return routes == 0 ? 0 : 1;
  };
  const auto most = [&](const Server& of) { return rank(of, of.routes.size()); };
  const auto least = [&](const Server& of) { return rank(of, routes_in_date(of, now)); };
  const auto nothing_old = [&](const Server& of) {
    return routes_in_date(of, now) == of.routes.size();
  };
  for (const Server& other : servants_) {
    if (!free_local(other)) {
      continue;
    }
    check(!holds(other, route, now), "match: a free holder was passed by");
    check(least(server) <= most(other), "match: a better one was free");
    const int both = least(server);
    if (both != 0 && most(server) == both && least(other) == both && most(other) == both &&
        nothing_old(server) && nothing_old(other)) {
      check(server.used <= other.used, "match: not the least recently used");
    }
  }
  // A change of options lets go what then need not wait, and that stays so.
  if (asked.sent == 0 && same_options_) {
    check(!waits_for_busy_holder(asked, now), "match: had to wait for its holder");
  }
}

// Of requests that are sure to be open, none may be overtaken more often than the limit says.
void ReferenceModel::count_overtaking(const Asked& sent) {
  for (Asked& other : live_) {
    if (other.id == sent.id) {
      return;
    }
    if (other.origin == sent.origin && sure_of_turn(other)) {
      ++other.overtaken;
      check(other.overtaken <= limits_.overtake_max, "overtaken too often within its origin");
    }
  }
}

// An origin with a turn waits for those ahead of it and overtake_max more. `turn_of` had its turn.
void ReferenceModel::update_turns(int turn_of) {
  std::vector<bool> sure(openings_.size(), false);
  std::vector<bool> any(openings_.size(), false);
  for (const Asked& asked : live_) {
    const auto origin = static_cast<std::size_t>(asked.origin);
    sure[origin] = sure[origin] || sure_of_turn(asked);
    any[origin] = any[origin] || (!asked.running && !unwanted(asked));
  }
  const auto backlogged = static_cast<std::size_t>(std::count(any.begin(), any.end(), true));
  for (std::size_t at = 0; at < openings_.size(); ++at) {
    Opening& opening = openings_[at];
    const bool mine = turn_of == static_cast<int>(at);
    if (!sure[at] || mine || !opening.backlogged) {
      opening.backlogged = sure[at];
      opening.turns_ahead = backlogged;
      opening.dispatched_by_others = 0;
    } else if (turn_of >= 0) {
      ++opening.dispatched_by_others;
      check(opening.dispatched_by_others <= opening.turns_ahead + limits_.overtake_max,
            "an origin waited too long for its turn");
    }
  }
}

void ReferenceModel::observe(const Dispatcher& dispatcher) {
  check(dispatcher.queued() + dispatcher.running() == live_.size(), "observe: live requests");
  std::uint32_t running = 0;
  bool limbo = false;
  for (const Asked& asked : live_) {
    running += asked.running;
    limbo = limbo || asked.limbo;
  }
  check(limbo || dispatcher.running() == running, "observe: running");
  std::uint32_t attached = 0;
  std::uint32_t free_ones = 0;
  for (const Server& server : servants_) {
    attached += server.attached;
    free_ones += free_local(server);
  }
  check(dispatcher.servants() == attached, "observe: servants");
  check(dispatcher.free_servants() == free_ones, "observe: free servants");
}

void ReferenceModel::quiet(const Dispatcher& dispatcher, Nanos now) {
  const bool local = anybody(free_local);
  bool waiting = false;
  bool again = false;
  Nanos due = kForever;
  Nanos timer = kForever;
  for (Asked& asked : live_) {
    if (asked.limbo) {  // Nothing was said about it, so it must be queued again.
      asked.late = asked.due != kForever ? now + asked.submit.queue_timeout : kForever;
      check(!asked.began && !asked.submit.flow && asked.sent <= asked.submit.retries,
            "quiet: a dead servant's request was forgotten");
      asked.limbo = asked.running = false;
    }
    check(!expired_, "quiet: something is left after the end");
    check(asked.late > now, "quiet: waits or runs too long");
    timer = std::min(timer, asked.late);
    if (asked.running) {
      continue;
    }
    check(!unwanted(asked), "quiet: an unwanted request is still there");
    waiting = true;
    again = again || asked.sent != 0;
    check(!local || (asked.sent == 0 && waits_for_busy_holder(asked, now)),
          "quiet: a servant idles while a request that it may run waits");
    check(expected_ || dispatcher.servants() != 0, "quiet: waits for nobody");
    if (local && wait() != kForever) {
      due = std::min(due, asked.submitted + wait());
    }
  }
  if (!local && waiting && anybody(free_remote)) {
    due = remote_due();
    check(again || due > now, "quiet: a servant of tier 1 idles");
    due = again ? dispatcher.next_wakeup(now) : due;  // Told by hand in dispatcher_remote_test.cpp.
  }
  // Timers may ask for a look before their time, but never after it.
  const Nanos told = dispatcher.next_wakeup(now);
  check(timed_ ? told > now && told <= std::min(due, timer) : told == due,
        "quiet: wrong time to look again");
  check(dispatcher.queued_bytes() == queued_bytes(), "quiet: queued bytes");
}

}  // namespace mserve::broker::test
