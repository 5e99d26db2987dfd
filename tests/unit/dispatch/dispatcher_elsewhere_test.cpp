// SPDX-License-Identifier: Apache-2.0
// What a servant did not run is for another one: what a link's peer refused.
#include <cstdlib>
#include <iostream>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "desk.hpp"

namespace mserve::broker::test {
namespace {

/// Servants 0 to count - 1 of this tier.
struct LinkDesk : Desk {
  explicit LinkDesk(std::uint32_t count, std::uint32_t credit = 1, std::uint32_t tier = 1,
                    const Options& options = {})
      : Desk(options) {
    it.on(ServantsExpected{0}, now);
    for (std::uint32_t at = 0; at < count; ++at) {
      EXPECT_TRUE(
          it.on(ServantJoined{.servant = at, .credit = credit, .tier = tier, .home = at + 1}, now));
    }
  }
  bool refuse(RequestId id, std::uint32_t servant) { return it.on(NotRun{id, servant}, now); }
  /// Submits, and whoever gets it refuses. @return the servant.
  std::uint32_t run_and_refuse(RequestId& id) {
    const std::uint32_t servant = run();
    id = runs[servant];
    EXPECT_TRUE(refuse(id, servant));
    return servant;
  }
};

TEST(DispatcherElsewhere, GoesToEachOtherOneInTurnAndIsCountedOnce) {
  LinkDesk desk(3);
  std::set<std::uint32_t> asked = {desk.run()};
  const RequestId id = desk.last.request;
  for (int n = 0; n < 2; ++n) {
    EXPECT_TRUE(desk.refuse(id, desk.last.servant));
    EXPECT_EQ(desk.it.audit(), "");
    EXPECT_EQ(desk.sent(), id);
    EXPECT_FALSE(desk.last.again) << "nobody had it";
    EXPECT_TRUE(asked.insert(desk.last.servant).second);
  }
  EXPECT_FALSE(desk.refuse(id, desk.last.servant)) << "all of them refused it";
  EXPECT_TRUE(desk.done(desk.last.servant).deliver);
  const Counters& counters = desk.it.counters();
  EXPECT_EQ(counters.submitted, 1U);
  EXPECT_EQ(counters.completed, 1U);
  EXPECT_EQ(counters.elsewhere, 2U);
  EXPECT_EQ(counters.retried, 0U);
}

TEST(DispatcherElsewhere, WaitsForOneThatIsBusyAndHoldsNobodyUp) {
  LinkDesk desk(2);
  const std::uint32_t busy = desk.run();
  RequestId id;
  const std::uint32_t refuses = desk.run_and_refuse(id);
  desk.expect_none();
  EXPECT_EQ(desk.it.next_wakeup(desk.now), kForever);
  EXPECT_EQ(desk.it.queued(), 1U);
  EXPECT_EQ(desk.run(), refuses) << "it still runs what others ask";
  desk.done(refuses);
  desk.expect_none();
  desk.done(busy);
  EXPECT_EQ(desk.sent(), id);
  EXPECT_EQ(desk.last.servant, busy);
}

// Otherwise all that is queued would run through it, and stand before what came earlier.
TEST(DispatcherElsewhere, WhoRefusesAtOnceGetsNothingElseWhileThatWaitsForServantsHere) {
  LinkDesk desk(1, 1, 1, {.spill_after = 0});
  ASSERT_TRUE(desk.it.on(ServantJoined{.servant = 1, .credit = 1}, desk.now));
  EXPECT_EQ(desk.run(), 1U);
  RequestId refused;
  EXPECT_EQ(desk.run_and_refuse(refused), 0U);
  const RequestId later = desk.submit();
  desk.expect_none();
  EXPECT_EQ(desk.it.next_wakeup(desk.now), kForever);
  desk.done(1);
  EXPECT_EQ(desk.sent(), refused);
  EXPECT_EQ(desk.last.servant, 1U);
  EXPECT_EQ(desk.sent(), later);
  EXPECT_EQ(desk.last.servant, 0U);
  EXPECT_EQ(desk.it.audit(), "");
}

TEST(DispatcherElsewhere, BehindOneThatWaitsTheNextHasItsTurn) {
  LinkDesk desk(3);
  const std::uint32_t third = desk.run();
  RequestId first;
  const std::uint32_t a = desk.run_and_refuse(first);
  EXPECT_EQ(desk.sent(), first);
  const std::uint32_t b = desk.last.servant;
  EXPECT_TRUE(desk.refuse(first, b));
  // Both are free now, and neither may have it.
  desk.expect_none();
  RequestId second;
  const std::uint32_t refuses = desk.run_and_refuse(second);
  EXPECT_TRUE(refuses == a || refuses == b);
  desk.expect_none();
  desk.done(third);
  EXPECT_EQ(desk.sent(), first);
  EXPECT_EQ(desk.last.servant, third);
  EXPECT_EQ(desk.sent(), second);
  EXPECT_EQ(desk.last.servant, refuses == a ? b : a);
}

TEST(DispatcherElsewhere, SoManyAreAskedAndNoMore) {
  LinkDesk desk(kRefusalsMax + 2);
  std::uint32_t servant = desk.run();
  const RequestId id = desk.last.request;
  for (std::uint32_t n = 0; n < kRefusalsMax; ++n) {
    EXPECT_TRUE(desk.refuse(id, servant));
    EXPECT_EQ(desk.sent(), id);
    servant = desk.last.servant;
  }
  EXPECT_FALSE(desk.refuse(id, servant));
  EXPECT_TRUE(desk.done(servant).deliver);
  // What has its slot next has its own.
  EXPECT_NE(desk.run(), kNone);
  EXPECT_EQ(desk.last.request.slot, id.slot);
  EXPECT_TRUE(desk.refuse(desk.last.request, desk.last.servant));
}

TEST(DispatcherElsewhere, IfTheOtherOneDiesItStillDoesNotGoBackToWhoRefused) {
  for (const bool third : {false, true}) {
    LinkDesk desk(2);
    const RequestId id = desk.submit(0, 0, /*retries=*/1);
    EXPECT_EQ(desk.sent(), id);
    const std::uint32_t refuses = desk.last.servant;
    EXPECT_TRUE(desk.refuse(id, refuses));
    EXPECT_EQ(desk.sent(), id);
    if (third) {
      EXPECT_TRUE(desk.it.on(ServantJoined{.servant = 7, .tier = 1}, desk.now));
    }
    EXPECT_TRUE(desk.it.on(ServantLeft{1 - refuses}, desk.now));
    const Decision decision = desk.next();
    EXPECT_EQ(decision.request, id);
    if (third) {
      EXPECT_EQ(decision.kind, Decision::Kind::dispatch);
      EXPECT_EQ(decision.servant, 7U);
      EXPECT_TRUE(decision.again);
    } else {
      EXPECT_EQ(decision.kind, Decision::Kind::fail);
      EXPECT_EQ(decision.reason, FailReason::servant_died) << "it may have run";
    }
  }
}

TEST(DispatcherElsewhere, WhoeverComesBackIsAskedAgain) {
  LinkDesk desk(2);
  const std::uint32_t busy = desk.run();
  RequestId id;
  const std::uint32_t refuses = desk.run_and_refuse(id);
  desk.expect_none();
  EXPECT_TRUE(desk.it.on(ServantLeft{refuses}, desk.now));
  desk.expect_none();
  EXPECT_TRUE(desk.it.on(ServantJoined{.servant = refuses, .tier = 1}, desk.now));
  EXPECT_EQ(desk.sent(), id);
  EXPECT_EQ(desk.last.servant, refuses);
  desk.done(busy);
}

TEST(DispatcherElsewhere, FailsOnceNobodyElseIsLeft) {
  for (const bool barred : {false, true}) {
    LinkDesk desk(2);
    const std::uint32_t busy = desk.run();
    RequestId first;
    RequestId second;
    EXPECT_NE(desk.run_and_refuse(first), busy);
    EXPECT_NE(desk.run_and_refuse(second), busy);
    desk.expect_none();
    if (barred) {
      EXPECT_TRUE(desk.it.on(ServantSuspended{busy}, desk.now));
    } else {
      EXPECT_TRUE(desk.it.on(ServantLeft{busy}, desk.now));
      desk.expect_over(Decision::Kind::fail, desk.runs[busy]);
    }
    for (const RequestId id : {first, second}) {
      const Decision decision = desk.next();
      EXPECT_EQ(decision.kind, Decision::Kind::fail);
      EXPECT_EQ(decision.reason, FailReason::no_servant);
      EXPECT_EQ(decision.request, id);
    }
    desk.expect_none();
  }
}

TEST(DispatcherElsewhere, WaitsForWhoeverIsExpected) {
  LinkDesk desk(1);
  desk.it.on(ServantsExpected{1}, desk.now);
  RequestId id;
  (void)desk.run_and_refuse(id);
  desk.expect_none();
  EXPECT_TRUE(desk.it.on(ServantJoined{5}, desk.now));
  EXPECT_EQ(desk.sent(), id);
  EXPECT_EQ(desk.last.servant, 5U);
  desk.done(5);
  const std::uint32_t local = desk.run();
  EXPECT_EQ(local, 5U);
  const RequestId other = desk.submit();
  desk.now += kSecond;
  EXPECT_EQ(desk.sent(), other);
  EXPECT_EQ(desk.last.servant, 0U) << "it waited for long enough";
  EXPECT_TRUE(desk.refuse(other, 0));
  EXPECT_TRUE(desk.it.on(ServantLeft{5}, desk.now));
  desk.expect_over(Decision::Kind::fail, desk.runs[5]);
  desk.expect_none();
  desk.it.on(ServantsExpected{0}, desk.now);
  desk.expect_over(Decision::Kind::fail, other);
}

// A servant of tier 0 that refuses is no better off: whatever the policy and the route say, it goes
// to the other one.
TEST(DispatcherElsewhere, HoldsForEveryPolicyAndForAHolderOfItsRoute) {
  for (std::uint32_t policy = 0; policy < kPolicies; ++policy) {
    for (const std::uint64_t route : {0U, 7U}) {
      LinkDesk desk(2, /*credit=*/3, /*tier=*/0, {.policy = static_cast<Policy>(policy)});
      const std::uint32_t servant = desk.run(route);
      const RequestId id = desk.last.request;
      EXPECT_TRUE(desk.refuse(id, servant));
      EXPECT_EQ(desk.sent(), id);
      EXPECT_EQ(desk.last.servant, 1 - servant) << policy;
      EXPECT_EQ(desk.it.free_servants(), 2U);
      desk.done(1 - servant);
    }
  }
}

TEST(DispatcherElsewhere, ALocalOneIsPreferredAndAnotherLinkDoesNotWaitForSpilling) {
  LinkDesk desk(2, 1, 1, {.spill_after = 100});
  EXPECT_TRUE(desk.it.on(ServantJoined{9}, desk.now));
  EXPECT_EQ(desk.run(), 9U);
  const RequestId id = desk.submit();
  desk.now += 100;
  EXPECT_EQ(desk.sent(), id);
  const std::uint32_t first = desk.last.servant;
  EXPECT_TRUE(desk.refuse(id, first));
  EXPECT_EQ(desk.sent(), id);
  EXPECT_EQ(desk.last.servant, 1 - first);
  desk.done(9);
  EXPECT_TRUE(desk.refuse(id, 1 - first));
  EXPECT_EQ(desk.sent(), id);
  EXPECT_EQ(desk.last.servant, 9U);
}

// Class 1 has the link alone, and behind it is class 0 without it.
TEST(DispatcherElsewhere, TheFallbackIsForWhatALinkRefused) {
  Limits limits = Desk::small();
  limits.classes_max = 2;
  Desk desk({}, limits);
  desk.it.on(ServantsExpected{0}, desk.now);
  EXPECT_TRUE(desk.it.on(ClassDefined{.number = 1, .pools = {}, .fallback = 0}, desk.now));
  EXPECT_TRUE(desk.it.on(PoolDefined{1, 2}, desk.now));
  EXPECT_TRUE(desk.it.on(ServantJoined{.servant = 3, .credit = 2, .tier = 1, .pool = 1}, desk.now));
  const auto ask = [&] {
    const Submitted answer =
        desk.it.on(Submit{.origin = 0, .route = 5, .class_number = 1}, desk.now);
    EXPECT_EQ(desk.sent(), answer.id);
    EXPECT_EQ(desk.last.servant, 3U);
    return answer.id;
  };
  const RequestId early = ask();
  EXPECT_FALSE(desk.it.on(NotRun{early, 3}, desk.now)) << "there is nobody";
  EXPECT_FALSE(desk.it.on(NotRun{early, 3}, desk.now)) << "nor now, and it is one refusal";
  EXPECT_TRUE(desk.it.on(ServantJoined{4}, desk.now));
  const RequestId id = ask();
  EXPECT_TRUE(desk.it.on(NotRun{id, 3}, desk.now));
  EXPECT_EQ(desk.sent(), id);
  EXPECT_EQ(desk.last.servant, 4U);
  EXPECT_EQ(desk.it.counters().fallbacks, 1U);
}

TEST(DispatcherElsewhere, ItsTimeToWaitGoesOnFromWhereItWas) {
  LinkDesk desk(2);
  const std::uint32_t busy = desk.run();
  const auto ask = [&](Nanos whole) {
    const Submitted answer = desk.it.on(
        Submit{
            .origin = 0, .queue_timeout = 1 << 20, .run_timeout = 1 << 24, .whole_timeout = whole},
        desk.now);
    EXPECT_EQ(desk.sent(), answer.id);
    return answer.id;
  };
  const Nanos start = desk.now;
  const RequestId id = ask(kForever);
  desk.now += 1 << 19;
  EXPECT_TRUE(desk.refuse(id, 1 - busy));
  desk.now = start + (1 << 20) - 1;
  desk.expect_none();
  desk.now += 1 << 17;
  const Decision decision = desk.next();
  EXPECT_EQ(decision.kind, Decision::Kind::fail);
  EXPECT_EQ(decision.reason, FailReason::queue_timeout);
  EXPECT_EQ(decision.request, id);
  // When it is over already, what the peer says is the answer.
  const RequestId late = ask(kForever);
  desk.now += 1 << 20;
  EXPECT_FALSE(desk.refuse(late, 1 - busy));
  desk.done(1 - busy);
  const RequestId whole = ask(1 << 18);
  desk.now += 1 << 18;
  EXPECT_FALSE(desk.refuse(whole, 1 - busy));
}

TEST(DispatcherElsewhere, WhatNobodyWantsAnyMoreVanishes) {
  LinkDesk desk(2);
  const std::uint32_t busy = desk.run();
  RequestId cancelled;
  RequestId closed;
  (void)desk.run_and_refuse(cancelled);
  EXPECT_EQ(desk.it.on(Cancel{cancelled}, desk.now), Cancelled::queued);
  desk.expect_over(Decision::Kind::discard, cancelled);
  (void)desk.run_and_refuse(closed);
  desk.it.on(OriginClosed{0}, desk.now);
  desk.expect_over(Decision::Kind::discard, closed);
  EXPECT_FALSE(desk.done(busy).deliver);
  desk.it.on(OriginOpened{0}, desk.now);
  const std::uint32_t servant = desk.run();
  EXPECT_EQ(desk.it.on(Cancel{desk.last.request}, desk.now), Cancelled::running);
  EXPECT_FALSE(desk.refuse(desk.last.request, servant));
}

TEST(DispatcherElsewhere, IsNotBelievedOrDoesNotHoldForEveryRequest) {
  LinkDesk desk(2);
  const std::uint32_t servant = desk.run();
  const RequestId id = desk.last.request;
  EXPECT_FALSE(desk.refuse(id, 1 - servant));
  EXPECT_FALSE(desk.refuse({id.slot, id.generation + 1}, servant));
  EXPECT_FALSE(desk.refuse({99'999, 1}, servant));
  EXPECT_EQ(desk.it.counters().invalid, 3U);
  EXPECT_TRUE(desk.it.on(ReplyBegan{id, servant}, desk.now));
  EXPECT_FALSE(desk.refuse(id, servant)) << "its answer has begun";
  desk.done(servant);
  // What is for one servant alone.
  EXPECT_TRUE(desk.it.on(OriginOpened{.origin = 1, .sticky = true}, desk.now));
  const std::uint32_t own = desk.run(0, 1);
  EXPECT_FALSE(desk.refuse(desk.last.request, own));
  desk.done(own);
  const Submitted part =
      desk.it.on(Submit{.origin = 0, .broadcast = 1, .target = servant}, desk.now);
  EXPECT_EQ(desk.sent(), part.id);
  EXPECT_FALSE(desk.refuse(part.id, servant));
  desk.done(servant);
  // A broker that goes down finishes what is there, until its patience ends.
  const std::uint32_t last = desk.run();
  const RequestId draining = desk.last.request;
  desk.it.on(DrainBegan{}, desk.now);
  EXPECT_TRUE(desk.refuse(draining, last));
  EXPECT_EQ(desk.sent(), draining);
  desk.it.on(DrainExpired{}, desk.now);
  EXPECT_FALSE(desk.refuse(draining, desk.last.servant));
}

// Goal: whatever happens, each request ends once, goes to nobody who refused it, and waits for no
// longer than it must. Method: random events, each followed by everything that follows from it, and
// the audit. MSERVE_TEST_SEED=n replays from schedule n on.
class Chaos {
 public:
  explicit Chaos(std::uint64_t seed) : random_(seed), limits_(random_limits()) {
    options_.policy = static_cast<Policy>(below(kPolicies));
    options_.match_wait = below(2) * kForever;
    options_.spill_after = below(2) * 50;
    it_.emplace(limits_, options_);
    if (limits_.classes_max == 2) {
      PoolSet pools;
      pools[below(2)] = true;
      EXPECT_TRUE(it_->on(ClassDefined{1, pools, below(2) == 0 ? 0 : kNone}, now_));
      EXPECT_TRUE(it_->on(PoolDefined{1, 1 + below(3)}, now_));
    }
  }

  std::string run() {
    for (std::uint32_t step = 0; step < 300 && fault_.empty(); ++step) {
      now_ += below(20);
      event();
      take();
    }
    finish();
    return fault_;
  }

 private:
  struct Asked {
    std::uint32_t class_number = 0;
    std::uint32_t servant = kNone;
    std::set<std::uint64_t> refused;  // Numbers of joinings.
  };

  std::uint32_t below(std::uint32_t bound) { return static_cast<std::uint32_t>(random_() % bound); }
  Limits random_limits() {
    Limits limits = Desk::small();
    limits.servants_max = kServants;
    limits.requests_max = 40;
    limits.classes_max = 1 + below(2);
    limits.list_arrivals = below(2) == 0;
    limits.tick_bits = 0;
    return limits;
  }
  void check(bool holds, const char* what) {
    if (!holds && fault_.empty()) {
      fault_ = what;
    }
  }

  void event() {
    const std::uint32_t servant = below(kServants);
    const std::uint32_t kind = below(100);
    if (kind < 40) {
      submit();
    } else if (kind < 60) {
      some_running([&](RequestId id, Asked& asked) {
        if (it_->on(NotRun{id, asked.servant}, now_)) {
          asked.refused.insert(joined_[asked.servant]);
          asked.servant = kNone;
          ++refusals_;
        }
      });
    } else if (kind < 80) {
      some_running([&](RequestId id, const Asked& asked) {
        check(it_->on(Done{id, asked.servant}, now_).valid, "done: not believed");
        live_.erase(id.packed());
      });
    } else if (kind < 88) {
      join(servant);
    } else if (kind < 91) {
      leave(servant);
    } else if (kind < 93) {
      const bool release = below(2) == 0;
      if (it_->on(ServantSuspended{servant, release}, now_) && release) {
        joined_[servant] = ++joinings_;  // As if another one had come in its place.
      }
    } else if (kind < 96) {
      (void)it_->on(ServantResumed{servant}, now_);
    } else if (kind == 96) {
      it_->on(ServantsExpected{below(4)}, now_);
    } else if (kind == 97 && !live_.empty()) {
      (void)it_->on(Cancel{RequestId::unpack(live_.begin()->first)}, now_);
    } else if (kind == 98) {
      (void)it_->on(OriginClosed{below(3)}, now_);
    } else {
      (void)it_->on(OriginOpened{below(3)}, now_);
    }
  }

  void submit() {
    const Submit event{.origin = below(3),
                       .route = below(3),
                       .bytes = below(100),
                       .retries = static_cast<std::uint8_t>(below(2)),
                       .class_number = below(limits_.classes_max),
                       .queue_timeout = below(5) == 0 ? below(200) : kForever,
                       .run_timeout = below(5) == 0 ? below(200) : kForever};
    const Submitted answer = it_->on(event, now_);
    if (answer.refusal == Refusal::none) {
      live_[answer.id.packed()] = {event.class_number, kNone, {}};
    }
  }

  void leave(std::uint32_t servant) {
    (void)it_->on(ServantLeft{servant}, now_);
    for (auto& [id, asked] : live_) {
      asked.servant = asked.servant == servant ? kNone : asked.servant;
    }
  }

  void join(std::uint32_t servant) {
    if (it_->on(ServantJoined{.servant = servant,
                              .credit = 1 + below(3),
                              .tier = below(3),
                              .pool = below(limits_.classes_max),
                              .home = below(3),
                              .ends_overruns = below(2) == 0},
                now_)) {
      joined_[servant] = ++joinings_;
    }
  }

  template <class Do>
  void some_running(const Do& act) {
    std::vector<std::uint64_t> running;
    for (const auto& [id, asked] : live_) {
      if (asked.servant != kNone) {
        running.push_back(id);
      }
    }
    if (!running.empty()) {
      const std::uint64_t id = running[below(static_cast<std::uint32_t>(running.size()))];
      act(RequestId::unpack(id), live_[id]);
    }
  }

  // All decisions, and the audit.
  void take() {
    for (std::uint32_t n = 0; fault_.empty(); ++n) {
      const Decision decision = it_->next(now_);
      if (decision.kind == Decision::Kind::none) {
        break;
      }
      check(n < 10'000, "next: does not come to an end");
      decided(decision);
      check(it_->audit().empty(), "audit");
      if (!fault_.empty()) {
        fault_ += ": " + it_->audit();
      }
    }
    check(it_->next_wakeup(now_) > now_, "quiet, and yet to be asked at once");
  }

  void decided(const Decision& decision) {
    if (decision.kind == Decision::Kind::more) {
      return;
    }
    const auto found = live_.find(decision.request.packed());
    check(found != live_.end(), "a decision about no request");
    if (found == live_.end() || decision.kind == Decision::Kind::overrun) {
      return;
    }
    if (decision.kind == Decision::Kind::dispatch) {
      check(!found->second.refused.contains(joined_[decision.servant]), "sent to who refused it");
      check(found->second.refused.size() <= kRefusalsMax, "refused too often");
      found->second.servant = decision.servant;
    } else {
      live_.erase(found);
    }
  }

  // Newcomers, whom nobody has asked yet, run the rest.
  void finish() {
    it_->on(ServantsExpected{0}, now_);
    for (std::uint32_t round = 0; round < 2'000 && !live_.empty() && fault_.empty(); ++round) {
      const std::uint32_t servant = round % kServants;
      leave(servant);
      take();
      join(servant);
      take();
      for (std::uint32_t n = 0; n < 8; ++n) {
        some_running([&](RequestId id, const Asked& asked) {
          (void)it_->on(Done{id, asked.servant}, now_);
          live_.erase(id.packed());
        });
        take();
      }
    }
    check(live_.empty(), "requests are left that nobody completes");
    check(it_->counters().elsewhere == refusals_, "counted wrongly");
  }

  static constexpr std::uint32_t kServants = 5;
  std::mt19937_64 random_;
  Limits limits_;
  Options options_;
  std::optional<Dispatcher> it_;
  Nanos now_ = 1'000;
  std::map<std::uint64_t, Asked> live_;
  std::uint64_t joined_[kServants] = {};
  std::uint64_t joinings_ = 0;
  std::uint64_t refusals_ = 0;
  std::string fault_;
};

TEST(DispatcherElsewhere, WhateverHappensEachRequestEndsOnceAndGoesToNobodyTwice) {
  const char* const text = std::getenv("MSERVE_TEST_SEED");
  const std::uint64_t first = text != nullptr ? std::strtoull(text, nullptr, 10) : 1;
  constexpr std::uint64_t kSchedules = 300;
  std::cout << "seeds " << first << " to " << first + kSchedules - 1 << "\n";
  for (std::uint64_t seed = first; seed < first + kSchedules; ++seed) {
    ASSERT_EQ(Chaos(seed).run(), "") << "replay: MSERVE_TEST_SEED=" << seed;
  }
}

}  // namespace
}  // namespace mserve::broker::test
