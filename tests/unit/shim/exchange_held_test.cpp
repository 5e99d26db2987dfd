// SPDX-License-Identifier: Apache-2.0
// What a link holds in memory: who finds room there, and who is refused when it is up.
#include <gtest/gtest.h>

#include <vector>

#include "unit/shim/peer_desk.hpp"

namespace mserve::shim {
namespace {

using kdb::Value;

/// A link that holds two large requests only if the one has gone when the other is whole.
Desk::Shape tight() {
  Desk::Shape tight = shape();
  tight.max_gathered = 20'000;
  return tight;
}

/// A large request, sent piece by piece.
class Large {
 public:
  Large(Desk& desk, std::uint64_t id, std::vector<std::byte> payload, std::uint8_t flags = 0)
      : desk_(desk), id_(id), payload_(std::move(payload)), flags_(flags) {}
  Large(Desk& desk, std::uint64_t id, std::size_t bytes)
      : Large(desk, id, kdb::encode(blob(bytes))) {}

  void send(std::size_t bytes) {
    const auto piece = std::span(payload_).subspan(sent_, bytes);
    ASSERT_TRUE(desk_.send_fragment(id_, sent_, payload_.size(), piece, flags_));
    sent_ += bytes;
    EXPECT_EQ(desk_.run(), Progress::idle);
  }
  void send_rest() { send(payload_.size() - sent_); }

 private:
  Desk& desk_;
  std::uint64_t id_;
  std::vector<std::byte> payload_;
  std::uint8_t flags_;
  std::size_t sent_ = 0;
};

// It used to count as if all of it had come, and the second one got `limit`.
TEST(ExchangeHeld, WhatIsPromisedTakesNoRoom) {
  Desk d(tight());
  Large promised(d, 5, 15'000);
  promised.send(1'000);
  const Value with = options({"x"}, {Value::long_atom(1)});
  Large other(d, 6, Desk::pair(blob(15'000), with), shm::kFlagPair);
  other.send(10'000);
  other.send_rest();
  EXPECT_GT(
      expect_request(d, blob(15'000),
                     options({"x", "hop", "repeatable"},
                             {Value::long_atom(1), Value::long_atom(1), Value::boolean(false)})),
      0);
  promised.send_rest();
  EXPECT_GT(expect_request(d, blob(15'000), kHopOnce), 0);
  EXPECT_TRUE(d.replies.empty());
}

TEST(ExchangeHeld, WhoFillsTheMemoryLosesHisOwnRequest) {
  Desk d(tight());
  Large most(d, 5, 15'000);
  most.send(12'000);
  Large less(d, 6, 15'000);
  less.send(5'000);
  less.send(5'000);
  EXPECT_EQ(d.reply(5).error_text(), "busy");
  EXPECT_EQ(Desk::status(d.reply(5)), Errc::busy) << "another servant may run it";
  less.send_rest();
  EXPECT_GT(expect_request(d, blob(15'000), kHopOnce), 0);
  most.send_rest();  // sent before that was seen: it is passed over
  EXPECT_EQ(d.replies.size(), 1U);
  EXPECT_TRUE(d.q.received.empty());
  // The room of both is free again: all of the bound is there for the next one.
  Large next(d, 7, 20'000 - 6);
  next.send(10'000);
  next.send_rest();
  EXPECT_GT(expect_request(d, blob(20'000 - 6), kHopOnce), 0);
  EXPECT_EQ(d.replies.size(), 1U);
}

// It is he himself when nobody else has more.
TEST(ExchangeHeld, TheOneThatGrowsBeyondTheOthersIsRefused) {
  Desk d(tight());
  Large less(d, 5, 15'000);
  less.send(6'000);
  Large most(d, 6, 15'000);
  most.send(10'000);
  most.send(4'500);
  EXPECT_EQ(d.reply(6).error_text(), "busy");
  most.send_rest();
  less.send_rest();
  EXPECT_GT(expect_request(d, blob(15'000), kHopOnce), 0);
  EXPECT_EQ(d.replies.size(), 1U);
}

// Goal: what is whole is not refused for the sake of what is not. Method: it waits behind a flow,
// beside two requests that have filled the memory and are still arriving.
TEST(ExchangeHeld, WholeOnesFindRoomBesideThoseThatArrive) {
  Desk d(tight());
  Large flow(d, 4, 30'000);
  flow.send(10'000);
  Large most(d, 5, 15'000);
  most.send(10'000);
  Large less(d, 6, 15'000);
  less.send(9'000);
  ASSERT_TRUE(d.send(7, blob(5'000)));
  EXPECT_EQ(d.run(), Progress::idle);
  EXPECT_EQ(d.reply(5).error_text(), "busy");
  flow.send(10'000);
  flow.send_rest();
  EXPECT_GT(expect_request(d, blob(30'000), kHopOnce), 0);
  EXPECT_GT(expect_request(d, blob(5'000), kHopOnce), 0);
  less.send_rest();
  EXPECT_GT(expect_request(d, blob(15'000), kHopOnce), 0);
  EXPECT_EQ(d.replies.size(), 1U);
}

// Goal: no request is too large because of what else there is. Method: the same ones once while
// another one streams and the memory is full, and once when that is over.
TEST(ExchangeHeld, TooLargeIsAMatterOfItsOwnSize) {
  Desk d(tight());
  const auto pair = Desk::pair(blob(25'000), options({}, {}));
  for (const bool alone : {false, true}) {
    const std::uint64_t first = alone ? 20 : 10;
    Large flow(d, first, 30'000);
    if (!alone) {
      flow.send(10'000);
      ASSERT_TRUE(d.send(first + 1, blob(9'000)));
      ASSERT_TRUE(d.send(first + 2, blob(9'000)));
    }
    // Too large to be held, and can only be held.
    Large apart(d, first + 3, pair, shm::kFlagPair);
    apart.send(5'000);
    EXPECT_EQ(d.reply(first + 3).error_text(), "limit");
    // These are not.
    Large streams(d, first + 4, 30'000);
    streams.send(5'000);
    ASSERT_TRUE(d.send(first + 5, blob(5'000)));
    d.run();
    if (alone) {
      streams.send(10'000);
      streams.send_rest();
      EXPECT_GT(expect_request(d, blob(30'000), kHopOnce), 0);
      EXPECT_GT(expect_request(d, blob(5'000), kHopOnce), 0);
      EXPECT_EQ(d.replies.size(), 4U);
      return;
    }
    EXPECT_EQ(d.reply(first + 4).error_text(), "busy");
    EXPECT_EQ(d.reply(first + 5).error_text(), "busy");
    flow.send(10'000);
    flow.send_rest();
    EXPECT_GT(expect_request(d, blob(30'000), kHopOnce), 0);
    EXPECT_GT(expect_request(d, blob(9'000), kHopOnce), 0);
    EXPECT_GT(expect_request(d, blob(9'000), kHopOnce), 0);
  }
}

/// A request of which so much time is left.
bool send_with(Desk& d, std::uint64_t id, const Value& query, const shm::DeadlineExt& left) {
  std::byte terms[shm::ext_bytes_of(sizeof(shm::DeadlineExt))];
  (void)shm::put_extension(terms, shm::ExtType::deadline, 0, left);
  return shm::try_send_whole(d.to, Desk::header(id, shm::kFlagRepeatable), terms,
                             kdb::encode(query));
}

// Goal: a peer is told what is left when it is sent a request, and is sent none of which nothing is
// left. Method: several wait behind a large request, for 500 ns.
TEST(ExchangeHeld, WhatWaitsIsToldWhatIsLeftThen) {
  Desk d(streaming());
  Large flow(d, 5, 15'000);
  flow.send(5'000);
  ASSERT_TRUE(send_with(d, 6, text("f 6"), {.queue_ns = 600, .run_ns = 700}));
  ASSERT_TRUE(send_with(d, 7, text("f 7"), {.queue_ns = 600, .run_ns = 500}));
  ASSERT_TRUE(send_with(d, 8, text("f 8"), {.queue_ns = 499, .run_ns = 0}));
  ASSERT_TRUE(send_with(d, 9, text("f 9"), {.queue_ns = 0, .run_ns = 501}));
  ASSERT_TRUE(send_with(d, 10, text("f 10"), {}));
  d.run();
  d.now_ns += 500;
  flow.send_rest();
  EXPECT_GT(expect_request(d, blob(15'000), kHopOnce), 0);
  EXPECT_GT(
      expect_request(d, text("f 6"),
                     options({"hop", "timeout", "queue_timeout"},
                             {Value::long_atom(1), Value::timespan(200), Value::timespan(100)})),
      0);
  EXPECT_GT(expect_request(d, text("f 9"),
                           options({"hop", "timeout", "queue_timeout"},
                                   {Value::long_atom(1), Value::timespan(1), Value::timespan(1)})),
            0);
  EXPECT_GT(expect_request(d, text("f 10"), options({"hop"}, {Value::long_atom(1)})), 0);
  EXPECT_FALSE(d.q.next());
  EXPECT_EQ(d.reply(7).error_text(), "timeout");
  EXPECT_EQ(d.reply(8).error_text(), "queue timeout");
  EXPECT_EQ(Desk::status(d.reply(7)), Errc::failed);
  EXPECT_EQ(d.replies.size(), 2U);
}

// The same while it is gathered, if it comes from a broker that says it with the first part only.
TEST(ExchangeHeld, WhatIsGatheredIsToldWhatIsLeftThen) {
  for (const std::uint64_t waited : {std::uint64_t{500}, std::uint64_t{700}}) {
    Desk d(shape());
    const std::vector<std::byte> large = kdb::encode(blob(15'000));
    std::byte extensions[shm::ext_bytes_of(sizeof(shm::FlowExt)) +
                         shm::ext_bytes_of(sizeof(shm::DeadlineExt))];
    std::byte* const end =
        shm::put_extension(extensions, shm::ExtType::flow, 0, shm::FlowExt{0, large.size()});
    (void)shm::put_extension(end, shm::ExtType::deadline, 0,
                             shm::DeadlineExt{.queue_ns = 0, .run_ns = 700});
    ASSERT_TRUE(shm::try_send_whole(d.to, Desk::header(5, shm::kFlagRepeatable), extensions,
                                    std::span(large).first(5'000)));
    d.run();
    d.now_ns += waited;
    ASSERT_TRUE(d.send_fragment(5, 5'000, large.size(), std::span(large).subspan(5'000),
                                shm::kFlagRepeatable));
    d.run();
    if (waited == 700) {
      EXPECT_EQ(d.reply(5).error_text(), "timeout");
      EXPECT_FALSE(d.q.next());
    } else {
      EXPECT_GT(expect_request(
                    d, blob(15'000),
                    options({"hop", "timeout", "queue_timeout"},
                            {Value::long_atom(1), Value::timespan(200), Value::timespan(200)})),
                0);
    }
  }
}

// A refusal for which there is no room towards the broker is told later, once.
TEST(ExchangeHeld, ARefusalThatFindsNoRoomIsToldLater) {
  Desk d(tight());
  Large most(d, 5, 15'000);
  most.send(12'000);
  Large less(d, 6, 15'000);
  less.send(5'000);
  while (shm::try_send_whole(d.shim_out, Desk::header(1, 0, shm::Kind::abort), {}, {})) {
  }
  const std::vector<std::byte> payload = kdb::encode(blob(15'000));
  ASSERT_TRUE(d.send_fragment(6, 5'000, payload.size(), std::span(payload).subspan(5'000)));
  EXPECT_EQ(d.step(), Progress::waits_for_ring);
  EXPECT_EQ(d.step(), Progress::waits_for_ring);
  EXPECT_EQ(d.run(), Progress::idle);
  EXPECT_EQ(d.reply(5).error_text(), "busy");
  EXPECT_GT(expect_request(d, blob(15'000), kHopOnce), 0);
}

}  // namespace
}  // namespace mserve::shim
