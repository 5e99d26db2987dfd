// SPDX-License-Identifier: Apache-2.0
// A broadcast as its client and the data plane see it.
#include <gtest/gtest.h>

#include "gateway/query_wrap.hpp"
#include "line.hpp"

namespace mserve::test {
namespace {

constexpr uid_t kAdmin = 1234;

/// A client that may, at a gateway without --users.
LineSetup allowed() {
  LineSetup setup;
  setup.settings.admin_uids = {kAdmin};
  setup.peer.kind = broker::Peer::Kind::unix_socket;
  setup.peer.uid = kAdmin;
  return setup;
}

void attach(Line& line, std::uint32_t number, const std::string& name,
            const std::string& tags = "group=hdb") {
  broker::SessionRow row;
  row.number = number;
  row.servant = true;
  row.name = name;
  row.tags = tags;
  line.attached.push_back(row);
}

Value broadcast(const Value& query, const char* group = "hdb") {
  return list({Value::symbol(".mserve.broadcast"), Value::symbol(group), query});
}

/// Three servants of the group, and one of none.
struct Group : Line {
  explicit Group(const LineSetup& setup = allowed()) : Line(setup) {
    attach(*this, 5, "c");
    attach(*this, 1, "a");
    attach(*this, 3, "b");
    attach(*this, 4, "other", "");
  }
  void ask(const Value& query = text("reload[]")) {
    send(broadcast(query), MessageKind::sync);
    plane.read();
  }
  std::uint64_t id(std::size_t at) const { return plane.requests.at(at).head.id; }
  void reply(std::size_t at, const Value& value) {
    EXPECT_TRUE(plane.answer(id(at), kdb::encode(value)));
    (void)turn();
  }
  /// Nothing of a broadcast is left.
  void expect_clean() const {
    EXPECT_EQ(context->broadcast, nullptr);
    EXPECT_EQ(context->pendings.used(), 0U);
  }
};

Value table(std::vector<std::string> names, std::vector<std::uint8_t> oks,
            std::vector<Value> results) {
  return Value::table({"servant", "ok", "result"},
                      {Value::symbols(std::move(names)), Value::booleans(std::move(oks)),
                       Value::list(std::move(results))});
}

TEST(GatewayBroadcast, EachServantOfTheGroupIsAskedAndTheCallerGetsEachAnswer) {
  Group line;
  line.ask();
  ASSERT_EQ(line.plane.requests.size(), 3U);
  const std::uint32_t wanted[] = {0, 2, 4};
  for (std::size_t i = 0; i < 3; ++i) {
    const auto& request = line.plane.requests[i];
    EXPECT_EQ(request.broadcast, 3U);
    EXPECT_EQ(request.broadcast_to, wanted[i]);
    EXPECT_EQ(request.payload, kdb::encode(text("reload[]")));
    EXPECT_EQ(request.head.flags, 0) << "it is not to be run again elsewhere";
  }
  EXPECT_EQ(line.context->counters.requests->get(), 3U);
  line.reply(2, Value::long_atom(3));
  line.reply(0, text("one"));
  EXPECT_TRUE(line.read().empty());
  line.reply(1, Value::error("type"));
  const Got got = line.read_one();
  EXPECT_EQ(got.kind, MessageKind::response);
  EXPECT_EQ(got.value,
            table({"a", "b", "c"}, {1, 0, 1}, {text("one"), text("type"), Value::long_atom(3)}));
  line.expect_clean();
  line.plane.requests.clear();
  line.expect_works();
}

TEST(GatewayBroadcast, AsksEverybodyAsText) {
  Group line;
  line.sync(".mserve.broadcast[`all;(`f;1)]");
  line.plane.read();
  ASSERT_EQ(line.plane.requests.size(), 4U);
  EXPECT_EQ(line.plane.requests[3].payload,
            kdb::encode(list({Value::symbol("f"), Value::long_atom(1)})));
  EXPECT_EQ(line.plane.requests[3].broadcast, 4U);
}

TEST(GatewayBroadcast, InLbtItsOptionsGoWithIt) {
  Group line;
  const Value options = Value::dict(Value::symbols({"timeout"}), Value::longs({50}));
  line.async(list({Value::long_atom(9), broadcast(text("f")), options}));
  line.plane.read();
  ASSERT_EQ(line.plane.requests.size(), 3U);
  Bytes wanted = kdb::encode(text("f"));
  const Bytes behind = kdb::encode(options);
  wanted.insert(wanted.end(), behind.begin(), behind.end());
  EXPECT_EQ(line.plane.requests[1].payload, wanted);
  EXPECT_EQ(line.plane.requests[1].head.flags, shm::kFlagPair);
  EXPECT_EQ(line.plane.requests[1].deadline.run_ns, 50'000'000U);
  for (std::size_t i = 0; i < 3; ++i) {
    line.reply(i, Value::long_atom(1));
  }
  const Got got = line.read_one();
  EXPECT_EQ(got.value.at(0), Value::long_atom(9));
  EXPECT_EQ(*got.value.at(1).column("ok"), Value::booleans({1, 1, 1}));
  line.expect_clean();
}

TEST(GatewayBroadcast, WhatTheBrokerSaysOfAServantIsItsRow) {
  Group line;
  line.ask();
  ASSERT_TRUE(line.plane.answer(line.id(0), {}, {.status = Errc::no_servant, .servant = 0}));
  ASSERT_TRUE(line.plane.abort(line.id(1), Errc::servant_died));
  ASSERT_TRUE(line.plane.answer(line.id(2), {}, {.status = Errc::timed_out, .servant = 0}));
  EXPECT_EQ(line.read_one().value,
            table({"a", "b", "c"}, {0, 0, 0},
                  {text("no servant"), text("servant died"), text("timeout")}));
  line.expect_clean();
}

TEST(GatewayBroadcast, HostileAnswersAreNoRows) {
  Group line;
  line.ask();
  Bytes cut = kdb::encode(text("abc"));
  cut.pop_back();
  ASSERT_TRUE(line.plane.answer(line.id(0), cut));
  ASSERT_TRUE(line.plane.answer(line.id(0), cut)) << "a second answer is nobody's";
  line.reply(1, Value::long_atom(1));
  line.reply(2, Value::long_atom(1));
  EXPECT_EQ(line.read_one().value,
            table({"a", "b", "c"}, {0, 1, 1},
                  {text("badmsg"), Value::long_atom(1), Value::long_atom(1)}));
  line.expect_clean();
}

TEST(GatewayBroadcast, AnswersInFragmentsAreGatheredUpToTheLimit) {
  LineSetup setup = allowed();
  setup.settings.max_gathered = 1 << 20;
  Group line(setup);
  line.ask();
  const Value large = text(std::string(700'000, 'x'));
  const Bytes object = kdb::encode(large);
  constexpr std::size_t kFragmentBytes = 40'000;
  const auto send = [&](std::size_t row, std::size_t at) {
    const auto part = std::span(object).subspan(at, std::min(kFragmentBytes, object.size() - at));
    EXPECT_TRUE(line.plane.fragment(line.id(row), at, object.size(), part));
    (void)line.turn();
  };
  // Two at a time: the second is swallowed from its beginning, and over only at its end.
  for (std::size_t at = 0; at < object.size(); at += kFragmentBytes) {
    send(0, at);
    if (at + kFragmentBytes < object.size()) {
      send(2, at);
    }
  }
  line.reply(1, Value::long_atom(1));
  EXPECT_TRUE(line.read().empty()) << "one servant is not done";
  send(2, (object.size() - 1) / kFragmentBytes * kFragmentBytes);
  EXPECT_EQ(line.read_one().value,
            table({"a", "b", "c"}, {1, 1, 0}, {large, Value::long_atom(1), text("limit")}));
  line.plane.read();
  EXPECT_GT(line.plane.granted_bytes(), object.size());
  line.expect_clean();
}

TEST(GatewayBroadcast, AServantMayDieInTheMiddleOfItsAnswer) {
  Group line;
  line.ask();
  const Bytes object = kdb::encode(text(std::string(100, 'x')));
  ASSERT_TRUE(line.plane.fragment(line.id(0), 0, object.size(), std::span(object).first(50)));
  ASSERT_TRUE(line.plane.abort(line.id(0), Errc::servant_died));
  line.reply(1, Value::long_atom(1));
  line.reply(2, Value::long_atom(1));
  EXPECT_EQ(line.read_one().value.column("result")->at(0), text("servant died"));
  line.expect_clean();
}

TEST(GatewayBroadcast, OnlyOneIsUnderWay) {
  Group line;
  line.async(list({Value::long_atom(1), broadcast(text("f"))}));
  line.plane.read();
  line.async(list({Value::long_atom(2), broadcast(text("f"))}));
  EXPECT_EQ(line.read_one().value.at(1), text("Error: busy"));
  ASSERT_EQ(line.plane.requests.size(), 3U);
  for (std::size_t i = 0; i < 3; ++i) {
    line.reply(i, Value::long_atom(1));
  }
  EXPECT_EQ(line.read_one().value.at(0), Value::long_atom(1));
  line.async(list({Value::long_atom(3), broadcast(text("f"))}));
  line.plane.read();
  EXPECT_EQ(line.plane.requests.size(), 6U);
}

TEST(GatewayBroadcast, AnswersOfOneConnectionKeepTheirOrder) {
  LineSetup setup = allowed();
  setup.settings.sync_window = 2;
  Group line(setup);
  line.ask();
  line.sync("next");
  line.plane.read();
  ASSERT_EQ(line.plane.requests.size(), 4U);
  EXPECT_EQ(line.plane.requests[3].broadcast, 0U);
  line.reply(3, Value::long_atom(4));
  EXPECT_TRUE(line.read().empty());
  for (std::size_t i = 0; i < 3; ++i) {
    line.reply(i, Value::long_atom(1));
  }
  const auto got = line.read();
  ASSERT_EQ(got.size(), 2U);
  EXPECT_TRUE(got[0].value.is_table());
  EXPECT_EQ(got[1].value, Value::long_atom(4));
}

TEST(GatewayBroadcast, AClosedConnectionEndsItAndTheNextWaitsUntilThatIsTold) {
  Group line;
  line.send(broadcast(text("f")), MessageKind::sync);
  ASSERT_NE(line.context->broadcast, nullptr);
  line.hang_up();
  ASSERT_FALSE(line.alive());
  line.expect_clean();
  EXPECT_TRUE(line.context->broadcasts()) << "its requests would overtake the end of the other";
  line.plane.read();
  (void)line.turn();
  EXPECT_FALSE(line.context->broadcasts());
  ASSERT_TRUE(line.plane.answer(line.id(0), kdb::encode(Value::long_atom(1))));
  (void)line.turn();
  line.plane.read();
  EXPECT_EQ(line.plane.gones.size(), 1U);
}

TEST(GatewayBroadcast, AllAreSentThoughTheRingIsFullAndTheBrokerDrains) {
  for (const bool drains : {false, true}) {
    LineSetup setup = allowed();
    setup.plane.ring_bytes = 1U << 14;
    Line line(setup);
    constexpr std::uint32_t kServants = 40;
    for (std::uint32_t number = 1; number <= kServants; ++number) {
      attach(line, number, "s");
    }
    line.send(broadcast(text(std::string(1500, 'q'))), MessageKind::sync);
    ASSERT_TRUE(line.connection->waits_for_turn());
    if (drains) {
      line.connection->drain();
    }
    for (int i = 0; i < 100 && line.plane.requests.size() < kServants; ++i) {
      line.plane.read();
      (void)line.turn();
    }
    ASSERT_EQ(line.plane.requests.size(), kServants);
    for (const auto& request : line.plane.requests) {
      ASSERT_TRUE(line.plane.answer(request.head.id, kdb::encode(Value::long_atom(1))));
      (void)line.turn();
    }
    EXPECT_EQ(line.read_one().value.count(), kServants);
    EXPECT_EQ(line.context->pendings.used(), 0U);
    EXPECT_EQ(line.alive(), !drains);
  }
}

TEST(GatewayBroadcast, AClosedConnectionLeavesNothingThoughSomeAreUnsent) {
  LineSetup setup = allowed();
  setup.plane.ring_bytes = 1U << 14;
  Line line(setup);
  for (std::uint32_t number = 1; number <= 40; ++number) {
    attach(line, number, "s");
  }
  line.send(broadcast(text(std::string(1500, 'q'))), MessageKind::sync);
  line.hang_up();
  EXPECT_EQ(line.context->broadcast, nullptr);
  EXPECT_EQ(line.context->pendings.used(), 0U);
  line.plane.read();
  (void)line.turn();
  line.plane.read();
  EXPECT_EQ(line.plane.gones.size(), 1U);
}

TEST(GatewayBroadcast, RefusesWhatItCannotSend) {
  Group line;
  line.send(broadcast(text("f"), "nobody"), MessageKind::sync);
  EXPECT_EQ(line.read_one().value, Value::error("no servant"));
  for (const std::size_t bytes : {std::size_t{100'000}, std::size_t{1'000'000}}) {
    line.send(broadcast(text(std::string(bytes, 'q'))), MessageKind::sync);
    EXPECT_EQ(line.read_one().value, Value::error("limit")) << bytes;
  }
  line.sync(".mserve.broadcast[`hdb]");
  EXPECT_EQ(line.read_one().value, Value::error("rank"));
  EXPECT_EQ(line.plane.take().head.id, 0U);
  line.expect_clean();
}

TEST(GatewayBroadcast, IsForAdministratorsOrUnrestrictedUsers) {
  Group stranger(LineSetup{});
  for (const std::size_t bytes : {std::size_t{10}, std::size_t{1'000'000}}) {
    stranger.ask(text(std::string(bytes, 'q')));
    EXPECT_EQ(stranger.read_one().value, Value::error("access")) << bytes;
  }
  EXPECT_TRUE(stranger.plane.requests.empty());
  for (const bool unrestricted : {false, true}) {
    auto role = std::make_shared<broker::Role>();
    role->name = "user";
    role->unrestricted = unrestricted;
    role->functions = {".mserve.broadcast"};
    LineSetup setup;
    setup.access = std::make_shared<broker::AccessRules>();
    setup.role = std::move(role);
    setup.settings.wrap = "run";
    Group line(setup);
    line.ask();
    if (!unrestricted) {
      EXPECT_EQ(line.read_one().value, Value::error("access"));
      EXPECT_TRUE(line.plane.requests.empty());
      continue;
    }
    ASSERT_EQ(line.plane.requests.size(), 3U);
    Bytes wanted;
    broker::put_wrap_lead(wanted, "run", "bob");
    const Value who = Value::dict(Value::symbols({"user", "role"}),
                                  list({Value::symbol("bob"), Value::symbol("user")}));
    for (const Bytes& part : {kdb::encode(text("reload[]")), kdb::encode(who)}) {
      wanted.insert(wanted.end(), part.begin(), part.end());
    }
    EXPECT_EQ(line.plane.requests[2].payload, wanted);
    EXPECT_EQ(line.plane.requests[2].head.flags, shm::kFlagPair | shm::kFlagVouched);
  }
}

}  // namespace
}  // namespace mserve::test
