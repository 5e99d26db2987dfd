// SPDX-License-Identifier: Apache-2.0
#include "lib/request_writer.hpp"

#include <gtest/gtest.h>

#include "fake_broker.hpp"
#include "lib/private_ring.hpp"
#include "mserve/kdb/message.hpp"
#include "mserve/shm/message.hpp"

namespace mserve {
namespace {

using kdb::Value;
using test::Bytes;

/// What a gateway shall see.
Bytes message_of(std::uint64_t id, const std::vector<Value>& behind) {
  std::vector<Value> items = {Value::long_atom(static_cast<std::int64_t>(id))};
  items.insert(items.end(), behind.begin(), behind.end());
  return kdb::encode_message(Value::list(items), kdb::MessageKind::async);
}

/// Everything the writer has, `step` bytes at a time.
Bytes write_all(RequestWriter& writer, std::size_t step) {
  Bytes out;
  while (writer.next()) {
    std::size_t sent = 0;
    for (const auto piece : writer.pieces()) {
      const std::size_t now = std::min(step - sent, piece.size());
      out.insert(out.end(), piece.begin(), piece.begin() + static_cast<std::ptrdiff_t>(now));
      sent += now;
    }
    writer.sent(sent);
  }
  return out;
}

bool send(PrivateRing& ring, std::uint64_t id, const Bytes& payload, const SendOptions& options) {
  return shm::try_send_whole(ring.producer(), request_head(id, options), {}, payload);
}

TEST(RequestWriter, ARequestIsAnAsyncListOfIdAndQueryHoweverItIsCut) {
  const Value query = Value::chars("proc1 `IBM");
  for (const std::size_t step : {1U, 7U, 22U, 23U, 24U, 1000U}) {
    PrivateRing ring(4096);
    RequestWriter writer(ring.consumer());
    EXPECT_FALSE(writer.next());
    ASSERT_TRUE(send(ring, 5, kdb::encode(query), {.want_info = true, .repeatable = true}));
    ASSERT_TRUE(send(ring, 6, kdb::encode(query), {}));
    Bytes expected = message_of(5, {query});
    const Value once = Value::dict(Value::symbols({"repeatable"}), Value::booleans({0}));
    const Bytes second = message_of(6, {query, once});
    expected.insert(expected.end(), second.begin(), second.end());
    EXPECT_EQ(write_all(writer, step), expected) << step;
    EXPECT_TRUE(ring.producer().drained());
  }
}

TEST(RequestWriter, TellsOnceWhichRequestWantsTheInfo) {
  PrivateRing ring(4096);
  RequestWriter writer(ring.consumer());
  ASSERT_TRUE(send(ring, 5, kdb::encode(Value::long_atom(1)), {.want_info = true}));
  ASSERT_TRUE(writer.next());
  EXPECT_EQ(writer.take_info_wish(), 5U);
  writer.sent(1);
  ASSERT_TRUE(writer.next());
  EXPECT_EQ(writer.take_info_wish(), 0U);
  (void)write_all(writer, 1000);
  ASSERT_TRUE(send(ring, 6, kdb::encode(Value::long_atom(1)), {}));
  ASSERT_TRUE(writer.next());
  EXPECT_EQ(writer.take_info_wish(), 0U);
}

TEST(RequestWriter, OptionsMakeItAListOfThree) {
  PrivateRing ring(4096);
  RequestWriter writer(ring.consumer());
  const Value query = Value::chars("f[]");
  const Value options = Value::dict(Value::symbols({"timeout"}), Value::longs({5}));
  Bytes payload = kdb::encode(query);
  const Bytes behind = kdb::encode(options);
  payload.insert(payload.end(), behind.begin(), behind.end());
  ASSERT_TRUE(send(ring, 1, payload, {.pair = true}));
  EXPECT_EQ(write_all(writer, 1000), message_of(1, {query, options}));
}

TEST(RequestWriter, FragmentsMakeOneMessage) {
  PrivateRing ring(4096);
  RequestWriter writer(ring.consumer());
  const Value query = Value::chars(std::string(50'000, 'x'));
  const Bytes payload = kdb::encode(query);
  const Value once = Value::dict(Value::symbols({"repeatable"}), Value::booleans({0}));
  for (const bool repeatable : {true, false}) {
    shm::FlowWriter flow(request_head(9, {.repeatable = repeatable}), payload);
    Bytes out;
    while (!flow.done()) {
      while (flow.step(ring.producer())) {
      }
      const Bytes part = write_all(writer, 100);
      ASSERT_FALSE(part.empty());
      out.insert(out.end(), part.begin(), part.end());
    }
    EXPECT_EQ(out, repeatable ? message_of(9, {query}) : message_of(9, {query, once}));
  }
}

}  // namespace
}  // namespace mserve
