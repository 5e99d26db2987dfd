// SPDX-License-Identifier: Apache-2.0
// mserve-client and the client library between a real broker on this host and a gateway, which a
// thread of the test plays.
#include <gtest/gtest.h>

#include <future>
#include <string>
#include <vector>

#include "mserve/client/query.hpp"
#include "support/broker_process.hpp"
#include "support/raw_peer.hpp"
#include "support/test_gateway.hpp"
#include "support/wait.hpp"

namespace mserve::test {
namespace {

using kdb::Value;

Output run_client(std::vector<std::string> args, std::map<std::string, std::string> env = {}) {
  args.insert(args.begin(), program("mserve-client"));
  return run_to_end(std::move(args), std::move(env));
}

TEST(TcpCommandLine, AGatewaysAnswerIsShownLikeABrokers) {
  TestGateway gateway(echo_requests);
  const Output shown =
      run_client({"--console", "40", "200", "--name", gateway.endpoint(), "proc1 `IBM"});
  EXPECT_EQ(shown.exit_code, 0) << shown.err;
  EXPECT_NE(shown.out.find("qsvr     | `servant1"), std::string::npos) << shown.out;
  EXPECT_NE(shown.out.find("route    | `IBM"), std::string::npos) << shown.out;
  EXPECT_NE(shown.out.find("--result--\n\"proc1 `IBM\""), std::string::npos) << shown.out;
}

TEST(TcpCommandLine, EndpointsMayComeFromTheEnvironment) {
  TestGateway gateway(echo_requests);
  const Output shown = run_client({"-q", "echo 1"}, {{"MSERVE_NAME", gateway.endpoint()}});
  EXPECT_EQ(shown.exit_code, 0) << shown.err;
  EXPECT_EQ(shown.out, "\"echo 1\"\n");
}

TEST(TcpCommandLine, UserAndPasswordGoToTheGatewayAndNowhereElse) {
  std::promise<std::string> opening;
  TestGateway gateway(
      [&](GatewayConnection& connection, int) { opening.set_value(connection.take_opening()); });
  const Output shown =
      run_client({"--name", gateway.endpoint(), "x"}, {{"MSERVE_USER", "joe:secret"}});
  EXPECT_EQ(opening.get_future().get(), std::string("joe:secret\x06\0", 12));
  EXPECT_EQ(shown.exit_code, 3);
  EXPECT_NE(shown.err.find("'access"), std::string::npos) << shown.err;
  EXPECT_NE(shown.err.find(gateway.endpoint()), std::string::npos) << shown.err;
  EXPECT_NE(shown.err.find("joe"), std::string::npos) << shown.err;
  EXPECT_EQ(shown.err.find("secret"), std::string::npos) << shown.err;
}

TEST(TcpCommandLine, EveryEndpointThatFailedIsNamed) {
  const TempDir empty;
  const std::string dead = "tcp://127.0.0.1:" + std::to_string(unused_port());
  const Output shown =
      run_client({"--dir", empty.path(), "--name", "nobody," + dead, "proc1 `IBM"});
  EXPECT_EQ(shown.exit_code, 3);
  EXPECT_NE(shown.err.find("no broker 'nobody'"), std::string::npos) << shown.err;
  EXPECT_NE(shown.err.find(dead + ": Connection refused"), std::string::npos) << shown.err;
}

TEST(TcpCommandLine, AMalformedListIsWrongUsage) {
  const Output shown = run_client({"--name", "tcp://host", "x"});
  EXPECT_EQ(shown.exit_code, 2);
  EXPECT_NE(shown.err.find("host:port"), std::string::npos) << shown.err;
}

TEST(TcpCommandLine, TheLocalBrokerGoesFirst) {
  BrokerSetup setup;
  setup.servants = 1;
  const Broker broker(setup);
  TestGateway gateway(echo_requests);
  const std::string list = broker.name() + "," + gateway.endpoint();
  const Output shown = run_client({"--dir", broker.directory(), "--name", list, "proc1 `IBM"});
  EXPECT_EQ(shown.exit_code, 0) << shown.err;
  EXPECT_NE(shown.out.find("mserve-servant-"), std::string::npos) << shown.out;
  EXPECT_EQ(gateway.connections(), 0);
}

// The whole way: a request in flight survives its broker, the gateway serves meanwhile, and the
// rings are used again once the broker is back.
TEST(TcpFallback, ARequestSurvivesItsBrokerAndTheRingsComeBack) {
  Broker broker;
  RawPeer servant = raw_servant(broker, "holds");
  TestGateway gateway(echo_requests);
  ClientOptions options;
  options.directory = broker.directory();
  options.broker = broker.name() + "," + gateway.endpoint();
  options.return_ns = 1;
  auto client = Client::connect(options);
  ASSERT_TRUE(client);
  EXPECT_EQ(client.value().endpoint(), broker.name());
  const Query made = make_query("proc1 `IBM", client.value());
  const auto repeatable = send_query(client.value(), made, {}, watchdog());
  const auto once = send_query(client.value(), made, {.repeatable = false}, watchdog());
  ASSERT_TRUE(repeatable && once);
  ASSERT_TRUE(servant.take());
  broker.kill();
  mserve::Reply reply;
  ASSERT_EQ(client.value().await(once.value(), reply, watchdog()), Errc::ok);
  EXPECT_EQ(reply.status, Errc::disconnected);
  ASSERT_EQ(client.value().await(repeatable.value(), reply, watchdog()), Errc::ok);
  EXPECT_EQ(answer_of(reply).value().result, Value::chars("proc1 `IBM"));
  EXPECT_EQ(client.value().endpoint(), gateway.endpoint());
  broker.start();
  EXPECT_TRUE(wait_until(
      [&] {
        (void)client.value().poll(reply);
        return client.value().endpoint() == broker.name();
      },
      "the client to return to the rings"));
  EXPECT_EQ(query(client.value(), "x", {}, watchdog()).error().code, Errc::no_servant);
}

}  // namespace
}  // namespace mserve::test
