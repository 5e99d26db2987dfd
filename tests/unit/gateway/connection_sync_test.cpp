// SPDX-License-Identifier: Apache-2.0
// Sync messages: bare results and errors, in order, one at a time; flushes; and how it all ends.
#include <gtest/gtest.h>

#include "line.hpp"

namespace mserve::test {
namespace {

Bytes object(std::int64_t number) {
  return kdb::encode(Value::long_atom(number));
}

TEST(GatewaySync, PassesTheBodyOnAndTheResultBack) {
  Line line;
  const Value query = list({Value::symbol("proc1"), Value::symbol("IBM")});
  line.send(query, MessageKind::sync);
  const auto request = line.plane.take();
  EXPECT_EQ(request.payload, kdb::encode(query));
  EXPECT_EQ(request.head.flags, 0) << "neither info nor a second run: the client decides";
  EXPECT_EQ(request.head.aux, kdb::route_of_text("IBM").hash);
  EXPECT_EQ(request.origin.index, 5U);
  EXPECT_EQ(request.origin.generation, 77U);
  ASSERT_TRUE(line.plane.answer(request.head.id, object(42)));
  const Got got = line.read_one();
  EXPECT_EQ(got.kind, MessageKind::response);
  EXPECT_EQ(got.value, Value::long_atom(42));
}

TEST(GatewaySync, TheRuleSaysWhatTheRouteIs) {
  for (const auto& [name, shown] :
       std::vector<std::pair<std::string, std::string>>{{"arg:2", "GS"},
                                                        {"fn", "proc1"},
                                                        {"fn+arg:1", "proc1 IBM"},
                                                        {"user", "bob"},
                                                        {"const", "const"},
                                                        {"option:desk", "rates"}}) {
    LineSetup setup;
    setup.settings.route_rule = *kdb::parse_rule(name);
    Line line(setup);
    const Value options = Value::dict(Value::symbols({"desk"}), Value::symbols({"rates"}));
    line.async(list({Value::int_atom(1), text("proc1[`IBM;`GS]"), options}));
    const auto lbt = line.plane.take();
    EXPECT_NE(lbt.head.aux, 0U) << name;
    ASSERT_TRUE(line.plane.answer(lbt.head.id, object(1)));
    EXPECT_EQ(line.read_one().value.at(2).find("route"), Value::symbol(shown)) << name;
    line.sync("proc1[`IBM;`GS]");
    const std::uint64_t without_options = line.plane.take().head.aux;
    EXPECT_EQ(without_options, name == "option:desk" ? 0 : lbt.head.aux) << name;
  }
}

TEST(GatewaySync, TellsErrorsAsKdbErrors) {
  Line line;
  const std::pair<Errc, const char*> broker_errors[] = {{Errc::servant_died, "servant died"},
                                                        {Errc::no_servant, "no servant"},
                                                        {Errc::busy, "busy"},
                                                        {Errc::shutdown, "shutdown"},
                                                        {Errc::stalled, "stalled"}};
  for (const auto& [status, shown] : broker_errors) {
    line.sync("x");
    ASSERT_TRUE(line.plane.answer(line.plane.take().head.id, {}, {.status = status}));
    EXPECT_EQ(line.read_one().value, Value::error(shown));
  }
  line.sync("x");
  ASSERT_TRUE(line.plane.answer(line.plane.take().head.id, kdb::encode(Value::error("length")),
                                {.status = Errc::failed}));
  EXPECT_EQ(line.read_one().value, Value::error("length"));
}

TEST(GatewaySync, AnswerThatIsNoObjectBecomesAnError) {
  Line line;
  for (const std::uint8_t flags : {std::uint8_t{0}, shm::kFlagOpaque, shm::kFlagPair}) {
    line.sync("x");
    ASSERT_TRUE(line.plane.answer(line.plane.take().head.id, pattern(20), {.flags = flags}));
    EXPECT_EQ(line.read_one().value, Value::error("badmsg"));
  }
}

TEST(GatewaySync, AnErrorWhereAResultBelongsIsAnError) {
  Line line;
  const Bytes info = kdb::encode(Value::dict(Value::symbols({"a"}), Value::longs({1})));
  for (const std::uint8_t flags : {std::uint8_t{0}, shm::kFlagPair}) {
    Bytes object = kdb::encode(Value::error("rank"));
    if (flags != 0) {
      object.insert(object.end(), info.begin(), info.end());
    }
    line.async(list({Value::int_atom(1), text("x")}));
    ASSERT_TRUE(line.plane.answer(line.plane.take().head.id, object, {.flags = flags}));
    EXPECT_EQ(line.read_one().value.at(1), text("Error: rank"));
  }
}

TEST(GatewaySync, DropsTheServantsOwnInfo) {
  Line line;
  line.sync("x");
  Bytes pair = object(1);
  const Bytes info = kdb::encode(Value::dict(Value::symbols({"a"}), Value::longs({1})));
  pair.insert(pair.end(), info.begin(), info.end());
  ASSERT_TRUE(line.plane.answer(line.plane.take().head.id, pair, {.flags = shm::kFlagPair}));
  EXPECT_EQ(line.read_one().value, Value::long_atom(1));
}

TEST(GatewaySync, PipelinedQueriesRunOneAfterTheOther) {
  Line line;
  Bytes all;
  for (int i = 0; i < 20; ++i) {
    const Bytes one = kdb::encode_message(text(std::to_string(i)), MessageKind::sync);
    all.insert(all.end(), one.begin(), one.end());
  }
  line.write(all);
  for (int i = 0; i < 20; ++i) {
    line.plane.read();
    ASSERT_EQ(line.plane.requests.size(), 1U) << i;
    const auto request = line.plane.take();
    EXPECT_EQ(request.payload, kdb::encode(text(std::to_string(i))));
    ASSERT_TRUE(line.plane.answer(request.head.id, object(i)));
    EXPECT_EQ(line.read_one().value, Value::long_atom(i));
  }
}

TEST(GatewaySync, WithALargerWindowAnswersArePutBackInOrder) {
  LineSetup setup;
  setup.settings.sync_window = 3;
  Line line(setup);
  for (int i = 0; i < 5; ++i) {
    line.sync(std::to_string(i));
  }
  line.plane.read();
  ASSERT_EQ(line.plane.requests.size(), 3U);
  const auto first = line.plane.take();
  const auto second = line.plane.take();
  const auto third = line.plane.take();
  ASSERT_TRUE(line.plane.answer(third.head.id, object(2)));
  ASSERT_TRUE(line.plane.answer(second.head.id, object(1)));
  EXPECT_TRUE(line.read().empty());
  ASSERT_TRUE(line.plane.answer(first.head.id, object(0)));
  const auto got = line.read();
  ASSERT_EQ(got.size(), 3U);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(got[static_cast<std::size_t>(i)].value, Value::long_atom(i));
  }
  line.plane.read();
  EXPECT_EQ(line.plane.requests.size(), 2U);
}

TEST(GatewaySync, FlushIsAnsweredOnceEverythingBeforeItIs) {
  Line line;
  line.async(list({Value::int_atom(1), text("lbt")}));
  line.async(list({list({text("np")}), Value::symbol("cb")}));
  line.async(Value::symbol("aw"));
  line.sync("sync");
  line.sync("");
  std::vector<std::uint64_t> ids;
  for (int i = 0; i < 4; ++i) {
    ids.push_back(line.plane.take().head.id);
  }
  EXPECT_EQ(line.plane.take().head.id, 0U) << "a flush is nobody's request";
  for (const int i : {3, 1, 2, 0}) {
    for (const Got& got : line.read()) {
      EXPECT_FALSE(got.value.is_null()) << "the flush came too early";
    }
    ASSERT_TRUE(line.plane.answer(ids[static_cast<std::size_t>(i)], object(i)));
  }
  const auto rest = line.read();
  ASSERT_EQ(rest.size(), 2U);
  EXPECT_TRUE(rest[1].value.is_null());
  EXPECT_EQ(rest[1].kind, MessageKind::response);
  line.sync("");
  EXPECT_TRUE(line.read_one().value.is_null()) << "at once when nothing is before it";
}

TEST(GatewaySync, AFlushDoesNotWaitForWhatCameLater) {
  Line line;
  line.async(list({Value::int_atom(1), text("first")}));
  line.sync("");
  line.async(list({Value::int_atom(2), text("second")}));
  const std::uint64_t first = line.plane.take().head.id;
  ASSERT_TRUE(line.plane.answer(first, object(1)));
  const auto got = line.read();
  ASSERT_EQ(got.size(), 2U);
  EXPECT_TRUE(got[1].value.is_null());
}

TEST(GatewaySync, NobodyIsToldOfResponsesAndErrorsThatNobodyAskedFor) {
  Line line;
  line.send(Value::long_atom(1), MessageKind::response);
  line.send(Value::error("nyi"), MessageKind::async);
  EXPECT_TRUE(line.read_raw().empty());
  EXPECT_EQ(line.plane.take().head.id, 0U);
  EXPECT_EQ(line.context->counters.ignored->get(), 2U);
  line.send(Value::error("nyi"), MessageKind::sync);
  EXPECT_EQ(line.read_one().value, Value::error("badmsg"));
  line.expect_works();
}

TEST(GatewaySync, MalformedMessageIsAnsweredAndEndsTheConnectionAfterWhatCameBefore) {
  Line line;
  line.sync("before");
  Bytes bad = kdb::encode_message(text("abc"), MessageKind::sync);
  bad[8] = std::byte{3};  // a type that does not exist
  const std::uint64_t id = line.plane.take().head.id;
  line.write(bad);
  EXPECT_TRUE(line.alive());
  ASSERT_TRUE(line.plane.answer(id, object(1)));
  const auto got = line.read();
  ASSERT_EQ(got.size(), 2U);
  EXPECT_EQ(got[0].value, Value::long_atom(1));
  EXPECT_EQ(got[1].value, Value::error("badmsg"));
  EXPECT_FALSE(line.alive());
  line.plane.read();
  EXPECT_EQ(line.plane.gones.size(), 1U);
}

TEST(GatewaySync, BadHeaderEndsTheConnectionWithoutAWord) {
  Line line;
  line.write(Bytes(8, std::byte{0xff}));
  EXPECT_TRUE(line.read_raw().empty());
  EXPECT_FALSE(line.alive());
  line.plane.read();
  EXPECT_TRUE(line.plane.gones.empty()) << "the data plane never heard of it";
}

TEST(GatewaySync, AHalfClosedClientGetsItsAnswersFirst) {
  Line line;
  Bytes two = kdb::encode_message(text("a"), MessageKind::sync);
  const Bytes second = kdb::encode_message(text("b"), MessageKind::sync);
  two.insert(two.end(), second.begin(), second.end());
  line.write(two);
  line.half_close();
  for (int i = 0; i < 2; ++i) {
    EXPECT_TRUE(line.alive());
    ASSERT_TRUE(line.plane.answer(line.plane.take().head.id, object(i)));
    EXPECT_EQ(line.read_one().value, Value::long_atom(i));
  }
  EXPECT_FALSE(line.alive());
  EXPECT_TRUE(line.saw_end);
}

TEST(GatewaySync, HangingUpEndsTheOriginAndLeavesNothing) {
  Line line;
  line.async(list({Value::int_atom(1), text("a")}));
  line.sync("b");
  line.sync("c");
  const std::uint64_t id = line.plane.take().head.id;
  line.hang_up();
  EXPECT_FALSE(line.alive());
  EXPECT_EQ(line.context->pendings.used(), 0U);
  line.plane.read();
  ASSERT_EQ(line.plane.gones.size(), 1U);
  EXPECT_EQ(line.plane.gones[0].generation, 77U);
  ASSERT_TRUE(line.plane.answer(id, object(1)));  // too late: nobody's
  (void)line.turn();
}

TEST(GatewaySync, WaitsForRoomInTheRing) {
  LineSetup setup;
  setup.plane.ring_bytes = 4096;
  setup.plane.frame_bytes_max = 1024;
  setup.settings.sync_window = 100;
  Line line(setup);
  for (int i = 0; i < 30; ++i) {
    line.sync(std::string(200, 'x') + std::to_string(i));
  }
  EXPECT_TRUE(line.connection->waits_for_turn());
  EXPECT_FALSE(line.connection->wants_read());
  int seen = 0;
  while (seen < 30) {
    const auto request = line.plane.take();
    ASSERT_NE(request.head.id, 0U) << seen;
    EXPECT_EQ(request.payload, kdb::encode(text(std::string(200, 'x') + std::to_string(seen))));
    ASSERT_TRUE(line.plane.answer(request.head.id, object(seen)));
    const auto got = line.read();
    ASSERT_EQ(got.size(), 1U);
    EXPECT_EQ(got[0].value, Value::long_atom(seen));
    ++seen;
  }
  EXPECT_TRUE(line.connection->wants_read());
}

TEST(GatewaySync, WhatIsUnreadBeyondTheBoundClosesTheConnection) {
  LineSetup setup;
  setup.settings.max_pending_bytes = 1U << 20;
  setup.plane.frame_bytes_max = 512U << 10;
  setup.plane.ring_bytes = 4U << 20;
  setup.send_buffer = 16384;
  Line line(setup);
  const Bytes large = kdb::encode(text(std::string(300'000, 'a')));
  int answered = 0;
  while (line.alive() && answered < 50) {
    line.sync("x");
    const std::uint64_t id = line.plane.take().head.id;
    if (id == 0) {
      break;
    }
    ASSERT_TRUE(line.plane.answer(id, large));
    (void)line.turn();
    ++answered;
  }
  EXPECT_FALSE(line.alive());
  EXPECT_GT(answered, 3);
  EXPECT_LT(answered, 10);
  line.plane.read();
  EXPECT_EQ(line.plane.gones.size(), 1U);
}

TEST(GatewaySync, DrainAnswersWhatRunsAndTakesNoMore) {
  Line line;
  line.sync("runs");
  line.sync("waits");
  const std::uint64_t id = line.plane.take().head.id;
  line.connection->drain();
  line.settle();
  ASSERT_TRUE(line.alive());
  ASSERT_TRUE(line.plane.answer(id, object(1)));
  EXPECT_EQ(line.read_one().value, Value::long_atom(1));
  EXPECT_FALSE(line.alive());
  EXPECT_EQ(line.plane.take().head.id, 0U);

  Line idle;
  idle.connection->drain();
  idle.settle();
  EXPECT_FALSE(idle.alive());
}

TEST(GatewaySync, AdminCallsAreForAdminsOnTheUnixSocket) {
  LineSetup setup;
  setup.settings.admin_uids = {1234};
  setup.peer.uid = 1234;
  Line admin(setup);
  admin.sync(".mserve.queries[3]");
  EXPECT_EQ(admin.read_one().value, Value::symbol("admin"));
  ASSERT_EQ(admin.admin_calls.size(), 1U);
  EXPECT_EQ(admin.admin_calls[0], broker::AdminCall::Name::queries);
  admin.sync(".mserve.stats[1;2]");
  EXPECT_TRUE(admin.read_one().value.is_error());
  admin.async(list({Value::long_atom(9), text(".mserve.clients[]")}));
  const Got lbt = admin.read_one();
  EXPECT_EQ(lbt.value.at(0), Value::long_atom(9));
  EXPECT_EQ(lbt.value.at(1), Value::symbol("admin"));

  setup.peer.uid = 1;
  Line other(setup);
  other.sync(".mserve.stats[]");
  EXPECT_EQ(other.read_one().value, Value::error("access"));
  setup.peer = {};
  setup.peer.kind = broker::Peer::Kind::tcp4;
  setup.peer.uid = 1234;
  Line tcp(setup);
  tcp.sync(".mserve.stats[]");
  EXPECT_EQ(tcp.read_one().value, Value::error("access"));
  EXPECT_EQ(tcp.plane.take().head.id, 0U);
}

}  // namespace
}  // namespace mserve::test
