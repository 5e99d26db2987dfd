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

}  // namespace
}  // namespace mserve::broker
