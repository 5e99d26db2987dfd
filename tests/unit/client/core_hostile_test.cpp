// SPDX-License-Identifier: Apache-2.0
// A broker that lies: costs the session, never the process.
#include <gtest/gtest.h>

#include <cstdlib>
#include <random>

#include "fake_broker.hpp"

namespace mserve {
namespace {

using test::attached_core;
using test::Bytes;
using test::bytes_of;
using test::FakeBroker;

struct Lie {
  const char* what;
  std::function<void(FakeBroker&)> tell;
};

void send_raw(FakeBroker& broker, const shm::FrameHeader& head, const Bytes& extensions = {}) {
  ASSERT_TRUE(shm::try_send_whole(broker.replies, head, extensions, bytes_of("payload")));
}

std::vector<Lie> lies() {
  const auto head = [](std::uint64_t id) { return FakeBroker::reply_head(id); };
  return {
      {"id 0", [=](FakeBroker& b) { send_raw(b, head(0)); }},
      {"id from the future", [=](FakeBroker& b) { send_raw(b, head(99)); }},
      {"a request",
       [=](FakeBroker& b) {
         auto h = head(1);
         h.kind = shm::Kind::request;
         send_raw(b, h);
       }},
      {"a cancel",
       [=](FakeBroker& b) {
         auto h = head(1);
         h.kind = shm::Kind::cancel;
         send_raw(b, h);
       }},
      {"a window",
       [=](FakeBroker& b) {
         auto h = head(1);
         h.kind = shm::Kind::window;
         send_raw(b, h);
       }},
      {"an origin that we do not have",
       [=](FakeBroker& b) {
         Bytes ext(16);
         (void)shm::put_extension(ext.data(), shm::ExtType::origin, 3, std::uint64_t{1});
         send_raw(b, head(1), ext);
       }},
      {"an extension longer than the frame",
       [=](FakeBroker& b) {
         Bytes ext(16);
         (void)shm::put_extension(ext.data(), shm::ExtType::origin, 0, std::uint64_t{1});
         ext[2] = std::byte{0xf8};
         send_raw(b, head(1), ext);
       }},
      {"a flow extension without its value",
       [=](FakeBroker& b) {
         Bytes ext(8);
         const shm::ExtHeader cut{shm::ExtType::flow, 8, 0};
         std::memcpy(ext.data(), &cut, sizeof(cut));
         send_raw(b, head(1), ext);
       }},
      {"a flow that starts in the middle",
       [](FakeBroker& b) { b.fragment(1, 8, 100, bytes_of("x")); }},
      {"a flow with a gap",
       [](FakeBroker& b) {
         b.fragment(1, 0, 100, bytes_of("x"));
         b.fragment(1, 2, 100, bytes_of("x"));
       }},
      {"a flow that changes its length",
       [](FakeBroker& b) {
         b.fragment(1, 0, 100, bytes_of("x"));
         b.fragment(1, 1, 99, bytes_of("x"));
       }},
      {"a fragment beyond the end", [](FakeBroker& b) { b.fragment(1, 0, 2, bytes_of("xyz")); }},
      {"an empty fragment", [](FakeBroker& b) { b.fragment(1, 0, 2, {}); }},
      {"a frame longer than a quarter of the ring",
       [](FakeBroker& b) {
         auto* word = reinterpret_cast<std::uint64_t*>(b.wire->replies.data() +
                                                       (b.replies.position() & 65535));
         shm::FrameHeader h = FakeBroker::reply_head(1);
         h.frame_bytes = 20000;
         *word = shm::commit_word(h);
       }},
      {"all bits set",
       [](FakeBroker& b) {
         std::memset(b.wire->replies.data() + (b.replies.position() & 65535), 0xff, 8);
       }},
  };
}

TEST(ClientHostile, EachLieEndsTheSessionAndCompletesWhatWasInFlight) {
  for (const Lie& lie : lies()) {
    SCOPED_TRACE(lie.what);
    FakeBroker broker;
    auto core = attached_core(broker);
    const std::uint64_t id = core->try_send(bytes_of("x"), {}).value();
    broker.absent = true;
    lie.tell(broker);
    Reply reply;
    ASSERT_EQ(core->poll(reply), Errc::ok);
    EXPECT_EQ(reply.id, id);
    EXPECT_EQ(reply.status, Errc::disconnected);
    EXPECT_NE(core->last_failure().find("protocol"), std::string::npos) << core->last_failure();
    EXPECT_EQ(core->poll(reply), Errc::not_attached);
  }
}

TEST(ClientHostile, AnswerToACompletedRequestIsDropped) {
  FakeBroker broker;
  auto core = attached_core(broker);
  const std::uint64_t id = core->try_send({}, {}).value();
  broker.answer(id, "once");
  broker.answer(id, "twice");
  broker.abort(id, Errc::stalled);
  Reply reply;
  ASSERT_EQ(core->poll(reply), Errc::ok);
  EXPECT_EQ(core->poll(reply), Errc::empty);
  EXPECT_EQ(core->late_replies(), 1U);
  EXPECT_TRUE(core->attached());
}

TEST(ClientHostile, UnknownExtensionsAreSkipped) {
  FakeBroker broker;
  auto core = attached_core(broker);
  Bytes ext(16);
  (void)shm::put_extension(ext.data(), static_cast<shm::ExtType>(999), 0, std::uint64_t{1});
  send_raw(broker, FakeBroker::reply_head(core->try_send({}, {}).value()), ext);
  Reply reply;
  ASSERT_EQ(core->poll(reply), Errc::ok);
  EXPECT_EQ(test::text_of(reply.payload), "payload");
}

TEST(ClientHostile, ImpossibleConsumerCursorEndsTheSession) {
  for (const bool of_control : {false, true}) {
    SCOPED_TRACE(of_control);
    FakeBroker broker({.ring_bytes = 4096});
    auto core = attached_core(broker);
    broker.absent = true;
    auto& cursor =
        of_control ? broker.wire->controls.consumer_pos() : broker.wire->requests.consumer_pos();
    cursor.store(1U << 20, std::memory_order_relaxed);  // not 4 KiB below 2^64, where it started
    for (int i = 0; i < 100 && core->attached(); ++i) {
      if (const auto id = core->try_send(Bytes(of_control ? 0 : 900), {}); id && of_control) {
        core->cancel(id.value());
        broker.read_requests();
      }
    }
    EXPECT_FALSE(core->attached());
  }
}

TEST(ClientHostile, AbortWithSuccessAsItsCodeIsNoSuccess) {
  FakeBroker broker;
  auto core = attached_core(broker);
  broker.abort(core->try_send({}, {}).value(), Errc::ok);
  Reply reply;
  ASSERT_EQ(core->poll(reply), Errc::ok);
  EXPECT_EQ(reply.status, Errc::servant_died);
}

// Random bytes anywhere in the reply ring, many sessions: nothing but lost sessions.
TEST(ClientHostile, RandomBytesInTheRingNeverHurt) {
  const char* given = std::getenv("MSERVE_TEST_SEED");
  const std::uint64_t seed =
      given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device{}();
  SCOPED_TRACE("replay with MSERVE_TEST_SEED=" + std::to_string(seed));
  std::mt19937_64 random(seed);
  FakeBroker broker({.ring_bytes = 4096, .message_bytes_max = 1 << 16});
  auto core = attached_core(broker);
  Reply reply;
  std::uint64_t completed = 0;
  std::uint64_t sent = 0;
  for (int round = 0; round < 20'000; ++round) {
    if (const auto id = core->try_send(bytes_of("x"), {})) {
      ++sent;
      broker.read_requests();
      broker.received.clear();
      if (random() % 2 == 0) {
        broker.answer(id.value() - random() % 3, "fine", static_cast<Errc>(random() % 70));
      } else {
        broker.fragment(id.value() - random() % 2, random() % 3, random() % 5, bytes_of("ab"));
      }
    }
    if (random() % 4 == 0) {
      const std::size_t at = random() % (4096 / 8);
      const std::uint64_t word = random() >> (random() % 64);
      std::memcpy(broker.wire->replies.data() + 8 * at, &word, sizeof(word));
    }
    while (core->poll(reply) == Errc::ok) {
      ++completed;
      std::uint64_t sum = 0;
      for (const std::byte b : reply.payload) {
        sum += static_cast<std::uint64_t>(b);
      }
      ASSERT_LE(sum, 255U * reply.payload.size());
    }
    broker.read_controls();
  }
  EXPECT_EQ(completed + core->in_flight(), sent);
}

}  // namespace
}  // namespace mserve
