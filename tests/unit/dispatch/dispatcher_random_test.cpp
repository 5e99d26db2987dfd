// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <random>
#include <string>
#include <vector>

#include "dispatch/dispatcher.hpp"
#include "reference_model.hpp"

// Random schedules of everything that can happen, each step checked against the reference model and
// by the audit. MSERVE_TEST_SEED=n replays from schedule n on, MSERVE_TEST_SCHEDULES=n sets how
// many.
namespace mserve::broker::test {
namespace {

std::uint64_t from_environment(const char* name, std::uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text != nullptr ? std::strtoull(text, nullptr, 10) : otherwise;
}

class Schedule {
 public:
  explicit Schedule(std::uint64_t seed)
      : random_(seed),
        limits_(random_limits()),
        same_options_(below(3) != 0),
        options_(random_options()),
        routes_(1 + below(6)),
        credit_max_(1 + below(3)),
        mishaps_(below(4)),
        remotes_(below(2) * below(5)),
        tiers_(1 + below(kTiers - 1)),
        homes_(below(5)),
        timeouts_(below(2) * below(100)),
        pools_(limits_.classes_max == 1 ? 1 : 1 + below(5)),
        fallbacks_(limits_.classes_max > 1 && below(4) == 0),
        priorities_(below(2) == 0 ? 1 : kPriorities + 1),
        broadcasts_(below(3) == 0 && barring()),
        stickies_(below(3) * below(2)),
        dispatcher_(limits_, options_),
        // Which requests of sticky origins are ordinary ones depends on who was chosen for them.
        model_(limits_, options_, same_options_,
               fallbacks_ || (stickies_ != 0 && limits_.classes_max > 1)) {}

  // "" or what went wrong.
  std::string run() {
    for (std::uint32_t at = 1; at < pools_; ++at) {
      define(PoolDefined{at, below(2)});
    }
    while (classes_ < limits_.classes_max && below(4) != 0) {
      define_class();
    }
    for (std::uint32_t at = 0; at < limits_.origins_max; ++at) {
      open(at);
    }
    for (std::uint32_t at = 0; at < limits_.servants_max; ++at) {
      join(at);
    }
    const std::uint32_t steps = 50 + below(150);
    for (std::uint32_t step = 0; step < steps && healthy(); ++step) {
      event();
      audit();
      take(below(4) == 0 ? 1000 : below(4));
      audit();
    }
    finish();
    return fault_;
  }

 private:
  std::uint32_t below(std::uint32_t bound) { return static_cast<std::uint32_t>(random_() % bound); }

  Limits random_limits() {
    Limits limits;
    limits.servants_max = 1 + below(6);
    limits.origins_max = 1 + below(5);
    limits.requests_max = 2 + below(60);
    limits.queued_bytes_max = below(4) == 0 ? 500 : 1'000'000;
    limits.origin_requests_max = below(3) == 0 ? 1 + below(20) : kNone;
    limits.overtake_max = below(3) == 0 ? 64 : below(6);
    limits.routes_per_servant = below(2) == 0 ? 1 : 1 + below(4);
    limits.classes_max = below(2) == 0 ? 1 : 1 + below(5);
    limits.tick_bits = 0;
    limits.list_arrivals = below(2) == 0;
    limits.hash_seed = random_();
    return limits;
  }

  Options random_options() {
    Options options;
    options.policy = below(2) == 0 ? Policy::match : static_cast<Policy>(below(kPolicies));
    const Nanos waits[] = {0, 0, 1 + below(60), kForever};
    options.match_wait = waits[below(4)];
    const Nanos expiries[] = {12'000'000'000, kForever, 1 + below(80)};
    options.route_expire = expiries[below(3)];
    const Nanos spills[] = {0, 1 + below(60), kForever};
    options.spill_after = spills[below(3)];
    return options;
  }

  bool healthy() {
    if (fault_.empty()) {
      fault_ = model_.fault();
    }
    return fault_.empty();
  }

  void audit() {
    if (fault_.empty()) {
      fault_ = dispatcher_.audit();
    }
  }

  template <class Event>
  void define(const Event& event) {
    if (dispatcher_.on(event, now_)) {
      model_.defined(event);
    } else {
      fault_ = "a pool or class was refused";
    }
  }

  void define_class() {
    define(ClassDefined{classes_, below(1U << pools_),
                        fallbacks_ && below(2) == 0 ? below(classes_) : kNone});
    ++classes_;
  }

  void open(std::uint32_t origin) {
    const OriginOpened event{origin, below(4) < stickies_};
    model_.opened(event, dispatcher_.on(event, now_));
  }

  void join(std::uint32_t servant) {
    const bool far = remotes_ != 0 && below(4) < remotes_;
    const ServantJoined event{
        servant,      below(credit_max_ + 1), far ? 1 + below(tiers_) : 0,
        below(4),     below(pools_),          below(4) < homes_ ? 1 + below(5) : 0,
        below(3) == 0};
    model_.joined(event, dispatcher_.on(event, now_), now_);
  }

  // Whether servants may be suspended or overrun. What one of them still holds after that depends
  // on what others hold, and when a route of theirs that is out of date is forgotten depends on
  // when somebody looked, which the model cannot tell: so not where routes soon are.
  [[nodiscard]] bool barring() const { return options_.route_expire >= 12'000'000'000; }

  Nanos random_timeout() { return timeouts_ != 0 && below(3) == 0 ? below(timeouts_) : kForever; }

  void submit() {
    const Submit event{.origin = below(limits_.origins_max + (below(20) == 0)),
                       .route = below(4) == 0 ? 0 : 1 + below(routes_),
                       .bytes = below(100),
                       .retries = static_cast<std::uint8_t>(below(3)),
                       .priority = static_cast<std::uint8_t>(below(priorities_)),
                       .class_number = below(classes_ + (below(20) == 0)),
                       .flow = below(8) == 0,
                       .queue_timeout = random_timeout(),
                       .run_timeout = barring() ? random_timeout() : kForever,
                       .whole_timeout = barring() ? random_timeout() : kForever};
    model_.submit(event, dispatcher_.on(event, now_), now_);
  }

  // Parts for servants in turn; sometimes fewer than were announced, so that the rest comes later
  // or, if the origin closes, never.
  void broadcast() {
    const std::uint32_t origin = below(limits_.origins_max);
    const std::uint32_t count = 1 + below(limits_.servants_max);
    for (std::uint32_t at = below(2); at < count; ++at) {
      const Submit event{.origin = origin,
                         .bytes = below(100),
                         .retries = static_cast<std::uint8_t>(below(3)),
                         .queue_timeout = random_timeout(),
                         .run_timeout = random_timeout(),
                         .broadcast = count,
                         .target = below(5) == 0 ? below(limits_.servants_max + 1) : at};
      model_.submit(event, dispatcher_.on(event, now_), now_);
    }
  }

  void suspend(const ServantSuspended& event) {
    model_.suspended(event, dispatcher_.on(event, now_));
  }

  void done(const Done& event) {
    model_.done(event, dispatcher_.on(event, now_), now_);
    tick();
  }

  // The model needs to know which of a servant's routes was used last.
  void tick() { now_ += limits_.routes_per_servant > 1 ? 1 : 0; }

  void done_right() {
    const auto running = model_.running();
    if (!running.empty()) {
      done(running[below(static_cast<std::uint32_t>(running.size()))]);
    }
  }

  RequestId some_id() {
    const auto live = model_.live_ids();
    const auto& past = model_.past_ids();
    if (!live.empty() && below(2) != 0) {
      return live[below(static_cast<std::uint32_t>(live.size()))];
    }
    if (!past.empty() && below(3) != 0) {
      return past[below(static_cast<std::uint32_t>(past.size()))];
    }
    return RequestId::unpack(random_() >> below(64));
  }

  void event() {
    now_ += below(3) == 0 ? below(20) : 0;
    const std::uint32_t kind = below(100);
    if (kind < 3 && broadcasts_) {
      broadcast();
    } else if (kind < 50) {
      for (std::uint32_t count = 1 + (below(5) == 0 ? below(20) : 0); count != 0; --count) {
        submit();
      }
    } else if (kind < 80 || mishaps_ == 0) {
      done_right();
    } else {
      mishap(below(9 + mishaps_));
    }
    model_.observe(dispatcher_);
  }

  void mishap(std::uint32_t kind) {
    const std::uint32_t servant = below(limits_.servants_max + (below(20) == 0));
    const std::uint32_t origin = below(limits_.origins_max + (below(20) == 0));
    switch (kind) {
      case 0:
        return done({some_id(), servant});
      case 1: {
        const auto running = model_.running();
        const ReplyBegan event{running.empty() ? some_id() : running[0].request,
                               running.empty() || below(4) == 0 ? servant : running[0].servant};
        return model_.reply_began(event, dispatcher_.on(event, now_));
      }
      case 2: {
        const RequestId id = some_id();
        return model_.cancel(id, dispatcher_.on(Cancel{id}, now_));
      }
      case 3:
        return model_.left(servant, dispatcher_.on(ServantLeft{servant}, now_), now_);
      case 4:
        if (!barring()) {
          return;
        }
        return suspend({servant, below(2) == 0});
      case 5:
        return model_.resumed(servant, dispatcher_.on(ServantResumed{servant}, now_));
      case 6:
        return model_.closed(origin, dispatcher_.on(OriginClosed{origin}, now_));
      case 7: {
        const std::uint64_t classes = below(3) != 0 ? kEveryClass : random_();
        dispatcher_.on(ServantsExpected{classes}, now_);
        return model_.expected(classes);
      }
      case 8:
        if (!same_options_) {
          // When a route that is out of date is forgotten depends on when somebody looked, so the
          // model could not tell if this limit changed.
          const Nanos expire = options_.route_expire;
          options_ = random_options();
          options_.route_expire = expire;
          dispatcher_.set_options(options_, now_);
          model_.set_options(options_);
        }
        return;
      default:
        return recover(servant, origin);
    }
  }

  void recover(std::uint32_t servant, std::uint32_t origin) {
    if (below(60) == 0) {
      dispatcher_.on(DrainBegan{}, now_);
      model_.drain_began();
    } else if (below(60) == 0) {
      dispatcher_.on(DrainExpired{}, now_);
      model_.drain_expired();
    } else if (below(8) == 0 && classes_ < limits_.classes_max && fallbacks_) {
      define_class();  // It would see those that are free in another order than the others.
    } else if (below(2) == 0) {
      join(servant);
    } else {
      open(origin);
    }
  }

  // Up to `count` decisions; checks that it is right to be quiet when there is none.
  void take(std::uint32_t count) {
    for (; count != 0 && healthy(); --count) {
      const Counters before = dispatcher_.counters();
      const Decision decision = dispatcher_.next(now_);
      model_.decided(decision, now_, before, dispatcher_.counters());
      if (decision.kind == Decision::Kind::none) {
        model_.quiet(dispatcher_, now_);
        return;
      }
      tick();
    }
  }

  // Whatever is left completes: nothing was lost on the way.
  void finish() {
    for (std::uint32_t at = 0; at < limits_.servants_max; ++at) {
      if (model_.attached(at)) {
        model_.resumed(at, dispatcher_.on(ServantResumed{at}, now_));
      }
    }
    // Else a broadcast whose rest never comes would hold its servants for ever.
    for (std::uint32_t at = 0; at < limits_.origins_max && broadcasts_; ++at) {
      model_.closed(at, dispatcher_.on(OriginClosed{at}, now_));
    }
    take(1'000'000);
    for (int round = 0; round < 1000 && model_.live() != 0 && healthy(); ++round) {
      // So that every class has somebody, if not by itself, then by its pools.
      rejoin();
      done_right();
      now_ += 1;
      take(1'000'000);
      audit();
    }
    if (healthy() && model_.live() != 0) {
      fault_ = "requests are left that nobody completes";
    }
  }

  // Each servant in another pool than before, so that every class that anybody can serve is served
  // in the end; the others have nobody, and nobody is expected.
  void rejoin() {
    if (model_.running().empty() && dispatcher_.queued() != 0) {
      dispatcher_.on(ServantsExpected{0}, now_);
      model_.expected(0);
      const ServantJoined event{.servant = next_to_join_ % limits_.servants_max,
                                .pool = next_to_join_ % pools_};
      ++next_to_join_;
      if (model_.attached(event.servant)) {
        model_.left(event.servant, dispatcher_.on(ServantLeft{event.servant}, now_), now_);
        take(1'000'000);
      }
      model_.joined(event, dispatcher_.on(event, now_), now_);
      take(1'000'000);
    }
  }

  std::mt19937_64 random_;
  std::uint32_t next_to_join_ = 0;
  Nanos now_ = 1000;
  Limits limits_;
  bool same_options_;
  Options options_;
  std::uint32_t routes_;
  std::uint32_t credit_max_;
  std::uint32_t mishaps_;
  std::uint32_t remotes_;   // Of four servants that join, on another tier,
  std::uint32_t tiers_;     // one of so many,
  std::uint32_t homes_;     // and of four with a home.
  std::uint32_t timeouts_;  // The longest; 0: none.
  std::uint32_t pools_;
  bool fallbacks_;
  std::uint32_t priorities_;
  bool broadcasts_;
  std::uint32_t stickies_;     // Of four origins that open.
  std::uint32_t classes_ = 1;  // Defined.
  Dispatcher dispatcher_;
  ReferenceModel model_;
  std::string fault_;
};

TEST(DispatcherRandom, EveryScheduleKeepsEveryPromise) {
  const std::uint64_t first = from_environment("MSERVE_TEST_SEED", 1);
  const std::uint64_t count = from_environment("MSERVE_TEST_SCHEDULES", 20'000);
  std::cout << "seeds " << first << " to " << first + count - 1 << "\n";
  for (std::uint64_t seed = first; seed < first + count; ++seed) {
    const std::string fault = Schedule(seed).run();
    ASSERT_EQ(fault, "") << "replay: MSERVE_TEST_SEED=" << seed
                         << " MSERVE_TEST_SCHEDULES=1 (this test) "
                            "--gtest_filter=DispatcherRandom.*";
  }
}

}  // namespace
}  // namespace mserve::broker::test
