// SPDX-License-Identifier: Apache-2.0
// q dies, is killed, stops, comes back; the broker too. Each request ends once.
#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>

#include "mserve/kdb/codec.hpp"
#include "standin/standin.hpp"
#include "support/requests.hpp"
#include "support/shim_process.hpp"

namespace mserve::test {
namespace {

using kdb::Value;

/// The end of one query that is not to be repeated: its value, or the status as an error.
Value ask_once(Client& client, const std::string& text) {
  QueryOptions options;
  options.repeatable = false;
  const auto answer = query(client, text, options, watchdog());
  return answer ? answer.value().result : Value::error(to_string(answer.error().code));
}

/// A q that was killed is started again on its port, and serves.
void expect_next_q_serves(const Broker& broker, Client& client, std::uint16_t port,
                          std::vector<std::string> args) {
  broker.wait_for_counter("servants", 0);
  const StandinProcess again(std::move(args), port);
  broker.wait_for_counter("servants", 1);
  EXPECT_EQ(ask_once(client, "echo 42"), Value::long_atom(42));
}

class ShimDeath : public ::testing::TestWithParam<const char*> {};

TEST_P(ShimDeath, BetweenRequests) {
  StandinProcess q({"--form", GetParam()});
  const Broker broker;
  const ShimProcess shim(broker, q.port());
  broker.wait_for_counter("servants", 1);
  Client client = broker.client();
  EXPECT_EQ(ask_once(client, "echo 1"), Value::long_atom(1));
  q.process().end();
  broker.wait_for_counter("servants", 0);
  EXPECT_EQ(ask_once(client, "echo 2"), Value::error(to_string(Errc::no_servant)));
  expect_next_q_serves(broker, client, q.port(), {"--form", GetParam()});
}

TEST_P(ShimDeath, OnAQuery) {
  const StandinProcess q({"--form", GetParam(), "--die", "on-query"});
  const Broker broker;
  // A plain q takes half of the question that `auto` asks for a query.
  const ShimProcess shim(broker, q.port(), {"--servant-protocol", GetParam()});
  broker.wait_for_counter("servants", 1);
  Client client = broker.client();
  EXPECT_EQ(ask_once(client, "echo 1"), Value::error(to_string(Errc::servant_died)));
  expect_next_q_serves(broker, client, q.port(), {"--form", GetParam()});
}

TEST_P(ShimDeath, InTheMiddleOfASmallReply) {
  const StandinProcess q({"--form", GetParam(), "--die", "mid-reply"});
  const Broker broker;
  const ShimProcess shim(broker, q.port());
  broker.wait_for_counter("servants", 1);
  Client client = broker.client();
  EXPECT_EQ(ask_once(client, "echo 1"), Value::error(to_string(Errc::servant_died)));
  expect_next_q_serves(broker, client, q.port(), {"--form", GetParam()});
}

TEST_P(ShimDeath, InTheMiddleOfALargeReply) {
  const StandinProcess q({"--form", GetParam(), "--die", "mid-reply"});
  const Broker broker;
  const ShimProcess shim(broker, q.port());
  broker.wait_for_counter("servants", 1);
  Client client = broker.client();
  EXPECT_EQ(ask_once(client, "big 20000000"), Value::error(to_string(Errc::servant_died)));
  expect_next_q_serves(broker, client, q.port(), {"--form", GetParam()});
}

TEST_P(ShimDeath, RightBehindAReply) {
  const StandinProcess q({"--form", GetParam(), "--die", "after-reply"});
  const Broker broker;
  const ShimProcess shim(broker, q.port());
  broker.wait_for_counter("servants", 1);
  Client client = broker.client();
  EXPECT_EQ(ask_once(client, "big 5000000").count(), 5'000'000U);
  expect_next_q_serves(broker, client, q.port(), {"--form", GetParam()});
}

TEST_P(ShimDeath, InTheMiddleOfTheHandshake) {
  const StandinProcess q({"--form", GetParam(), "--die", "handshake"});
  const Broker broker;
  const ShimProcess shim(broker, q.port());
  shim.wait_for_log("no q:");
  EXPECT_EQ(broker.counter("servants"), 0U);
  Client client = broker.client();
  expect_next_q_serves(broker, client, q.port(), {"--form", GetParam()});
}

TEST_P(ShimDeath, ARepeatableRequestIsRunByAnotherServant) {
  const StandinProcess dying({"--form", GetParam(), "--die", "on-query"});
  const Broker broker;
  const ShimProcess first(broker, dying.port(), {"--servant-protocol", GetParam()});
  broker.wait_for_counter("servants", 1);
  const StandinProcess living({"--form", GetParam()});
  const ShimProcess second(broker, living.port());
  broker.wait_for_counter("servants", 2);
  Client client = broker.client();
  const auto answer = query(client, "echo 42", {}, watchdog());
  ASSERT_TRUE(answer) << to_string(answer.error().code);
  EXPECT_EQ(answer.value().result, Value::long_atom(42));
  // One more kill of the same kind: the first q is gone, so nothing is left to chance.
  broker.wait_for_counter("servants", 1);
}

INSTANTIATE_TEST_SUITE_P(Forms, ShimDeath, ::testing::Values("plain", "lbt"),
                         [](const auto& form) { return std::string(form.param); });

TEST(ShimLife, AStoppedQThatIsIdleIsGivenUpAndWelcomeBack) {
  StandinProcess q;
  const Broker broker;
  const ShimProcess shim(broker, q.port(), {"--probe", "0.05", "--probe-timeout", "0.05"});
  broker.wait_for_counter("servants", 1);
  q.process().signal(SIGSTOP);
  broker.wait_for_counter("servants", 0);
  EXPECT_EQ(shim.count("idle, and it does not answer"), 1U);
  q.process().signal(SIGCONT);
  broker.wait_for_counter("servants", 1);
  Client client = broker.client();
  EXPECT_EQ(ask_once(client, "echo 42"), Value::long_atom(42));
}

TEST(ShimLife, AQThatFallsSilentInAnAnswerIsGivenUpAndWelcomeBack) {
  StandinProcess q({"--reply", "dribble"});
  const Broker broker;
  const ShimProcess shim(broker, q.port(), {"--probe-timeout", "0.05"});
  broker.wait_for_counter("servants", 1);
  Client client = broker.client();
  QueryOptions once;
  once.repeatable = false;
  const auto id = send_query(client, make_query("big 3000000", ""), once, watchdog());
  ASSERT_TRUE(id);
  ASSERT_TRUE(wait_until([&] { return broker.counter("fragments_out").value_or(0) > 0; },
                         "the answer has begun"));
  q.process().signal(SIGSTOP);
  shim.wait_for_log("silent in the middle of an answer");
  mserve::Reply reply;
  ASSERT_EQ(client.await(id.value(), reply, watchdog()), Errc::ok);
  EXPECT_NE(reply.status, Errc::ok);
  broker.wait_for_counter("servants", 0);
  q.process().signal(SIGCONT);
  broker.wait_for_counter("servants", 1);
  EXPECT_EQ(ask_once(client, "echo 42"), Value::long_atom(42));
}

TEST(ShimLife, AQThatWorksForUsIsNeverSuspected) {
  for (const Form form : {Form::plain, Form::lbt}) {
    StandinOptions options;
    options.form = form;
    Standin q(options);
    q.start();
    const Broker broker;
    const ShimProcess shim(broker, q.port(), {"--probe", "0.01", "--probe-timeout", "0.01"});
    broker.wait_for_counter("servants", 1);
    Client client = broker.client();
    EXPECT_EQ(ask_once(client, "sleep 500"), Value::long_atom(500));
    EXPECT_EQ(shim.count("lost"), 0U) << shim.log();
    // Probes went out while it was idle, and their answers went nowhere.
    (void)wait_until([&] { return q.messages() >= 8; }, "probes");
    EXPECT_EQ(shim.count("warning"), 0U) << shim.log();
    EXPECT_EQ(q.connections(), 1U);
  }
}

TEST(ShimLife, ABrokerThatComesBackIsServedOverTheSameConnection) {
  Standin q;
  q.start();
  Broker broker;
  const ShimProcess shim(broker, q.port());
  broker.wait_for_counter("servants", 1);
  broker.kill();
  shim.wait_for_log("detached");
  broker.start();
  broker.wait_for_counter("servants", 1);
  Client client = broker.client();
  EXPECT_EQ(ask_once(client, "echo 42"), Value::long_atom(42));
  EXPECT_EQ(q.connections(), 1U);
}

TEST(ShimLife, WhatQStillOwesToADeadBrokerIsAwaitedFirst) {
  for (const Form form : {Form::plain, Form::lbt}) {
    StandinOptions options;
    options.form = form;
    Standin q(options);
    q.start();
    Broker broker;
    const ShimProcess shim(broker, q.port());
    broker.wait_for_counter("servants", 1);
    {
      Client client = broker.client();
      q.hold();
      const std::uint64_t before = q.messages();
      const Query made = make_query("echo `old", "");
      ASSERT_TRUE(client.send(made.object, {}, watchdog()));
      (void)wait_until([&] { return q.messages() > before; }, "q to have the query");
      broker.kill();
    }
    shim.wait_for_log("detached");
    broker.start();
    let_pass(100'000'000);  // it is busy with what nobody wants: nobody is to wait for it
    EXPECT_EQ(broker.counter("servants"), 0U);
    q.release();
    broker.wait_for_counter("servants", 1);
    Client client = broker.client();
    EXPECT_EQ(ask_once(client, "echo `new"), Value::symbol("new"));
    EXPECT_EQ(q.connections(), 1U);
  }
}

TEST(ShimLife, AKilledShimIsADeadServant) {
  Standin q;
  q.start();
  const Broker broker;
  ShimProcess shim(broker, q.port());
  broker.wait_for_counter("servants", 1);
  Client client = broker.client();
  q.hold();
  const std::uint64_t before = q.messages();
  const Query made = make_query("echo 1", "");
  const auto id = client.send(made.object, {}, watchdog());
  ASSERT_TRUE(id);
  (void)wait_until([&] { return q.messages() > before; }, "q to have the query");
  shim.process().end();
  EXPECT_EQ(await(client, id.value()).status, Errc::servant_died);
  q.release();
}

}  // namespace
}  // namespace mserve::test
