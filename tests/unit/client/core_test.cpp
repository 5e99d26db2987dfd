// SPDX-License-Identifier: Apache-2.0
#include "lib/core.hpp"

#include <gtest/gtest.h>

#include "fake_broker.hpp"

namespace mserve {
namespace {

using test::attached_core;
using test::bytes_of;
using test::FakeBroker;
using test::soon;
using test::text_of;

std::uint64_t must_send_text(ClientCore& core, const std::string& text,
                             const SendOptions& options = {}) {
  const auto sent = core.try_send(bytes_of(text), options);
  EXPECT_TRUE(sent) << to_string(sent.error().code);
  return sent ? sent.value() : 0;
}

TEST(ClientCore, RequestCarriesIdRouteFlagsAndPayload) {
  FakeBroker broker;
  auto core = attached_core(broker);
  const std::uint64_t id = must_send_text(
      *core, "proc1 `IBM", {.route = 77, .want_info = true, .repeatable = true, .opaque = true});
  EXPECT_NE(id, 0U);
  broker.read_requests();
  ASSERT_EQ(broker.received.size(), 1U);
  const shm::FrameHeader& head = broker.received[0].head;
  EXPECT_EQ(head.kind, shm::Kind::request);
  EXPECT_EQ(head.id, id);
  EXPECT_EQ(head.aux, 77U);
  EXPECT_EQ(head.flags, shm::kFlagOpaque | shm::kFlagWantInfo | shm::kFlagRepeatable);
  EXPECT_EQ(text_of(broker.received[0].payload), "proc1 `IBM");
}

TEST(ClientCore, EmptyPayloadIsARequestToo) {
  FakeBroker broker;
  auto core = attached_core(broker);
  must_send_text(*core, "");
  broker.read_requests();
  ASSERT_EQ(broker.received.size(), 1U);
  EXPECT_TRUE(broker.received[0].payload.empty());
}

TEST(ClientCore, SleepingBrokerIsWoken) {
  FakeBroker broker;
  auto core = attached_core(broker);
  must_send_text(*core, "a");
  EXPECT_EQ(broker.wire->bells, 0);
  broker.wire->requests.polled() = static_cast<std::uint32_t>(shm::Polled::sleeping_on_socket);
  must_send_text(*core, "b");
  EXPECT_EQ(broker.wire->bells, 1);
}

TEST(ClientCore, AnswersComeInTheOrderInWhichTheyWereGivenAndPointIntoTheRing) {
  FakeBroker broker;
  auto core = attached_core(broker);
  const std::uint64_t first = must_send_text(*core, "1");
  const std::uint64_t second = must_send_text(*core, "2");
  EXPECT_NE(first, second);
  Reply reply;
  EXPECT_EQ(core->poll(reply), Errc::empty);
  broker.answer(second, "two");
  broker.answer(first, "one", Errc::failed);
  ASSERT_EQ(core->poll(reply), Errc::ok);
  EXPECT_EQ(reply.id, second);
  EXPECT_EQ(reply.status, Errc::ok);
  EXPECT_EQ(reply.servant, 1U);
  EXPECT_EQ(text_of(reply.payload), "two");
  const shm::RingMemory ring = broker.wire->replies.memory();
  EXPECT_GE(static_cast<const void*>(reply.payload.data()), static_cast<const void*>(ring.data));
  EXPECT_LT(static_cast<const void*>(reply.payload.data()),
            static_cast<const void*>(ring.data + ring.capacity));
  ASSERT_EQ(core->poll(reply), Errc::ok);
  EXPECT_EQ(reply.id, first);
  EXPECT_EQ(reply.status, Errc::failed);
  EXPECT_EQ(text_of(reply.payload), "one");
  EXPECT_EQ(core->poll(reply), Errc::empty);
  EXPECT_EQ(core->in_flight(), 0U);
}

TEST(ClientCore, InfoIsHandedOnAndAbsentOtherwise) {
  FakeBroker broker;
  auto core = attached_core(broker);
  shm::InfoExt info;
  info.elapsed_ns = 5;
  std::snprintf(info.servant, sizeof(info.servant), "s1");
  broker.answer_with_info(must_send_text(*core, "a"), bytes_of("x"), info);
  broker.answer(must_send_text(*core, "b"), "y");
  Reply reply;
  ASSERT_EQ(core->poll(reply), Errc::ok);
  ASSERT_TRUE(reply.info);
  EXPECT_EQ(reply.info->elapsed_ns, 5U);
  EXPECT_STREQ(reply.info->servant, "s1");
  EXPECT_EQ(text_of(reply.payload), "x");
  ASSERT_EQ(core->poll(reply), Errc::ok);
  EXPECT_FALSE(reply.info);
}

TEST(ClientCore, StatusOfTheBrokerHasNoPayload) {
  FakeBroker broker;
  auto core = attached_core(broker);
  broker.answer(must_send_text(*core, "a"), "not to be seen", Errc::busy);
  Reply reply;
  ASSERT_EQ(core->poll(reply), Errc::ok);
  EXPECT_EQ(reply.status, Errc::busy);
  EXPECT_TRUE(reply.payload.empty());
}

TEST(ClientCore, FullRingRefusesAndTakesAgainWhenTheBrokerHasRead) {
  FakeBroker broker({.ring_bytes = 4096});
  auto core = attached_core(broker);
  const test::Bytes payload(900);
  int sent = 0;
  while (core->try_send(payload, {})) {
    ASSERT_LT(++sent, 10);
  }
  EXPECT_EQ(core->in_flight(), static_cast<std::size_t>(sent));
  const auto refused = core->try_send(payload, {});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::full);
  broker.read_requests();
  EXPECT_TRUE(core->try_send(payload, {}));
  broker.read_requests();
  ASSERT_EQ(broker.received.size(), static_cast<std::size_t>(sent) + 1);
  for (std::size_t i = 0; i < broker.received.size(); ++i) {
    EXPECT_EQ(broker.received[i].head.id, i + 1);  // a refused attempt uses up no id
  }
}

TEST(ClientCore, TrySendTakesUpToOneFrame) {
  FakeBroker broker({.ring_bytes = 4096});
  auto core = attached_core(broker);
  EXPECT_EQ(core->try_payload_bytes_max(), 1000U);
  EXPECT_TRUE(core->try_send(test::Bytes(1000), {}));
  const auto refused = core->try_send(test::Bytes(1001), {});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::too_large);
}

TEST(ClientCore, RequestsInFlightAreBounded) {
  FakeBroker broker;
  ClientOptions options;
  options.in_flight_max = 2;
  auto core = attached_core(broker, options);
  const std::uint64_t id = must_send_text(*core, "a");
  must_send_text(*core, "b");
  EXPECT_EQ(core->try_send({}, {}).error().code, Errc::full);
  broker.answer(id, "done");
  Reply reply;
  ASSERT_EQ(core->poll(reply), Errc::ok);
  must_send_text(*core, "c");
}

TEST(ClientCore, WaitKeepsTheReplyForPoll) {
  FakeBroker broker;
  auto core = attached_core(broker);
  const std::uint64_t id = must_send_text(*core, "a");
  broker.meanwhile = [&] {
    broker.read_requests();
    if (!broker.received.empty()) {
      broker.received.clear();
      broker.answer(id, "here");
    }
  };
  ASSERT_EQ(core->wait(0), Errc::ok);
  ASSERT_EQ(core->wait(0), Errc::ok);  // still there
  EXPECT_EQ(core->unread(), 1U);
  Reply reply;
  ASSERT_EQ(core->poll(reply), Errc::ok);
  EXPECT_EQ(text_of(reply.payload), "here");
  EXPECT_EQ(core->wait(0), Errc::empty) << "nothing is in flight, so nothing can come";
}

TEST(ClientCore, WaitEndsAtItsDeadline) {
  FakeBroker broker;
  auto core = attached_core(broker);
  must_send_text(*core, "a");
  EXPECT_EQ(core->wait(soon()), Errc::timed_out);
  EXPECT_EQ(core->in_flight(), 1U);
}

TEST(ClientCore, AwaitKeepsOtherAnswersInTheirOrder) {
  FakeBroker broker;
  auto core = attached_core(broker);
  const std::uint64_t a = must_send_text(*core, "a");
  const std::uint64_t b = must_send_text(*core, "b");
  const std::uint64_t c = must_send_text(*core, "c");
  const std::uint64_t d = must_send_text(*core, "d");
  broker.answer(d, "D");
  ASSERT_EQ(core->wait(0), Errc::ok);  // d is what poll() would give
  broker.answer(a, "A");
  broker.answer(c, "C");
  broker.answer(b, "B");
  Reply reply;
  ASSERT_EQ(core->await(c, reply, 0), Errc::ok);
  EXPECT_EQ(text_of(reply.payload), "C");
  ASSERT_EQ(core->await(b, reply, 0), Errc::ok);
  EXPECT_EQ(text_of(reply.payload), "B");
  ASSERT_EQ(core->poll(reply), Errc::ok);
  EXPECT_EQ(text_of(reply.payload), "D");
  ASSERT_EQ(core->poll(reply), Errc::ok);
  EXPECT_EQ(text_of(reply.payload), "A");
  EXPECT_EQ(core->poll(reply), Errc::empty);
  EXPECT_EQ(core->await(c, reply, 0), Errc::invalid) << "completed already";
}

TEST(ClientCore, AwaitStopsWhenTooMuchIsUnread) {
  FakeBroker broker;
  ClientOptions options;
  options.unread_bytes_max = 1;
  auto core = attached_core(broker, options);
  const std::uint64_t a = must_send_text(*core, "a");
  const std::uint64_t b = must_send_text(*core, "b");
  broker.answer(a, "A");
  Reply reply;
  EXPECT_EQ(core->await(b, reply, 0), Errc::full);
  ASSERT_EQ(core->poll(reply), Errc::ok);
  EXPECT_EQ(reply.id, a);
  broker.answer(b, "B");
  EXPECT_EQ(core->await(b, reply, 0), Errc::ok);
}

TEST(ClientCore, CallReturnsAReplyOfItsOwn) {
  FakeBroker broker;
  auto core = attached_core(broker);
  broker.meanwhile = [&] {
    broker.read_requests();
    for (const auto& request : std::exchange(broker.received, {})) {
      broker.answer(request.head.id, "<" + text_of(request.payload) + ">");
    }
  };
  const auto one = core->call(bytes_of("one"), {}, 0);
  const auto two = core->call(bytes_of("two"), {}, 0);
  ASSERT_TRUE(one && two);
  EXPECT_EQ(text_of(one.value()->payload), "<one>");
  EXPECT_EQ(text_of(two.value()->payload), "<two>");
}

TEST(ClientCore, CallTurnsARefusalIntoAnError) {
  FakeBroker broker;
  auto core = attached_core(broker);
  broker.meanwhile = [&] {
    broker.read_requests();
    for (const auto& request : std::exchange(broker.received, {})) {
      broker.answer(request.head.id, "", Errc::no_servant);
    }
  };
  EXPECT_EQ(core->call(bytes_of("x"), {}, 0).error().code, Errc::no_servant);
}

TEST(ClientCore, CallCancelsAtItsDeadlineAndTheLateAnswerIsDropped) {
  FakeBroker broker;
  auto core = attached_core(broker);
  EXPECT_EQ(core->call(bytes_of("slow"), {}, soon()).error().code, Errc::timed_out);
  EXPECT_EQ(core->in_flight(), 0U);
  broker.read_requests();
  broker.read_controls();
  ASSERT_EQ(broker.received.size(), 1U);
  EXPECT_EQ(broker.cancels, std::vector<std::uint64_t>{broker.received[0].head.id});
  broker.answer(broker.received[0].head.id, "late");
  const std::uint64_t next = must_send_text(*core, "next");
  broker.answer(next, "in time");
  Reply reply;
  ASSERT_EQ(core->poll(reply), Errc::ok);
  EXPECT_EQ(reply.id, next);
  EXPECT_EQ(core->late_replies(), 1U);
  EXPECT_EQ(core->poll(reply), Errc::empty);
}

TEST(ClientCore, CancelsThatFindNoRoomAreSentLater) {
  FakeBroker broker;
  auto core = attached_core(broker);
  std::vector<std::uint64_t> ids;
  for (int i = 0; i < 200; ++i) {  // the control ring takes about sixty
    ids.push_back(must_send_text(*core, "x"));
    EXPECT_TRUE(core->cancel(ids.back()));
    EXPECT_FALSE(core->cancel(ids.back()));
  }
  Reply reply;
  for (int i = 0; i < 10 && broker.cancels.size() < ids.size(); ++i) {
    broker.read_controls();
    EXPECT_EQ(core->poll(reply), Errc::empty);
  }
  EXPECT_EQ(broker.cancels, ids);
}

TEST(ClientCore, CancelTakesAwayAnAnswerThatWasKept) {
  FakeBroker broker;
  auto core = attached_core(broker);
  const std::uint64_t a = must_send_text(*core, "a");
  const std::uint64_t b = must_send_text(*core, "b");
  const std::uint64_t c = must_send_text(*core, "c");
  broker.answer(a, "A");
  broker.answer(b, "B");
  broker.answer(c, "C");
  Reply reply;
  ASSERT_EQ(core->await(c, reply, 0), Errc::ok);
  EXPECT_TRUE(core->cancel(a));
  ASSERT_EQ(core->wait(0), Errc::ok);
  EXPECT_TRUE(core->cancel(b));
  EXPECT_EQ(core->poll(reply), Errc::empty);
}

TEST(ClientCore, EventLoopMaySleepOnlyWhenNothingWaits) {
  FakeBroker broker;
  auto core = attached_core(broker);
  EXPECT_EQ(core->fd(), 42);
  const std::uint64_t id = must_send_text(*core, "a");
  EXPECT_TRUE(core->prepare_sleep());
  core->finish_sleep();
  broker.answer(id, "A");
  EXPECT_FALSE(core->prepare_sleep());
  ASSERT_EQ(core->wait(0), Errc::ok);
  EXPECT_FALSE(core->prepare_sleep()) << "poll() has one";
  Reply reply;
  ASSERT_EQ(core->poll(reply), Errc::ok);
  EXPECT_EQ(text_of(reply.payload), "A");
  EXPECT_TRUE(core->prepare_sleep());
}

TEST(ClientCore, ManyLapsThroughATinyRing) {
  FakeBroker broker({.ring_bytes = 4096});
  auto core = attached_core(broker);
  Reply reply;
  for (int i = 0; i < 3000; ++i) {
    const std::string text(static_cast<std::size_t>(i * 7 % 990), static_cast<char>('a' + i % 26));
    const std::uint64_t id = must_send_text(*core, text);
    broker.read_requests();
    ASSERT_EQ(broker.received.size(), 1U);
    ASSERT_TRUE(broker.answer(id, std::exchange(broker.received, {})[0].payload));
    ASSERT_EQ(core->poll(reply), Errc::ok);
    ASSERT_EQ(reply.id, id);
    ASSERT_EQ(text_of(reply.payload), text);
  }
}

}  // namespace
}  // namespace mserve
