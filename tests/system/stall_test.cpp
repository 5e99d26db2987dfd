// SPDX-License-Identifier: Apache-2.0
// Peers that stop in the middle of a large message are cut; everybody else goes on.
#include <gtest/gtest.h>

#include <csignal>

#include "support/requests.hpp"

namespace mserve::test {
namespace {

BrokerSetup quick_stall() {
  BrokerSetup setup;
  setup.args = {"--stall-timeout", "100ms"};
  setup.servants = 1;
  setup.servant_args = "--rows 0";
  return setup;
}

shm::FrameHeader request_header(std::uint64_t id) {
  shm::FrameHeader header;
  header.kind = shm::Kind::request;
  header.flags = shm::kFlagOpaque;
  header.id = id;
  return header;
}

TEST(Stall, AClientThatBeginsALargeRequestAndStopsGetsStalledAndTheServantIsFree) {
  const Broker broker(quick_stall());
  RawPeer client = raw_client(broker);
  EXPECT_TRUE(client.fragment(request_header(5), 0, 10'000'000, pattern(4000)));
  broker.wait_for_counter("requests", 1);  // "running" lasts for the stall time-out only
  const auto answer = client.take();
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->header.id, 5U);
  EXPECT_EQ(shm::unpack_reply(answer->header.aux).status,
            static_cast<std::uint16_t>(Errc::stalled));
  broker.wait_for_counter("running", 0);
  Client other = broker.client();
  expect_echo(other, pattern(100));
  // The session goes on; what still comes of the flow is swallowed.
  EXPECT_FALSE(client.closed());
  EXPECT_TRUE(client.fragment(request_header(5), 4000, 10'000'000, pattern(4000)));
  EXPECT_TRUE(client.request(6, pattern(20)));
  const auto next = client.take();
  ASSERT_TRUE(next);
  EXPECT_EQ(next->header.id, 6U);
  EXPECT_EQ(next->payload, pattern(20));
}

TEST(Stall, AClientThatStopsWhileItsRequestIsGatheredGetsStalled) {
  const Broker broker(quick_stall());
  RawPeer client = raw_client(broker);
  EXPECT_TRUE(client.fragment(request_header(5), 0, 20'000, pattern(4000)));
  const auto answer = client.take();
  ASSERT_TRUE(answer);
  EXPECT_EQ(shm::unpack_reply(answer->header.aux).status,
            static_cast<std::uint16_t>(Errc::stalled));
}

TEST(Stall, AClientThatDoesNotReadALargeAnswerIsClosedWhileOthersGoOn) {
  const Broker broker(quick_stall());
  RawPeer slow = raw_client(broker);
  const Bytes payload = pattern(4000);
  for (std::uint64_t offset = 0; offset < 800'000; offset += payload.size()) {
    EXPECT_TRUE(slow.fragment(request_header(1), offset, 800'000, payload));
  }
  // It reads nothing; the answer of 800 kB does not fit its ring of 64 KiB.
  EXPECT_EQ(slow.wait_closed().status, Errc::slow_reader);
  (void)broker.wait_for_log("closed client=raw");
  Client other = broker.client();
  expect_echo(other, pattern(100));
  expect_echo(other, pattern(1'000'000));
}

TEST(Stall, AClientThatReadsButGrantsNoWindowIsClosedToo) {
  const Broker broker(quick_stall());
  RawPeer slow = raw_client(broker);
  const Bytes payload = pattern(4000);
  for (std::uint64_t offset = 0; offset < 800'000; offset += payload.size()) {
    EXPECT_TRUE(slow.fragment(request_header(1), offset, 800'000, payload));
  }
  std::uint64_t received = 0;
  EXPECT_TRUE(wait_until(
      [&] {
        while (const auto frame = slow.poll()) {
          received += frame->payload.size();
        }
        return slow.closed();
      },
      "the broker to close it"));
  EXPECT_LE(received, slow.welcome().window_bytes);
  Client other = broker.client();
  expect_echo(other, pattern(100));
}

TEST(Stall, AServantThatBeginsALargeAnswerAndStopsCostsTheClientOnlyThatRequest) {
  BrokerSetup setup;
  setup.args = {"--stall-timeout", "100ms"};
  const Broker broker(setup);
  RawPeer servant = raw_servant(broker, "stalls");
  broker.wait_for_counter("servants", 1);
  Client client = broker.client();
  const std::uint64_t id = send_opaque(client, pattern(10));
  const auto request = servant.take();
  ASSERT_TRUE(request);
  shm::FrameHeader reply;
  reply.kind = shm::Kind::reply;
  reply.flags = shm::kFlagOpaque;
  reply.id = request->header.id;
  EXPECT_TRUE(servant.fragment(reply, 0, 1'000'000, pattern(1000)));
  EXPECT_EQ(await(client, id).status, Errc::stalled);
  const Process other = broker.spawn_servant("other", {"--rows", "0"});
  broker.wait_for_counter("servants", 2);
  expect_echo(client, pattern(100));
}

TEST(Stall, AClientThatReadsNoSmallAnswersIsClosedAtItsLimit) {
  BrokerSetup setup;
  setup.args = {"--max-pending-bytes", "1m"};
  setup.servants = 1;
  setup.servant_args = "--rows 0";
  const Broker broker(setup);
  RawPeer slow = raw_client(broker);
  const Bytes payload = pattern(8000);
  std::uint64_t id = 0;
  EXPECT_TRUE(wait_until(
      [&] {
        // Only while there is room: the broker goes on taking requests.
        while (!slow.closed() && slow.try_send(request_header(++id), {}, payload)) {
        }
        return slow.closed();
      },
      "the broker to close a client that never reads"));
  EXPECT_EQ(slow.wait_closed().status, Errc::slow_reader);
  Client other = broker.client();
  expect_echo(other, pattern(100));
}

TEST(Stall, ManyClientsThatDoNotReadCostNobodyElseTheirSession) {
  // Kept answers of all used to share one client's bound, and whoever came next was closed.
  BrokerSetup setup;
  // All that is asked fits the queue, so that nobody is told that the broker is busy.
  setup.args = {"--max-pending-bytes", "1m", "--max-queue-bytes", "8m"};
  setup.servants = 1;
  setup.servant_args = "--rows 0";
  const Broker broker(setup);
  const Bytes payload = pattern(8000);
  // Less for each than its own bound with what its ring takes, but more for all.
  constexpr std::uint64_t kHoarders = 6;
  constexpr std::uint64_t kEach = 90;
  std::vector<std::unique_ptr<RawPeer>> hoarders;
  for (std::uint64_t n = 1; n <= kHoarders; ++n) {
    hoarders.push_back(std::make_unique<RawPeer>(raw_client(broker)));
    for (std::uint64_t id = 1; id <= kEach; ++id) {
      ASSERT_TRUE(hoarders.back()->send(request_header(id), {}, payload));
    }
  }
  RawPeer small = raw_client(broker);
  constexpr std::uint64_t kSmall = 100;
  for (std::uint64_t id = 1; id <= kSmall; ++id) {
    ASSERT_TRUE(small.send(request_header(id), {}, pattern(100)));
  }
  broker.wait_for_counter("requests", kHoarders * kEach + kSmall);
  broker.wait_for_counter("queued", 0);
  broker.wait_for_counter("running", 0);
  Client other = broker.client();
  for (int i = 0; i < 50; ++i) {
    expect_echo(other, pattern(8000));
  }
  for (const auto& hoarder : hoarders) {
    EXPECT_FALSE(hoarder->closed());
  }
  EXPECT_FALSE(small.closed());
  EXPECT_TRUE(other.attached());
}

}  // namespace
}  // namespace mserve::test
