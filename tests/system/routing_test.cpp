// SPDX-License-Identifier: Apache-2.0
// What --route does to who runs what: kdb+ clients, and the library's, which is told the rule.
#include <gtest/gtest.h>
#include <pwd.h>
#include <unistd.h>

#include <set>

#include "support/requests.hpp"
#include "system/gateway_setup.hpp"

namespace mserve::test {
namespace {

/// Who ran a request, and by which route.
struct Ran {
  std::string route;  // first: sets are in its order
  std::string servant;
  friend auto operator<=>(const Ran&, const Ran&) = default;
};

Ran ran_of(const Value& info) {
  const auto servant = info.find("qsvr");
  const auto route = info.find("route");
  EXPECT_TRUE(servant && route);
  return servant && route
             ? Ran{std::string(*route->text_view()), std::string(*servant->text_view())}
             : Ran{};
}

/// Two servants that each keep what they got: nobody else takes a request while they are busy.
class RoutedBroker : public Broker {
 public:
  explicit RoutedBroker(const std::string& rule)
      : Broker(with_gateway({"--route", rule, "--policy", "match", "--match-wait", "inf",
                             "--route-expire", "inf"})) {
    wait_for_counter("servants", 2);  // the data thread knows both a moment after they attached
  }
};

RawClient client_of(const Broker& broker, const std::string& user) {
  RawClient client = RawClient::tcp(broker.port());
  EXPECT_EQ(client.handshake(user + ":pw", 3), 3);
  return client;
}

/// Asks as LBT's clients do.
Ran run_query(RawClient& client, const std::string& query, const Value& options = Value()) {
  std::vector<Value> message{Value::int_atom(1), text(query)};
  if (!options.is_null()) {
    message.push_back(options);
  }
  EXPECT_TRUE(client.send(list(std::move(message)), MessageKind::async));
  const auto answer = client.receive();
  EXPECT_TRUE(answer && answer->value.count() == 3);
  return answer ? ran_of(answer->value.at(2)) : Ran{};
}

TEST(Routing, FunctionsSettleOnServants) {
  const RoutedBroker broker("fn");
  RawClient client = client_of(broker, "bob");
  std::set<Ran> seen;
  for (int i = 0; i < 6; ++i) {
    seen.insert(run_query(client, "echo " + std::to_string(i)));
    seen.insert(run_query(client, i % 2 == 0 ? "proc1 `IBM" : "proc1 `GS"));
  }
  ASSERT_EQ(seen.size(), 2U) << "one servant for each function, whatever the argument";
  EXPECT_NE(seen.begin()->servant, seen.rbegin()->servant);
  EXPECT_NE(seen.begin()->route, seen.rbegin()->route);
}

TEST(Routing, UsersSettleOnServants) {
  const RoutedBroker broker("user");
  RawClient bob = client_of(broker, "bob");
  RawClient eve = client_of(broker, "eve");
  std::set<Ran> seen;
  for (int i = 0; i < 6; ++i) {
    seen.insert(run_query(bob, "echo 1"));
    seen.insert(run_query(eve, "echo 1"));
  }
  ASSERT_EQ(seen.size(), 2U);
  EXPECT_NE(seen.begin()->servant, seen.rbegin()->servant);
  EXPECT_EQ(seen.begin()->route, "bob");
  EXPECT_EQ(seen.rbegin()->route, "eve");
}

TEST(Routing, AnOptionOfLbtSettlesOnAServant) {
  const RoutedBroker broker("option:desk");
  RawClient client = client_of(broker, "bob");
  const auto options = [](const char* desk) {
    return Value::dict(Value::symbols({"desk", "x"}), Value::symbols({desk, "y"}));
  };
  std::set<Ran> seen;
  for (int i = 0; i < 6; ++i) {
    seen.insert(run_query(client, "echo " + std::to_string(i), options("rates")));
    seen.insert(run_query(client, "echo " + std::to_string(i), options("fx")));
  }
  ASSERT_EQ(seen.size(), 2U);
  EXPECT_NE(seen.begin()->servant, seen.rbegin()->servant);
  EXPECT_EQ(run_query(client, "echo 1").route, "");
}

TEST(Routing, OneForEverythingKeepsOneServantBusy) {
  const RoutedBroker broker("const");
  RawClient bob = client_of(broker, "bob");
  Client library = broker.client();
  std::set<Ran> seen;
  for (int i = 0; i < 4; ++i) {
    seen.insert(run_query(bob, "echo " + std::to_string(i)));
    const auto answer = query(library, "proc1 `IBM", {}, watchdog());
    ASSERT_TRUE(answer);
    seen.insert(ran_of(answer.value().info));
  }
  EXPECT_EQ(seen.size(), 1U);
}

TEST(Routing, ClientsOnRingsLearnTheRuleAndAgreeWithTheGateway) {
  const RoutedBroker broker("fn+arg:1");
  RawClient client = client_of(broker, "bob");
  Client library = broker.client();
  EXPECT_EQ(library.session().route_rule, "fn+arg:1");
  std::set<Ran> seen;
  for (int i = 0; i < 3; ++i) {
    for (const char* const q : {"echo `IBM", "proc1 `IBM"}) {
      const auto answer = query(library, q, {}, watchdog());
      ASSERT_TRUE(answer);
      seen.insert(ran_of(answer.value().info));
      seen.insert(run_query(client, q));
    }
  }
  ASSERT_EQ(seen.size(), 2U);
  EXPECT_NE(seen.begin()->servant, seen.rbegin()->servant);
  EXPECT_EQ(seen.begin()->route, "echo IBM");
  EXPECT_EQ(seen.rbegin()->route, "proc1 IBM");
}

TEST(Routing, TheUserOfARingIsWhoeverTheSystemSaysUnlessTheProgramDoes) {
  const passwd* const entry = ::getpwuid(::geteuid());
  if (entry == nullptr) {
    GTEST_SKIP() << "this user has no name";
  }
  const std::string name = entry->pw_name;
  const RoutedBroker broker("user");
  Client library = broker.client();
  EXPECT_EQ(library.user(), name);
  RawClient same = client_of(broker, name);
  RawClient other = client_of(broker, name + "2");
  const auto mine = query(library, "echo 1", {}, watchdog());
  ASSERT_TRUE(mine);
  EXPECT_EQ(ran_of(mine.value().info), run_query(same, "echo 1"));
  const Ran others = run_query(other, "echo 1");
  EXPECT_NE(ran_of(mine.value().info).servant, others.servant);
  ClientOptions options;
  options.directory = broker.directory();
  options.broker = broker.name();
  options.user = name + "2";
  auto as_other = Client::connect(options);
  ASSERT_TRUE(as_other);
  const auto theirs = query(as_other.value(), "echo 1", {}, watchdog());
  ASSERT_TRUE(theirs);
  EXPECT_EQ(ran_of(theirs.value().info), others);
}

TEST(Routing, AProgramMaySayItsOwn) {
  const RoutedBroker broker("const");
  Client library = broker.client();
  std::set<Ran> seen;
  for (int i = 0; i < 4; ++i) {
    for (const char* const route : {"left", "right"}) {
      const auto answer = query(library, "echo 1", {.route = route}, watchdog());
      ASSERT_TRUE(answer);
      seen.insert(ran_of(answer.value().info));
    }
  }
  ASSERT_EQ(seen.size(), 2U);
  EXPECT_NE(seen.begin()->servant, seen.rbegin()->servant);
}

}  // namespace
}  // namespace mserve::test
