// SPDX-License-Identifier: Apache-2.0
#include "lib/in_flight.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <random>
#include <set>

namespace mserve {
namespace {

std::uint64_t seed() {
  const char* given = std::getenv("MSERVE_TEST_SEED");
  return given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device{}();
}

TEST(InFlight, IsEmptyAtFirst) {
  InFlight ids;
  EXPECT_EQ(ids.size(), 0U);
  EXPECT_FALSE(ids.contains(0));
  EXPECT_FALSE(ids.contains(1));
  EXPECT_FALSE(ids.erase(0));
  EXPECT_FALSE(ids.erase(1));
}

TEST(InFlight, GrowsBeyondItsFirstSize) {
  InFlight ids(4);
  for (std::uint64_t id = 1; id <= 1000; ++id) {
    ids.insert(id);
  }
  EXPECT_EQ(ids.size(), 1000U);
  EXPECT_TRUE(ids.contains(1));
  EXPECT_TRUE(ids.contains(1000));
  EXPECT_FALSE(ids.contains(1001));
}

TEST(InFlight, TakeAllGivesTheOldestFirstAndLeavesNothing) {
  InFlight ids(8);
  for (const std::uint64_t id : {9U, 1U, 17U}) {  // all want the same place
    ids.insert(id);
  }
  EXPECT_EQ(ids.take_all(), (std::vector<std::uint64_t>{1, 9, 17}));
  EXPECT_EQ(ids.size(), 0U);
  EXPECT_FALSE(ids.contains(9));
}

// Consecutive ids with stragglers against std::set: after each erase everything else is still
// found.
TEST(InFlight, BehavesLikeASetUnderRandomTraffic) {
  const std::uint64_t value = seed();
  SCOPED_TRACE("replay with MSERVE_TEST_SEED=" + std::to_string(value));
  std::mt19937_64 random(value);
  InFlight ids(16);
  std::set<std::uint64_t> model;
  std::uint64_t next = 1;
  for (int step = 0; step < 20000; ++step) {
    if (model.size() < 60 && random() % 2 == 0) {
      ids.insert(next);
      model.insert(next++);
    } else if (!model.empty()) {
      auto at = model.begin();
      std::advance(at, static_cast<std::ptrdiff_t>(random() % model.size()));
      ASSERT_TRUE(ids.erase(*at));
      ASSERT_FALSE(ids.contains(*at));
      model.erase(at);
    }
    ASSERT_EQ(ids.size(), model.size());
    for (const std::uint64_t id : model) {
      ASSERT_TRUE(ids.contains(id)) << id;
    }
  }
}

}  // namespace
}  // namespace mserve
