// SPDX-License-Identifier: Apache-2.0
#include "mserve/kdb/codec.hpp"

#include <gtest/gtest.h>

#include "mserve/kdb/skip.hpp"
#include "samples.hpp"

namespace {

using namespace mserve::kdb;
using mserve::test::bytes_of;
using Bytes = std::vector<std::byte>;

Bytes joined(Bytes a, const Bytes& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

TEST(Codec, EncodesAtomsAsTheProtocolSays) {
  EXPECT_EQ(encode(Value::int_atom(1)), bytes_of({0xfa, 1, 0, 0, 0}));
  EXPECT_EQ(encode(Value::symbol("abc")), bytes_of({0xf5, 'a', 'b', 'c', 0}));
  EXPECT_EQ(encode(Value::boolean(false)), bytes_of({0xff, 0}));
  EXPECT_EQ(encode(Value::null()), bytes_of({0x65, 0}));
  EXPECT_EQ(encode(Value::error("type")), bytes_of({0x80, 't', 'y', 'p', 'e', 0}));
  EXPECT_EQ(encode(Value::short_atom(kNullShort)), bytes_of({0xfb, 0, 0x80}));
}

TEST(Codec, EncodesVectorsListsAndDictionariesAsTheProtocolSays) {
  EXPECT_EQ(encode(Value::ints({1, 2})), bytes_of({6, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0}));
  EXPECT_EQ(encode(Value::list({})), bytes_of({0, 0, 0, 0, 0, 0}));
  EXPECT_EQ(encode(Value::bytes({7}).with_attribute(Attribute::grouped)),
            bytes_of({4, 4, 1, 0, 0, 0, 7}));
  EXPECT_EQ(encode(Value::dict(Value::symbols({"a"}), Value::bytes({9}))),
            bytes_of({0x63, 0x0b, 0, 1, 0, 0, 0, 'a', 0, 4, 0, 1, 0, 0, 0, 9}));
  EXPECT_EQ(encode(Value::table({"a"}, {Value::bytes({9})})),
            bytes_of({0x62, 0, 0x63, 0x0b, 0, 1, 0, 0, 0, 'a', 0, 0,
                      0,    1, 0,    0,    0, 4, 0, 1, 0, 0,   0, 9}));
}

TEST(Codec, EncodesBigEndianForPeersThatAskForIt) {
  EXPECT_EQ(encode(Value::shorts({1, 2}), ByteOrder::big),
            bytes_of({5, 0, 0, 0, 0, 2, 0, 1, 0, 2}));
  EXPECT_EQ(encode(Value::guid(mserve::test::sample_guid()), ByteOrder::big),
            encode(Value::guid(mserve::test::sample_guid())));
}

TEST(Codec, EverySampleSurvivesBothByteOrders) {
  for (const Value& value : mserve::test::all_samples()) {
    for (const ByteOrder order : {ByteOrder::little, ByteOrder::big}) {
      const Bytes bytes = encode(value, order);
      EXPECT_EQ(bytes.size(), encoded_size(value));
      const Result<Value> back = decode(bytes, order);
      ASSERT_TRUE(back.ok()) << to_text(back.error());
      EXPECT_EQ(*back, value);
      EXPECT_EQ(back->attribute(), value.attribute());
      EXPECT_EQ(back->depth(), value.depth());
      EXPECT_EQ(encode(*back, order), bytes);
    }
  }
}

TEST(Codec, EveryTruncationOfEverySampleIsRefusedBySkipAndDecodeAlike) {
  for (const Value& value : mserve::test::all_samples()) {
    const Bytes bytes = encode(value);
    for (std::size_t size = 0; size < bytes.size(); ++size) {
      const std::span<const std::byte> cut(bytes.data(), size);
      EXPECT_FALSE(decode(cut).ok());
      EXPECT_FALSE(skip(cut).ok());
    }
  }
}

TEST(Codec, FloatNullsKeepTheirBits) {
  const Bytes go_nan = bytes_of({0xf7, 1, 0, 0, 0, 0, 0, 0xf8, 0x7f});
  const Result<Value> value = decode(go_nan);
  ASSERT_TRUE(value.ok());
  EXPECT_EQ(encode(*value), go_nan);
}

TEST(Codec, FunctionsAreKeptByteForByteInBothOrders) {
  const Bytes projection = bytes_of({104, 2,   0,   0,   0,    100, 0, 10, 0, 5, 0, 0, 0, '{',
                                     'x', '+', 'y', '}', 0xf9, 3,   0, 0,  0, 0, 0, 0, 0});
  const Bytes in_list = joined(bytes_of({0, 0, 1, 0, 0, 0}), projection);
  for (const Bytes& bytes :
       {projection, in_list, bytes_of({0x6b, 0x66, 0x0c}), bytes_of({0x65, 0xff})}) {
    const Result<Value> value = decode(bytes);
    ASSERT_TRUE(value.ok()) << to_text(value.error());
    EXPECT_EQ(encode(*value), bytes);
    const Result<Value> big = decode(encode(*value, ByteOrder::big), ByteOrder::big);
    ASSERT_TRUE(big.ok());
    EXPECT_EQ(*big, *value);
  }
}

TEST(Codec, WideCountsAreReadAndWrittenBackNarrow) {
  const Bytes wide = bytes_of({4, 0x81, 3, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3});
  const Result<Value> value = decode(wide);
  ASSERT_TRUE(value.ok());
  EXPECT_EQ(value->attribute(), Attribute::sorted);
  EXPECT_EQ(encode(*value), bytes_of({4, 1, 3, 0, 0, 0, 1, 2, 3}));
}

struct Refusal {
  const char* what;
  Bytes bytes;
  Errc code;
};

TEST(Codec, MalformedObjectsAreRefusedWithTheirReason) {
  const Refusal refusals[] = {
      {"nothing", {}, Errc::truncated},
      {"type 3", bytes_of({3, 0, 0, 0, 0, 0}), Errc::bad_type},
      {"atom of type 3", bytes_of({0xfd, 0}), Errc::bad_type},
      {"enumeration", bytes_of({20, 0, 0, 0, 0, 0}), Errc::bad_type},
      {"enumeration atom", bytes_of({0xec, 0, 0, 0, 0}), Errc::bad_type},
      {"anymap", bytes_of({77, 0, 0, 0, 0, 0}), Errc::bad_type},
      {"dynamic load", bytes_of({112, 0}), Errc::bad_type},
      {"type 126", bytes_of({126, 0}), Errc::bad_type},
      {"negative count", bytes_of({4, 0, 0xff, 0xff, 0xff, 0xff, 1}), Errc::bad_count},
      {"huge wide count", bytes_of({4, 0x80, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}),
       Errc::bad_count},
      {"wide count times item size overflows",
       bytes_of({7, 0x80, 1, 0, 0, 0, 0, 0, 0, 0x20, 1, 2, 3, 4, 5, 6, 7, 8}), Errc::bad_count},
      {"list longer than its data", bytes_of({0, 0, 9, 0, 0, 0, 0xff, 1}), Errc::bad_count},
      {"symbol without NUL", bytes_of({0xf5, 'a'}), Errc::truncated},
      {"symbol vector one short", bytes_of({11, 0, 2, 0, 0, 0, 'a', 0}), Errc::truncated},
      {"error in a list", bytes_of({0, 0, 1, 0, 0, 0, 0x80, 'a', 0}), Errc::nested_error},
      {"error as a projection's part", bytes_of({104, 1, 0, 0, 0, 0x80, 'a', 0}),
       Errc::nested_error},
      {"dictionary of unequal counts", bytes_of({99, 4, 0, 1, 0, 0, 0, 1, 4, 0, 0, 0, 0, 0}),
       Errc::bad_shape},
      {"table without dictionary", bytes_of({98, 0, 4, 0, 0, 0, 0, 0}), Errc::bad_shape},
      {"table over a sorted dictionary",
       bytes_of({98, 0, 127, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}), Errc::bad_shape},
      {"table of numbered columns",
       bytes_of({98, 0, 99, 4, 0, 1, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 4, 0, 0, 0, 0, 0}),
       Errc::bad_shape},
      {"table with an atom column",
       bytes_of({98, 0, 99, 11, 0, 1, 0, 0, 0, 'a', 0, 0, 0, 1, 0, 0, 0, 0xff, 1}),
       Errc::bad_shape},
      {"table with a column too many", bytes_of({98, 0, 99, 11, 0, 1, 0, 0, 0, 'a', 0, 0, 0, 2, 0,
                                                 0,  0, 4,  0,  0, 0, 0, 0, 4, 0,   0, 0, 0, 0}),
       Errc::bad_shape},
      {"table of unequal columns",
       bytes_of({98, 0, 99, 11, 0, 2, 0, 0, 0, 'a', 0, 'b', 0, 0, 0, 2,
                 0,  0, 0,  4,  0, 0, 0, 0, 0, 4,   0, 1,   0, 0, 0, 1}),
       Errc::bad_shape},
      {"lambda whose source is no string", bytes_of({100, 0, 0xff, 1}), Errc::bad_shape},
      {"byte left over", bytes_of({0xff, 1, 0}), Errc::trailing_bytes},
  };
  for (const Refusal& refusal : refusals) {
    const Result<Value> value = decode(refusal.bytes);
    ASSERT_FALSE(value.ok()) << refusal.what;
    EXPECT_EQ(value.error().code, refusal.code) << refusal.what << ": " << to_text(value.error());
    const auto judged = validate(refusal.bytes);
    ASSERT_FALSE(judged.ok()) << refusal.what;
    EXPECT_EQ(judged.error().code, refusal.code) << refusal.what << ": " << to_text(judged.error());
  }
}

Bytes nested_lists(std::size_t depth) {
  Bytes bytes;
  for (std::size_t i = 1; i < depth; ++i) {
    bytes = joined(std::move(bytes), bytes_of({0, 0, 1, 0, 0, 0}));
  }
  return joined(std::move(bytes), bytes_of({0xff, 1}));
}

TEST(Codec, DepthIsLimited) {
  EXPECT_TRUE(decode(nested_lists(kDepthMax)).ok());
  EXPECT_TRUE(skip(nested_lists(kDepthMax)).ok());
  EXPECT_EQ(decode(nested_lists(kDepthMax + 1)).error().code, Errc::too_deep);
  EXPECT_EQ(skip(nested_lists(kDepthMax + 1)).error().code, Errc::too_deep);
  EXPECT_EQ(decode(nested_lists(3), ByteOrder::little, {2, 1000}).error().code, Errc::too_deep);
  EXPECT_EQ(skip(nested_lists(3), 2).error().code, Errc::too_deep);
}

TEST(Codec, AMillionLevelsOfFunctionsAreRefusedWithoutRecursingThrough) {
  const Bytes bytes(1'000'000, std::byte{106});
  EXPECT_EQ(decode(bytes).error().code, Errc::too_deep);
  EXPECT_EQ(skip(bytes).error().code, Errc::too_deep);
}

TEST(Codec, ObjectsAboveTheCapAreRefusedUnread) {
  EXPECT_EQ(decode(encode(Value::chars("abcdef")), ByteOrder::little, {kDepthMax, 8}).error().code,
            Errc::too_large);
}

TEST(Codec, EncodeToNeedsEnoughRoomAndWritesNothingWithout) {
  const Value value = Value::ints({1, 2});
  Bytes buffer(encoded_size(value) - 1, std::byte{0xee});
  const Result<std::size_t> refused = encode_to(value, buffer);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().offset, encoded_size(value));
  EXPECT_EQ(buffer[0], std::byte{0xee});
  buffer.resize(buffer.size() + 10);
  EXPECT_EQ(*encode_to(value, buffer), encoded_size(value));
}

TEST(Codec, EncodeCallIsAlwaysAGeneralList) {
  const std::vector<Value> arguments{Value::symbol("IBM")};
  EXPECT_EQ(encode_call("f", arguments),
            bytes_of({0, 0, 2, 0, 0, 0, 0xf5, 'f', 0, 0xf5, 'I', 'B', 'M', 0}));
}

TEST(Codec, OneColumnTableWithAListOfBytesKeepsListAndVectorApart) {
  const Value vector = Value::bytes({1, 2});
  const Value list = Value::list({Value::byte(1), Value::byte(2)});
  EXPECT_FALSE(vector == list);
  EXPECT_EQ(decode(encode(list))->type_code(), 0);
}

}  // namespace
