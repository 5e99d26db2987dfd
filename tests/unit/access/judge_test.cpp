// SPDX-License-Identifier: Apache-2.0
#include "access/judge.hpp"

#include <gtest/gtest.h>

#include "mserve/kdb/codec.hpp"
#include "mserve/kdb/print.hpp"
#include "support/hostile_queries.hpp"

namespace mserve::broker {
namespace {

using kdb::Value;

Role role_of(std::vector<std::string> functions) {
  Role role;
  role.name = "user";
  role.functions = std::move(functions);
  return role;
}

kdb::Result<Admitted, std::string> ask(const Value& query, const Value* options = nullptr) {
  return judge(kdb::encode(query),
               options != nullptr ? kdb::encode(*options) : std::vector<std::byte>(),
               {"ken", role_of({"proc1"})});
}

Value query_of(const Admitted& admitted) {
  return kdb::decode(std::span(admitted.payload).first(admitted.query_bytes)).value();
}
Value options_of(const Admitted& admitted) {
  return kdb::decode(std::span(admitted.payload).subspan(admitted.query_bytes)).value();
}

std::string refusal(const Value& query) {
  const auto judged = ask(query);
  return judged ? "" : judged.error();
}

TEST(Judge, RefusesEveryHostileQuery) {
  const std::vector<std::string> texts = test::hostile_texts();
  const std::vector<Value> values = test::hostile_values();
  ASSERT_GE(texts.size(), 150U);
  ASSERT_GE(values.size(), 30U);
  for (const std::string& text : texts) {
    EXPECT_NE(refusal(Value::chars(text)), "") << text.substr(0, 100);
  }
  for (const Value& value : values) {
    EXPECT_NE(refusal(value), "") << kdb::text(value, 100);
  }
}

TEST(Judge, SendsOnWhatItUnderstoodAndNothingElse) {
  const Value who = Value::dict(Value::symbols({"user", "role"}),
                                Value::list({Value::symbol("ken"), Value::symbol("user")}));
  std::vector<std::byte> expected =
      kdb::encode_call("proc1", std::vector<Value>{Value::symbol("IBM")});
  const std::size_t query_bytes = expected.size();
  for (const std::byte each : kdb::encode(who)) {
    expected.push_back(each);
  }
  for (const char* const text : {"proc1 `IBM", "proc1[`IBM]", "(`proc1;`IBM)", "  proc1\t`IBM  ",
                                 "(\"proc1\";`IBM)", "proc1(`IBM)"}) {
    const auto judged = ask(Value::chars(text));
    ASSERT_TRUE(judged) << text << judged.error();
    EXPECT_EQ(judged->payload, expected) << text;
    EXPECT_EQ(judged->query_bytes, query_bytes);
  }
  for (const Value& list : {Value::list({Value::symbol("proc1"), Value::symbol("IBM")}),
                            Value::list({Value::chars("proc1"), Value::symbol("IBM")}),
                            Value::symbols({"proc1", "IBM"})}) {
    const auto judged = ask(list);
    ASSERT_TRUE(judged) << judged.error();
    EXPECT_EQ(judged->payload, expected);
  }
  const auto two = ask(Value::chars("proc1[`a`b!(1 2;\"x\");([]a:1 2)]"));
  ASSERT_TRUE(two);
  EXPECT_EQ(kdb::text(query_of(*two)), "(`proc1;`a`b!(1 2;\"x\");+(,`a)!,1 2)");
}

TEST(Judge, SaysWhatLbtSays) {
  EXPECT_EQ(refusal(Value::chars("proc2 `IBM")), "unknown command: `proc2");
  EXPECT_EQ(refusal(Value::chars("proc2 proc1 `IBM")), "unknown command: `proc2");
  EXPECT_EQ(refusal(Value::chars("proc1 proc2 `IBM")), "nested evaluation");
  EXPECT_EQ(refusal(Value::list({Value::symbol("proc2"), Value::symbol("IBM")})),
            "unknown command: `proc2");
  EXPECT_EQ(refusal(Value::list({Value::symbol("proc1"), test::lambda_of("{x}")})),
            "nested evaluation");
  EXPECT_EQ(refusal(Value::chars("proc1 \"" + std::string(70'000, 'a') + "\"")), "limit");
}

TEST(Judge, SaysWhoAsksWhateverTheClientSaysOfItself) {
  const Value options =
      Value::dict(Value::symbols({"role", "timeout", "user", "role"}), Value::longs({1, 5, 2, 3}));
  const auto judged = ask(Value::chars("proc1 `IBM"), &options);
  ASSERT_TRUE(judged);
  EXPECT_EQ(kdb::text(options_of(*judged)), "`timeout`user`role!(5;`ken;`user)");
  const Value hidden = Value::dict(Value::list({Value::symbol("role"), Value::long_atom(1)}),
                                   Value::list({Value::symbol("root"), Value::long_atom(1)}));
  const Value keyed = Value::keyed_table(Value::table({"role"}, {Value::symbols({"root"})}),
                                         Value::table({"user"}, {Value::symbols({"root"})}));
  for (const Value& each : {hidden, keyed, Value::dict(Value::list({}), Value::list({}))}) {
    const auto answer = ask(Value::chars("proc1 `IBM"), &each);
    ASSERT_TRUE(answer);
    EXPECT_EQ(kdb::text(options_of(*answer)), "`user`role!(`ken;`user)");
  }
}

TEST(Judge, OfAnUnrestrictedUserLooksAtTheOptionsAlone) {
  Role all;
  all.unrestricted = true;
  const std::vector<std::byte> query = kdb::encode(Value::chars("select from t / all"));
  const Value options = Value::dict(Value::symbols({"role"}), Value::symbols({"root"}));
  const auto judged = judge(query, kdb::encode(options), {"root", all});
  ASSERT_TRUE(judged);
  EXPECT_EQ(query_of(*judged), Value::chars("select from t / all"));
  EXPECT_EQ(kdb::text(options_of(*judged)), "`user`role!(`root;`)");
  const std::vector<std::byte> large =
      kdb::encode(Value::chars(std::string(kJudgedBytesMax + 1, 'a')));
  EXPECT_TRUE(judge(large, {}, {"root", all}));
}

TEST(Judge, LooksForFunctionsInOptions) {
  const Value hostile =
      Value::dict(Value::symbols({"f"}), Value::list({test::lambda_of("{exit 1}")}));
  EXPECT_EQ(ask(Value::chars("proc1 `IBM"), &hostile).error(), "nested evaluation");
}

// A row of the table for each key would take their product in memory: 400 MB of 60 KB.
TEST(Judge, ForgetsOptionsWhoseValuesAreATable) {
  constexpr std::size_t kRows = 20'000;
  const Value table =
      Value::table({std::string(20'000, 'n')}, {Value::bytes(std::vector<std::uint8_t>(kRows))});
  const Value options = Value::dict(Value::symbols(std::vector<std::string>(kRows)), table);
  const auto judged = ask(Value::chars("proc1 1"), &options);
  ASSERT_TRUE(judged);
  EXPECT_EQ(kdb::text(options_of(*judged)), "`user`role!(`ken;`user)");
}

TEST(Judge, DecodesNothingThatIsTooLarge) {
  EXPECT_EQ(refusal(Value::list(
                {Value::symbol("proc1"), Value::chars(std::string(kJudgedBytesMax, 'a'))})),
            "limit");
  EXPECT_TRUE(ask(Value::list(
      {Value::symbol("proc1"), Value::chars(std::string(kJudgedBytesMax - 100, 'a'))})));
  const Value options = Value::dict(
      Value::symbols({"a"}), Value::list({Value::chars(std::string(kOptionsBytesMax, 'a'))}));
  EXPECT_EQ(ask(Value::chars("proc1 1"), &options).error(), "limit");
}

TEST(Judge, ARoleWithoutFunctionsMayCallNothing) {
  const auto judged = judge(kdb::encode(Value::chars("proc1 `IBM")), {}, {"ken", role_of({})});
  ASSERT_FALSE(judged);
  EXPECT_EQ(judged.error(), "unknown command: `proc1");
}

}  // namespace
}  // namespace mserve::broker
