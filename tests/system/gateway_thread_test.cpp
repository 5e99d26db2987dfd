// SPDX-License-Identifier: Apache-2.0
// kdb+ clients served by a thread of their own, or by the one that runs the data plane: nobody sees
// which, with any idle strategy.
#include <gtest/gtest.h>

#include <thread>

#include "mserve/client/query.hpp"
#include "support/process.hpp"
#include "system/gateway_setup.hpp"

namespace mserve::test {
namespace {

struct ThreadAndIdle {
  const char* thread;
  const char* idle;
};

class GatewayThread : public ::testing::TestWithParam<ThreadAndIdle> {
 protected:
  static BrokerSetup setup() {
    return with_gateway(
        {"--gateway-thread", GetParam().thread, "--idle", GetParam().idle, "--cool", "1ms"});
  }
};

TEST_P(GatewayThread, CarriesQueriesOfKdbClientsAndOfTheLibraryAtOnce) {
  const Broker broker(setup());
  EXPECT_EQ(field_of(broker.wait_for_log("gateway port="), "thread"), GetParam().thread);
  // It asks until the others are done: neither side may have to wait for the other to fall silent.
  const std::jthread library([&broker](const std::stop_token& done) {
    Client client = broker.client();
    for (int i = 0; !done.stop_requested() && !HasFailure(); ++i) {
      const auto answer = query(client, "echo " + std::to_string(i));
      ASSERT_TRUE(answer);
      EXPECT_EQ(answer.value().result, Value::long_atom(i));
    }
  });
  RawClient one = connect(broker);
  RawClient two = connect(broker);
  for (int i = 0; i < 50; ++i) {
    EXPECT_EQ(one.query("echo " + std::to_string(i)), Value::long_atom(i));
    ASSERT_TRUE(two.send(list({Value::int_atom(i), text("echo `a")}), MessageKind::async));
    const auto answer = two.receive();
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->value.at(0), Value::int_atom(i));
  }
  const Value large = text(std::string(3U << 20, 'x'));
  EXPECT_EQ(one.query(list({Value::symbol("echo"), large})), large);
}

TEST_P(GatewayThread, WakesForASingleQueryAgainAndAgain) {
  if (std::string(GetParam().idle) == "yield") {
    GTEST_SKIP() << "a thread that yields never sleeps";
  }
  const Broker broker(setup());
  RawClient kdb = connect(broker);
  Client library = broker.client();
  for (int i = 0; i < 10; ++i) {
    const std::uint64_t sleeps = broker.counter("sleeps").value_or(0);
    ASSERT_TRUE(wait_until([&] { return broker.counter("sleeps").value_or(0) > sleeps; },
                           "the data plane to sleep"));
    EXPECT_EQ(kdb.query("echo 1"), Value::long_atom(1));
    const auto answer = query(library, "echo 2");
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer.value().result, Value::long_atom(2));
  }
}

TEST_P(GatewayThread, SeesServantsComeAndGo) {
  const Broker broker(setup());
  RawClient client = connect(broker);
  EXPECT_EQ(client.query("echo 1"), Value::long_atom(1));
  broker.wait_for_counter("servants", 2);
  {
    Process third = broker.spawn_servant("third", {"--rows", "0"});
    broker.wait_for_counter("servants", 3);
    EXPECT_EQ(client.query("echo 2"), Value::long_atom(2));
    third.end();
    broker.wait_for_counter("servants", 2);
  }
  EXPECT_EQ(client.query("echo 3"), Value::long_atom(3));
}

TEST_P(GatewayThread, StopsWithConnectionsOpen) {
  Broker broker(setup());
  RawClient idle = connect(broker);
  RawClient busy = connect(broker);
  EXPECT_EQ(busy.query("echo 7"), Value::long_atom(7));
  broker.stop();
  EXPECT_FALSE(idle.receive());
}

INSTANTIATE_TEST_SUITE_P(Ways, GatewayThread,
                         ::testing::Values(ThreadAndIdle{"own", "auto"},
                                           ThreadAndIdle{"own", "park"},
                                           ThreadAndIdle{"data", "auto"},
                                           ThreadAndIdle{"data", "park"},
                                           ThreadAndIdle{"data", "yield"}),
                         [](const ::testing::TestParamInfo<ThreadAndIdle>& test) {
                           return std::string(test.param.thread) + "_" + test.param.idle;
                         });

TEST(GatewayThreads, ASpinningDataThreadServesNoSockets) {
  const Output end = run_to_end(
      {program("mserve-broker"), "-p", "0W", "--gateway-thread", "data", "--idle", "spin"});
  EXPECT_EQ(end.exit_code, 2);
  EXPECT_NE(end.err.find("not with --idle spin"), std::string::npos) << end.err;
}

}  // namespace
}  // namespace mserve::test
