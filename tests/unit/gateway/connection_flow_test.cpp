// SPDX-License-Identifier: Apache-2.0
// Requests larger than a frame: as they arrive, or held whole, and never beyond what was granted.
#include <gtest/gtest.h>

#include "line.hpp"
#include "support/seed.hpp"

namespace mserve::test {
namespace {

/// 256 KiB is gathered, a frame takes 64 KiB.
Value big_value(std::size_t bytes) {
  return text(std::string(bytes, 'x'));
}

TEST(GatewayFlow, ALargeQueryStreamsWithinWhatIsGranted) {
  Line line;
  const Value query = list({Value::symbol("insert"), Value::symbol("trade"), big_value(2 * kMiB)});
  const Bytes message = kdb::encode_message(query, MessageKind::sync);
  std::size_t sent = 0;
  const auto write_some = [&] {
    const std::size_t bytes = std::min<std::size_t>(100'000, message.size() - sent);
    line.write(std::span(message).subspan(sent, bytes));
    sent += bytes - line.unsent();
  };
  write_some();
  line.plane.read();
  ASSERT_EQ(line.plane.requests.size(), 1U) << "the first fragment, and no more before a grant";
  EXPECT_EQ(line.plane.requests[0].flow.total_bytes, message.size() - 8);
  EXPECT_EQ(line.plane.requests[0].head.aux, kdb::route_of_text("trade").hash);
  EXPECT_LE(line.plane.requests[0].payload.size(), 64U << 10);
  EXPECT_FALSE(line.connection->wants_read());
  const std::uint64_t id = line.plane.requests[0].head.id;
  const Bytes arrived = line.plane.take_flow(30'000, write_some);
  EXPECT_EQ(arrived, Bytes(message.begin() + 8, message.end()));
  EXPECT_LT(line.connection->row().waiting_bytes, 1U);
  ASSERT_TRUE(line.plane.answer(id, kdb::encode(Value::long_atom(1))));
  EXPECT_EQ(line.read_one().value, Value::long_atom(1));
  line.expect_works();
}

TEST(GatewayFlow, LargeLbtRequestsAreSentFromTheirQueryOn) {
  Line line;
  for (const bool with_options : {false, true}) {
    const Value query = list({Value::symbol("echo"), big_value(kMiB)});
    const Value options = Value::dict(Value::symbols({"a"}), Value::longs({1}));
    std::vector<Value> items = {Value::long_atom(99), query};
    Bytes wanted = kdb::encode(query);
    if (with_options) {
      items.push_back(options);
      const Bytes encoded = kdb::encode(options);
      wanted.insert(wanted.end(), encoded.begin(), encoded.end());
    }
    const Bytes message = kdb::encode_message(list(items), MessageKind::async);
    std::size_t sent = 0;
    const auto write_some = [&] {
      const std::size_t bytes = std::min<std::size_t>(50'000, message.size() - sent);
      line.write(std::span(message).subspan(sent, bytes));
      sent += bytes - line.unsent();
    };
    write_some();
    line.plane.read();
    ASSERT_EQ(line.plane.requests.size(), 1U);
    const shm::FrameHeader head = line.plane.requests[0].head;
    EXPECT_EQ((head.flags & shm::kFlagPair) != 0, with_options);
    EXPECT_EQ(line.plane.take_flow(40'000, write_some), wanted);
    ASSERT_TRUE(line.plane.answer(head.id, kdb::encode(Value::null())));
    EXPECT_EQ(line.read_one().value.at(0), Value::long_atom(99));
  }
}

TEST(GatewayFlow, OptionsThatAreNoDictionaryEndTheRequestWithAnError) {
  Line line;
  const Value message = list({Value::long_atom(99), big_value(kMiB), Value::long_atom(1)});
  const Bytes bytes = kdb::encode_message(message, MessageKind::async);
  std::size_t sent = 0;
  const auto write_some = [&] {
    const std::size_t some = std::min<std::size_t>(60'000, bytes.size() - sent);
    line.write(std::span(bytes).subspan(sent, some));
    sent += some - line.unsent();
  };
  write_some();
  const std::uint64_t id = line.plane.take().head.id;
  while (sent < bytes.size()) {
    ASSERT_TRUE(line.plane.window(id, 60'000));
    write_some();
    line.plane.read();
  }
  (void)line.turn();
  line.plane.read();
  EXPECT_EQ(line.plane.aborts, std::vector<std::uint64_t>{id});
  const Value answer = line.read_one().value;
  EXPECT_EQ(answer.at(0), Value::long_atom(99));
  EXPECT_EQ(answer.at(1), text("Error: not (id; query) or (id; query; options)"));
  line.plane.requests.clear();
  line.expect_works();
}

TEST(GatewayFlow, WhatMustBeHeldWholeGoesInFragmentsToo) {
  Line line;
  const Value query = list({Value::symbol("echo"), big_value(kMiB)});
  line.send(query, MessageKind::sync, kdb::ByteOrder::big);
  line.sync("next");
  line.plane.read();
  ASSERT_EQ(line.plane.requests.size(), 1U);
  const std::uint64_t id = line.plane.requests[0].head.id;
  EXPECT_EQ(line.plane.take_flow(50'000, [&line] { (void)line.turn(); }), kdb::encode(query));
  ASSERT_TRUE(line.plane.answer(id, kdb::encode(Value::null())));
  (void)line.read();
  EXPECT_EQ(line.plane.take().payload, kdb::encode(text("next")));
}

TEST(GatewayFlow, AnAnswerBeforeTheEndStopsItAndTheRestIsSwallowed) {
  for (const kdb::ByteOrder order : {kdb::ByteOrder::little, kdb::ByteOrder::big}) {
    Line line;
    const Bytes message = kdb::encode_message(big_value(kMiB), MessageKind::sync, order);
    line.write(std::span(message).first(order == kdb::ByteOrder::big ? message.size() : 200'000));
    const std::uint64_t id = line.plane.take().head.id;
    ASSERT_NE(id, 0U);
    ASSERT_TRUE(line.plane.answer(id, {}, {.status = Errc::no_servant}));
    EXPECT_EQ(line.read_one().value, Value::error("no servant"));
    ASSERT_TRUE(line.plane.window(id, 500'000));  // was on its way
    if (order == kdb::ByteOrder::little) {
      line.write(std::span(message).subspan(200'000 - line.unsent()));
    }
    line.plane.read();
    EXPECT_TRUE(line.plane.requests.empty()) << "nothing more of it is sent";
    EXPECT_TRUE(line.plane.aborts.empty());
    line.expect_works();
  }
}

TEST(GatewayFlow, MalformedAtItsEndIsAbortedAndTheClientTold) {
  Line line;
  Bytes message = kdb::encode_message(list({Value::symbol("f"), big_value(300'000),
                                            list({Value::symbol("a"), Value::symbol("b")})}),
                                      MessageKind::sync);
  message[message.size() - 3] = std::byte{3};  // the type of the last symbol
  line.write(message);
  const std::uint64_t id = line.plane.take().head.id;
  while (line.alive() && line.plane.aborts.empty()) {
    ASSERT_TRUE(line.plane.window(id, 100'000));
    (void)line.turn();
    line.plane.read();
  }
  EXPECT_EQ(line.plane.aborts, std::vector<std::uint64_t>{id});
  EXPECT_EQ(line.read_one().value, Value::error("badmsg"));
  EXPECT_FALSE(line.alive());
}

TEST(GatewayFlow, AClientThatGoesInTheMiddleLeavesNothing) {
  Line half;
  const Bytes message = kdb::encode_message(big_value(kMiB), MessageKind::sync);
  half.write(std::span(message).first(30'000));
  const std::uint64_t id = half.plane.take().head.id;
  ASSERT_TRUE(half.plane.window(id, kMiB));
  (void)half.turn();
  half.half_close();
  half.plane.read();
  EXPECT_EQ(half.plane.aborts, std::vector<std::uint64_t>{id});
  EXPECT_EQ(half.read_one().value, Value::error("badmsg"));
  EXPECT_FALSE(half.alive());
  EXPECT_EQ(half.context->pendings.used(), 0U);

  Line gone;
  gone.write(std::span(message).first(30'000));
  gone.hang_up();
  gone.plane.read();
  EXPECT_TRUE(gone.plane.gones.empty()) << "it does not overtake the fragment";
  (void)gone.turn();
  gone.plane.read();
  EXPECT_EQ(gone.plane.gones.size(), 1U);
  EXPECT_EQ(gone.context->pendings.used(), 0U);
}

TEST(GatewayFlow, DrainLetsARequestThatHasBegunEnd) {
  Line line;
  const Value query = big_value(kMiB);
  const Bytes message = kdb::encode_message(query, MessageKind::sync);
  line.write(std::span(message).first(100'000));
  line.connection->drain();
  line.settle();
  ASSERT_TRUE(line.alive());
  std::size_t sent = 100'000 - line.unsent();
  const auto write_some = [&] {
    const std::size_t some = std::min<std::size_t>(100'000, message.size() - sent);
    line.write(std::span(message).subspan(sent, some));
    sent += some - line.unsent();
  };
  line.plane.read();
  const std::uint64_t id = line.plane.requests.at(0).head.id;
  EXPECT_EQ(line.plane.take_flow(90'000, write_some), kdb::encode(query));
  ASSERT_TRUE(line.plane.answer(id, kdb::encode(Value::long_atom(1))));
  EXPECT_EQ(line.read_one().value, Value::long_atom(1));
  EXPECT_FALSE(line.alive());
}

// Goal: whatever the cuts, grants and sizes, what arrives is what was sent. Method: random ones.
TEST(GatewayFlow, ArrivesWholeHoweverItIsCutAndGranted) {
  std::mt19937_64 random(seed());
  for (int round = 0; round < 20 && !HasFailure(); ++round) {
    Line line;
    const auto upto = [&random](std::size_t most) { return random() % most + 1; };
    const Value query = list({Value::symbol("f"), big_value(upto(900'000))});
    const auto order = random() % 2 == 0 ? kdb::ByteOrder::little : kdb::ByteOrder::big;
    const Bytes message = kdb::encode_message(query, MessageKind::sync, order);
    std::size_t sent = 0;
    const auto write_some = [&] {
      const std::size_t some = std::min<std::size_t>(upto(200'000), message.size() - sent);
      line.write(std::span(message).subspan(sent, some));
      sent += some - line.unsent();
    };
    while (line.plane.requests.empty() && sent < message.size()) {
      write_some();
      line.plane.read();
    }
    EXPECT_EQ(line.plane.take_flow(upto(100'000) + 10'000, write_some), kdb::encode(query));
  }
}

}  // namespace
}  // namespace mserve::test
