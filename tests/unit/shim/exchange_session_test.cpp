// SPDX-License-Identifier: Apache-2.0
// Sessions end while q still works; probes; the bound on steps and memory.
#include <gtest/gtest.h>

#include "unit/shim/desk.hpp"

namespace mserve::shim {
namespace {

using kdb::MessageKind;
using kdb::Value;

TEST(ExchangeSession, AnswersToAnEarlierSessionArePassedOver) {
  Desk d({.credit = 2});
  ASSERT_TRUE(d.send(1, text("a")));
  ASSERT_TRUE(d.send(2, text("b")));
  d.run();
  EXPECT_TRUE(d.exchange.detach());
  EXPECT_FALSE(d.exchange.idle());
  d.q.respond(Value::error("late"));
  EXPECT_EQ(d.step_detached(), Progress::worked);
  EXPECT_FALSE(d.exchange.idle());
  d.q.respond(blob(500'000));
  while (d.step_detached() == Progress::worked) {
  }
  EXPECT_TRUE(d.exchange.idle());

  d.attach();
  d.q.received.clear();
  ASSERT_TRUE(d.send(3, text("c")));
  d.run();
  EXPECT_TRUE(d.q.next());
  d.q.respond(Value::long_atom(3));
  EXPECT_EQ(d.run(), Progress::idle);
  EXPECT_EQ(d.replies.size(), 1U);
  EXPECT_EQ(d.reply(3).value(), Value::long_atom(3));
}

TEST(ExchangeSession, ReplyThatIsHalfForwardedIsPassedOverFromThere) {
  for (const kdb::ByteOrder order : {kdb::ByteOrder::little, kdb::ByteOrder::big}) {
    for (const std::size_t size : {std::size_t{300'000}, std::size_t{10'000}}) {
      Desk d;
      ASSERT_TRUE(d.send(1, text("a")));
      d.run();
      const auto message = kdb::encode_message(blob(size), MessageKind::response, order);
      d.q.say(std::span(message).first(message.size() / 2));
      d.run();
      EXPECT_TRUE(d.exchange.detach());
      EXPECT_FALSE(d.exchange.idle());
      d.q.say(std::span(message).subspan(message.size() / 2));
      while (d.step_detached() == Progress::worked) {
      }
      EXPECT_TRUE(d.exchange.idle());
      EXPECT_TRUE(d.q.heard());
      EXPECT_TRUE(d.replies.empty());
    }
  }
}

TEST(ExchangeSession, ReplyThatWaitedForRoomIsForgotten) {
  Desk d({.max_gathered = 8 << 20});
  ASSERT_TRUE(d.send(1, text("a")));
  d.run();
  d.q.say(blob(1 << 20), MessageKind::response, kdb::ByteOrder::big);
  EXPECT_EQ(d.run(/*reading=*/false), Progress::waits_for_ring);
  EXPECT_TRUE(d.exchange.detach());
  while (d.step_detached() == Progress::worked) {
  }
  EXPECT_TRUE(d.exchange.idle());
}

TEST(ExchangeSession, QIsLeftWhenTheSessionTakesAPartOfARequestWithIt) {
  const std::vector<std::byte> large = kdb::encode(blob(50'000));
  {
    Desk d;
    ASSERT_TRUE(d.send_fragment(1, 0, large.size(), std::span(large).first(10'000)));
    d.run();
    EXPECT_FALSE(d.exchange.detach());
  }
  Desk d;
  d.q.room = 5;
  ASSERT_TRUE(d.send(1, text("a")));
  EXPECT_EQ(d.run(), Progress::waits_for_q);
  EXPECT_FALSE(d.exchange.detach());
}

TEST(ExchangeSession, NothingBeginsWhenRequestsAreNotTaken) {
  Desk d({.credit = 2});
  ASSERT_TRUE(d.send(1, text("runs")));
  d.run();
  d.exchange.take_requests(false);
  ASSERT_TRUE(d.send(2, text("waits")));
  EXPECT_EQ(d.run(), Progress::idle);
  EXPECT_TRUE(d.q.next());
  EXPECT_FALSE(d.q.next());
  d.q.respond(Value::long_atom(1));
  EXPECT_EQ(d.run(), Progress::idle);
  EXPECT_EQ(d.replies.size(), 1U);
  EXPECT_TRUE(d.exchange.idle());
}

TEST(ExchangeSession, ALargeRequestThatHasBegunGoesOnWhenNoMoreAreTaken) {
  const std::vector<std::byte> large = kdb::encode(blob(30'000));
  Desk d;
  ASSERT_TRUE(d.send_fragment(1, 0, large.size(), std::span(large).first(10'000)));
  d.run();
  d.exchange.take_requests(false);
  EXPECT_FALSE(d.exchange.idle());
  for (std::size_t at = 10'000; at < large.size(); at += 10'000) {
    ASSERT_TRUE(d.send_fragment(
        1, at, large.size(),
        std::span(large).subspan(at, std::min<std::size_t>(10'000, large.size() - at))));
    d.run();
  }
  EXPECT_EQ(d.q.next()->value, blob(30'000));
}

TEST(ExchangeSession, ProbeInPlainFormIsASyncEmptyText) {
  Desk d({.credit = 2});
  d.exchange.probe();
  EXPECT_TRUE(d.exchange.probing());
  EXPECT_EQ(d.run(), Progress::idle);
  const auto message = d.q.next();
  ASSERT_TRUE(message);
  EXPECT_EQ(message->header.kind, MessageKind::sync);
  EXPECT_EQ(message->value, text(""));
  EXPECT_TRUE(d.exchange.probing());
  EXPECT_FALSE(d.exchange.busy());
  // A request behind it: responses are told apart by their order.
  ASSERT_TRUE(d.send(1, text("x")));
  d.run();
  EXPECT_TRUE(d.exchange.busy());
  d.q.respond(text("USE ASYNC"));
  d.q.respond(Value::long_atom(1));
  EXPECT_EQ(d.run(), Progress::idle);
  EXPECT_FALSE(d.exchange.probing());
  EXPECT_EQ(d.reply(1).value(), Value::long_atom(1));
  EXPECT_TRUE(d.warnings.empty());
}

TEST(ExchangeSession, ProbeInLbtFormIsARequestOfItsOwn) {
  Desk d({.form = Form::lbt});
  d.exchange.probe();
  EXPECT_EQ(d.run(), Progress::idle);
  const auto message = d.q.next();
  ASSERT_TRUE(message);
  EXPECT_EQ(message->header.kind, MessageKind::async);
  EXPECT_EQ(message->value, Value::list({Value::long_atom(0), text(""),
                                         Value::dict(Value::list({}), Value::list({}))}));
  d.q.answer(0, text("Error: unknown command: "));
  EXPECT_EQ(d.run(), Progress::idle);
  EXPECT_FALSE(d.exchange.probing());
  EXPECT_TRUE(d.warnings.empty());
  EXPECT_TRUE(d.replies.empty());
}

TEST(ExchangeSession, ProbeAndNyiWaitForTheEndOfALargeRequest) {
  const std::vector<std::byte> large = kdb::encode(blob(30'000));
  Desk d;
  ASSERT_TRUE(d.send_fragment(1, 0, large.size(), std::span(large).first(29'000 / 2)));
  d.run();
  d.q.say(text("?"), MessageKind::sync);
  d.exchange.probe();
  d.run();
  ASSERT_TRUE(d.send_fragment(1, 29'000 / 2, large.size(), std::span(large).subspan(29'000 / 2)));
  d.run();
  EXPECT_EQ(d.q.next()->value, blob(30'000));
  EXPECT_EQ(d.q.next()->value, Value::error("nyi"));
  EXPECT_EQ(d.q.next()->value, text(""));
}

TEST(ExchangeSession, AFloodFromQDoesNotKeepRequestsOut) {
  Desk d;
  for (int i = 0; i < 10'000; ++i) {
    d.q.say(Value::long_atom(i), MessageKind::async);
  }
  ASSERT_TRUE(d.send(1, text("x")));
  (void)d.step(/*look=*/true);
  EXPECT_TRUE(d.q.next());
  EXPECT_FALSE(d.q.heard());
}

}  // namespace
}  // namespace mserve::shim
