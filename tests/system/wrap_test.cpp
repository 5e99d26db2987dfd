// SPDX-License-Identifier: Apache-2.0
// --wrap: who asks stands in front of what is asked, all the way to q.
#include <gtest/gtest.h>

#include <fstream>

#include "mserve/client/query.hpp"
#include "support/requests.hpp"
#include "support/temp_dir.hpp"
#include "system/way_setup.hpp"

namespace mserve::test {
namespace {

/// A broker that wraps, and one q behind it.
struct Wrapping {
  Wrapping(const std::string& function, StandinOptions options, std::vector<std::string> args = {})
      : broker(with_gateway(
            [&] {
              args.insert(args.end(), {"--wrap", function, "--stall-timeout", "60s"});
              return args;
            }(),
            0)),
        served(broker, std::move(options)) {
    broker.wait_for_counter("servants", 1);
  }
  [[nodiscard]] RawClient login(std::string_view user) const {
    RawClient client = RawClient::tcp(broker.port());
    EXPECT_TRUE(client.handshake(user));
    return client;
  }

  Broker broker;
  ServedQ served;
};

class Wrap : public OfEveryForm {};

TEST_P(Wrap, EachWayToAskTellsQWhoAsksWhat) {
  const Wrapping way("asked", q_of_this_form());
  for (const Value& query : {text("echo 42"), call("echo", Value::long_atom(42)),
                             call("echo", list({Value::long_atom(1), Value::symbol("a")}))}) {
    for (const Ask ask : kEveryAsk) {
      // A new connection each time: what one has asked before decides what (text; symbol) is.
      RawClient client = way.login("bob:pw");
      ASSERT_TRUE(client.send_bytes(message_of(ask, query)));
      const auto answer = client.receive();
      ASSERT_TRUE(answer) << name_of(ask);
      EXPECT_EQ(result_in(ask, *answer), list({Value::symbol("bob"), query})) << name_of(ask);
    }
  }
}

TEST_P(Wrap, QDecidesByTheUser) {
  const Wrapping way("entitled", q_of_this_form());
  RawClient bob = way.login("bob:pw");
  RawClient eve = way.login("eve:pw");
  EXPECT_EQ(bob.query(text("echo 42")), Value::long_atom(42));
  const bool plain = GetParam() == Form::plain;
  EXPECT_EQ(eve.query(text("echo 42")),
            plain ? Value::error("access") : text("Error: entitled access"));
  EXPECT_EQ(bob.query(call("echo", Value::symbol("a"))), Value::symbol("a"));
}

TEST_P(Wrap, OptionsStayBehindTheQuery) {
  const Wrapping way("entitled", q_of_this_form());
  RawClient client = way.login("bob:pw");
  const Value options = Value::dict(Value::symbols({"a"}), Value::longs({1}));
  ASSERT_TRUE(
      client.send(list({Value::int_atom(7), text("options[]"), options}), MessageKind::async));
  const auto answer = client.receive();
  ASSERT_TRUE(answer);
  // A plain q has no place for them.
  EXPECT_EQ(result_in(Ask::lbt, *answer), GetParam() == Form::plain ? Value::null() : options);
}

TEST_P(Wrap, LargeQueriesStreamThroughWithIt) {
  const Wrapping way("asked", q_of_this_form());
  RawClient client = way.login("bob:pw");
  const Value query = call("echo", text(std::string(3 << 20, 'x')));
  EXPECT_EQ(client.query(query), list({Value::symbol("bob"), query}));
  EXPECT_GT(way.broker.counter("fragments_in").value_or(0), 0U);
  EXPECT_EQ(client.query(text("echo 1")), list({Value::symbol("bob"), text("echo 1")}));
}

INSTANTIATE_TEST_SUITE_P(Forms, Wrap, ::testing::Values(Form::plain, Form::lbt), form_name);

TEST(WrapAlone, AUsersNameThatIsLongerThanAFragmentGoesWhole) {
  // Rings so small that no fragment takes the name: the query is gathered instead of streaming.
  const Wrapping way("asked", {},
                     {"--servant-ring", "4096", "--client-ring", "4096", "--gather-max", "1k",
                      "--retain-max", "0"});
  const std::string user(1500, 'u');
  RawClient client = way.login(user + ":pw");
  const Value query = text(std::string(100'000, 'x'));
  EXPECT_EQ(client.query(query), list({Value::symbol(user), query}));
}

TEST(WrapAlone, WhatARoleAllowsIsWrappedAndNothingElseGetsThrough) {
  const TempDir dir;
  // yescrypt takes its time; SHA-1 of "pw" as LBT writes it.
  std::ofstream(dir.file("users.csv"))
      << "user|password|role\nken|1a91d62f7ca67399625a4368a6ab5d4a3baa6073|user\n";
  std::ofstream(dir.file("roles.csv")) << "role|fn\nuser|echo\n";
  const Wrapping way("asked", {},
                     {"--users", dir.file("users.csv"), "--roles", dir.file("roles.csv")});
  RawClient client = way.login("ken:pw");
  const Value encoded_anew = call("echo", Value::long_atom(42));
  EXPECT_EQ(client.query(text("echo 42")), list({Value::symbol("ken"), encoded_anew}));
  EXPECT_EQ(client.query(text("asked[`eve;1]")), Value::error("unknown command: `asked"));
}

TEST(WrapAlone, ClientsOnRingsAreNotWrapped) {
  const Wrapping way("entitled", {});
  Client client = way.broker.client();
  auto answer = query(client, "echo 42", {}, watchdog());
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer.value().result, Value::long_atom(42));
}

}  // namespace
}  // namespace mserve::test
