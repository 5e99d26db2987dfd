// SPDX-License-Identifier: Apache-2.0
// Large messages through the gateway in bounded memory, small ones beside them, and thousands of
// connections that cost little.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <atomic>
#include <thread>

#include "support/sanitized.hpp"
#include "support/sizes.hpp"
#include "system/gateway_setup.hpp"

namespace mserve::test {
namespace {

constexpr std::size_t kLargeQueryBytes = (kSanitized ? 16 : 100) * kMiB;
constexpr std::size_t kConnections = kSanitized ? 500 : 10'000;

/// VmRSS of a process, in bytes.
std::size_t resident_bytes(pid_t pid) {
  const std::string status = read_file("/proc/" + std::to_string(pid) + "/status");
  const std::size_t at = status.find("VmRSS:");
  return at == std::string::npos ? 0 : std::stoul(status.substr(at + 6)) * 1024;
}

/// Sends one large echo from a thread of its own while the answer is read here.
Value echo(RawClient& client, const Value& value, MessageKind kind = MessageKind::sync) {
  const Value call = list({Value::symbol("echo"), value});
  const Bytes message = kdb::encode_message(
      kind == MessageKind::sync ? call : list({Value::long_atom(1), call}), kind);
  std::thread sender([&] { EXPECT_TRUE(client.send_bytes(message)); });
  const auto answer = client.receive();
  sender.join();
  EXPECT_TRUE(answer);
  return answer ? answer->value : Value::null();
}

BrokerSetup patient_gateway(std::vector<std::string> args = {}) {
  // A machine that is busy with other tests may pause a servant for more than a second.
  args.insert(args.end(), {"--stall-timeout", "30s"});
  return with_gateway(std::move(args));
}

TEST(GatewayLarge, AHundredMebibytesComeBackInBoundedMemoryWhileSmallOnesPass) {
  const Broker broker(patient_gateway());
  RawClient small = connect(broker);
  ASSERT_EQ(small.query("echo 1"), Value::long_atom(1));
  const std::size_t before = resident_bytes(broker.pid());
  std::atomic<bool> done{false};
  std::atomic<std::size_t> most{0};
  std::atomic<int> answered{0};
  std::thread other([&] {
    while (!done.load(std::memory_order_acquire) && !HasFailure()) {
      EXPECT_EQ(small.query("echo 1"), Value::long_atom(1));
      answered.fetch_add(1, std::memory_order_relaxed);
      most.store(std::max(most.load(std::memory_order_relaxed), resident_bytes(broker.pid())),
                 std::memory_order_relaxed);
    }
  });
  {
    RawClient client = connect(broker);
    const Value value = Value::bytes(std::vector<std::uint8_t>(kLargeQueryBytes, 7));
    EXPECT_TRUE(echo(client, value) == value);
  }
  done.store(true, std::memory_order_release);
  other.join();
  EXPECT_GT(answered.load(std::memory_order_relaxed), 10);
  if (!kSanitized) {
    // Rings, socket buffers that the kernel does not count here, and what one client may have
    // unread: far from the message.
    EXPECT_LT(most.load(std::memory_order_relaxed), before + 48 * kMiB);
  }
  RecordProperty("small_queries_meanwhile",
                 std::to_string(answered.load(std::memory_order_relaxed)));
}

TEST(GatewayLarge, OfEverySizeAroundTheLimitsComeBackIdentical) {
  const Broker broker(patient_gateway());
  RawClient client = connect(broker);
  for (const std::size_t limit : {std::size_t{4096}, 64 * 1024UL, 256 * 1024UL, kMiB, 4 * kMiB}) {
    for (const std::size_t bytes : {limit - 60, limit - 14, limit - 8, limit, limit + 1}) {
      const Value value = text(std::string(bytes, static_cast<char>('a' + bytes % 26)));
      EXPECT_TRUE(echo(client, value) == value) << bytes;
      const Value lbt = echo(client, value, MessageKind::async);
      ASSERT_EQ(lbt.count(), 3U) << bytes;
      EXPECT_TRUE(lbt.at(1) == value) << bytes;
      EXPECT_EQ(lbt.at(2).count(), 6U);
    }
  }
}

TEST(GatewayLarge, PassThroughTheSmallestRings) {
  const Broker broker(
      patient_gateway({"--gateway-ring", "64k", "--servant-ring", "16k", "--client-ring", "16k",
                       "--gather-max", "4k", "--retain-max", "0"}));
  RawClient client = connect(broker);
  for (const std::size_t bytes : {10UL, 3000UL, 5000UL, 100'000UL, 3 * kMiB}) {
    const Value value = text(std::string(bytes, 'x'));
    EXPECT_TRUE(echo(client, value) == value) << bytes;
  }
}

TEST(GatewayLarge, OfSeveralClientsAtOnceComeBackIdentical) {
  const Broker broker(patient_gateway());
  std::vector<std::thread> clients;
  for (std::size_t i = 0; i < 4; ++i) {
    clients.emplace_back([&broker, i] {
      RawClient client = connect(broker);
      for (std::size_t round = 0; round < 3; ++round) {
        const Value value = text(std::string((i + 1) * kMiB + round, static_cast<char>('a' + i)));
        EXPECT_TRUE(echo(client, value) == value);
      }
    });
  }
  for (std::thread& client : clients) {
    client.join();
  }
}

TEST(GatewayLarge, BigEndianIsHeldWholeAndPassedOnInFragments) {
  const Broker broker(patient_gateway());
  RawClient client = connect(broker);
  const Value value = Value::longs(std::vector<std::int64_t>(500'000, 0x0102030405060708));
  const Bytes message = kdb::encode_message(list({Value::symbol("echo"), value}), MessageKind::sync,
                                            kdb::ByteOrder::big);
  std::thread sender([&] { EXPECT_TRUE(client.send_bytes(message)); });
  const auto answer = client.receive();
  sender.join();
  ASSERT_TRUE(answer);
  EXPECT_TRUE(answer->value == value);
}

TEST(GatewayLarge, AReplyThatBreaksOffClosesTheConnectionOnceItHasBegun) {
  const Broker broker(with_gateway({}, 0));
  RawClient client = connect(broker);
  {
    RawPeer servant = raw_servant(broker, "dies");
    broker.wait_for_counter("servants", 1);
    ASSERT_TRUE(client.send(text("x"), MessageKind::sync));
    const auto request = servant.take();
    ASSERT_TRUE(request);
    const Bytes object = kdb::encode(text(std::string(3 * kMiB, 'x')));
    shm::FrameHeader head;
    head.kind = shm::Kind::reply;
    head.id = request->header.id;
    head.aux = shm::pack(shm::ReplyAux{servant.welcome().servant, 0});
    ASSERT_TRUE(servant.fragment(head, 0, object.size(), std::span(object).first(100'000)));
    EXPECT_EQ(client.receive_bytes(50'000).size(), 50'000U);
  }
  EXPECT_LT(client.receive_bytes(4 * kMiB).size(), 3 * kMiB);
  EXPECT_FALSE(broker.wait_for_log("reason=\"an answer broke off: servant died\"").empty());
}

TEST(GatewayLarge, ThousandsOfIdleConnectionsCostLittleAndAreAllAnswered) {
  rlimit limit{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  const std::size_t wanted = std::min<std::size_t>(kConnections, limit.rlim_cur - 200);
  const Broker broker(with_gateway({"--handshake-timeout", "60s"}));
  const std::uint16_t port = broker.port();
  const std::size_t before = resident_bytes(broker.pid());
  std::vector<RawClient> clients;
  clients.reserve(wanted);
  for (std::size_t i = 0; i < wanted; ++i) {
    clients.push_back(RawClient::tcp(port));
    ASSERT_TRUE(clients.back().handshake("idle", 3)) << i;
  }
  EXPECT_EQ(broker.counter("gateway_connections"), wanted);
  const std::size_t bytes_each = (resident_bytes(broker.pid()) - before) / wanted;
  RecordProperty("bytes_per_idle_connection", std::to_string(bytes_each));
  if (!kSanitized) {
    EXPECT_LT(bytes_each, 4096U);
  }
  const std::size_t active = std::min<std::size_t>(1000, wanted);
  for (std::size_t i = 0; i < active; ++i) {
    ASSERT_TRUE(clients[i].send(text("echo " + std::to_string(i)), MessageKind::sync));
  }
  for (std::size_t i = 0; i < active; ++i) {
    const auto answer = clients[i].receive();
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->value, Value::long_atom(static_cast<std::int64_t>(i)));
  }
  clients.clear();
  broker.wait_for_counter("gateway_connections", 0);
}

}  // namespace
}  // namespace mserve::test
