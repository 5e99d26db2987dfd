// SPDX-License-Identifier: Apache-2.0
// Goal: the loop around users' functions allocates nothing for small requests. Method: this
// executable's operator new counts; after a warm-up nothing may be counted.
#include <gtest/gtest.h>

#include <array>

#include "fake_broker.hpp"
#include "support/count_allocations.hpp"

namespace mserve::servant {
namespace {

using test::allocations;

/// Steps until one whole reply came, and drops it unread.
void one_round(FakeBroker& b) {
  shm::FrameView frame;
  for (int n = 0; n < 100 && b.from.front(frame) != Errc::ok; ++n) {
    ASSERT_NE(b.step(), Progress::broken);
  }
  b.from.release();
}

class EngineAllocation : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!test::kCountsAllocations) {
      GTEST_SKIP() << "a sanitizer owns the allocator";
    }
  }
};

TEST_F(EngineAllocation, SmallOpaqueRequestsAllocateNothing) {
  const Functions functions;
  const OpaqueFunction echo = [](std::vector<std::byte>&) {};
  FakeBroker b(functions, echo, {.credit = 4});
  const std::array<std::byte, 40> payload{};
  std::uint64_t before = 0;
  for (std::uint64_t n = 0; n < 1000; ++n) {
    if (n == 100) {
      before = allocations();
    }
    ASSERT_TRUE(b.send(n, payload, shm::kFlagOpaque));
    one_round(b);
  }
  EXPECT_EQ(allocations(), before);
}

TEST_F(EngineAllocation, QueriesAllocateOnlyWhatTheirDecodingNeeds) {
  Functions functions;
  ASSERT_TRUE(
      functions.add("f", [](std::span<const kdb::Value>) { return kdb::Value::long_atom(1); }));
  const OpaqueFunction none;
  FakeBroker b(functions, none, {});
  const std::vector<std::byte> query =
      kdb::encode(kdb::Value::list({kdb::Value::symbol("f"), kdb::Value::long_atom(1)}));
  std::uint64_t before = allocations();
  {
    const auto parsed = kdb::call_of(query);
    ASSERT_TRUE(parsed);
  }
  const std::uint64_t decoding = allocations() - before;
  for (std::uint64_t n = 0; n < 1000; ++n) {
    if (n == 100) {
      before = allocations();
    }
    ASSERT_TRUE(b.send(n, query));
    one_round(b);
  }
  EXPECT_LE(allocations() - before, 900 * decoding);
}

}  // namespace
}  // namespace mserve::servant
