// SPDX-License-Identifier: Apache-2.0
#include "mserve/kdb/message.hpp"

#include <gtest/gtest.h>

#include "mserve/kdb/compress.hpp"
#include "samples.hpp"

namespace {

using namespace mserve::kdb;
using mserve::test::bytes_of;
using Bytes = std::vector<std::byte>;

Bytes as_bytes(const std::array<std::byte, kHeaderBytes>& header) {
  return {header.begin(), header.end()};
}

TEST(Header, IsWrittenAndReadInBothOrdersAndAboveFourGiB) {
  for (const ByteOrder order : {ByteOrder::little, ByteOrder::big}) {
    for (const std::uint64_t size : {std::uint64_t{9}, std::uint64_t{0x12345678},
                                     std::uint64_t{5'000'000'018}, kMessageBytesMax}) {
      const Header header{order, MessageKind::response, Compression::compressed_64, size};
      const Result<Header> back = parse_header(write_header(header));
      ASSERT_TRUE(back.ok());
      EXPECT_EQ(*back, header);
    }
  }
  EXPECT_EQ(
      as_bytes(write_header({ByteOrder::big, MessageKind::sync, Compression::none, 0x0102030405})),
      bytes_of({0, 1, 0, 1, 2, 3, 4, 5}));
}

TEST(Header, OutOfRangeFieldsAreRefused) {
  EXPECT_EQ(parse_header(bytes_of({1, 0, 0, 0, 9, 0, 0})).error().code, Errc::truncated);
  EXPECT_EQ(parse_header(bytes_of({2, 0, 0, 0, 9, 0, 0, 0})).error(), (Error{Errc::bad_header, 0}));
  EXPECT_EQ(parse_header(bytes_of({1, 3, 0, 0, 9, 0, 0, 0})).error(), (Error{Errc::bad_header, 1}));
  EXPECT_EQ(parse_header(bytes_of({1, 0, 3, 0, 9, 0, 0, 0})).error(), (Error{Errc::bad_header, 2}));
  EXPECT_EQ(parse_header(bytes_of({1, 0, 0, 0, 8, 0, 0, 0})).error().code, Errc::bad_length);
}

TEST(Message, EverySampleSurvivesInEveryKindAndOrder) {
  for (const Value& value : mserve::test::all_samples()) {
    for (const ByteOrder order : {ByteOrder::little, ByteOrder::big}) {
      const Bytes bytes = encode_message(value, MessageKind::sync, order);
      EXPECT_TRUE(validate_message(bytes).ok());
      const Result<Message> message = decode_message(bytes);
      ASSERT_TRUE(message.ok());
      EXPECT_EQ(message->value, value);
      EXPECT_EQ(message->header,
                (Header{order, MessageKind::sync, Compression::none, bytes.size()}));
    }
  }
}

TEST(Message, LengthMustMatchExactly) {
  Bytes bytes = encode_message(Value::long_atom(1), MessageKind::async);
  bytes.push_back(std::byte{0});
  EXPECT_EQ(decode_message(bytes).error().code, Errc::bad_length);
  bytes.resize(bytes.size() - 2);
  EXPECT_EQ(decode_message(bytes).error().code, Errc::bad_length);
}

TEST(Message, OffsetsOfErrorsCountTheHeader) {
  Bytes bytes = encode_message(Value::long_atom(1), MessageKind::async);
  bytes[8] = std::byte{3};
  EXPECT_EQ(decode_message(bytes).error(), (Error{Errc::bad_type, 8}));
  EXPECT_EQ(validate_message(bytes).error(), (Error{Errc::bad_type, 8}));
}

TEST(Compress, LongRunsShrinkAndComeBack) {
  for (const ByteOrder order : {ByteOrder::little, ByteOrder::big}) {
    const Bytes plain = encode_message(Value::longs(std::vector<std::int64_t>(1000, 7)),
                                       MessageKind::response, order);
    const std::optional<Bytes> packed = compress(plain);
    ASSERT_TRUE(packed.has_value());
    EXPECT_LT(packed->size(), plain.size() / 10);
    EXPECT_EQ(*decompress(*packed, plain.size()), plain);
    const Result<Message> message = decode_message(*packed);
    ASSERT_TRUE(message.ok());
    EXPECT_EQ(message->value.count(), 1000U);
    EXPECT_EQ(message->header.compression, Compression::compressed);
  }
}

TEST(Compress, ShortOrNoisyOrCompressedMessagesStayAsTheyAre) {
  const auto message = [](std::size_t size) {
    return encode_message(Value::chars(std::string(size, 'a')), MessageKind::async);
  };
  EXPECT_FALSE(compress(message(1986)).has_value());
  EXPECT_TRUE(compress(message(1987)).has_value());
  EXPECT_FALSE(compress(*compress(message(5000))).has_value());
  EXPECT_FALSE(compress({}).has_value());
  std::mt19937_64 random(1);
  std::string noise(5000, ' ');
  for (char& c : noise) {
    c = static_cast<char>(random());
  }
  EXPECT_FALSE(compress(encode_message(Value::chars(noise), MessageKind::async)).has_value());
}

TEST(Compress, TheSixtyFourBitContainerIsRead) {
  const Bytes plain = encode_message(Value::chars(std::string(5000, 'x')), MessageKind::async);
  Bytes wide = *compress(plain);
  wide.insert(wide.begin() + 12, 4, std::byte{0});
  const auto header = write_header(
      {ByteOrder::little, MessageKind::async, Compression::compressed_64, wide.size()});
  std::copy(header.begin(), header.end(), wide.begin());
  EXPECT_EQ(*decompress(wide, 1 << 20), plain);
}

TEST(Decompress, DeclaredSizesAreCappedAndMustBePossible) {
  Bytes packed =
      *compress(encode_message(Value::chars(std::string(5000, 'x')), MessageKind::async));
  EXPECT_EQ(decompress(packed, 5013).error().code, Errc::too_large);
  EXPECT_TRUE(decompress(packed, 5014).ok());
  packed[10] = std::byte{0x40};  // 4 MiB from 60 bytes
  EXPECT_EQ(decompress(packed, 1 << 30).error().code, Errc::bad_compression);
}

TEST(Decompress, DamageIsRefusedWherever) {
  const Bytes packed =
      *compress(encode_message(Value::chars(std::string(5000, 'x')), MessageKind::async));
  EXPECT_EQ(decompress(encode_message(Value::null(), MessageKind::async), 100).error().code,
            Errc::bad_header);
  for (std::size_t size = 0; size < packed.size(); ++size) {
    Bytes cut(packed.begin(), packed.begin() + static_cast<std::ptrdiff_t>(size));
    EXPECT_FALSE(decompress(cut, 1 << 20).ok());
    if (size > kHeaderBytes) {
      const auto header =
          write_header({ByteOrder::little, MessageKind::async, Compression::compressed, size});
      std::copy(header.begin(), header.end(), cut.begin());
      EXPECT_FALSE(decompress(cut, 1 << 20).ok());
    }
  }
  // A match that refers to a slot nobody has filled.
  Bytes empty_slot = bytes_of({1, 0, 1, 0, 15, 0, 0, 0, 20, 0, 0, 0, 1, 5, 10});
  EXPECT_EQ(decompress(empty_slot, 1 << 20).error().code, Errc::bad_compression);
}

TEST(Decompress, RandomStreamsNeverEscapeTheirBuffers) {
  const std::uint64_t seed = mserve::test::test_seed(7);
  SCOPED_TRACE(mserve::test::replay_hint(seed, "Decompress.RandomStreamsNeverEscapeTheirBuffers"));
  std::mt19937_64 random(seed);
  for (int round = 0; round < 20'000; ++round) {
    Bytes bytes(13 + random() % 80);
    for (std::byte& byte : bytes) {
      byte = static_cast<std::byte>(random() % 5 == 0 ? random() : random() % 4);
    }
    const auto header = write_header(
        {ByteOrder::little, MessageKind::async, Compression::compressed, bytes.size()});
    std::copy(header.begin(), header.end(), bytes.begin());
    const std::size_t plain = 9 + random() % 3000;
    bytes[8] = static_cast<std::byte>(plain & 0xff);
    bytes[9] = static_cast<std::byte>(plain >> 8);
    bytes[10] = bytes[11] = std::byte{0};
    const auto result = decompress(bytes, 4096);
    if (result.ok()) {
      EXPECT_EQ(result->size(), plain);
    }
  }
}

}  // namespace
