// SPDX-License-Identifier: Apache-2.0
// Clients that break the protocol of the rings: each is closed with a reason and touches nobody
// else.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstring>
#include <functional>
#include <random>
#include <thread>

#include "hostile/bystander.hpp"
#include "mserve/shm/socket.hpp"
#include "support/race_detector.hpp"
#include "support/seed.hpp"

namespace mserve::test {
namespace {

constexpr std::uint64_t kBig = 10'000'000;

shm::FrameHeader request_header(std::uint64_t id) {
  shm::FrameHeader header;
  header.kind = shm::Kind::request;
  header.flags = shm::kFlagOpaque;
  header.id = id;
  return header;
}

std::uint64_t word(std::uint32_t bytes, std::uint8_t kind, std::uint8_t flags = 0,
                   std::uint16_t ext = 0) {
  return std::uint64_t{bytes} | std::uint64_t{kind} << 32 | std::uint64_t{flags} << 40 |
         std::uint64_t{ext} << 48;
}

/// One way to break the protocol that must end the session with `code`.
struct AttackByClient {
  const char* name;
  Errc code;
  std::function<void(RawPeer&)> run;
};

void forge(RawPeer& peer, std::uint64_t commit_word) {
  peer.put_word(peer.out().position(), commit_word);
  peer.wake_broker();
}

std::vector<AttackByClient> attacks_by_client() {
  const auto fragment = [](std::uint64_t offset, std::uint64_t total, std::size_t bytes) {
    return [=](RawPeer& p) { (void)p.fragment(request_header(1), offset, total, pattern(bytes)); };
  };
  const auto then = [](std::uint64_t offset, std::uint64_t total, std::size_t bytes) {
    return [=](RawPeer& p) {
      (void)p.fragment(request_header(1), 0, kBig, pattern(1000));
      (void)p.fragment(request_header(1), offset, total, pattern(bytes));
    };
  };
  const auto extension = [](std::uint16_t type, std::uint16_t bytes, std::size_t really) {
    return [=](RawPeer& p) {
      Bytes ext(really);
      std::memcpy(ext.data(), &type, 2);
      std::memcpy(ext.data() + 2, &bytes, 2);
      (void)p.send(request_header(1), ext, pattern(10));
    };
  };
  const auto kind = [](shm::Kind k) {
    return [=](RawPeer& p) {
      shm::FrameHeader header = request_header(1);
      header.kind = k;
      (void)p.send(header, {}, {});
    };
  };
  const auto control = [](shm::Kind k, std::uint64_t id) {
    return [=](RawPeer& p) {
      shm::FrameHeader header;
      header.kind = k;
      header.id = id;
      (void)p.send_control(header);
    };
  };
  return {
      {"FrameShorterThanAHeader", Errc::bad_frame, [](RawPeer& p) { forge(p, word(23, 1)); }},
      {"FrameOfHalfTheRing", Errc::bad_frame, [](RawPeer& p) { forge(p, word(32768, 1)); }},
      {"FrameOfFourGigabytes", Errc::bad_frame, [](RawPeer& p) { forge(p, word(0xffffffff, 1)); }},
      {"FrameOfNoKind", Errc::bad_frame, [](RawPeer& p) { forge(p, word(64, 0)); }},
      {"FrameOfUnknownKind", Errc::bad_frame, [](RawPeer& p) { forge(p, word(64, 77)); }},
      {"ExtensionsLongerThanTheFrame", Errc::bad_frame,
       [](RawPeer& p) { forge(p, word(64, 1, 0, 48)); }},
      {"ExtensionsOfOddLength", Errc::bad_frame, [](RawPeer& p) { forge(p, word(64, 1, 0, 7)); }},
      {"PaddingInTheMiddle", Errc::bad_frame, [](RawPeer& p) { forge(p, word(64, 3)); }},
      {"AllOnes", Errc::bad_frame, [](RawPeer& p) { forge(p, ~std::uint64_t{0}); }},
      {"ExtensionOfLengthZero", Errc::bad_frame, extension(9, 0, 8)},
      {"ExtensionBeyondItsEnd", Errc::bad_frame, extension(9, 64, 16)},
      {"ExtensionOfOddLength", Errc::bad_frame, extension(9, 12, 16)},
      {"FlowExtensionTooShort", Errc::bad_frame, extension(2, 8, 8)},
      {"AReplyFromAClient", Errc::bad_frame, kind(shm::Kind::reply)},
      {"AWindowInTheRequestRing", Errc::bad_frame, kind(shm::Kind::window)},
      {"ACancelInTheRequestRing", Errc::bad_frame, kind(shm::Kind::cancel)},
      {"FirstFragmentNotAtZero", Errc::bad_frame, fragment(8, kBig, 1000)},
      {"FragmentWithoutBytes", Errc::bad_frame, fragment(0, kBig, 0)},
      {"FragmentLongerThanItsTotal", Errc::bad_frame, fragment(0, 999, 1000)},
      {"FragmentWithATotalOfZero", Errc::bad_frame, fragment(0, 0, 1000)},
      {"SecondFragmentWithAGap", Errc::bad_frame, then(2000, kBig, 1000)},
      {"SecondFragmentAgain", Errc::bad_frame, then(0, kBig, 1000)},
      {"SecondFragmentWithAnotherTotal", Errc::bad_frame, then(1000, kBig + 1, 1000)},
      {"OffsetThatWrapsAround", Errc::bad_frame, then(~std::uint64_t{0} - 10, kBig, 1000)},
      {"ARequestOnTheControlRing", Errc::bad_frame, control(shm::Kind::request, 1)},
      {"AWindowOfAnotherOrigin", Errc::bad_frame, control(shm::Kind::window, 7)},
      {"GarbageOnTheControlRing", Errc::bad_frame,
       [](RawPeer& p) {
         // Every line: wherever the broker looks next.
         for (std::size_t at = 0; at + 8 <= p.control_ring().size(); at += shm::kCacheLine) {
           const std::uint64_t lie = word(9, 200);
           std::memcpy(p.control_ring().data() + at, &lie, 8);
         }
         p.wake_broker();
       }},
      {"TooManyFlowsAtOnce", Errc::bad_frame,
       [](RawPeer& p) {
         for (std::uint64_t id = 1; id <= 65; ++id) {
           (void)p.fragment(request_header(id), 0, 20'000, pattern(10));
         }
       }},
      {"AnotherOrigin", Errc::bad_frame,
       [](RawPeer& p) {
         std::array<std::byte, shm::ext_bytes_of(8)> ext;
         (void)shm::put_extension(ext.data(), shm::ExtType::origin, 5, std::uint64_t{1});
         (void)p.send(request_header(1), ext, pattern(10));
       }},
  };
}

class ClientAttack : public ::testing::TestWithParam<std::size_t> {};

TEST_P(ClientAttack, ClosesThatSessionWithAReason) {
  const AttackByClient attack = attacks_by_client()[GetParam()];
  Bystander others;
  {
    RawPeer attacker = raw_client(others.broker());
    attack.run(attacker);
    const shm::Closing closing = attacker.wait_closed();
    EXPECT_EQ(closing.status, attack.code) << to_string(closing.status);
    EXPECT_FALSE(shm::text_of(closing.reason).empty());
  }
  const std::string line = others.broker().wait_for_log("closed client=raw");
  EXPECT_NE(line.find(std::string("reason=\"") + to_string(attack.code)), std::string::npos)
      << line;
  EXPECT_EQ(others.broker().counter("closed_total"), 1U);
  others.expect_unharmed();
}
INSTANTIATE_TEST_SUITE_P(Each, ClientAttack,
                         ::testing::Range(std::size_t{0}, attacks_by_client().size()),
                         [](const auto& test) {
                           return std::string(attacks_by_client()[test.param].name);
                         });

TEST(HostileClient, ConsumerCursorThatLiesIsClosedAtTheNextAnswerThatNeedsRoom) {
  for (const std::uint64_t lie :
       {std::uint64_t{64} << 30, ~std::uint64_t{0} & ~std::uint64_t{63}, std::uint64_t{1}}) {
    Bystander others;
    {
      RawPeer attacker = raw_client(others.broker());
      attacker.front().consumer_pos.store(attacker.welcome().ring_start + lie,
                                          std::memory_order_release);
      std::uint64_t id = 0;
      const Bytes payload = pattern(8000);
      EXPECT_TRUE(wait_until(
          [&] {
            (void)attacker.try_send(request_header(++id), {}, payload);
            return attacker.closed();
          },
          "the broker to look at the cursor"));
      EXPECT_EQ(attacker.wait_closed().status, Errc::cursor_out_of_range);
    }
    others.expect_unharmed();
  }
}

TEST(HostileClient, DrainingTwiceIsClosedAtTheNextAnswerThatNeedsRoom) {
  Bystander others;
  {
    RawPeer attacker = raw_client(others.broker());
    const Bytes payload = pattern(8000);
    std::uint64_t id = 0;
    // More than a ring, so that the broker has looked at the cursor before.
    while (id < 12) {
      ASSERT_TRUE(attacker.request(++id, payload));
      ASSERT_TRUE(attacker.take());
    }
    attacker.front().consumer_pos.store(attacker.welcome().ring_start, std::memory_order_release);
    EXPECT_TRUE(wait_until(
        [&] {
          (void)attacker.try_send(request_header(++id), {}, payload);
          return attacker.closed();
        },
        "the broker to look at the cursor again"));
    EXPECT_EQ(attacker.wait_closed().status, Errc::cursor_out_of_range);
  }
  others.expect_unharmed();
}

TEST(HostileClient, EveryWordInFrontOfItsRingMayBeAnything) {
  // Header, cursors, sleep word, and the room between them, while it asks and is answered.
  Bystander others;
  std::mt19937_64 random(seed());
  for (int round = 0; round < 10; ++round) {
    RawPeer attacker = raw_client(others.broker());
    auto* const words = reinterpret_cast<std::atomic<std::uint64_t>*>(&attacker.front());
    constexpr std::size_t kWords = shm::kPageBytes / sizeof(std::uint64_t);
    for (std::size_t i = 0; i < kWords && !attacker.closed(); ++i) {
      const std::size_t at = round % 2 == 0 ? i : random() % kWords;
      words[at].store(round % 3 == 0 ? ~std::uint64_t{0} : random(), std::memory_order_relaxed);
      (void)attacker.try_send(request_header(i + 1), {}, pattern(100));
    }
    expect_echo(others.client(), pattern(100));
  }
  others.expect_unharmed();
}

TEST(HostileClient, CommitWordsThatChangeWhileTheyAreReadHarmNobodyElse) {
  if (kRaceDetector) {
    GTEST_SKIP() << "the attacker races with itself by intention; the other builds run this";
  }
  Bystander others;
  for (const std::uint64_t lie :
       {word(40, 1, shm::kFlagOpaque), word(16384, 1), word(64, 1, 0, 8)}) {
    RawPeer attacker = raw_client(others.broker());
    std::atomic<bool> stop{false};
    const std::uint64_t at = attacker.out().position();
    std::thread flipper([&] {
      for (std::uint64_t i = 0; !stop.load(std::memory_order_acquire); ++i) {
        attacker.put_word(at, i % 2 == 0 ? lie : ~std::uint64_t{0});
        attacker.put_word(at + shm::kCacheLine, i % 3 == 0 ? lie : 0);
      }
    });
    for (int i = 0; i < 20; ++i) {
      attacker.wake_broker();
      expect_echo(others.client(), pattern(100));
    }
    stop.store(true, std::memory_order_release);
    flipper.join();
    attacker.vanish();
  }
  others.expect_unharmed();
}

TEST(HostileClient, PolledWordOfAnyValueHarmsNobody) {
  Bystander others;
  {
    RawPeer attacker = raw_client(others.broker());
    for (const std::uint32_t value : {0U, 2U, 3U, 77U, ~0U}) {
      attacker.front().polled.store(value, std::memory_order_release);
      attacker.front().sleep_word.store(value * 31, std::memory_order_release);
      EXPECT_TRUE(attacker.request(value + 1ULL, pattern(10)));
      EXPECT_TRUE(attacker.take());
    }
  }
  others.expect_unharmed();
}

TEST(HostileClient, WindowGrantsOfAnySizeAreTakenAsTheWindowAtMost) {
  Bystander others;
  {
    RawPeer attacker = raw_client(others.broker());
    for (int i = 0; i < 100; ++i) {
      shm::FrameHeader grant;
      grant.kind = shm::Kind::window;
      grant.aux = ~std::uint64_t{0} - static_cast<std::uint64_t>(i);
      EXPECT_TRUE(attacker.send_control(grant));
    }
    EXPECT_TRUE(attacker.request(1, pattern(10)));
    EXPECT_TRUE(attacker.take());
  }
  others.expect_unharmed();
}

TEST(HostileClient, CancelsAndAbortsOfWhateverIdAreHarmless) {
  Bystander others;
  {
    RawPeer attacker = raw_client(others.broker());
    for (std::uint64_t id = 0; id < 200; ++id) {
      shm::FrameHeader cancel;
      cancel.kind = shm::Kind::cancel;
      cancel.id = id % 2 == 0 ? id : ~id;
      EXPECT_TRUE(attacker.send_control(cancel));
      shm::FrameHeader abort = request_header(cancel.id);
      abort.kind = shm::Kind::abort;
      EXPECT_TRUE(attacker.send(abort, {}, {}));
    }
    EXPECT_TRUE(attacker.request(1, pattern(10)));
    EXPECT_TRUE(attacker.take());
  }
  others.expect_unharmed();
}

TEST(HostileClient, TheSameIdManyTimesIsAnsweredManyTimes) {
  Bystander others;
  {
    RawPeer attacker = raw_client(others.broker());
    for (int i = 0; i < 50; ++i) {
      EXPECT_TRUE(attacker.request(7, pattern(10)));
    }
    for (int i = 0; i < 50; ++i) {
      const auto reply = attacker.take();
      ASSERT_TRUE(reply);
      EXPECT_EQ(reply->header.id, 7U);
    }
  }
  others.expect_unharmed();
}

TEST(HostileClient, PromisesOfEndlessMessagesTakeNoMemory) {
  // A total of a terabyte is refused; one below the limit is gathered or streamed, never allocated.
  Bystander others;
  {
    RawPeer attacker = raw_client(others.broker());
    for (std::uint64_t id = 1; id <= 16; ++id) {
      EXPECT_TRUE(attacker.fragment(request_header(id), 0, id % 2 == 0 ? 1ULL << 40 : 1ULL << 62,
                                    pattern(100)));
    }
    for (int i = 0; i < 16; ++i) {
      const auto reply = attacker.take();
      ASSERT_TRUE(reply);
      EXPECT_EQ(shm::unpack_reply(reply->header.aux).status,
                static_cast<std::uint16_t>(Errc::too_large));
    }
  }
  others.expect_unharmed();
}

TEST(HostileClient, AnEndlessMessageIsCutAtTheEndThatItTold) {
  Bystander others;
  {
    RawPeer attacker = raw_client(others.broker());
    constexpr std::uint64_t kTotal = 1'000'000;
    const Bytes payload = pattern(10'000);
    std::uint64_t offset = 0;
    // Fragment after fragment; what lies beyond the total is a breach.
    EXPECT_TRUE(wait_until(
        [&] {
          std::array<std::byte, shm::ext_bytes_of(sizeof(shm::FlowExt))> extension;
          (void)shm::put_extension(extension.data(), shm::ExtType::flow, 0,
                                   shm::FlowExt{offset, kTotal});
          offset += attacker.try_send(request_header(1), extension, payload) ? payload.size() : 0;
          (void)attacker.poll();
          return attacker.closed();
        },
        "an endless message to be cut"));
    EXPECT_EQ(attacker.wait_closed().status, Errc::bad_frame);
    EXPECT_LE(offset, kTotal + attacker.ring().size() + payload.size());
  }
  others.expect_unharmed();
}

TEST(HostileClient, BytesThatChangeWhileTheyAreReadHarmNobodyElse) {
  if (kRaceDetector) {
    GTEST_SKIP() << "the attacker races with itself by intention; the other builds run this";
  }
  Bystander others;
  {
    RawPeer attacker = raw_client(others.broker());
    std::atomic<bool> stop{false};
    const std::uint64_t from = attacker.welcome().ring_start + 24;
    std::thread flipper([&] {
      // Payload bytes only: header words are the other tests' subject.
      for (std::uint64_t i = 0; !stop.load(std::memory_order_acquire); ++i) {
        std::byte& place = attacker.ring()[(from + i % 4000) % attacker.ring().size()];
        reinterpret_cast<std::atomic<std::uint8_t>*>(&place)->store(static_cast<std::uint8_t>(i),
                                                                    std::memory_order_relaxed);
      }
    });
    std::mt19937_64 random(seed());
    for (std::uint64_t id = 1; id <= 300 && !attacker.closed(); ++id) {
      (void)attacker.try_send(request_header(id), {}, pattern(4000 + random() % 3000));
      (void)attacker.poll();
    }
    stop.store(true, std::memory_order_release);
    flipper.join();
    attacker.vanish();
  }
  others.expect_unharmed();
}

TEST(HostileClient, RandomWordsInItsWholeSegmentHarmNobodyElse) {
  Bystander others;
  std::mt19937_64 random(seed());
  for (int round = 0; round < 40; ++round) {
    RawPeer attacker = raw_client(others.broker());
    (void)attacker.request(1, pattern(100));
    const std::uint64_t start = attacker.welcome().ring_start;
    for (int i = 0; i < 200 && !attacker.closed(); ++i) {
      // Small numbers and plausible frames reach further than noise does.
      const std::uint64_t noise = random();
      const std::uint64_t lie = noise % 3 == 0 ? noise
                                : noise % 3 == 1
                                    ? word(static_cast<std::uint32_t>(random() % 2000),
                                           static_cast<std::uint8_t>(random() % 8),
                                           static_cast<std::uint8_t>(random() % 8),
                                           static_cast<std::uint16_t>(random() % 5 * 8))
                                    : random() % 4096;
      switch (random() % 5) {
        case 0:
          attacker.front().consumer_pos.store(start + random() % 8 * 64, std::memory_order_relaxed);
          break;
        case 1:
          attacker.front().polled.store(static_cast<std::uint32_t>(lie), std::memory_order_relaxed);
          break;
        case 2:
          std::memcpy(attacker.control_ring().data() + random() % 64 * 64, &lie, 8);
          break;
        default:
          attacker.put_word(start + random() % 512 * 8, lie);
      }
      attacker.wake_broker();
    }
    attacker.vanish();
  }
  others.expect_unharmed();
}

TEST(HostileClient, AFloodOfBellsAndMessagesOnItsSocketHarmsNobody) {
  Bystander others({"--idle", "park"});
  {
    RawPeer attacker = raw_client(others.broker());
    const Bytes junk = pattern(500);
    for (int i = 0; i < 3000; ++i) {
      (void)shm::send_byte(attacker.socket());
      if (i % 10 == 0) {
        (void)shm::send_message(attacker.socket(), junk, {}, 0);
      }
    }
    EXPECT_TRUE(attacker.request(1, pattern(10)));
    EXPECT_TRUE(attacker.take());
  }
  others.expect_unharmed();
}

TEST(HostileClient, DescriptorsSentAlongAreClosed) {
  Bystander others({"--idle", "park"});
  const std::size_t before = others.broker().descriptors();
  {
    RawPeer attacker = raw_client(others.broker());
    const std::array<int, 4> fds{0, 1, 2, 0};
    const Bytes byte = bytes_of("x");
    for (int i = 0; i < 100; ++i) {
      (void)shm::send_message(attacker.socket(), byte, fds, 0);
    }
    EXPECT_TRUE(wait_until(
        [&] {
          (void)attacker.request(1, pattern(10));
          (void)attacker.take();
          return others.broker().descriptors() <= before + 2;
        },
        "no descriptor to be kept"));
  }
  others.expect_unharmed();
}

TEST(HostileClient, ARequestThatChangesWhileItWaitsIsItsOwnEnd) {
  const Broker broker;
  RawPeer servant = raw_servant(broker, "busy");
  RawPeer other = raw_client(broker);
  ASSERT_TRUE(other.request(1, pattern(10)));
  ASSERT_TRUE(servant.take());
  RawPeer liar = raw_client(broker);
  const std::uint64_t at = liar.out().position();
  shm::FrameHeader head;
  head.kind = shm::Kind::request;
  head.flags = shm::kFlagOpaque;
  head.id = 1;
  ASSERT_TRUE(liar.fragment(head, 0, 4'000'000, pattern(1000)));
  broker.wait_for_counter("queued", 1);
  const std::uint64_t id = 2;  // the first fragment waits in the ring for a servant
  std::memcpy(liar.ring().data() + (at & (liar.ring().size() - 1)) + 8, &id, sizeof(id));
  liar.wake_broker();
  EXPECT_EQ(liar.wait_closed().status, Errc::bad_frame);
}

}  // namespace
}  // namespace mserve::test
