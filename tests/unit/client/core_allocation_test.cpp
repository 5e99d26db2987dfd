// SPDX-License-Identifier: Apache-2.0
// Sending and polling small messages allocates nothing once warm: counted by
// support/count_allocations.hpp.
#include <gtest/gtest.h>

#include "fake_broker.hpp"
#include "support/count_allocations.hpp"

namespace mserve {
namespace {

TEST(ClientAllocation, SmallMessagesAllocateNothingOnceWarm) {
  if (!test::kCountsAllocations) {
    GTEST_SKIP() << "a sanitizer owns the allocator";
  }
  test::FakeBroker broker({.ring_bytes = 4096});
  auto core = test::attached_core(broker);
  const test::Bytes payload(100);
  Reply reply;
  const auto round = [&] {
    for (int i = 0; i < 8; ++i) {
      if (!core->try_send(payload, {.want_info = true})) {
        return false;
      }
    }
    shm::FrameView frame;
    while (broker.requests.front(frame) == Errc::ok) {
      if (!broker.answer(frame.header.id, frame.payload)) {
        return false;
      }
      broker.requests.release();
    }
    for (int i = 0; i < 8; ++i) {
      if (core->wait(0) != Errc::ok || core->poll(reply) != Errc::ok) {
        return false;
      }
    }
    return true;
  };
  ASSERT_TRUE(round());
  const std::uint64_t before = test::allocations();
  bool fine = true;
  for (int i = 0; i < 1000; ++i) {
    fine = fine && round();
  }
  const std::uint64_t during = test::allocations() - before;
  EXPECT_TRUE(fine);
  EXPECT_EQ(during, 0U);
}

}  // namespace
}  // namespace mserve
