// SPDX-License-Identifier: Apache-2.0
#include "mserve/servant/invocation.hpp"

#include <gtest/gtest.h>

#include <new>
#include <stdexcept>
#include <string>
#include <vector>

#include "fake_broker.hpp"
#include "mserve/kdb/codec.hpp"

namespace mserve::servant {
namespace {

using kdb::Value;

/// Query texts of which none may run anything, and how the error begins: `proc1`, `proc2` and
/// `.api.get` are listed.
struct HostileText {
  const char* query;
  const char* error;
};
constexpr HostileText kHostileTexts[] = {
    {"proc1 proc2 `IBM", "nested evaluation"},
    {"proc1 system \"ls\"", "nested evaluation"},
    {"proc1[system \"ls\"]", "nested evaluation"},
    {"proc1[`IBM;hopen 5001]", "nested evaluation"},
    {"proc1 {x}", "nested evaluation"},
    {"proc1[{exit 1}[]]", "nested evaluation"},
    {"proc1 value \"exit 1\"", "nested evaluation"},
    {"proc1 1+1", "nested evaluation"},
    {"proc1[1;2+3]", "nested evaluation"},
    {"proc1 -1+1", "nested evaluation"},
    {"proc1 (1;x)", "nested evaluation"},
    {"proc1 (`a;{x})", "nested evaluation"},
    {"proc1 x:5", "nested evaluation"},
    {"proc1 .z.p", "nested evaluation"},
    {"proc1 .Q.s1", "nested evaluation"},
    {"proc1 first", "nested evaluation"},
    {"proc1 +", "nested evaluation"},
    {"proc1[+/]", "nested evaluation"},
    {"proc1 `a`b?`a", "nested evaluation"},
    {"proc1 @[value;\"exit 1\";0]", "nested evaluation"},
    {"proc1 `IBM;exit 1", ""},
    {"proc1 `IBM; proc2 `GS", ""},
    {"proc1[`IBM][`GS]", ""},
    {"proc1 `IBM\nexit 1", ""},
    {"a:1;proc1 `IBM", ""},
    {"proc1:{exit 1}", ""},
    {"system \"rm -rf /\"", "unknown command: `system"},
    {"exit 1", "unknown command: `exit"},
    {"value \"1\"", "unknown command: `value"},
    {"hopen 5001", "unknown command: `hopen"},
    {"set[`proc1;1]", "unknown command: `set"},
    {"Proc1 `IBM", "unknown command: `Proc1"},
    {"proc1x `IBM", "unknown command: `proc1x"},
    {"proc11", "unknown command: `proc11"},
    {".api.set 1", "unknown command: `.api.set"},
    {"1+1", ""},
    {"{exit 1}[]", "unknown command: "},
    {"\\ls", ""},
    {"\\", ""},
    {"`proc1 set 5", ""},
    {"-9!0x00", ""},
    {"proc1 \"unterminated", "parse"},
    {"proc1[`IBM", "parse"},
    {"proc1 `IBM]", "parse"},
    {"proc1 (1;2", "parse"},
    {"", ""},
    {"   ", ""},
    {"/ comment", ""},
    {"k)proc1 `IBM", ""},
    {"proc1\x01`IBM", ""},
    {"proc1 \xff\xfe", ""},
    {"delete from `trades", ""},
    {"select from trades", ""},
    {"update x:1 from `trades", ""},
    {"(proc1;`IBM)", ""},
    {"(`proc1;(proc2;1))", "nested evaluation"},
    {"(`system;\"ls\")", "unknown command: `system"},
    {"(\"system\";\"ls\")", "unknown command: `system"},
    {"(\"system \\\"ls\\\"\";1)", ""},
    {"(\"{exit 1}\";1)", ""},
    {"proc1'[`IBM]", ""},
    {"proc1/[`IBM]", ""},
    {"proc1@`IBM", ""},
    {"proc1 . enlist `IBM", ""},
};

class InvocationTest : public ::testing::Test {
 protected:
  InvocationTest() {
    const Function count = [this](std::span<const Value> arguments) {
      ++calls_;
      last_.assign(arguments.begin(), arguments.end());
      return Value::long_atom(static_cast<std::int64_t>(arguments.size()));
    };
    EXPECT_TRUE(functions_.add("proc1", count));
    EXPECT_TRUE(functions_.add("proc2", count));
    EXPECT_TRUE(functions_.add(".api.get", count));
  }

  /// The text of the error that the query gives, or "" and then the function ran.
  std::string error_of(std::span<const std::byte> query) {
    const Value result = invoke(functions_, query);
    return result.is_error() ? std::string(*result.text_view()) : "";
  }
  std::string error_of(const Value& query) { return error_of(kdb::encode(query)); }
  std::string error_of_text(std::string_view text) {
    return error_of(Value::chars(std::string(text)));
  }

  Functions functions_;
  int calls_ = 0;
  std::vector<Value> last_;
};

TEST_F(InvocationTest, CallsAListedFunctionHoweverTheQueryIsWritten) {
  const Value ibm = Value::symbol("IBM");
  const std::vector<Value> queries = {
      Value::chars("proc1 `IBM"),
      Value::chars("proc1[`IBM]"),
      Value::chars("  proc1   `IBM  "),
      Value::chars("(`proc1;`IBM)"),
      Value::chars("(\"proc1\";`IBM)"),
      Value::chars(".api.get `IBM"),
      Value::symbols({"proc1", "IBM"}),
      Value::list({Value::symbol("proc1"), ibm}),
      Value::list({Value::chars("proc1"), ibm}),
  };
  int n = 0;
  for (const Value& query : queries) {
    EXPECT_EQ(error_of(query), "") << n;
    EXPECT_EQ(last_, std::vector<Value>{ibm}) << n;
    EXPECT_EQ(calls_, ++n);
  }
}

TEST_F(InvocationTest, PassesAnyLiteralArguments) {
  EXPECT_EQ(
      error_of_text("proc1[`a`b;1 2 3f;2024.01.02;\"text; with [brackets]\";(1;`x);`a`b!1 2]"), "");
  ASSERT_EQ(last_.size(), 6U);
  EXPECT_EQ(last_[3], Value::chars("text; with [brackets]"));
}

TEST_F(InvocationTest, AListAsArgumentIsDataAndNoCall) {
  const Value inner = Value::list({Value::symbol("proc2"), Value::long_atom(1)});
  EXPECT_EQ(error_of(Value::list({Value::symbol("proc1"), inner})), "");
  EXPECT_EQ(calls_, 1);
  EXPECT_EQ(last_, std::vector<Value>{inner});
}

TEST_F(InvocationTest, AStringAsArgumentIsNeverEvaluated) {
  EXPECT_EQ(error_of(Value::list({Value::symbol("proc1"), Value::chars("system \"ls\"")})), "");
  EXPECT_EQ(last_, std::vector<Value>{Value::chars("system \"ls\"")});
}

TEST_F(InvocationTest, UnknownFunctionIsNamedAsQWouldPrintIt) {
  EXPECT_EQ(error_of_text("system \"ls\""), "unknown command: `system");
  EXPECT_EQ(error_of_text("nobody `IBM"), "unknown command: `nobody");
  EXPECT_EQ(error_of(Value::list({Value::symbol("value"), Value::chars("1+1")})),
            "unknown command: `value");
  EXPECT_EQ(error_of(Value::symbol("trades")), "unknown command: `trades");
  EXPECT_EQ(error_of(Value::list({Value::long_atom(1), Value::long_atom(2)})),
            "unknown command: 1");
  EXPECT_EQ(calls_, 0);
}

TEST_F(InvocationTest, UnknownIsAskedBeforeNested) {
  EXPECT_EQ(error_of_text("nobody proc1 `IBM"), "unknown command: `nobody");
  EXPECT_EQ(error_of_text("proc1 proc2 `IBM"), "nested evaluation");
  EXPECT_EQ(error_of_text("system proc2 `IBM"), "unknown command: `system");
}

// Goal: whatever a client sends, nothing runs that is not a listed function with literal arguments.
TEST_F(InvocationTest, HostileQueryTextRunsNothing) {
  for (const HostileText& c : kHostileTexts) {
    SCOPED_TRACE(c.query);
    const std::string error = error_of_text(c.query);
    EXPECT_NE(error, "");
    EXPECT_EQ(error.substr(0, std::string_view(c.error).size()), c.error) << error;
    EXPECT_EQ(calls_, 0);
  }
}

TEST_F(InvocationTest, HostileObjectsRunNothing) {
  const std::vector<std::byte> lambda =
      bytes_of(std::string("\x64\x00\x0a\x00\x08\x00\x00\x00{exit 1}", 16));
  const kdb::Result<Value> function = kdb::decode(lambda);
  ASSERT_TRUE(function) << kdb::to_text(function.error());
  const std::vector<std::pair<Value, std::string>> cases = {
      {*function, "unknown command: "},
      {Value::list({*function, Value::long_atom(1)}), "unknown command: "},
      {Value::list({Value::symbol("proc1"), *function}), "nested evaluation"},
      {Value::list({Value::symbol("proc1"), Value::list({Value::long_atom(1), *function})}),
       "nested evaluation"},
      {Value::list(
           {Value::symbol("proc1"), Value::dict(Value::symbols({"a"}), Value::list({*function}))}),
       "nested evaluation"},
      {Value::list({Value::symbol("nobody"), *function}), "unknown command: `nobody"},
      {Value::list({Value::list({Value::symbol("proc1"), Value::long_atom(1)})}),
       "unknown command: "},
      {Value::null(), ""},
      {Value::long_atom(1), ""},
      {Value::empty(kdb::Type::list), ""},
      {Value::symbols({}), ""},
      {Value::symbol(""), ""},
      {Value::symbols({"", "proc1"}), ""},
      {Value::dict(Value::symbols({"proc1"}), Value::longs({1})), ""},
      {Value::table({"proc1"}, {Value::longs({1})}), ""},
      {Value::list({Value::chars("proc1 `IBM"), Value::long_atom(1)}), ""},
      {Value::list({Value::chars("proc1;exit 1"), Value::long_atom(1)}), ""},
      {Value::list({Value::symbol("proc1 `IBM"), Value::long_atom(1)}), ""},
      {Value::error("proc1"), ""},
  };
  for (std::size_t i = 0; i < cases.size(); ++i) {
    const std::string error = error_of(cases[i].first);
    EXPECT_NE(error, "") << i;
    EXPECT_EQ(error.substr(0, cases[i].second.size()), cases[i].second) << i;
    EXPECT_EQ(calls_, 0) << i;
  }
}

TEST_F(InvocationTest, BytesThatAreNoObjectAreBadmsg) {
  const std::vector<std::byte> good =
      kdb::encode(Value::list({Value::symbol("proc1"), Value::chars("abcdef")}));
  for (std::size_t bytes = 0; bytes < good.size(); ++bytes) {
    EXPECT_EQ(error_of(std::span(good).first(bytes)), "badmsg") << bytes;
  }
  std::vector<std::byte> longer = good;
  longer.push_back(std::byte{0});
  EXPECT_EQ(error_of(longer), "badmsg");
  EXPECT_EQ(error_of(good), "");
}

TEST_F(InvocationTest, TooLongOrTooDeepTextIsLimit) {
  EXPECT_EQ(error_of_text("proc1 \"" + std::string(1 << 20, 'x') + "\""), "limit");
  EXPECT_EQ(error_of_text("proc1 " + std::string(50'000, '(') + std::string(50'000, ')')), "limit");
  EXPECT_EQ(error_of_text("proc1 " + std::string(1000, '(') + "1" + std::string(1000, ')')),
            "limit");
}

TEST_F(InvocationTest, LongUnknownNameIsNotRepeatedInFull) {
  EXPECT_LT(
      error_of(Value::list({Value::symbol(std::string(100'000, 'n')), Value::long_atom(1)})).size(),
      200U);
  EXPECT_LT(error_of(Value::longs(std::vector<std::int64_t>(10'000, 1))).size(), 200U);
}

TEST_F(InvocationTest, ExceptionsBecomeErrorsWithTheirText) {
  ASSERT_TRUE(functions_.add(
      "bad", [](std::span<const Value>) -> Value { throw std::runtime_error("no luck"); }));
  ASSERT_TRUE(
      functions_.add("full", [](std::span<const Value>) -> Value { throw std::bad_alloc(); }));
  ASSERT_TRUE(functions_.add("odd", [](std::span<const Value>) -> Value { throw 5; }));
  ASSERT_TRUE(functions_.add(
      "mute", [](std::span<const Value>) -> Value { throw std::runtime_error(""); }));
  ASSERT_TRUE(functions_.add("type", [](std::span<const Value>) { return Value::error("type"); }));
  EXPECT_EQ(error_of_text("bad 1"), "no luck");
  EXPECT_EQ(error_of_text("full 1"), "wsfull");
  EXPECT_EQ(error_of_text("odd 1"), "internal");
  EXPECT_EQ(error_of_text("mute 1"), "internal");
  EXPECT_EQ(error_of_text("type 1"), "type");
}

TEST_F(InvocationTest, AdmitAsksForTheNameOnceAndRunsNothing) {
  std::vector<std::string> asked;
  const auto listed = [&](std::string_view name) {
    asked.emplace_back(name);
    return name == "proc1";
  };
  const auto good = admit(kdb::encode(Value::chars("proc1[`IBM;1]")), listed);
  ASSERT_TRUE(good);
  EXPECT_EQ(good->name, "proc1");
  EXPECT_EQ(good->arguments, (std::vector<Value>{Value::symbol("IBM"), Value::long_atom(1)}));
  const auto bad = admit(kdb::encode(Value::chars("proc1 proc2 1")), listed);
  ASSERT_FALSE(bad);
  EXPECT_EQ(asked, (std::vector<std::string>{"proc1", "proc1"}));
  EXPECT_EQ(calls_, 0);
}

TEST(Functions, TakesEachNameOnceAndOnlyNames) {
  Functions functions;
  const Function f = [](std::span<const Value>) { return Value(); };
  EXPECT_TRUE(functions.add("f", f));
  EXPECT_FALSE(functions.add("f", f));
  EXPECT_TRUE(functions.add(".ns.g", f));
  for (const char* wrong : {"", "1f", "a b", "a;b", "_f", "f[", "`f", "\\f"}) {
    EXPECT_FALSE(functions.add(wrong, f)) << wrong;
  }
  EXPECT_FALSE(functions.add("empty", Function()));
  EXPECT_EQ(functions.names(), (std::vector<std::string>{".ns.g", "f"}));
  EXPECT_EQ(functions.find("nobody"), nullptr);
  EXPECT_NE(functions.find("f"), nullptr);
}

}  // namespace
}  // namespace mserve::servant
