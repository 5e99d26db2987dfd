// SPDX-License-Identifier: Apache-2.0
#include "reference_model.hpp"

// What is right and wrong about a decision, and about making none.
namespace mserve::broker::test {

bool ReferenceModel::waits_for_busy_holder(const Asked& asked, Nanos now) const {
  bool held = false;
  for (const Server& server : servants_) {
    if (holds(server, route_of(asked), now)) {
      held = true;
      if (free(server)) {
        return false;
      }
    }
  }
  return held && !overdue(asked, now);
}

// A free servant could run a queued request of this class and priority whose route it holds.
bool ReferenceModel::pair_ready(std::uint32_t queue, Nanos now) const {
  return std::any_of(live_.begin(), live_.end(), [&](const Asked& asked) {
    return first_time(asked) && !unwanted(asked) && !sticky(asked) && queue_of(asked) == queue &&
           std::any_of(servants_.begin(), servants_.end(), [&](const Server& server) {
             return free_local(server) && holds(server, route_of(asked), now);
           });
  });
}

void ReferenceModel::decided(const Decision& decision, Nanos now, const Counters& before,
                             const Counters& after) {
  using Kind = Decision::Kind;
  widen_classes();
  if (decision.kind == Kind::none || decision.kind == Kind::more) {
    return;
  }
  const auto found = find_in(live_, decision.request);
  check(found != live_.end(), "decision: about no request");
  if (found == live_.end()) {
    return;
  }
  Asked& asked = *found;
  if (decision.kind == Kind::overrun) {
    return check_overrun(asked, decision, now);
  }
  if (decision.kind == Kind::dispatch) {
    dispatched(asked, decision, now, after.forced != before.forced, after.bound != before.bound);
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
        if (asked.doomed_with_servant) {
          break;  // Its origin was bound to a servant that left.
        }
        check(asked.limbo, "fail: servant_died, but it lives");
        check(asked.began || asked.submit.flow || asked.sent > asked.submit.retries,
              "fail: could have been sent again");
        break;
      case FailReason::no_servant: {
        std::uint64_t hopeless_ones = 0;
        for (std::uint64_t left = asked.classes; left != 0; left &= left - 1) {
          hopeless_ones |=
              hopeless(static_cast<std::uint32_t>(std::countr_zero(left))) ? left & (~left + 1) : 0;
        }
        check(fallbacks_ ? hopeless_ones != 0 : hopeless_ones == asked.classes,
              "fail: no_servant, but there is one, or will be");
        break;
      }
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
  update_turns(nullptr);
}

// To the servant that it is for, which is held and runs nothing.
void ReferenceModel::check_part(Asked& asked, std::uint32_t chosen) {
  const Server& server = servants_[chosen];
  check(chosen == asked.servant, "broadcast: to another servant");
  check(server.attached && server.held && server.outstanding == 0,
        "broadcast: its servant is not held, or runs something");
}

// To the servant of its sticky origin, and to no other.
void ReferenceModel::check_bound(Asked& asked, std::uint32_t chosen) {
  Opening& opening = openings_[static_cast<std::size_t>(asked.origin)];
  check(opening.sticky, "bound: not sticky");
  check(opening.servant == kNone || opening.servant == chosen, "bound: to another servant");
  check(asked.sent == 0, "bound: sent again");
  for (const Asked& other : live_) {
    if (other.id == asked.id) {
      break;
    }
    check(fallbacks_ || !first_time(other) || other.origin != asked.origin || unwanted(other) ||
              other.broadcast,
          "bound: not in order");
  }
  opening.servant = chosen;
  asked.submit.retries = 0;
}

void ReferenceModel::dispatched(Asked& asked, const Decision& decision, Nanos now, bool forced,
                                bool bound) {
  check(!expired_, "dispatch: after the end");
  check(!asked.running || asked.limbo, "dispatch: runs already");
  check(!unwanted(asked), "dispatch: nobody wants it");
  check(decision.again == (asked.sent != 0), "dispatch: again");
  check(
      decision.servant < servants_.size() && (asked.broadcast || free(servants_[decision.servant])),
      "dispatch: servant not free");
  if (!fault_.empty()) {
    return;
  }
  check(asked.broadcast || (pools_[servants_[decision.servant].pool] & asked.classes) != 0,
        "dispatch: to a servant of another class");
  check(bound ? sticky(asked) : !sticky(asked) || fallbacks_,
        "dispatch: sticky and not bound, or the other way round");
  if (asked.broadcast) {
    check_part(asked, decision.servant);
  } else if (bound) {
    check_bound(asked, decision.servant);
  } else if (fallbacks_) {
  } else if (asked.sent != 0) {
    check(!asked.began && !asked.submit.flow, "dispatch: may not be sent again");
  } else {
    for (const Asked& other : live_) {
      if (other.id == asked.id) {
        break;
      }
      check(!(first_time(other) && !other.broadcast && other.origin == asked.origin &&
              !unwanted(other) && queue_of(other) == queue_of(asked) &&
              other.submit.route == asked.submit.route),
            "dispatch: not in order within origin and route");
    }
    check(options_.policy != Policy::match || forced || !pair_ready(queue_of(asked), now) ||
              holds(servants_[decision.servant], route_of(asked), now),
          "dispatch: a holder was free for another request");
  }
  if (!bound && !fallbacks_) {
    check_servant(asked, decision.servant, now);
  }
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
  if (asked.submit.route != 0 && server.tier == 0 && !bound) {
    take_route(server, route_of(asked), now);
  }
  for (std::uint32_t number = 0; number < class_fallback_.size(); ++number) {
    if (options_.policy == Policy::even && server.tier == 0 && !asked.broadcast &&
        may_run(server, number)) {
      last_used_[number] = decision.servant;
    }
  }
  limit(asked, asked.submit.run_timeout, now);
  if (first && !bound) {
    count_overtaking(asked);
    update_turns(&asked);
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
  asked.cancelled = true;
  asked.due = asked.late = kForever;
  Server& server = servants_[asked.servant];
  asked.overran = !server.ends_overruns;
  server.overruns += asked.overran ? 1 : 0;
}

Nanos ReferenceModel::remote_due(std::uint32_t number) const {
  if (!anybody(number, [](const Server& s) { return s.attached && !barred(s) && s.tier == 0; })) {
    return 0;
  }
  Nanos due = kForever;
  for (const Asked& asked : live_) {
    if ((!asked.running || asked.limbo) && class_of(asked) == number && !sticky(asked)) {
      const Nanos since = asked.listed || asked.sent != 0 ? asked.submitted : remote_since_[number];
      due =
          std::min(due, options_.spill_after == kForever ? kForever : since + options_.spill_after);
    }
  }
  return due;
}

void ReferenceModel::check_remote(const Asked& asked, std::uint32_t chosen, Nanos now) {
  check(!anybody_for(asked, free_local), "remote: a servant of tier 0 was free");
  check(remote_due(class_of(asked)) <= now, "remote: too early");
  const Server& server = servants_[chosen];
  std::vector<const Server*> with_home;  // Of its tier, in the order of their indices.
  for (const Server& other : servants_) {
    if (!free(other) || other.tier == 0 || !may_run(other, class_of(asked))) {
      continue;
    }
    check(server.tier <= other.tier, "remote: a nearer one was free");
    if (other.tier == server.tier && other.home == 0) {
      check(server.home == 0, "remote: one without a home was free");
      check(server.used <= other.used, "remote: not the least recently used");
    } else if (other.tier == server.tier) {
      with_home.push_back(&other);
    }
  }
  if (server.home != 0) {
    check_home(asked.submit.route, server, with_home);
  }
}

// Of those with a home: without a route any two may have been drawn.
void ReferenceModel::check_home(std::uint64_t route, const Server& server,
                                const std::vector<const Server*>& with) {
  if (route == 0) {
    check(with.size() == 1 || std::any_of(with.begin(), with.end(),
                                          [&](const Server* other) {
                                            return other != &server &&
                                                   server.outstanding <= other->outstanding;
                                          }),
          "remote: of two the one that runs more");
    return;
  }
  std::vector<const Server*> ranked = with;
  std::stable_sort(ranked.begin(), ranked.end(), [&](const Server* a, const Server* b) {
    return home_rank(route, a->home) > home_rank(route, b->home);
  });
  const bool home = ranked.size() == 1 || ranked[0]->outstanding < 2 * ranked[1]->outstanding + 2;
  check(&server == (home ? ranked[0] : ranked[1]), "remote: not the home of its route");
}

void ReferenceModel::check_servant(const Asked& asked, std::uint32_t chosen, Nanos now) {
  if (servants_[chosen].tier != 0) {
    return check_remote(asked, chosen, now);
  }
  const std::uint32_t number = class_of(asked);
  const auto eligible = [&](std::uint32_t at) {
    return free_local(servants_[at]) && may_run(servants_[at], number);
  };
  switch (options_.policy) {
    case Policy::orig:
    case Policy::plugin:  // There is none.
      for (std::uint32_t at = 0; at < chosen; ++at) {
        check(!eligible(at), "orig: not the first free one");
      }
      break;
    case Policy::even: {
      const auto count = static_cast<std::uint32_t>(servants_.size());
      std::uint32_t at = last_used_[number] == kNone ? 0 : (last_used_[number] + 1) % count;
      while (!eligible(at)) {
        at = (at + 1) % count;
      }
      check(at == chosen, "even: not the next free one");
      break;
    }
    case Policy::match:
      check_match(asked, chosen, now);
      break;
    case Policy::least:
      check_least(asked, chosen);
      break;
    case Policy::weighted:
      break;  // Shares need more than one decision: policies_test.cpp.
  }
}

void ReferenceModel::check_least(const Asked& asked, std::uint32_t chosen) {
  const Server& server = servants_[chosen];
  for (const Server& other : servants_) {
    if (free_local(other) && may_run(other, class_of(asked))) {
      check(server.outstanding <= other.outstanding, "least: somebody runs less");
      check(server.outstanding < other.outstanding || server.used <= other.used,
            "least: not the least recently used");
    }
  }
}

void ReferenceModel::check_match(const Asked& asked, std::uint32_t chosen, Nanos now) {
  const std::uint64_t route = route_of(asked);
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
    if (!free_local(other) || !may_run(other, class_of(asked))) {
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
    if (other.origin == sent.origin && queue_of(other) == queue_of(sent) && sure_of_turn(other)) {
      ++other.overtaken;
      check(other.overtaken <= limits_.overtake_max, "overtaken too often within its origin");
    }
  }
}

// What an origin has in one class at one priority waits for those ahead of it there and
// overtake_max more; and each priority has its share of the turns of its class. `turn_of` had its
// turn.
void ReferenceModel::update_turns(const Asked* turn_of) {
  if (fallbacks_) {
    return;
  }
  std::map<TurnKey, bool> sure;  // Whether it is sure to have a turn.
  std::map<std::uint32_t, std::size_t> backlogged;
  std::set<std::uint32_t> sure_queues;
  for (const Asked& asked : live_) {
    if ((asked.running && !asked.limbo) || unwanted(asked) || sticky(asked)) {
      continue;
    }
    const auto [entry, fresh] = sure.try_emplace({asked.origin, queue_of(asked)}, false);
    backlogged[queue_of(asked)] += fresh;
    entry->second = entry->second || sure_of_turn(asked);
    if (sure_of_turn(asked)) {
      sure_queues.insert(queue_of(asked));
    }
  }
  for (auto& [key, turns] : turns_) {
    const bool mine = turn_of != nullptr && key == TurnKey{turn_of->origin, queue_of(*turn_of)};
    if (!sure.contains(key) || !sure[key] || mine || !turns.backlogged) {
      turns.backlogged = false;
    } else if (turn_of != nullptr && queue_of(*turn_of) == key.second) {
      ++turns.dispatched_by_others;
      check(turns.dispatched_by_others <= turns.turns_ahead + limits_.overtake_max,
            "an origin waited too long for its turn");
    }
  }
  for (const auto& [key, is_sure] : sure) {
    if (is_sure && !turns_[key].backlogged) {
      turns_[key] = {true, backlogged[key.second], 0};
    }
  }
  // Of sixteen turns, eight, four, two and two.
  const std::uint32_t others_max[kPriorities] = {7, 7, 3, 1};
  for (std::uint32_t queue = 0; queue < class_fallback_.size() * kPriorities; ++queue) {
    const bool mine = turn_of != nullptr && queue_of(*turn_of) == queue;
    if (!sure_queues.contains(queue) || mine) {
      passed_by_[queue] = 0;
    } else if (turn_of != nullptr && class_of(*turn_of) == queue / kPriorities) {
      check(++passed_by_[queue] <= others_max[queue % kPriorities],
            "a priority waited too long for its turn");
    }
  }
}

void ReferenceModel::observe(const Dispatcher& dispatcher) {
  widen_classes();
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

// It must not wait for a servant that is free.
void ReferenceModel::quiet_sticky(const Asked& asked) {
  if (asked.broadcast) {
    check(servants_[asked.servant].attached && servants_[asked.servant].outstanding != 0,
          "quiet: a part of a broadcast waits for nothing");
    return;
  }
  const std::uint32_t servant = openings_[static_cast<std::size_t>(asked.origin)].servant;
  if (servant != kNone) {
    check(!free(servants_[servant]), "quiet: a bound request's servant idles");
    return;
  }
  // It is bound to one of those that are there, if there is any, but the model cannot tell which.
  const auto busy = [](const Server& server) { return server.attached && !free(server); };
  check(anybody_for(asked, busy) || !anybody_for(asked, free), "quiet: nobody runs what is bound");
}

// Once nothing is left to be taken away. What is sent again stands further behind than its age
// says, so only the others are certain not to be older than what is told.
void ReferenceModel::check_oldest(const Dispatcher& dispatcher) {
  if (!limits_.list_arrivals || fallbacks_) {
    return;
  }
  const Nanos told = dispatcher.oldest_submitted();
  bool anybody_asks = false;
  bool is_one_of_them = false;
  for (const Asked& asked : live_) {
    if (!asked.running && !sticky(asked)) {
      anybody_asks = true;
      is_one_of_them = is_one_of_them || asked.submitted == told;
      check(asked.sent != 0 || told <= asked.submitted, "oldest: one is older");
    }
  }
  check(is_one_of_them == anybody_asks && (anybody_asks || told == kForever),
        "oldest: not one of those that are queued");
}

void ReferenceModel::quiet(const Dispatcher& dispatcher, Nanos now) {
  widen_classes();
  bool waiting_for_others = false;
  bool again = false;
  Nanos due = kForever;
  Nanos timer = kForever;
  for (Asked& asked : live_) {
    if (asked.limbo) {  // Nothing was said about it, so it must be queued again.
      const Nanos earliest = asked.due;
      limit(asked, asked.submit.queue_timeout, now);
      asked.due = earliest;
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
    // Whatever had to move has moved; what is bound to a servant moves when that is free.
    for (std::uint64_t left = sticky(asked) ? 0 : asked.classes; left != 0; left &= left - 1) {
      const auto number = static_cast<std::uint32_t>(std::countr_zero(left));
      asked.classes &= ~(std::uint64_t{effective_class(number) != number} << number);
    }
    check(asked.classes != 0, "quiet: stays in a class that has a fallback");
    if (asked.broadcast) {
      quiet_sticky(asked);
      continue;
    }
    if (fallbacks_ && sticky(asked)) {
      const auto runs = [](const Server& server) {
        return server.attached && (server.outstanding != 0 || barred(server));
      };
      const bool any = std::any_of(servants_.begin(), servants_.end(), runs);
      check(any || !std::has_single_bit(asked.classes) || !anybody_for(asked, free_local),
            "quiet: what is sticky waits while nobody runs anything");
      continue;
    }
    if (fallbacks_) {
      const bool settled = std::has_single_bit(asked.classes);
      check(!settled || !anybody_for(asked, free_local) || wait() != 0,
            "quiet: a servant idles while a request that fell back waits");
      continue;
    }
    check(!hopeless(static_cast<std::uint32_t>(std::countr_zero(asked.classes))),
          "quiet: waits for nobody");
    if (sticky(asked)) {
      quiet_sticky(asked);
      continue;
    }
    const bool local = anybody_for(asked, free_local);
    again = again || asked.sent != 0;
    check(!local || (asked.sent == 0 && waits_for_busy_holder(asked, now)),
          "quiet: a servant idles while a request that it may run waits");
    if (local && wait() != kForever) {
      due = std::min(due, asked.submitted + wait());
    }
    if (!local && anybody_for(asked, free)) {
      waiting_for_others = true;
      due = std::min(due, remote_due(class_of(asked)));
    }
  }
  if (waiting_for_others) {
    check(again || due > now, "quiet: a servant of another tier idles");
    due = again ? dispatcher.next_wakeup(now) : due;  // Told by hand in dispatcher_tiers_test.cpp.
  }
  // Timers may ask for a look before their time, but never after it.
  const Nanos told = dispatcher.next_wakeup(now);
  if (!fallbacks_) {
    check(timed_ ? told > now && told <= std::min(due, timer) : told == due,
          "quiet: wrong time to look again");
  }
  check(dispatcher.queued_bytes() == queued_bytes(), "quiet: queued bytes");
  check_oldest(dispatcher);
}

}  // namespace mserve::broker::test
