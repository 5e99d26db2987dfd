// SPDX-License-Identifier: Apache-2.0
// Large requests that end badly, and what else waits meanwhile.
#include <gtest/gtest.h>

#include "unit/shim/desk.hpp"

namespace mserve::shim {
namespace {

using kdb::Value;

constexpr std::size_t kLarge = 100'000;

/// Sends the first bytes of a large request and lets q have them.
void begin(Desk& d, std::uint64_t id, std::size_t bytes = 10'000) {
  const std::vector<std::byte> request = kdb::encode(blob(kLarge));
  ASSERT_TRUE(d.send_fragment(id, 0, request.size(), std::span(request).first(bytes)));
  ASSERT_EQ(d.run(), Progress::idle);
}

TEST(ExchangeRefusal, RefusedFromTheStartItsRestIsPassedOver) {
  const std::vector<std::byte> bad_type(20'000, std::byte{3});
  const std::vector<std::byte> good = kdb::encode(blob(20'000));
  for (const Form form : {Form::plain, Form::lbt}) {
    for (const bool opaque : {false, true}) {
      Desk d({.form = form});
      const std::span<const std::byte> bytes(opaque ? good : bad_type);
      const std::uint8_t flags = opaque ? shm::kFlagOpaque : std::uint8_t{0};
      ASSERT_TRUE(d.send_fragment(1, 0, bytes.size(), bytes.first(10'000), flags));
      EXPECT_EQ(d.run(), Progress::idle);
      EXPECT_EQ(d.reply(1).error_text(), opaque ? "opaque requests are not served by q" : "badmsg");
      // The broker sent more before it saw that, and the next request behind it.
      ASSERT_TRUE(d.send_fragment(1, 10'000, bytes.size(), bytes.subspan(10'000, 5'000), flags));
      ASSERT_TRUE(d.send(2, text("next")));
      EXPECT_EQ(d.run(), Progress::idle);
      EXPECT_TRUE(d.q.next());
      EXPECT_TRUE(d.q.received.empty());
      EXPECT_EQ(d.replies.size(), 1U);
    }
  }
}

TEST(ExchangeRefusal, ErrorObjectsNeverReachQInPiecesEither) {
  Desk d;
  std::vector<std::byte> error(20'000, std::byte{'x'});
  error.front() = std::byte{0x80};
  error.back() = std::byte{0};
  ASSERT_TRUE(d.send_fragment(1, 0, error.size(), std::span(error).first(10'000)));
  EXPECT_EQ(d.run(), Progress::idle);
  EXPECT_EQ(d.reply(1).error_text(), "badmsg");
  EXPECT_TRUE(d.q.received.empty());
}

TEST(ExchangeRefusal, MalformedInTheMiddleCostsTheConnectionAndNobodyElseARequest) {
  for (const Form form : {Form::plain, Form::lbt}) {
    Desk d({.form = form, .credit = 2});
    std::vector<std::byte> request = kdb::encode(Value::list(std::vector<Value>(9'000, text("x"))));
    request[15'001 / 7 * 7 + 6] = std::byte{3};  // the type of one of the items
    ASSERT_TRUE(d.send_fragment(1, 0, request.size(), std::span(request).first(10'000)));
    EXPECT_EQ(d.run(), Progress::idle);
    ASSERT_TRUE(
        d.send_fragment(1, 10'000, request.size(), std::span(request).subspan(10'000, 10'000)));
    EXPECT_EQ(d.run(), Progress::q_cut);
    EXPECT_EQ(d.reply(1).error_text(), "badmsg");
    // Another request came meanwhile: it waits for the next connection.
    ASSERT_TRUE(d.send(2, text("next")));
    EXPECT_EQ(d.run(), Progress::q_cut);
    d.q.received.clear();
    d.exchange.connect(form, 6);
    EXPECT_EQ(d.run(), Progress::idle);
    EXPECT_TRUE(d.q.next());
    EXPECT_EQ(d.replies.size(), 1U);
  }
}

TEST(ExchangeRefusal, OneThatEndsTooEarlyIsNoObject) {
  Desk d;
  const std::vector<std::byte> request = kdb::encode(blob(kLarge));
  const std::uint64_t total = request.size() - 1;
  ASSERT_TRUE(d.send_fragment(1, 0, total, std::span(request).first(10'000)));
  EXPECT_EQ(d.run(), Progress::idle);
  EXPECT_EQ(d.reply(1).error_text(), "badmsg");  // its count says so at once
  EXPECT_TRUE(d.q.received.empty());
}

TEST(ExchangeRefusal, AbortedOneCostsTheConnectionOnceEarlierAnswersAreThere) {
  Desk d({.credit = 2});
  ASSERT_TRUE(d.send(1, text("long query")));
  d.run();
  begin(d, 2);
  ASSERT_TRUE(d.send_abort(2));
  EXPECT_EQ(d.run(), Progress::idle);  // q still works for request 1
  EXPECT_FALSE(d.exchange.takes_requests());
  d.q.respond(Value::long_atom(1));
  EXPECT_EQ(d.run(), Progress::q_cut);
  EXPECT_EQ(d.reply(1).value(), Value::long_atom(1));
  EXPECT_EQ(d.replies.size(), 1U);
  EXPECT_FALSE(d.exchange.fault_text().empty());
}

TEST(ExchangeRefusal, AbortOfWhatWasOnlyHeldCostsNothing) {
  Desk d({.credit = 2});
  begin(d, 1);
  const std::vector<std::byte> other = kdb::encode(blob(20'000));
  ASSERT_TRUE(d.send_fragment(2, 0, other.size(), std::span(other).first(10'000)));
  ASSERT_TRUE(d.send_abort(2));
  ASSERT_TRUE(d.send_abort(77));  // unknown: it ended before
  EXPECT_EQ(d.run(), Progress::idle);
  const std::vector<std::byte> request = kdb::encode(blob(kLarge));
  for (std::size_t at = 10'000; at < request.size(); at += 10'000) {
    ASSERT_TRUE(d.send_fragment(
        1, at, request.size(),
        std::span(request).subspan(at, std::min<std::size_t>(10'000, request.size() - at))));
    EXPECT_EQ(d.run(), Progress::idle);
  }
  EXPECT_EQ(d.q.next()->value, blob(kLarge));
  EXPECT_FALSE(d.q.next());
}

TEST(ExchangeRefusal, WhatIsHeldIsBounded) {
  Desk d({.credit = 8, .max_gathered = 30'000});
  begin(d, 1);
  const std::vector<std::byte> held = kdb::encode(blob(20'000));
  ASSERT_TRUE(d.send_fragment(2, 0, held.size(), std::span(held).first(1000)));
  EXPECT_EQ(d.run(), Progress::idle);
  ASSERT_TRUE(d.send(3, blob(10'000)));
  ASSERT_TRUE(d.send(4, blob(9'000)));
  EXPECT_EQ(d.run(), Progress::idle);
  EXPECT_TRUE(d.replies.empty()) << "only a thousand bytes of the large one have come";
  ASSERT_TRUE(d.send(5, blob(11'000)));
  EXPECT_EQ(d.run(), Progress::idle);
  EXPECT_EQ(d.reply(5).error_text(), "busy");
  ASSERT_TRUE(d.send(6, blob(10'500)));
  EXPECT_EQ(d.run(), Progress::idle);
  EXPECT_EQ(d.reply(2).error_text(), "busy") << "in its place there is one that is whole";
  EXPECT_EQ(d.replies.size(), 2U);
}

TEST(ExchangeRefusal, LargePairInPlainFormIsGatheredForItsQuery) {
  const Value options = Value::dict(Value::symbols({"a"}), Value::longs({1}));
  Desk d({.max_gathered = 150'000});
  const std::vector<std::byte> pair = Desk::pair(blob(kLarge), options);
  d.send_flow(1, pair, 9'000, shm::kFlagPair);
  EXPECT_EQ(d.run(), Progress::idle);
  EXPECT_EQ(d.q.next()->value, blob(kLarge));
  d.q.respond(Value());
  d.run();
  const std::vector<std::byte> larger = Desk::pair(blob(150'000), options);
  ASSERT_TRUE(d.send_fragment(2, 0, larger.size(), std::span(larger).first(9'000), shm::kFlagPair));
  EXPECT_EQ(d.run(), Progress::idle);
  EXPECT_EQ(d.reply(2).error_text(), "limit");
}

TEST(ExchangeRefusal, LargePairInLbtFormStreamsWithItsOptions) {
  const Value options = Value::dict(Value::symbols({"a"}), Value::longs({1}));
  Desk d({.form = Form::lbt});
  const std::vector<std::byte> pair = Desk::pair(blob(kLarge), options);
  d.send_flow(1, pair, 9'000, shm::kFlagPair);
  EXPECT_EQ(d.run(), Progress::idle);
  const auto message = d.q.next();
  ASSERT_TRUE(message);
  ASSERT_EQ(message->value.list_items().size(), 3U);
  EXPECT_EQ(message->value.list_items()[1], blob(kLarge));
  EXPECT_EQ(message->value.list_items()[2], options);
}

TEST(ExchangeRefusal, OptionsThatAreNoDictionaryAreMalformedAlsoInPieces) {
  Desk d({.form = Form::lbt});
  const std::vector<std::byte> pair = Desk::pair(blob(20'000), text("no dictionary"));
  d.send_flow(1, pair, 9'000, shm::kFlagPair);
  EXPECT_EQ(d.run(), Progress::q_cut);
  EXPECT_EQ(d.reply(1).error_text(), "badmsg");
}

TEST(ExchangeRefusal, RequestsAboveTwoGiBNeedAQThatTakesThem) {
  const std::vector<std::byte> front = {std::byte{4},    std::byte{0},    std::byte{0xfa},
                                        std::byte{0xff}, std::byte{0xff}, std::byte{0x9f}};
  const std::uint64_t total = 6 + 0x9ffffffaULL;
  for (const std::uint8_t capability : {std::uint8_t{3}, std::uint8_t{6}}) {
    Desk d({.capability = capability});
    ASSERT_TRUE(d.send_fragment(1, 0, total, front));
    EXPECT_EQ(d.run(), Progress::idle);
    if (capability == 3) {
      EXPECT_EQ(d.reply(1).error_text(), "limit");
      EXPECT_TRUE(d.q.received.empty());
    } else {
      EXPECT_EQ(kdb::parse_header(d.q.received)->message_bytes, total + 8);
    }
  }
}

TEST(ExchangeRefusal, FragmentsThatLieAreABreach) {
  const std::vector<std::byte> request = kdb::encode(blob(kLarge));
  const std::span<const std::byte> bytes(request);
  struct Lie {
    std::uint64_t offset;
    std::uint64_t total;
    std::size_t size;
  };
  for (const Lie lie : {Lie{10'001, 100'006, 100}, Lie{10'000, 100'005, 100},
                        Lie{10'000, 100'006, 0}, Lie{0, 100'006, 100}}) {
    Desk d({.credit = 2});
    begin(d, 1);
    ASSERT_TRUE(d.send_fragment(1, lie.offset, lie.total, bytes.first(lie.size)));
    EXPECT_EQ(d.run(), Progress::broker_broken) << lie.offset << " " << lie.total;
    EXPECT_EQ(d.exchange.fault(), Errc::bad_frame);
  }
}

}  // namespace
}  // namespace mserve::shim
