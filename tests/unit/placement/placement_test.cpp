// SPDX-License-Identifier: Apache-2.0
#include "placement/placement.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "mserve/kdb/route.hpp"

namespace mserve::broker {
namespace {

using Kind = kdb::RouteRule::Kind;

Rule rule(std::string_view text) {
  std::string fault;
  auto parsed = parse_rule(text, fault);
  EXPECT_TRUE(parsed) << text << ": " << fault;
  return parsed.value_or(Rule{});
}

std::uint64_t function(std::string_view name) {
  return kdb::route_of(name, {}, {.kind = Kind::function}).hash;
}

std::uint64_t user(std::string_view name) {
  return kdb::route_of("", {}, {.kind = Kind::user}, {.user = name, .options = {}}).hash;
}

Placement placement(const std::vector<std::string>& texts) {
  std::vector<Rule> rules;
  std::vector<std::uint32_t> classes;
  for (const std::string& text : texts) {
    rules.push_back(rule(text));
    classes.push_back(static_cast<std::uint32_t>(classes.size() + 1));
  }
  return {rules, classes};
}

TEST(Rule, AllItsPartsAreRead) {
  const Rule r = rule(
      "fn=getTrades,getQuotes user=ken route=IBM share=12.5%  ->  group=hdb !gpu "
      "else any");
  EXPECT_EQ(r.functions, (std::vector<std::string>{"getTrades", "getQuotes"}));
  EXPECT_EQ(r.users, std::vector<std::string>{"ken"});
  EXPECT_EQ(r.routes, std::vector<std::string>{"IBM"});
  EXPECT_EQ(r.share, 1250U);
  EXPECT_EQ(r.servants.text(), "group=hdb !gpu");
  ASSERT_TRUE(r.otherwise);
  EXPECT_EQ(r.otherwise->text(), "any");
  EXPECT_EQ(rule("-> any").share, Rule::kAll);
}

TEST(Rule, WhatIsWrongIsNamed) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "CONDITIONS '->' TAGS"},
      {"fn=a group=hdb", "CONDITIONS '->' TAGS"},
      {"fn=a ->", "tags of servants"},
      {"fn=a -> hdb else", "tags of servants"},
      {"fn= -> hdb", "'fn='"},
      {"fn=a,,b -> hdb", "'fn=a,,b'"},
      {"fun=a -> hdb", "'fun=a'"},
      {"a -> hdb", "'a'"},
      {"share=10 -> hdb", "percentage"},
      {"share=101% -> hdb", "percentage"},
      {"share=-1% -> hdb", "percentage"},
      {"share=nan% -> hdb", "percentage"},
      {"share=% -> hdb", "percentage"},
      {"-> any hdb", "'any'"},
      {"-> !", "'!'"},
      {"-> a -> b", "'->'"},
      {"-> weight=3", "'weight=3'"},
      {"fn=get-trades -> hdb", "'get-trades'"},
      {"fn=f[] -> hdb", "'f[]'"},
      {"fn=2f -> hdb", "'2f'"},
      {"fn=a fn=b -> hdb", "'fn='"},
      {"share=1% share=2% -> hdb", "'share='"},
      {"-> gpu !gpu", "'!gpu'"},
      {"-> a else b else c", "'else'"},
      {"-> a els b", "'els' is no tag that servants are chosen by; is it 'else'?"},
      {"-> a esle b", "is it 'else'?"},
      {"-> a Else b", "is it 'else'?"},
  };
  for (const auto& [text, what] : cases) {
    std::string fault;
    EXPECT_FALSE(parse_rule(text, fault)) << text;
    EXPECT_NE(fault.find(what), std::string::npos) << text << ": " << fault;
  }
}

TEST(Rule, ATagMayBeAName) {
  for (const char* const text : {"-> elsa", "-> eu", "-> hdb elise=1", "-> !elle"}) {
    std::string fault;
    EXPECT_TRUE(parse_rule(text, fault)) << text << ": " << fault;
  }
}

TEST(Selector, WantsAllOfItsTagsAndNoneOfTheOthers) {
  const Selector some = rule("-> gpu zone=a !version=canary").servants;
  EXPECT_TRUE(some.matches("zone=a gpu"));
  EXPECT_TRUE(some.matches("x gpu zone=a weight=3"));
  EXPECT_FALSE(some.matches("gpu"));
  EXPECT_FALSE(some.matches("gpu zone=ab"));
  EXPECT_FALSE(some.matches("gpu zone=a version=canary"));
  EXPECT_TRUE(rule("-> any").servants.matches(""));
}

TEST(Placement, TheFirstRuleThatFitsDecides) {
  const Placement p =
      placement({"fn=f user=ken -> a", "fn=f,g -> b", "user=arthur -> c", "route=IBM -> d"});
  EXPECT_EQ(p.class_for({function("f"), user("ken"), 0}), 1U);
  EXPECT_EQ(p.class_for({function("f"), user("arthur"), 0}), 2U);
  EXPECT_EQ(p.class_for({function("g"), 0, 0}), 2U);
  EXPECT_EQ(p.class_for({function("h"), user("arthur"), 0}), 3U);
  EXPECT_EQ(p.class_for({function("h"), user("ken"), kdb::route_of_text("IBM").hash}), 4U);
  EXPECT_EQ(p.class_for({function("h"), user("ken"), kdb::route_of_text("MSFT").hash}), 0U);
  EXPECT_EQ(p.class_for({}), 0U);
}

TEST(Placement, WhatNobodyKnowsFitsNoName) {
  Rule strange;
  strange.functions = {"no name"};
  const std::vector<std::uint32_t> classes = {1};
  EXPECT_EQ(Placement({&strange, 1}, classes).class_for({}), 0U);
}

TEST(Placement, AShareIsThatShareOfUsersAndAlwaysTheSameOnes) {
  const Placement tenth = placement({"share=10% -> version=canary"});
  const Placement fifth = placement({"share=20% -> version=canary"});
  std::uint32_t in = 0;
  for (int i = 0; i < 10'000; ++i) {
    const std::uint64_t who = user("user" + std::to_string(i));
    const bool canary = tenth.class_for({0, who, 0}) == 1;
    EXPECT_EQ(tenth.class_for({function("f"), who, 7}) == 1, canary);
    EXPECT_TRUE(!canary || fifth.class_for({0, who, 0}) == 1) << "left when the share grew";
    in += canary;
  }
  EXPECT_GE(in, 900U);
  EXPECT_LE(in, 1100U);
  EXPECT_EQ(placement({"share=0% -> a"}).class_for({0, user("ken"), 0}), 0U);
  EXPECT_EQ(placement({"share=100% -> a"}).class_for({}), 1U);    // No condition at all.
  EXPECT_EQ(placement({"share=99.99% -> a"}).class_for({}), 0U);  // Nobody knows who it is.
}

}  // namespace
}  // namespace mserve::broker
