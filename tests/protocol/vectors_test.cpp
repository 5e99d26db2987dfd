// SPDX-License-Identifier: Apache-2.0
// Goal: our codec agrees, byte for byte, with the encoders of q, KX's C library and the well-known
// clients. Method: decode every reference message, encode it again, compare; damage it and see that
// it is refused.
#include "vectors.hpp"

#include <gtest/gtest.h>

#include "mserve/kdb/compress.hpp"
#include "mserve/kdb/message.hpp"
#include "mserve/kdb/skip.hpp"

namespace {

using namespace mserve::kdb;
using mserve::test::to_hex;
using mserve::test::Vector;
using mserve::test::vectors;
using Bytes = std::vector<std::byte>;

constexpr std::uint64_t kPlainBytesMax = 1 << 20;

Bytes plain_of(const Bytes& bytes) {
  Result<Bytes> plain = decompress(bytes, kPlainBytesMax);
  return plain ? *std::move(plain) : Bytes();
}

/// The plain little-endian message that `vector` stands for, as the file says; empty when it names
/// none.
Bytes twin_of(const Vector& vector) {
  if (vector.decodes_to.starts_with("hex:")) {
    return mserve::test::from_hex(vector.decodes_to.substr(4));
  }
  const Vector* twin = vectors().find(vector.decodes_to);
  return twin != nullptr ? twin->bytes : Bytes();
}

void expect_reencodes(const Vector& vector, const Bytes& bytes) {
  const Result<Message> message = decode_message(bytes);
  ASSERT_TRUE(message.ok()) << vector.id << ": " << to_text(message.error());
  const Header& header = message->header;
  const Bytes again = encode_message(message->value, header.kind, header.order);
  EXPECT_EQ(to_hex(again),
            to_hex(header.compression == Compression::none ? bytes : plain_of(bytes)))
      << vector.id;
}

TEST(Vectors, DecodeThenEncodeGivesTheSameBytes) {
  MSERVE_NEED_VECTORS();
  ASSERT_GE(vectors().all.size(), 200U);
  for (const Vector& vector : vectors().all) {
    expect_reencodes(vector, vector.bytes);
    for (const Bytes& other : vector.alternatives) {
      expect_reencodes(vector, other);
    }
  }
}

TEST(Vectors, ErrorsDecodeToErrorValues) {
  MSERVE_NEED_VECTORS();
  int seen = 0;
  for (const Vector& vector : vectors().all) {
    const Result<Message> message = decode_message(vector.bytes);
    ASSERT_TRUE(message.ok()) << vector.id;
    EXPECT_EQ(message->value.is_error(), vector.kind == "error") << vector.id;
    seen += vector.kind == "error" ? 1 : 0;
  }
  EXPECT_GE(seen, 2);
}

TEST(Vectors, OtherFormsDecodeToTheirPlainLittleEndianTwin) {
  MSERVE_NEED_VECTORS();
  int seen = 0;
  for (const Vector& vector : vectors().all) {
    if (vector.decodes_to.empty()) {
      continue;
    }
    const Result<Message> message = decode_message(vector.bytes);
    const Result<Message> twin = decode_message(twin_of(vector));
    ASSERT_TRUE(message.ok() && twin.ok()) << vector.id;
    EXPECT_EQ(message->value, twin->value) << vector.id;
    EXPECT_EQ(to_hex(encode(message->value)), to_hex(encode(twin->value))) << vector.id;
    ++seen;
  }
  EXPECT_GE(seen, 20);
}

TEST(Vectors, CompressingAgainGivesTheSameBytes) {
  MSERVE_NEED_VECTORS();
  int seen = 0;
  for (const Vector& vector : vectors().all) {
    if (vector.kind != "compressed" || !(vector.made_by_javakdb || vector.recorded_from_q)) {
      continue;
    }
    const std::optional<Bytes> again = compress(plain_of(vector.bytes));
    ASSERT_TRUE(again.has_value()) << vector.id;
    EXPECT_EQ(to_hex(*again), to_hex(vector.bytes)) << vector.id;
    ++seen;
  }
  EXPECT_GE(seen, 8);
}

TEST(Vectors, WhatOthersSentPlainIsNotCompressedByUs) {
  MSERVE_NEED_VECTORS();
  for (const char* id : {"z_at2000_c", "z_random4000_c"}) {
    const Vector* vector = vectors().find(id);
    ASSERT_NE(vector, nullptr) << id;
    EXPECT_FALSE(compress(vector->bytes).has_value()) << id;
  }
}

TEST(Vectors, VerdictsOfTheReferenceValidatorAreMatched) {
  MSERVE_NEED_VECTORS();
  ASSERT_GE(vectors().verdicts.size(), 9U);
  for (const auto& verdict : vectors().verdicts) {
    EXPECT_EQ(validate_message(verdict.bytes).ok(), verdict.accepted) << verdict.what;
    EXPECT_EQ(decode_message(verdict.bytes).ok(), verdict.accepted) << verdict.what;
  }
}

TEST(Vectors, HeadersOfMessagesAboveTwoGiBAreRead) {
  MSERVE_NEED_VECTORS();
  ASSERT_GE(vectors().heads.size(), 8U);
  for (const auto& head : vectors().heads) {
    const Result<Header> header = parse_header(head.bytes);
    ASSERT_TRUE(header.ok()) << head.what;
    EXPECT_EQ(header->message_bytes, head.total) << head.what;
    const auto again = write_header(*header);
    EXPECT_TRUE(std::equal(again.begin(), again.end(), head.bytes.begin())) << head.what;
  }
}

/// The message cut off, with a header that admits the new length, so that only the object can be
/// the reason.
Bytes cut_message(const Bytes& bytes, std::size_t size) {
  Bytes cut(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size));
  if (size >= kHeaderBytes) {
    Result<Header> header = parse_header(bytes);
    header->message_bytes = size;
    const auto head = write_header(*header);
    std::copy(head.begin(), head.end(), cut.begin());
  }
  return cut;
}

TEST(Vectors, EveryTruncationIsRefused) {
  MSERVE_NEED_VECTORS();
  for (const Vector& vector : vectors().all) {
    for (std::size_t size = 0; size < vector.bytes.size(); ++size) {
      const Bytes raw(vector.bytes.begin(),
                      vector.bytes.begin() + static_cast<std::ptrdiff_t>(size));
      ASSERT_FALSE(decode_message(raw).ok()) << vector.id << " cut at " << size;
      ASSERT_FALSE(validate_message(raw).ok()) << vector.id << " cut at " << size;
      ASSERT_FALSE(decode_message(cut_message(vector.bytes, size)).ok())
          << vector.id << " cut at " << size;
    }
  }
}

TEST(Vectors, OneByteMoreIsRefused) {
  MSERVE_NEED_VECTORS();
  for (const Vector& vector : vectors().all) {
    Bytes longer = vector.bytes;
    longer.push_back(std::byte{0});
    EXPECT_FALSE(decode_message(longer).ok()) << vector.id;
    EXPECT_FALSE(decode_message(cut_message(longer, longer.size())).ok()) << vector.id;
  }
}

TEST(Vectors, SkippingFindsTheEndOfEachObjectWithMoreBytesBehindIt) {
  MSERVE_NEED_VECTORS();
  for (const Vector& vector : vectors().all) {
    const Bytes plain = vector.kind == "compressed" ? plain_of(vector.bytes) : vector.bytes;
    Bytes object(plain.begin() + kHeaderBytes, plain.end());
    const std::size_t size = object.size();
    object.insert(object.end(), 5, std::byte{0xff});
    const Result<std::size_t> skipped = skip(object, kDepthMax, static_cast<ByteOrder>(plain[0]));
    ASSERT_TRUE(skipped.ok()) << vector.id << ": " << to_text(skipped.error());
    EXPECT_EQ(*skipped, size) << vector.id;
  }
}

TEST(Vectors, SwappingTheByteOrderTwiceGivesTheSameBytes) {
  MSERVE_NEED_VECTORS();
  for (const Vector& vector : vectors().all) {
    if (vector.kind == "compressed") {
      continue;
    }
    const Bytes object(vector.bytes.begin() + kHeaderBytes, vector.bytes.end());
    Bytes swapped = object;
    const auto from = static_cast<ByteOrder>(vector.bytes[0]);
    const auto to = from == ByteOrder::little ? ByteOrder::big : ByteOrder::little;
    ASSERT_TRUE(swap_byte_order(swapped, from).ok()) << vector.id;
    ASSERT_TRUE(swap_byte_order(swapped, to).ok()) << vector.id;
    EXPECT_EQ(to_hex(swapped), to_hex(object)) << vector.id;
  }
}

}  // namespace
