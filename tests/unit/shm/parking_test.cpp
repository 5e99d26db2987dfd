// SPDX-License-Identifier: Apache-2.0
#include "mserve/shm/parking.hpp"

#include <gtest/gtest.h>
#include <pthread.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <future>
#include <iostream>
#include <memory>
#include <random>
#include <string>
#include <thread>

#include "mserve/shm/clock.hpp"
#include "mserve/shm/futex.hpp"
#include "mserve/shm/membarrier.hpp"
#include "mserve/shm/socket.hpp"
#include "small_ring.hpp"
#include "support/seed.hpp"

namespace mserve::shm {
namespace {

constexpr std::size_t kRingsMax = 3;
constexpr std::uint64_t kBurstsMax = 200'000;
constexpr std::uint64_t kRunNs =
    400'000'000;  // ends the run early on a slow machine; fails nothing
constexpr std::uint64_t kLastId = ~std::uint64_t{0};

struct Way {
  Polled sleep;        // how the consumer sleeps
  bool seq_cst_wakes;  // the fallback without membarrier
  std::size_t rings;   // several: one barrier for all of them, as in the broker
};

/// One ring in ordinary memory: a single mapping, so that the race detector sees both sides.
struct Lane {
  alignas(kCacheStride) std::array<std::byte, kCapacity> data{};
  alignas(kCacheStride) std::atomic<std::uint32_t> polled{1};
  alignas(kCacheStride) std::atomic<std::uint64_t> consumer_pos{0};
  RingProducer producer;
  RingConsumer consumer;
};

/// Seconds without a single frame after which a wake-up counts as lost.
std::chrono::seconds watchdog() {
  const char* const given = std::getenv("MSERVE_TEST_WATCHDOG_S");
  return std::chrono::seconds(given != nullptr ? std::atoi(given) : 60);
}

/// Puts the calling thread on the n-th usable core, if there is one: the scheduler likes to put a
/// woken thread beside its waker, where the two never run at the same time.
void run_on_core(int n) {
  cpu_set_t usable;
  CPU_ZERO(&usable);
  if (::sched_getaffinity(0, sizeof(usable), &usable) != 0) {
    return;
  }
  for (std::size_t core = 0; core < CPU_SETSIZE; ++core) {
    if (CPU_ISSET(core, &usable) && n-- == 0) {
      cpu_set_t one;
      CPU_ZERO(&one);
      CPU_SET(core, &one);
      (void)::pthread_setaffinity_np(::pthread_self(), sizeof(one), &one);
      return;
    }
  }
}

/// Both roles around the real code. The producer commits a burst, wakes if it has to, and goes on
/// only when all of it was taken: so no later wake hides one that was lost. The consumer sleeps
/// without time-out: a lost wake-up hangs it for ever, and the watchdog says so.
class ParkingTest : public ::testing::TestWithParam<Way> {
 protected:
  void SetUp() override {
    if (!GetParam().seq_cst_wakes &&
        (!membarrier_available() || membarrier_register_global_expedited().code != Errc::ok)) {
      GTEST_SKIP() << "this kernel has no membarrier(GLOBAL_EXPEDITED)";
    }
    event_ = UniqueFd(::eventfd(0, EFD_CLOEXEC));
    ASSERT_TRUE(event_);
    for (std::size_t i = 0; i < GetParam().rings; ++i) {
      Lane& lane = lanes_[i];
      const RingMemory memory{lane.data.data(), kCapacity,          0,
                              nullptr,          &lane.consumer_pos, &lane.polled};
      lane.producer = RingProducer(memory, GetParam().seq_cst_wakes);
      lane.consumer = RingConsumer(memory);
    }
  }

  void send(Lane& lane, std::uint64_t id, std::uint32_t payload_bytes) {
    FrameHeader header;
    header.id = id;
    header.frame_bytes = kFrameHeaderBytes + payload_bytes;
    std::byte* const frame = lane.producer.try_claim(header.frame_bytes);
    ASSERT_NE(frame, nullptr) << "a drained ring has room for a burst";
    std::memset(frame + kFrameHeaderBytes, static_cast<int>(id | 1), payload_bytes);
    lane.producer.commit(header);
  }

  /// What the committing side does, with the waker's repetition of futex wakes.
  void wake(Lane& lane) {
    if (lane.producer.consumer_polled() == Polled::polling) {
      return;
    }
    ++wakes_;
    if (GetParam().sleep == Polled::sleeping_on_socket) {
      const std::uint64_t one = 1;
      ASSERT_EQ(::write(event_.get(), &one, sizeof(one)), static_cast<ssize_t>(sizeof(one)));
      return;
    }
    while (lane.producer.consumer_polled() != Polled::polling && futex_wake(sleep_word_) == 0 &&
           !stop_.load(std::memory_order_relaxed)) {
      std::this_thread::yield();
    }
  }

  /// Mostly few, sometimes up to 2^magnitude: next to a membarrier, or long enough to fall asleep.
  void pause(std::mt19937_64& random, std::uint64_t magnitude) {
    const std::uint64_t spins = random() % (std::uint64_t{1} << (random() % (magnitude + 1)));
    for (std::uint64_t i = 0; i < spins && !stop_.load(std::memory_order_relaxed); ++i) {
    }
  }

  bool all_taken(std::uint64_t sent) {
    // Two threads on one core would otherwise wait out each other's time slices.
    for (std::uint32_t i = 1; taken_.load(std::memory_order_acquire) != sent; ++i) {
      if (stop_.load(std::memory_order_relaxed)) {
        return false;
      }
      if (i % 4096 == 0) {
        std::this_thread::yield();
      }
    }
    return true;
  }

  void produce(std::uint64_t seed) {
    run_on_core(0);
    std::mt19937_64 random(seed);
    const std::uint64_t until = steady_now() + kRunNs;
    std::uint64_t sent = 0;
    for (std::uint64_t burst = 0; burst < kBurstsMax && steady_now() < until; ++burst) {
      Lane& lane = lanes_[random() % GetParam().rings];
      const std::uint64_t frames = random() % 4 == 0 ? 1 + random() % 4 : 1;
      for (std::uint64_t i = 0; i < frames; ++i) {
        send(lane, sent++,
             static_cast<std::uint32_t>(random() % 8 == 0 ? random() % 600 : random() % 41));
      }
      wake(lane);
      if (!all_taken(sent)) {
        return;
      }
      // Meets the consumer at every place between its last look and its sleep; often it is asleep.
      pause(random, 14);
      // With `polled` in its cache, the load after the next commit is early and the store is late.
      (void)lanes_[0].producer.consumer_polled();
    }
    send(lanes_[0], kLastId, 8);
    wake(lanes_[0]);
  }

  /// Takes what there is. @return false after the last frame.
  bool take(Lane& lane, std::uint64_t& count) {
    FrameView frame;
    Errc code = Errc::ok;
    while ((code = lane.consumer.front(frame)) == Errc::ok) {
      if (frame.header.id == kLastId) {
        return false;
      }
      EXPECT_EQ(frame.header.id, count);
      for (const std::byte b : frame.payload) {
        if (b != static_cast<std::byte>(count | 1)) {
          ADD_FAILURE() << "torn payload of frame " << count;
          return false;
        }
      }
      lane.consumer.release();
      ++count;
    }
    if (code != Errc::empty) {
      ADD_FAILURE() << "frame " << count << ": " << to_string(code);
      return false;
    }
    return true;
  }

  void sleep_unless_ready() {
    const Way& way = GetParam();
    for (std::size_t i = 0; i < way.rings; ++i) {
      store_polled(lanes_[i].polled, way.sleep, way.seq_cst_wakes);
    }
    parking_barrier(way.seq_cst_wakes);
    bool ready = false;
    for (std::size_t i = 0; i < way.rings; ++i) {
      ready |= lanes_[i].consumer.ready();
    }
    if (!ready) {
      ++sleeps_;
      if (way.sleep == Polled::sleeping_on_socket) {
        std::uint64_t count = 0;
        EXPECT_EQ(::read(event_.get(), &count, sizeof(count)), static_cast<ssize_t>(sizeof(count)));
      } else {
        EXPECT_EQ(futex_wait(sleep_word_, 0, kNoDeadline), Errc::ok);
      }
    }
    for (std::size_t i = 0; i < way.rings; ++i) {
      store_polled(lanes_[i].polled, Polled::polling, way.seq_cst_wakes);
    }
  }

  void consume(std::uint64_t seed) {
    run_on_core(1);
    std::mt19937_64 random(~seed);
    std::uint64_t count = 0;
    for (;;) {
      for (std::size_t i = 0; i < GetParam().rings; ++i) {
        if (!take(lanes_[i], count)) {
          stop_.store(true, std::memory_order_relaxed);  // the producer need not wait any more
          return;
        }
      }
      taken_.store(count, std::memory_order_release);
      pause(random, 13);
      sleep_unless_ready();
      if (stop_.load(std::memory_order_relaxed)) {
        return;
      }
    }
  }

  /// Fails the test when `role` stands still, and then frees both roles, so that the others can
  /// run.
  void watch(std::future<void>& role) {
    std::uint64_t before = ~std::uint64_t{0};
    while (role.wait_for(watchdog()) != std::future_status::ready) {
      const std::uint64_t now = taken_.load(std::memory_order_relaxed);
      if (now != before) {
        before = now;
        continue;
      }
      ADD_FAILURE() << "lost wake-up: the consumer sleeps, " << now
                    << " frames came, one more waits";
      stop_.store(true, std::memory_order_relaxed);
      while (role.wait_for(std::chrono::milliseconds(1)) != std::future_status::ready) {
        const std::uint64_t one = 1;
        EXPECT_EQ(::write(event_.get(), &one, sizeof(one)), static_cast<ssize_t>(sizeof(one)));
        (void)futex_wake(sleep_word_);
      }
    }
  }

  std::array<Lane, kRingsMax> lanes_;
  UniqueFd event_;
  std::atomic<std::uint32_t> sleep_word_{0};
  alignas(kCacheStride) std::atomic<std::uint64_t> taken_{0};
  std::atomic<bool> stop_{false};  // the last frame came, or nothing more will come
  std::uint64_t wakes_ = 0;        // producer's
  std::uint64_t sleeps_ = 0;       // consumer's
};

TEST_P(ParkingTest, NoWakeUpIsLost) {
  const std::uint64_t seed = test::seed();
  std::future<void> consumer = std::async(std::launch::async, [this, seed] { consume(seed); });
  std::future<void> producer = std::async(std::launch::async, [this, seed] { produce(seed); });
  watch(consumer);
  watch(producer);
  std::cout << taken_.load(std::memory_order_relaxed) << " frames, " << sleeps_ << " sleeps, "
            << wakes_ << " wakes\n";
  EXPECT_GT(sleeps_, 0U) << "a consumer that never slept shows nothing";
}

INSTANTIATE_TEST_SUITE_P(Modes, ParkingTest,
                         ::testing::Values(Way{Polled::sleeping_on_socket, false, 1},
                                           Way{Polled::sleeping_on_futex, false, 1},
                                           Way{Polled::sleeping_on_socket, false, kRingsMax},
                                           Way{Polled::sleeping_on_socket, true, 1},
                                           Way{Polled::sleeping_on_futex, true, 1}),
                         [](const auto& p) {
                           return std::string(p.param.seq_cst_wakes ? "Fallback" : "Membarrier") +
                                  (p.param.sleep == Polled::sleeping_on_socket ? "Descriptor"
                                                                               : "Futex") +
                                  (p.param.rings > 1 ? "OneBarrierForManyRings" : "");
                         });

}  // namespace
}  // namespace mserve::shm
