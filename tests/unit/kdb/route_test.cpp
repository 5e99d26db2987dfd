// SPDX-License-Identifier: Apache-2.0
#include "mserve/kdb/route.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <limits>

#include "mserve/kdb/codec.hpp"
#include "mserve/kdb/parse.hpp"
#include "mserve/kdb/print.hpp"
#include "samples.hpp"

namespace {

using namespace mserve::kdb;
using mserve::test::bytes_of;

using Kind = RouteRule::Kind;

Route of_text(std::string text, const RouteRule& rule = {}) {
  return route_of(encode(Value::chars(std::move(text))), rule);
}

RouteRule rule_of(std::string_view text) {
  const Result<RouteRule> rule = parse_rule(text);
  EXPECT_TRUE(rule.ok()) << text;
  return rule ? *rule : RouteRule{};
}

RouteRule nth(std::uint32_t argument) {
  return {Kind::argument, argument, {}};
}

/// Days since 2000 of 2024.01.01 and 2024.01.31.
constexpr std::int32_t kFirst = 8766;
constexpr std::int32_t kLast = 8796;

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

// What q sends for a list form is written here by hand, and not by the parser that reads the text.
TEST(Route, TheSameValueGivesTheSameRouteAsTextAndAsList) {
  struct Case {
    const char* text;
    Value value;
  };
  const std::vector<Case> cases = {
      {"2024.01.01 2024.01.31", Value::dates({kFirst, kLast})},
      {"2024.01.01", Value::date(kFirst)},
      {"`a`b", Value::symbols({"a", "b"})},
      {"(`a;`b)", Value::symbols({"a", "b"})},
      {"`a", Value::symbol("a")},
      {"\"a b\"", Value::chars("a b")},
      {"\"a\"", Value::char_atom('a')},
      {"(`a`b;2024.01.01 2024.01.31)",
       Value::list({Value::symbols({"a", "b"}), Value::dates({kFirst, kLast})})},
      {"(\"ab\";\"cd\")", Value::list({Value::chars("ab"), Value::chars("cd")})},
      {"1b", Value::boolean(true)},
      {"101b", Value::booleans({1, 0, 1})},
      {"0x0102", Value::bytes({1, 2})},
      {"-3h", Value::short_atom(-3)},
      {"1 2 3i", Value::ints({1, 2, 3})},
      {"7", Value::long_atom(7)},
      {"-1 0N 0W", Value::longs({-1, INT64_MIN, INT64_MAX})},
      {"1.5e", Value::real(1.5F)},
      {"1 2.5", Value::floats({1, 2.5})},
      {"0n", Value::float_atom(-std::numeric_limits<double>::quiet_NaN())},
      {"2024.01m", Value::month(288)},
      {"2000.01.02D00:00:00", Value::timestamp(INT64_C(86'400'000'000'000))},
      {"0D00:00:01", Value::timespan(1'000'000'000)},
      {"09:30 16:00", Value::minutes({570, 960})},
      {"09:30:00", Value::second(34'200)},
      {"09:30:00.000 16:00:00.000", Value::times({34'200'000, 57'600'000})},
      {"`a`b!1 2", Value::dict(Value::symbols({"a", "b"}), Value::longs({1, 2}))},
      {"([]s:`x`y;d:2024.01.01 2024.01.31)",
       Value::table({"s", "d"}, {Value::symbols({"x", "y"}), Value::dates({kFirst, kLast})})}};
  for (const char* const rule : {"arg:1", "fn", "fn+arg:1", "const"}) {
    for (const Case& c : cases) {
      const Value& value = c.value;
      const Route listed =
          route_of(encode(Value::list({Value::symbol("proc1"), value})), rule_of(rule));
      EXPECT_NE(listed.hash, 0U) << rule << ' ' << c.text;
      EXPECT_EQ(of_text(std::string("proc1 ") + c.text, rule_of(rule)), listed)
          << rule << ' ' << c.text;
      EXPECT_EQ(of_text(std::string("(`proc1;") + c.text + ")", rule_of(rule)), listed)
          << rule << ' ' << c.text;
      EXPECT_EQ(route_of(encode(Value::list({Value::chars("proc1"), value})), rule_of(rule)),
                listed)
          << rule << ' ' << c.text;
      EXPECT_EQ(route_of("proc1", std::vector<Value>{value}, rule_of(rule)), listed)
          << rule << ' ' << c.text;
    }
  }
}

TEST(Route, DifferentValuesAndTypesGiveDifferentRoutes) {
  std::vector<std::uint64_t> hashes;
  for (const char* const text :
       {"f 2024.01.01 2024.01.31", "f 2024.01.01 2024.02.01", "f 2024.01.01", "f 8766", "f 8766i",
        "f `a`b", "f `b`a", "f `ab", "f (`a`b;1)", "f 1 2", "f 1 2i", "f 1 2f"}) {
    hashes.push_back(of_text(text).hash);
    hashes.push_back(of_text(text, rule_of("fn+arg:1")).hash);
  }
  hashes.push_back(of_text("f", rule_of("fn")).hash);
  std::sort(hashes.begin(), hashes.end());
  EXPECT_EQ(std::unique(hashes.begin(), hashes.end()), hashes.end());
}

TEST(Route, TheFunctionIsReadFromEveryForm) {
  const RouteRule rule = rule_of("fn");
  const Route expected = of_text("proc1", rule);
  EXPECT_EQ(expected.text, "proc1");
  EXPECT_NE(expected.hash, 0U);
  EXPECT_NE(expected.hash, route_of_text("proc1").hash);
  for (const char* const text : {"proc1[]", "proc1 `IBM", "proc1[1;2]", "(`proc1;`IBM)", "`proc1",
                                 "(\"proc1\";1)", "proc1 .z.d", "proc1[{x};1]", "proc1 count x"}) {
    const bool symbol = text[0] == '`';  // as text, that is a symbol and no call
    EXPECT_EQ(of_text(text, rule), symbol ? Route{} : expected) << text;
  }
  EXPECT_EQ(of_text("select from t where a=1", rule).text, "select");
  EXPECT_EQ(route_of(encode(Value::symbol("proc1")), rule), expected);
  EXPECT_EQ(route_of(encode(Value::symbols({"proc1"})), rule), expected);
  EXPECT_EQ(route_of(encode(Value::symbols({"proc1", "IBM"})), rule), expected);
  EXPECT_EQ(route_of(encode(Value::list({Value::chars("proc1"), Value::null()})), rule), expected);
  const std::string name(100, 'n');
  EXPECT_EQ(of_text(name + " 1", rule), of_text(name.substr(0, 64) + " 1", rule));
  EXPECT_EQ(of_text(name + " .z.d", rule), of_text(name + " 1", rule));
}

TEST(Route, WithoutANameThereIsNoFunction) {
  for (const char* const name : {"fn", "fn+arg:1"}) {
    const RouteRule rule = rule_of(name);
    for (const char* const text : {"", "1+1", "{x} 1", "(({x};1))", "f[1", "\\ls"}) {
      EXPECT_EQ(of_text(text, rule), Route{}) << text;
    }
    EXPECT_EQ(route_of({}, rule), Route{});
    EXPECT_EQ(route_of(bytes_of({0xf5, 'f'}), rule), Route{}) << "no end";
    EXPECT_EQ(route_of(encode(Value::long_atom(1)), rule), Route{});
    EXPECT_EQ(route_of(encode(Value::list({Value::chars("{x}"), Value::symbol("a")})), rule),
              Route{});
    EXPECT_EQ(route_of(encode(Value::list({Value::long_atom(1), Value::symbol("a")})), rule),
              Route{});
  }
}

TEST(Route, FunctionAndArgumentAreTheFunctionAloneWhereThereIsNoArgument) {
  const RouteRule rule = rule_of("fn+arg:2");
  const Route alone = of_text("f", rule_of("fn"));
  for (const char* const text : {"f", "f[]", "f 1", "f[1;`]", "f[1;::]", "f[1;\"\"]", "f[1;x]"}) {
    EXPECT_EQ(of_text(text, rule), alone) << text;
  }
  EXPECT_EQ(route_of(encode(Value::symbols({"f", "a"})), rule), alone);
  const Route both = of_text("f[1;`b]", rule);
  EXPECT_EQ(both.text, "f b");
  EXPECT_EQ(route_of(encode(Value::symbols({"f", "a", "b"})), rule), both);
  EXPECT_NE(both.hash, of_text("g[1;`b]", rule).hash);
  EXPECT_NE(both.hash, route_of_text("b").hash);
  EXPECT_NE(both.hash, route_of_text("f b").hash);
  EXPECT_NE(both.hash, alone.hash);
}

TEST(Route, TheUserAndAConstantNeedNoQuery) {
  const auto query = encode(Value::chars("1+1"));
  const Route bob = route_of(query, rule_of("user"), {.user = "bob"});
  EXPECT_EQ(bob.text, "bob");
  EXPECT_EQ(route_of({}, rule_of("user"), {.user = "bob"}), bob);
  EXPECT_EQ(route_of("f", {}, rule_of("user"), {.user = "bob"}), bob);
  EXPECT_NE(route_of(query, rule_of("user"), {.user = "eve"}).hash, bob.hash);
  EXPECT_EQ(route_of(query, rule_of("user")), Route{});
  const Route everything = route_of(query, rule_of("const"));
  EXPECT_EQ(everything.text, "const");
  EXPECT_EQ(route_of({}, rule_of("const"), {.user = "bob"}), everything);
}

TEST(Route, AnOptionIsAValueLikeAnArgument) {
  const RouteRule rule = rule_of("option:desk");
  const auto query = encode(Value::chars("proc1 `IBM"));
  const auto of = [&](const Value& options) {
    const auto bytes = encode(options);
    return route_of(query, rule, {.options = bytes});
  };
  const Value keys = Value::symbols({"repeatable", "desk"});
  const Route mixed = of(Value::dict(keys, Value::list({Value::boolean(true), Value::chars("x")})));
  EXPECT_EQ(mixed.text, "x");
  EXPECT_EQ(of(Value::dict(keys, Value::symbols({"a", "x"}))), mixed) << "a vector of values";
  EXPECT_EQ(of(Value::dict(Value::symbols({"desk"}), Value::list({Value::symbol("x")}))), mixed);
  const Route number = of(Value::dict(keys, Value::longs({1, 7})));
  EXPECT_EQ(number.text, "7");
  EXPECT_EQ(of(Value::dict(keys, Value::list({Value::chars("a"), Value::long_atom(7)}))), number);
  const Value dates = Value::dates({kFirst, kLast});
  EXPECT_EQ(of(Value::dict(keys, Value::list({Value::null(), dates}))).text,
            "2024.01.01 2024.01.31");
  const Value large = Value::chars(std::string(kRouteOptionsBytesMax, 'x'));
  for (const Value& none :
       {Value::dict(Value::symbols({"repeatable"}), Value::booleans({1})), Value::null(),
        Value::dict(keys, Value::symbols({"a", ""})),
        Value::dict(keys, Value::list({large, large})),
        Value::dict(Value::longs({1}), Value::longs({2})), Value::symbol("desk")}) {
    EXPECT_EQ(of(none), Route{}) << text(none, 80);
  }
  EXPECT_EQ(route_of(query, rule), Route{}) << "no options";
  EXPECT_EQ(route_of(query, rule, {.options = bytes_of({99, 0, 1})}), Route{}) << "malformed";
}

// The hash crosses processes of different versions: these numbers must never change.
TEST(Route, HashesAreStable) {
  EXPECT_EQ(route_of_text("IBM").hash, UINT64_C(0xce0c666507da7398));
  EXPECT_EQ(of_text("f 42").hash, UINT64_C(0xfe0546a52f744480));
  EXPECT_EQ(of_text("f 2024.01.01 2024.01.31").hash, UINT64_C(0x9dabd3d34ad2c9d2));
  EXPECT_EQ(of_text("f `a`b").hash, UINT64_C(0xaf0dc89e8f2b9154));
  EXPECT_EQ(of_text("proc1 `IBM", rule_of("fn")).hash, UINT64_C(0xf332eda48cc446b5));
  EXPECT_EQ(of_text("proc1 `IBM", rule_of("fn+arg:1")).hash, UINT64_C(0x339a3e293cc005e7));
  EXPECT_EQ(of_text("proc1 2024.01.01 2024.01.31", rule_of("fn+arg:1")).hash,
            UINT64_C(0xc5836a5f559a7c01));
  EXPECT_EQ(route_of({}, rule_of("user"), {.user = "bob"}).hash, UINT64_C(0x98922e3fa5074d1b));
  EXPECT_EQ(route_of({}, rule_of("const")).hash, UINT64_C(0x4c56422f91464fc0));
  const auto options = encode(Value::dict(Value::symbols({"k"}), Value::symbols({"desk7"})));
  EXPECT_EQ(route_of({}, rule_of("option:k"), {.options = options}).hash,
            UINT64_C(0x358ebec6efe7f0cf));
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
  EXPECT_EQ(of_text("f[1;`B]", nth(2)), route_of_text("B"));
  EXPECT_EQ(of_text("f[1;`B]", nth(3)), Route{});
  EXPECT_EQ(route_of(encode(Value::symbols({"f", "A", "B"})), nth(2)), route_of_text("B"));
  EXPECT_EQ(of_text("f 1", nth(0)), Route{});
}

TEST(Route, RulesAreReadAndWritten) {
  EXPECT_EQ(parse_rule("arg:1")->argument, 1U);
  const std::string key(kRouteKeyBytesMax, 'k');
  for (const std::string& text :
       {std::string("arg:1"), std::string("arg:12"), std::string("fn"), std::string("fn+arg:1"),
        std::string("fn+arg:255"), std::string("user"), std::string("const"),
        std::string("option:desk"), "option:" + key}) {
    EXPECT_EQ(to_text(rule_of(text)), text);
    EXPECT_LT(text.size(), 64U) << "fits the welcome message";
  }
  for (const std::string& text :
       {std::string(), std::string("arg"), std::string("arg:"), std::string("arg:0"),
        std::string("arg:256"), std::string("arg:-1"), std::string("arg:1x"), std::string("ARG:1"),
        std::string("arg: 1"), std::string("fn+"), std::string("fn+arg:0"), std::string("fn+fn"),
        std::string("fn "), std::string("option:"), std::string("option:a b"), "option:k" + key,
        std::string("users"), std::string("{x 1}")}) {
    EXPECT_EQ(parse_rule(text).error().code, Errc::bad_rule) << text;
  }
  EXPECT_NE(describe(Errc::bad_rule).find(kRouteRules), std::string_view::npos);
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
