// SPDX-License-Identifier: Apache-2.0
// A q that nobody changed: sync messages there, responses back.
#include <gtest/gtest.h>

#include "mserve/kdb/compress.hpp"
#include "unit/shim/desk.hpp"

namespace mserve::shim {
namespace {

using kdb::MessageKind;
using kdb::Value;

Value nested(std::size_t levels) {
  Value value = Value::long_atom(1);
  for (std::size_t i = 1; i < levels; ++i) {
    value = Value::list({value});
  }
  return value;
}

TEST(ExchangePlain, QueryIsASyncMessageAndTheResponseItsReply) {
  Desk d;
  ASSERT_TRUE(d.send(5, text("1+1")));
  d.run();
  const auto message = d.q.next();
  ASSERT_TRUE(message);
  EXPECT_EQ(message->header.kind, MessageKind::sync);
  EXPECT_EQ(message->value, text("1+1"));
  EXPECT_TRUE(d.q.received.empty());
  EXPECT_TRUE(d.replies.empty());

  d.q.respond(Value::long_atom(2));
  EXPECT_EQ(d.run(), Progress::idle);
  const Reply reply = d.reply(5);
  EXPECT_EQ(Desk::status(reply), Errc::ok);
  EXPECT_EQ(reply.flags, 0);
  EXPECT_EQ(reply.value(), Value::long_atom(2));
  EXPECT_TRUE(d.exchange.idle());
}

TEST(ExchangePlain, ErrorOfQIsAFailedReply) {
  Desk d;
  ASSERT_TRUE(d.send(5, text("oops")));
  d.run();
  d.q.respond(Value::error("type"));
  d.run();
  EXPECT_EQ(Desk::status(d.reply(5)), Errc::failed);
  EXPECT_EQ(d.reply(5).error_text(), "type");
}

TEST(ExchangePlain, OptionsOfAClientAreDropped) {
  Desk d;
  const Value options = Value::dict(Value::symbols({"a"}), Value::longs({1}));
  ASSERT_TRUE(d.send_pair(5, text("f 1"), options));
  d.run();
  const auto message = d.q.next();
  ASSERT_TRUE(message);
  EXPECT_EQ(message->value, text("f 1"));
}

TEST(ExchangePlain, WhatQCannotServeIsRefusedAndQSeesNothing) {
  const std::vector<std::byte> good = kdb::encode(text("x"));
  std::vector<std::byte> trailing = good;
  trailing.push_back(std::byte{1});
  const std::vector<std::byte> cut(good.begin(), good.end() - 1);
  struct Case {
    std::vector<std::byte> payload;
    std::uint8_t flags;
    const char* error;
  };
  const std::vector<Case> cases = {
      {good, shm::kFlagOpaque, "opaque requests are not served by q"},
      {trailing, 0, "badmsg"},
      {cut, 0, "badmsg"},
      {{}, 0, "badmsg"},
      {kdb::encode(Value::error("sly")), 0, "badmsg"},
      {good, shm::kFlagPair, "badmsg"},
      {Desk::pair(text("x"), Value::long_atom(1)), shm::kFlagPair, "badmsg"},
      {trailing, shm::kFlagPair, "badmsg"},
  };
  Desk d;
  std::uint64_t id = 0;
  for (const Case& c : cases) {
    ASSERT_TRUE(d.send(++id, c.payload, c.flags));
    EXPECT_EQ(d.run(), Progress::idle);
    EXPECT_EQ(Desk::status(d.reply(id)), Errc::failed);
    EXPECT_EQ(d.reply(id).error_text(), c.error) << id;
  }
  EXPECT_TRUE(d.q.received.empty());
  EXPECT_TRUE(d.exchange.idle());
}

TEST(ExchangePlain, DeepestQueryPassesAndADeeperOneIsLimit) {
  Desk d;
  ASSERT_TRUE(d.send(1, nested(kdb::kDepthMax)));
  d.run();
  EXPECT_TRUE(d.q.next());
  d.q.respond(Value());
  std::vector<std::byte> deeper = {std::byte{0}, std::byte{0}, std::byte{1},
                                   std::byte{0}, std::byte{0}, std::byte{0}};
  const std::vector<std::byte> inside = kdb::encode(nested(kdb::kDepthMax));
  deeper.insert(deeper.end(), inside.begin(), inside.end());
  d.run();
  ASSERT_TRUE(d.send(2, deeper));
  d.run();
  EXPECT_EQ(d.reply(2).error_text(), "limit");
}

TEST(ExchangePlain, ResponsesBelongToRequestsInTheirOrder) {
  Desk d({.credit = 3});
  for (const std::uint64_t id : {30U, 10U, 20U}) {
    ASSERT_TRUE(d.send(id, Value::long_atom(static_cast<std::int64_t>(id))));
  }
  d.run();
  d.q.respond(Value::long_atom(-30));
  d.q.respond(Value::error("no"));
  d.q.respond(Value::long_atom(-20));
  d.run();
  EXPECT_EQ(d.reply(30).value(), Value::long_atom(-30));
  EXPECT_EQ(d.reply(10).error_text(), "no");
  EXPECT_EQ(d.reply(20).value(), Value::long_atom(-20));
}

TEST(ExchangePlain, ARequestBeyondTheCreditIsABreach) {
  Desk d({.credit = 2});
  for (std::uint64_t id = 1; id <= 3; ++id) {
    ASSERT_TRUE(d.send(id, text("x")));
  }
  EXPECT_EQ(d.run(), Progress::broker_broken);
  EXPECT_EQ(d.exchange.fault(), Errc::protocol);
}

TEST(ExchangePlain, BytesMayComeOneByOne) {
  Desk d;
  d.q.bytes_per_receive = 1;
  ASSERT_TRUE(d.send(1, text("x")));
  d.run();
  d.q.respond(text("one by one"));
  EXPECT_EQ(d.run(), Progress::idle);
  EXPECT_EQ(d.reply(1).value(), text("one by one"));
}

TEST(ExchangePlain, BytesMayGoOneByOne) {
  Desk d({.credit = 2});
  d.q.room = 0;
  ASSERT_TRUE(d.send(1, text("slow")));
  ASSERT_TRUE(d.send(2, text("ly")));
  EXPECT_EQ(d.run(), Progress::waits_for_q);
  while (d.q.received.size() < 2 * (8 + 6) + 6) {
    d.q.room = 1;
    (void)d.run();
  }
  EXPECT_EQ(d.q.next()->value, text("slow"));
  EXPECT_EQ(d.q.next()->value, text("ly"));
}

TEST(ExchangePlain, BigEndianRepliesAreTurnedRound) {
  Desk d;
  const Value value =
      Value::table({"sym", "px"}, {Value::symbols({"IBM"}), Value::floats({101.5})});
  for (std::uint64_t id = 1; id <= 2; ++id) {
    ASSERT_TRUE(d.send(id, text("x")));
    d.run();
    d.q.say(id == 1 ? value : Value::error("type"), MessageKind::response, kdb::ByteOrder::big);
    EXPECT_EQ(d.run(), Progress::idle);
  }
  EXPECT_EQ(d.reply(1).value(), value);
  EXPECT_EQ(Desk::status(d.reply(2)), Errc::failed);
  EXPECT_EQ(d.reply(2).error_text(), "type");
}

TEST(ExchangePlain, CompressedRepliesAreUnpacked) {
  for (const kdb::ByteOrder order : {kdb::ByteOrder::little, kdb::ByteOrder::big}) {
    for (const std::size_t chunk : {std::size_t{1} << 20, std::size_t{1}}) {
      Desk d;
      d.q.bytes_per_receive = chunk;
      const Value value = Value::longs(std::vector<std::int64_t>(20'000, 42));
      ASSERT_TRUE(d.send(1, text("x")));
      d.run();
      const auto packed = kdb::compress(kdb::encode_message(value, MessageKind::response, order));
      ASSERT_TRUE(packed);
      d.q.say(*packed);
      EXPECT_EQ(d.run(), Progress::idle);
      EXPECT_EQ(d.reply(1).value(), value);
    }
  }
}

TEST(ExchangePlain, WhatMustBeHeldWholeAndIsTooLargeIsLimitAndServiceGoesOn) {
  Desk d({.max_gathered = 100'000});
  const Value zeros = Value::longs(std::vector<std::int64_t>(100'000, 0));
  const auto packed = kdb::compress(kdb::encode_message(zeros, MessageKind::response));
  ASSERT_TRUE(packed);
  ASSERT_LT(packed->size(), 100'000U);  // small on the wire, too large unpacked
  const std::vector<std::vector<std::byte>> messages = {
      *packed, kdb::encode_message(zeros, MessageKind::response, kdb::ByteOrder::big)};
  std::uint64_t id = 0;
  for (const auto& message : messages) {
    ASSERT_TRUE(d.send(++id, text("x")));
    d.run();
    d.q.say(message);
    EXPECT_EQ(d.run(), Progress::idle);
    EXPECT_EQ(d.reply(id).error_text(), "limit");
  }
  ASSERT_TRUE(d.send(++id, text("x")));
  d.run();
  d.q.respond(Value::long_atom(1));
  EXPECT_EQ(d.run(), Progress::idle);
  EXPECT_EQ(d.reply(id).value(), Value::long_atom(1));
}

TEST(ExchangePlain, AReplyAboveTheBrokersBoundIsLimitAndServiceGoesOn) {
  Desk d({.message_bytes_max = 100'000});
  ASSERT_TRUE(d.send(1, text("x")));
  d.run();
  d.q.respond(blob(100'001));
  d.run();
  EXPECT_EQ(d.reply(1).error_text(), "limit");
  ASSERT_TRUE(d.send(2, text("x")));
  d.run();
  d.q.respond(blob(99'000));
  EXPECT_EQ(d.run(), Progress::idle);
  EXPECT_EQ(d.reply(2).value(), blob(99'000));
}

TEST(ExchangePlain, MalformedRepliesAreAnErrorAndTheEndOfTheConnection) {
  std::vector<std::byte> bad_type = kdb::encode_message(Value::long_atom(1), MessageKind::response);
  bad_type[8] = std::byte{3};
  std::vector<std::byte> longer = kdb::encode_message(text("abc"), MessageKind::response);
  longer[4] = std::byte{18};  // one byte more than the object has
  longer.push_back(std::byte{0});
  std::vector<std::byte> big =
      kdb::encode_message(text("abc"), MessageKind::response, kdb::ByteOrder::big);
  big[13] = std::byte{9};
  std::vector<std::byte> packed = *kdb::compress(
      kdb::encode_message(Value::longs(std::vector<std::int64_t>(5000, 7)), MessageKind::response));
  packed.resize(packed.size() - 4);
  packed[4] = static_cast<std::byte>(packed.size() & 0xff);
  packed[5] = static_cast<std::byte>(packed.size() >> 8);
  for (const auto& message : {bad_type, longer, big, packed}) {
    Desk d;
    ASSERT_TRUE(d.send(1, text("x")));
    d.run();
    d.q.say(message);
    EXPECT_EQ(d.run(), Progress::q_cut);
    EXPECT_EQ(Desk::status(d.reply(1)), Errc::failed);
    EXPECT_EQ(d.reply(1).error_text(), "badmsg");
    EXPECT_FALSE(d.exchange.fault_text().empty());
  }
}

TEST(ExchangePlain, AMalformedReplyEndsTheSessionWhenQOwesMore) {
  Desk d({.credit = 2});
  ASSERT_TRUE(d.send(1, text("x")));
  ASSERT_TRUE(d.send(2, text("y")));
  d.run();
  std::vector<std::byte> message = kdb::encode_message(text("abc"), MessageKind::response);
  message[8] = std::byte{3};
  d.q.say(message);
  EXPECT_EQ(d.run(), Progress::q_lost);
  EXPECT_EQ(d.run(), Progress::q_lost);  // whatever is tried
  EXPECT_EQ(d.reply(1).error_text(), "badmsg");
  EXPECT_EQ(d.replies.size(), 1U);
}

TEST(ExchangePlain, AfterAMalformedReplyTheSessionGoesOnOverANewConnection) {
  Desk d;
  ASSERT_TRUE(d.send(1, text("x")));
  d.run();
  std::vector<std::byte> message = kdb::encode_message(text("abc"), MessageKind::response);
  message[8] = std::byte{3};
  d.q.say(message);
  EXPECT_EQ(d.run(), Progress::q_cut);
  ASSERT_TRUE(d.send(2, text("y")));
  EXPECT_EQ(d.run(), Progress::q_cut);
  d.q.received.clear();
  d.exchange.connect(Form::plain, 6);
  d.run();
  EXPECT_TRUE(d.q.next());
  d.q.respond(Value::long_atom(2));
  EXPECT_EQ(d.run(), Progress::idle);
  EXPECT_EQ(d.reply(2).value(), Value::long_atom(2));
}

TEST(ExchangePlain, AMalformedReplyWithoutRoomForItsErrorEndsTheSession) {
  // Otherwise its request would never be answered.
  Desk d({.ring_bytes = 4 << 10});
  ASSERT_TRUE(d.send(1, text("x")));
  d.run();
  while (shm::try_send_whole(d.shim_out, Desk::header(9, 0, shm::Kind::window), {}, {})) {
  }
  std::vector<std::byte> message = kdb::encode_message(text("abc"), MessageKind::response);
  message[8] = std::byte{3};
  d.q.say(message);
  EXPECT_EQ(d.step(), Progress::q_lost);
}

TEST(ExchangePlain, ABadHeaderEndsTheConnectionWithoutAReply) {
  // Whatever this is, it is no answer: the broker decides what becomes of the request.
  Desk d;
  ASSERT_TRUE(d.send(1, text("x")));
  d.run();
  const std::vector<std::byte> http(64, std::byte{'H'});
  d.q.say(http);
  EXPECT_EQ(d.run(), Progress::q_lost);
  EXPECT_TRUE(d.replies.empty());
}

TEST(ExchangePlain, UnaskedMessagesOfQAreToldAndStopNothing) {
  Desk d;
  d.q.say(Value::list({Value::symbol("upd"), blob(200'000)}), MessageKind::async);
  EXPECT_EQ(d.run(), Progress::idle);
  EXPECT_EQ(d.warnings.size(), 1U);
  ASSERT_TRUE(d.send(1, text("x")));
  d.run();
  EXPECT_TRUE(d.q.next());
  d.q.say(Value::long_atom(1), MessageKind::async);
  d.q.respond(Value::long_atom(2));
  d.run();
  EXPECT_EQ(d.reply(1).value(), Value::long_atom(2));
}

TEST(ExchangePlain, SyncMessagesOfQAreAnsweredWithNyi) {
  Desk d;
  d.q.say(text("give me something"), MessageKind::sync);
  d.q.say(text("please"), MessageKind::sync);
  EXPECT_EQ(d.run(), Progress::idle);
  for (int i = 0; i < 2; ++i) {
    const auto message = d.q.next();
    ASSERT_TRUE(message);
    EXPECT_EQ(message->header.kind, MessageKind::response);
    EXPECT_EQ(message->value, Value::error("nyi"));
  }
  EXPECT_TRUE(d.replies.empty());
  EXPECT_TRUE(d.exchange.idle());
}

TEST(ExchangePlain, AResponseThatNobodyAskedForEndsTheConnection) {
  Desk d;
  d.q.respond(Value::long_atom(1));
  EXPECT_EQ(d.run(), Progress::q_cut);
}

TEST(ExchangePlain, AnAnswerBeforeTheQuestionIsWholeEndsTheConnection) {
  Desk d;
  d.q.room = 4;
  ASSERT_TRUE(d.send(1, text("x")));
  EXPECT_EQ(d.run(), Progress::waits_for_q);
  d.q.respond(Value::long_atom(1));
  EXPECT_EQ(d.run(), Progress::q_lost);
  EXPECT_TRUE(d.replies.empty());
}

TEST(ExchangePlain, AnIdleQIsLookedAtOnlyWhenAsked) {
  Desk d;
  EXPECT_EQ(d.step(/*look=*/false), Progress::idle);
  EXPECT_EQ(d.q.looks, 0);
  EXPECT_EQ(d.step(/*look=*/true), Progress::idle);
  EXPECT_EQ(d.q.looks, 1);
}

TEST(ExchangePlain, ASmallRequestCostsOneSendAndItsReplyOneReceive) {
  Desk d;
  ASSERT_TRUE(d.send(1, text("x")));
  EXPECT_EQ(d.step(), Progress::worked);
  ASSERT_TRUE(d.q.next());
  EXPECT_EQ(d.q.looks, 0);
  d.q.respond(Value::long_atom(1));
  EXPECT_EQ(d.step(), Progress::worked);
  EXPECT_EQ(d.q.looks, 1);
  d.read();
  EXPECT_EQ(d.reply(1).value(), Value::long_atom(1));
}

}  // namespace
}  // namespace mserve::shim
