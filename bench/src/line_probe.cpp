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

constexpr std::uint64_t kLastWord = UINT64_MAX;
constexpr std::uint64_t kTripsPerBatch = 200;
constexpr std::uint64_t kBatchesMin = 16;
constexpr std::uint64_t kPatienceNs = 2'000'000'000;
constexpr std::uint32_t kLooksPerClock = 1 << 14;  // far more than a bounce takes
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
  return lines[trips / (2 * kTripsPerBatch) % kLines];
}

void answer(Lines& lines, int core) {
  (void)pin_to(core);
  for (std::uint64_t trips = 0;;) {
    Line& line = line_of(lines, trips);
    const std::uint64_t word = line.word.load(std::memory_order_acquire);
    if (word == kLastWord) {
      return;
    }
    if (word % 2 != 0) {
      line.word.store(word + 1, std::memory_order_release);
      ++trips;
    }
  }
}

/// Where others want a core, each bounce may wait for its scheduler: what takes microseconds takes
/// minutes then.
class Patience {
 public:
  explicit Patience(std::uint64_t deadline_ns) noexcept : deadline_ns_(deadline_ns) {}
  [[gnu::noinline, gnu::cold]] bool over() noexcept {
    over_ = over_ || interrupted() || shm::steady_now() > deadline_ns_;
    return over_;
  }
  [[nodiscard]] bool was_over() const noexcept { return over_; }

 private:
  std::uint64_t deadline_ns_;
  bool over_ = false;
};

inline void bounce(Line& line, Patience& patience) {
  const std::uint64_t word = line.word.load(std::memory_order_relaxed);
  line.word.store(word + 1, std::memory_order_release);
  for (std::uint32_t looks = 1; line.word.load(std::memory_order_acquire) != word + 2; ++looks) {
    if (looks % kLooksPerClock == 0 && patience.over()) [[unlikely]] {
      return;
    }
  }
}

}  // namespace

LineProbe probe_line(const CorePair& cores, const Timer& timer, std::uint64_t duration_ns) {
  const auto lines = std::make_unique<Lines>();
  std::atomic<bool> ended{false};
  std::thread other([&] {
    answer(*lines, cores.relaying);
    ended.store(true, std::memory_order_release);
  });
  const auto timed = std::make_unique<shm::Histogram>();
  const auto batches = std::make_unique<shm::Histogram>();
  std::uint64_t trips = 0;
  const std::uint64_t begin_ns = shm::steady_now();
  Patience patience(begin_ns + kPatienceNs + duration_ns);
  // Until the other thread runs: the first line is used up.
  for (; trips < 2 * kTripsPerBatch && !patience.was_over(); ++trips) {
    bounce((*lines)[0], patience);
  }
  while ((shm::steady_now() - begin_ns < duration_ns || batches->count() < kBatchesMin) &&
         !patience.over()) {
    Line& line = line_of(*lines, trips);
    const std::uint64_t batch_begin = timer.read();
    for (std::uint64_t i = 0; i < kTripsPerBatch && !patience.was_over(); ++i) {
      bounce(line, patience);
    }
    batches->record(timer.to_ns(timer.read() - batch_begin));
    for (std::uint64_t i = 0; i < kTripsPerBatch && !patience.was_over(); ++i) {
      const std::uint64_t begin = timer.read();
      bounce(line, patience);
      timed->record(timer.to_ns(timer.read() - begin));
    }
    trips += 2 * kTripsPerBatch;
  }
  // When it was given up on, the other thread may be at any bounce, and answer over the word.
  while (!ended.load(std::memory_order_acquire)) {
    for (Line& line : *lines) {
      line.word.store(kLastWord, std::memory_order_release);
    }
    std::this_thread::yield();
  }
  other.join();
  if (patience.was_over()) {
    return {};
  }
  // Not the median batch: on a busy machine most of them meet a scheduler tick.
  return {timed->percentile(50), static_cast<double>(batches->percentile(25)) / kTripsPerBatch};
}

}  // namespace mserve::bench
