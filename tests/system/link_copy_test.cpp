// SPDX-License-Identifier: Apache-2.0
// What the broker keeps of requests that a link has, in case the link is lost.
#include <gtest/gtest.h>

#include <array>
#include <optional>
#include <vector>

#include "mserve/shm/clock.hpp"
#include "support/requests.hpp"
#include "system/link_setup.hpp"

namespace mserve::test {
namespace {

// Goal: a link's slow answer does not keep others waiting, and is still to be had elsewhere when
// the link is lost. Method: many times what its ring holds goes through while the first request
// stays unanswered; then the link vanishes.
TEST(LinkCopy, OneUnansweredRequestDoesNotFillTheRing) {
  BrokerSetup setup;
  setup.args = {"--servant-ring", "64k"};
  const Broker broker(setup);
  RawPeer link = raw_link(broker, "B", 1);
  Client client = broker.client();
  const SendOptions repeatable{.repeatable = true};
  const std::uint64_t slow = send_opaque(client, pattern(2'000, 7), repeatable);
  ASSERT_EQ(next_request(link).payload, pattern(2'000, 7));
  for (std::uint32_t n = 0; n < 100; ++n) {
    const std::uint64_t id = send_opaque(client, pattern(2'000, n), repeatable);
    const Frame frame = next_request(link);
    ASSERT_EQ(frame.payload, pattern(2'000, n)) << n;
    ASSERT_TRUE(link.reply(frame.header.id, pattern(10)));
    ASSERT_EQ(await(client, id).status, Errc::ok);
  }
  RawPeer other = raw_servant(broker, "other");
  broker.wait_for_counter("servants", 2);
  link.vanish();
  const Frame again = next_request(other);
  EXPECT_EQ(again.payload, pattern(2'000, 7));
  EXPECT_TRUE(other.reply(again.header.id, pattern(10)));
  EXPECT_EQ(await(client, slow).status, Errc::ok);
  broker.wait_for_counter("retried", 1);
  EXPECT_EQ(broker.counter("not_repeatable"), 0U);
}

// Goal: a request whose link was lost has its time to wait anew at the next one, as it has here.
// Method: both links are read, so the later one may tell no less than what is left since the loss.
TEST(LinkCopy, WhatIsSentAgainWaitsAnew) {
  constexpr std::uint64_t kWait = 60'000'000'000;
  const Broker broker{BrokerSetup{}};
  RawPeer link = raw_link(broker, "B", 1);
  Client client = broker.client();
  const std::uint64_t id =
      send_opaque(client, pattern(10), {.repeatable = true, .queue_ns_max = kWait});
  ASSERT_LE(next_request(link).extensions.deadline.queue_ns, kWait);
  RawPeer other = raw_link(broker, "B", 2);
  const std::uint64_t before = shm::steady_now();
  link.vanish();
  const Frame again = next_request(other);
  EXPECT_GE(again.extensions.deadline.queue_ns + (shm::steady_now() - before), kWait);
  EXPECT_TRUE(other.reply(again.header.id, pattern(10)));
  EXPECT_EQ(await(client, id).status, Errc::ok);
}

// Goal: copies leave room for what waits; what there was no room for is told so, and nothing is
// lost twice. Method: more than half of a store of 5 MiB is with a link; a copy takes 256 KiB.
TEST(LinkCopy, WhatFindsNoRoomIsNotRepeated) {
  constexpr std::uint32_t kRequests = 14;
  constexpr std::uint32_t kLost = kRequests - 10;
  constexpr std::size_t kBytes = 200'000;
  BrokerSetup setup;
  setup.args = {"--max-queue-bytes", "1m", "--max-pending-bytes", "1m"};
  const Broker broker(setup);
  RawPeer link = raw_link(broker, "B", 1, kRequests);
  Client client = broker.client();
  std::vector<std::uint64_t> ids;
  for (std::uint32_t n = 0; n < kRequests; ++n) {
    ids.push_back(send_opaque(client, pattern(kBytes, n), {.repeatable = true}));
    ASSERT_EQ(next_request(link).payload.size(), kBytes);
  }
  broker.wait_for_counter("not_repeatable", kLost);
  RawPeer other = raw_servant(broker, "other", kRequests);
  broker.wait_for_counter("servants", 2);
  link.vanish();
  broker.wait_for_counter("retried", kRequests);
  for (std::uint32_t n = 0; n < kRequests - kLost; ++n) {
    const Frame frame = next_request(other);
    EXPECT_EQ(frame.payload.size(), kBytes);
    EXPECT_TRUE(other.reply(frame.header.id, pattern(10)));
  }
  std::uint32_t died = 0;
  for (const std::uint64_t id : ids) {
    const Errc status = await(client, id).status;
    EXPECT_TRUE(status == Errc::ok || status == Errc::servant_died) << to_string(status);
    died += status == Errc::servant_died ? 1 : 0;
  }
  EXPECT_EQ(died, kLost);
  EXPECT_FALSE(other.poll()) << "one was sent twice";
}

// Goal: nobody's request runs at a peer as that of the link's user. Method: one that fills a frame
// leaves no room to say whose it is; the next smaller ones do.
TEST(LinkCopy, WhatLeavesNoRoomForItsTermsDoesNotGoThere) {
  constexpr std::uint64_t kRing = 64U << 10;
  constexpr std::size_t kMost = shm::frame_bytes_max(kRing) - shm::kFrameHeaderBytes;
  constexpr std::size_t kTerms = shm::ext_bytes_of(sizeof(shm::DeadlineExt));
  BrokerSetup setup;
  setup.args = {"--servant-ring", "64k", "--client-ring", "64k"};
  const Broker broker(setup);
  RawPeer link = raw_link(broker, "B", 1);
  Client client = broker.client();
  EXPECT_EQ(await(client, send_opaque(client, pattern(kMost), {})).status, Errc::too_large);
  EXPECT_EQ(await(client, send_opaque(client, pattern(kMost - kTerms + 1), {})).status,
            Errc::too_large);
  const std::uint64_t id = send_opaque(client, pattern(kMost - kTerms), {});
  const Frame frame = next_request(link);
  EXPECT_EQ(frame.payload.size(), kMost - kTerms) << "neither of the others came before it";
  EXPECT_TRUE(link.reply(frame.header.id, pattern(10)));
  EXPECT_EQ(await(client, id).status, Errc::ok);
}

// Goal: the same of large requests, whose fragments a client that was made by hand may fill to the
// last byte: the first one, and the last one, still say what is left of its time, and no byte is
// lost. Method: the broker's --timeout has to arrive. One fragment, two, and more than the link's
// ring takes before it is read, so that one may be half passed on.
TEST(LinkCopy, FullFragmentsOfALargeRequestKeepItsTerms) {
  constexpr std::uint32_t kRing = 64U << 10;
  constexpr std::size_t kMost = shm::frame_bytes_max(kRing) - shm::kFrameHeaderBytes -
                                shm::ext_bytes_of(sizeof(shm::FlowExt));
  constexpr std::uint64_t kTimeout = 600'000'000'000;
  BrokerSetup setup;
  setup.args = {"--servant-ring", "64k",  "--client-ring",   "64k", "--gather-max", "4k",
                "--timeout",      "600s", "--stall-timeout", "60s"};
  const Broker broker(setup);
  RawPeer link = raw_link(broker, "B", 1);
  RawPeer client = raw_client(broker);
  shm::FrameHeader head;
  head.kind = shm::Kind::request;
  head.flags = shm::kFlagOpaque;
  for (const std::size_t fragments : {1U, 2U, 7U}) {
    const Bytes payload = pattern(fragments * kMost, static_cast<std::uint32_t>(fragments));
    ++head.id;
    Bytes came;
    std::uint64_t id = 0;
    const auto look_at = [&](const Frame& frame) {
      const bool first = came.empty();
      EXPECT_EQ(frame.extensions.flow.offset, came.size());
      EXPECT_EQ(frame.extensions.flow.total_bytes, payload.size());
      came.insert(came.end(), frame.payload.begin(), frame.payload.end());
      id = frame.header.id;
      const std::uint64_t left = frame.extensions.deadline.run_ns;
      EXPECT_LE(left, kTimeout);
      EXPECT_EQ(left != 0, first || came.size() == payload.size()) << came.size();
    };
    for (std::size_t n = 0; n < fragments; ++n) {
      // The client's ring holds three of these, and so does the link's, which is read only when
      // the client finds no room.
      const auto piece = std::span(payload).subspan(n * kMost, kMost);
      std::array<std::byte, shm::ext_bytes_of(sizeof(shm::FlowExt))> extension;
      (void)shm::put_extension(extension.data(), shm::ExtType::flow, 0,
                               shm::FlowExt{n * kMost, payload.size()});
      ASSERT_TRUE(wait_until(
          [&] {
            const bool sent = client.try_send(head, extension, piece);
            const auto frame = sent ? std::nullopt : link.poll();
            if (frame) {
              look_at(*frame);
            }
            return sent;
          },
          "room for a fragment"));
    }
    while (came.size() < payload.size() && !HasFailure()) {
      look_at(next_request(link));
    }
    ASSERT_EQ(came, payload);
    EXPECT_TRUE(link.reply(id, pattern(10)));
    const auto answered = client.take();
    ASSERT_TRUE(answered);
    EXPECT_EQ(answered->header.id, head.id);
    EXPECT_EQ(shm::unpack_reply(answered->header.aux).status, 0);
  }
}

}  // namespace
}  // namespace mserve::test
