// SPDX-License-Identifier: Apache-2.0
// Clients that hang up, lie, stall or stay away; brokers that stop; sockets that lie about.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <fstream>

#include "system/gateway_setup.hpp"

namespace mserve::test {
namespace {

/// Waits until nobody is connected and nothing is left of who was.
void expect_nothing_left(const Broker& broker, std::size_t descriptors) {
  broker.wait_for_counter("gateway_connections", 0);
  broker.wait_for_counter("gateway_pending", 0);
  broker.wait_for_counter("running", 0);
  broker.wait_for_counter("queued", 0);
  // Not more: a connection that is counted no longer may be a moment from being closed.
  EXPECT_TRUE(wait_until([&] { return broker.descriptors() <= descriptors; },
                         "the descriptors to be closed"));
}

TEST(GatewayLife, HangingUpAtAnyPointLeavesNothing) {
  const Broker broker(with_gateway());
  const std::uint16_t port = broker.port();
  ASSERT_EQ(connect(broker).query("echo 1"), Value::long_atom(1));
  broker.wait_for_counter("gateway_connections", 0);
  const std::size_t descriptors = broker.descriptors();
  const Bytes message = kdb::encode_message(text(std::string(3'000'000, 'x')), MessageKind::sync);
  for (const std::size_t bytes : {0U, 1U, 7U, 8U, 9U, 5000U, 300'000U, 2'999'999U}) {
    for (const bool shaken : {false, true}) {
      RawClient client = RawClient::tcp(port);
      if (shaken) {
        ASSERT_TRUE(client.handshake());
        ASSERT_TRUE(client.send_bytes(std::span(message).first(bytes)));
      } else {
        ASSERT_TRUE(
            client.send_text(std::string("bob:pw").substr(0, std::min<std::size_t>(bytes, 6))));
      }
    }
  }
  {
    std::vector<RawClient> clients;
    for (int i = 0; i < 50; ++i) {
      clients.push_back(connect(broker));
      ASSERT_TRUE(clients.back().send(text("proc1 `IBM"), MessageKind::sync));
    }
  }
  expect_nothing_left(broker, descriptors);
  EXPECT_EQ(connect(broker).query("echo 1"), Value::long_atom(1));
}

TEST(GatewayLife, QueuedRequestsOfAClientThatWentVanish) {
  const Broker broker(with_gateway({}, 0));
  RawPeer servant = raw_servant(broker, "one");
  broker.wait_for_counter("servants", 1);
  {
    RawClient client = RawClient::unix_socket(broker.socket_path(), true);
    ASSERT_TRUE(client.handshake());
    for (int i = 0; i < 10; ++i) {
      ASSERT_TRUE(client.send(list({Value::int_atom(i), text("x")}), MessageKind::async));
    }
    broker.wait_for_counter("queued", 9);
  }
  broker.wait_for_counter("queued", 0);
  const auto first = servant.take();
  ASSERT_TRUE(first);
  ASSERT_TRUE(answer(servant, first->header.id, kdb::encode(Value::null())));
  broker.wait_for_counter("running", 0);
  EXPECT_FALSE(servant.poll()) << "nothing else of that client runs";
}

TEST(GatewayLife, MalformedMessagesEndOnlyTheirSender) {
  const Broker broker(with_gateway());
  RawClient bystander = connect(broker);
  const auto expect_closed = [&](std::span<const std::byte> bytes, const char* error) {
    RawClient client = connect(broker);
    ASSERT_TRUE(client.send_bytes(bytes));
    if (error != nullptr) {
      const auto answered = client.receive();
      ASSERT_TRUE(answered);
      EXPECT_EQ(answered->value, Value::error(error));
    }
    EXPECT_TRUE(client.closed_by_peer());
    EXPECT_EQ(bystander.query("echo 1"), Value::long_atom(1));
  };
  Bytes message = kdb::encode_message(text("abc"), MessageKind::sync);
  Bytes bad = message;
  bad[0] = std::byte{2};  // byte order
  expect_closed(bad, nullptr);
  bad = message;
  bad[1] = std::byte{3};  // kind
  expect_closed(bad, nullptr);
  bad = message;
  bad[4] = std::byte{8};  // a length without a body
  expect_closed(bad, nullptr);
  bad = message;
  bad[8] = std::byte{77};  // a type that never travels
  expect_closed(bad, "badmsg");
  bad = message;
  bad[10] = std::byte{4};  // a count beyond the body
  expect_closed(bad, "badmsg");
  bad = message;
  bad[2] = std::byte{1};  // says that it is compressed
  expect_closed(bad, "badmsg");
  bad = message;
  bad[7] = std::byte{0x70};  // 1.75 GiB, above --max-message
  expect_closed(bad, "limit");
}

TEST(GatewayLife, LargestMessageIsBounded) {
  const Broker broker(with_gateway({"--max-message", "1m", "--max-gathered", "1m"}));
  RawClient client = connect(broker);
  const Value fits = list({Value::symbol("echo"), text(std::string(1'000'000, 'x'))});
  EXPECT_EQ(client.query(fits), fits.at(1));
  const Value too_large = list({Value::symbol("echo"), text(std::string(1'100'000, 'x'))});
  EXPECT_EQ(client.query(too_large), Value::error("limit"));
  EXPECT_TRUE(client.closed_by_peer());
}

TEST(GatewayLife, AConnectionThatSaysNothingIsClosed) {
  const Broker broker(with_gateway({"--handshake-timeout", "50ms", "--idle-timeout", "50ms"}));
  RawClient silent = RawClient::tcp(broker.port());
  EXPECT_TRUE(silent.closed_by_peer());
  EXPECT_FALSE(broker.wait_for_log("reason=\"handshake timeout\"").empty());
  RawClient idle = connect(broker);
  EXPECT_TRUE(idle.closed_by_peer());
  EXPECT_FALSE(broker.wait_for_log("reason=\"idle timeout\"").empty());
}

TEST(GatewayLife, AnIdleTimeoutSparesWhoWaitsForAnAnswer) {
  const Broker broker(with_gateway({"--idle-timeout", "1s"}, 0));
  RawPeer servant = raw_servant(broker, "slow");
  broker.wait_for_counter("servants", 1);
  RawClient waits = connect(broker);
  ASSERT_TRUE(waits.send(text("x"), MessageKind::sync));
  const auto request = servant.take();
  ASSERT_TRUE(request);
  RawClient idle = connect(broker);
  EXPECT_TRUE(idle.closed_by_peer());
  ASSERT_TRUE(answer(servant, request->header.id, kdb::encode(Value::long_atom(1))));
  EXPECT_EQ(waits.receive()->value, Value::long_atom(1));
}

TEST(GatewayLife, BeyondTheLimitConnectionsAreClosedAtOnce) {
  const Broker broker(with_gateway({"--max-connections", "3"}));
  std::vector<RawClient> clients;
  for (int i = 0; i < 3; ++i) {
    clients.push_back(connect(broker));
  }
  RawClient fourth = RawClient::tcp(broker.port());
  EXPECT_FALSE(fourth.handshake());
  EXPECT_FALSE(broker.wait_for_log("gateway_refused").empty());
  clients.pop_back();
  broker.wait_for_counter("gateway_connections", 2);
  EXPECT_EQ(connect(broker).query("echo 1"), Value::long_atom(1));
}

TEST(GatewayLife, ASlowReaderIsClosedAndNobodyElseNotices) {
  const Broker broker(with_gateway({"--max-pending-bytes", "1m"}));
  RawClient other = connect(broker);
  RawClient slow = connect(broker);
  const Value query = list({Value::symbol("echo"), text(std::string(100'000, 'x'))});
  std::size_t sent = 0;
  while (sent < 2000 && slow.send(query, MessageKind::async)) {
    ++sent;
    if (sent % 10 == 0) {
      EXPECT_EQ(other.query("echo 1"), Value::long_atom(1));
    }
    if (broker.counter("gateway_closed") != 0U) {
      break;
    }
  }
  EXPECT_LT(sent, 2000U);
  EXPECT_FALSE(broker.wait_for_log("reason=\"slow reader").empty());
  EXPECT_EQ(other.query("echo 1"), Value::long_atom(1));
  broker.wait_for_counter("gateway_connections", 1);
}

TEST(GatewayLife, StoppingAnswersWhatRunsAndClosesTheRest) {
  Broker broker(with_gateway({}, 0));
  RawPeer servant = raw_servant(broker, "slow");
  broker.wait_for_counter("servants", 1);
  RawClient runs = connect(broker);
  RawClient idle = connect(broker);
  ASSERT_TRUE(runs.send(text("x"), MessageKind::sync));
  const auto request = servant.take();
  ASSERT_TRUE(request);
  broker.process().signal(SIGTERM);
  EXPECT_TRUE(idle.closed_by_peer());
  const std::uint16_t port = broker.port();
  EXPECT_TRUE(
      wait_until([port] { return !RawClient::tcp(port).connected(); }, "the port to be closed"));
  ASSERT_TRUE(answer(servant, request->header.id, kdb::encode(Value::long_atom(7))));
  EXPECT_EQ(runs.receive()->value, Value::long_atom(7));
  EXPECT_TRUE(runs.closed_by_peer());
  EXPECT_EQ(broker.process().wait(), 0);
  EXPECT_NE(::access(broker.socket_path().c_str(), F_OK), 0) << "its socket is gone, too";
}

TEST(GatewayLife, ADelayedDrainServesOnAndItsHealthSaysSo) {
  Broker broker(with_gateway({"--drain-delay", "inf"}, 1));
  const std::uint16_t port = broker.port();
  RawClient before = connect(broker);
  EXPECT_EQ(health_of(port), "200 ok");
  broker.process().signal(SIGTERM);
  EXPECT_TRUE(wait_until([port] { return health_of(port) == "503 draining"; }, "its health"));
  RawClient meanwhile = connect(broker);
  EXPECT_EQ(meanwhile.query("echo 1"), Value::long_atom(1));
  EXPECT_EQ(before.query("echo 2"), Value::long_atom(2));
  EXPECT_TRUE(broker.log_lines(" draining ").empty());
  broker.process().signal(SIGTERM);
  EXPECT_EQ(broker.process().wait(), 0);
  EXPECT_TRUE(before.closed_by_peer());
  EXPECT_TRUE(meanwhile.closed_by_peer());
}

TEST(GatewayLife, ADelayedDrainBeginsByItselfWhenItsTimeHasCome) {
  Broker broker(with_gateway({"--drain-delay", "50ms"}, 0));
  broker.process().signal(SIGTERM);
  EXPECT_EQ(broker.process().wait(), 0);
  EXPECT_EQ(broker.log_lines(" leaving delay_ms=50").size(), 1U);
  EXPECT_EQ(broker.log_lines(" draining ").size(), 1U);
  EXPECT_TRUE(broker.log_lines("second_signal").empty());
}

TEST(GatewayLife, ADrainThatTakesTooLongAnswersWithShutdown) {
  Broker broker(with_gateway({"--drain-timeout", "50ms"}, 0));
  RawPeer servant = raw_servant(broker, "never");
  broker.wait_for_counter("servants", 1);
  RawClient client = connect(broker);
  ASSERT_TRUE(client.send(text("x"), MessageKind::sync));
  ASSERT_TRUE(servant.take());
  broker.process().signal(SIGTERM);
  EXPECT_EQ(client.receive()->value, Value::error("shutdown"));
  EXPECT_TRUE(client.closed_by_peer());
  EXPECT_EQ(broker.process().wait(), 0);
}

TEST(GatewayLife, AKilledBrokersSocketIsReplacedAndClientsComeBack) {
  Broker broker(with_gateway());
  RawClient client = connect(broker);
  const std::string path = broker.socket_path();
  const std::uint16_t port = broker.port();
  broker.kill();
  EXPECT_TRUE(client.closed_by_peer());
  EXPECT_EQ(::access(path.c_str(), F_OK), 0) << "left behind";
  BrokerSetup setup = with_gateway({"-p", std::to_string(port)});
  setup.gateway = false;
  ASSERT_EQ(::setenv("QUDSPATH", broker.directory().c_str(), 1), 0);
  Process second(
      Spawn{.argv = {program("mserve-broker"), "--dir", broker.directory(), "--name", "second",
                     "--max-queue", "1024", "--max-queue-bytes", "2m", "-p", std::to_string(port)},
            .env = {{"QUDSPATH", broker.directory()}},
            .stderr_path = broker.directory() + "/second.log"});
  std::optional<RawClient> again;
  EXPECT_TRUE(wait_until(
      [&] {
        again.emplace(RawClient::unix_socket(path, false));
        return again->connected();
      },
      "the second broker's socket"));
  ASSERT_TRUE(again->handshake());
  EXPECT_EQ(again->query("echo 1"), Value::error("no servant"));
}

TEST(GatewayLife, APortThatIsTakenIsAClearError) {
  const Broker broker(with_gateway());
  const Output output = run_to_end({program("mserve-broker"), "--dir", broker.directory(), "--name",
                                    "other", "--max-queue", "1024", "--max-queue-bytes", "2m", "-p",
                                    std::to_string(broker.port())});
  EXPECT_EQ(output.exit_code, 1);
  EXPECT_NE(output.err.find("cannot listen at 127.0.0.1 port"), std::string::npos) << output.err;
}

TEST(GatewayLife, ALiveSocketAndAFileAreNeverReplaced) {
  const Broker first(with_gateway());
  // Another address, the same port: the Unix names are the first broker's.
  Process second(Spawn{.argv = {program("mserve-broker"), "--dir", first.directory(), "--name",
                                "second", "--max-queue", "1024", "--max-queue-bytes", "2m",
                                "--bind", "127.0.0.2", "-p", std::to_string(first.port())},
                       .env = {{"QUDSPATH", first.directory()}},
                       .stderr_path = first.directory() + "/second.log"});
  EXPECT_TRUE(wait_until(
      [&] {
        const std::string log = read_file(first.directory() + "/second.log");
        return log.find("gateway_socket_missing abstract=") != std::string::npos &&
               log.find("gateway_socket_missing path=") != std::string::npos &&
               log.find("gateway port=") != std::string::npos;
      },
      "the second broker to go on without Unix sockets"));
  second.signal(SIGTERM);
  EXPECT_EQ(second.wait(), 0);
  RawClient client = RawClient::unix_socket(first.socket_path(), false);
  ASSERT_TRUE(client.handshake());
  EXPECT_EQ(client.query("echo 1"), Value::long_atom(1)) << "and leaves them when it stops";
}

TEST(GatewayLife, WithoutQudspathThereAreNoUnixSockets) {
  TempDir dir;
  Process broker(
      Spawn{.argv = {"/usr/bin/env", "QUDSPATH=", program("mserve-broker"), "--dir", dir.path(),
                     "--max-queue", "1024", "--max-queue-bytes", "2m", "-p", "0W"},
            .env = {},
            .stderr_path = dir.file("log")});
  EXPECT_TRUE(wait_until(
      [&] { return read_file(dir.file("log")).find(" sockets=1 thread=") != std::string::npos; },
      "a gateway with one socket"));
}

TEST(GatewayLife, IPv6OnRequest) {
  BrokerSetup setup = with_gateway({"--bind", "127.0.0.1,::1"});
  const int probe = ::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in6 address{};
  address.sin6_family = AF_INET6;
  address.sin6_addr = in6addr_loopback;
  const bool has_v6 =
      probe >= 0 && ::bind(probe, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
  if (probe >= 0) {
    ::close(probe);
  }
  if (!has_v6) {
    GTEST_SKIP() << "this machine has no ::1";
  }
  const Broker broker(setup);
  address.sin6_port = htons(broker.port());
  const int fd = ::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
  ASSERT_EQ(::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  ASSERT_EQ(::send(fd, "bob\3\0", 5, MSG_NOSIGNAL), 5);
  char answered = 0;
  ASSERT_EQ(::recv(fd, &answered, 1, 0), 1);
  EXPECT_EQ(answered, 3);
  ::close(fd);
}

}  // namespace
}  // namespace mserve::test
