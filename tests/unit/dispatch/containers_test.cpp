// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cstdint>
#include <map>
#include <random>
#include <set>
#include <vector>

#include "dispatch/bitmap.hpp"
#include "dispatch/hash_index.hpp"
#include "dispatch/node_list.hpp"

// The Dispatcher's containers against the standard ones.
namespace mserve::broker::test {
namespace {

class BitmapSizes : public testing::TestWithParam<std::uint32_t> {};

TEST_P(BitmapSizes, FindsTheSameMembersAsASet) {
  const std::uint32_t count = GetParam();
  Bitmap bitmap(count);
  std::set<std::uint32_t> model;
  std::mt19937 random(count);
  for (int step = 0; step < 20'000; ++step) {
    const auto number = static_cast<std::uint32_t>(random() % count);
    if (random() % 8 < 4) {
      bitmap.set(number);
      model.insert(number);
    } else {
      bitmap.clear(number);
      model.erase(number);
    }
    ASSERT_EQ(bitmap.empty(), model.empty());
    ASSERT_EQ(bitmap.first(), model.empty() ? kNone : *model.begin());
    const auto asked = static_cast<std::uint32_t>(random() % (count + 70));
    ASSERT_EQ(bitmap.test(number), model.count(number) != 0);
    const auto above = model.upper_bound(asked);
    ASSERT_EQ(bitmap.first_above(asked), above == model.end() ? kNone : *above) << asked;
    ASSERT_EQ(bitmap.first_above(kNone), bitmap.first()) << "above none is anything";
  }
}

INSTANTIATE_TEST_SUITE_P(Bitmap, BitmapSizes,
                         testing::Values(1U, 63U, 64U, 65U, 4096U, 4097U, 16384U, 262145U));

TEST(HashIndex, FindsTheSameNodesAsAMapWhileKeysComeAndGo) {
  constexpr std::uint32_t kNodes = 100;
  HashIndex index(kNodes, 42);
  std::vector<std::uint64_t> keys(kNodes, 0);
  std::map<std::uint64_t, std::uint32_t> model;
  std::set<std::uint32_t> vacant;
  for (std::uint32_t node = 0; node < kNodes; ++node) {
    vacant.insert(node);
  }
  std::mt19937_64 random(7);
  const auto key_of = [&](std::uint32_t node) { return keys[node]; };
  for (int step = 0; step < 100'000; ++step) {
    const std::uint64_t key = random() % 150;
    const auto found = model.find(key);
    ASSERT_EQ(index.find(key, key_of), found == model.end() ? kNone : found->second);
    if (found != model.end()) {
      index.erase(key, found->second);
      vacant.insert(found->second);
      model.erase(found);
    } else if (!vacant.empty()) {
      const std::uint32_t node = *vacant.begin();
      keys[node] = key;
      ASSERT_TRUE(index.insert(key, node));
      vacant.erase(node);
      model[key] = node;
    }
  }
}

TEST(HashIndex, ACrowdIsRefusedAndRemovalKeepsTheRestFindable) {
  HashIndex index(200, 1);
  std::vector<std::uint64_t> keys;
  for (std::uint64_t key = 0; keys.size() < HashIndex::kProbeMax; ++key) {
    if (index.home_of(key) == index.home_of(0)) {
      keys.push_back(key);
    }
  }
  const auto key_of = [&](std::uint32_t node) { return keys[node]; };
  for (std::uint32_t node = 0; node < keys.size(); ++node) {
    ASSERT_TRUE(index.insert(keys[node], node));
  }
  EXPECT_FALSE(index.insert(keys[0], 1000));
  for (std::uint32_t node = 0; node < keys.size(); node += 2) {
    index.erase(keys[node], node);
  }
  for (std::uint32_t node = 0; node < keys.size(); ++node) {
    EXPECT_EQ(index.find(keys[node], key_of), node % 2 == 0 ? kNone : node);
  }
}

struct Node {
  Links links;
};

TEST(NodeList, KeepsOrderThroughRemovalsAtBothEndsAndBetween) {
  std::vector<Node> nodes(5);
  List list;
  for (std::uint32_t index = 0; index < 5; ++index) {
    append<&Node::links>(nodes, list, index);
  }
  remove<&Node::links>(nodes, list, 0);
  remove<&Node::links>(nodes, list, 4);
  make_last<&Node::links>(nodes, list, 2);
  make_last<&Node::links>(nodes, list, 2);
  EXPECT_EQ(list.first, 1U);
  EXPECT_EQ(nodes[1].links.next, 3U);
  EXPECT_EQ(nodes[3].links.next, 2U);
  EXPECT_EQ(nodes[2].links.prev, 3U);
  EXPECT_EQ(list.last, 2U);
  for (const std::uint32_t index : {3U, 1U, 2U}) {
    remove<&Node::links>(nodes, list, index);
  }
  EXPECT_TRUE(list.empty());
}

}  // namespace
}  // namespace mserve::broker::test
