// SPDX-License-Identifier: Apache-2.0
// Servants that break the protocol: closed with a reason, their requests go elsewhere, nobody else
// notices.
#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <functional>
#include <random>
#include <thread>

#include "hostile/bystander.hpp"
#include "support/race_detector.hpp"
#include "support/seed.hpp"

namespace mserve::test {
namespace {

shm::FrameHeader reply_header(std::uint64_t id) {
  shm::FrameHeader header;
  header.kind = shm::Kind::reply;
  header.flags = shm::kFlagOpaque;
  header.id = id;
  return header;
}

/// What a servant does with the id of the request that it holds.
struct AttackByServant {
  const char* name;
  Errc code;    ///< Why it is closed.
  Errc status;  ///< What the request of the client ends with; it may not be repeated.
  std::function<void(RawPeer&, std::uint64_t)> run;
};

std::vector<AttackByServant> attacks_by_servant() {
  const auto fragments = [](std::uint64_t offset, std::uint64_t total) {
    return [=](RawPeer& p, std::uint64_t id) {
      (void)p.fragment(reply_header(id), 0, 100'000, pattern(1000));
      (void)p.fragment(reply_header(id), offset, total, pattern(1000));
    };
  };
  return {
      {"ARequestFromAServant", Errc::bad_frame, Errc::servant_died,
       [](RawPeer& p, std::uint64_t) { (void)p.request(1, pattern(10)); }},
      {"FirstFragmentNotAtZero", Errc::bad_frame, Errc::servant_died,
       [](RawPeer& p, std::uint64_t id) {
         (void)p.fragment(reply_header(id), 64, 100'000, pattern(1000));
       }},
      {"FragmentsWithAGap", Errc::bad_frame, Errc::servant_died, fragments(5000, 100'000)},
      {"AFragmentAgain", Errc::bad_frame, Errc::servant_died, fragments(0, 100'000)},
      {"AnotherTotal", Errc::bad_frame, Errc::servant_died, fragments(1000, 100'001)},
      {"AHugeTotal", Errc::bad_frame, Errc::servant_died,
       [](RawPeer& p, std::uint64_t id) {
         (void)p.fragment(reply_header(id), 0, 1ULL << 62, pattern(1000));
       }},
      {"AWholeReplyAfterAFragment", Errc::bad_frame, Errc::servant_died,
       [](RawPeer& p, std::uint64_t id) {
         (void)p.fragment(reply_header(id), 0, 100'000, pattern(1000));
         (void)p.reply(id, pattern(10));
       }},
      {"AnExtensionThatLies", Errc::bad_frame, Errc::servant_died,
       [](RawPeer& p, std::uint64_t id) {
         Bytes ext(16);
         ext[2] = std::byte{200};
         (void)p.send(reply_header(id), ext, pattern(10));
       }},
      {"AForgedCommitWord", Errc::bad_frame, Errc::servant_died,
       [](RawPeer& p, std::uint64_t) {
         p.put_word(p.out().position(), ~std::uint64_t{0});
         p.wake_broker();
       }},
  };
}

class ServantAttack : public ::testing::TestWithParam<std::size_t> {};

TEST_P(ServantAttack, ClosesThatSessionWithAReason) {
  const AttackByServant attack = attacks_by_servant()[GetParam()];
  const Broker broker;
  RawPeer servant = raw_servant(broker, "liar");
  broker.wait_for_counter("servants", 1);
  Client client = broker.client();
  const std::uint64_t id = send_opaque(client, pattern(50));
  const auto request = servant.take();
  ASSERT_TRUE(request);
  const Process honest = broker.spawn_servant("honest", {"--rows", "0"});
  broker.wait_for_counter("servants", 2);
  attack.run(servant, request->header.id);
  const shm::Closing closing = servant.wait_closed();
  EXPECT_EQ(closing.status, attack.code) << to_string(closing.status);
  EXPECT_FALSE(shm::text_of(closing.reason).empty());
  (void)broker.wait_for_log("closed servant=liar");
  EXPECT_EQ(await(client, id).status, attack.status);
  expect_echo(client, pattern(100));
  broker.wait_for_counter("running", 0);
  EXPECT_EQ(broker.counter("closed_total"), 1U);
}
INSTANTIATE_TEST_SUITE_P(Each, ServantAttack,
                         ::testing::Range(std::size_t{0}, attacks_by_servant().size()),
                         [](const auto& test) {
                           return std::string(attacks_by_servant()[test.param].name);
                         });

TEST(HostileServant, RepliesToUnknownIdsAreCountedAndDropped) {
  Bystander others;
  RawPeer liar = raw_servant(others.broker(), "liar");
  others.broker().wait_for_counter("servants", 2);
  for (std::uint64_t i = 0; i < 200; ++i) {
    EXPECT_TRUE(liar.reply(i * 0x1'0000'0001ULL, pattern(10)));
    EXPECT_TRUE(liar.reply(~i, pattern(10)));
  }
  others.broker().wait_for_counter("stale_replies", 400);
  EXPECT_FALSE(liar.closed());
  liar.vanish();
  others.broker().wait_for_counter("servants", 1);
  others.expect_unharmed();
}

TEST(HostileServant, ASecondReplyToTheSameRequestIsDropped) {
  const Broker broker;
  RawPeer servant = raw_servant(broker, "twice");
  broker.wait_for_counter("servants", 1);
  Client client = broker.client();
  for (int i = 0; i < 20; ++i) {
    const std::uint64_t id = send_opaque(client, pattern(50));
    const auto request = servant.take();
    ASSERT_TRUE(request);
    EXPECT_TRUE(servant.reply(request->header.id, bytes_of("first")));
    EXPECT_TRUE(servant.reply(request->header.id, bytes_of("again")));
    const mserve::Reply reply = await(client, id);
    EXPECT_EQ(Bytes(reply.payload.begin(), reply.payload.end()), bytes_of("first"));
  }
  broker.wait_for_counter("stale_replies", 20);
}

TEST(HostileServant, CannotAnswerARequestThatAnotherRuns) {
  const Broker broker;
  RawPeer holder = raw_servant(broker, "holder");
  broker.wait_for_counter("servants", 1);
  Client client = broker.client();
  const std::uint64_t id = send_opaque(client, pattern(50));
  const auto request = holder.take();
  ASSERT_TRUE(request);
  RawPeer thief = raw_servant(broker, "thief");
  broker.wait_for_counter("servants", 2);
  EXPECT_TRUE(thief.reply(request->header.id, bytes_of("forged")));
  shm::FrameHeader abort = reply_header(request->header.id);
  abort.kind = shm::Kind::abort;
  EXPECT_TRUE(thief.send(abort, {}, {}));
  broker.wait_for_counter("stale_replies", 2);
  EXPECT_TRUE(holder.reply(request->header.id, bytes_of("true")));
  const mserve::Reply reply = await(client, id);
  EXPECT_EQ(Bytes(reply.payload.begin(), reply.payload.end()), bytes_of("true"));
}

TEST(HostileServant, CannotSpeakWithTheBrokersVoice) {
  // Statuses such as shutdown or busy are the broker's to say; a servant can only fail.
  const Broker broker;
  RawPeer servant = raw_servant(broker, "liar");
  broker.wait_for_counter("servants", 1);
  Client client = broker.client();
  for (const unsigned status : {5U, 60U, 61U, 63U, 999U, 65535U}) {
    const std::uint64_t id = send_opaque(client, pattern(50));
    const auto request = servant.take();
    ASSERT_TRUE(request);
    EXPECT_TRUE(servant.reply(request->header.id, {}, static_cast<std::uint16_t>(status)));
    EXPECT_EQ(await(client, id).status, Errc::failed) << status;
  }
}

TEST(HostileServant, AnAbortedAnswerIsServantDied) {
  const Broker broker;
  RawPeer servant = raw_servant(broker, "aborts");
  broker.wait_for_counter("servants", 1);
  Client client = broker.client();
  for (const bool begun : {false, true}) {
    const std::uint64_t id = send_opaque(client, pattern(50));
    const auto request = servant.take();
    ASSERT_TRUE(request);
    if (begun) {
      EXPECT_TRUE(servant.fragment(reply_header(request->header.id), 0, 100'000, pattern(1000)));
    }
    shm::FrameHeader abort = reply_header(request->header.id);
    abort.kind = shm::Kind::abort;
    EXPECT_TRUE(servant.send(abort, {}, {}));
    EXPECT_EQ(await(client, id).status, Errc::servant_died);
  }
  EXPECT_FALSE(servant.closed());
}

TEST(HostileServant, ACursorThatLiesClosesIt) {
  BrokerSetup setup;
  setup.args = {"--servant-ring", "64k", "--gather-max", "16k", "--retain-max", "0"};
  const Broker broker(setup);
  RawPeer servant(broker, RawSetup{.role = shm::Role::servant, .name = "liar", .credit = 64});
  broker.wait_for_counter("servants", 1);
  servant.front().consumer_pos.store(~std::uint64_t{63}, std::memory_order_release);
  Client client = broker.client();
  std::vector<std::uint64_t> ids;
  for (int i = 0; i < 20; ++i) {
    ids.push_back(send_opaque(client, pattern(8000)));
  }
  EXPECT_EQ(servant.wait_closed().status, Errc::cursor_out_of_range);
  for (const std::uint64_t id : ids) {
    const Errc status = await(client, id).status;
    EXPECT_TRUE(status == Errc::servant_died || status == Errc::no_servant) << to_string(status);
  }
}

TEST(HostileServant, RandomWordsInItsWholeSegmentHarmNobodyElse) {
  Bystander others;
  std::mt19937_64 random(seed());
  for (int round = 0; round < 30; ++round) {
    RawPeer liar = raw_servant(others.broker(), "liar", 4);
    const std::uint64_t start = liar.welcome().ring_start;
    for (int i = 0; i < 100 && !liar.closed(); ++i) {
      const std::uint64_t lie =
          std::uint64_t{random() % 2000} | (random() % 8) << 32 | (random() % 8) << 40;
      switch (random() % 4) {
        case 0:
          liar.front().consumer_pos.store(start + random() % 16 * 32, std::memory_order_relaxed);
          break;
        case 1:
          liar.front().polled.store(static_cast<std::uint32_t>(random() % 4),
                                    std::memory_order_relaxed);
          break;
        default:
          liar.put_word(start + random() % 512 * 8, lie);
      }
      liar.wake_broker();
      // Requests that it may get are lost with it; they can be repeated.
      (void)send_opaque(others.client(), pattern(50), {.repeatable = true});
      others.client().poll_each([](const mserve::Reply&) {});
    }
    liar.vanish();
    while (others.client().in_flight() > 0 && !HasFailure()) {
      EXPECT_EQ(others.client().wait(watchdog()), Errc::ok);
      others.client().poll_each([](const mserve::Reply&) {});
    }
  }
  others.broker().wait_for_counter("servants", 1);
  others.expect_unharmed();
}

TEST(HostileServant, AnswersThatChangeWhileTheyAreReadHarmNobodyElse) {
  if (kRaceDetector) {
    GTEST_SKIP() << "the attacker races with itself by intention; the other builds run this";
  }
  Bystander others;
  {
    RawPeer liar = raw_servant(others.broker(), "liar", 4);
    std::atomic<bool> stop{false};
    std::thread flipper([&] {
      // All of its ring: payloads, headers and commit words.
      for (std::uint64_t i = 0; !stop.load(std::memory_order_acquire); ++i) {
        std::byte& place = liar.ring()[i * 37 % 20'000];
        reinterpret_cast<std::atomic<std::uint8_t>*>(&place)->store(static_cast<std::uint8_t>(i),
                                                                    std::memory_order_relaxed);
      }
    });
    for (int i = 0; i < 100 && !liar.closed(); ++i) {
      (void)send_opaque(others.client(), pattern(50), {.repeatable = true});
      if (const auto request = liar.poll()) {
        (void)liar.try_send(reply_header(request->header.id), {}, pattern(3000));
      }
      others.client().poll_each([](const mserve::Reply&) {});
    }
    stop.store(true, std::memory_order_release);
    flipper.join();
  }
  while (others.client().in_flight() > 0 && !HasFailure()) {
    EXPECT_EQ(others.client().wait(watchdog()), Errc::ok);
    others.client().poll_each([](const mserve::Reply&) {});
  }
  others.broker().wait_for_counter("servants", 1);
  others.expect_unharmed();
}

// The broker went on with what it had forwarded of one frame as if it were of the other, and the
// client, who got a fragment at a wrong place, ended its session for the broker's lie.
TEST(HostileServant, AHalfForwardedAnswerThatChangesIsItsOwnEnd) {
  for (const bool shorter : {true, false}) {
    SCOPED_TRACE(shorter ? "shorter" : "of another request");
    const Broker broker;
    RawPeer victim = raw_client(broker);
    RawPeer liar = raw_servant(broker, "liar", 2);
    ASSERT_TRUE(victim.request(1, pattern(50)));
    ASSERT_TRUE(victim.request(2, pattern(50)));
    const std::uint64_t first = liar.take()->header.id;
    const std::uint64_t second = liar.take()->header.id;
    const std::uint64_t at = liar.out().position();
    ASSERT_TRUE(liar.fragment(reply_header(first), 0, 600'000, pattern(200'000)));
    const auto piece = victim.take();
    ASSERT_TRUE(piece);
    ASSERT_LT(piece->payload.size(), 200'000U) << "the rest waits for a window";
    shm::FrameHeader changed = reply_header(shorter ? first : second);
    changed.ext_bytes = shm::ext_bytes_of(sizeof(shm::FlowExt));
    changed.frame_bytes = shm::kFrameHeaderBytes + changed.ext_bytes + (shorter ? 4096 : 200'000);
    std::memcpy(liar.ring().data() + (at & (liar.ring().size() - 1)) + 8, &changed.id, 8);
    liar.put_word(at, shm::commit_word(changed));
    liar.wake_broker();
    EXPECT_EQ(liar.wait_closed().status, Errc::bad_frame);
    std::uint64_t ended = 0;
    while (ended < 2 && !HasFailure()) {
      const auto frame = victim.take();
      ASSERT_TRUE(frame);
      const bool more = frame->header.kind == shm::Kind::reply && frame->extensions.has_flow;
      EXPECT_TRUE(!more || frame->header.id == 1U) << "nothing of the answer to 1 is one to 2";
      ended += more ? 0 : 1;
    }
  }
}

}  // namespace
}  // namespace mserve::test
