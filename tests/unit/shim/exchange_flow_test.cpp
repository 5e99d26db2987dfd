// SPDX-License-Identifier: Apache-2.0
// Large messages, both ways, through rings and streams that are smaller.
#include <gtest/gtest.h>

#include "unit/shim/desk.hpp"

namespace mserve::shim {
namespace {

using kdb::MessageKind;
using kdb::Value;

constexpr std::size_t kSeveralRings = 300'000;  // of a test, in bytes

class ExchangeFlow : public ::testing::TestWithParam<Form> {
 protected:
  static Desk::Shape shape() { return {.form = GetParam()}; }

  /// Takes the next request that q got. @return the query; the qid in `qid_`.
  Value take_request(Desk& d) {
    const auto message = d.q.next();
    if (!message) {
      ADD_FAILURE() << "q got no whole request";
      return {};
    }
    if (GetParam() == Form::plain) {
      return message->value;
    }
    const std::span<const Value> items = message->value.list_items();
    EXPECT_EQ(items.size(), 3U);
    qid_ = items[0].integer().value_or(-1);
    return items[1];
  }
  [[nodiscard]] std::vector<std::byte> answer_message(const Value& result) const {
    return GetParam() == Form::plain
               ? kdb::encode_message(result, MessageKind::response)
               : kdb::encode_message(Value::list({Value::long_atom(qid_), result}),
                                     MessageKind::async);
  }
  void ask(Desk& d, std::uint64_t id) {
    ASSERT_TRUE(d.send(id, text("x")));
    d.run();
    (void)take_request(d);
  }

  std::int64_t qid_ = 0;
};

TEST_P(ExchangeFlow, LargeReplyGoesOnAsItsBytesCome) {
  for (const std::uint64_t ring : {std::uint64_t{4} << 10, std::uint64_t{64} << 10}) {
    Desk d({.form = GetParam(), .ring_bytes = ring});
    ask(d, 1);
    const std::vector<std::byte> message = answer_message(blob(kSeveralRings));
    const std::span<const std::byte> bytes(message);
    d.q.say(bytes.first(100'000));
    EXPECT_EQ(d.run(), Progress::idle);
    EXPECT_GT(d.fragments, 0);  // long before the rest is there
    EXPECT_TRUE(d.replies.empty());
    EXPECT_TRUE(d.q.heard());
    d.q.say(bytes.subspan(100'000));
    EXPECT_EQ(d.run(), Progress::idle);
    EXPECT_EQ(d.reply(1).value(), blob(kSeveralRings));
    EXPECT_EQ(d.reply(1).flags, 0);
    EXPECT_TRUE(d.exchange.idle());
  }
}

TEST_P(ExchangeFlow, LargeReplyByteByByte) {
  Desk d(shape());
  ask(d, 1);
  d.q.bytes_per_receive = 1;
  d.q.say(answer_message(blob(20'000)));
  EXPECT_EQ(d.run(), Progress::idle);
  EXPECT_EQ(d.reply(1).value(), blob(20'000));
}

TEST_P(ExchangeFlow, ReplyOfEverySizeAroundTheLimitsComesWhole) {
  const std::uint64_t ring = 4 << 10;
  const std::size_t frame = shm::whole_payload_bytes_max(ring);
  for (std::size_t size = frame - 30; size <= frame + 30; ++size) {
    Desk d({.form = GetParam(), .ring_bytes = ring});
    ask(d, 1);
    const Value result = blob(size - 6);
    d.q.say(answer_message(result));
    EXPECT_EQ(d.run(), Progress::idle);
    EXPECT_EQ(d.reply(1).value(), result);
    EXPECT_EQ(d.fragments > 0, size > frame) << size;
  }
}

TEST_P(ExchangeFlow, QIsNotReadWhileTheRingIsFull) {
  Desk d(shape());
  ask(d, 1);
  d.q.say(answer_message(blob(kSeveralRings)));
  EXPECT_EQ(d.run(/*reading=*/false), Progress::waits_for_ring);
  EXPECT_FALSE(d.q.heard());
  EXPECT_EQ(d.run(), Progress::idle);
  EXPECT_EQ(d.reply(1).value(), blob(kSeveralRings));
}

TEST_P(ExchangeFlow, SmallRepliesWaitForRoomToo) {
  Desk d({.form = GetParam(), .ring_bytes = 4 << 10, .credit = 8});
  std::vector<std::int64_t> qids;
  for (std::uint64_t id = 0; id < 8; ++id) {
    ask(d, id);
    qids.push_back(qid_);
  }
  for (const std::int64_t qid : qids) {
    qid_ = qid;
    d.q.say(answer_message(blob(700)));
  }
  EXPECT_EQ(d.run(/*reading=*/false), Progress::waits_for_ring);
  EXPECT_EQ(d.run(), Progress::idle);
  for (std::uint64_t id = 0; id < 8; ++id) {
    EXPECT_EQ(d.reply(id).value(), blob(700));
  }
}

TEST_P(ExchangeFlow, MalformedByteInTheMiddleAbortsTheReply) {
  Desk d(shape());
  ask(d, 1);
  std::vector<Value> items(30'000, Value::long_atom(3));
  std::vector<std::byte> message = answer_message(Value::list(std::move(items)));
  message[message.size() - 9] = std::byte{3};  // the type of the last item
  d.q.say(message);
  EXPECT_EQ(d.run(), Progress::q_cut);
  EXPECT_EQ(d.aborts, std::vector<std::uint64_t>{1});
  EXPECT_TRUE(d.replies.empty());
}

TEST_P(ExchangeFlow, ReplyThatIsShorterThanItsMessageIsNeverWhole) {
  Desk d(shape());
  ask(d, 1);
  std::vector<std::byte> message = answer_message(blob(kSeveralRings));
  const std::size_t size = message.size() + 10;
  message.resize(size, std::byte{0});
  for (std::size_t i = 0; i < 4; ++i) {
    message[4 + i] = static_cast<std::byte>(size >> (8 * i));
  }
  d.q.say(message);
  EXPECT_EQ(d.run(), Progress::q_cut);
  EXPECT_EQ(d.aborts.size(), 1U);
  EXPECT_TRUE(d.replies.empty());
}

TEST_P(ExchangeFlow, DeathInTheMiddleOfALargeReplyIsTheSessionsEnd) {
  // No abort: it would give the servant's credit back, and the next request to a dead q.
  Desk d(shape());
  ask(d, 1);
  const std::vector<std::byte> message = answer_message(blob(kSeveralRings));
  d.q.say(std::span(message).first(message.size() / 2));
  d.q.hung_up = true;
  EXPECT_EQ(d.run(), Progress::q_lost);
  EXPECT_TRUE(d.aborts.empty());
  EXPECT_TRUE(d.replies.empty());
}

TEST_P(ExchangeFlow, DeathInASmallReplyLeavesTheRequestToTheBroker) {
  // Nothing has begun: the end of the session lets the broker send it to somebody else.
  Desk d(shape());
  ask(d, 1);
  const std::vector<std::byte> message = answer_message(blob(100));
  d.q.say(std::span(message).first(message.size() / 2));
  d.q.hung_up = true;
  EXPECT_EQ(d.run(), Progress::q_lost);
  EXPECT_TRUE(d.aborts.empty());
  EXPECT_TRUE(d.replies.empty());
}

TEST_P(ExchangeFlow, WhatQSaidBeforeItDiedStillCounts) {
  Desk d(shape());
  ask(d, 1);
  d.q.say(answer_message(text("last words")));
  d.q.hung_up = true;
  d.q.deaf = true;
  EXPECT_EQ(d.run(), Progress::q_lost);
  EXPECT_EQ(d.reply(1).value(), text("last words"));
}

TEST_P(ExchangeFlow, QThatTakesNoMoreBytesIsHeardOut) {
  Desk d({.form = GetParam(), .credit = 2});
  ask(d, 1);
  d.q.deaf = true;
  ASSERT_TRUE(d.send(2, text("never arrives")));
  EXPECT_EQ(d.step(), Progress::worked);
  d.q.say(answer_message(text("last words")));
  EXPECT_EQ(d.run(), Progress::q_lost);
  EXPECT_EQ(d.reply(1).value(), text("last words"));
  EXPECT_EQ(d.replies.size(), 1U);
}

TEST_P(ExchangeFlow, LargeRequestGoesOnAsItsBytesCome) {
  Desk d(shape());
  const std::vector<std::byte> request = kdb::encode(blob(kSeveralRings));
  const std::span<const std::byte> bytes(request);
  ASSERT_TRUE(d.send_fragment(1, 0, bytes.size(), bytes.first(10'000)));
  EXPECT_EQ(d.run(), Progress::idle);
  EXPECT_GT(d.q.received.size(), 10'000U);  // its length is in front: q knows what will come
  EXPECT_EQ(kdb::parse_header(d.q.received)->message_bytes,
            bytes.size() + 8 + (GetParam() == Form::lbt ? 15 + 13 : 0));
  for (std::size_t at = 10'000; at < bytes.size();) {
    const std::size_t now = std::min<std::size_t>(9'000, bytes.size() - at);
    ASSERT_TRUE(d.send_fragment(1, at, bytes.size(), bytes.subspan(at, now)));
    at += now;
    EXPECT_EQ(d.run(), Progress::idle);
  }
  EXPECT_EQ(take_request(d), blob(kSeveralRings));
  d.q.say(answer_message(text("got it")));
  EXPECT_EQ(d.run(), Progress::idle);
  EXPECT_EQ(d.reply(1).value(), text("got it"));
}

TEST_P(ExchangeFlow, RingIsHeldWhileQTakesNothing) {
  Desk d(shape());
  const std::vector<std::byte> request = kdb::encode(blob(kSeveralRings));
  const std::span<const std::byte> bytes(request);
  d.q.room = 1000;
  std::size_t sent = 0;
  while (d.send_fragment(1, sent, bytes.size(), bytes.subspan(sent, 8'000))) {
    sent += 8'000;
    EXPECT_EQ(d.run(), Progress::waits_for_q);
  }
  EXPECT_LT(sent, std::size_t{64} << 10);  // the ring is full: the broker is told to wait
  EXPECT_EQ(d.q.received.size(), 1000U);
  d.q.room = ~std::size_t{0};
  EXPECT_EQ(d.run(), Progress::idle);
  while (sent < bytes.size()) {
    const std::size_t now = std::min<std::size_t>(8'000, bytes.size() - sent);
    ASSERT_TRUE(d.send_fragment(1, sent, bytes.size(), bytes.subspan(sent, now)));
    sent += now;
    EXPECT_EQ(d.run(), Progress::idle);
  }
  EXPECT_EQ(take_request(d), blob(kSeveralRings));
}

TEST_P(ExchangeFlow, WhatComesInBetweenWaitsForTheEndOfTheLargeRequest) {
  Desk d({.form = GetParam(), .credit = 4});
  const std::vector<std::byte> first = kdb::encode(blob(50'000, 1));
  const std::vector<std::byte> second = kdb::encode(blob(40'000, 2));
  const auto part = [](const std::vector<std::byte>& whole, std::size_t at) {
    return std::span(whole).subspan(at, std::min<std::size_t>(10'000, whole.size() - at));
  };
  for (std::size_t at = 0; at < first.size(); at += 10'000) {
    ASSERT_TRUE(d.send_fragment(1, at, first.size(), part(first, at)));
    if (at < second.size()) {
      ASSERT_TRUE(d.send_fragment(2, at, second.size(), part(second, at)));
    }
    if (at == 20'000) {
      ASSERT_TRUE(d.send(3, text("small")));
      ASSERT_TRUE(d.send(4, text("small too")));
    }
    EXPECT_EQ(d.run(), Progress::idle);
  }
  EXPECT_EQ(take_request(d), blob(50'000, 1));
  std::vector<Value> rest = {take_request(d), take_request(d), take_request(d)};
  for (const Value& wanted : {blob(40'000, 2), text("small"), text("small too")}) {
    EXPECT_EQ(std::count(rest.begin(), rest.end(), wanted), 1);
  }
}

INSTANTIATE_TEST_SUITE_P(Forms, ExchangeFlow, ::testing::Values(Form::plain, Form::lbt),
                         [](const auto& form) {
                           return form.param == Form::plain ? "Plain" : "Lbt";
                         });

}  // namespace
}  // namespace mserve::shim
