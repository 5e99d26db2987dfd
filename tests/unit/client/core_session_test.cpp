// SPDX-License-Identifier: Apache-2.0
// What happens when a session is lost, and how the client comes back.
#include <gtest/gtest.h>

#include "fake_broker.hpp"

namespace mserve {
namespace {

using test::attached_core;
using test::Bytes;
using test::bytes_of;
using test::FakeBroker;
using test::pattern;
using test::text_of;

/// Polls as a program would that has something else to do; @return what came in the end.
Errc poll_until_something(ClientCore& core, Reply& reply) {
  for (int i = 0; i < 100'000; ++i) {
    const Errc code = core.poll(reply);
    if (code != Errc::empty) {
      return code;
    }
  }
  return Errc::empty;
}

TEST(ClientSession, LossCompletesEachRequestOnceAfterWhatHadArrived) {
  FakeBroker broker;
  auto core = attached_core(broker);
  const std::uint64_t a = core->try_send({}, {}).value();
  const std::uint64_t b = core->try_send({}, {}).value();
  const std::uint64_t c = core->try_send({}, {}).value();
  broker.fragment(a, 0, 4, bytes_of("half"));
  broker.answer(b, "arrived");
  broker.fragment(c, 0, 100, bytes_of("never ends"));
  broker.die();
  Reply reply;
  ASSERT_EQ(poll_until_something(*core, reply), Errc::ok);
  EXPECT_EQ(text_of(reply.payload), "half");
  ASSERT_EQ(core->poll(reply), Errc::ok);
  EXPECT_EQ(text_of(reply.payload), "arrived");
  ASSERT_EQ(poll_until_something(*core, reply), Errc::ok);
  EXPECT_EQ(reply.id, c);
  EXPECT_EQ(reply.status, Errc::disconnected);
  EXPECT_EQ(core->poll(reply), Errc::not_attached);
  EXPECT_FALSE(core->attached());
  EXPECT_EQ(core->in_flight(), 0U);
  EXPECT_FALSE(core->last_failure().empty());
}

TEST(ClientSession, LostIdsAreCompletedInTheOrderTheyWereSent) {
  FakeBroker broker;
  auto core = attached_core(broker);
  for (int i = 0; i < 2000; ++i) {
    ASSERT_TRUE(core->send({}, {}, 0));
    broker.read_requests();
  }
  broker.die();
  Reply reply;
  for (std::uint64_t id = 1; id <= 2000; ++id) {
    ASSERT_EQ(poll_until_something(*core, reply), Errc::ok);
    ASSERT_EQ(reply.id, id);
    ASSERT_EQ(reply.status, Errc::disconnected);
  }
  EXPECT_EQ(core->poll(reply), Errc::not_attached);
}

TEST(ClientSession, WaitingCallsNoticeTheLossAtOnce) {
  FakeBroker broker;
  auto core = attached_core(broker);
  broker.meanwhile = [&] { broker.die(); };
  EXPECT_EQ(core->call(bytes_of("x"), {}, 0).error().code, Errc::disconnected);
  EXPECT_EQ(core->call(bytes_of("y"), {}, 0).error().code, Errc::not_attached);
  Reply reply;
  EXPECT_EQ(core->poll(reply), Errc::not_attached);
  EXPECT_EQ(core->wait(0), Errc::not_attached);
}

TEST(ClientSession, LossDuringALargeRequestIsReportedBySend) {
  FakeBroker broker({.ring_bytes = 4096});
  auto core = attached_core(broker);
  broker.meanwhile = [&] { broker.die(); };
  EXPECT_EQ(core->send(pattern(100'000), {}, 0).error().code, Errc::disconnected);
  Reply reply;
  EXPECT_EQ(core->poll(reply), Errc::not_attached) << "the caller never got that id";
}

TEST(ClientSession, ReplyOnLoanSurvivesALossNoticedWhileSending) {
  FakeBroker broker({.ring_bytes = 4096});
  auto core = attached_core(broker);
  const std::uint64_t id = core->try_send({}, {}).value();
  broker.answer(id, "still readable");
  Reply reply;
  ASSERT_EQ(core->poll(reply), Errc::ok);
  std::weak_ptr<test::Wire> wire = std::exchange(broker.wire, nullptr);
  wire.lock()->hung_up = true;
  broker.absent = true;
  while (core->attached()) {
    (void)core->try_send(Bytes(900), {});
  }
  EXPECT_EQ(text_of(reply.payload), "still readable");
  EXPECT_FALSE(wire.expired());
  ASSERT_EQ(core->poll(reply), Errc::ok);
  EXPECT_EQ(reply.status, Errc::disconnected);
  EXPECT_TRUE(wire.expired()) << "the rings go with the last reply that lies in them";
}

TEST(ClientSession, WorksAgainWhenTheBrokerIsBack) {
  FakeBroker broker;
  auto core = attached_core(broker);
  const std::uint64_t before = core->try_send({}, {}).value();
  broker.die();
  Reply reply;
  ASSERT_EQ(poll_until_something(*core, reply), Errc::ok);
  EXPECT_EQ(core->try_send({}, {}).error().code, Errc::not_attached);
  broker.absent = false;
  const auto after = core->try_send(bytes_of("again"), {});
  ASSERT_TRUE(after);
  EXPECT_GT(after.value(), before) << "ids of two sessions never meet";
  broker.answer(after.value(), "here");
  ASSERT_EQ(core->poll(reply), Errc::ok);
  EXPECT_EQ(text_of(reply.payload), "here");
}

TEST(ClientSession, AttemptsToAttachKeepAGrowingPause) {
  FakeBroker broker;
  ClientOptions options;
  options.idle = shm::IdleStrategy::park;
  options.retry_ns_min = options.retry_ns_max = 3'600'000'000'000;
  auto core = std::make_unique<ClientCore>(options, broker.factory());
  ASSERT_EQ(core->attach(1, nullptr).code, Errc::ok);
  broker.die();
  Reply reply;
  ASSERT_EQ(poll_until_something(*core, reply), Errc::not_attached);
  EXPECT_EQ(core->poll(reply), Errc::not_attached);
  const int attempts = broker.attach_attempts;
  EXPECT_EQ(attempts, 2) << "the first one comes at once";
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(core->poll(reply), Errc::not_attached);
    EXPECT_EQ(core->try_send({}, {}).error().code, Errc::not_attached);
  }
  EXPECT_EQ(broker.attach_attempts, attempts);
  broker.absent = false;
  EXPECT_EQ(core->reconnect(0, nullptr), Errc::ok) << "asking for it does not wait";
}

TEST(ClientSession, StaysAwayWhenReconnectIsOff) {
  FakeBroker broker;
  ClientOptions options;
  options.reconnect = false;
  auto core = attached_core(broker, options);
  broker.die();
  broker.absent = false;
  Reply reply;
  EXPECT_EQ(poll_until_something(*core, reply), Errc::not_attached);
  EXPECT_EQ(core->call({}, {}, 0).error().code, Errc::not_attached);
  EXPECT_EQ(broker.attach_attempts, 1);
  EXPECT_EQ(core->reconnect(0, nullptr), Errc::ok);
  EXPECT_EQ(core->reconnect(0, nullptr), Errc::ok) << "nothing to do";
  EXPECT_EQ(broker.attach_attempts, 2);
}

TEST(ClientSession, ReconnectGivesUpAtItsDeadlineWithTheReason) {
  FakeBroker broker;
  auto core = attached_core(broker);
  broker.die();
  std::string reason;
  EXPECT_EQ(core->reconnect(shm::steady_now() + 1'000'000, &reason), Errc::no_broker);
  EXPECT_EQ(reason, "no broker in this test");
  EXPECT_GT(broker.attach_attempts, 2);
}

TEST(ClientSession, ClosingReasonOfTheBrokerIsKept) {
  FakeBroker broker;
  auto core = attached_core(broker);
  broker.wire->closing_reason = "answers were not read";
  broker.die();
  core->finish_sleep();  // what an event loop calls when fd() hangs up
  EXPECT_FALSE(core->attached());
  EXPECT_EQ(core->last_failure(), "answers were not read");
  EXPECT_EQ(core->fd(), -1);
  EXPECT_TRUE(core->prepare_sleep());
}

TEST(ClientSession, PollingLooksAtTheSocketNowAndThenOnly) {
  FakeBroker broker;
  auto core = attached_core(broker);
  Reply reply;
  for (int i = 0; i < 1024; ++i) {
    EXPECT_EQ(core->poll(reply), Errc::empty);
  }
  EXPECT_GE(broker.wire->looks, 1);
  EXPECT_LE(broker.wire->looks, 1024 / 16) << "where other processes hold the core";
}

TEST(ClientSession, WhoYieldsToManyLooksByTheClock) {
  constexpr std::uint64_t kTurnOfOthersNs = 1'000'000;
  FakeBroker broker;
  ClientOptions options;
  options.idle = shm::IdleStrategy::yield;
  options.reconnect = false;
  ClientCore core(options, broker.factory());
  ASSERT_EQ(core.attach(options.attach_ns_max, nullptr).code, Errc::ok);
  const std::uint64_t id = core.try_send({}, {}).value();
  int passes = 0;
  broker.on_pass = [&] {
    const std::uint64_t until = shm::steady_now() + kTurnOfOthersNs;
    while (shm::steady_now() < until) {
    }
    ++passes;
  };
  broker.die();
  Reply reply;
  EXPECT_EQ(core.await(id, reply, 0), Errc::ok);
  EXPECT_EQ(reply.status, Errc::disconnected);
  EXPECT_LE(passes, 5);
}

}  // namespace
}  // namespace mserve
