// SPDX-License-Identifier: Apache-2.0
// Goal: however a client's bytes arrive, the same messages come out, plain and little endian, and
// memory is bounded by what arrived. Method: streams of messages of every form, cut at every place
// and at random ones.
#include "gateway/message_reader.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "gateway/conventions.hpp"
#include "mserve/kdb/codec.hpp"
#include "mserve/kdb/compress.hpp"
#include "support/seed.hpp"

namespace mserve::broker {
namespace {

using kdb::ByteOrder;
using kdb::encode;
using kdb::encode_message;
using kdb::MessageKind;
using kdb::Value;
using What = MessageReader::What;
using Event = MessageReader::Event;
using Bytes = std::vector<std::byte>;

/// A message as it came out: pieces put together.
struct Seen {
  MessageKind kind = MessageKind::async;
  Bytes body;
  friend bool operator==(const Seen&, const Seen&) = default;
};

struct Outcome {
  std::vector<Seen> messages;
  bool failed = false;
  kdb::Errc code = kdb::Errc::ok;
  std::string reason;
  std::size_t begins = 0;
  std::size_t held_bytes_max = 0;
};

void note(Outcome& outcome, const Event& event) {
  const auto append = [&outcome, &event] {
    Bytes& body = outcome.messages.back().body;
    body.insert(body.end(), event.bytes.begin(), event.bytes.end());
  };
  switch (event.what) {
    case What::whole:
      outcome.messages.push_back({event.header.kind, {}});
      append();
      EXPECT_EQ(event.body_bytes, event.bytes.size());
      break;
    case What::begin:
      ++outcome.begins;
      EXPECT_EQ(event.bytes.size(), std::min<std::uint64_t>(event.body_bytes, kStreamHeadBytes));
      outcome.messages.push_back({event.header.kind, {}});
      break;
    case What::piece:
      append();
      EXPECT_EQ(event.last, outcome.messages.back().body.size() == event.body_bytes);
      break;
    default:
      outcome.failed = event.what == What::failed;
      outcome.code = event.code;
      outcome.reason = event.reason;
  }
}

/// Feeds `stream` in chunks that end at the `cuts` and takes every event; each chunk lies in memory
/// of its own that is gone afterwards.
Outcome read_all(MessageReader& reader, const Bytes& stream, const std::vector<std::size_t>& cuts,
                 std::size_t piece_bytes_max = ~std::size_t{0}, bool hold = false) {
  Outcome result;
  std::size_t from = 0;
  for (std::size_t i = 0; i <= cuts.size() && !result.failed; ++i) {
    const std::size_t to = i < cuts.size() ? cuts[i] : stream.size();
    const Bytes chunk(stream.begin() + static_cast<std::ptrdiff_t>(from),
                      stream.begin() + static_cast<std::ptrdiff_t>(to));
    from = to;
    reader.feed(chunk);
    for (Event event = reader.next(piece_bytes_max); event.what != What::more;
         event = reader.next(piece_bytes_max)) {
      note(result, event);
      if (result.failed) {
        break;
      }
      if (event.what == What::begin && hold) {
        result.messages.pop_back();
        reader.hold();
      }
      result.held_bytes_max = std::max(result.held_bytes_max, reader.held_bytes());
    }
  }
  return result;
}

Outcome read_whole(const Bytes& stream, const ReaderLimits& limits = {}) {
  MessageReader reader(limits);
  return read_all(reader, stream, {});
}

Bytes joined(const std::vector<Bytes>& parts) {
  Bytes all;
  for (const Bytes& part : parts) {
    all.insert(all.end(), part.begin(), part.end());
  }
  return all;
}

Bytes compressed(const Value& value, MessageKind kind, ByteOrder order = ByteOrder::little) {
  const auto packed = kdb::compress(encode_message(value, kind, order));
  EXPECT_TRUE(packed.has_value());
  return packed ? *packed : Bytes();
}

Bytes with_length(Bytes message, std::uint32_t length) {
  for (std::size_t i = 0; i < 4; ++i) {
    message[4 + i] = static_cast<std::byte>(length >> (8 * i));
  }
  return message;
}

const Value kSmallCall = Value::list({Value::chars("proc1"), Value::symbol("IBM")});
const Value kTable = Value::table({"a", "b"}, {Value::longs({1, 2}), Value::symbols({"x", "y"})});
const Value kZeros = Value::longs(std::vector<std::int64_t>(400));
/// Larger than the gather limit of small_limits().
const Value kOverGatherLimit =
    Value::list({Value::long_atom(1), Value::bytes(std::vector<std::uint8_t>(300)),
                 Value::dict(Value::symbols({"a"}), Value::longs({1}))});

ReaderLimits small_limits() {
  ReaderLimits limits;
  limits.gather_bytes_max = 200;
  limits.held_bytes_max = 5000;
  return limits;
}

Bytes mixed_stream() {
  return joined({encode_message(kSmallCall, MessageKind::sync),
                 encode_message(kTable, MessageKind::async, ByteOrder::big),
                 encode_message(kOverGatherLimit, MessageKind::async),
                 compressed(kZeros, MessageKind::sync),
                 compressed(kZeros, MessageKind::async, ByteOrder::big),
                 encode_message(Value::chars(""), MessageKind::sync)});
}

std::vector<Seen> mixed_messages() {
  return {{MessageKind::sync, encode(kSmallCall)},
          {MessageKind::async, encode(kTable)},
          {MessageKind::async, encode(kOverGatherLimit)},
          {MessageKind::sync, encode(kZeros)},
          {MessageKind::async, encode(kZeros)},
          {MessageKind::sync, encode(Value::chars(""))}};
}

TEST(MessageReader, GivesTheSameMessagesWhereverTheStreamIsCut) {
  const Bytes stream = mixed_stream();
  std::vector<std::size_t> every;
  for (std::size_t cut = 0; cut <= stream.size(); ++cut) {
    MessageReader reader(small_limits());
    ASSERT_EQ(read_all(reader, stream, {cut}).messages, mixed_messages()) << "cut at " << cut;
    EXPECT_EQ(reader.held_bytes(), 0U);
    EXPECT_FALSE(reader.mid_message());
    every.push_back(cut);
  }
  MessageReader reader(small_limits());
  const Outcome by_byte = read_all(reader, stream, every);
  EXPECT_EQ(by_byte.messages, mixed_messages());
  EXPECT_EQ(by_byte.begins, 1U);
}

TEST(MessageReader, RandomMessagesInRandomChunksAndPieces) {
  std::mt19937_64 random(mserve::test::seed());
  const std::vector<Value> values = {kSmallCall, kTable, kZeros, kOverGatherLimit, Value::null()};
  for (int round = 0; round < 300; ++round) {
    std::vector<Seen> expected;
    std::vector<Bytes> parts;
    for (std::uint64_t left = 1 + random() % 6; left > 0; --left) {
      const Value& value = values[random() % values.size()];
      const auto kind = static_cast<MessageKind>(random() % 3);
      const auto order = static_cast<ByteOrder>(random() % 2);
      const Bytes plain = encode_message(value, kind, order);
      const auto packed = random() % 2 == 0 ? kdb::compress(plain) : std::nullopt;
      parts.push_back(packed ? *packed : plain);
      expected.push_back({kind, encode(value)});
    }
    const Bytes stream = joined(parts);
    std::vector<std::size_t> cuts(random() % 20);
    std::generate(cuts.begin(), cuts.end(), [&] { return random() % (stream.size() + 1); });
    std::sort(cuts.begin(), cuts.end());
    MessageReader reader(small_limits());
    const bool hold = random() % 2 == 0;
    ASSERT_EQ(read_all(reader, stream, cuts, 1 + random() % 100, hold).messages, expected)
        << "round " << round;
    ASSERT_EQ(reader.held_bytes(), 0U);
  }
}

TEST(MessageReader, DoesNotCopyWhatIsThereAsAWhole) {
  const Bytes stream = joined(
      {encode_message(kSmallCall, MessageKind::sync), encode_message(kTable, MessageKind::async)});
  MessageReader reader;
  reader.feed(stream);
  const Event first = reader.next();
  EXPECT_EQ(first.what, What::whole);
  EXPECT_EQ(first.bytes.data(), stream.data() + 8);
  const Event second = reader.next();
  EXPECT_EQ(second.bytes.data() + second.bytes.size(), stream.data() + stream.size());
  EXPECT_EQ(reader.held_bytes(), 0U);
  EXPECT_EQ(reader.next().what, What::more);
}

TEST(MessageReader, StreamsStraightFromTheReceivedBytes) {
  const Bytes stream = encode_message(kOverGatherLimit, MessageKind::async);
  MessageReader reader(small_limits());
  reader.feed(stream);
  const Event begin = reader.next();
  ASSERT_EQ(begin.what, What::begin);
  EXPECT_EQ(begin.bytes.data(), stream.data() + 8);
  const Event piece = reader.next(100);
  EXPECT_EQ(piece.what, What::piece);
  EXPECT_EQ(piece.bytes.data(), stream.data() + 8) << "pieces start with the beginning again";
  EXPECT_EQ(piece.bytes.size(), 100U);
  EXPECT_EQ(piece.item_type, 4);
  EXPECT_TRUE(reader.mid_message());
  const Event last = reader.next();
  EXPECT_TRUE(last.last);
  EXPECT_EQ(last.item_type, 99) << "the third item is a dictionary";
  EXPECT_EQ(reader.next().what, What::more);
  EXPECT_EQ(reader.held_bytes(), 0U);
}

TEST(MessageReader, HoldsALargeMessageOnDemandWithoutACopyIfItCan) {
  const Bytes stream = encode_message(kOverGatherLimit, MessageKind::async);
  MessageReader reader(small_limits());
  reader.feed(stream);
  ASSERT_EQ(reader.next().what, What::begin);
  reader.hold();
  const Event whole = reader.next();
  EXPECT_EQ(whole.what, What::whole);
  EXPECT_EQ(whole.bytes.data(), stream.data() + 8);
  EXPECT_EQ(whole.bytes.size(), stream.size() - 8);
}

TEST(MessageReader, RefusesToHoldMoreThanItsLimit) {
  const Value value = Value::bytes(std::vector<std::uint8_t>(6000));
  MessageReader reader(small_limits());
  const Outcome held = read_all(reader, encode_message(value, MessageKind::sync), {}, 1, true);
  EXPECT_TRUE(held.failed);
  EXPECT_EQ(held.code, kdb::Errc::too_large);
  EXPECT_EQ(held.reason, "limit");
}

TEST(MessageReader, LimitsWhatMustBeHeld) {
  const Value value = Value::bytes(std::vector<std::uint8_t>(6000));
  const Bytes big = encode_message(value, MessageKind::sync, ByteOrder::big);
  for (const Bytes& stream : {big, compressed(value, MessageKind::sync)}) {
    const Outcome refused = read_whole(stream, small_limits());
    EXPECT_TRUE(refused.failed);
    EXPECT_EQ(refused.reason, "limit");
    EXPECT_EQ(read_whole(stream).messages.size(), 1U) << "with the default limit";
  }
}

TEST(MessageReader, LimitsTheLengthOfAMessage) {
  ReaderLimits limits;
  limits.message_bytes_max = 100;
  const Bytes fits = encode_message(Value::bytes(std::vector<std::uint8_t>(86)), MessageKind::sync);
  const Bytes longer =
      encode_message(Value::bytes(std::vector<std::uint8_t>(87)), MessageKind::sync);
  ASSERT_EQ(fits.size(), 100U);
  EXPECT_EQ(read_whole(fits, limits).messages.size(), 1U);
  MessageReader reader(limits);
  reader.feed(longer);
  const Event refused = reader.next();
  EXPECT_EQ(refused.what, What::failed);
  EXPECT_EQ(refused.code, kdb::Errc::too_large);
  EXPECT_EQ(refused.reason, "limit");
  EXPECT_TRUE(refused.has_header);
  EXPECT_EQ(refused.header.kind, MessageKind::sync) << "so that it can be answered";
}

TEST(MessageReader, AClaimedLengthTakesNoMemory) {
  MessageReader reader;
  const Bytes message =
      with_length(encode_message(kTable, MessageKind::sync, ByteOrder::little), 200'000);
  read_all(reader, message, {9});
  EXPECT_TRUE(reader.mid_message());
  EXPECT_GT(reader.held_bytes(), 0U);
  EXPECT_LE(reader.held_bytes(), 1024U);
}

TEST(MessageReader, NeverKeepsMoreThanTheMessage) {
  const Value value = Value::bytes(std::vector<std::uint8_t>(100'000));
  const Bytes stream = encode_message(value, MessageKind::sync);
  std::vector<std::size_t> cuts;
  for (std::size_t cut = 0; cut < stream.size(); cut += 1460) {
    cuts.push_back(cut);
  }
  MessageReader reader;
  const Outcome result = read_all(reader, stream, cuts);
  EXPECT_EQ(result.messages.size(), 1U);
  EXPECT_LE(result.held_bytes_max, stream.size());
}

// A stream keeps nothing but the validator, however large the message is.
TEST(MessageReader, AStreamKeepsOnlyItsBeginning) {
  const Value value = Value::bytes(std::vector<std::uint8_t>(1'000'000));
  const Bytes stream = encode_message(value, MessageKind::sync);
  std::vector<std::size_t> cuts;
  for (std::size_t cut = 0; cut < stream.size(); cut += 1460) {
    cuts.push_back(cut);
  }
  MessageReader reader;
  const Outcome result = read_all(reader, stream, cuts);
  EXPECT_EQ(result.messages, (std::vector<Seen>{{MessageKind::sync, encode(value)}}));
  EXPECT_LE(result.held_bytes_max, 2 * kStreamHeadBytes);
}

TEST(MessageReader, RefusesBadHeadersAndStaysRefused) {
  const Bytes good = encode_message(kSmallCall, MessageKind::sync);
  for (const std::size_t at : {std::size_t{0}, std::size_t{1}, std::size_t{2}}) {
    Bytes bad = good;
    bad[at] = std::byte{9};
    MessageReader reader;
    reader.feed(bad);
    Event event = reader.next();
    EXPECT_EQ(event.what, What::failed);
    EXPECT_EQ(event.code, kdb::Errc::bad_header);
    EXPECT_EQ(event.reason, "bad header");
    EXPECT_FALSE(event.has_header);
    reader.feed(good);
    event = reader.next();
    EXPECT_EQ(event.what, What::failed);
    EXPECT_EQ(event.code, kdb::Errc::bad_header);
  }
  EXPECT_EQ(read_whole(with_length(good, 8)).code, kdb::Errc::bad_length);
  const Outcome second = read_whole(joined({good, with_length(good, 8)}));
  EXPECT_EQ(second.messages.size(), 1U);
  EXPECT_TRUE(second.failed);
}

TEST(MessageReader, RefusesMalformedBodiesOfEveryForm) {
  Bytes plain = encode_message(kSmallCall, MessageKind::sync);
  plain[8] = std::byte{3};
  Bytes big = encode_message(kSmallCall, MessageKind::sync, ByteOrder::big);
  big[8] = std::byte{3};
  Bytes packed = compressed(kZeros, MessageKind::sync);
  packed[13] = std::byte{3};  // the first literal: the type
  Bytes cut_short = with_length(compressed(kZeros, MessageKind::sync), 20);
  for (const Bytes& stream : {plain, big, packed, cut_short}) {
    const Outcome refused = read_whole(stream);
    EXPECT_TRUE(refused.failed);
    EXPECT_EQ(refused.reason, "badmsg");
    EXPECT_TRUE(refused.messages.empty());
  }
}

TEST(MessageReader, RefusesAMalformedStreamWhereItBreaks) {
  Bytes stream = encode_message(kOverGatherLimit, MessageKind::async);
  stream[8 + 6 + 9 + 6 + 300] = std::byte{3};  // the type of the third item
  MessageReader reader(small_limits());
  const Outcome refused = read_all(reader, stream, {}, 50);
  EXPECT_TRUE(refused.failed);
  EXPECT_EQ(refused.code, kdb::Errc::bad_type);
  EXPECT_EQ(refused.reason, "badmsg");
  EXPECT_EQ(refused.messages.back().body.size(), 300U) << "what came before was given out";
  EXPECT_EQ(reader.held_bytes(), 0U);
}

}  // namespace
}  // namespace mserve::broker
