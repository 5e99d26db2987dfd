// SPDX-License-Identifier: Apache-2.0
// Goal: an object in pieces is judged as the whole of it. Method: samples of every type, edge cases
// by hand, damaged and random bytes, cut in every and in random ways, against validate().
#include "mserve/kdb/stream.hpp"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include "damage.hpp"
#include "mserve/kdb/codec.hpp"
#include "samples.hpp"
#include "stream_verdict.hpp"

namespace {

using namespace mserve::kdb;
using mserve::test::bytes_of;
using mserve::test::expect_one_verdict_at_every_boundary;
using mserve::test::random_cuts;
using mserve::test::verdict_in_pieces;
using mserve::test::verdict_of_whole;
using Bytes = std::vector<std::byte>;

std::vector<Bytes> encoded_samples() {
  std::vector<Bytes> all;
  for (const Value& value : mserve::test::all_samples()) {
    all.push_back(encode(value));
  }
  for (const Bytes& function :
       {bytes_of({100, 'q', 0, 10, 0, 3, 0, 0, 0, '{', 'x', '}'}), bytes_of({101, 0}),
        bytes_of({104, 2, 0, 0, 0, 102, 1, 0xf9, 1, 2, 3, 4, 5, 6, 7, 8}),
        bytes_of({105, 0, 0, 0, 0}), bytes_of({107, 102, 12}),
        bytes_of({0x80, 't', 'y', 'p', 'e', 0})}) {
    all.push_back(function);
  }
  return all;
}

TEST(StreamValidator, JudgesEverySampleAtEveryBoundary) {
  for (const Bytes& object : encoded_samples()) {
    ASSERT_EQ(verdict_of_whole(object, kDepthMax, ByteOrder::little), Errc::ok);
    expect_one_verdict_at_every_boundary(object);
    StreamValidator validator(object.size());
    EXPECT_EQ(validator.feed(object), Errc::ok);
    EXPECT_EQ(validator.type(), *validate(object));
    EXPECT_EQ(validator.left(), 0U);
  }
}

TEST(StreamValidator, JudgesBigEndianSamplesAtEveryBoundary) {
  for (const Value& value : mserve::test::all_samples()) {
    expect_one_verdict_at_every_boundary(encode(value, ByteOrder::big), kDepthMax, ByteOrder::big);
  }
}

TEST(StreamValidator, JudgesEveryTruncationOfEverySample) {
  for (const Bytes& object : encoded_samples()) {
    for (std::size_t size = 0; size < object.size(); ++size) {
      expect_one_verdict_at_every_boundary(std::span(object).first(size));
    }
  }
}

TEST(StreamValidator, JudgesDepthAsTheWalkDoes) {
  Bytes nested;
  for (int level = 0; level < 70; ++level) {
    Bytes object = nested;
    object.insert(object.end(), {std::byte{255}, std::byte{1}});
    for (std::size_t depth_max = 1; depth_max <= kDepthMax + 1; depth_max += 7) {
      ASSERT_EQ(verdict_in_pieces(object, {}, depth_max),
                verdict_of_whole(object, depth_max, ByteOrder::little));
    }
    const Bytes list_head = bytes_of({0, 0, 1, 0, 0, 0});
    nested.insert(nested.end(), list_head.begin(), list_head.end());
  }
  for (const Bytes& object : encoded_samples()) {
    for (std::size_t depth_max = 0; depth_max < 8; ++depth_max) {
      expect_one_verdict_at_every_boundary(object, depth_max);
    }
  }
}

TEST(StreamValidator, RefusesShapesThatOnlyTheEndShows) {
  const Bytes dict = bytes_of({99, 4, 0, 2, 0, 0, 0, 1, 2, 4, 0, 3, 0, 0, 0, 1, 2, 3});
  const Bytes table = bytes_of({98, 0, 99, 11, 0, 2, 0, 0, 0, 'a', 0, 'b', 0, 0, 0, 2, 0,
                                0,  0, 4,  0,  1, 0, 0, 0, 1, 4,   0, 2,   0, 0, 0, 1, 2});
  const Bytes atom_column =
      bytes_of({98, 0, 99, 11, 0, 1, 0, 0, 0, 'a', 0, 0, 0, 1, 0, 0, 0, 0xfc, 7});
  const Bytes names_without_columns =
      bytes_of({98, 0, 99, 11, 0, 1, 0, 0, 0, 'a', 0, 0, 0, 0, 0, 0, 0});
  const Bytes path_of_long = bytes_of({98, 0, 99, 11, 0, 0, 0, 0, 0, 0xfc, 1});
  const Bytes lambda_of_symbol = bytes_of({100, 0, 0xf5, 'x', 0});
  for (const Bytes& object :
       {dict, table, atom_column, names_without_columns, path_of_long, lambda_of_symbol}) {
    ASSERT_EQ(verdict_of_whole(object, kDepthMax, ByteOrder::little), Errc::bad_shape);
    expect_one_verdict_at_every_boundary(object);
  }
}

TEST(StreamValidator, AcceptsLongCountsEmptyTablesAndSplayedOnes) {
  const Bytes long_count = bytes_of({4, 0x80, 2, 0, 0, 0, 0, 0, 0, 0, 1, 2});
  const Bytes empty_table = bytes_of({98, 0, 99, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0});
  const Bytes splayed = bytes_of({98, 1, 99, 11, 0, 1, 0, 0, 0, 'a', 0, 0xf5, 'd', 0});
  const Bytes counts_as_none =
      bytes_of({99, 11, 0, 0, 0, 0, 0, 98, 1, 99, 11, 0, 1, 0, 0, 0, 'a', 0, 0xf5, 'd', 0});
  for (const Bytes& object : {long_count, empty_table, splayed, counts_as_none}) {
    ASSERT_EQ(verdict_of_whole(object, kDepthMax, ByteOrder::little), Errc::ok);
    expect_one_verdict_at_every_boundary(object);
  }
}

TEST(StreamValidator, TellsAFaultBeforeTheBytesThatFollowIt) {
  StreamValidator validator(1'000'000);
  EXPECT_EQ(validator.feed(bytes_of({4, 0, 0xff, 0xff, 0xff, 0x7f})), Errc::bad_count);
  StreamValidator shorter(20);
  EXPECT_EQ(shorter.feed(bytes_of({0xff, 1})), Errc::trailing_bytes);
}

TEST(StreamValidator, RefusesMoreBytesThanTheHeaderSaid) {
  StreamValidator validator(2);
  EXPECT_EQ(validator.feed(bytes_of({0xff})), Errc::ok);
  EXPECT_FALSE(validator.done());
  EXPECT_EQ(validator.feed(bytes_of({1, 0})), Errc::trailing_bytes);
  EXPECT_EQ(StreamValidator(0).feed({}), Errc::truncated);
}

TEST(StreamValidator, TellsTheTypeOfTheLastItemOfAList) {
  const Bytes options =
      encode(Value::dict(Value::symbols({"a"}), Value::list({Value::longs({1})})));
  Bytes list = bytes_of({0, 0, 2, 0, 0, 0, 0xf9, 1, 0, 0, 0, 0, 0, 0, 0});
  StreamValidator validator(list.size() + options.size());
  EXPECT_EQ(validator.item_type(), 0);
  EXPECT_EQ(validator.feed(list), Errc::ok);
  EXPECT_EQ(validator.item_type(), -7);
  EXPECT_EQ(validator.feed(options), Errc::ok);
  EXPECT_TRUE(validator.done());
  EXPECT_EQ(validator.item_type(), 99);
  EXPECT_EQ(validator.type(), 0);
}

// A gigabyte of floats that nobody may read: looking at one byte of it would be fatal.
TEST(StreamValidator, JumpsOverVectorsWithoutALook) {
  constexpr std::size_t kItems = std::size_t{1} << 27;
  void* const unreadable = mmap(nullptr, 8 * kItems, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(unreadable, MAP_FAILED);
  StreamValidator validator(6 + 8 * kItems);
  EXPECT_EQ(validator.feed(bytes_of({9, 0, 0, 0, 0, 8})), Errc::ok);
  const std::span items(static_cast<const std::byte*>(unreadable), 8 * kItems);
  EXPECT_EQ(validator.feed(items.first(12'345)), Errc::ok);
  EXPECT_EQ(validator.feed(items.subspan(12'345)), Errc::ok);
  EXPECT_TRUE(validator.done());
  munmap(unreadable, 8 * kItems);
}

TEST(StreamValidator, DamagedAndRandomBytesInRandomPiecesGetOneVerdict) {
  const std::uint64_t seed = mserve::test::test_seed(7);
  SCOPED_TRACE(mserve::test::replay_hint(
      seed, "StreamValidator.DamagedAndRandomBytesInRandomPiecesGetOneVerdict"));
  std::mt19937_64 random(seed);
  const std::vector<Bytes> originals = encoded_samples();
  int accepted = 0;
  for (int round = 0; round < 60'000 && !testing::Test::HasFailure(); ++round) {
    Bytes bytes = mserve::test::random_object_bytes(random);
    if (round % 2 == 0) {
      bytes = originals[random() % originals.size()];
      mserve::test::damage(bytes, random);
    }
    const std::size_t depth_max = 1 + random() % (kDepthMax + 1);
    const ByteOrder order = random() % 4 == 0 ? ByteOrder::big : ByteOrder::little;
    const Errc expected = verdict_of_whole(bytes, depth_max, order);
    const auto cuts = random_cuts(bytes.size(), random);
    ASSERT_EQ(verdict_in_pieces(bytes, cuts, depth_max, order), expected)
        << "round " << round << ", " << testing::PrintToString(bytes);
    accepted += expected == Errc::ok ? 1 : 0;
  }
  EXPECT_GT(accepted, 1000);
}

}  // namespace
