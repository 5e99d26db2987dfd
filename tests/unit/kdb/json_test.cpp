// SPDX-License-Identifier: Apache-2.0
#include "mserve/kdb/json.hpp"

#include <gtest/gtest.h>

#include <boost/json.hpp>

#include "samples.hpp"

namespace {

using namespace mserve::kdb;

TEST(Json, Atoms) {
  EXPECT_EQ(to_json(Value::boolean(true)), "true");
  EXPECT_EQ(to_json(Value::long_atom(-5)), "-5");
  EXPECT_EQ(to_json(Value::float_atom(1.5)), "1.5");
  EXPECT_EQ(to_json(Value::float_atom(0.1)), "0.1");
  EXPECT_EQ(to_json(Value::byte(255)), "255");
  EXPECT_EQ(to_json(Value::symbol("IBM")), "\"IBM\"");
  EXPECT_EQ(to_json(Value::chars("a\"b\n")), "\"a\\\"b\\n\"");
  EXPECT_EQ(to_json(Value::char_atom('c')), "\"c\"");
  EXPECT_EQ(to_json(Value::null()), "null");
}

TEST(Json, NullsAreNullAndInfinitiesAreStrings) {
  EXPECT_EQ(to_json(Value::longs({1, kNullLong, kInfLong})), "[1,null,\"0W\"]");
  EXPECT_EQ(to_json(Value::floats({kNullFloat, -kInfFloat})), "[null,\"-0w\"]");
  EXPECT_EQ(to_json(Value::dates({kNullInt, kInfInt})), "[null,\"0Wd\"]");
}

TEST(Json, TemporalsAreIso) {
  EXPECT_EQ(to_json(Value::date(8825)), "\"2024-02-29\"");
  EXPECT_EQ(to_json(Value::month(289)), "\"2024-02\"");
  EXPECT_EQ(to_json(Value::timestamp(762525296123456789)), "\"2024-02-29T12:34:56.123456789\"");
  EXPECT_EQ(to_json(Value::datetime(8825.5)), "\"2024-02-29T12:00:00.000\"");
  EXPECT_EQ(to_json(Value::timespan(3600'000'000'000)), "\"0D01:00:00.000000000\"");
  EXPECT_EQ(to_json(Value::time(1)), "\"00:00:00.001\"");
}

TEST(Json, DictionariesTablesAndErrors) {
  EXPECT_EQ(to_json(Value::dict(Value::symbols({"a", "b"}),
                                Value::list({Value::long_atom(1), Value::chars("x")}))),
            "{\"a\":1,\"b\":\"x\"}");
  EXPECT_EQ(to_json(Value::dict(Value::longs({1, 2}), Value::longs({3, 4}))), "{\"1\":3,\"2\":4}");
  const Value table = Value::table({"s", "v"}, {Value::symbols({"a", "b"}), Value::longs({1, 2})});
  EXPECT_EQ(to_json(table), "[{\"s\":\"a\",\"v\":1},{\"s\":\"b\",\"v\":2}]");
  EXPECT_EQ(to_json(Value::keyed_table(Value::table({"k"}, {Value::longs({7})}),
                                       Value::table({"v"}, {Value::longs({8})}))),
            "[{\"k\":7,\"v\":8}]");
  EXPECT_EQ(to_json(Value::error("type")), "{\"error\":\"type\"}");
}

TEST(Json, AStringIsSafeToShow) {
  EXPECT_EQ(json_string("a\"\\b"), R"("a\"\\b")");
  EXPECT_EQ(json_string(std::string_view("\0\n\x1b\x7f", 4)), R"("\u0000\u000a\u001b\u007f")");
  EXPECT_EQ(json_string("\xc2\x9b[2J\x9b\xc2"), "\"\\u009b[2J\\u009b\xc3\x82\"");
  EXPECT_EQ(json_string("\xc3\xa9\xe2\x82\xac\xf0\x9f\x8c\x8d"),
            "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x8c\x8d\"");
  EXPECT_EQ(json_string(""), "\"\"");
}

TEST(Json, ControlCharactersNeverReachTheTerminal) {
  EXPECT_EQ(to_json(Value::chars("\x1b[2J\xc2\x9b[2J\x9b\xc2\xa0")),
            "\"\\u001b[2J\\u009b[2J\\u009b\xc2\xa0\"");
  EXPECT_EQ(to_json(Value::symbol("\xc2\x85")), "\"\\u0085\"");
}

TEST(Json, BytesThatAreNoUtf8StandForTheirLatin1Characters) {
  EXPECT_EQ(to_json(Value::chars("\xc3\xa9")), "\"\xc3\xa9\"");
  EXPECT_EQ(to_json(Value::chars("\xff")), "\"\xc3\xbf\"");
  EXPECT_EQ(to_json(Value::chars("\xed\xa0\x80")),
            "\"\xc3\xad\xc2\xa0\\u0080\"");                             // a surrogate half
  EXPECT_EQ(to_json(Value::chars("\xc0\x80")), "\"\xc3\x80\\u0080\"");  // overlong
}

TEST(Json, EverySampleIsValidJson) {
  for (const Value& value : mserve::test::all_samples()) {
    boost::system::error_code error;
    const std::string json = to_json(value);
    boost::json::parse(json, error);
    EXPECT_FALSE(error) << json;
  }
}

TEST(Json, RandomBytesAreValidJson) {
  const std::uint64_t seed = mserve::test::test_seed(5);
  SCOPED_TRACE(mserve::test::replay_hint(seed, "Json.RandomBytesAreValidJson"));
  std::mt19937_64 random(seed);
  for (int round = 0; round < 2000; ++round) {
    std::string noise(random() % 40, ' ');
    for (char& c : noise) {
      c = static_cast<char>(random());
    }
    boost::system::error_code error;
    boost::json::parse(to_json(Value::list({Value::chars(noise), Value::symbol(noise)})), error);
    EXPECT_FALSE(error);
  }
}

}  // namespace
