// SPDX-License-Identifier: Apache-2.0
#include "cores.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace mserve::bench {
namespace {

TEST(CoreList, ReadsNumbersAndRanges) {
  EXPECT_EQ(parse_core_list("0"), (std::vector<int>{0}));
  EXPECT_EQ(parse_core_list("0-2,5"), (std::vector<int>{0, 1, 2, 5}));
}

TEST(CoreList, IsEmptyForAnythingElse) {
  for (const char* text : {"", "x", "1-", "-1", "3-1", "1,x", "0-99999999", "1,,2"}) {
    EXPECT_TRUE(parse_core_list(text).empty()) << text;
  }
}

TEST(CorePair, IsTwoDifferentCores) {
  const auto pair = parse_core_pair("3,1");
  ASSERT_TRUE(pair.has_value());
  EXPECT_EQ(pair->measuring, 3);
  EXPECT_EQ(pair->relaying, 1);
}

TEST(CorePair, IsNothingForAnythingElse) {
  for (const char* text : {"", "1", "1,1", "1,2,3", "a,b", "1,", ",1", "-1,2", "1, 2"}) {
    EXPECT_FALSE(parse_core_pair(text).has_value()) << text;
  }
}

TEST(CorePair, IsChosenAmongUsableCores) {
  const std::vector<int> usable = usable_core_list();
  const auto chosen = choose_cores();
  ASSERT_EQ(chosen.has_value(), usable.size() >= 2);
  if (chosen) {
    EXPECT_NE(chosen->measuring, chosen->relaying);
    EXPECT_EQ(std::count(usable.begin(), usable.end(), chosen->measuring), 1);
    EXPECT_EQ(std::count(usable.begin(), usable.end(), chosen->relaying), 1);
  }
}

TEST(Pinned, RestoresTheCoresOfItsThread) {
  const std::vector<int> before = usable_core_list();
  ASSERT_FALSE(before.empty());
  {
    const Pinned pinned(before.back());
    EXPECT_TRUE(pinned.ok());
    EXPECT_EQ(usable_core_list(), std::vector<int>{before.back()});
  }
  EXPECT_EQ(usable_core_list(), before);
}

}  // namespace
}  // namespace mserve::bench
