// SPDX-License-Identifier: Apache-2.0
// Goal: small requests and their replies allocate nothing. Method: this executable's operator new
// counts; after a warm-up nothing may be counted.
#include <gtest/gtest.h>

#include "support/count_allocations.hpp"
#include "unit/shim/desk.hpp"

namespace mserve::shim {
namespace {

using kdb::Value;
using test::allocations;

TEST(ShimAllocation, SmallRequestsAndRepliesAllocateNothing) {
  if (!test::kCountsAllocations) {
    GTEST_SKIP() << "a sanitizer owns the allocator";
  }
  const std::vector<std::byte> query = kdb::encode(text("proc1 `IBM"));
  for (const Form form : {Form::plain, Form::lbt}) {
    Desk d({.form = form, .credit = 2});
    d.q.received.reserve(4096);
    std::uint64_t counted = 0;
    for (std::int64_t n = 1; n <= 1000; ++n) {
      // Its qid is our own counter, which starts at 1.
      const std::vector<std::byte> answer =
          form == Form::plain
              ? kdb::encode_message(Value::long_atom(n), kdb::MessageKind::response)
              : kdb::encode_message(Value::list({Value::long_atom(n), Value::symbol("IBM")}),
                                    kdb::MessageKind::async);
      const std::uint64_t before = allocations();
      ASSERT_TRUE(d.send(static_cast<std::uint64_t>(n), query));
      ASSERT_EQ(d.step(), Progress::worked);
      counted += n > 100 ? allocations() - before : 0;
      d.q.received.clear();
      d.q.say(answer);
      const std::uint64_t between = allocations();
      ASSERT_EQ(d.step(), Progress::worked);
      counted += n > 100 ? allocations() - between : 0;
      shm::FrameView frame;
      ASSERT_EQ(d.from.front(frame), Errc::ok);
      ASSERT_EQ(frame.header.id, static_cast<std::uint64_t>(n));
      d.from.release();
    }
    EXPECT_EQ(counted, 0U);
  }
}

}  // namespace
}  // namespace mserve::shim
