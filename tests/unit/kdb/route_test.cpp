// SPDX-License-Identifier: Apache-2.0
#include "mserve/kdb/route.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "mserve/kdb/codec.hpp"
#include "mserve/kdb/parse.hpp"
#include "samples.hpp"

namespace {

using namespace mserve::kdb;
using mserve::test::bytes_of;

Route of_text(std::string text, RouteRule rule = {}) {
  return route_of(encode(Value::chars(std::move(text))), rule);
}

TEST(Route, EveryWayOfAskingGivesTheSameRoute) {
  const Value ibm = Value::symbol("IBM");
  const Route expected = route_of_text("IBM");
  EXPECT_EQ(expected.text, "IBM");
  EXPECT_NE(expected.hash, 0U);
  EXPECT_EQ(of_text("proc1 `IBM"), expected);
  EXPECT_EQ(of_text("proc1[`IBM;1 2]"), expected);
  EXPECT_EQ(of_text("(`proc1;`IBM)"), expected);
  EXPECT_EQ(of_text("proc1 \"IBM\""), expected);
  EXPECT_EQ(route_of(encode(Value::list({Value::symbol("proc1"), ibm, Value::long_atom(1)}))),
            expected);
  EXPECT_EQ(route_of(encode(Value::list({Value::chars("proc1"), ibm}))), expected);
  EXPECT_EQ(route_of(encode(Value::symbols({"proc1", "IBM"}))), expected);
  EXPECT_EQ(route_of("proc1", std::vector<Value>{ibm}), expected);
}

TEST(Route, TextAndListFormAgreeForArgumentsOfEveryType) {
  for (const char* literal :
       {"1", "1 2 3", "2024.01.02", "1.5", "0x0102", "101b", "`a`b", "(1;`a)", "`a`b!1 2",
        "([]a:1 2)", "\"x\"", "\"\"", "`", "::", "0Np", "`long$()"}) {
    const std::string text = std::string("f[") + literal + ";1]";
    const Result<Call, CallError> call = parse_call(text);
    ASSERT_TRUE(call.ok()) << text;
    const Route listed = route_of(encode_call(call->name, call->arguments));
    EXPECT_EQ(of_text(text), listed) << text;
    EXPECT_EQ(route_of("f", call->arguments), listed) << text;
  }
}

// The hash crosses processes of different versions: these numbers must never change.
TEST(Route, HashesAreStable) {
  EXPECT_EQ(route_of_text("IBM").hash, UINT64_C(0xce0c666507da7398));
  EXPECT_EQ(of_text("f 42").hash, UINT64_C(0xfe0546a52f744480));
}

TEST(Route, DifferentArgumentsGiveDifferentHashes) {
  std::vector<std::uint64_t> hashes;
  for (int i = 0; i < 2000; ++i) {
    hashes.push_back(route_of_text("SYM" + std::to_string(i)).hash);
    hashes.push_back(of_text("f " + std::to_string(i)).hash);
  }
  std::sort(hashes.begin(), hashes.end());
  EXPECT_EQ(std::unique(hashes.begin(), hashes.end()), hashes.end());
}

TEST(Route, NoArgumentNoRoute) {
  for (const char* text :
       {"proc1", "proc1[]", "proc1 ::", "proc1 `", "proc1 \"\"", "proc1 x", "1+1", "", "((("}) {
    EXPECT_EQ(of_text(text), Route{}) << text;
  }
  EXPECT_EQ(route_of({}), Route{});
  EXPECT_EQ(route_of(bytes_of({3, 0, 0})), Route{});
  EXPECT_EQ(route_of(encode(Value::long_atom(1))), Route{});
  EXPECT_EQ(route_of(encode(Value::list({Value::long_atom(1), Value::symbol("a")}))), Route{});
  EXPECT_EQ(route_of(encode(Value::symbols({"f"}))), Route{});
  EXPECT_EQ(route_of(bytes_of({0, 0, 2, 0, 0, 0, 0xf5, 'f', 0, 3})), Route{});
}

TEST(Route, TheRuleChoosesTheArgument) {
  EXPECT_EQ(of_text("f[1;`B]", {2}), route_of_text("B"));
  EXPECT_EQ(of_text("f[1;`B]", {3}), Route{});
  EXPECT_EQ(route_of(encode(Value::symbols({"f", "A", "B"})), {2}), route_of_text("B"));
  EXPECT_EQ(of_text("f 1", {0}), Route{});
}

TEST(Route, RulesAreReadAndWritten) {
  EXPECT_EQ(parse_rule("arg:1")->argument, 1U);
  EXPECT_EQ(to_text(*parse_rule("arg:12")), "arg:12");
  for (const char* text :
       {"", "arg", "arg:", "arg:0", "arg:256", "arg:-1", "arg:1x", "fn", "ARG:1", "arg: 1"}) {
    EXPECT_EQ(parse_rule(text).error().code, Errc::bad_rule) << text;
  }
}

TEST(Route, LongTextsAreShortenedButHashedFurther) {
  const Route a = route_of_text(std::string(100, 'a') + "x");
  const Route b = route_of_text(std::string(100, 'a') + "y");
  EXPECT_EQ(a.text.size(), kRouteTextBytesMax);
  EXPECT_EQ(a.text, b.text);
  EXPECT_NE(a.hash, b.hash);
  const Route large =
      route_of("f", std::vector<Value>{Value::longs(std::vector<std::int64_t>(100'000, 1))});
  EXPECT_EQ(large.text, "type 7");
}

}  // namespace
