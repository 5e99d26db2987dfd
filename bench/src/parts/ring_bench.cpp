// SPDX-License-Identifier: Apache-2.0
#include <benchmark/benchmark.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <thread>
#include <vector>

#include "mserve/shm/idle.hpp"
#include "mserve/shm/message.hpp"
#include "mserve/shm/ring.hpp"

// What a ring costs, without a broker: both ends in one thread, so that nothing is waited for, and
// both ends on two threads, where a message has to travel.
namespace mserve {
namespace {

/// A ring in private memory, with both its ends.
struct Ring {
  struct alignas(shm::kCacheStride) Word {
    std::atomic<std::uint64_t> value{0};
  };
  struct alignas(shm::kCacheLine) Line {
    std::byte bytes[shm::kCacheLine];
  };

  explicit Ring(std::uint64_t capacity)
      : lines(capacity / sizeof(Line)),
        memory{reinterpret_cast<std::byte*>(lines.data()),
               capacity,
               0,
               &producer_pos.value,
               &consumer_pos.value,
               &polled},
        producer(memory),
        consumer(memory) {
    polled.store(static_cast<std::uint32_t>(shm::Polled::polling), std::memory_order_relaxed);
  }

  std::vector<Line> lines;
  Word producer_pos;
  Word consumer_pos;
  alignas(shm::kCacheStride) std::atomic<std::uint32_t> polled{0};
  shm::RingMemory memory;
  shm::RingProducer producer;
  shm::RingConsumer consumer;
};

constexpr std::uint64_t kRingBytes = 64U << 10;

// NOLINTBEGIN(readability-identifier-naming): the names are what the report shows.

// Claim, copy in, commit; look, release: one message, nothing to wait for.
void BM_ClaimCommit(benchmark::State& state) {
  const auto payload_bytes = static_cast<std::size_t>(state.range(0));
  const auto ring = std::make_unique<Ring>(kRingBytes);
  const std::vector<std::byte> payload(payload_bytes, std::byte{'x'});
  shm::FrameHeader header;
  shm::FrameView view;
  for ([[maybe_unused]] auto _ : state) {
    ++header.id;
    bool moved = shm::try_send_whole(ring->producer, header, {}, payload);
    moved = moved && ring->consumer.front(view) == Errc::ok;
    benchmark::DoNotOptimize(moved);
    ring->consumer.release();
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(payload_bytes));
}
BENCHMARK(BM_ClaimCommit)->ArgName("payload_bytes")->Arg(0)->Arg(40)->Arg(1000)->Arg(4096);

// A message to another thread and its echo: two hops. Two cores, or it shows the scheduler.
void BM_RingHops(benchmark::State& state) {
  const auto payload_bytes = static_cast<std::size_t>(state.range(0));
  const auto there = std::make_unique<Ring>(kRingBytes);
  const auto back = std::make_unique<Ring>(kRingBytes);
  const std::vector<std::byte> payload(payload_bytes, std::byte{'x'});
  const auto wait = [](Ring& ring, shm::FrameView& view) {
    while (ring.consumer.front(view) != Errc::ok) {
      shm::cpu_pause();
    }
  };
  std::thread echo([&] {
    shm::FrameView view;
    do {
      wait(*there, view);
      (void)shm::try_send_whole(back->producer, view.header, {}, view.payload);
      there->consumer.release();
    } while (view.header.kind == shm::Kind::request);
  });
  shm::FrameHeader header;
  shm::FrameView view;
  const auto trip = [&] {
    ++header.id;
    (void)shm::try_send_whole(there->producer, header, {}, payload);
    wait(*back, view);
    back->consumer.release();
  };
  for ([[maybe_unused]] auto _ : state) {
    trip();
  }
  header.kind = shm::Kind::cancel;  // ends the echo
  trip();
  echo.join();
}
BENCHMARK(BM_RingHops)->ArgName("payload_bytes")->Arg(40)->Arg(4096)->UseRealTime();

// NOLINTEND(readability-identifier-naming)

}  // namespace
}  // namespace mserve
