// SPDX-License-Identifier: Apache-2.0
// What a broadcast is, whom it is for, and the table that answers it.
#include "gateway/broadcast.hpp"

#include <gtest/gtest.h>

#include "mserve/kdb/codec.hpp"
#include "mserve/kdb/value.hpp"

namespace mserve::broker {
namespace {

using kdb::encode;
using kdb::Value;

constexpr std::uint64_t kQueryMax = 1000;

std::optional<BroadcastCall> broadcast_call_of(const Value& query) {
  const auto object = encode(query);
  const auto call = parse_broadcast_call(object, kQueryMax);
  EXPECT_EQ(call.has_value(), names_broadcast(object));
  return call;
}
std::optional<BroadcastCall> broadcast_call_of(const std::string& text) {
  return broadcast_call_of(Value::chars(text));
}
Value symbol(const char* text) {
  return Value::symbol(text);
}

TEST(BroadcastCall, IsReadInEveryForm) {
  const Value text = Value::chars("reload[]");
  for (const Value& name : {symbol(".mserve.broadcast"), Value::chars(".mserve.broadcast")}) {
    const Value nested = Value::list({symbol("f"), Value::long_atom(1)});
    for (const Value& query : {text, nested, Value::symbols({"f", "x"})}) {
      const auto call = broadcast_call_of(Value::list({name, symbol("hdb"), query}));
      ASSERT_TRUE(call.has_value());
      EXPECT_EQ(call->fault, "");
      EXPECT_EQ(call->group, "hdb");
      EXPECT_EQ(call->query, encode(query));
    }
  }
  for (const char* const query :
       {".mserve.broadcast[`hdb;\"reload[]\"]", "  .mserve.broadcast[ `hdb ; \"reload[]\" ] "}) {
    const auto call = broadcast_call_of(query);
    ASSERT_TRUE(call.has_value()) << query;
    EXPECT_EQ(call->fault, "");
    EXPECT_EQ(call->group, "hdb");
    EXPECT_EQ(call->query, encode(text));
  }
  EXPECT_EQ(broadcast_call_of(".mserve.broadcast[`all;(`f;1)]")->group, "");
  EXPECT_EQ(broadcast_call_of(".mserve.broadcast[`;`f`x]")->group, "");
  EXPECT_EQ(broadcast_call_of(Value::list({symbol(".mserve.broadcast"), symbol(""), text}))->group,
            "");
}

TEST(BroadcastCall, AnswersWrongArgumentsAsQWould) {
  const Value name = symbol(".mserve.broadcast");
  const Value text = Value::chars("f");
  EXPECT_EQ(broadcast_call_of(".mserve.broadcast[`hdb]")->fault, "rank");
  EXPECT_EQ(broadcast_call_of(".mserve.broadcast[]")->fault, "rank");
  EXPECT_EQ(broadcast_call_of(".mserve.broadcast")->fault, "rank");
  EXPECT_EQ(broadcast_call_of(name)->fault, "rank");
  EXPECT_EQ(broadcast_call_of(Value::list({name, symbol("hdb")}))->fault, "rank");
  EXPECT_EQ(broadcast_call_of(Value::list({name, symbol("hdb"), text, text}))->fault, "rank");
  EXPECT_EQ(broadcast_call_of(".mserve.broadcast[`hdb;1]")->fault, "type");
  EXPECT_EQ(broadcast_call_of(Value::list({name, text, text}))->fault, "type");
  EXPECT_EQ(broadcast_call_of(Value::symbols({".mserve.broadcast", "hdb", "f"}))->fault, "type");
  EXPECT_EQ(broadcast_call_of(".mserve.broadcast[x;y]")->fault, "literal arguments only");
  const std::string much(kQueryMax, 'x');
  EXPECT_EQ(broadcast_call_of(Value::list({name, symbol("hdb"), Value::chars(much)}))->fault,
            "limit");
  EXPECT_EQ(broadcast_call_of(".mserve.broadcast[`hdb;\"" + much + "\"]")->fault, "limit");
  EXPECT_EQ(
      broadcast_call_of(".mserve.broadcast[`hdb;\"" + std::string(100'000, 'x') + "\"]")->fault,
      "limit");
}

TEST(BroadcastCall, LeavesEverythingElseToTheServants) {
  for (const char* const text : {"", ".mserve.broadcasts[`a;\"b\"]", ".mserve.stats[]",
                                 "x:.mserve.broadcast[`a;\"b\"]", ".mserve.broadcast.x[]"}) {
    EXPECT_FALSE(broadcast_call_of(text).has_value()) << text;
  }
  EXPECT_FALSE(
      broadcast_call_of(Value::list({symbol(".mserve.other"), symbol("a"), Value::chars("b")})));
  EXPECT_FALSE(broadcast_call_of(Value::null()).has_value());
}

TEST(BroadcastCall, TakesEveryTruncation) {
  for (const Value& value :
       {Value::chars(".mserve.broadcast[`a;\"b\"]"), Value::symbols({".mserve.broadcast", "a"}),
        Value::list({symbol(".mserve.broadcast"), symbol("a"), Value::chars("b")})}) {
    const auto object = encode(value);
    for (std::size_t size = 0; size < object.size(); ++size) {
      const std::vector<std::byte> cut(object.begin(),
                                       object.begin() + static_cast<std::ptrdiff_t>(size));
      (void)names_broadcast(cut);
      (void)parse_broadcast_call(cut, kQueryMax);
    }
  }
}

SessionRow session(std::uint32_t number, const char* name, const char* tags, bool servant = true) {
  SessionRow row;
  row.number = number;
  row.servant = servant;
  row.name = name;
  row.tags = tags;
  return row;
}

TEST(BroadcastTargets, AreTheServantsOfAGroupByNumber) {
  const std::vector<SessionRow> sessions = {
      session(9, "c", "zone=a group=hdb"), session(2, "a", "group=hdb"),
      session(3, "client", "group=hdb", false), session(4, "x", "group=hdb2"), session(5, "y", "")};
  const auto names = [&](const char* group) {
    std::string all;
    for (const SessionRow& row : broadcast_targets(sessions, group)) {
      all += row.name;
    }
    return all;
  };
  EXPECT_EQ(names("hdb"), "ac");
  EXPECT_EQ(names(""), "axyc");
  EXPECT_EQ(names("hd"), "");
  // A link to another broker is no servant of this one.
  EXPECT_EQ(
      broadcast_targets(std::vector<SessionRow>{session(1, "l", "group=hdb peer=B")}, "hdb").size(),
      0U);
}

TEST(BroadcastTable, HasARowForEachServantWhateverTheOrderOfAnswers) {
  BroadcastTable table(
      std::vector<SessionRow>{session(1, "a", ""), session(2, "b", ""), session(3, "c", "")}, 1000);
  table.set_error(2, "servant died");
  table.set_result(0, encode(Value::long_atom(7)));
  EXPECT_FALSE(table.complete());
  const Value answer = Value::table({"x"}, {Value::longs({1, 2})});
  table.set_result(1, encode(answer));
  ASSERT_TRUE(table.complete());
  EXPECT_EQ(
      *kdb::decode(table.encoded()),
      Value::table({"servant", "ok", "result"},
                   {Value::symbols({"a", "b", "c"}), Value::booleans({1, 1, 0}),
                    Value::list({Value::long_atom(7), answer, Value::chars("servant died")})}));
}

TEST(BroadcastTable, WhatDoesNotFitBecomesLimit) {
  BroadcastTable table(
      std::vector<SessionRow>{session(1, "a", ""), session(2, "b", ""), session(3, "c", "")}, 100);
  EXPECT_TRUE(table.reserve(0, 80));
  EXPECT_FALSE(table.reserve(1, 21));
  EXPECT_TRUE(table.reserve(1, 20));
  const auto text = [](std::size_t bytes) { return encode(Value::chars(std::string(bytes, 'x'))); };
  table.set_result(0, text(34));  // smaller than was said: there is room again
  EXPECT_EQ(table.results_bytes(), 40U);
  table.set_result(1, text(54));
  EXPECT_EQ(table.results_bytes(), 100U);
  table.set_result(2, text(1));
  const auto value = kdb::decode(table.encoded());
  ASSERT_TRUE(value);
  EXPECT_EQ(*value->column("ok"), Value::booleans({1, 1, 0}));
  EXPECT_EQ(value->column("result")->at(2), Value::chars("limit"));
}

TEST(BroadcastTable, IsNeverNestedMoreDeeplyThanOthersTake) {
  for (const bool deep : {false, true}) {
    Value value = Value::long_atom(1);
    while (value.depth() < kdb::kDepthMax - (deep ? 3 : 4)) {
      value = Value::list({value});
    }
    BroadcastTable table(std::vector<SessionRow>{session(1, "a", "")}, 1 << 20);
    table.set_result(0, encode(value));
    const auto decoded = kdb::decode(table.encoded());
    ASSERT_TRUE(decoded);
    EXPECT_EQ(*decoded->column("ok"), Value::booleans({deep ? std::uint8_t{0} : std::uint8_t{1}}));
  }
}

}  // namespace
}  // namespace mserve::broker
