// SPDX-License-Identifier: Apache-2.0
// The async conventions: LBT, NP and AW.
#include <gtest/gtest.h>

#include <cstring>

#include "gateway/admin_answer.hpp"
#include "line.hpp"

namespace mserve::test {
namespace {

shm::InfoExt info_ext() {
  shm::InfoExt info;
  info.elapsed_ns = 12'400'000;
  info.execution_ns = 11'500'000;
  info.backlog = 3;
  info.remaining = 4;
  std::strcpy(info.servant, "q1");
  return info;
}

Value info_dict(std::vector<std::string> more = {}, std::vector<Value> values = {}) {
  std::vector<std::string> keys = {"qsvr", "elapsed", "execution", "route", "backlog", "remaining"};
  std::vector<Value> all = {Value::symbol("q1"),  Value::long_atom(12), Value::long_atom(12),
                            Value::symbol("IBM"), Value::long_atom(3),  Value::long_atom(4)};
  keys.insert(keys.end(), more.begin(), more.end());
  all.insert(all.end(), values.begin(), values.end());
  return Value::dict(Value::symbols(keys), Value::list(all));
}

const Value kQuery = list({Value::symbol("proc1"), Value::symbol("IBM")});

TEST(GatewayLbt, AnswersWithTheIdAsItCameTheResultAndTheInfo) {
  Line line;
  const shm::InfoExt info = info_ext();
  for (const Value& id : {Value::byte(7), Value::short_atom(7), Value::int_atom(7),
                          Value::long_atom(7), Value::long_atom(kdb::kNullLong)}) {
    line.async(list({id, kQuery}));
    const auto request = line.plane.take();
    EXPECT_EQ(request.payload, kdb::encode(kQuery));
    EXPECT_EQ(request.head.flags, shm::kFlagWantInfo | shm::kFlagRepeatable);
    ASSERT_TRUE(
        line.plane.answer(request.head.id, kdb::encode(Value::longs({1, 2})), {.info = &info}));
    const Got got = line.read_one();
    EXPECT_EQ(got.kind, MessageKind::async);
    EXPECT_EQ(got.value, list({id, Value::longs({1, 2}), info_dict()}));
  }
}

TEST(GatewayLbt, SaysWhenARequestCameWentAndWasAnsweredIfItIsAsked) {
  Line line;
  const shm::InfoExt info = info_ext();
  const auto options = [](bool wanted) {
    return Value::dict(Value::symbols({"stamps"}), Value::booleans({std::uint8_t{wanted}}));
  };
  line.async(list({Value::int_atom(1), kQuery, options(false)}));
  ASSERT_TRUE(
      line.plane.answer(line.plane.take().head.id, kdb::encode(Value::null()), {.info = &info}));
  EXPECT_EQ(line.read_one().value.at(2), info_dict());

  // What a servant says of the same name is not heard.
  std::vector<std::byte> result = kdb::encode(Value::null());
  const std::vector<std::byte> own = kdb::encode(Value::dict(
      Value::symbols({"sent", "rows"}), Value::list({Value::symbol("x"), Value::long_atom(9)})));
  result.insert(result.end(), own.begin(), own.end());
  line.async(list({Value::int_atom(2), kQuery, options(true)}));
  ASSERT_TRUE(line.plane.answer(line.plane.take().head.id, result,
                                {.flags = shm::kFlagPair, .info = &info}));
  const Value stamped = line.read_one().value.at(2);
  EXPECT_EQ(stamped.keys(), Value::symbols({"qsvr", "elapsed", "execution", "route", "backlog",
                                            "remaining", "received", "sent", "returned", "rows"}));
  const auto stamp = [](const Value& of, const char* key) {
    const std::optional<Value> found = of.find(key);
    EXPECT_EQ(found->type_code(), -12) << key;
    return found->integer().value_or(kdb::kNullLong);
  };
  EXPECT_GT(stamp(stamped, "received"), 0);
  EXPECT_LE(stamp(stamped, "received"), stamp(stamped, "sent"));
  EXPECT_EQ(stamp(stamped, "returned") - stamp(stamped, "sent"),
            static_cast<std::int64_t>(info.execution_ns));

  line.async(list({Value::int_atom(3), kQuery, options(true)}));
  ASSERT_TRUE(line.plane.answer(line.plane.take().head.id, {}, {.status = Errc::no_servant}));
  const Value failed = line.read_one().value.at(2);
  EXPECT_EQ(stamp(failed, "sent"), kdb::kNullLong);
  EXPECT_LE(stamp(failed, "received"), stamp(failed, "returned"));
}

TEST(GatewayLbt, AnswersComeAsTheyAreReady) {
  Line line;
  for (int i = 0; i < 3; ++i) {
    line.async(list({Value::int_atom(i), text("x")}));
  }
  std::vector<std::uint64_t> ids;
  for (int i = 0; i < 3; ++i) {
    ids.push_back(line.plane.take().head.id);
  }
  for (const int i : {2, 0, 1}) {
    ASSERT_TRUE(line.plane.answer(ids[static_cast<std::size_t>(i)], kdb::encode(Value::null())));
    EXPECT_EQ(line.read_one().value.at(0), Value::int_atom(i));
  }
}

TEST(GatewayLbt, SendsOptionsAlongAndMergesTheServantsInfo) {
  Line line;
  const Value options = Value::dict(Value::symbols({"timeout"}), Value::longs({5}));
  line.async(list({Value::int_atom(1), kQuery, options}));
  const auto request = line.plane.take();
  EXPECT_EQ(request.head.flags, shm::kFlagWantInfo | shm::kFlagRepeatable | shm::kFlagPair);
  Bytes pair = kdb::encode(kQuery);
  const Bytes encoded = kdb::encode(options);
  pair.insert(pair.end(), encoded.begin(), encoded.end());
  EXPECT_EQ(request.payload, pair);

  Bytes answer = kdb::encode(Value::long_atom(1));
  const Bytes own = kdb::encode(
      Value::dict(Value::symbols({"rows", "qsvr"}), Value::list({Value::long_atom(9), text("x")})));
  answer.insert(answer.end(), own.begin(), own.end());
  const shm::InfoExt info = info_ext();
  ASSERT_TRUE(line.plane.answer(request.head.id, answer, {.flags = shm::kFlagPair, .info = &info}));
  EXPECT_EQ(line.read_one().value, list({Value::int_atom(1), Value::long_atom(1),
                                         info_dict({"rows"}, {Value::long_atom(9)})}));
}

TEST(GatewayLbt, TellsErrorsAsTheScriptsDo) {
  Line line;
  line.async(list({Value::int_atom(1), text("x")}));
  ASSERT_TRUE(line.plane.answer(line.plane.take().head.id, {}, {.status = Errc::servant_died}));
  const Value broker_error = line.read_one().value;
  EXPECT_EQ(broker_error.at(0), Value::int_atom(1));
  EXPECT_EQ(broker_error.at(1), text("Error: servant died"));
  EXPECT_EQ(broker_error.at(2).count(), 6U);
  line.async(list({Value::int_atom(2), text("x")}));
  ASSERT_TRUE(line.plane.answer(line.plane.take().head.id, kdb::encode(Value::error("type")),
                                {.status = Errc::failed}));
  EXPECT_EQ(line.read_one().value.at(1), text("Error: type"));
}

TEST(GatewayNp, AnswersWithCallbackCountedIdQueryAndResult) {
  Line line;
  for (const Value& callback : {Value::symbol("cb"), text("{x}")}) {
    const auto before = line.context->next_qid;
    line.async(list({kQuery, callback}));
    const auto request = line.plane.take();
    EXPECT_EQ(request.payload, kdb::encode(kQuery));
    EXPECT_EQ(request.head.flags, shm::kFlagRepeatable);
    ASSERT_TRUE(line.plane.answer(request.head.id, kdb::encode(Value::long_atom(5))));
    const Got got = line.read_one();
    EXPECT_EQ(got.kind, MessageKind::async);
    EXPECT_EQ(got.value, list({callback, Value::long_atom(before), kQuery, Value::long_atom(5)}));
  }
  line.async(list({kQuery, Value::symbol("cb")}));
  ASSERT_TRUE(
      line.plane.answer(line.plane.take().head.id, {}, {.status = Errc::no_servant, .servant = 0}));
  EXPECT_EQ(line.read_one().value.at(3), text("Error: no servant"));
}

TEST(GatewayAw, AnswersBareAndInTheOrderOfTheRequestsWithSyncOnes) {
  Line line;
  line.async(Value::symbol("a"));
  line.sync("b");
  line.async(Value::symbol("c"));
  const auto a = line.plane.take();
  const auto b = line.plane.take();
  const auto c = line.plane.take();
  ASSERT_TRUE(line.plane.answer(c.head.id, kdb::encode(Value::long_atom(3))));
  ASSERT_TRUE(line.plane.answer(b.head.id, kdb::encode(Value::long_atom(2))));
  EXPECT_TRUE(line.read().empty());
  ASSERT_TRUE(line.plane.answer(a.head.id, {}, {.status = Errc::busy}));
  const auto got = line.read();
  ASSERT_EQ(got.size(), 3U);
  EXPECT_EQ(got[0].kind, MessageKind::async);
  EXPECT_EQ(got[0].value, Value::symbol("error"));
  EXPECT_EQ(got[1].kind, MessageKind::response);
  EXPECT_EQ(got[1].value, Value::long_atom(2));
  EXPECT_EQ(got[2].kind, MessageKind::async);
  EXPECT_EQ(got[2].value, Value::long_atom(3));
}

TEST(GatewayAw, EarlyAnswersBeyondTheBoundBecomeErrorsAndNoMoreIsTaken) {
  LineSetup setup;
  setup.settings.max_pending_bytes = 1U << 20;
  setup.settings.max_gathered = 1U << 20;
  setup.plane.frame_bytes_max = 256U << 10;
  setup.plane.ring_bytes = 8U << 20;
  Line line(setup);
  std::vector<std::uint64_t> ids;
  for (int i = 0; i < 12; ++i) {
    line.async(Value::symbol("q"));
    ids.push_back(line.plane.take().head.id);
  }
  const Bytes large = kdb::encode(text(std::string(200'000, 'a')));
  for (std::size_t i = 1; i < ids.size(); ++i) {
    ASSERT_TRUE(line.plane.answer(ids[i], large));
  }
  (void)line.turn();
  line.async(Value::symbol("more"));
  EXPECT_EQ(line.plane.take().head.id, 0U) << "what is kept is enough";
  ASSERT_TRUE(line.plane.answer(ids[0], kdb::encode(Value::long_atom(0))));
  const auto got = line.read();
  ASSERT_EQ(got.size(), 12U);
  EXPECT_EQ(got[0].value, Value::long_atom(0));
  EXPECT_EQ(got[1].value.count(), 200'000U);
  EXPECT_EQ(got[11].value, Value::symbol("error"));
  EXPECT_NE(line.plane.take().head.id, 0U) << "and now the next one";
}

TEST(GatewayAw, MayBeToldToStaySilent) {
  LineSetup setup;
  setup.settings.async_reply = false;
  Line line(setup);
  line.async(Value::symbol("a"));
  line.sync("");
  const std::uint64_t id = line.plane.take().head.id;
  EXPECT_TRUE(line.read().empty()) << "the flush waits for it all the same";
  ASSERT_TRUE(line.plane.answer(id, kdb::encode(Value::long_atom(3))));
  EXPECT_TRUE(line.read_one().value.is_null());
}

TEST(GatewayConventions, AmbiguousPairsFollowWhatTheConnectionShowed) {
  Line line;
  const Value pair = list({text("f"), Value::symbol("x")});
  const auto answered_as_np = [&line, &pair] {
    line.async(pair);
    EXPECT_TRUE(line.plane.answer(line.plane.take().head.id, kdb::encode(Value::long_atom(1))));
    return line.read_one().value.count() == 4;
  };
  EXPECT_TRUE(answered_as_np()) << "the default";
  line.async(Value::symbol("a"));  // aw, beyond doubt
  ASSERT_TRUE(line.plane.answer(line.plane.take().head.id, kdb::encode(Value::long_atom(1))));
  (void)line.read();
  EXPECT_FALSE(answered_as_np());
  line.async(list({kQuery, Value::symbol("cb")}));  // np, beyond doubt
  ASSERT_TRUE(line.plane.answer(line.plane.take().head.id, kdb::encode(Value::long_atom(1))));
  (void)line.read();
  EXPECT_TRUE(answered_as_np());
  EXPECT_EQ(line.context->counters.ambiguous->get(), 3U);
}

TEST(GatewayConventions, AFixedOneTellsWhatDoesNotFit) {
  LineSetup setup;
  setup.settings.rules.protocol = broker::Protocol::lbt;
  Line lbt(setup);
  lbt.async(Value::symbol("a"));
  const Value refused = lbt.read_one().value;
  EXPECT_EQ(refused.at(0), Value::long_atom(kdb::kNullLong));
  EXPECT_EQ(refused.at(1), text("Error: not (id; query) or (id; query; options)"));
  lbt.expect_works();

  setup.settings.rules.protocol = broker::Protocol::np;
  Line np(setup);
  np.async(Value::symbol("a"));
  const Got got = np.read_one();
  EXPECT_EQ(got.kind, MessageKind::async);
  EXPECT_EQ(got.value, text("Error: not (query; callback)"));
}

TEST(GatewayConventions, BigEndianAndCompressedMessagesAreUnderstood) {
  Line line;
  line.send(list({Value::int_atom(258), kQuery}), MessageKind::async, kdb::ByteOrder::big);
  const auto request = line.plane.take();
  EXPECT_EQ(request.payload, kdb::encode(kQuery));
  ASSERT_TRUE(line.plane.answer(request.head.id, kdb::encode(Value::null())));
  EXPECT_EQ(line.read_one().value.at(0), Value::int_atom(258));
  const Value big = text(std::string(5000, 'a'));
  const auto compressed = kdb::compress(kdb::encode_message(big, MessageKind::sync));
  ASSERT_TRUE(compressed);
  line.write(*compressed);
  EXPECT_EQ(line.plane.take().payload, kdb::encode(big));
}

TEST(GatewayCompression, IsForRemoteClientsThatKnowItAndOnlyWhereItPays) {
  const Bytes large = kdb::encode(Value::longs(std::vector<std::int64_t>(1000, 7)));
  const auto answer_bytes = [&large](bool remote, std::uint8_t capability) {
    LineSetup setup;
    setup.peer.remote = remote;
    setup.peer.kind = broker::Peer::Kind::tcp4;
    setup.capability = capability;
    Line line(setup);
    line.sync("x");
    EXPECT_TRUE(line.plane.answer(line.plane.take().head.id, large));
    return line.read_raw().size();
  };
  EXPECT_EQ(answer_bytes(false, 3), large.size() + 8);
  EXPECT_EQ(answer_bytes(true, 0), large.size() + 8);
  EXPECT_LT(answer_bytes(true, 3), large.size() / 2);
  LineSetup setup;
  setup.peer.remote = true;
  Line line(setup);
  for (const std::size_t bytes : {std::size_t{1986}, std::size_t{1987}}) {  // 2000 and 2001 in all
    line.sync("x");
    ASSERT_TRUE(
        line.plane.answer(line.plane.take().head.id, kdb::encode(text(std::string(bytes, 'a')))));
    const Bytes raw = line.read_raw();
    EXPECT_EQ(raw[2], std::byte{bytes == 1987}) << bytes;
  }
}

TEST(GatewayQueryLog, RemembersWhatWentThrough) {
  Line line;
  const shm::InfoExt info = info_ext();
  const Value options = Value::dict(Value::symbols({"user"}), Value::symbols({"ken"}));
  line.async(list({Value::int_atom(7), kQuery, options}));
  ASSERT_TRUE(line.plane.answer(line.plane.take().head.id, kdb::encode(Value::long_atom(1)),
                                {.info = &info, .servant = 4}));
  (void)line.read();
  line.sync("nope");
  ASSERT_TRUE(
      line.plane.answer(line.plane.take().head.id, {}, {.status = Errc::no_servant, .servant = 0}));
  (void)line.read();
  const auto records = line.context->queries.last(10, line.context->now_ns);
  ASSERT_EQ(records.size(), 2U);
  EXPECT_STREQ(records[0].user.data(), "bob");
  EXPECT_STREQ(records[0].route.data(), "IBM");
  EXPECT_EQ(records[0].servant, 4U);
  EXPECT_EQ(records[0].execution_ns, info.execution_ns);
  EXPECT_EQ(records[0].answer_bytes, 9U);
  EXPECT_EQ(records[1].status, Errc::no_servant);
  EXPECT_GT(records[1].qid, records[0].qid);

  const Value table = broker::queries_table(records, {});
  const auto longs = [&table](const char* name) {
    return table.column(name)->items<std::int64_t>();
  };
  EXPECT_EQ(longs("client_qid")[0], 7);
  EXPECT_EQ(longs("client_qid")[1], kdb::kNullLong) << "a sync query has none";
  EXPECT_EQ(table.column("client_options")->list_items()[0], options);
  EXPECT_EQ(table.column("client_options")->list_items()[1], Value());
  EXPECT_EQ(longs("time_returned")[0] - longs("time_sent")[0],
            static_cast<std::int64_t>(info.execution_ns));
  EXPECT_LE(longs("time_received")[0], longs("time_returned")[0]);
  EXPECT_EQ(longs("time_sent")[1], kdb::kNullLong);
  const auto ints = [&table](const char* name) {
    return table.column(name)->items<std::int32_t>();
  };
  EXPECT_EQ(ints("backlog")[0], static_cast<std::int32_t>(info.backlog));
  EXPECT_EQ(ints("backlog")[1], kdb::kNullInt);
  EXPECT_EQ(ints("slave_handle")[0], 4);
  EXPECT_EQ(ints("slave_handle")[1], kdb::kNullInt) << "the broker answered";
  EXPECT_EQ(table.column("location")->items<std::string>()[0], "client");
}

TEST(GatewayQueryLog, KnowsTheClientsNumberWhateverItsTypeAndNoOptionsThatAreTooLong) {
  Line line;
  const auto ask = [&line](const Value& id, const Value& options) {
    line.async(list({id, kQuery, options}));
    ASSERT_TRUE(line.plane.answer(line.plane.take().head.id, kdb::encode(Value::long_atom(1))));
    (void)line.read();
  };
  const auto with = [](std::size_t bytes) {
    return Value::dict(Value::symbols({"note"}), Value::symbols({std::string(bytes, 'x')}));
  };
  ask(Value::long_atom(-5'000'000'000), with(10));
  ask(Value::int_atom(kdb::kNullInt), with(200));
  const Value table =
      broker::queries_table(line.context->queries.last(10, line.context->now_ns), {});
  const auto ids = table.column("client_qid")->items<std::int64_t>();
  ASSERT_EQ(ids.size(), 2U);
  EXPECT_EQ(ids[0], -5'000'000'000);
  EXPECT_EQ(ids[1], kdb::kNullLong);
  EXPECT_EQ(table.column("client_options")->list_items()[0], with(10));
  EXPECT_EQ(table.column("client_options")->list_items()[1], Value());
}

TEST(GatewayQueryLog, ForgetsByAge) {
  constexpr std::uint64_t kKeep = 100;
  broker::QueryLog log(4, kKeep);
  const auto qids = [&log](std::uint64_t now) {
    std::vector<std::int64_t> found;
    for (const broker::QueryRecord& record : log.last(10, now)) {
      found.push_back(record.qid);
    }
    return found;
  };
  using Qids = std::vector<std::int64_t>;
  for (std::int64_t i = 1; i <= 3; ++i) {
    log.add(static_cast<std::uint64_t>(1000 + 10 * i)).qid = i;
  }
  EXPECT_EQ(qids(1109), (Qids{1, 2, 3}));
  EXPECT_EQ(qids(1110), (Qids{2, 3})) << "before anything was purged";
  log.purge(1120);
  EXPECT_EQ(qids(1120), (Qids{3}));
  log.purge(1200);
  EXPECT_EQ(qids(1200), Qids{});
  for (std::int64_t i = 4; i <= 9; ++i) {
    log.add(1200).qid = i;
  }
  log.purge(1250);
  EXPECT_EQ(qids(1250), (Qids{6, 7, 8, 9})) << "by number, too";
}

TEST(GatewayQueryLog, MayRememberNothing) {
  broker::QueryLog none(0, broker::kForever);
  none.add(1).qid = 1;
  EXPECT_TRUE(none.last(10, 1).empty());
  none.purge(2);
  broker::QueryLog at_once(4, 0);
  at_once.add(1).qid = 1;
  EXPECT_TRUE(at_once.last(10, 1).empty());
}

}  // namespace
}  // namespace mserve::test
