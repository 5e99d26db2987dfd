// SPDX-License-Identifier: Apache-2.0
// Limits that a broker was given: reached, each refuses with its reason, and others go on.
#include <gtest/gtest.h>

#include <algorithm>
#include <stdexcept>
#include <string>

#include "support/requests.hpp"

namespace mserve::test {
namespace {

/// One client more, or why not.
Result<Client> one_more(const Broker& broker, std::string& reason) {
  ClientOptions options;
  options.broker = broker.name();
  options.directory = broker.directory();
  return Client::connect(options, &reason);
}

/// Attaches clients until the broker refuses one, and expects that the cap named `flag` is why.
std::vector<Client> fill(const Broker& broker, const std::string& flag) {
  std::vector<Client> clients;
  std::string reason;
  Result<Client> made = one_more(broker, reason);
  for (; made && clients.size() < 100; made = one_more(broker, reason)) {
    clients.push_back(std::move(made).value());
  }
  EXPECT_EQ(made.error().code, Errc::no_memory) << to_string(made.error().code);
  EXPECT_NE(reason.find(flag), std::string::npos) << reason;
  (void)broker.wait_for_log(flag);
  return clients;
}

/// After one is gone another one may come.
void expect_place_again(const Broker& broker, std::vector<Client> clients) {
  ASSERT_FALSE(clients.empty());
  expect_echo(clients.front(), pattern(100));
  clients.pop_back();
  std::string reason;
  EXPECT_TRUE(wait_until([&] { return static_cast<bool>(one_more(broker, reason)); },
                         "a place to be free again"));
}

TEST(Caps, MoreSharedBytesThanAllowedAreRefusedWithTheReason) {
  // A servant takes 2 MiB and some pages, a client 128 KiB and some.
  const Broker broker(broker_with({"--max-shared-bytes", "2600k"}, 1));
  std::vector<Client> clients = fill(broker, "--max-shared-bytes");
  EXPECT_LT(clients.size(), 5U);
  expect_place_again(broker, std::move(clients));
}

/// Memory shared with others that a process has mapped and touched.
std::uint64_t shared_kib(pid_t pid) {
  const std::string status = read_file("/proc/" + std::to_string(pid) + "/status");
  const std::size_t at = status.find("RssShmem:");
  return at == std::string::npos ? 0 : std::stoull(status.substr(at + 9));
}

// What had left counted no more, though it was unmapped at the next tick: ten times as much.
TEST(Caps, BytesOfThoseWhoLeaveCountUntilTheyAreUnmapped) {
  const Broker broker(broker_with({"--max-shared-bytes", "5m"}));
  const std::uint64_t before = shared_kib(broker.pid());
  std::uint64_t most = before;
  for (int i = 0; i < 200; ++i) {
    try {
      (void)raw_servant(broker, "fast");
    } catch (const std::exception&) {
      continue;  // refused while the one before is not gone yet
    }
    most = std::max(most, shared_kib(broker.pid()));
  }
  EXPECT_GT(most, before);
  EXPECT_LE(most - before, 5U * 1024);
}

TEST(Caps, MoreSessionsThanAllowedAreRefusedWithTheReason) {
  const Broker broker(broker_with({"--max-sessions", "3"}, 1));
  std::vector<Client> clients = fill(broker, "--max-sessions");
  EXPECT_EQ(clients.size(), 2U);
  expect_place_again(broker, std::move(clients));
}

TEST(Caps, MoreRequestsThanAllowedAreBusyAtOnce) {
  const Broker broker(broker_with({"--max-queue", "4"}));
  RawPeer servant = raw_servant(broker, "slow");
  broker.wait_for_counter("servants", 1);
  Client client = broker.client();
  std::vector<std::uint64_t> ids;
  for (int i = 0; i < 5; ++i) {
    ids.push_back(send_opaque(client, pattern(10)));
  }
  EXPECT_EQ(await(client, ids[4]).status, Errc::busy);
  for (int i = 0; i < 4; ++i) {
    const auto request = servant.take();
    ASSERT_TRUE(request);
    EXPECT_TRUE(servant.reply(request->header.id, request->payload));
    EXPECT_EQ(await(client, ids[static_cast<std::size_t>(i)]).status, Errc::ok);
  }
  EXPECT_EQ(broker.counter("refused"), 1U);
}

TEST(Caps, MoreQueuedBytesThanAllowedAreBusyAtOnce) {
  const Broker broker(broker_with({"--max-queue-bytes", "1m"}));
  RawPeer servant = raw_servant(broker, "slow");
  broker.wait_for_counter("servants", 1);
  Client client = broker.client();
  std::vector<std::uint64_t> ids;
  for (int i = 0; i < 40; ++i) {
    ids.push_back(send_opaque(client, pattern(100'000)));
  }
  int busy = 0;
  std::size_t left = ids.size();
  EXPECT_TRUE(wait_until(
      [&] {
        if (const auto request = servant.poll()) {
          EXPECT_TRUE(servant.reply(request->header.id, {}));
        }
        left -= client.poll_each([&](const mserve::Reply& reply) {
          EXPECT_TRUE(reply.status == Errc::ok || reply.status == Errc::busy);
          busy += reply.status == Errc::busy ? 1 : 0;
        });
        return left == 0;
      },
      "every request to be answered"));
  EXPECT_GT(busy, 0);
  EXPECT_LT(busy, 40);
}

TEST(Caps, ARequestLargerThanAllowedIsTooLarge) {
  const Broker broker(broker_with({"--max-message", "100k"}, 1));
  Client client = broker.client();
  EXPECT_EQ(status_of(call_opaque(client, pattern(100 * 1024 + 1))), Errc::too_large);
  expect_echo(client, pattern(100 * 1024));
  expect_echo(client, pattern(10));
}

TEST(Caps, ARequestThatLiesAboutThatLimitIsTooLargeToo) {
  // The library refuses by itself; a peer that does not is refused by the broker.
  const Broker broker(broker_with({"--max-message", "100k"}, 1));
  RawPeer client = raw_client(broker);
  shm::FrameHeader header;
  header.flags = shm::kFlagOpaque;
  header.id = 9;
  EXPECT_TRUE(client.fragment(header, 0, 1ULL << 40, pattern(4000)));
  const auto answer = client.take();
  ASSERT_TRUE(answer);
  EXPECT_EQ(shm::unpack_reply(answer->header.aux).status,
            static_cast<std::uint16_t>(Errc::too_large));
}

TEST(Caps, WithoutServantsARequestFailsAtOnce) {
  const Broker broker;
  Client client = broker.client();
  EXPECT_EQ(status_of(call_opaque(client, pattern(10))), Errc::no_servant);
  EXPECT_EQ(status_of(call_opaque(client, pattern(1'000'000))), Errc::no_servant);
}

}  // namespace
}  // namespace mserve::test
