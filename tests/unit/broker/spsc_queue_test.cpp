// SPDX-License-Identifier: Apache-2.0
#include "spsc_queue.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <thread>

namespace mserve::broker {
namespace {

TEST(SpscQueueTest, GivesBackInOrderAndRefusesWhatHasNoRoom) {
  SpscQueue<std::unique_ptr<int>> queue(3);
  EXPECT_EQ(queue.capacity(), 4U);
  std::unique_ptr<int> taken;
  EXPECT_FALSE(queue.try_take(taken));
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < 4; ++i) {
      EXPECT_TRUE(queue.try_put(std::make_unique<int>(i)));
    }
    auto refused = std::make_unique<int>(4);
    EXPECT_FALSE(queue.try_put(std::move(refused)));
    EXPECT_NE(refused, nullptr) << "it is as it was";
    for (int i = 0; i < 4; ++i) {
      ASSERT_TRUE(queue.try_take(taken));
      EXPECT_EQ(*taken, i);
    }
    EXPECT_FALSE(queue.try_take(taken));
  }
}

// ThreadSanitizer sees either edge made relaxed: an item is two words, written and read plainly.
TEST(SpscQueueTest, TwoThreadsLoseAndTearNothing) {
  struct Item {
    std::uint64_t one = 0;
    std::uint64_t two = 0;
  };
  constexpr std::uint64_t kItems = 20'000;
  SpscQueue<Item> queue(8);
  std::thread producer([&queue] {
    for (std::uint64_t i = 0; i < kItems; ++i) {
      while (!queue.try_put(Item{i, ~i})) {
        std::this_thread::yield();
      }
    }
  });
  Item item;
  for (std::uint64_t i = 0; i < kItems; ++i) {
    while (!queue.try_take(item)) {
      std::this_thread::yield();
    }
    EXPECT_EQ(item.one, i);
    EXPECT_EQ(item.two, ~i);
  }
  producer.join();
}

}  // namespace
}  // namespace mserve::broker
