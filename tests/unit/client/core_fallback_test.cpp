// SPDX-License-Identifier: Apache-2.0
// From one session to the next: local rings first, a gateway else, back again; and requests that
// are sent again.
#include <gtest/gtest.h>

#include "fake_broker.hpp"
#include "mserve/kdb/codec.hpp"
#include "mserve/kdb/value.hpp"
#include "payloads.hpp"

namespace mserve {
namespace {

using kdb::Value;
using test::Bytes;
using test::bytes_of;
using test::encoded_text;
using test::FakeBroker;
using test::text_of;

constexpr std::uint64_t kHour = 3'600'000'000'000;
constexpr SendOptions kRepeatable{.repeatable = true};

Bytes large(std::size_t bytes) {
  return kdb::encode(Value::bytes(std::vector<std::uint8_t>(bytes, 7)));
}

/// A client of a local broker and, while that is absent, of a gateway.
struct Pair {
  explicit Pair(test::FakeOptions local_options = {}, test::FakeOptions far_options = {})
      : local(with(local_options, false, "local")), far(with(far_options, true, "far")) {}

  static test::FakeOptions with(test::FakeOptions options, bool remote, const char* name) {
    options.remote = remote;
    options.name = name;
    return options;
  }

  ClientCore& attach(ClientOptions options = {}) {
    LinkSource source;
    source.any = [this](std::uint64_t ns, std::string* reason) {
      auto link = local.factory()(ns, reason);
      return link ? std::move(link) : far.factory()(ns, reason);
    };
    source.home = local.factory();
    source.keep_copies = true;
    options.idle = shm::IdleStrategy::park;
    options.retry_ns_min = options.retry_ns_max = 1;
    core = std::make_unique<ClientCore>(options, source);
    EXPECT_EQ(core->attach(1, nullptr).code, Errc::ok);
    return *core;
  }

  /// The session of `broker` ends; it takes no other one until `absent` is false again.
  static void lose(FakeBroker& broker, ClientCore& core) {
    broker.die();
    core.finish_sleep();
  }

  FakeBroker local;
  FakeBroker far;
  std::unique_ptr<ClientCore> core;
};

std::uint64_t must_send(ClientCore& core, const Bytes& payload, const SendOptions& options = {}) {
  const auto sent = core.try_send(payload, options);
  EXPECT_TRUE(sent) << to_string(sent.error().code);
  return sent ? sent.value() : 0;
}

TEST(ClientReturn, GoesBackToTheLocalBrokerWhenNothingIsInFlight) {
  Pair pair;
  pair.local.absent = true;
  ClientCore& core = pair.attach({.return_ns = 1});
  EXPECT_EQ(core.endpoint(), "far");
  const std::uint64_t first = must_send(core, encoded_text("x"));
  pair.local.absent = false;
  Reply reply;
  EXPECT_EQ(core.poll(reply), Errc::empty);
  const std::uint64_t second = must_send(core, encoded_text("y"));
  EXPECT_EQ(core.endpoint(), "far") << "requests in flight are not left";
  pair.far.answer(first, encoded_text("1"));
  pair.far.answer(second, encoded_text("2"));
  ASSERT_EQ(core.poll(reply), Errc::ok);
  ASSERT_EQ(core.poll(reply), Errc::ok);
  const std::uint64_t third = must_send(core, encoded_text("z"));
  EXPECT_EQ(core.endpoint(), "local");
  pair.local.read_requests();
  ASSERT_EQ(pair.local.received.size(), 1U);
  EXPECT_EQ(pair.local.received[0].head.id, third);
  pair.local.answer(third, "3");
  ASSERT_EQ(core.poll(reply), Errc::ok);
  EXPECT_EQ(text_of(reply.payload), "3");
}

TEST(ClientReturn, PollingAloneIsEnough) {
  Pair pair;
  pair.local.absent = true;
  ClientCore& core = pair.attach({.return_ns = 1});
  pair.local.absent = false;
  Reply reply;
  EXPECT_EQ(core.poll(reply), Errc::empty);
  EXPECT_EQ(core.endpoint(), "local");
}

TEST(ClientReturn, LooksNowAndThenOnly) {
  Pair pair;
  pair.local.absent = true;
  ClientCore& core = pair.attach({.return_ns = kHour});
  pair.local.absent = false;
  const int attempts = pair.local.attach_attempts;
  Reply reply;
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(core.poll(reply), Errc::empty);
  }
  must_send(core, encoded_text("x"));
  EXPECT_EQ(core.endpoint(), "far");
  EXPECT_EQ(pair.local.attach_attempts, attempts);
}

TEST(ClientReturn, AReplyOnLoanStaysReadable) {
  Pair pair;
  pair.local.absent = true;
  ClientCore& core = pair.attach({.return_ns = 1});
  pair.far.answer(must_send(core, encoded_text("x")), encoded_text("on loan"));
  Reply reply;
  ASSERT_EQ(core.poll(reply), Errc::ok);
  pair.local.absent = false;
  std::weak_ptr<test::Wire> wire = std::exchange(pair.far.wire, nullptr);
  must_send(core, encoded_text("y"));
  EXPECT_EQ(core.endpoint(), "local");
  EXPECT_EQ(Bytes(reply.payload.begin(), reply.payload.end()), encoded_text("on loan"));
  EXPECT_FALSE(wire.expired());
  EXPECT_EQ(core.poll(reply), Errc::empty);
  EXPECT_TRUE(wire.expired());
}

TEST(ClientReturn, StaysWhereItIsWhenReconnectIsOff) {
  Pair pair;
  pair.local.absent = true;
  ClientCore& core = pair.attach({.reconnect = false, .return_ns = 1});
  pair.local.absent = false;
  Reply reply;
  EXPECT_EQ(core.poll(reply), Errc::empty);
  must_send(core, encoded_text("x"));
  EXPECT_EQ(core.endpoint(), "far");
}

TEST(ClientResend, RepeatableRequestsAreSentOnTheNextSessionAsTheyWere) {
  Pair pair;
  ClientCore& core = pair.attach();
  const SendOptions options{.route = 7, .want_info = true, .repeatable = true};
  const std::uint64_t first = must_send(core, encoded_text("1"), options);
  const std::uint64_t once = must_send(core, encoded_text("once"));
  const std::uint64_t second = must_send(core, encoded_text("2"), options);
  Pair::lose(pair.local, core);
  Reply reply;
  ASSERT_EQ(core.poll(reply), Errc::ok);
  EXPECT_EQ(reply.id, once);
  EXPECT_EQ(reply.status, Errc::disconnected);
  EXPECT_EQ(core.in_flight(), 2U);
  EXPECT_EQ(core.poll(reply), Errc::empty);
  EXPECT_EQ(core.endpoint(), "far");
  pair.far.read_requests();
  ASSERT_EQ(pair.far.received.size(), 2U);
  EXPECT_EQ(pair.far.received[0].head.id, first);
  EXPECT_EQ(pair.far.received[0].head.aux, 7U);
  EXPECT_EQ(pair.far.received[0].head.flags, shm::kFlagWantInfo | shm::kFlagRepeatable);
  EXPECT_EQ(pair.far.received[0].payload, encoded_text("1"));
  EXPECT_EQ(pair.far.received[1].head.id, second);
  pair.far.answer(second, encoded_text("two"));
  pair.far.answer(first, encoded_text("one"));
  ASSERT_EQ(core.poll(reply), Errc::ok);
  EXPECT_EQ(reply.id, second);
  EXPECT_EQ(Bytes(reply.payload.begin(), reply.payload.end()), encoded_text("two"));
  ASSERT_EQ(core.poll(reply), Errc::ok);
  EXPECT_EQ(reply.id, first);
  EXPECT_EQ(core.poll(reply), Errc::empty);
  EXPECT_EQ(core.in_flight(), 0U);
}

TEST(ClientResend, NeverASecondTime) {
  Pair pair;
  ClientCore& core = pair.attach();
  const std::uint64_t id = must_send(core, encoded_text("x"), kRepeatable);
  Pair::lose(pair.local, core);
  Reply reply;
  EXPECT_EQ(core.poll(reply), Errc::empty);
  Pair::lose(pair.far, core);
  ASSERT_EQ(core.poll(reply), Errc::ok);
  EXPECT_EQ(reply.id, id);
  EXPECT_EQ(reply.status, Errc::disconnected);
  EXPECT_EQ(core.poll(reply), Errc::not_attached);
}

TEST(ClientResend, NotWhenTheAnswerHadArrivedOrBegunTo) {
  Pair pair;
  ClientCore& core = pair.attach();
  const std::uint64_t answered = must_send(core, encoded_text("1"), kRepeatable);
  const std::uint64_t begun = must_send(core, encoded_text("2"), kRepeatable);
  const std::uint64_t waiting = must_send(core, encoded_text("3"), kRepeatable);
  pair.local.answer(answered, "answer");
  pair.local.fragment(begun, 0, 100, bytes_of("begun"));
  Pair::lose(pair.local, core);
  Reply reply;
  ASSERT_EQ(core.poll(reply), Errc::ok);
  EXPECT_EQ(reply.id, answered);
  EXPECT_EQ(text_of(reply.payload), "answer");
  ASSERT_EQ(core.poll(reply), Errc::ok);
  EXPECT_EQ(reply.id, begun);
  EXPECT_EQ(reply.status, Errc::disconnected);
  EXPECT_EQ(core.poll(reply), Errc::empty);
  pair.far.read_requests();
  ASSERT_EQ(pair.far.received.size(), 1U);
  EXPECT_EQ(pair.far.received[0].head.id, waiting);
}

TEST(ClientResend, CopiesAreBoundedAndGoWithTheirAnswers) {
  Pair pair;
  ClientCore& core = pair.attach({.resend_bytes_max = 25'000});
  const Bytes payload = large(10'000);
  Reply reply;
  for (int i = 0; i < 10; ++i) {
    pair.local.answer(must_send(core, payload, kRepeatable), "x");
    pair.local.read_requests();
    ASSERT_EQ(core.poll(reply), Errc::ok);
  }
  must_send(core, payload, kRepeatable);
  must_send(core, payload, kRepeatable);
  const std::uint64_t beyond = must_send(core, payload, kRepeatable);
  Pair::lose(pair.local, core);
  ASSERT_EQ(core.poll(reply), Errc::ok);
  EXPECT_EQ(reply.id, beyond);
  EXPECT_EQ(reply.status, Errc::disconnected);
  EXPECT_EQ(core.poll(reply), Errc::empty);
  pair.far.read_requests();
  EXPECT_EQ(pair.far.received.size(), 2U);
}

TEST(ClientResend, NothingIsKeptWhenTheBoundIsZero) {
  Pair pair;
  ClientCore& core = pair.attach({.resend_bytes_max = 0});
  must_send(core, {}, {.repeatable = true, .opaque = true});
  Pair::lose(pair.local, core);
  Reply reply;
  ASSERT_EQ(core.poll(reply), Errc::ok);
  EXPECT_EQ(reply.status, Errc::disconnected);
}

TEST(ClientResend, WaitsForASessionButNotForEver) {
  Pair pair;
  pair.far.absent = true;
  ClientCore& core = pair.attach({.resend_ns_max = 20'000'000});
  const std::uint64_t id = must_send(core, encoded_text("x"), kRepeatable);
  Pair::lose(pair.local, core);
  Reply reply;
  EXPECT_EQ(core.await(id, reply, shm::steady_now() + 1'000'000), Errc::timed_out);
  EXPECT_EQ(core.in_flight(), 1U);
  EXPECT_EQ(core.wait(0), Errc::ok);
  ASSERT_EQ(core.poll(reply), Errc::ok);
  EXPECT_EQ(reply.id, id);
  EXPECT_EQ(reply.status, Errc::disconnected);
  EXPECT_EQ(core.wait(0), Errc::not_attached);
}

TEST(ClientResend, AwaitGoesOnAcrossSessions) {
  Pair pair;
  ClientCore& core = pair.attach();
  const std::uint64_t id = must_send(core, encoded_text("x"), kRepeatable);
  pair.local.meanwhile = [&] { pair.local.die(); };
  pair.far.meanwhile = [&] {
    pair.far.read_requests();
    for (const auto& request : std::exchange(pair.far.received, {})) {
      pair.far.answer(request.head.id, request.payload);
    }
  };
  Reply reply;
  ASSERT_EQ(core.await(id, reply, 0), Errc::ok);
  EXPECT_EQ(reply.status, Errc::ok);
  EXPECT_EQ(Bytes(reply.payload.begin(), reply.payload.end()), encoded_text("x"));
}

TEST(ClientResend, CallIsAnsweredByTheNextSession) {
  Pair pair;
  ClientCore& core = pair.attach();
  pair.local.meanwhile = [&] { pair.local.die(); };
  pair.far.meanwhile = [&] {
    pair.far.read_requests();
    for (const auto& request : std::exchange(pair.far.received, {})) {
      pair.far.answer(request.head.id, request.payload);
    }
  };
  const auto reply = core.call(encoded_text("x"), kRepeatable, 0);
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply.value()->status, Errc::ok);
  EXPECT_EQ(core.call(encoded_text("y"), {}, 0).value()->status, Errc::ok);
}

TEST(ClientResend, ACancelledRequestIsNotSent) {
  Pair pair;
  pair.far.absent = true;
  ClientCore& core = pair.attach();
  const std::uint64_t cancelled = must_send(core, encoded_text("1"), kRepeatable);
  const std::uint64_t wanted = must_send(core, encoded_text("2"), kRepeatable);
  Pair::lose(pair.local, core);
  EXPECT_TRUE(core.cancel(cancelled));
  EXPECT_FALSE(core.cancel(cancelled));
  pair.far.absent = false;
  Reply reply;
  EXPECT_EQ(core.poll(reply), Errc::empty);
  pair.far.read_requests();
  ASSERT_EQ(pair.far.received.size(), 1U);
  EXPECT_EQ(pair.far.received[0].head.id, wanted);
}

TEST(ClientResend, NothingElseGoesBeforeIt) {
  Pair pair({}, {.ring_bytes = 4096});
  ClientCore& core = pair.attach();
  const Bytes payload = large(900);
  std::vector<std::uint64_t> ids;
  for (int i = 0; i < 10; ++i) {
    ids.push_back(must_send(core, payload, kRepeatable));
  }
  Pair::lose(pair.local, core);
  EXPECT_EQ(core.try_send(encoded_text("new"), {}).error().code, Errc::full);
  EXPECT_EQ(core.in_flight(), 10U);
  Reply reply;
  while (pair.far.received.size() < 10) {
    pair.far.read_requests();
    ASSERT_EQ(core.poll(reply), Errc::empty);
  }
  ids.push_back(must_send(core, encoded_text("new"), {}));
  pair.far.read_requests();
  ASSERT_EQ(pair.far.received.size(), ids.size());
  for (std::size_t i = 0; i < ids.size(); ++i) {
    EXPECT_EQ(pair.far.received[i].head.id, ids[i]);
  }
}

TEST(ClientResend, LargeRequestsAreSentAgainInFragments) {
  Pair pair({.ring_bytes = 65536}, {.ring_bytes = 4096});
  ClientCore& core = pair.attach();
  pair.local.meanwhile = [&] { pair.local.read_requests(); };
  const Bytes payload = large(200'000);
  const auto sent = core.send(payload, kRepeatable, 0);
  ASSERT_TRUE(sent);
  const std::uint64_t small = must_send(core, encoded_text("x"), kRepeatable);
  Pair::lose(pair.local, core);
  Reply reply;
  while (pair.far.received.size() < 2) {
    ASSERT_EQ(core.poll(reply), Errc::empty);
    pair.far.read_requests();
  }
  EXPECT_EQ(pair.far.received[0].head.id, sent.value());
  EXPECT_EQ(pair.far.received[0].payload, payload);
  EXPECT_EQ(pair.far.received[1].head.id, small);
  EXPECT_EQ(core.in_flight(), 2U);
}

/// A client whose large request is being sent again, to a session of `far` kind, half-way.
void begin_large_again(Pair& pair, ClientCore& core, std::uint64_t& id) {
  pair.local.meanwhile = [&] { pair.local.read_requests(); };
  id = core.send(large(100'000), kRepeatable, 0).value();
  Pair::lose(pair.local, core);
  Reply reply;
  ASSERT_EQ(core.poll(reply), Errc::empty);
  pair.far.read_requests();
  ASSERT_TRUE(pair.far.received.empty()) << "the ring is too small for all of it";
}

TEST(ClientResend, AGatewayGetsALargeRequestToItsEndEvenWhenItIsCancelled) {
  for (const bool cancel : {true, false}) {
    Pair pair({.ring_bytes = 65536}, {.ring_bytes = 4096});
    ClientCore& core = pair.attach();
    std::uint64_t id = 0;
    begin_large_again(pair, core, id);
    Reply reply;
    if (cancel) {
      EXPECT_TRUE(core.cancel(id));
    } else {
      pair.far.answer(id, encoded_text("early"));
      ASSERT_EQ(core.poll(reply), Errc::ok);
    }
    while (pair.far.received.empty()) {
      ASSERT_EQ(core.poll(reply), Errc::empty);
      pair.far.read_requests();
    }
    EXPECT_TRUE(pair.far.aborts.empty());
    EXPECT_EQ(core.in_flight(), 0U);
    must_send(core, encoded_text("next"), {});
  }
}

TEST(ClientResend, ALocalBrokerIsToldThatALargeRequestWillNotBeCompleted) {
  for (const bool cancel : {true, false}) {
    FakeBroker first({.ring_bytes = 65536});
    FakeBroker next({.ring_bytes = 4096});
    bool moved = false;
    LinkSource source([&](std::uint64_t ns, std::string* reason) {
      return (moved ? next : first).factory()(ns, reason);
    });
    source.keep_copies = true;
    ClientOptions options;
    options.idle = shm::IdleStrategy::park;
    ClientCore core(options, source);
    ASSERT_EQ(core.attach(1, nullptr).code, Errc::ok);
    first.meanwhile = [&] { first.read_requests(); };
    const std::uint64_t id = core.send(large(100'000), kRepeatable, 0).value();
    moved = true;
    Pair::lose(first, core);
    Reply reply;
    ASSERT_EQ(core.poll(reply), Errc::empty);
    if (cancel) {
      EXPECT_TRUE(core.cancel(id));
    } else {
      next.answer(id, "", Errc::busy);
      ASSERT_EQ(core.poll(reply), Errc::ok);
      EXPECT_EQ(reply.status, Errc::busy);
    }
    next.read_requests();
    EXPECT_EQ(core.poll(reply), Errc::empty);
    next.read_requests();
    EXPECT_EQ(next.aborts, std::vector<std::uint64_t>{id});
    EXPECT_TRUE(next.received.empty());
    must_send(core, encoded_text("next"), {});
  }
}

TEST(ClientResend, WhatTheNextSessionCannotTakeIsDisconnected) {
  Pair pair({}, {.message_bytes_max = 1000});
  ClientCore& core = pair.attach();
  const std::uint64_t opaque =
      must_send(core, bytes_of("bytes"), {.repeatable = true, .opaque = true});
  const std::uint64_t no_object = must_send(core, bytes_of("bytes"), kRepeatable);
  const std::uint64_t too_large = must_send(core, large(2000), kRepeatable);
  const std::uint64_t fine = must_send(core, encoded_text("x"), kRepeatable);
  Pair::lose(pair.local, core);
  Reply reply;
  for (const std::uint64_t id : {opaque, no_object, too_large}) {
    ASSERT_EQ(core.wait(0), Errc::ok);
    ASSERT_EQ(core.poll(reply), Errc::ok);
    EXPECT_EQ(reply.id, id);
    EXPECT_EQ(reply.status, Errc::disconnected);
  }
  pair.far.read_requests();
  ASSERT_EQ(pair.far.received.size(), 1U);
  EXPECT_EQ(pair.far.received[0].head.id, fine);
}

TEST(ClientResend, NothingIsKeptWhereThereIsNoOtherWay) {
  FakeBroker broker;
  auto core = test::attached_core(broker);
  const std::uint64_t id = must_send(*core, encoded_text("x"), kRepeatable);
  broker.wire->hung_up = true;
  core->finish_sleep();
  Reply reply;
  ASSERT_EQ(core->poll(reply), Errc::ok);
  EXPECT_EQ(reply.id, id);
  EXPECT_EQ(reply.status, Errc::disconnected);
}

TEST(ClientPair, AServantsOwnInfoIsSplitOffTheResult) {
  FakeBroker broker;
  auto core = test::attached_core(broker);
  const Value own = Value::dict(Value::symbols({"rows"}), Value::longs({5}));
  Bytes payload = encoded_text("result");
  const Bytes behind = kdb::encode(own);
  payload.insert(payload.end(), behind.begin(), behind.end());
  auto head = FakeBroker::reply_head(must_send(*core, encoded_text("x")));
  head.flags = shm::kFlagPair;
  ASSERT_TRUE(shm::try_send_whole(broker.replies, head, {}, payload));
  Reply reply;
  ASSERT_EQ(core->poll(reply), Errc::ok);
  EXPECT_EQ(Bytes(reply.payload.begin(), reply.payload.end()), encoded_text("result"));
  EXPECT_EQ(kdb::decode(reply.info_object).value(), own);
  EXPECT_FALSE(reply.info_complete);
  head.id = must_send(*core, encoded_text("y"));
  ASSERT_TRUE(shm::try_send_whole(broker.replies, head, {}, bytes_of("no pair")));
  ASSERT_EQ(core->poll(reply), Errc::ok);
  EXPECT_EQ(text_of(reply.payload), "no pair") << "like any other payload that is no object";
  EXPECT_TRUE(reply.info_object.empty());
}

}  // namespace
}  // namespace mserve
