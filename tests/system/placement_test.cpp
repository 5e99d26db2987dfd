// SPDX-License-Identifier: Apache-2.0
// What --rule, --sticky and priorities do to who runs what, with a real broker.
#include <gtest/gtest.h>

#include <csignal>
#include <fstream>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "support/requests.hpp"
#include "system/gateway_setup.hpp"

namespace mserve::test {
namespace {

/// A broker with servants that this test starts, each with tags of its own.
class PlacingBroker : public Broker {
 public:
  PlacingBroker(std::vector<std::string> args,
                const std::vector<std::vector<std::string>>& servants)
      : Broker({.args = std::move(args), .gateway = true}) {
    for (const std::vector<std::string>& args_of : servants) {
      std::vector<std::string> all{"--rows", "1000"};
      all.insert(all.end(), args_of.begin(), args_of.end());
      servants_.push_back(spawn_servant("s" + std::to_string(servants_.size()), all));
      wait_for_counter("servants", servants_.size());
    }
  }
  Process& servant(std::size_t at) { return servants_[at]; }

 private:
  std::vector<Process> servants_;
};

std::string servant_in(const Value& info) {
  const auto servant = info.find("qsvr");
  return servant ? std::string(servant->text_view().value_or("")) : std::string();
}

/// The servants that ran `count` queries of a kdb+ client, one after the other.
std::set<std::string> ran_for(const Broker& broker, const std::string& user,
                              const std::string& query, int count = 6) {
  RawClient client = RawClient::tcp(broker.port());
  EXPECT_EQ(client.handshake(user + ":pw", 3), 3);
  std::set<std::string> servants;
  for (int i = 0; i < count; ++i) {
    EXPECT_TRUE(client.send(list({Value::int_atom(1), text(query)}), MessageKind::async));
    const auto answer = client.receive();
    if (!answer || answer->value.count() != 3) {
      ADD_FAILURE() << "no answer with an info dictionary";
      break;
    }
    servants.insert(servant_in(answer->value.at(2)));
  }
  return servants;
}

/// The same for a client on rings.
std::set<std::string> ran_on_rings(const Broker& broker, const std::string& user,
                                   const std::string& query, int count = 6) {
  Client client = broker.client({.user = user});
  std::set<std::string> servants;
  for (int i = 0; i < count; ++i) {
    const auto answer = mserve::query(client, query, {}, watchdog());
    EXPECT_TRUE(answer);
    servants.insert(answer ? servant_in(answer.value().info) : std::string());
  }
  return servants;
}

using Names = std::set<std::string>;

TEST(Placement, FunctionsAndUsersGoWhereTheRulesSay) {
  const PlacingBroker broker(
      {"--policy", "even", "--rule", "fn=proc1 user=ken -> zone=b", "--rule",
       "fn=proc1 -> group=hdb"},
      {{"--group", "hdb", "--tags", "zone=a"}, {"--group", "hdb", "--tags", "zone=b,gpu"}, {}});
  for (const auto& ran : {ran_for, ran_on_rings}) {
    EXPECT_EQ(ran(broker, "arthur", "proc1 `IBM", 6), (Names{"s0", "s1"}));
    EXPECT_EQ(ran(broker, "ken", "proc1 `IBM", 6), Names{"s1"});
    EXPECT_EQ(ran(broker, "ken", "echo 1", 6), (Names{"s0", "s1", "s2"}));
  }
}

/// Which servants run what is too large to be gathered, and so streams.
TEST(Placement, LargeRequestsGoWhereTheRulesSayToo) {
  const PlacingBroker broker({"--policy", "even", "--gather-max", "64k", "--rule",
                              "user=ken -> zone=b", "--rule", "fn=echo -> group=hdb"},
                             {{"--group", "hdb"}, {"--tags", "zone=b"}, {}});
  const Value large =
      list({Value::symbol("echo"), Value::bytes(std::vector<std::uint8_t>(300'000))});
  const std::vector<std::byte> object = kdb::encode(large);
  for (const auto& [user, wanted] : {std::pair("arthur", "s0"), std::pair("ken", "s1")}) {
    RawClient over_tcp = RawClient::tcp(broker.port());
    ASSERT_EQ(over_tcp.handshake(std::string(user) + ":pw", 3), 3);
    Client on_rings = broker.client({.user = user});
    for (int i = 0; i < 3; ++i) {
      ASSERT_TRUE(over_tcp.send(list({Value::int_atom(1), large}), MessageKind::async));
      const auto answer = over_tcp.receive();
      ASSERT_TRUE(answer && answer->value.count() == 3) << user;
      EXPECT_EQ(servant_in(answer->value.at(2)), wanted) << user;
      const auto reply =
          on_rings.call(object, placed(object, on_rings, {.want_info = true}), watchdog());
      ASSERT_TRUE(reply) << user;
      EXPECT_EQ(servant_in(answer_of(*reply.value()).value().info), wanted) << user;
    }
  }
}

TEST(Placement, WithoutServantsOfItsOwnARequestGoesToTheFallback) {
  PlacingBroker broker({"--policy", "even", "--rule", "fn=proc1 -> group=hdb else !group=hdb",
                        "--rule", "fn=proc2 -> group=nobody"},
                       {{"--group", "hdb"}, {}});
  EXPECT_EQ(ran_for(broker, "ken", "proc1 `IBM"), Names{"s0"});
  ASSERT_EQ(::kill(broker.servant(0).pid(), SIGTERM), 0);
  EXPECT_EQ(broker.servant(0).wait(), 0);
  broker.wait_for_counter("servants", 1);
  EXPECT_EQ(ran_for(broker, "ken", "proc1 `IBM"), Names{"s1"});
  Client client = broker.client();
  const auto answer = mserve::query(client, "proc2 `IBM", {}, watchdog());
  EXPECT_EQ(answer.error().code, Errc::no_servant);
}

TEST(Placement, WhatNoLaunchedServantCanRunFailsAtOnceAndTheRestWaitsForTheirRestart) {
  BrokerSetup setup;
  setup.args = {"--rule", "fn=proc1 -> group=hdb", "--rule", "fn=proc2 -> group=nobody"};
  setup.servants = 1;
  setup.servant_args = "--rows 1000 --group hdb";
  const Broker broker(setup);
  Client client = broker.client();
  EXPECT_EQ(mserve::query(client, "proc2 `IBM", {}, watchdog()).error().code, Errc::no_servant);
  ASSERT_EQ(::kill(broker.launched().front(), SIGKILL), 0);
  broker.wait_for_counter("servants", 0);
  EXPECT_EQ(mserve::query(client, "proc2 `IBM", {}, watchdog()).error().code, Errc::no_servant);
  EXPECT_TRUE(mserve::query(client, "proc1 `IBM", {}, watchdog()));
}

TEST(Placement, ACanaryServesTheSameUsersEveryTime) {
  const PlacingBroker broker(
      {"--policy", "even", "--rule", "share=30% -> version=canary else !version=canary", "--rule",
       "-> !version=canary"},
      {{"--tags", "version=canary"}, {}});
  std::map<std::string, Names> first;
  int canaries = 0;
  for (int i = 0; i < 20; ++i) {
    const std::string user = "user" + std::to_string(i);
    first[user] = ran_for(broker, user, "proc1 `IBM", 3);
    EXPECT_EQ(first[user].size(), 1U) << user;
    canaries += first[user] == Names{"s0"};
  }
  EXPECT_GT(canaries, 0);
  EXPECT_LT(canaries, 20);
  for (const auto& [user, servants] : first) {
    EXPECT_EQ(ran_on_rings(broker, user, "echo 2", 2), servants) << user;
  }
}

TEST(Placement, RulesChangeWhileTheBrokerRuns) {
  const TempDir dir;
  const std::string file = dir.path() + "/mserve.toml";
  std::ofstream(file) << "policy = \"even\"\n";
  PlacingBroker broker({"--config", file}, {{"--group", "hdb"}, {}});
  EXPECT_EQ(ran_for(broker, "ken", "proc1 `IBM"), (Names{"s0", "s1"}));
  std::ofstream(file) << "policy = \"even\"\nrule = [\"fn=proc1 -> group=hdb\", \"-> any\"]\n";
  ASSERT_EQ(::kill(broker.pid(), SIGHUP), 0);
  EXPECT_NE(broker.wait_for_log("reloaded").find("rule="), std::string::npos);
  // The data thread hears of it a moment later.
  EXPECT_TRUE(wait_until([&] { return ran_for(broker, "ken", "proc1 `IBM") == Names{"s0"}; },
                         "proc1 to stay on the servants of its group"));
  EXPECT_EQ(ran_for(broker, "ken", "echo 1"), (Names{"s0", "s1"}));
  std::ofstream(file) << "policy = \"even\"\nrule = \"fn=proc1 group=hdb\"\n";
  ASSERT_EQ(::kill(broker.pid(), SIGHUP), 0);
  EXPECT_NE(broker.wait_for_log("reload_refused").find(file + ":2: --rule"), std::string::npos);
  EXPECT_EQ(ran_for(broker, "ken", "proc1 `IBM"), Names{"s0"});
}

TEST(Sticky, AConnectionStaysOnItsServant) {
  PlacingBroker broker({"--policy", "even", "--sticky"}, {{}, {}, {}});
  Names all;
  for (int i = 0; i < 3; ++i) {
    RawClient client = RawClient::tcp(broker.port());
    ASSERT_EQ(client.handshake("ken:pw", 3), 3);
    Names servants;
    // Many at once: all wait for the same one, and come back in order.
    for (int at = 0; at < 20; ++at) {
      EXPECT_TRUE(client.send(list({Value::int_atom(at), text("proc1 `IBM")}), MessageKind::async));
    }
    for (int at = 0; at < 20; ++at) {
      const auto answer = client.receive();
      ASSERT_TRUE(answer && answer->value.count() == 3);
      EXPECT_EQ(answer->value.at(0), Value::int_atom(at));
      servants.insert(servant_in(answer->value.at(2)));
    }
    EXPECT_EQ(servants.size(), 1U);
    const Names rings = ran_on_rings(broker, "ken", "echo 1");
    EXPECT_EQ(rings.size(), 1U);
    all.insert(servants.begin(), servants.end());
    all.insert(rings.begin(), rings.end());
  }
  EXPECT_GT(all.size(), 1U);
}

TEST(Priority, UrgentRequestsGoFirst) {
  // One servant that takes its time; what waits behind it goes by priority.
  const PlacingBroker broker({"--policy", "orig"}, {{}});
  RawClient client = RawClient::tcp(broker.port());
  ASSERT_EQ(client.handshake("ken:pw", 3), 3);
  const auto send = [&](int id, std::int64_t priority) {
    const Value options = Value::dict(Value::symbols({"priority"}), Value::longs({priority}));
    EXPECT_TRUE(
        client.send(list({Value::int_atom(id), text("proc2 `IBM"), options}), MessageKind::async));
  };
  for (int id = 0; id < 64; ++id) {
    send(id, 0);
  }
  send(100, 3);
  int before = 0;
  for (;;) {
    const auto answer = client.receive();
    ASSERT_TRUE(answer && answer->value.count() >= 2);
    if (answer->value.at(0) == Value::int_atom(100)) {
      break;
    }
    ++before;
  }
  EXPECT_LT(before, 64);
}

}  // namespace
}  // namespace mserve::test
