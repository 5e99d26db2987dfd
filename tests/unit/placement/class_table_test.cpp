// SPDX-License-Identifier: Apache-2.0
#include "placement/class_table.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace mserve::broker {
namespace {

std::vector<Rule> rules(const std::vector<std::string>& texts) {
  std::vector<Rule> parsed;
  for (const std::string& text : texts) {
    std::string fault;
    parsed.push_back(parse_rule(text, fault).value());
  }
  return parsed;
}

ClassTable::Change apply(ClassTable& table, const std::vector<std::string>& texts) {
  std::string fault;
  auto change = table.apply(rules(texts), fault);
  EXPECT_TRUE(change) << fault;
  return change ? std::move(*change) : ClassTable::Change{};
}

TEST(ClassTable, EachSetOfServantsIsOneClass) {
  ClassTable table(kClassesMax);
  const auto change = apply(table, {"fn=f -> a b", "fn=g -> b a", "fn=h -> c else a b", "-> any"});
  ASSERT_EQ(change.classes.size(), 2U);
  EXPECT_EQ(change.classes[0].number, 1U);
  EXPECT_EQ(change.classes[0].fallback, kNone);
  EXPECT_EQ(change.classes[1].number, 2U);
  EXPECT_EQ(change.classes[1].fallback, 1U);
  EXPECT_EQ(change.placement->class_for({}), 0U);
}

TEST(ClassTable, ClassesKeepTheirNumbersWhenRulesChange) {
  ClassTable table(kClassesMax);
  (void)apply(table, {"fn=f -> a", "fn=g -> b"});
  const auto change = apply(table, {"fn=f -> c", "fn=g -> b"});
  ASSERT_EQ(change.classes.size(), 1U);
  EXPECT_EQ(change.classes[0].number, 3U);
  EXPECT_EQ(apply(table, {"fn=f -> a"}).classes.size(), 0U);
  EXPECT_EQ(apply(table, {}).placement, nullptr);
}

TEST(ClassTable, TooManyClassesAreRefusedAndNothingChanges) {
  ClassTable table(3);
  (void)apply(table, {"-> a", "-> b"});
  std::string fault;
  EXPECT_FALSE(table.apply(rules({"-> c"}), fault));
  EXPECT_NE(fault.find("restart"), std::string::npos);
  EXPECT_EQ(apply(table, {"-> b"}).classes.size(), 0U);
}

TEST(ClassTable, ServantsAlikeInTagsFormAPoolWhateverTheirWeight) {
  ClassTable table(kClassesMax);
  (void)apply(table, {"-> a", "-> b !a"});
  const auto first = table.enter("a  b weight=3");
  ASSERT_TRUE(first && first->define);
  EXPECT_EQ(first->define->classes, 0b011U);
  const auto second = table.enter("b a a");
  ASSERT_TRUE(second);
  EXPECT_EQ(second->pool, first->pool);
  EXPECT_FALSE(second->define);
  const auto other = table.enter("b");
  ASSERT_TRUE(other && other->define);
  EXPECT_EQ(other->define->classes, 0b101U);
  // A class that comes later knows who is there.
  const auto change = apply(table, {"-> b"});
  ASSERT_EQ(change.classes.size(), 1U);
  EXPECT_EQ(change.classes[0].pools,
            std::uint64_t{1} << first->pool | std::uint64_t{1} << other->pool);
}

TEST(ClassTable, APoolThatIsEmptyIsUsedAgain) {
  ClassTable table(kClassesMax);
  for (std::uint32_t at = 0; at < kPoolsMax; ++at) {
    ASSERT_TRUE(table.enter("tag" + std::to_string(at)));
  }
  EXPECT_FALSE(table.enter("one-more"));
  EXPECT_TRUE(table.enter("tag7"));
  table.leave(7);
  EXPECT_FALSE(table.enter("one-more"));
  table.leave(7);
  const auto entry = table.enter("one-more");
  ASSERT_TRUE(entry && entry->define);
  EXPECT_EQ(entry->pool, 7U);
}

// Goal: what came from another broker finds the same servants as others, but for the links.
TEST(ClassTable, FromTheFirstLinkOnEachClassHasATwinWithoutLinks) {
  ClassTable table(kClassesMax);
  std::string fault;
  (void)apply(table, {"fn=f -> a else b"});  // b: 1, a: 2
  const auto local = table.enter("a");
  ASSERT_TRUE(local);
  EXPECT_TRUE(table.meet("a b", fault)->classes.empty());
  const auto met = table.meet("a peer=B", fault);
  ASSERT_TRUE(met) << fault;
  ASSERT_EQ(met->classes.size(), 3U);
  const Placement& placement = *met->placement;
  const std::uint32_t any = placement.here_only(0);
  const std::uint32_t b = placement.here_only(1);
  const std::uint32_t a = placement.here_only(2);
  for (const ClassDefined& made : met->classes) {
    EXPECT_EQ(made.fallback, made.number == a ? b : kNone);
    EXPECT_EQ(made.pools, made.number == b ? 0U : std::uint64_t{1} << local->pool);
    EXPECT_EQ(placement.here_only(made.number), made.number);
  }
  const auto link = table.enter("a peer=B");
  ASSERT_TRUE(link && link->define);
  EXPECT_EQ(link->define->classes, 0b101U);
  EXPECT_EQ(table.classes_of("a"), 0b101U | std::uint64_t{1} << any | std::uint64_t{1} << a);
  EXPECT_TRUE(table.meet("peer=C", fault)->classes.empty());
  // A class that comes later has its own at once.
  const auto later = apply(table, {"-> c"});
  ASSERT_EQ(later.classes.size(), 2U);
  EXPECT_EQ(later.placement->here_only(later.classes[0].number), later.classes[1].number);
  EXPECT_NE(apply(table, {}).placement, nullptr);
}

TEST(ClassTable, ThereIsRoomForALinkToEachOf200Hosts) {
  ClassTable table(kClassesMax);
  std::string fault;
  ASSERT_TRUE(table.meet("peer=h0", fault)) << fault;
  std::uint32_t last = 0;
  for (int host = 0; host < 200; ++host) {
    const auto entry = table.enter("group=hdb peer=h" + std::to_string(host));
    ASSERT_TRUE(entry) << host;
    last = entry->pool;
  }
  const auto change = apply(table, {"-> peer=h199"});
  ASSERT_EQ(change.classes.size(), 2U) << "and its twin";
  EXPECT_EQ(change.classes[0].pools, PoolSet().set(last));
  EXPECT_TRUE(change.classes[1].pools.none());
}

// 256 peers took all places, and a servant that was started again found none.
TEST(ClassTable, LinksNeverTakeTheLastPlaces) {
  ClassTable table(kClassesMax);
  std::string fault;
  ASSERT_TRUE(table.meet("peer=x", fault)) << fault;
  std::uint32_t links = 0;
  while (table.enter("peer=" + std::to_string(links))) {
    ++links;
  }
  EXPECT_EQ(links, kLinkPoolsMax);
  EXPECT_GE(links, 200U);
  for (std::uint32_t i = kLinkPoolsMax; i < kPoolsMax; ++i) {
    EXPECT_TRUE(table.enter("group=" + std::to_string(i))) << i;
  }
  EXPECT_FALSE(table.enter("group=one-more"));
}

TEST(ClassTable, WithoutRoomForTwinsALinkIsRefused) {
  ClassTable table(3);
  std::string fault;
  (void)apply(table, {"-> a"});
  EXPECT_FALSE(table.meet("peer=B", fault));
  EXPECT_NE(fault.find("counted twice"), std::string::npos) << fault;
  EXPECT_EQ(apply(table, {}).placement, nullptr);
}

TEST(ClassTable, WithoutRulesOnlyLinksAreToldApart) {
  ClassTable table(2, ClassTable::Apart::links);
  std::string fault;
  const auto first = table.enter("a");
  ASSERT_TRUE(first && first->define);
  EXPECT_EQ(table.enter("b weight=2")->pool, first->pool);
  const auto met = table.meet("peer=B", fault);
  ASSERT_TRUE(met) << fault;
  ASSERT_EQ(met->classes.size(), 1U);
  EXPECT_EQ(met->classes[0].pools, std::uint64_t{1} << first->pool);
  EXPECT_EQ(met->placement->here_only(0), 1U);
  const auto link = table.enter("peer=B");
  ASSERT_TRUE(link && link->define);
  EXPECT_EQ(link->define->classes, 1U);
  EXPECT_EQ(table.enter("peer=C zone=a")->pool, link->pool);
}

}  // namespace
}  // namespace mserve::broker
