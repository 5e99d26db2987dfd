// SPDX-License-Identifier: Apache-2.0
#include "futex_chain.hpp"

#include <atomic>
#include <ctime>

#include "interrupt.hpp"
#include "mserve/shm/clock.hpp"
#include "mserve/shm/futex.hpp"
#include "mserve/shm/layout.hpp"

namespace mserve::bench {

// One word for each hop, in memory that all processes share.
//   Roles  process k of the chain waits at some words and stores the same number at the next ones
//   Edges  send(): store release of the number, then a wake -> await(): load acquire
struct alignas(shm::kCacheStride) FutexChain::Word {
  std::atomic<std::uint32_t> number;

  void send(std::uint32_t n) noexcept {
    number.store(n, std::memory_order_release);
    (void)shm::futex_wake(number);
  }
  /// @return false when interrupted().
  bool await(std::uint32_t n) noexcept {
    constexpr std::uint64_t kChainLookNs = 100'000'000;
    std::uint32_t seen = 0;
    while ((seen = number.load(std::memory_order_acquire)) != n) {
      if (interrupted()) {
        return false;
      }
      (void)shm::futex_wait(number, seen, shm::steady_now() + kChainLookNs);
    }
    return true;
  }
};

void pause_for(std::uint64_t ns) noexcept {
  const timespec time{static_cast<time_t>(ns / 1'000'000'000),
                      static_cast<long>(ns % 1'000'000'000)};
  (void)nanosleep(&time, nullptr);
}

FutexChain::FutexChain(int hops)
    : hops_(hops), memory_(static_cast<std::size_t>(hops) * sizeof(Word)) {
  Word* const w = words();
  // With 2 hops one process answers; with 4 one relays both ways and one answers.
  if (hops == 2) {
    processes_.push_back(std::make_unique<Forked>([w] {
      for (std::uint32_t n = 1; w[0].await(n); ++n) {
        w[1].send(n);
      }
    }));
    return;
  }
  processes_.push_back(std::make_unique<Forked>([w] {
    for (std::uint32_t n = 1; w[0].await(n); ++n) {
      w[1].send(n);
      if (!w[2].await(n)) {
        return;
      }
      w[3].send(n);
    }
  }));
  processes_.push_back(std::make_unique<Forked>([w] {
    for (std::uint32_t n = 1; w[1].await(n); ++n) {
      w[2].send(n);
    }
  }));
}

FutexChain::~FutexChain() = default;

FutexChain::Word* FutexChain::words() const noexcept {
  return static_cast<Word*>(memory_.data());
}

void FutexChain::measure(const Timer& timer, std::uint64_t pause_ns, std::uint64_t duration_ns,
                         shm::Histogram& samples) {
  const std::uint64_t begin_ns = shm::steady_now();
  while (shm::steady_now() - begin_ns < duration_ns && !interrupted()) {
    pause_for(pause_ns);
    const std::uint64_t begin = timer.read();
    words()[0].send(++number_);
    if (!words()[hops_ - 1].await(number_)) {
      return;
    }
    samples.record(timer.to_ns(timer.read() - begin));
  }
}

}  // namespace mserve::bench
