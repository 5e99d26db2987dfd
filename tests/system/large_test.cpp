// SPDX-License-Identifier: Apache-2.0
// Large messages through small rings, and small ones beside them.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "support/requests.hpp"
#include "support/sanitized.hpp"
#include "support/sizes.hpp"

namespace mserve::test {
namespace {

constexpr std::size_t kLargeBytes = (kSanitized ? 16 : 256) * kMiB;

/// Echoes small requests until told to stop.
/// @return how many came back.
std::uint64_t echo_until(const Broker& broker, const std::atomic<bool>& stop,
                         std::atomic<std::uint64_t>& count) {
  Client client = broker.client();
  const Bytes small = pattern(40, 7);
  std::uint64_t done = 0;
  while (!stop.load(std::memory_order_acquire) && !::testing::Test::HasFailure()) {
    expect_echo(client, small);
    ++done;
    count.store(done, std::memory_order_release);
  }
  return done;
}

TEST(LargeMessage, FarLargerThanAnyRingComesBackIdenticalWhileSmallOnesPass) {
  // Servant rings of 1 MiB, client rings of 64 KiB. A machine that is busy with other tests may
  // take more than a second to give a servant its next 128 MiB; that is not what this test is
  // about.
  BrokerSetup setup;
  setup.args = {"--stall-timeout", "30s"};
  setup.servants = 2;
  setup.servant_args = "--rows 0";
  const Broker broker(setup);
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> small{0};
  std::uint64_t during = 0;
  std::thread other([&] { (void)echo_until(broker, stop, small); });
  {
    Client client = broker.client();
    const Bytes payload = pattern(kLargeBytes, 3);
    EXPECT_TRUE(wait_until([&] { return small.load(std::memory_order_acquire) > 0; },
                           "the first small echo"));
    const std::uint64_t before = small.load(std::memory_order_acquire);
    const auto reply = call_opaque(client, payload);
    during = small.load(std::memory_order_acquire) - before;
    EXPECT_EQ(status_of(reply), Errc::ok);
    if (reply) {
      const auto& got = reply.value()->payload;
      EXPECT_TRUE(got.size() == payload.size() &&
                  std::equal(got.begin(), got.end(), payload.begin()));
    }
  }
  stop.store(true, std::memory_order_release);
  other.join();
  EXPECT_GT(during, 20U) << "small requests while the large one was under way";
  RecordProperty("small_requests_meanwhile", std::to_string(during));
}

TEST(LargeMessage, OfEverySizeAroundTheLimitsComesBackIdentical) {
  BrokerSetup setup;
  setup.args = {"--stall-timeout", "30s"};  // a loaded machine may hold anybody up
  setup.servants = 1;
  setup.servant_args = "--rows 0";
  const Broker broker(setup);
  Client client = broker.client();
  const std::size_t frame = 64 * 1024 / 4 - 24;  // a client's largest whole frame
  for (const std::size_t limit : {std::size_t{0}, frame, std::size_t{256} * 1024 - 24,
                                  std::size_t{256} * 1024, kMiB, 3 * kMiB}) {
    for (const std::size_t size : {limit - (limit > 0 ? 1 : 0), limit, limit + 1}) {
      expect_echo(client, pattern(size, static_cast<std::uint32_t>(size)));
    }
  }
}

TEST(LargeMessage, PassesThroughTheSmallestRings) {
  BrokerSetup setup;
  setup.args = {"--client-ring", "4k",   "--servant-ring", "4k",
                "--gather-max",  "1024", "--retain-max",   "0"};
  setup.servants = 1;
  setup.servant_args = "--rows 0";
  const Broker broker(setup);
  Client client = broker.client();
  expect_echo(client, pattern(2 * kMiB, 9));
  expect_echo(client, pattern(10, 9));
}

TEST(LargeMessage, ReachesAClientWhoseRingIsTheSmallest) {
  BrokerSetup setup;
  setup.args = {"--stall-timeout", "30s"};  // a loaded machine may hold anybody up
  setup.servants = 1;
  setup.servant_args = "--rows 0";
  const Broker broker(setup);
  ClientOptions options;
  options.ring_bytes = 4096;
  Client client = broker.client(options);
  for (const std::size_t size : {500U, 1000U, 1001U, 5000U, 200'000U, 300'000U, 1'500'000U}) {
    expect_echo(client, pattern(size, 4));
  }
}

TEST(LargeMessage, OfManyClientsAtOnceComeBackIdentical) {
  BrokerSetup setup;
  setup.args = {"--stall-timeout", "30s"};  // a loaded machine may hold anybody up
  setup.servants = 2;
  setup.servant_args = "--rows 0";
  const Broker broker(setup);
  std::vector<std::thread> clients;
  for (std::uint32_t i = 0; i < 4; ++i) {
    clients.emplace_back([&broker, i] {
      Client client = broker.client();
      for (std::uint32_t round = 0; round < 3; ++round) {
        expect_echo(client, pattern((i + 1) * kMiB + round, i * 10 + round));
      }
    });
  }
  for (std::thread& client : clients) {
    client.join();
  }
}

TEST(LargeMessage, SeveralOfOneClientInFlightComeBackIdentical) {
  BrokerSetup setup;
  setup.args = {"--stall-timeout", "30s"};  // a loaded machine may hold anybody up
  setup.servants = 2;
  setup.servant_args = "--rows 0";
  const Broker broker(setup);
  Client client = broker.client();
  std::map<std::uint64_t, Bytes> sent;
  for (std::uint32_t i = 0; i < 6; ++i) {
    Bytes payload = pattern(i % 2 == 0 ? 2 * kMiB + i : 100 + i, i);
    const std::uint64_t id = send_opaque(client, payload);
    sent[id] = std::move(payload);
  }
  while (!sent.empty() && !HasFailure()) {
    ASSERT_EQ(client.wait(watchdog()), Errc::ok);
    client.poll_each([&](const mserve::Reply& reply) {
      EXPECT_EQ(reply.status, Errc::ok);
      const Bytes& wanted = sent[reply.id];
      EXPECT_TRUE(
          std::equal(reply.payload.begin(), reply.payload.end(), wanted.begin(), wanted.end()));
      sent.erase(reply.id);
    });
  }
}

}  // namespace
}  // namespace mserve::test
