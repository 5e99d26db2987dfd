// SPDX-License-Identifier: Apache-2.0
// A gateway's bytes as reply frames, however they are cut, and whatever they claim.
#include "lib/answer_reader.hpp"

#include <gtest/gtest.h>

#include <random>

#include "lib/private_ring.hpp"
#include "mserve/kdb/compress.hpp"
#include "mserve/shm/message.hpp"
#include "payloads.hpp"
#include "support/seed.hpp"
#include "support/test_gateway.hpp"

namespace mserve {
namespace {

using kdb::Value;
using test::Bytes;
using test::lbt_answer;
using test::lbt_info;
using test::pair_of;

struct Received {
  std::uint64_t id = 0;
  std::uint8_t flags = 0;
  Errc status = Errc::ok;
  Bytes payload;
};

/// The reader, its ring, and a consumer that puts fragments together as the core does.
struct Desk {
  explicit Desk(std::uint32_t ring_bytes = 4096, std::uint64_t message_bytes_max = 1U << 20)
      : ring(ring_bytes),
        reader(ring.producer(), message_bytes_max),
        assembler(2 * message_bytes_max) {}

  /// Feeds everything, as a link would whose socket gives `step` bytes at a time.
  void feed(const Bytes& bytes, std::size_t step = SIZE_MAX) {
    for (std::size_t i = 0; i < bytes.size(); i += std::min(step, bytes.size() - i)) {
      const std::size_t now = std::min(step, bytes.size() - i);
      waiting.insert(waiting.end(), bytes.begin() + static_cast<std::ptrdiff_t>(i),
                     bytes.begin() + static_cast<std::ptrdiff_t>(i + now));
      do {
        const std::size_t taken = reader.feed(waiting);
        waiting.erase(waiting.begin(), waiting.begin() + static_cast<std::ptrdiff_t>(taken));
        consume();
      } while (reader.blocked());
    }
  }

  void consume() {
    shm::FrameView frame;
    while (ring.consumer().front(frame) == Errc::ok) {
      shm::Extensions ext;
      ASSERT_TRUE(shm::parse_extensions(frame.extensions, ext));
      ASSERT_EQ(frame.header.kind, shm::Kind::reply);
      Received r{frame.header.id, frame.header.flags,
                 static_cast<Errc>(shm::unpack_reply(frame.header.aux).status),
                 Bytes(frame.payload.begin(), frame.payload.end())};
      frames += 1;
      bool whole = true;
      if (ext.has_flow) {
        const Errc code = assembler.add(r.id, ext.flow, frame.payload, r.payload);
        ASSERT_TRUE(code == Errc::ok || code == Errc::empty) << to_string(code);
        whole = code == Errc::ok;
      }
      if (whole) {
        replies.push_back(std::move(r));
      }
      ring.consumer().release();
    }
  }

  PrivateRing ring;
  AnswerReader reader;
  shm::Assembler assembler;
  Bytes waiting;
  std::vector<Received> replies;
  int frames = 0;
};

Value large_result(std::size_t count = 20'000) {
  std::vector<std::int64_t> values(count);
  for (std::size_t i = 0; i < count; ++i) {
    values[i] = static_cast<std::int64_t>(i * 2654435761U);
  }
  return Value::longs(std::move(values));
}

TEST(AnswerReader, AnswersAreReplyFramesHoweverTheyAreCut) {
  Bytes stream = lbt_answer(1, Value::symbol("one"));
  for (const Bytes& next : {lbt_answer(2, large_result()), lbt_answer(3, Value::chars("three"))}) {
    stream.insert(stream.end(), next.begin(), next.end());
  }
  for (const std::size_t step : {std::size_t{1}, std::size_t{7}, std::size_t{1000}, SIZE_MAX}) {
    Desk desk;
    desk.reader.want_info(2);
    desk.feed(stream, step);
    ASSERT_EQ(desk.replies.size(), 3U) << desk.reader.reason();
    EXPECT_EQ(desk.replies[0].id, 1U);
    EXPECT_EQ(desk.replies[0].flags, shm::kFlagPair);
    EXPECT_EQ(desk.replies[0].payload, pair_of(Value::symbol("one")));
    EXPECT_EQ(desk.replies[1].id, 2U);
    EXPECT_EQ(desk.replies[1].flags, shm::kFlagPair | shm::kFlagWantInfo);
    EXPECT_EQ(desk.replies[1].payload, pair_of(large_result()));
    EXPECT_EQ(desk.replies[2].payload, pair_of(Value::chars("three")));
  }
}

TEST(AnswerReader, DribbledBytesDoNotBecomeAFrameEach) {
  Desk desk(65536);
  const Bytes answer = lbt_answer(1, large_result());
  desk.feed(answer, 1);
  ASSERT_EQ(desk.replies.size(), 1U);
  EXPECT_LT(desk.frames, static_cast<int>(answer.size() / 1000));
}

TEST(AnswerReader, TwoItemAnswersHaveNoInfo) {
  Desk desk;
  desk.feed(kdb::encode_message(Value::list({Value::long_atom(4), Value::symbol("x")}),
                                kdb::MessageKind::async));
  ASSERT_EQ(desk.replies.size(), 1U);
  EXPECT_EQ(desk.replies[0].flags, 0);
  EXPECT_EQ(desk.replies[0].payload, kdb::encode(Value::symbol("x")));
}

TEST(AnswerReader, CompressedAnswersAreUnderstood) {
  const Value result = Value::chars(std::string(100'000, 'a'));
  const auto message = kdb::compress(lbt_answer(8, result));
  ASSERT_TRUE(message);
  Bytes stream = *message;
  const Bytes next = lbt_answer(9, Value::symbol("plain"));
  stream.insert(stream.end(), next.begin(), next.end());
  for (const std::size_t step : {std::size_t{1}, SIZE_MAX}) {
    Desk desk;
    desk.feed(stream, step);
    ASSERT_EQ(desk.replies.size(), 2U) << desk.reader.reason();
    EXPECT_EQ(desk.replies[0].payload, pair_of(result));
    EXPECT_EQ(desk.replies[1].id, 9U);
  }
}

TEST(AnswerReader, BigEndianAnswersAreUnderstoodCompressedToo) {
  const Bytes small = lbt_answer(8, Value::longs({1, 2}), lbt_info(), kdb::ByteOrder::big);
  const Value result = Value::longs(std::vector<std::int64_t>(5000, 77));
  const auto large = kdb::compress(lbt_answer(9, result, lbt_info(), kdb::ByteOrder::big));
  ASSERT_TRUE(large);
  Desk desk;
  desk.feed(small, 3);
  desk.feed(*large);
  ASSERT_EQ(desk.replies.size(), 2U) << desk.reader.reason();
  EXPECT_EQ(desk.replies[0].id, 8U);
  EXPECT_EQ(desk.replies[0].payload, pair_of(Value::longs({1, 2})));
  EXPECT_EQ(desk.replies[1].payload, pair_of(result));
}

TEST(AnswerReader, AFullRingHoldsTheStreamUp) {
  Desk desk(4096);
  Bytes stream;
  for (std::uint64_t id = 1; id <= 100; ++id) {
    const Bytes answer = lbt_answer(id, Value::longs(std::vector<std::int64_t>(50, 1)));
    stream.insert(stream.end(), answer.begin(), answer.end());
  }
  const std::size_t taken = desk.reader.feed(stream);
  EXPECT_LT(taken, stream.size());
  EXPECT_TRUE(desk.reader.blocked());
  EXPECT_EQ(desk.reader.feed(std::span(stream).subspan(taken)), 0U);
  desk.consume();
  desk.feed(Bytes(stream.begin() + static_cast<std::ptrdiff_t>(taken), stream.end()));
  EXPECT_EQ(desk.replies.size(), 100U);
}

TEST(AnswerReader, TooLargeAnAnswerEndsItsRequestAndNothingElse) {
  Desk desk(4096, 10'000);
  Bytes stream = lbt_answer(1, Value::chars(std::string(15'000, 'x')));
  const Bytes next = lbt_answer(2, Value::symbol("fine"));
  stream.insert(stream.end(), next.begin(), next.end());
  desk.feed(stream, 1000);
  ASSERT_EQ(desk.replies.size(), 2U) << desk.reader.reason();
  EXPECT_EQ(desk.replies[0].id, 1U);
  EXPECT_EQ(desk.replies[0].status, Errc::too_large);
  EXPECT_EQ(desk.replies[1].id, 2U);
  EXPECT_EQ(desk.replies[1].status, Errc::ok);
}

TEST(AnswerReader, AnEndlessAnswerEndsTheSession) {
  Desk desk(4096, 10'000);
  Bytes stream = lbt_answer(1, Value::chars("x"));
  stream[3] = std::byte{0xff};  // a terabyte
  desk.feed(stream);
  ASSERT_EQ(desk.replies.size(), 1U) << "its request learns why";
  EXPECT_EQ(desk.replies[0].status, Errc::too_large);
  EXPECT_TRUE(desk.reader.failed());
}

Bytes changed(Bytes bytes, std::size_t at, int value) {
  bytes[at] = static_cast<std::byte>(value);
  return bytes;
}

TEST(AnswerReader, LiesEndTheSession) {
  const Bytes fine = lbt_answer(1, Value::symbol("x"));
  const auto message = [](const Value& value, kdb::MessageKind kind = kdb::MessageKind::async) {
    return kdb::encode_message(value, kind);
  };
  const Value id = Value::long_atom(1);
  const Bytes small_header = {std::byte{1}, std::byte{0}, std::byte{0}, std::byte{0},
                              std::byte{8}, std::byte{0}, std::byte{0}, std::byte{0}};
  auto packed = *kdb::compress(lbt_answer(1, Value::chars(std::string(5000, 'a'))));
  const std::pair<const char*, Bytes> lies[] = {
      {"byte order", changed(fine, 0, 2)},
      {"message type", changed(fine, 1, 3)},
      {"compression", changed(fine, 2, 3)},
      {"a message of nothing", small_header},
      {"a response", message(Value::list({id, id}), kdb::MessageKind::response)},
      {"a sync request", message(Value::list({id, id}), kdb::MessageKind::sync)},
      {"an atom", message(Value::long_atom(1))},
      {"a text", message(Value::chars("Error: not (query; callback)"))},
      {"a vector", message(Value::longs({1, 2, 3}))},
      {"a list of one", message(Value::list({id}))},
      {"a list of four", message(Value::list({id, id, id, id}))},
      {"no id", message(Value::list({Value::symbol("abcdefgh"), id, id}))},
      {"an id of another type", message(Value::list({Value::int_atom(1), id, lbt_info()}))},
      {"an id alone", changed(message(Value::list({id})), 10, 2)},
      {"a compressed one that is too large", changed(packed, 3, 1)},
      {"a compressed one that claims too much", changed(packed, 11, 0x40)},
      {"a broken compressed one", changed(packed, 12, 0xff)},
      {"big-endian garbage", changed(changed(fine, 0, 0), 7, static_cast<int>(fine.size()))},
  };
  for (const auto& [what, bytes] : lies) {
    Desk desk;
    Bytes stream = bytes;
    if (std::string_view(what) == "big-endian garbage") {
      stream[4] = std::byte{0};
    }
    desk.feed(stream, 1);
    EXPECT_TRUE(desk.reader.failed()) << what;
    EXPECT_FALSE(desk.reader.reason().empty()) << what;
    EXPECT_TRUE(desk.replies.empty()) << what;
    EXPECT_EQ(desk.reader.feed(fine), 0U) << what << ": nothing is read after that";
  }
}

TEST(AnswerReader, WhatAWrongGatewaySaysIsShownWithoutControlCharacters) {
  Desk desk;
  desk.feed(kdb::encode_message(Value::chars("Error: not (query; callback)\x1b[2J"),
                                kdb::MessageKind::async));
  EXPECT_NE(desk.reader.reason().find("Error: not (query; callback)?[2J"), std::string::npos)
      << desk.reader.reason();
}

// Random damage to a stream of good answers: frames that are well formed, or a failed reader.
TEST(AnswerReader, RandomDamageNeverHurts) {
  const std::uint64_t seed = test::seed();
  std::mt19937_64 random(seed);
  const Bytes plain[] = {
      lbt_answer(1, Value::symbol("x")), lbt_answer(2, large_result(300)),
      lbt_answer(3, Value::chars("x"), lbt_info(), kdb::ByteOrder::big),
      *kdb::compress(lbt_answer(4, Value::chars(std::string(5000, 'b')))),
      kdb::encode_message(Value::list({Value::long_atom(5), Value::long_atom(6)}),
                          kdb::MessageKind::async)};
  std::uint64_t replies = 0;
  for (int round = 0; round < 3000; ++round) {
    Bytes stream;
    for (int i = 0; i < 6; ++i) {
      const Bytes& next = plain[random() % std::size(plain)];
      stream.insert(stream.end(), next.begin(), next.end());
    }
    for (std::uint64_t i = random() % 4; i > 0; --i) {
      stream[random() % stream.size()] = static_cast<std::byte>(random());
    }
    Desk desk(4096, 1U << 16);
    desk.feed(stream, 1 + random() % 3000);
    replies += desk.replies.size();
    for (const Received& reply : desk.replies) {
      ASSERT_LE(reply.payload.size(), 1U << 16);
    }
  }
  EXPECT_GT(replies, 0U);
}

}  // namespace
}  // namespace mserve
