// SPDX-License-Identifier: Apache-2.0
#include "mserve/kdb/value.hpp"

#include <gtest/gtest.h>

#include <bit>

#include "samples.hpp"

namespace {

using namespace mserve::kdb;
using mserve::test::bytes_of;

TEST(Value, DefaultIsTheGenericNull) {
  const Value value;
  EXPECT_TRUE(value.is_null());
  EXPECT_EQ(value.type_code(), 101);
  EXPECT_EQ(value.count(), 1U);
}

TEST(Value, AtomsGiveTheirStorageOnlyUnderTheRightType) {
  const Value value = Value::int_atom(7);
  ASSERT_NE(value.as<std::int32_t>(), nullptr);
  EXPECT_EQ(*value.as<std::int32_t>(), 7);
  EXPECT_EQ(value.as<std::int64_t>(), nullptr);
  EXPECT_TRUE(value.items<std::int32_t>().empty());
  EXPECT_EQ(value.integer(), 7);
}

TEST(Value, NumberTurnsIntegerNullsAndInfinitiesIntoTheirFloatForms) {
  EXPECT_TRUE(std::isnan(*Value::long_atom(kNullLong).number()));
  EXPECT_EQ(Value::short_atom(kInfShort).number(), kInfFloat);
  EXPECT_EQ(Value::int_atom(-kInfInt).number(), -kInfFloat);
  EXPECT_EQ(Value::byte(255).number(), 255.0);
  EXPECT_FALSE(Value::symbol("a").number().has_value());
}

TEST(Value, NullConstantsHaveTheBitsThatQWrites) {
  EXPECT_EQ(std::bit_cast<std::uint64_t>(kNullFloat), 0xfff8000000000000U);
  EXPECT_EQ(std::bit_cast<std::uint32_t>(kNullReal), 0xffc00000U);
}

TEST(Value, SymbolsEndAtTheirFirstNul) {
  EXPECT_EQ(Value::symbol(std::string_view("a\0b", 3)), Value::symbol("a"));
  EXPECT_EQ(Value::symbols({std::string("a\0b", 3)}).items<std::string>()[0], "a");
}

TEST(Value, VectorOfWrongStorageIsTheTypeError) {
  const Value value = Value::vector_of(Type::date, std::vector<std::int64_t>{1});
  EXPECT_TRUE(value.is_error());
  EXPECT_EQ(value.text_view(), "type");
}

TEST(Value, EnlistAllMakesAVectorOfAtomsOfOneType) {
  EXPECT_EQ(Value::enlist_all({Value::long_atom(1), Value::long_atom(2)}), Value::longs({1, 2}));
  EXPECT_EQ(Value::enlist_all({Value::char_atom('a'), Value::char_atom('b')}), Value::chars("ab"));
  EXPECT_TRUE(Value::enlist_all({Value::long_atom(1), Value::int_atom(2)}).is_list());
  EXPECT_TRUE(Value::enlist_all({}).is_list());
}

TEST(Value, DictionaryOfUnequalCountsIsTheLengthError) {
  const Value value = Value::dict(Value::symbols({"a", "b"}), Value::longs({1}));
  EXPECT_TRUE(value.is_error());
  EXPECT_EQ(value.text_view(), "length");
}

TEST(Value, TableRefusesUnequalColumnsAtomsAndMissingNames) {
  EXPECT_EQ(Value::table({"a", "b"}, {Value::longs({1}), Value::longs({1, 2})}).text_view(),
            "length");
  EXPECT_EQ(Value::table({"a"}, {Value::long_atom(1)}).text_view(), "type");
  EXPECT_EQ(Value::table({"a"}, {}).text_view(), "length");
  EXPECT_EQ(Value::table_from(Value::longs({1}), Value::list({Value::longs({1})})).text_view(),
            "type");
}

TEST(Value, AnErrorInsideMakesTheWholeThatError) {
  const Value list = Value::list({Value::long_atom(1), Value::list({Value::error("oops")})});
  EXPECT_TRUE(list.is_error());
  EXPECT_EQ(list.text_view(), "oops");
  EXPECT_EQ(Value::table({"a"}, {Value::error("oops")}).text_view(), "oops");
}

TEST(Value, NestingBeyondTheLimitIsTheLimitError) {
  Value value = Value::long_atom(1);
  for (std::size_t depth = 1; depth < kDepthMax; ++depth) {
    value = Value::list({value, Value::null()});
    ASSERT_FALSE(value.is_error()) << depth;
  }
  EXPECT_EQ(value.depth(), kDepthMax);
  EXPECT_EQ(Value::list({value}).text_view(), "limit");
}

TEST(Value, TableGivesColumnsRowsAndCounts) {
  const Value table =
      Value::table({"sym", "px"}, {Value::symbols({"a", "b"}), Value::floats({1, 2})});
  EXPECT_EQ(table.count(), 2U);
  EXPECT_EQ(table.depth(), 4U);
  ASSERT_NE(table.column("px"), nullptr);
  EXPECT_EQ(*table.column("px"), Value::floats({1, 2}));
  EXPECT_EQ(table.column("no"), nullptr);
  EXPECT_EQ(table.at(1).find("sym"), Value::symbol("b"));
  EXPECT_TRUE(table.at(2).is_null());
}

TEST(Value, KeyedTableFindsColumnsInBothHalves) {
  const Value keyed = Value::keyed_table(Value::table({"k"}, {Value::symbols({"a"})}),
                                         Value::table({"v"}, {Value::longs({5})}));
  EXPECT_TRUE(keyed.is_keyed_table());
  EXPECT_EQ(keyed.count(), 1U);
  EXPECT_EQ(*keyed.column("k"), Value::symbols({"a"}));
  EXPECT_EQ(keyed.at(0).find("v"), Value::long_atom(5));
}

TEST(Value, SplayedTableHasNoRowsAndKeepsItsPath) {
  const Value table = Value::table_from(Value::symbols({"a", "b"}), Value::symbol(":./t/"));
  ASSERT_TRUE(table.is_splayed());
  EXPECT_EQ(table.count(), 0U);
  EXPECT_EQ(table.column("a"), nullptr);
}

TEST(Value, EqualityIsBitForBitAndIgnoresAttributes) {
  EXPECT_EQ(Value::float_atom(kNullFloat), Value::float_atom(kNullFloat));
  EXPECT_FALSE(Value::float_atom(kNullFloat) == Value::float_atom(-kNullFloat));
  EXPECT_FALSE(Value::floats({0.0}) == Value::floats({-0.0}));
  EXPECT_EQ(Value::longs({1}), Value::longs({1}).with_attribute(Attribute::sorted));
  EXPECT_FALSE(Value::long_atom(1) == Value::timestamp(1));
  EXPECT_EQ(Value::dict(Value::longs({1}), Value::longs({2})),
            Value::sorted_dict(Value::longs({1}), Value::longs({2})));
}

TEST(Value, EverySampleEqualsItselfAndNoOther) {
  const std::vector<Value> samples = mserve::test::all_samples();
  for (std::size_t i = 0; i < samples.size(); ++i) {
    const Value copy = samples[i];
    EXPECT_EQ(copy, samples[i]) << i;
    EXPECT_FALSE(samples[i].is_error()) << i;
  }
  EXPECT_FALSE(Value::symbols({"a"}) == Value::symbol("a"));
}

TEST(Value, FunctionTakesExactlyOneFunctionObject) {
  const auto lambda = bytes_of({100, 0, 10, 0, 3, 0, 0, 0, '{', 'x', '}'});
  const Result<Value> value = Value::function(lambda);
  ASSERT_TRUE(value.ok());
  EXPECT_TRUE(value->is_function());
  EXPECT_EQ(value->depth(), 2U);
  EXPECT_FALSE(Value::function(bytes_of({100, 0, 10, 0, 3, 0, 0, 0, '{', 'x'})).ok());
  EXPECT_EQ(Value::function(bytes_of({0xfa, 1, 0, 0, 0})).error().code, Errc::bad_type);
  EXPECT_EQ(Value::function(bytes_of({102, 1, 1})).error().code, Errc::trailing_bytes);
  EXPECT_TRUE(Value::function(bytes_of({101, 0}))->is_null());
}

TEST(Result, NamesAndDescribesEveryCode) {
  for (const Errc code : {Errc::ok, Errc::truncated, Errc::too_deep, Errc::bad_compression,
                          Errc::nested_evaluation, Errc::bad_rule}) {
    EXPECT_NE(name_of(code), "unknown");
    EXPECT_FALSE(describe(code).empty());
  }
  EXPECT_EQ(name_of(static_cast<Errc>(999)), "unknown");
  EXPECT_EQ(to_text(Error{Errc::truncated, 17}), "truncated at 17: ends in the middle of an item");
}

}  // namespace
