// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <functional>
#include <random>
#include <vector>

#include "mserve/shm/ring.hpp"
#include "small_ring.hpp"
#include "support/seed.hpp"

namespace mserve::shm {

std::function<void()> after_each_store;

/// An atomic that lets somebody look after every single store.
template <class T>
class SteppedAtom {
 public:
  SteppedAtom() = default;
  explicit SteppedAtom(T value) : value_(value) {}
  [[nodiscard]] T load(std::memory_order order) const noexcept { return value_.load(order); }
  void store(T value, std::memory_order order) noexcept {
    value_.store(value, order);
    if (after_each_store) {
      after_each_store();
    }
  }

 private:
  std::atomic<T> value_{};
};
static_assert(sizeof(SteppedAtom<std::uint64_t>) == sizeof(std::uint64_t));

namespace {

/// What the producer has begun to commit; the consumer may see it or not yet.
struct Sent {
  std::uint64_t id;
  std::size_t payload_bytes;
};

class RingStepTest : public ::testing::Test {
 protected:
  ~RingStepTest() override { after_each_store = nullptr; }

  void look() {
    if (looking_) {
      return;  // the consumer's own store of its cursor
    }
    looking_ = true;
    FrameView frame;
    Errc code = Errc::ok;
    while ((code = consumer_.front(frame)) == Errc::ok && !HasFatalFailure()) {
      ASSERT_LT(taken_, sent_.size()) << "a frame that nobody sent";
      ASSERT_EQ(frame.header.id, sent_[taken_].id);
      ASSERT_EQ(frame.payload.size(), sent_[taken_].payload_bytes);
      consumer_.release();
      ++taken_;
    }
    EXPECT_EQ(code, Errc::empty) << "after " << taken_ << " frames";
    looking_ = false;
  }

  void send(std::uint64_t id, std::uint32_t payload_bytes) {
    FrameHeader header;
    header.id = id;
    header.frame_bytes = kFrameHeaderBytes + payload_bytes;
    std::byte* const frame = producer_.try_claim(header.frame_bytes);
    ASSERT_NE(frame, nullptr);
    FrameHeader forged;  // payload that would pass for a frame, if it were ever looked at as one
    forged.frame_bytes = kCacheLine;
    const std::uint64_t word = commit_word(forged);
    for (std::uint32_t at = 0; at + sizeof(word) <= payload_bytes; at += sizeof(word)) {
      std::memcpy(frame + kFrameHeaderBytes + at, &word, sizeof(word));
    }
    sent_.push_back({id, payload_bytes});
    producer_.commit(header);
  }

  alignas(kCacheStride) std::array<std::byte, kCapacity> data_{};
  SteppedAtom<std::uint64_t> producer_pos_;
  SteppedAtom<std::uint64_t> consumer_pos_;
  SteppedAtom<std::uint32_t> polled_{1};
  BasicRingMemory<SteppedAtom> memory_{data_.data(),   kCapacity,      0,
                                       &producer_pos_, &consumer_pos_, &polled_};
  BasicRingProducer<SteppedAtom> producer_{memory_};
  BasicRingConsumer<SteppedAtom> consumer_{memory_};
  std::vector<Sent> sent_;
  std::size_t taken_ = 0;
  bool looking_ = false;
};

// Goal: the order of the stores of a commit. Method: the consumer looks after each of them, takes
// and releases what it finds; a moment at which anything but a whole frame is reachable fails,
// however short it is.
TEST_F(RingStepTest, AfterEveryStoreOnlyWholeFramesAreReachable) {
  std::mt19937_64 random(test::seed());
  after_each_store = [this] { look(); };
  for (std::uint64_t id = 1; id <= 20'000 && !HasFailure(); ++id) {
    send(id, static_cast<std::uint32_t>(random() % 2 == 0 ? random() % 41 : random() % 1000));
    look();
    EXPECT_EQ(taken_, id);
  }
}

}  // namespace
}  // namespace mserve::shm
