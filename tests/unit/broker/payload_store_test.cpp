// SPDX-License-Identifier: Apache-2.0
#include "data/payload_store.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <random>
#include <vector>

#include "support/seed.hpp"

namespace mserve::broker {
namespace {

constexpr std::uint64_t kMebibyte = 1U << 20;

TEST(PayloadStore, BlocksNeverOverlapAndAllOfItComesBack) {
  std::mt19937_64 random(mserve::test::seed());
  PayloadStore store(4 * kMebibyte);
  struct Held {
    PayloadStore::Block block;
    std::byte mark;
  };
  std::vector<Held> held;
  for (int step = 0; step < 20'000; ++step) {
    if (random() % 2 == 0) {
      const std::uint64_t bytes = random() % (random() % 10 == 0 ? kMebibyte + 1 : 5000);
      PayloadStore::Block block = store.take(bytes);
      if (!block.empty()) {
        const auto mark = static_cast<std::byte>(random());
        const auto span = store.bytes_of(block);
        ASSERT_EQ(span.size(), bytes);
        std::fill(span.begin(), span.end(), mark);
        held.push_back({block, mark});
      }
    } else if (!held.empty()) {
      const std::size_t index = random() % held.size();
      const auto span = store.bytes_of(held[index].block);
      ASSERT_TRUE(std::all_of(span.begin(), span.end(),
                              [&](std::byte b) { return b == held[index].mark; }));
      store.give_back(held[index].block);
      ASSERT_TRUE(held[index].block.empty());
      held[index] = held.back();
      held.pop_back();
    }
  }
  for (Held& h : held) {
    store.give_back(h.block);
  }
  EXPECT_EQ(store.used_bytes(), 0U);
  for (int i = 0; i < 4; ++i) {
    EXPECT_FALSE(store.take(kMebibyte).empty()) << "everything must have joined up again";
  }
  EXPECT_TRUE(store.take(1).empty());
}

TEST(PayloadStore, MoreThanTheLargestBlockIsRefused) {
  PayloadStore store(8 * kMebibyte);
  EXPECT_TRUE(store.take(PayloadStore::kBlockBytesMax + 1).empty());
  EXPECT_FALSE(store.take(PayloadStore::kBlockBytesMax).empty());
}

TEST(PayloadStore, AnEmptyPayloadTakesABlockToo) {
  PayloadStore store(kMebibyte);
  PayloadStore::Block block = store.take(0);
  EXPECT_FALSE(block.empty());
  EXPECT_TRUE(store.bytes_of(block).empty());
  store.give_back(block);
  store.give_back(block);  // harmless: it is empty now
  EXPECT_EQ(store.used_bytes(), 0U);
}

}  // namespace
}  // namespace mserve::broker
