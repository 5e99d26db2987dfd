// SPDX-License-Identifier: Apache-2.0
#include "line_probe.hpp"

#include <array>
#include <atomic>
#include <memory>
#include <thread>

#include "interrupt.hpp"
#include "mserve/shm/histogram.hpp"
#include "mserve/shm/layout.hpp"

namespace mserve::bench {
namespace {

constexpr std::uint64_t kStop = UINT64_MAX;
constexpr std::uint64_t kBatch = 200;
constexpr std::uint64_t kBatchesMin = 16;
/// Where in the caches a line is at home decides a third of its latency, so many are tried in turn.
constexpr std::size_t kLines = 64;

// One line between two threads, used for one batch untimed and one timed; then comes the next.
//   Roles  the caller stores odd numbers, the other thread answers each with the next even one
//   Edges  both ways: store release -> load acquire of `word`
struct alignas(shm::kCacheStride) Line {
  std::atomic<std::uint64_t> word{0};
};
using Lines = std::array<Line, kLines>;

inline Line& line_of(Lines& lines, std::uint64_t trips) noexcept {
  return lines[trips / (2 * kBatch) % kLines];
}

void answer(Lines& lines, int core) {
  (void)pin_to(core);
  for (std::uint64_t trips = 0;;) {
    Line& line = line_of(lines, trips);
    const std::uint64_t word = line.word.load(std::memory_order_acquire);
    if (word == kStop) {
      return;
    }
    if (word % 2 != 0) {
      line.word.store(word + 1, std::memory_order_release);
      ++trips;
    }
  }
}

inline void bounce(Line& line) {
  const std::uint64_t word = line.word.load(std::memory_order_relaxed);
  line.word.store(word + 1, std::memory_order_release);
  while (line.word.load(std::memory_order_acquire) != word + 2) {
  }
}

}  // namespace

LineProbe probe_line(const CorePair& cores, const Timer& timer, std::uint64_t duration_ns) {
  const auto lines = std::make_unique<Lines>();
  std::thread other(answer, std::ref(*lines), cores.relaying);
  const auto timed = std::make_unique<shm::Histogram>();
  const auto batches = std::make_unique<shm::Histogram>();
  std::uint64_t trips = 0;
  // Until the other thread runs: the first line is used up.
  for (; trips < 2 * kBatch; ++trips) {
    bounce((*lines)[0]);
  }
  const std::uint64_t begin_ns = shm::steady_now();
  while ((shm::steady_now() - begin_ns < duration_ns || batches->count() < kBatchesMin) &&
         !interrupted()) {
    Line& line = line_of(*lines, trips);
    const std::uint64_t batch_begin = timer.read();
    for (std::uint64_t i = 0; i < kBatch; ++i) {
      bounce(line);
    }
    batches->record(timer.to_ns(timer.read() - batch_begin));
    for (std::uint64_t i = 0; i < kBatch; ++i) {
      const std::uint64_t begin = timer.read();
      bounce(line);
      timed->record(timer.to_ns(timer.read() - begin));
    }
    trips += 2 * kBatch;
  }
  line_of(*lines, trips).word.store(kStop, std::memory_order_release);
  other.join();
  // Not the median batch: on a busy machine most of them meet a scheduler tick.
  return {timed->percentile(50), static_cast<double>(batches->percentile(25)) / kBatch};
}

}  // namespace mserve::bench
