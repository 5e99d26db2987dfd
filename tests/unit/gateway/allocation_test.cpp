// SPDX-License-Identifier: Apache-2.0
// Goal: the way of an ordinary query through the gateway's pure parts, and through a connection
// that has seen a few, allocates nothing. Method: count calls of operator new.
#include <gtest/gtest.h>

#include "gateway/admin_call.hpp"
#include "gateway/answer.hpp"
#include "gateway/conventions.hpp"
#include "gateway/message_reader.hpp"
#include "line.hpp"
#include "mserve/kdb/codec.hpp"
#include "support/count_allocations.hpp"

namespace mserve::broker {
namespace {

using kdb::encode_message;
using kdb::MessageKind;
using kdb::Value;

std::size_t answer_bytes(const Classified& seen, std::vector<std::byte>& info) {
  switch (seen.convention) {
    case Convention::sync:
      return wrap_sync(100).before.span().size();
    case Convention::lbt:
      return wrap_lbt(seen.id, std::move(info), 100).before.span().size();
    default:
      return wrap_aw(100).before.span().size();
  }
}

TEST(GatewayAllocation, ReadingClassifyingAndWrappingTakeNone) {
  if (!mserve::test::kCountsAllocations) {
    GTEST_SKIP() << "a sanitizer counts allocations itself";
  }
  const Value call = Value::list({Value::chars("proc1"), Value::symbol("IBM")});
  const Value longest_id = Value::long_atom(1);
  std::vector<std::byte> stream = encode_message(call, MessageKind::sync);
  for (const Value& value : {call, Value::list({longest_id, call})}) {
    const auto message = encode_message(value, MessageKind::async);
    stream.insert(stream.end(), message.begin(), message.end());
  }
  std::vector<std::byte> info = info_object({}, "IBM", {});
  MessageReader reader;
  History history;
  std::size_t sum = 0;
  const auto before = mserve::test::allocations();
  reader.feed(stream);
  for (auto event = reader.next(); event.what != MessageReader::What::more; event = reader.next()) {
    const Classified seen = classify(event.header.kind, event.bytes, {}, history);
    sum += may_be_admin_call(seen.query) ? 1000 : 0;
    sum += answer_bytes(seen, info);
  }
  EXPECT_EQ(mserve::test::allocations(), before);
  EXPECT_EQ(sum, 8U + 23U + 8U);
}

}  // namespace
}  // namespace mserve::broker

namespace mserve::test {
namespace {

TEST(GatewayAllocation, NoneForASyncQueryThatWentThroughBefore) {
  if (!kCountsAllocations) {
    GTEST_SKIP() << "a sanitizer owns operator new";
  }
  Line line;
  const Bytes message =
      kdb::encode_message(list({Value::symbol("proc1"), Value::symbol("IBM")}), MessageKind::sync);
  const Bytes result = kdb::encode(Value::longs(std::vector<std::int64_t>(100, 7)));
  Bytes received(4096);
  const auto round = [&] {
    line.write(message);
    const std::uint64_t id = line.plane.take_id();
    const bool answered = line.plane.answer(id, result);
    (void)line.turn();
    return answered && ::recv(line.client_fd(), received.data(), received.size(), 0) ==
                           static_cast<ssize_t>(result.size() + 8);
  };
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(round());
  }
  const std::uint64_t before = allocations();
  bool all = true;
  for (int i = 0; i < 100; ++i) {
    all = all && round();
  }
  EXPECT_EQ(allocations() - before, 0U);
  EXPECT_TRUE(all);
}

}  // namespace
}  // namespace mserve::test
