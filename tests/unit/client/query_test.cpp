// SPDX-License-Identifier: Apache-2.0
#include "mserve/client/query.hpp"

#include <gtest/gtest.h>

#include "fake_broker.hpp"
#include "mserve/kdb/codec.hpp"
#include "mserve/kdb/route.hpp"

namespace mserve {
namespace {

using kdb::Value;
using test::bytes_of;
using test::FakeBroker;

Client client_of(FakeBroker& broker) {
  return Client(test::attached_core(broker));
}

Reply ok_reply(std::span<const std::byte> payload, Errc status = Errc::ok) {
  Reply reply;
  reply.id = 3;
  reply.status = status;
  reply.payload = payload;
  return reply;
}

TEST(Query, TextTravelsAsACharVectorWithTheRouteOfItsFirstArgument) {
  const Query made = make_query("proc1 `IBM", "arg:1");
  const auto object = kdb::decode(made.object);
  ASSERT_TRUE(object.ok());
  EXPECT_EQ(object.value(), Value::chars("proc1 `IBM"));
  EXPECT_EQ(made.route_hash, kdb::route_of_text("IBM").hash);
  EXPECT_EQ(made.route_text, "IBM");
}

TEST(Query, UnknownRuleOrNoArgumentGivesNoRoute) {
  EXPECT_EQ(make_query("proc1 `IBM", "moon").route_hash, 0U);
  EXPECT_EQ(make_query("proc1[]", "arg:1").route_hash, 0U);
  EXPECT_EQ(make_query("", "arg:1").route_hash, 0U);
}

TEST(Query, TheRuleIsTheOneThatTheBrokerTold) {
  for (const auto& [rule, text] :
       std::vector<std::pair<std::string, std::string>>{{"arg:1", "IBM"},
                                                        {"fn", "proc1"},
                                                        {"fn+arg:1", "proc1 IBM"},
                                                        {"user", "bob"},
                                                        {"const", "const"},
                                                        {"option:desk", ""},
                                                        {"a rule of a later version", ""},
                                                        {"", ""}}) {
    FakeBroker broker;
    broker.route_rule = rule;
    ClientOptions options;
    options.user = "bob";
    Client client(test::attached_core(broker, options));
    const Query made = make_query("proc1 `IBM", client);
    EXPECT_EQ(made.route_text, text) << rule;
    EXPECT_EQ(made.route_hash != 0, !text.empty()) << rule;
    ASSERT_TRUE(send_query(client, made));
    broker.read_requests();
    ASSERT_EQ(broker.received.size(), 1U);
    EXPECT_EQ(broker.received[0].head.aux, made.route_hash) << rule;
  }
}

TEST(Query, AnEncodedQueryIsPlacedAsItsTextWouldBe) {
  for (const std::string rule : {"arg:1", "fn", "fn+arg:1", "user", "const", "moon", ""}) {
    FakeBroker broker;
    broker.route_rule = rule;
    ClientOptions options;
    options.user = "bob";
    Client client(test::attached_core(broker, options));
    const std::vector<Value> arguments = {Value::symbol("IBM")};
    const SendOptions made =
        placed(kdb::encode_call("proc1", arguments), client, {.repeatable = true});
    EXPECT_EQ(made.route, make_query("proc1 `IBM", client).route_hash) << rule;
    EXPECT_TRUE(made.repeatable);
    EXPECT_EQ(placed(bytes_of("no object"), client, {.route = 7}).route, 7U);
  }
}

TEST(Query, TheOptionsOfAnEncodedPairHaveTheirRoute) {
  FakeBroker broker;
  broker.route_rule = "option:desk";
  Client client = client_of(broker);
  const auto query = kdb::encode(Value::chars("proc1 1"));
  const auto options =
      kdb::encode(Value::dict(Value::symbols({"desk"}), Value::symbols({"rates"})));
  std::vector<std::byte> pair = query;
  pair.insert(pair.end(), options.begin(), options.end());
  const std::uint64_t route = placed(pair, client, {.pair = true}).route;
  EXPECT_NE(route, 0U);
  const auto rule = kdb::parse_rule("option:desk");
  ASSERT_TRUE(rule);
  EXPECT_EQ(route, kdb::route_of(query, *rule, {.user = {}, .options = options}).hash);
  EXPECT_EQ(placed(query, client).route, 0U);
}

TEST(Query, ARouteOfTheProgramsOwnGoesBeforeTheRule) {
  FakeBroker broker;
  broker.route_rule = "fn";
  Client client = client_of(broker);
  broker.meanwhile = [&] {
    broker.read_requests();
    for (const auto& request : std::exchange(broker.received, {})) {
      EXPECT_EQ(request.head.aux, kdb::route_of_text("mine").hash);
      broker.answer_with_info(request.head.id, kdb::encode(Value::long_atom(1)), {});
    }
  };
  const auto answer = query(client, "proc1 `IBM", {.route = "mine"});
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer.value().info.find("route"), Value::symbol("mine"));
  broker.meanwhile = nullptr;
  ASSERT_TRUE(send_query(client, make_query("proc1 `IBM", client), {.route = "mine"}));
  broker.read_requests();
  ASSERT_EQ(broker.received.size(), 1U);
  EXPECT_EQ(broker.received[0].head.aux, kdb::route_of_text("mine").hash);
}

TEST(Query, AnswerHasResultAndInfoWithTheKeysAndTypesOfTheScripts) {
  FakeBroker broker;
  Client client = client_of(broker);
  broker.meanwhile = [&] {
    broker.read_requests();
    for (const auto& request : std::exchange(broker.received, {})) {
      EXPECT_EQ(request.head.flags, shm::kFlagWantInfo | shm::kFlagRepeatable);
      EXPECT_EQ(request.head.aux, kdb::route_of_text("IBM").hash);
      shm::InfoExt info;
      info.elapsed_ns = 2'600'000;
      info.execution_ns = 1'400'000;
      info.backlog = 4;
      info.remaining = 3;
      std::snprintf(info.servant, sizeof(info.servant), "servant1");
      broker.answer_with_info(request.head.id, kdb::encode(Value::longs({1, 2})), info);
    }
  };
  const auto answer = query(client, "proc1 `IBM");
  ASSERT_TRUE(answer);
  EXPECT_FALSE(answer.value().is_error());
  EXPECT_EQ(answer.value().result, Value::longs({1, 2}));
  EXPECT_EQ(
      answer.value().info,
      Value::dict(Value::symbols({"qsvr", "elapsed", "execution", "route", "backlog", "remaining"}),
                  Value::list({Value::symbol("servant1"), Value::long_atom(3), Value::long_atom(1),
                               Value::symbol("IBM"), Value::long_atom(4), Value::long_atom(3)})));
}

TEST(Query, WhatTheServantAddsToTheInfoStandsBehindIt) {
  shm::InfoExt info;
  std::snprintf(info.servant, sizeof(info.servant), "servant1");
  const auto result = kdb::encode(Value::long_atom(1));
  Reply reply = ok_reply(result);
  reply.info = info;
  const auto keys_of = [&reply](const Value& own) {
    const auto object = kdb::encode(own);
    reply.info_object = object;
    const auto answer = answer_of(reply, "IBM");
    EXPECT_TRUE(answer);
    EXPECT_EQ(answer.value().info.find("qsvr"), Value::symbol("servant1")) << "ours win";
    return answer.value().info.keys();
  };
  const Value ours =
      Value::symbols({"qsvr", "elapsed", "execution", "route", "backlog", "remaining"});
  EXPECT_EQ(keys_of(Value::dict(
                Value::symbols({"rows", "qsvr", "note"}),
                Value::list({Value::long_atom(5), Value::symbol("me"), Value::chars("x")}))),
            Value::symbols(
                {"qsvr", "elapsed", "execution", "route", "backlog", "remaining", "rows", "note"}));
  EXPECT_EQ(keys_of(Value::dict(Value::longs({1}), Value::longs({2}))), ours);
  EXPECT_EQ(keys_of(Value::long_atom(1)), ours);
}

TEST(Query, InfoOfAGatewayIsHandedOnAsItCame) {
  const auto result = kdb::encode(Value::long_atom(1));
  const Value info = Value::dict(Value::symbols({"qsvr"}), Value::list({Value::symbol("s")}));
  const auto object = kdb::encode(info);
  Reply reply = ok_reply(result);
  reply.info = shm::InfoExt{};
  reply.info_object = object;
  reply.info_complete = true;
  EXPECT_EQ(answer_of(reply, "IBM").value().info, info);
}

TEST(Query, ErrorOfTheServantIsAnAnswer) {
  const auto object = kdb::encode(Value::error("nested evaluation"));
  const auto answer = answer_of(ok_reply(object, Errc::failed));
  ASSERT_TRUE(answer);
  EXPECT_TRUE(answer.value().is_error());
  EXPECT_EQ(answer.value().result.text_view(), "nested evaluation");
  EXPECT_TRUE(answer.value().info.is_null());
}

TEST(Query, ErrorOfTheBrokerIsNone) {
  EXPECT_EQ(answer_of(ok_reply({}, Errc::busy)).error().code, Errc::busy);
  FakeBroker broker;
  Client client = client_of(broker);
  broker.meanwhile = [&] { broker.die(); };
  EXPECT_EQ(query(client, "x").error().code, Errc::disconnected);
}

TEST(Query, BytesThatAreNoObjectAreAProtocolError) {
  EXPECT_EQ(answer_of(ok_reply({})).error().code, Errc::protocol);
  EXPECT_EQ(answer_of(ok_reply(bytes_of("no object"))).error().code, Errc::protocol);
  const auto fine = kdb::encode(Value::long_atom(1));
  EXPECT_EQ(answer_of(ok_reply(fine, Errc::failed)).error().code, Errc::protocol);
  Reply opaque = ok_reply(fine);
  opaque.opaque = true;
  EXPECT_EQ(answer_of(opaque).error().code, Errc::protocol);
}

TEST(Query, SeveralMayBeInFlight) {
  FakeBroker broker;
  Client client = client_of(broker);
  const Query made = make_query("echo 1", client);
  const auto first = send_query(client, made);
  const auto second = send_query(client, made, {.want_info = false, .repeatable = false});
  ASSERT_TRUE(first && second);
  broker.read_requests();
  ASSERT_EQ(broker.received.size(), 2U);
  EXPECT_EQ(broker.received[1].head.flags, 0);
  broker.answer(second.value(), kdb::encode(Value::long_atom(2)));
  broker.answer(first.value(), kdb::encode(Value::long_atom(1)));
  std::vector<Value> results;
  const std::size_t handled = client.poll_each(
      [&](const Reply& reply) { results.push_back(answer_of(reply).value().result); });
  EXPECT_EQ(handled, 2U);
  EXPECT_EQ(results, (std::vector<Value>{Value::long_atom(2), Value::long_atom(1)}));
}

}  // namespace
}  // namespace mserve
