// SPDX-License-Identifier: Apache-2.0
#include "mserve/shm/ring.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <deque>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "small_ring.hpp"
#include "support/seed.hpp"

namespace mserve::shm {
namespace {

/// A ring in ordinary memory: one mapping, so that the race detector sees both sides.
class RingTest : public ::testing::TestWithParam<std::uint64_t> {
 protected:
  RingTest() { bind(0); }

  void bind(std::uint64_t start, std::byte fill = std::byte{0}) {
    std::fill_n(data_.get(), kCapacity, fill);
    consumer_pos_.store(start, std::memory_order_relaxed);
    const RingMemory memory{data_.get(),    kCapacity,      start,
                            &producer_pos_, &consumer_pos_, &polled_};
    producer_ = RingProducer(memory);
    consumer_ = RingConsumer(memory);
  }

  bool send(std::uint64_t id, std::uint32_t payload_bytes) {
    FrameHeader header;
    header.id = id;
    header.frame_bytes = kFrameHeaderBytes + payload_bytes;
    std::byte* const frame = producer_.try_claim(header.frame_bytes);
    if (frame == nullptr) {
      return false;
    }
    std::memset(frame + kFrameHeaderBytes, static_cast<int>(id & 0xff), payload_bytes);
    producer_.commit(header);
    return true;
  }

  void expect(std::uint64_t id, std::uint32_t payload_bytes) {
    FrameView frame;
    ASSERT_EQ(consumer_.front(frame), Errc::ok);
    EXPECT_EQ(frame.header.id, id);
    ASSERT_EQ(frame.payload.size(), payload_bytes);
    for (const std::byte b : frame.payload) {
      ASSERT_EQ(b, static_cast<std::byte>(id & 0xff));
    }
    consumer_.release();
  }

  std::uint64_t& word_at(std::uint64_t pos) {
    return *reinterpret_cast<std::uint64_t*>(data_.get() + (pos & (kCapacity - 1)));
  }

  struct AlignedFree {
    void operator()(std::byte* p) const { ::operator delete[](p, std::align_val_t{kCacheStride}); }
  };
  std::unique_ptr<std::byte[], AlignedFree> data_{new (std::align_val_t{kCacheStride})
                                                      std::byte[kCapacity]};
  std::atomic<std::uint64_t> producer_pos_{0};
  std::atomic<std::uint64_t> consumer_pos_{0};
  std::atomic<std::uint32_t> polled_{1};
  RingProducer producer_;
  RingConsumer consumer_;
};

TEST_P(RingTest, EverySizeComesOutAsItWentInOverManyLaps) {
  bind(GetParam(), std::byte{0xee});
  std::uint64_t id = 1;
  for (int lap = 0; lap < 40; ++lap) {
    for (std::uint32_t size = 0; size <= frame_bytes_max(kCapacity) - kFrameHeaderBytes;
         size += 37) {
      ASSERT_TRUE(send(id, size)) << "lap " << lap << " size " << size;
      expect(id++, size);
    }
  }
  FrameView frame;
  EXPECT_EQ(consumer_.front(frame), Errc::empty);
}

TEST_P(RingTest, StalePayloadOfAnEarlierLapIsNeverTakenForAFrame) {
  bind(GetParam(), std::byte{0xee});
  // Payload made of words that would be perfect commit words, then frames of every alignment.
  FrameHeader forged;
  forged.frame_bytes = 64;
  const std::uint64_t word = commit_word(forged);
  std::mt19937_64 random(7);
  for (int i = 0; i < 20000; ++i) {
    const auto size = static_cast<std::uint32_t>(random() % 900);
    FrameHeader header;
    header.id = static_cast<std::uint64_t>(i);
    header.frame_bytes = kFrameHeaderBytes + size;
    std::byte* const frame = producer_.try_claim(header.frame_bytes);
    ASSERT_NE(frame, nullptr);
    for (std::uint32_t at = 0; at + 8 <= size; at += 8) {
      std::memcpy(frame + kFrameHeaderBytes + at, &word, 8);
    }
    producer_.commit(header);
    FrameView view;
    ASSERT_EQ(consumer_.front(view), Errc::ok);
    ASSERT_EQ(view.header.id, static_cast<std::uint64_t>(i));
    consumer_.release();
    ASSERT_EQ(consumer_.front(view), Errc::empty);
  }
}

INSTANTIATE_TEST_SUITE_P(Starts, RingTest,
                         ::testing::Values(std::uint64_t{0}, std::uint64_t{kCapacity - 64},
                                           ~std::uint64_t{0} - 2 * kCapacity + 1,
                                           ~std::uint64_t{0} - 63),
                         [](const auto& param) { return "Start" + std::to_string(param.index); });

TEST_F(RingTest, ClaimIsRefusedWhenConsumerIsOneLapBehindAndGrantedAfterRelease) {
  std::uint64_t sent = 0;
  while (send(sent + 1, 40)) {
    ++sent;
  }
  // All but the two reserved lines hold frames of one line.
  EXPECT_EQ(sent, kCapacity / kCacheLine - 2);
  FrameView frame;
  for (std::uint64_t i = 0; i < sent; ++i) {
    expect(i + 1, 40);
  }
  EXPECT_EQ(consumer_.front(frame), Errc::empty);
  EXPECT_TRUE(send(99, 40));
}

TEST_F(RingTest, FrameLargerThanAQuarterIsRefused) {
  EXPECT_EQ(producer_.try_claim(kCapacity / 4 + 1), nullptr);
  EXPECT_NE(producer_.try_claim(kCapacity / 4), nullptr);
}

TEST_F(RingTest, ClaimWithoutCommitIsInvisible) {
  std::byte* const frame = producer_.try_claim(512);
  ASSERT_NE(frame, nullptr);
  std::memset(frame + kFrameHeaderBytes, 0xff, 512 - kFrameHeaderBytes);
  FrameView view;
  EXPECT_EQ(consumer_.front(view), Errc::empty);
}

// A claim given up for a shorter one used to leave its payload where the next commit word is looked
// for.
TEST_F(RingTest, PayloadOfAClaimThatWasReplacedIsNeverTakenForAFrame) {
  FrameHeader forged;
  forged.frame_bytes = 64;
  const std::uint64_t word = commit_word(forged);
  std::byte* const frame = producer_.try_claim(512);
  ASSERT_NE(frame, nullptr);
  for (std::size_t at = kFrameHeaderBytes; at + 8 <= 512; at += 8) {
    std::memcpy(frame + at, &word, 8);
  }
  ASSERT_TRUE(send(7, 16));
  expect(7, 16);
  FrameView view;
  EXPECT_EQ(consumer_.front(view), Errc::empty);
}

TEST_F(RingTest, FrontWithoutReleaseDeliversAgain) {
  ASSERT_TRUE(send(5, 100));
  FrameView frame;
  ASSERT_EQ(consumer_.front(frame), Errc::ok);
  expect(5, 100);
}

TEST_F(RingTest, ConsumerPublishesEachQuarterAndWhenItRunsDry) {
  for (std::uint64_t i = 0; i < 20; ++i) {
    ASSERT_TRUE(send(i, 40));
  }
  for (std::uint64_t i = 0; i < 15; ++i) {
    expect(i, 40);
  }
  EXPECT_EQ(consumer_pos_.load(std::memory_order_relaxed), 0U);
  expect(15, 40);
  EXPECT_EQ(consumer_pos_.load(std::memory_order_relaxed), kCapacity / 4);
  for (std::uint64_t i = 16; i < 20; ++i) {
    expect(i, 40);
  }
  FrameView frame;
  EXPECT_EQ(consumer_.front(frame), Errc::empty);
  EXPECT_EQ(consumer_pos_.load(std::memory_order_relaxed), 20 * kCacheLine);
}

TEST_F(RingTest, RetainedFrameSurvivesReleaseUntilTheLimitMoves) {
  ASSERT_TRUE(send(1, 40));
  const std::uint64_t kept = producer_.claimed_position();
  producer_.retain(kept);
  expect(1, 40);
  std::uint64_t sent = 1;
  while (send(sent + 1, 40)) {
    ++sent;
    expect(sent, 40);
    FrameView frame;
    ASSERT_EQ(consumer_.front(frame), Errc::empty);
  }
  EXPECT_EQ(sent, kCapacity / kCacheLine - 2);
  EXPECT_EQ(producer_.peek_at(kept)[kFrameHeaderBytes], std::byte{1});
  producer_.retain_nothing();
  EXPECT_TRUE(send(99, 40));
}

TEST_F(RingTest, ConsumerCursorThatRunsPastTheProducerPoisons) {
  while (send(1, 40)) {
  }
  consumer_pos_.store(kCapacity * 4, std::memory_order_relaxed);
  EXPECT_FALSE(send(1, 40));
  EXPECT_TRUE(producer_.poisoned());
}

TEST_F(RingTest, ConsumerCursorThatGoesBackOrIsOddPoisons) {
  for (const std::uint64_t lie : {~std::uint64_t{63}, std::uint64_t{1}, std::uint64_t{65}}) {
    bind(0);
    while (send(1, 40)) {
    }
    consumer_pos_.store(lie, std::memory_order_relaxed);
    EXPECT_FALSE(send(1, 40));
    EXPECT_TRUE(producer_.poisoned()) << lie;
  }
}

TEST_F(RingTest, EveryLieInACommitWordPoisonsAndStaysPoisoned) {
  const auto lie = [](std::uint32_t frame_bytes, std::uint8_t kind, std::uint16_t ext_bytes) {
    FrameHeader h;
    h.frame_bytes = frame_bytes;
    h.kind = static_cast<Kind>(kind);
    h.ext_bytes = ext_bytes;
    return commit_word(h);
  };
  const std::uint64_t lies[] = {
      lie(23, 1, 0),
      lie(kCapacity / 4 + 1, 1, 0),
      lie(0xffffffff, 2, 0),
      lie(64, 0, 0),
      lie(64, 8, 0),
      lie(64, 255, 0),
      lie(64, 1, 7),
      lie(64, 1, 48),
      lie(64, 1, 0xfff8),
      lie(64, 3, 0),
      lie(kCapacity, 3, 0),
      lie(0, 1, 0),
      lie(kCapacity / 4, 3, 0),
  };
  for (const std::uint64_t word : lies) {
    bind(0);
    word_at(0) = word;
    FrameView frame;
    EXPECT_EQ(consumer_.front(frame), Errc::bad_frame) << std::hex << word;
    EXPECT_TRUE(consumer_.poisoned());
    word_at(0) = lie(64, 1, 0);
    EXPECT_EQ(consumer_.front(frame), Errc::bad_frame) << "a second try is not trusted";
  }
}

TEST_F(RingTest, FrameThatWouldWrapOrFollowsTwoPaddingsPoisons) {
  FrameHeader h;
  h.frame_bytes = 256;
  bind(kCapacity - 64);
  word_at(kCapacity - 64) = commit_word(h);
  FrameView frame;
  EXPECT_EQ(consumer_.front(frame), Errc::bad_frame);

  bind(kCapacity - 64);
  FrameHeader padding;
  padding.frame_bytes = 64;
  padding.kind = Kind::padding;
  word_at(kCapacity - 64) = commit_word(padding);
  padding.frame_bytes = kCapacity;
  word_at(0) = commit_word(padding);
  EXPECT_EQ(consumer_.front(frame), Errc::bad_frame);
}

TEST_F(RingTest, APaddingWithNothingBehindItPoisonsForGood) {
  FrameHeader padding;
  padding.frame_bytes = 64;
  padding.kind = Kind::padding;
  bind(kCapacity - 64);
  word_at(kCapacity - 64) = commit_word(padding);
  FrameView frame;
  EXPECT_EQ(consumer_.front(frame), Errc::bad_frame);
  EXPECT_TRUE(consumer_.poisoned());
  EXPECT_EQ(consumer_.front(frame), Errc::bad_frame) << "not empty: the lie is not forgotten";
}

TEST_F(RingTest, RandomWordsInTheRingNeverMakeTheConsumerReadOutside) {
  const std::uint64_t seed = test::seed();
  std::mt19937_64 random(seed);
  for (int round = 0; round < 20000; ++round) {
    bind((random() % 64) * kCacheLine);
    for (std::uint64_t at = 0; at < kCapacity; at += 8) {
      word_at(at) = random() >> (random() % 60);
    }
    FrameView frame;
    for (int i = 0; i < 100 && consumer_.front(frame) == Errc::ok; ++i) {
      ASSERT_GE(frame.payload.data(), data_.get());
      ASSERT_LE(frame.payload.data() + frame.payload.size(), data_.get() + kCapacity);
      ASSERT_LE(frame.extensions.size() + frame.payload.size() + kFrameHeaderBytes, kCapacity / 4);
      consumer_.release();
    }
  }
}

// Goal: edges E1 and E2. Method: two threads on one mapping, so that the race detector would report
// payload read before its publication, or overwritten before its release.
TEST_F(RingTest, TwoThreadsPassEveryByteInOrder) {
  constexpr std::uint64_t kFrames = 200'000;
  std::thread producer([this] {
    for (std::uint64_t i = 0; i < kFrames;) {
      if (send(i, static_cast<std::uint32_t>(i * 7 % 200))) {
        ++i;
      } else {
        std::this_thread::yield();
      }
    }
  });
  for (std::uint64_t i = 0; i < kFrames;) {
    FrameView frame;
    const Errc code = consumer_.front(frame);
    if (code == Errc::empty) {
      std::this_thread::yield();
      continue;
    }
    ASSERT_EQ(code, Errc::ok);
    ASSERT_EQ(frame.header.id, i);
    ASSERT_EQ(frame.payload.size(), i * 7 % 200);
    for (const std::byte b : frame.payload) {
      ASSERT_EQ(b, static_cast<std::byte>(i & 0xff));
    }
    consumer_.release();
    ++i;
  }
  producer.join();
}

// A random schedule of both roles against a queue that is obviously right.
TEST_F(RingTest, AgreesWithAPlainQueueUnderRandomSchedules) {
  const std::uint64_t seed = test::seed();
  std::mt19937_64 random(seed);
  bind(~std::uint64_t{0} - 64 * kCacheLine + 1, std::byte{0xee});
  std::deque<std::pair<std::uint64_t, std::uint32_t>> model;
  std::uint64_t id = 0;
  for (int step = 0; step < 300'000; ++step) {
    if (random() % 2 == 0) {
      const auto size = static_cast<std::uint32_t>(random() % (random() % 8 == 0 ? 1000 : 100));
      if (send(id, size)) {
        model.emplace_back(id, size);
        ++id;
      } else {
        ASSERT_GT(model.size(), 0U) << "an empty ring must have room; seed " << seed;
      }
    } else {
      FrameView frame;
      const Errc code = consumer_.front(frame);
      ASSERT_EQ(code == Errc::ok, !model.empty()) << "seed " << seed;
      if (code == Errc::ok) {
        expect(model.front().first, model.front().second);
        model.pop_front();
      }
    }
  }
}

}  // namespace
}  // namespace mserve::shm
