// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "mserve/kdb/codec.hpp"
#include "mserve/kdb/parse.hpp"
#include "mserve/kdb/print.hpp"
#include "samples.hpp"

namespace {

using namespace mserve::kdb;

Value parsed(std::string_view text) {
  const Result<Value> value = parse_value(text);
  EXPECT_TRUE(value.ok()) << text << ": " << (value ? "" : to_text(value.error()));
  return value ? *value : Value::error("refused");
}

void expect_parses(std::string_view text, const Value& expected) {
  const Value value = parsed(text);
  EXPECT_EQ(value, expected) << text << " gave " << mserve::kdb::text(value) << " of type "
                             << int{value.type_code()};
}

TEST(ParseValue, Integers) {
  expect_parses("42", Value::long_atom(42));
  expect_parses("-42", Value::long_atom(-42));
  expect_parses("42j", Value::long_atom(42));
  expect_parses("42i", Value::int_atom(42));
  expect_parses("-1h", Value::short_atom(-1));
  expect_parses("1 2 3", Value::longs({1, 2, 3}));
  expect_parses("1 -2 3i", Value::ints({1, -2, 3}));
  expect_parses("1 0N 0W -0Wh", Value::shorts({1, kNullShort, kInfShort, -kInfShort}));
  expect_parses("0N", Value::long_atom(kNullLong));
  expect_parses("-0W", Value::long_atom(-kInfLong));
  expect_parses("0Ni", Value::int_atom(kNullInt));
  expect_parses(" 7 ", Value::long_atom(7));
}

TEST(ParseValue, Floats) {
  expect_parses("1.5", Value::float_atom(1.5));
  expect_parses("1f", Value::float_atom(1));
  expect_parses(".5", Value::float_atom(0.5));
  expect_parses("1.", Value::float_atom(1));
  expect_parses("-0.25", Value::float_atom(-0.25));
  expect_parses("1e5", Value::float_atom(1e5));
  expect_parses("1e-05", Value::float_atom(1e-5));
  expect_parses("1.5e+10", Value::float_atom(1.5e10));
  expect_parses("1e", Value::real(1));
  expect_parses("1e+10e", Value::real(1e10F));
  expect_parses("0n", Value::float_atom(kNullFloat));
  expect_parses("0w", Value::float_atom(kInfFloat));
  expect_parses("0Ne", Value::real(kNullReal));
  expect_parses("1 2.5", Value::floats({1, 2.5}));
  expect_parses("1 2 3f", Value::floats({1, 2, 3}));
  expect_parses("1.5 0n 0w -0w", Value::floats({1.5, kNullFloat, kInfFloat, -kInfFloat}));
  expect_parses("1.5 0N 0W -0We",
                Value::reals({1.5F, kNullReal, std::numeric_limits<float>::infinity(),
                              -std::numeric_limits<float>::infinity()}));
}

TEST(ParseValue, BooleansBytesAndGuids) {
  expect_parses("1b", Value::boolean(true));
  expect_parses("101b", Value::booleans({1, 0, 1}));
  expect_parses("0x0a", Value::byte(10));
  expect_parses("0xF", Value::byte(15));
  expect_parses("0x", Value::bytes({}));
  expect_parses("0x0102ff", Value::bytes({1, 2, 255}));
  expect_parses("0Ng", Value::guid({}));
  expect_parses(R"("G"$"8c6b8b64-6815-6084-0a3e-178401251b68")",
                Value::guid(mserve::test::sample_guid()));
  expect_parses("8c6b8b64-6815-6084-0a3e-178401251b68", Value::guid(mserve::test::sample_guid()));
}

TEST(ParseValue, Temporals) {
  expect_parses("2024.02.29", Value::date(8825));
  expect_parses("2000.01.01", Value::date(0));
  expect_parses("1999.12.31", Value::date(-1));
  expect_parses("2024.02m", Value::month(289));
  expect_parses("2024.01 2024.02m", Value::months({288, 289}));
  expect_parses("2024.02.29D12:34:56.123456789", Value::timestamp(762525296123456789));
  expect_parses("2024.02.29D", Value::timestamp(8825 * 86'400'000'000'000));
  expect_parses("2024.02.29T12:00:00.000", Value::datetime(8825.5));
  expect_parses("0D01:02:03.000000004", Value::timespan(3723000000004));
  expect_parses("1D", Value::timespan(86'400'000'000'000));
  expect_parses("-0D00:00:00.000000001", Value::timespan(-1));
  expect_parses("12:34", Value::minute(754));
  expect_parses("12:34:56", Value::second(45296));
  expect_parses("12:34:56.789", Value::time(45296789));
  expect_parses("12:34:56.789012", Value::timespan(45296789012000));
  expect_parses("-00:01", Value::minute(-1));
  expect_parses("2024.02.29 0Nd", Value::dates({8825, kNullInt}));
  expect_parses("0N 2024.02.29", Value::dates({kNullInt, 8825}));
  expect_parses("2024.02.29 0N 0Wd", Value::dates({8825, kNullInt, kInfInt}));
  expect_parses("0Np", Value::timestamp(kNullLong));
  expect_parses("0N 0Np", Value::timestamps({kNullLong, kNullLong}));
  expect_parses("0Nz", Value::datetime(kNullFloat));
  expect_parses("12:00 0N 0Wu", Value::minutes({720, kNullInt, kInfInt}));
}

TEST(ParseValue, SymbolsAndStrings) {
  expect_parses("`", Value::symbol(""));
  expect_parses("`IBM", Value::symbol("IBM"));
  expect_parses("`a`b", Value::symbols({"a", "b"}));
  expect_parses("``quick``fox", Value::symbols({"", "quick", "", "fox"}));
  expect_parses("`VOD.L", Value::symbol("VOD.L"));
  expect_parses("`:path/to/file", Value::symbol(":path/to/file"));
  expect_parses(R"(`$"hello world")", Value::symbol("hello world"));
  expect_parses(R"(`$("a b";"c"))", Value::symbols({"a b", "c"}));
  expect_parses(R"("abc")", Value::chars("abc"));
  expect_parses(R"("a")", Value::char_atom('a'));
  expect_parses(R"("")", Value::chars(""));
  expect_parses(R"("a\"b\\\n\t\r\001\377")", Value::chars("a\"b\\\n\t\r\x01\xff"));
  expect_parses("\"\xc3\xa9\"", Value::chars("\xc3\xa9"));
}

TEST(ParseValue, ListsAndEnlist) {
  expect_parses("()", Value::list({}));
  expect_parses("(1)", Value::long_atom(1));
  expect_parses("(1;2)", Value::longs({1, 2}));
  expect_parses(R"((1;"a";`b))",
                Value::list({Value::long_atom(1), Value::char_atom('a'), Value::symbol("b")}));
  expect_parses(
      "(1 2;(3;`x))",
      Value::list({Value::longs({1, 2}), Value::list({Value::long_atom(3), Value::symbol("x")})}));
  expect_parses("enlist 1", Value::longs({1}));
  expect_parses("enlist[1;2]", Value::longs({1, 2}));
  expect_parses("enlist \"abc\"", Value::list({Value::chars("abc")}));
  expect_parses("(enlist `a)!enlist 1", Value::dict(Value::symbols({"a"}), Value::longs({1})));
  expect_parses("::", Value::null());
  expect_parses("(::;1)", Value::list({Value::null(), Value::long_atom(1)}));
}

TEST(ParseValue, TypedEmpties) {
  expect_parses("`long$()", Value::empty(Type::long_int));
  expect_parses("`symbol$()", Value::empty(Type::symbol));
  expect_parses("`char$()", Value::chars(""));
  expect_parses("`guid$()", Value::empty(Type::guid));
}

TEST(ParseValue, DictionariesAndTables) {
  expect_parses("`a`b!1 2", Value::dict(Value::symbols({"a", "b"}), Value::longs({1, 2})));
  expect_parses("()!()", Value::dict(Value::list({}), Value::list({})));
  const Value table = Value::table({"a", "b"}, {Value::longs({1, 2}), Value::symbols({"x", "y"})});
  expect_parses("([]a:1 2;b:`x`y)", table);
  expect_parses("([] a : 1 2 ; b : `x`y )", table);
  expect_parses("+`a`b!(1 2;`x`y)", table);
  expect_parses("([k:`x`y]v:1 2)",
                Value::keyed_table(Value::table({"k"}, {Value::symbols({"x", "y"})}),
                                   Value::table({"v"}, {Value::longs({1, 2})})));
  EXPECT_EQ(parsed("`s#1 2").attribute(), Attribute::sorted);
  EXPECT_EQ(parsed("`s#`a`b!1 2").type_code(), 127);
}

TEST(ParseValue, DatetimesHaveTheBitsThatQGives) {
  EXPECT_EQ(encode(parsed("2024.02.29T12:34:56.789")),
            mserve::test::bytes_of({0xf1, 0x46, 0x05, 0x3a, 0x1b, 0xc3, 0x3c, 0xc1, 0x40}));
}

TEST(ParseValue, WhatIsNoLiteralIsToldFromWhatIsNoSyntax) {
  for (const char* text : {"x",
                           "a.b",
                           "1+1",
                           "f 1",
                           "{x}",
                           "neg 1",
                           "`a$1",
                           "1 2!3 4 5 where x",
                           "(x;1)",
                           "(1;)",
                           "(;1)",
                           "*",
                           "\\ls",
                           "x:1",
                           "`a,`b",
                           "1!`a",
                           "`int$1",
                           "\"a\" 1",
                           "`a `b",
                           "(1)2",
                           "':",
                           "`a`b[0]",
                           "enlist `a`b!1 2"}) {
    const Result<Value> value = parse_value(text);
    ASSERT_FALSE(value.ok()) << text;
    EXPECT_EQ(value.error().code, Errc::not_literal) << text;
  }
  for (const char* text : {"",
                           " ",
                           "(",
                           "(1",
                           "\"abc",
                           "\"\\x\"",
                           "\"\\999\"",
                           "1x",
                           "0x123",
                           "12b",
                           "2024.13.01",
                           "2024.02.30",
                           "12:60",
                           "1 2024.01.01",
                           "99999999999999999999",
                           "70000h",
                           "1..2",
                           ")",
                           "]",
                           "1)",
                           "1;2",
                           "`a!1 2 3 /x",
                           "/ comment",
                           "1 / comment",
                           "\x01",
                           "\xc3\xa9",
                           "1\n2",
                           "([]a:1 2;b:1)",
                           "([]a:1 2;b:1 2 3)",
                           "([])",
                           "`a`b!1 2 3",
                           "0Nq",
                           "-0N",
                           "1e400x",
                           "0x0g",
                           "\"G\"$\"zz\""}) {
    const Result<Value> value = parse_value(text);
    ASSERT_FALSE(value.ok()) << text;
    EXPECT_TRUE(value.error().code == Errc::unparsable || value.error().code == Errc::not_literal)
        << text;
  }
}

TEST(ParseValue, ErrorsTellTheColumn) {
  EXPECT_EQ(parse_value("(1;x)").error(), (Error{Errc::not_literal, 3}));
  EXPECT_EQ(parse_value("1 2 3 /").error(), (Error{Errc::unparsable, 6}));
}

TEST(ParseValue, LengthAndDepthAreLimited) {
  EXPECT_EQ(parse_value(std::string(65'537, '1')).error().code, Errc::text_too_long);
  EXPECT_EQ(parse_value(std::string(60'000, '(')).error().code, Errc::too_deep);
  EXPECT_EQ(parse_value(std::string(60'000, ',')).error().code, Errc::too_deep);
  EXPECT_EQ(parse_value("(((1)))", {100, 2}).error().code, Errc::too_deep);
  std::string deep = "1";
  for (int i = 0; i < 31; ++i) {
    deep = "(" + deep + ";2i)";
  }
  EXPECT_TRUE(parse_value(deep).ok());
}

/// text() of a value, parsed, is the value again: for every sample that text can carry to the last
/// bit.
TEST(ParseValue, ReadsBackWhatTextWrites) {
  for (const Value& value : mserve::test::all_samples()) {
    const std::string line = text(value);
    const Result<Value> back = parse_value(line);
    const bool far = line.find("2922") != std::string::npos ||
                     line.find("5874") != std::string::npos ||
                     line.find("58815") != std::string::npos || value.type() == Type::datetime;
    if (far) {
      continue;
    }
    ASSERT_TRUE(back.ok()) << line << ": " << to_text(back.error());
    EXPECT_EQ(*back, value) << line;
    EXPECT_EQ(back->attribute(), value.attribute()) << line;
  }
}

TEST(ParseValue, EveryDateOfFourCenturiesSurvives) {
  for (std::int32_t days = -80'000; days < 80'000; days += 7) {
    const Value date = Value::date(days);
    const Result<Value> back = parse_value(text(date));
    ASSERT_TRUE(back.ok()) << text(date);
    ASSERT_EQ(*back, date) << text(date);
  }
}

TEST(ParseValue, RandomNumbersSurviveTheirText) {
  const std::uint64_t seed = mserve::test::test_seed(11);
  SCOPED_TRACE(mserve::test::replay_hint(seed, "ParseValue.RandomNumbersSurviveTheirText"));
  std::mt19937_64 random(seed);
  for (int round = 0; round < 5000; ++round) {
    const std::uint64_t bits = random();
    double number = 0;
    static_assert(sizeof(number) == sizeof(bits));
    std::memcpy(&number, &bits, sizeof(bits));
    const auto whole = static_cast<std::int64_t>(bits);
    for (const Value& value :
         {Value::timestamp(whole), Value::timespan(whole), Value::long_atom(whole),
          Value::float_atom(std::isnan(number) ? 0 : number)}) {
      const Result<Value> back = parse_value(text(value));
      ASSERT_TRUE(back.ok()) << text(value) << ": " << to_text(back.error());
      ASSERT_EQ(*back, value) << text(value);
    }
  }
}

}  // namespace
