// SPDX-License-Identifier: Apache-2.0
#include "lib/tcp_dialer.hpp"

#include <gtest/gtest.h>

#include <future>

#include "lib/failures.hpp"
#include "mserve/shm/clock.hpp"
#include "support/test_gateway.hpp"
#include "support/wait.hpp"

namespace mserve {
namespace {

using test::GatewayConnection;
using test::TestGateway;

constexpr std::uint64_t kSecond = 1'000'000'000;

TcpDialer dialer_of(const std::string& list, std::uint64_t connect_ns_max = 60 * kSecond) {
  Endpoints endpoints;
  EXPECT_EQ(parse_endpoints(list, endpoints), "");
  return TcpDialer(endpoints.remote, "us", "word", connect_ns_max);
}

Result<TcpSession> dial(TcpDialer& dialer, std::string& reason) {
  return dialer.dial(shm::steady_now() + test::kWatchdogNs, &reason);
}

TEST(TcpDialer, SendsCredentialsAndCapabilityAndTakesTheCommonOne) {
  std::promise<std::string> opening;
  TestGateway gateway([&](GatewayConnection& connection, int) {
    opening.set_value(connection.take_opening());
    const std::byte three{3};
    connection.write({&three, 1});
    connection.drain();
  });
  TcpDialer dialer = dialer_of(gateway.endpoint());
  std::string reason;
  const auto session = dial(dialer, reason);
  ASSERT_TRUE(session) << reason;
  EXPECT_EQ(opening.get_future().get(), std::string("us:word\x06\0", 9));
  EXPECT_EQ(session.value().capability, 3);
  EXPECT_EQ(session.value().endpoint, gateway.endpoint());
}

TEST(TcpDialer, CredentialsOfTheEndpointGoFirst) {
  std::promise<std::string> opening;
  TestGateway gateway(
      [&](GatewayConnection& connection, int) { opening.set_value(connection.take_opening()); });
  TcpDialer dialer = dialer_of("tcp://joe:secret@127.0.0.1:" + std::to_string(gateway.port()));
  std::string reason;
  const auto session = dial(dialer, reason);
  ASSERT_FALSE(session);
  EXPECT_EQ(opening.get_future().get(), std::string("joe:secret\x06\0", 12));
  EXPECT_EQ(session.error().code, Errc::access);
  EXPECT_NE(reason.find(gateway.endpoint()), std::string::npos) << reason;
  EXPECT_NE(reason.find("'joe'"), std::string::npos) << reason;
  EXPECT_EQ(reason.find("secret"), std::string::npos) << reason;
}

TEST(TcpDialer, AnotherCapabilityThanOursIsCutToOurs) {
  TestGateway gateway([&](GatewayConnection& connection, int) { connection.welcome(200); });
  TcpDialer dialer = dialer_of(gateway.endpoint());
  std::string reason;
  const auto session = dial(dialer, reason);
  ASSERT_TRUE(session);
  EXPECT_EQ(session.value().capability, kCapabilityOffered);
}

TEST(TcpDialer, EndpointsAreTriedInOrderAndEachFailureIsNamed) {
  TestGateway refusing([](GatewayConnection& connection, int) { connection.take_opening(); });
  TestGateway good([](GatewayConnection& connection, int) { connection.welcome(); });
  const std::string dead = "tcp://127.0.0.1:" + std::to_string(test::unused_port());
  const std::string list = dead + "," + refusing.endpoint();
  TcpDialer dialer = dialer_of(list + "," + good.endpoint());
  std::string reason;
  const auto session = dial(dialer, reason);
  ASSERT_TRUE(session) << reason;
  EXPECT_EQ(session.value().endpoint, good.endpoint());
  EXPECT_EQ(refusing.connections(), 1);

  TcpDialer without = dialer_of(list);
  const auto failed = dial(without, reason);
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, Errc::no_broker) << "that may change, a refusal does not";
  EXPECT_EQ(reason,
            dead + ": Connection refused (nobody listens there; a broker does with -p PORT); " +
                refusing.endpoint() + ": refused user 'us'");
}

TEST(TcpDialer, AnEndpointThatSaysNothingIsLeftAfterItsTime) {
  TestGateway silent([](GatewayConnection& connection, int) { connection.drain(); });
  TestGateway good([](GatewayConnection& connection, int) { connection.welcome(); });
  TcpDialer dialer = dialer_of(silent.endpoint() + "," + good.endpoint(), 20'000'000);
  std::string reason;
  const auto session = dial(dialer, reason);
  ASSERT_TRUE(session) << reason;
  EXPECT_EQ(session.value().endpoint, good.endpoint());

  TcpDialer alone = dialer_of(silent.endpoint(), 20'000'000);
  const auto failed = dial(alone, reason);
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, Errc::timed_out);
  EXPECT_NE(reason.find("not the handshake"), std::string::npos) << reason;
}

// A far gateway must be reachable by calls that have next to no time each.
TEST(TcpDialer, AnAttemptGoesOnFromOneCallToTheNext) {
  std::promise<void> go;
  TestGateway slow([&](GatewayConnection& connection, int) {
    connection.take_opening();
    go.get_future().wait();
    const std::byte six{6};
    connection.write({&six, 1});
    connection.drain();
  });
  TcpDialer dialer = dialer_of(slow.endpoint());
  std::string reason;
  for (int i = 0; i < 10; ++i) {
    const auto early = dialer.dial(shm::steady_now(), &reason);
    ASSERT_FALSE(early);
    EXPECT_EQ(early.error().code, Errc::timed_out);
    EXPECT_NE(reason.find("no answer yet"), std::string::npos) << reason;
  }
  go.set_value();
  EXPECT_TRUE(test::wait_until([&] { return bool(dialer.dial(shm::steady_now(), &reason)); },
                               "the handshake that was begun"));
  EXPECT_EQ(slow.connections(), 1);
}

TEST(TcpDialer, AnUnknownHostIsNamed) {
  TcpDialer dialer = dialer_of("tcp://no-such-host.invalid:5000");
  std::string reason;
  const auto session = dial(dialer, reason);
  ASSERT_FALSE(session);
  EXPECT_EQ(session.error().code, Errc::no_broker);
  EXPECT_TRUE(reason.starts_with("tcp://no-such-host.invalid:5000: ")) << reason;
}

TEST(TcpDialer, NumericIpv6AddressesWork) {
  TcpDialer dialer = dialer_of("tcp://[::1]:" + std::to_string(test::unused_port()));
  std::string reason;
  EXPECT_EQ(dial(dialer, reason).error().code, Errc::no_broker) << reason;
}

TEST(TcpDialer, ResetDropsWhatIsUnderWay) {
  TestGateway gateway([](GatewayConnection& connection, int) { connection.drain(); });
  TcpDialer dialer = dialer_of(gateway.endpoint());
  std::string reason;
  EXPECT_FALSE(dialer.dial(shm::steady_now(), &reason));
  EXPECT_TRUE(test::wait_until([&] { return gateway.connections() == 1; }, "a connection"));
  dialer.reset();
  EXPECT_FALSE(dialer.dial(shm::steady_now(), &reason));
  EXPECT_TRUE(test::wait_until([&] { return gateway.connections() == 2; }, "a new connection"));
}

TEST(Failures, TheMostHopefulOneIsReported) {
  EXPECT_EQ(most_hopeful({}), Errc::ok);
  EXPECT_EQ(most_hopeful({Errc::access, Errc::timed_out, Errc::no_broker}), Errc::timed_out);
  EXPECT_EQ(most_hopeful({Errc::access, Errc::invalid}), Errc::access);
}

}  // namespace
}  // namespace mserve
