// SPDX-License-Identifier: Apache-2.0
// Goal: a call is either understood exactly, or refused with the reason that its sender must be
// told.
#include <gtest/gtest.h>

#include "mserve/kdb/codec.hpp"
#include "mserve/kdb/parse.hpp"
#include "mserve/kdb/print.hpp"
#include "samples.hpp"

namespace {

using namespace mserve::kdb;
using mserve::test::bytes_of;

void expect_call(std::string_view text, std::string_view name,
                 const std::vector<Value>& arguments) {
  const Result<Call, CallError> call = parse_call(text);
  ASSERT_TRUE(call.ok()) << text << ": " << to_text(call.error().error);
  EXPECT_EQ(call->name, name) << text;
  EXPECT_EQ(call->arguments, arguments) << text;
}

TEST(ParseCall, EveryWayOfAskingGivesTheSameCall) {
  const Value ibm = Value::symbol("IBM");
  for (const char* text : {"proc1 `IBM", "proc1`IBM", "proc1[`IBM]", "proc1 [ `IBM ]",
                           "(`proc1;`IBM)", "(\"proc1\";`IBM)", "  proc1  `IBM  "}) {
    expect_call(text, "proc1", {ibm});
  }
}

TEST(ParseCall, ArgumentsOfEveryKind) {
  expect_call("proc1[`IBM;2024.01.02;1 2 3f]", "proc1",
              {Value::symbol("IBM"), Value::date(8767), Value::floats({1, 2, 3})});
  expect_call("f 1 2 3", "f", {Value::longs({1, 2, 3})});
  expect_call("f -5", "f", {Value::long_atom(-5)});
  expect_call("f (1;\"a\";`b)", "f",
              {Value::list({Value::long_atom(1), Value::char_atom('a'), Value::symbol("b")})});
  expect_call("f[`a`b!1 2]", "f", {Value::dict(Value::symbols({"a", "b"}), Value::longs({1, 2}))});
  expect_call("f `a`b!1 2", "f", {Value::dict(Value::symbols({"a", "b"}), Value::longs({1, 2}))});
  expect_call("f ([]a:1 2)", "f", {Value::table({"a"}, {Value::longs({1, 2})})});
  expect_call("f enlist 1", "f", {Value::longs({1})});
  expect_call("f ()", "f", {Value::list({})});
  expect_call("f ::", "f", {Value::null()});
  expect_call("f[::;1]", "f", {Value::null(), Value::long_atom(1)});
  expect_call(".my.api[1;`x]", ".my.api", {Value::long_atom(1), Value::symbol("x")});
  expect_call("(`f;1;(`g;2))", "f",
              {Value::long_atom(1), Value::list({Value::symbol("g"), Value::long_atom(2)})});
}

TEST(ParseCall, NoArgumentsAndTheEmptyBracketDiffer) {
  expect_call("proc1", "proc1", {});
  expect_call("(`proc1)", "proc1", {});
  expect_call("proc1[]", "proc1", {Value::null()});
  expect_call("proc1[ ]", "proc1", {Value::null()});
}

TEST(ParseCall, SystemIsACallLikeAnyOther) {
  expect_call("system \"ls\"", "system", {Value::chars("ls")});
  expect_call("exit 0", "exit", {Value::long_atom(0)});
  expect_call("value \"1+1\"", "value", {Value::chars("1+1")});
}

TEST(ParseCall, NestedEvaluationIsToldTogetherWithTheName) {
  const Result<Call, CallError> call = parse_call("proc1 proc2 `IBM");
  ASSERT_FALSE(call.ok());
  EXPECT_EQ(call.error().error, (Error{Errc::nested_evaluation, 6}));
  EXPECT_EQ(call.error().name, "proc1");
}

// Everything here is q that would run, or looks like it; none of it may become a call.
TEST(ParseCall, HostileTextsWithAKnownNameAreNestedEvaluations) {
  for (const char* text : {"f x",
                           "f g 1",
                           "f g[1]",
                           "f[g[1]]",
                           "f[g]",
                           "f[x;1]",
                           "f[1;x]",
                           "f {x}",
                           "f{x}",
                           "f[{x}]",
                           "f {exit 0}[]",
                           "f 1+1",
                           "f[1+1]",
                           "f-1",
                           "f+1",
                           "f 1,2",
                           "f `a,`b",
                           "f 1;g 2",
                           "f[1];exit 0",
                           "f[1] 2",
                           "f[1][2]",
                           "f[1]g",
                           "f[1]+2",
                           "f \"a\" \"b\"",
                           "f (1;x)",
                           "f (exit 0;1)",
                           "f[(1;g 2)]",
                           "f each 1 2",
                           "f'[1 2]",
                           "f/[1 2]",
                           "f\\[1 2]",
                           "f/:1 2",
                           "f@1",
                           "f . 1 2",
                           "f.(1;2)",
                           "f:1",
                           "f::1",
                           "f[0]:1",
                           "f[;1]",
                           "f[1;]",
                           "f[;]",
                           "f $[1;2;3]",
                           "f $1",
                           "f `int$1",
                           "f `sym$`a",
                           "f 0!t",
                           "f 1!`a`b",
                           "f select from t",
                           "select from t",
                           "delete from `t",
                           "update a:1 from t",
                           "exec a from t",
                           "insert[`t;x]",
                           "f `a[0]",
                           "f \"abc\"[0]",
                           "f 2 xbar 3",
                           "f value \"x\"",
                           "f parse \"x\"",
                           "f system \"ls\"",
                           "f .z.p",
                           "f .z.w \"x\"",
                           "f hopen 5000",
                           "f `:host:5000 \"x\"",
                           "f@[g;1;2]",
                           "f![t;();0b;()]",
                           "f?[t;();0b;()]",
                           "f enlist x",
                           "f enlist[1;x]",
                           "f ([]a:x)",
                           "f ([]a:1 2;b:g 1)",
                           "f `a!x",
                           "f (x)",
                           "f not 1b",
                           "f 1 xexp 2",
                           "f,1",
                           "f `s#1 2",
                           "f ,1",
                           "f (,1)",
                           "(`f;x)",
                           "(`f;g 1)",
                           "(`f;{x})",
                           "(\"f\";1;exit 0)",
                           "(`f;1) 2",
                           "(`f;1)[0]",
                           "(`f;;1)",
                           "(`f;1;)",
                           "f[1;2]'",
                           "f 'x",
                           "f `a`b `c",
                           "f 1 2 -x",
                           "do[10;f 1]",
                           "if[1b;exit 0]",
                           "while[1b;f 1]",
                           "f[\"a\"$1]",
                           "f \"G\"$x",
                           "f `$x",
                           "f `$\"a\",\"b\""}) {
    const Result<Call, CallError> call = parse_call(text);
    ASSERT_FALSE(call.ok()) << text;
    EXPECT_EQ(call.error().error.code, Errc::nested_evaluation)
        << text << ": " << to_text(call.error().error);
    EXPECT_FALSE(call.error().name.empty()) << text;
  }
}

TEST(ParseCall, HostileTextsWithoutANameAreNoCalls) {
  for (const char* text : {"1+1",        "{x}[1]",  "{exit 0}[]", "\\ls",        "\\",
                           "\\\\",       "`f",      "`f`x",       "\"f\"",       "1",
                           "+[1;2]",     "+",       "'boom",      "::",          ":x",
                           "({x};1)",    "(1;2)",   "(f;1)",      "(\"f 1\";2)", "(`$\"a b\";1)",
                           "((`f;1);2)", "0x00",    "@[f;1;2]",   ".[f;1 2]",    "$[1b;f 1;2]",
                           "!x",         "",        "   ",        ";f 1",        "[1]f",
                           "(`;1)",      "(`a`b;1)"}) {
    const Result<Call, CallError> call = parse_call(text);
    ASSERT_FALSE(call.ok()) << text;
    EXPECT_EQ(call.error().error.code, Errc::not_a_call)
        << text << ": " << to_text(call.error().error);
  }
}

TEST(ParseCall, TextsThatAreNoQAtAllAreUnparsable) {
  for (const std::string& text : {std::string("f \"abc"),
                                  std::string("f (1;2"),
                                  std::string("f[1;2"),
                                  std::string("f[1))"),
                                  std::string("f 1)"),
                                  std::string("f ]"),
                                  std::string("f 1 / comment"),
                                  std::string("f `IBM / x"),
                                  std::string("/ comment"),
                                  std::string("f \x01"),
                                  std::string("f 1\0", 4),
                                  std::string("\0f 1", 4),
                                  std::string("f 1\n"),
                                  std::string("f 1\ng 2"),
                                  std::string("f \"a\nb\""),
                                  std::string("f \"\\q\""),
                                  std::string("\xc3\xa9 1"),
                                  std::string("f \xc3\xa9"),
                                  std::string("f `\xc3\xa9"),
                                  std::string("f 1x2"),
                                  std::string("f 2024.99.99"),
                                  std::string("f 0x0"),
                                  std::string("(`f;1"),
                                  std::string("f \xe2\x80\x8b"
                                              "1"),
                                  std::string("f 12:99"),
                                  std::string("f }"),
                                  std::string("f 1_000"),
                                  std::string("f ([]a:1 2;b:1)"),
                                  std::string("f 1e999x")}) {
    const Result<Call, CallError> call = parse_call(text);
    if (text == "f 0x0") {
      EXPECT_TRUE(call.ok());
      continue;
    }
    ASSERT_FALSE(call.ok()) << text;
    EXPECT_EQ(call.error().error.code, Errc::unparsable)
        << text << ": " << to_text(call.error().error);
  }
}

TEST(ParseCall, LengthAndDepthAreLimited) {
  EXPECT_EQ(parse_call("f " + std::string(70'000, '1')).error().error.code, Errc::text_too_long);
  EXPECT_EQ(parse_call("f " + std::string(60'000, '(')).error().error.code, Errc::too_deep);
  EXPECT_EQ(parse_call("f " + std::string(30'000, '[')).error().error.code,
            Errc::nested_evaluation);
  std::string enlists = "f ";
  for (int i = 0; i < 5000; ++i) {
    enlists += "enlist ";
  }
  EXPECT_EQ(parse_call(enlists + "1").error().error.code, Errc::too_deep);
}

TEST(ParseCall, RefusedNamesAreShortened) {
  const Result<Call, CallError> call = parse_call(std::string(1000, 'f') + " x");
  ASSERT_FALSE(call.ok());
  EXPECT_EQ(call.error().name.size(), 64U);
}

TEST(IsName, TakesNamesAndNothingElse) {
  for (const char* name : {"f", "proc1", ".z.p", ".my.api_2", "a.b.c", "A_b"}) {
    EXPECT_TRUE(is_name(name)) << name;
  }
  for (const char* name :
       {"", "1f", "_f", ".", "..a", "f.", "f..g", "f g", " f", "f ", "f;", "{x}", "f\n", ".1"}) {
    EXPECT_FALSE(is_name(name)) << name;
  }
  EXPECT_FALSE(is_name(std::string_view("f\0", 2)));
}

TEST(CallOf, ListFormsStringsAndSymbols) {
  const Value ibm = Value::symbol("IBM");
  const auto same = [&](const Value& query) {
    const Result<Call, CallError> call = call_of(query);
    ASSERT_TRUE(call.ok());
    EXPECT_EQ(call->name, "f");
    EXPECT_EQ(call->arguments, std::vector<Value>{ibm});
    const Result<Call, CallError> encoded = call_of(encode(query));
    ASSERT_TRUE(encoded.ok());
    EXPECT_EQ(encoded->arguments, call->arguments);
  };
  same(Value::list({Value::symbol("f"), ibm}));
  same(Value::list({Value::chars("f"), ibm}));
  same(Value::list({Value::char_atom('f'), ibm}));
  same(Value::symbols({"f", "IBM"}));
  same(Value::chars("f `IBM"));
  EXPECT_TRUE(call_of(Value::symbol("f"))->arguments.empty());
}

TEST(CallOf, FunctionsAnywhereInArgumentsAreNestedEvaluations) {
  const Value lambda = *Value::function(bytes_of({100, 0, 10, 0, 3, 0, 0, 0, '{', 'x', '}'}));
  const Value plus = *Value::function(bytes_of({102, 1}));
  const Value table = Value::table({"a"}, {Value::list({Value::long_atom(1), plus})});
  for (const Value& argument :
       {lambda, plus, Value::list({Value::long_atom(1), Value::list({lambda})}), table,
        Value::dict(Value::symbols({"a"}), Value::list({plus})),
        Value::keyed_table(table, table)}) {
    const Result<Call, CallError> call = call_of(Value::list({Value::symbol("f"), argument}));
    ASSERT_FALSE(call.ok());
    EXPECT_EQ(call.error().error.code, Errc::nested_evaluation);
    EXPECT_EQ(call.error().name, "f");
  }
  EXPECT_TRUE(
      call_of(Value::list({Value::symbol("f"), Value::list({Value::symbol("g"), Value::null()})}))
          .ok());
}

TEST(CallOf, HeadsThatAreNoNamesAreNoCalls) {
  const Value lambda = *Value::function(bytes_of({100, 0, 10, 0, 3, 0, 0, 0, '{', 'x', '}'}));
  for (const Value& query :
       {Value::list({lambda, Value::long_atom(1)}),
        Value::list({Value::chars("{x}"), Value::long_atom(1)}), Value::list({}),
        Value::long_atom(1), Value::null(), Value::chars(""), Value::symbol(""), Value::symbols({}),
        Value::dict(Value::symbols({"f"}), Value::longs({1})),
        Value::list({Value::symbol("a b"), Value::long_atom(1)})}) {
    const Result<Call, CallError> call = call_of(query);
    ASSERT_FALSE(call.ok());
    EXPECT_EQ(call.error().error.code, Errc::not_a_call);
  }
  EXPECT_EQ(call_of(bytes_of({3, 0})).error().error.code, Errc::bad_type);
}

TEST(CallOf, ReencodingACallNeverCarriesTheClientsText) {
  const Result<Call, CallError> call = parse_call("proc1 [ `IBM ;  1 2 ]");
  ASSERT_TRUE(call.ok());
  EXPECT_EQ(
      encode_call(call->name, call->arguments),
      encode(Value::list({Value::symbol("proc1"), Value::symbol("IBM"), Value::longs({1, 2})})));
}

}  // namespace
