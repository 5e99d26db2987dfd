// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "desk.hpp"

// How long a request may wait and run, and how many an origin may have.
namespace mserve::broker::test {
namespace {

Limits exact() {
  Limits limits = Desk::small();
  limits.tick_bits = 0;
  return limits;
}

RequestId submit(Desk& desk, Nanos queue_timeout, Nanos run_timeout, std::uint64_t route = 0,
                 std::uint8_t retries = 0) {
  return desk.it
      .on(Submit{.origin = 0,
                 .route = route,
                 .bytes = 10,
                 .retries = retries,
                 .queue_timeout = queue_timeout,
                 .run_timeout = run_timeout},
          desk.now)
      .id;
}

void expect_queue_timeout(Desk& desk, RequestId id) {
  const Decision decision = desk.next();
  EXPECT_EQ(decision.kind, Decision::Kind::fail);
  EXPECT_EQ(decision.reason, FailReason::queue_timeout);
  EXPECT_EQ(decision.request, id);
}

void expect_overrun(Desk& desk, RequestId id, bool deliver) {
  const Decision decision = desk.next();
  EXPECT_EQ(decision.kind, Decision::Kind::overrun);
  EXPECT_EQ(decision.request, id);
  EXPECT_EQ(decision.deliver, deliver);
}

TEST(DispatcherQueueTimeout, FailsWhatWaitedTooLongWhateverItsOrder) {
  Desk desk({}, exact());
  const RequestId late = submit(desk, 300, kForever);
  const RequestId early = submit(desk, 100, kForever);
  const RequestId patient = desk.submit();
  desk.expect_none();
  EXPECT_LE(desk.it.next_wakeup(desk.now), desk.now + 100);
  desk.now += 99;
  desk.expect_none();
  desk.now += 1;
  expect_queue_timeout(desk, early);
  desk.expect_none();
  desk.now += 200;
  expect_queue_timeout(desk, late);
  desk.expect_none();
  EXPECT_EQ(desk.it.next_wakeup(desk.now), kForever);
  desk.join(1);
  EXPECT_EQ(desk.sent(), patient);
  EXPECT_EQ(desk.it.counters().failed_queued, 2U);
}

TEST(DispatcherQueueTimeout, EndsWhenItsServantIsChosen) {
  Desk desk({}, exact());
  desk.join(1);
  const RequestId id = submit(desk, 100, kForever);
  EXPECT_EQ(desk.sent(), id);
  desk.now += 1000;
  desk.expect_none();
  EXPECT_TRUE(desk.done(0).deliver);
}

TEST(DispatcherQueueTimeout, HoldsForARequestThatWaitsForItsHolder) {
  Desk desk({.match_wait = kForever}, exact());
  desk.join(2);
  EXPECT_EQ(desk.run(1), 0U);
  const RequestId id = submit(desk, 100, kForever, 1);
  desk.expect_none();
  desk.now += 100;
  expect_queue_timeout(desk, id);
}

TEST(DispatcherQueueTimeout, StartsAnewForARequestThatIsSentAgain) {
  Desk desk({}, exact());
  desk.join(1);
  const RequestId id = submit(desk, 100, kForever, 0, 1);
  EXPECT_EQ(desk.sent(), id);
  desk.now += 500;
  desk.it.on(ServantLeft{0}, desk.now);
  desk.expect_none();
  desk.now += 99;
  desk.expect_none();
  desk.now += 1;
  const Decision decision = desk.next();
  EXPECT_EQ(decision.request, id);
  EXPECT_EQ(decision.reason, FailReason::servant_died) << "it may have run";
}

// What a hostile client asks for: the sum with the present, rounded up, is just about 2^64.
TEST(DispatcherQueueTimeout, TheLongestTimesAreNoLimit) {
  for (const std::uint32_t tick_bits : {0U, 16U, 32U}) {
    Limits limits = Desk::small();
    limits.tick_bits = tick_bits;
    Desk desk({}, limits);
    for (const Nanos back : {1U, 2U, 1000U, 70'000U}) {
      submit(desk, kForever - desk.now - back, kForever - back);
    }
    submit(desk, 1, kForever);
    desk.now += Nanos{2} << tick_bits;
    EXPECT_EQ(desk.next().reason, FailReason::queue_timeout);
    desk.expect_none();
    EXPECT_EQ(desk.it.next_wakeup(desk.now), kForever);
    EXPECT_EQ(desk.it.queued(), 4U);
  }
}

TEST(DispatcherQueueTimeout, IsKeptToATickAndNeverEarly) {
  Limits limits = Desk::small();
  limits.tick_bits = 10;
  Desk desk({}, limits);
  const RequestId id = submit(desk, 5000, kForever);
  const Nanos due = desk.now + 5000;
  Decision decision = desk.next();
  for (; decision.kind == Decision::Kind::none; decision = desk.next()) {
    const Nanos then = desk.it.next_wakeup(desk.now);
    ASSERT_GT(then, desk.now);
    desk.now = then;
  }
  EXPECT_EQ(decision.reason, FailReason::queue_timeout);
  EXPECT_EQ(decision.request, id);
  EXPECT_GE(desk.now, due);
  EXPECT_LT(desk.now, due + 1024);
}

TEST(DispatcherRunTimeout, TellsTheOriginAndKeepsTheServantOutUntilItAnswers) {
  Desk desk({.policy = Policy::orig}, exact());
  desk.join(1, 2);
  const RequestId id = submit(desk, kForever, 100);
  EXPECT_EQ(desk.sent(), id);
  desk.now += 99;
  desk.expect_none();
  desk.now += 1;
  expect_overrun(desk, id, true);
  const RequestId next = desk.submit();
  desk.expect_none();
  EXPECT_EQ(desk.it.free_servants(), 0U) << "although it has credit left";
  const Completion late = desk.it.on(Done{id, 0}, desk.now);
  EXPECT_TRUE(late.valid);
  EXPECT_FALSE(late.deliver);
  EXPECT_EQ(desk.sent(), next);
  EXPECT_EQ(desk.it.counters().overruns, 1U);
  EXPECT_EQ(desk.it.counters().orphaned, 1U);
}

// One of a hundred that run there is over; the others and whatever is new know nothing of it.
TEST(DispatcherRunTimeout, KeepsNoServantOutThatEndsWhatOverran) {
  Desk desk({.policy = Policy::orig}, exact());
  ASSERT_TRUE(desk.it.on(
      ServantJoined{.servant = 0, .credit = 2, .tier = 1, .home = 7, .ends_overruns = true},
      desk.now));
  const RequestId id = submit(desk, kForever, 100);
  EXPECT_EQ(desk.sent(), id);
  desk.now += 100;
  expect_overrun(desk, id, true);
  const RequestId next = desk.submit();
  EXPECT_EQ(desk.sent(), next);
  desk.submit();
  desk.expect_none();  // it keeps its place until it is answered
  EXPECT_FALSE(desk.it.on(Done{id, 0}, desk.now).deliver);
  desk.sent();
  EXPECT_EQ(desk.it.counters().overruns, 1U);
  desk.now += 1000;
  desk.expect_none();  // it is told once
}

TEST(DispatcherWholeTimeout, EndsARequestWhereverItIs) {
  Desk desk({}, exact());
  const auto ask = [&](Nanos queue_timeout, Nanos run_timeout, std::uint8_t retries = 0) {
    return desk.it
        .on(Submit{.origin = 0,
                   .bytes = 10,
                   .retries = retries,
                   .queue_timeout = queue_timeout,
                   .run_timeout = run_timeout,
                   .whole_timeout = 100},
            desk.now)
        .id;
  };
  const RequestId waits = ask(kForever, 500);
  desk.expect_none();
  desk.now += 100;
  expect_queue_timeout(desk, waits);
  const RequestId runs = ask(90, 100);
  desk.expect_none();
  desk.now += 60;
  desk.join(1);
  EXPECT_EQ(desk.sent(), runs);
  desk.now += 39;
  desk.expect_none();
  desk.now += 1;
  expect_overrun(desk, runs, true);
  EXPECT_TRUE(desk.it.on(Done{runs, 0}, desk.now).valid);
  const RequestId again = ask(kForever, 500, 1);
  EXPECT_EQ(desk.sent(), again);
  desk.now += 99;
  desk.it.on(ServantLeft{0}, desk.now);
  desk.expect_none();
  desk.now += 1;
  const Decision decision = desk.next();
  EXPECT_EQ(decision.request, again);
  EXPECT_EQ(decision.reason, FailReason::servant_died);
}

TEST(DispatcherRunTimeout, NobodyWaitsForAHolderThatOverran) {
  Desk desk({.match_wait = kForever}, exact());
  desk.join(2);
  const RequestId stuck = submit(desk, kForever, 100, 1);
  EXPECT_EQ(desk.sent(), stuck);
  const RequestId waiting = desk.submit(1);
  desk.expect_none();
  desk.now += 100;
  expect_overrun(desk, stuck, true);
  EXPECT_EQ(desk.sent(), waiting);
  EXPECT_EQ(desk.last.servant, 1U);
}

TEST(DispatcherRunTimeout, EndsWhenTheAnswerBegins) {
  Desk desk({}, exact());
  desk.join(1);
  const RequestId id = submit(desk, kForever, 100);
  EXPECT_EQ(desk.sent(), id);
  EXPECT_TRUE(desk.it.on(ReplyBegan{id, 0}, desk.now));
  desk.now += 1000;
  desk.expect_none();
  EXPECT_TRUE(desk.done(0).deliver);
}

TEST(DispatcherRunTimeout, NeverSendsAnOverrunRequestAgain) {
  Desk desk({}, exact());
  desk.join(2);
  const RequestId id = submit(desk, kForever, 100, 0, 3);
  EXPECT_EQ(desk.sent(), id);
  desk.now += 100;
  expect_overrun(desk, id, true);
  desk.it.on(ServantLeft{0}, desk.now);
  desk.expect_over(Decision::Kind::discard, id);
  desk.expect_none();
}

TEST(DispatcherRunTimeout, HoldsForARequestThatNobodyWantsAnyMore) {
  Desk desk({}, exact());
  desk.join(1);
  const RequestId id = submit(desk, kForever, 100);
  EXPECT_EQ(desk.sent(), id);
  EXPECT_EQ(desk.it.on(Cancel{id}, desk.now), Cancelled::running);
  desk.now += 100;
  expect_overrun(desk, id, false);
}

TEST(DispatcherRunTimeout, ASuspendedServantThatOverranNeedsBothToEnd) {
  Desk desk({}, exact());
  desk.join(1);
  const RequestId id = submit(desk, kForever, 100);
  EXPECT_EQ(desk.sent(), id);
  desk.it.on(ServantSuspended{0}, desk.now);
  desk.now += 100;
  expect_overrun(desk, id, true);
  desk.it.on(ServantResumed{0}, desk.now);
  EXPECT_EQ(desk.run(), kNone);
  EXPECT_TRUE(desk.it.on(Done{id, 0}, desk.now).valid);
  desk.sent();
}

// Ten thousand deadlines at once come out one decision at a time, between dispatches.
TEST(DispatcherQueueTimeout, AMassOfDeadlinesDoesNotKeepDispatchesWaiting) {
  Limits limits = exact();
  limits.requests_max = 10'100;
  Desk desk({.policy = Policy::orig}, limits);
  desk.join(1);
  desk.run();
  for (int count = 0; count < 10'000; ++count) {
    submit(desk, 100, kForever);
  }
  desk.it.on(OriginOpened{1}, desk.now);
  const RequestId other = desk.submit(0, 1);
  desk.expect_none();
  desk.now += 100;
  desk.done(0);
  int before = 0;
  bool sent = false;
  int timed_out = 0;
  for (Decision decision = desk.next(); decision.kind != Decision::Kind::none;
       decision = desk.next()) {
    if (decision.kind == Decision::Kind::dispatch) {
      desk.remember(decision);
      sent = sent || decision.request == other;
      desk.done(0);
    } else {
      ++timed_out;
      before += sent ? 0 : 1;
    }
  }
  EXPECT_TRUE(sent);
  EXPECT_LT(before, 10);
  EXPECT_GT(timed_out, 4000);
}

TEST(DispatcherOriginLimit, OneOriginCannotFillTheQueue) {
  Limits limits = Desk::small();
  limits.origin_requests_max = 2;
  Desk desk({}, limits);
  desk.it.on(OriginOpened{1}, desk.now);
  desk.join(1);
  desk.run();
  desk.submit();
  EXPECT_EQ(desk.it.on(Submit{.origin = 0}, desk.now).refusal, Refusal::busy);
  EXPECT_EQ(desk.it.on(Submit{.origin = 1}, desk.now).refusal, Refusal::none);
  desk.done(0);
  desk.submit();
}

}  // namespace
}  // namespace mserve::broker::test
