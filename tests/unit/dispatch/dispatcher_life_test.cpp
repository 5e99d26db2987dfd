// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cstdint>
#include <set>
#include <vector>

#include "desk.hpp"

// What becomes of a request: answered, failed, discarded, sent again; and what nobody is believed.
namespace mserve::broker::test {
namespace {

TEST(RequestId, PacksIntoOneWordAndZeroNamesNone) {
  EXPECT_EQ(RequestId{}.packed(), 0U);
  EXPECT_FALSE(RequestId{});
  const RequestId id{0x01020304, 0xa0b0c0d0};
  EXPECT_EQ(id.packed(), 0xa0b0c0d001020304U);
  EXPECT_EQ(RequestId::unpack(id.packed()), id);
}

TEST(DispatcherLife, ADoneTellsTheWholeStory) {
  Desk desk;
  desk.join(1);
  desk.submit(9);
  desk.submit(9);
  desk.now += 5;
  const RequestId first = desk.sent();
  desk.now += 7;
  const Completion completion = desk.it.on(Done{first, 0}, desk.now);
  EXPECT_TRUE(completion.valid);
  EXPECT_TRUE(completion.deliver);
  EXPECT_EQ(completion.origin, 0U);
  EXPECT_EQ(completion.route, 9U);
  EXPECT_EQ(completion.submitted, desk.now - 12);
  EXPECT_EQ(completion.dispatched, desk.now - 7);
  EXPECT_EQ(completion.backlog, 0U);
  EXPECT_EQ(completion.remaining, 1U);
  desk.sent();
  EXPECT_EQ(desk.done(0).backlog, 1U);
}

TEST(DispatcherLife, ALateOrForgedDoneIsNotBelieved) {
  Desk desk;
  desk.join(2);
  desk.run();
  const RequestId id = desk.runs[0];
  EXPECT_FALSE(desk.it.on(Done{id, 1}, desk.now).valid) << "another servant's";
  EXPECT_FALSE(desk.it.on(Done{{id.slot, id.generation + 1}, 0}, desk.now).valid);
  EXPECT_FALSE(desk.it.on(Done{{4'000'000'000, 1}, 0}, desk.now).valid);
  EXPECT_FALSE(desk.it.on(Done{{id.slot + 1, 1}, 0}, desk.now).valid) << "a vacant slot";
  EXPECT_FALSE(desk.it.on(Done{id, kNone}, desk.now).valid);
  desk.done(0);
  EXPECT_FALSE(desk.it.on(Done{id, 0}, desk.now).valid) << "a second time";
  desk.run();
  EXPECT_EQ(desk.runs[0].slot, id.slot) << "the slot is used again";
  EXPECT_FALSE(desk.it.on(Done{id, 0}, desk.now).valid) << "a late one for the earlier user";
  EXPECT_EQ(desk.it.counters().invalid, 7U);
  EXPECT_EQ(desk.it.running(), 1U);
}

TEST(DispatcherLife, ReplyBeganIsBelievedOnlyOfTheServantThatRunsIt) {
  Desk desk;
  desk.join(2);
  desk.run(0, 0, 1);
  EXPECT_FALSE(desk.it.on(ReplyBegan{desk.runs[0], 1}, desk.now));
  desk.it.on(ServantLeft{0}, desk.now);
  EXPECT_EQ(desk.sent(), desk.runs[0]) << "sent again in spite of the stranger's claim";
}

TEST(DispatcherRefusal, NamesItsReason) {
  Limits limits = Desk::small();
  limits.requests_max = 2;
  limits.queued_bytes_max = 100;
  Desk desk({}, limits);
  const auto refusal = [&](const Submit& event) { return desk.it.on(event, desk.now).refusal; };
  EXPECT_EQ(refusal({.origin = 1}), Refusal::unknown_origin);
  EXPECT_EQ(refusal({.origin = 99}), Refusal::unknown_origin);
  EXPECT_EQ(refusal({.origin = 0, .bytes = 101}), Refusal::busy);
  EXPECT_EQ(refusal({.origin = 0, .bytes = 101, .flow = true}), Refusal::none) << "not held here";
  EXPECT_EQ(refusal({.origin = 0, .bytes = 100}), Refusal::none);
  EXPECT_EQ(refusal({.origin = 0, .bytes = 0}), Refusal::busy) << "no slot left";
  desk.it.on(DrainBegan{}, desk.now);
  EXPECT_EQ(refusal({.origin = 0}), Refusal::shutting_down);
  EXPECT_EQ(desk.it.counters().refused, 5U);
  EXPECT_EQ(desk.it.counters().submitted, 2U);
}

TEST(DispatcherRefusal, NoServantIsSaidOnlyWhenNoneIsExpected) {
  Desk desk;
  const RequestId early = desk.submit();
  desk.expect_none();
  desk.it.on(ServantsExpected{0}, desk.now);
  const Decision decision = desk.next();
  EXPECT_EQ(decision.kind, Decision::Kind::fail);
  EXPECT_EQ(decision.reason, FailReason::no_servant);
  EXPECT_EQ(decision.request, early);
  EXPECT_EQ(desk.it.on(Submit{.origin = 0}, desk.now).refusal, Refusal::no_servant);
  desk.join(1);
  desk.it.on(ServantSuspended{0}, desk.now);
  EXPECT_EQ(desk.run(), kNone) << "a suspended one is there, so requests wait for it";
}

TEST(DispatcherRefusal, QueuedBytesAreGivenBackAtDispatch) {
  Limits limits = Desk::small();
  limits.queued_bytes_max = 10;
  Desk desk({}, limits);
  desk.submit();
  EXPECT_EQ(desk.it.on(Submit{.origin = 0, .bytes = 1}, desk.now).refusal, Refusal::busy);
  desk.join(1);
  desk.sent();
  EXPECT_EQ(desk.it.queued_bytes(), 0U);
  desk.submit();
}

TEST(DispatcherDeath, ARepeatableRequestGoesToTheFrontOfTheQueueOnce) {
  Desk desk;
  desk.join(2);
  desk.run(0, 0, 1);
  desk.run(0, 0, 0);
  const RequestId repeatable = desk.runs[0];
  const RequestId waiting = desk.submit();
  desk.it.on(ServantLeft{0}, desk.now);
  desk.expect_none();
  EXPECT_EQ(desk.it.queued(), 2U);
  desk.done(1);
  EXPECT_EQ(desk.sent(), repeatable);
  EXPECT_TRUE(desk.last.again);
  desk.it.on(ServantLeft{1}, desk.now);
  const Decision decision = desk.next();
  EXPECT_EQ(decision.kind, Decision::Kind::fail);
  EXPECT_EQ(decision.reason, FailReason::servant_died);
  EXPECT_EQ(decision.request, repeatable);
  desk.join(1);
  EXPECT_EQ(desk.sent(), waiting);
}

TEST(DispatcherDeath, WhatMayNotBeRepeatedFails) {
  Desk desk;
  desk.join(3);
  desk.run(0, 0, 0);
  desk.run(0, 0, 5);
  EXPECT_TRUE(desk.it.on(ReplyBegan{desk.runs[1], 1}, desk.now));
  const Submitted flow = desk.it.on(Submit{.origin = 0, .retries = 5, .flow = true}, desk.now);
  EXPECT_EQ(desk.sent(), flow.id);
  for (std::uint32_t servant = 0; servant < 3; ++servant) {
    desk.it.on(ServantLeft{servant}, desk.now);
    const Decision decision = desk.next();
    EXPECT_EQ(decision.kind, Decision::Kind::fail);
    EXPECT_EQ(decision.reason, FailReason::servant_died);
    EXPECT_EQ(decision.request, desk.runs[servant]);
  }
}

TEST(DispatcherDeath, ALateAnswerOfTheDeadIsNotBelievedAndTheIndexWaitsForItsRequests) {
  Desk desk;
  desk.join(1);
  desk.run(0, 0, 1);
  desk.it.on(ServantLeft{0}, desk.now);
  EXPECT_FALSE(desk.it.on(Done{desk.runs[0], 0}, desk.now).valid);
  EXPECT_FALSE(desk.it.on(ServantJoined{0}, desk.now)) << "its request is not cleared away yet";
  desk.expect_none();
  EXPECT_TRUE(desk.it.on(ServantJoined{0}, desk.now));
  EXPECT_FALSE(desk.it.on(Done{desk.runs[0], 0}, desk.now).valid) << "queued again";
  desk.sent();
  desk.done(0);
}

TEST(DispatcherDeath, TheLastServantTakesTheQueueWithItUnlessOthersAreExpected) {
  for (const bool expected : {true, false}) {
    Desk desk({.match_wait = kForever});
    desk.join(1);
    desk.run(1, 0, 1);
    for (const std::uint64_t route : {1U, 1U, 2U, 0U}) {
      desk.submit(route);
    }
    desk.it.on(ServantsExpected{expected ? kEveryClass : 0}, desk.now);
    desk.it.on(ServantLeft{0}, desk.now);
    std::set<std::uint32_t> failed;
    for (Decision decision = desk.next(); decision.kind != Decision::Kind::none;
         decision = desk.next()) {
      EXPECT_EQ(decision.kind, Decision::Kind::fail);
      EXPECT_EQ(decision.reason, FailReason::no_servant);
      failed.insert(decision.request.slot);
    }
    EXPECT_EQ(failed.size(), expected ? 0U : 5U);
    EXPECT_EQ(desk.it.queued(), expected ? 5U : 0U);
  }
}

TEST(DispatcherCancel, AQueuedRequestIsDiscardedAndARunningOneNotDelivered) {
  Desk desk;
  desk.join(1);
  desk.run();
  const RequestId queued = desk.submit();
  const RequestId next = desk.submit();
  EXPECT_EQ(desk.it.on(Cancel{queued}, desk.now), Cancelled::queued);
  EXPECT_EQ(desk.it.on(Cancel{desk.runs[0]}, desk.now), Cancelled::running);
  desk.expect_over(Decision::Kind::discard, queued);
  EXPECT_EQ(desk.it.on(Cancel{queued}, desk.now), Cancelled::unknown);
  EXPECT_FALSE(desk.done(0).deliver);
  EXPECT_EQ(desk.sent(), next);
  EXPECT_EQ(desk.it.counters().orphaned, 1U);
}

TEST(DispatcherCancel, ACancelledRequestIsNotSentAgain) {
  Desk desk;
  desk.join(2);
  desk.run(0, 0, 3);
  desk.it.on(Cancel{desk.runs[0]}, desk.now);
  desk.it.on(ServantLeft{0}, desk.now);
  desk.expect_over(Decision::Kind::discard, desk.runs[0]);
  desk.expect_none();
}

TEST(DispatcherOrigin, ItsQueuedRequestsVanishAndItsRunningOnesAreNotDelivered) {
  Desk desk({.match_wait = kForever});
  desk.it.on(OriginOpened{1}, desk.now);
  desk.join(1);
  desk.run(1, 1);
  std::set<std::uint32_t> expected;
  for (const std::uint64_t route : {1U, 1U, 2U, 0U}) {
    expected.insert(desk.submit(route, 1).slot);
  }
  const RequestId other = desk.submit(2, 0);
  EXPECT_TRUE(desk.it.on(OriginClosed{1}, desk.now));
  EXPECT_FALSE(desk.it.on(OriginClosed{1}, desk.now));
  EXPECT_EQ(desk.it.on(Submit{.origin = 1}, desk.now).refusal, Refusal::unknown_origin);
  EXPECT_FALSE(desk.done(0).deliver);
  std::set<std::uint32_t> discarded;
  for (Decision decision = desk.next(); decision.kind != Decision::Kind::none;
       decision = desk.next()) {
    if (decision.kind == Decision::Kind::dispatch) {
      EXPECT_EQ(decision.request, other) << "nothing of the closed origin is sent any more";
    } else {
      EXPECT_EQ(decision.kind, Decision::Kind::discard);
      discarded.insert(decision.request.slot);
    }
  }
  EXPECT_EQ(discarded, expected);
}

TEST(DispatcherOrigin, AnIndexUsedAgainDoesNotInheritItsForerunnersRequests) {
  Desk desk;
  desk.join(2);
  desk.run();
  const RequestId orphan = desk.runs[0];
  desk.it.on(OriginClosed{0}, desk.now);
  EXPECT_TRUE(desk.it.on(OriginOpened{0}, desk.now));
  EXPECT_EQ(desk.run(), 1U);
  EXPECT_FALSE(desk.it.on(Done{orphan, 0}, desk.now).deliver);
  EXPECT_TRUE(desk.done(1).deliver);
}

TEST(DispatcherDrain, WhatIsThereIsFinishedAndWhatIsLeftInTheEndFails) {
  Desk desk;
  desk.join(1);
  desk.run();
  const RequestId queued = desk.submit();
  const RequestId late = desk.submit();
  desk.it.on(DrainBegan{}, desk.now);
  desk.done(0);
  EXPECT_EQ(desk.sent(), queued) << "draining goes on working";
  desk.it.on(DrainExpired{}, desk.now);
  std::set<std::uint32_t> failed;
  for (Decision decision = desk.next(); decision.kind != Decision::Kind::none;
       decision = desk.next()) {
    EXPECT_EQ(decision.kind, Decision::Kind::fail);
    EXPECT_EQ(decision.reason, FailReason::shutdown);
    failed.insert(decision.request.slot);
  }
  EXPECT_EQ(failed, (std::set<std::uint32_t>{queued.slot, late.slot}));
  EXPECT_FALSE(desk.it.on(Done{queued, 0}, desk.now).valid);
  EXPECT_EQ(desk.it.queued() + desk.it.running(), 0U);
}

// A hundred thousand consequences of one event come one per call, and the living are served
// in between.
TEST(DispatcherMass, AClosingOriginDoesNotHoldUpTheOthers) {
  constexpr std::uint32_t kMany = 100'000;
  Limits limits = Desk::small();
  limits.requests_max = kMany + 200;
  limits.queued_bytes_max = kForever;
  Desk desk({}, limits);
  desk.it.on(OriginOpened{1}, desk.now);
  desk.join(1);
  desk.run(0, 1);
  for (std::uint32_t count = 0; count < kMany; ++count) {
    desk.submit(1 + count % 100, 0);
  }
  for (std::uint32_t count = 0; count < 100; ++count) {
    desk.submit(0, 1);
  }
  desk.it.on(OriginClosed{0}, desk.now);
  std::uint32_t calls = 0;
  for (std::uint32_t count = 0; count < 100; ++count) {
    desk.done(0);
    Decision decision;
    do {
      decision = desk.it.next(desk.now);
      ++calls;
    } while (decision.kind != Decision::Kind::dispatch);
    desk.remember(decision);
  }
  EXPECT_LE(calls, 300U);
  std::uint32_t discarded = 0;
  while (desk.next().kind == Decision::Kind::discard) {
    ++discarded;
  }
  EXPECT_EQ(desk.it.counters().discarded, kMany);
  EXPECT_GE(discarded, kMany - 300);
}

TEST(DispatcherMass, SixteenThousandServantsMayDieAtOnce) {
  constexpr std::uint32_t kMany = 16384;
  Limits limits;
  limits.servants_max = kMany;
  Desk desk({.policy = Policy::even}, limits);
  desk.runs.resize(kMany);
  desk.join(kMany);
  for (std::uint32_t count = 0; count < kMany; ++count) {
    ASSERT_EQ(desk.run(1 + count % 50, 0, count % 2 != 0), count);
  }
  desk.it.on(ServantsExpected{0}, desk.now);
  for (std::uint32_t count = 0; count < kMany; ++count) {
    EXPECT_TRUE(desk.it.on(ServantLeft{count}, desk.now));
  }
  std::uint32_t failed = 0;
  while (desk.next().kind == Decision::Kind::fail) {
    ++failed;
  }
  EXPECT_EQ(failed, kMany);
  EXPECT_EQ(desk.it.counters().failed_died, kMany / 2);
  EXPECT_EQ(desk.it.counters().failed_none, kMany / 2);
}

Limits listing() {
  Limits limits = Desk::small();
  limits.list_arrivals = true;
  return limits;
}

TEST(DispatcherAge, TheOldestQueuedRequestIsTold) {
  Desk desk({}, listing());
  desk.join(1);
  EXPECT_EQ(desk.it.oldest_submitted(), kForever);
  EXPECT_EQ(desk.run(), 0U);
  EXPECT_EQ(desk.it.oldest_submitted(), kForever) << "it runs";
  const Nanos first = ++desk.now;
  const RequestId oldest = desk.submit();
  desk.expect_none();
  const Nanos second = ++desk.now;
  desk.submit();
  desk.expect_none();
  EXPECT_EQ(desk.it.oldest_submitted(), first);
  EXPECT_EQ(desk.it.on(Cancel{oldest}, desk.now), Cancelled::queued);
  desk.expect_over(Decision::Kind::discard, oldest);
  EXPECT_EQ(desk.it.oldest_submitted(), second);
  desk.done(0);
  desk.sent();
  EXPECT_EQ(desk.it.oldest_submitted(), kForever);
}

TEST(DispatcherAge, ARequestToBeSentAgainIsAsOldAsItsSubmission) {
  Desk desk({}, listing());
  desk.join(1);
  const Nanos submitted = desk.now;
  EXPECT_EQ(desk.run(0, 0, 1), 0U);
  desk.now += kSecond;
  EXPECT_TRUE(desk.it.on(ServantLeft{0}, desk.now));
  desk.expect_none();
  EXPECT_EQ(desk.it.oldest_submitted(), submitted);
}

TEST(DispatcherAge, OfAllClassesTheOldestCounts) {
  Limits limits = listing();
  limits.classes_max = 2;
  Desk desk({}, limits);
  EXPECT_TRUE(desk.it.on(ClassDefined{.number = 1, .pools = 2}, desk.now));
  const Nanos first = desk.now;
  EXPECT_EQ(desk.it.on(Submit{.origin = 0, .class_number = 1}, desk.now).refusal, Refusal::none);
  desk.expect_none();
  ++desk.now;
  desk.submit();
  desk.expect_none();
  EXPECT_EQ(desk.it.oldest_submitted(), first);
}

}  // namespace
}  // namespace mserve::broker::test
