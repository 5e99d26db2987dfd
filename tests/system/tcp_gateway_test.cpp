// SPDX-License-Identifier: Apache-2.0
// The client library through a real broker's gateway, beside the same library through its rings.
#include <gtest/gtest.h>

#include <array>
#include <string>
#include <vector>

#include "mserve/client/query.hpp"
#include "mserve/kdb/codec.hpp"
#include "support/broker_process.hpp"
#include "support/raw_peer.hpp"
#include "support/test_gateway.hpp"
#include "support/wait.hpp"

namespace mserve::test {
namespace {

using kdb::Value;

BrokerSetup with_tcp(int servants, std::vector<std::string> args = {}) {
  BrokerSetup setup;
  setup.servants = servants;
  setup.args = std::move(args);
  setup.args.insert(setup.args.end(), {"-p", "0W"});
  return setup;
}

std::string endpoint_of(const Broker& broker) {
  return "tcp://127.0.0.1:" + field_of(broker.wait_for_log("gateway port="), "port");
}

Client tcp_client(const Broker& broker, ClientOptions options = {}) {
  options.broker = endpoint_of(broker);
  std::string reason;
  auto client = Client::connect(options, &reason);
  EXPECT_TRUE(client) << reason;
  return std::move(client).value();
}

/// A broker with two servants, and a client by each way.
struct BothWays {
  explicit BothWays(BrokerSetup setup)
      : broker(std::move(setup)), ways{broker.client(), tcp_client(broker)} {}
  Broker broker;
  std::array<Client, 2> ways;  // rings, TCP
};

TEST(TcpGateway, QueriesHaveTheSameResultsAsThroughRings) {
  BothWays both(with_tcp(1));
  for (const char* text : {"proc1 `IBM", "proc1 `IBM`GS", "proc2 `GOOG", "echo 1 2 3", "echo `a`b",
                           "echo \"text\"", "echo ()", "echo 2024.01.02"}) {
    std::vector<Answer> answers;
    for (Client& client : both.ways) {
      auto answer = query(client, text, {}, watchdog());
      ASSERT_TRUE(answer) << text << ": " << to_string(answer.error().code);
      answers.push_back(std::move(answer).value());
    }
    EXPECT_FALSE(answers[0].is_error()) << text;
    EXPECT_EQ(answers[0].result, answers[1].result) << text;
    EXPECT_EQ(answers[0].info.keys(), answers[1].info.keys()) << text;
    for (const char* const key : {"qsvr", "route", "backlog", "remaining"}) {
      EXPECT_EQ(answers[0].info.find(key), answers[1].info.find(key)) << text << ' ' << key;
    }
    for (std::size_t i = 0; i < answers[0].info.values().count(); ++i) {
      EXPECT_EQ(answers[0].info.at(i).type_code(), answers[1].info.at(i).type_code()) << i;
    }
  }
}

TEST(TcpGateway, ErrorsAreTheSameAsThroughRings) {
  BothWays both(with_tcp(1));
  for (const char* text : {"system \"ls\"", "proc1 proc2 `IBM", "", "1+1"}) {
    std::vector<Answer> answers;
    for (Client& client : both.ways) {
      auto answer = query(client, text, {}, watchdog());
      ASSERT_TRUE(answer) << text << ": " << to_string(answer.error().code);
      answers.push_back(std::move(answer).value());
    }
    EXPECT_TRUE(answers[0].is_error()) << text;
    EXPECT_EQ(answers[0].result, answers[1].result) << text;
  }
}

TEST(TcpGateway, StatusesOfTheBrokerAreTheSameAsThroughRings) {
  BothWays both(with_tcp(0));
  for (Client& client : both.ways) {
    EXPECT_EQ(query(client, "proc1 `IBM", {}, watchdog()).error().code, Errc::no_servant);
  }
  for (Client& client : both.ways) {
    both.broker.wait_for_counter("servants", 0);
    RawPeer servant = raw_servant(both.broker, "dies");
    both.broker.wait_for_counter("servants", 1);
    ASSERT_TRUE(send_query(client, make_query("proc1 `IBM", ""), {}, watchdog()));
    ASSERT_TRUE(servant.take());
    servant.vanish();
    mserve::Reply reply;
    ASSERT_EQ(client.wait(watchdog()), Errc::ok);
    ASSERT_EQ(client.poll(reply), Errc::ok);
    EXPECT_EQ(reply.status, Errc::no_servant) << "nobody is left to run it again";
  }
}

TEST(TcpGateway, LargeMessagesPassBothWays) {
  BothWays both(with_tcp(1));
  std::vector<std::int64_t> numbers(1'000'000);
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    numbers[i] = static_cast<std::int64_t>(i * 0x9e3779b97f4a7c15U);
  }
  const Value large = Value::longs(numbers);
  const std::vector<Value> arguments = {large};
  const auto request = kdb::encode_call("echo", arguments);
  for (Client& client : both.ways) {
    const auto reply = client.call(request, {.want_info = true}, watchdog());
    ASSERT_TRUE(reply) << to_string(reply.error().code) << ' ' << client.last_failure();
    EXPECT_EQ(reply.value()->status, Errc::ok);
    EXPECT_TRUE(std::ranges::equal(reply.value()->payload, kdb::encode(large)));
    ASSERT_TRUE(reply.value()->info);
    EXPECT_NE(reply.value()->info->servant[0], '\0');
  }
}

TEST(TcpGateway, ManyRequestsInFlightAreEachAnsweredOnce) {
  BothWays both(with_tcp(2));
  constexpr std::int64_t kRequests = 2000;
  for (Client& client : both.ways) {
    std::map<std::uint64_t, std::int64_t> sent;
    for (std::int64_t i = 0; i < kRequests; ++i) {
      const std::vector<Value> arguments = {Value::long_atom(i)};
      const auto id = client.send(kdb::encode_call("echo", arguments), {}, watchdog());
      ASSERT_TRUE(id) << to_string(id.error().code);
      sent.emplace(id.value(), i);
    }
    while (!sent.empty()) {
      mserve::Reply reply;
      ASSERT_EQ(client.wait(watchdog()), Errc::ok);
      ASSERT_EQ(client.poll(reply), Errc::ok);
      ASSERT_EQ(sent.count(reply.id), 1U);
      ASSERT_EQ(reply.status, Errc::ok) << to_string(reply.status);
      EXPECT_EQ(kdb::decode(reply.payload).value(), Value::long_atom(sent[reply.id]));
      sent.erase(reply.id);
    }
  }
}

TEST(TcpGateway, CommandLineShowsTheSameByBothWays) {
  const Broker broker(with_tcp(1));
  const auto shown = [&](const std::string& name) {
    return run_to_end({program("mserve-client"), "-q", "--console", "40", "200", "--dir",
                       broker.directory(), "--name", name, "proc1 `IBM`GS"});
  };
  const Output rings = shown(broker.name());
  const Output tcp = shown(endpoint_of(broker));
  EXPECT_EQ(rings.exit_code, 0) << rings.err;
  EXPECT_EQ(tcp.exit_code, 0) << tcp.err;
  EXPECT_NE(tcp.out.find("VWAP"), std::string::npos) << tcp.out;
  EXPECT_EQ(tcp.out, rings.out);
}

TEST(TcpGateway, WhatMustNotRunTwiceDoesNot) {
  const Broker broker(with_tcp(0));
  RawPeer servant = raw_servant(broker, "dies");
  broker.wait_for_counter("servants", 1);
  Client client = tcp_client(broker);
  ASSERT_TRUE(send_query(client, make_query("echo 1", ""), {.repeatable = false}, watchdog()));
  ASSERT_TRUE(servant.take());
  const RawPeer heir = raw_servant(broker, "heir");
  broker.wait_for_counter("servants", 2);
  servant.vanish();
  mserve::Reply reply;
  ASSERT_EQ(client.wait(watchdog()), Errc::ok);
  ASSERT_EQ(client.poll(reply), Errc::ok);
  EXPECT_EQ(reply.status, Errc::servant_died);
}

// A gateway is killed under a request; the next one in the list answers it.
TEST(TcpGateway, ARepeatableRequestSurvivesItsGateway) {
  Broker first(with_tcp(0));
  RawPeer servant = raw_servant(first, "holds");
  const Broker second(with_tcp(1));
  ClientOptions options;
  options.broker = endpoint_of(first) + "," + endpoint_of(second);
  auto client = Client::connect(options);
  ASSERT_TRUE(client);
  EXPECT_EQ(client.value().endpoint(), endpoint_of(first));
  const auto sent = send_query(client.value(), make_query("echo 42", ""), {}, watchdog());
  ASSERT_TRUE(sent);
  ASSERT_TRUE(servant.take());
  first.kill();
  mserve::Reply reply;
  ASSERT_EQ(client.value().await(sent.value(), reply, watchdog()), Errc::ok);
  const auto answer = answer_of(reply);
  ASSERT_TRUE(answer) << to_string(answer.error().code);
  EXPECT_EQ(answer.value().result, Value::long_atom(42));
  EXPECT_EQ(client.value().endpoint(), endpoint_of(second));
}

}  // namespace
}  // namespace mserve::test
