// SPDX-License-Identifier: Apache-2.0
// --wrap: what a query looks like when it goes on as (`FN; `user; query).
#include <gtest/gtest.h>

#include "gateway/query_wrap.hpp"
#include "line.hpp"

namespace mserve::test {
namespace {

LineSetup wrapping() {
  LineSetup setup;
  setup.settings.wrap = ".gw.run";
  return setup;
}

/// As the line's client bob asks it.
Value wrapped(const Value& query) {
  return list({Value::symbol(".gw.run"), Value::symbol("bob"), query});
}

Bytes encoded_pair(const Value& first, const Value& second) {
  Bytes bytes = kdb::encode(first);
  const Bytes behind = kdb::encode(second);
  bytes.insert(bytes.end(), behind.begin(), behind.end());
  return bytes;
}

TEST(QueryWrap, TakesNamesThatQCanCall) {
  for (const char* const name : {"f", "run_2", ".gw.run", "gw.run", ".a"}) {
    EXPECT_TRUE(broker::is_q_name(name)) << name;
  }
  for (const char* const name : {"", ".", "..a", "a.", "a..b", "2f", "_f", ".2a", "f g", "f;g",
                                 "f[", "`f", "{x}", "caf\xc3\xa9"}) {
    EXPECT_FALSE(broker::is_q_name(name)) << name;
  }
  EXPECT_TRUE(broker::is_q_name(std::string(128, 'a')));
  EXPECT_FALSE(broker::is_q_name(std::string(129, 'a')));
}

TEST(GatewayWrap, EveryConventionIsWrappedAndRoutedAsTheQueryItself) {
  Line line(wrapping());
  const Value call = list({Value::symbol("proc1"), Value::symbol("IBM")});
  const std::uint64_t route = kdb::route_of_text("IBM").hash;
  for (const Value& query : {text("proc1 `IBM"), call}) {
    line.send(query, MessageKind::sync);
    auto sent = line.plane.take();
    EXPECT_EQ(sent.payload, kdb::encode(wrapped(query)));
    EXPECT_EQ(sent.head.aux, route);
    EXPECT_EQ(sent.head.flags & shm::kFlagPair, 0);
    ASSERT_TRUE(line.plane.answer(sent.head.id, kdb::encode(Value::long_atom(1))));
    EXPECT_EQ(line.read_one().value, Value::long_atom(1));
    // np: the callback gets the query as it was asked
    line.async(list({query, Value::symbol("back")}));
    sent = line.plane.take();
    EXPECT_EQ(sent.payload, kdb::encode(wrapped(query)));
    ASSERT_TRUE(line.plane.answer(sent.head.id, kdb::encode(Value::long_atom(2))));
    EXPECT_EQ(line.read_one().value.at(2), query);
    // lbt, without and with options
    line.async(list({Value::long_atom(7), query}));
    sent = line.plane.take();
    EXPECT_EQ(sent.payload, kdb::encode(wrapped(query)));
    EXPECT_EQ(sent.head.aux, route);
    EXPECT_EQ(sent.head.flags & shm::kFlagPair, 0);
    const Value options = Value::dict(Value::symbols({"a"}), Value::longs({1}));
    line.async(list({Value::long_atom(7), query, options}));
    sent = line.plane.take();
    EXPECT_EQ(sent.payload, encoded_pair(wrapped(query), options));
    EXPECT_NE(sent.head.flags & shm::kFlagPair, 0);
  }
  line.async(call);  // aw
  EXPECT_EQ(line.plane.take().payload, kdb::encode(wrapped(call)));
}

TEST(GatewayWrap, AdminCallsAndFlushesAreAnsweredHereAsEver) {
  Line line(wrapping());
  line.sync(".mserve.stats[]");
  EXPECT_EQ(line.read_one().value, Value::error("access"));
  line.sync("");
  EXPECT_EQ(line.read_one().value, Value::null());
  EXPECT_EQ(line.plane.take().head.id, 0U);
}

TEST(GatewayWrap, ARestrictedUsersCallIsEncodedAnewAndThenWrapped) {
  LineSetup setup = wrapping();
  auto role = std::make_shared<broker::Role>();
  role->name = "user";
  role->functions = {"proc1"};
  setup.access = std::make_shared<broker::AccessRules>();
  setup.role = std::move(role);
  Line line(setup);
  line.sync(" proc1[ `IBM ] ");
  const auto sent = line.plane.take();
  const Value options = Value::dict(Value::symbols({"user", "role"}),
                                    Value::list({Value::symbol("bob"), Value::symbol("user")}));
  Bytes wanted = {};
  broker::put_wrap_lead(wanted, ".gw.run", "bob");
  for (const Bytes& part : {kdb::encode_call("proc1", std::vector<Value>{Value::symbol("IBM")}),
                            kdb::encode(options)}) {
    wanted.insert(wanted.end(), part.begin(), part.end());
  }
  EXPECT_EQ(sent.payload, wanted);
  EXPECT_NE(sent.head.flags & shm::kFlagPair, 0);
  EXPECT_EQ(sent.head.aux, kdb::route_of_text("IBM").hash);
  ASSERT_TRUE(line.plane.answer(sent.head.id, kdb::encode(Value::long_atom(1))));
  EXPECT_EQ(line.read_one().value, Value::long_atom(1));
  // Not even by the name of the function that wraps.
  line.sync(".gw.run[`eve;\"1\"]");
  EXPECT_EQ(line.read_one().value, Value::error("unknown command: `.gw.run"));
  EXPECT_EQ(line.context->counters.forbidden->get(), 1U);
}

TEST(GatewayWrap, LargeQueriesStreamBehindTheirWrapping) {
  for (const bool with_options : {false, true}) {
    Line line(wrapping());
    const Value query = list({Value::symbol("echo"), text(std::string(1 << 20, 'x'))});
    const Value options = Value::dict(Value::symbols({"a"}), Value::longs({1}));
    std::vector<Value> items = {Value::long_atom(99), query};
    Bytes wanted = kdb::encode(wrapped(query));
    if (with_options) {
      items.push_back(options);
      wanted = encoded_pair(wrapped(query), options);
    }
    const Bytes message = kdb::encode_message(list(items), MessageKind::async);
    std::size_t sent = 0;
    const auto write_some = [&] {
      const std::size_t bytes = std::min<std::size_t>(50'000, message.size() - sent);
      line.write(std::span(message).subspan(sent, bytes));
      sent += bytes - line.unsent();
    };
    write_some();
    line.plane.read();
    ASSERT_EQ(line.plane.requests.size(), 1U) << "it did not wait for its end";
    EXPECT_EQ(line.plane.requests[0].flow.total_bytes, wanted.size());
    EXPECT_LE(line.plane.requests[0].payload.size(), 64U << 10);
    const shm::FrameHeader head = line.plane.requests[0].head;
    EXPECT_EQ((head.flags & shm::kFlagPair) != 0, with_options);
    EXPECT_EQ(line.plane.take_flow(40'000, write_some), wanted);
    ASSERT_TRUE(line.plane.answer(head.id, kdb::encode(Value::null())));
    EXPECT_EQ(line.read_one().value.at(0), Value::long_atom(99));
    line.plane.requests.clear();
    line.sync("next");
    EXPECT_EQ(line.plane.take().payload, kdb::encode(wrapped(text("next"))));
  }
}

TEST(GatewayWrap, WhatMustBeHeldWholeIsWrappedToo) {
  Line line(wrapping());
  const Value query = text(std::string(1 << 20, 'y'));
  line.send(query, MessageKind::sync, kdb::ByteOrder::big);
  line.sync("next");
  line.plane.read();
  ASSERT_EQ(line.plane.requests.size(), 1U);
  const std::uint64_t id = line.plane.requests[0].head.id;
  EXPECT_EQ(line.plane.take_flow(50'000, [&line] { (void)line.turn(); }),
            kdb::encode(wrapped(query)));
  ASSERT_TRUE(line.plane.answer(id, kdb::encode(Value::null())));
  (void)line.read();
  EXPECT_EQ(line.plane.take().payload, kdb::encode(wrapped(text("next"))));
}

}  // namespace
}  // namespace mserve::test
