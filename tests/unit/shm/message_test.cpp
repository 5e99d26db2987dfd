// SPDX-License-Identifier: Apache-2.0
#include "mserve/shm/message.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <numeric>

#include "small_ring.hpp"

namespace mserve::shm {
namespace {

std::vector<std::byte> pattern(std::size_t bytes, unsigned first) {
  std::vector<std::byte> out(bytes);
  for (std::size_t i = 0; i < bytes; ++i) {
    out[i] = static_cast<std::byte>((i * 31 + first) & 0xff);
  }
  return out;
}

class MessageTest : public ::testing::Test {
 protected:
  struct alignas(kCacheStride) Data {
    std::byte bytes[kCapacity] = {};
  };
  std::unique_ptr<Data> data_ = std::make_unique<Data>();
  std::atomic<std::uint64_t> producer_pos_{0};
  std::atomic<std::uint64_t> consumer_pos_{0};
  std::atomic<std::uint32_t> polled_{1};
  RingMemory memory_{data_->bytes, kCapacity, 0, &producer_pos_, &consumer_pos_, &polled_};
  RingProducer producer_{memory_};
  RingConsumer consumer_{memory_};

  /// Moves frames until nothing moves any more; complete messages end up in done_.
  void pump(std::vector<FlowWriter*> writers, Assembler& assembler) {
    bool moved = true;
    while (moved) {
      moved = false;
      for (FlowWriter* writer : writers) {
        moved |= writer->step(producer_);
      }
      FrameView frame;
      while (consumer_.front(frame) == Errc::ok) {
        Extensions ext;
        ASSERT_TRUE(parse_extensions(frame.extensions, ext));
        ASSERT_TRUE(ext.has_flow);
        std::vector<std::byte> message;
        const Errc code = assembler.add(frame.header.id, ext.flow, frame.payload, message);
        ASSERT_TRUE(code == Errc::ok || code == Errc::empty) << to_string(code);
        if (code == Errc::ok) {
          done_.emplace_back(frame.header.id, std::move(message));
        }
        consumer_.release();
        moved = true;
      }
    }
  }
  std::vector<std::pair<std::uint64_t, std::vector<std::byte>>> done_;
};

TEST_F(MessageTest, AMessageManyTimesTheRingComesOutIdentical) {
  const auto payload = pattern(300'000, 1);
  FrameHeader head;
  head.id = 7;
  FlowWriter writer(head, payload);
  Assembler assembler(1 << 20);
  pump({&writer}, assembler);
  EXPECT_TRUE(writer.done());
  ASSERT_EQ(done_.size(), 1U);
  EXPECT_EQ(done_[0].first, 7U);
  EXPECT_EQ(done_[0].second, payload);
  EXPECT_EQ(assembler.unfinished(), 0U);
}

TEST_F(MessageTest, InterleavedFlowsAreKeptApart) {
  const auto first = pattern(50'000, 3);
  const auto second = pattern(70'000, 9);
  FrameHeader a;
  a.id = 1;
  FrameHeader b;
  b.id = 2;
  FlowWriter one(a, first);
  FlowWriter two(b, second);
  Assembler assembler(1 << 20);
  pump({&one, &two}, assembler);
  ASSERT_EQ(done_.size(), 2U);
  EXPECT_EQ(done_[0].second, first);
  EXPECT_EQ(done_[1].second, second);
}

TEST(Assembler, GapsOverlapsAndChangedTotalsAreRefusedAndForgotten) {
  const auto piece = pattern(10, 0);
  std::vector<std::byte> out;
  for (const FlowExt second : {FlowExt{11, 30}, FlowExt{9, 30}, FlowExt{0, 30}, FlowExt{10, 31}}) {
    Assembler assembler(1000);
    ASSERT_EQ(assembler.add(1, {0, 30}, piece, out), Errc::empty);
    EXPECT_EQ(assembler.add(1, second, piece, out), Errc::bad_frame);
    EXPECT_EQ(assembler.unfinished(), 0U);
  }
  Assembler assembler(1000);
  EXPECT_EQ(assembler.add(1, {5, 30}, piece, out), Errc::bad_frame) << "must start at 0";
  EXPECT_EQ(assembler.add(1, {0, 5}, piece, out), Errc::bad_frame) << "more than the total";
  EXPECT_EQ(assembler.add(1, {0, 30}, {}, out), Errc::bad_frame) << "no progress";
}

TEST(Assembler, BoundHoldsForOneMessageAndForAllTogether) {
  const auto piece = pattern(60, 0);
  std::vector<std::byte> out;
  Assembler assembler(100);
  EXPECT_EQ(assembler.add(1, {0, 101}, piece, out), Errc::too_large);
  EXPECT_EQ(assembler.add(1, {0, 90}, piece, out), Errc::empty);
  EXPECT_EQ(assembler.add(2, {0, 90}, piece, out), Errc::too_large) << "60 + 60 > 100";
  assembler.drop(1);
  EXPECT_EQ(assembler.add(2, {0, 90}, piece, out), Errc::empty) << "what is dropped counts no more";
}

TEST(Assembler, MemoryFollowsWhatArrivedNotWhatWasPromised) {
  const auto piece = pattern(10, 0);
  std::vector<std::byte> out;
  Assembler assembler(std::uint64_t{1} << 40);
  // A terabyte promised 10,000 times: would not fit anywhere if it were believed.
  for (std::uint64_t id = 0; id < 10'000; ++id) {
    ASSERT_EQ(assembler.add(id, {0, std::uint64_t{1} << 40}, piece, out), Errc::empty);
  }
  EXPECT_EQ(assembler.unfinished(), 10'000U);
}

}  // namespace
}  // namespace mserve::shm
