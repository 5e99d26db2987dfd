// SPDX-License-Identifier: Apache-2.0
#include "floor_relay.hpp"

#include <algorithm>

#include "interrupt.hpp"
#include "mserve/shm/idle.hpp"
#include "pace.hpp"

namespace mserve::bench {
namespace {

constexpr std::uint64_t kStop = UINT64_MAX;
constexpr int kFloorTripsPerLook = 1000;
/// A reader that polls all the time takes the line back while its writer is about to store. Tried
/// on an Intel Xeon virtual machine, p50 and p99 in ns: 0 pauses 560 and 645, 1: 580 and 655,
/// 2: 567 and 660, 3: 534 and 658.
constexpr int kPausesPerPass = 3;

inline void wait_for_word(const FloorChannel& channel, std::uint64_t number) noexcept {
  while (channel.word_at(number) != number) {
    shm::cpu_pause();
  }
}

}  // namespace

FloorRelay::FloorRelay(const CorePair& cores, std::size_t payload_bytes, Use use)
    : channels_(payload_bytes),
      relaying_core_(cores.relaying),
      request_(channels_.client_to_relay.payload_bytes(), std::byte{'x'}),
      answer_(request_.size()),
      thread_([this, use] {
        const bool one_line = request_.size() == kLinePayloadBytes;
        if (use == Use::throughput) {
          one_line ? relay_many<true>() : relay_many<false>();
        } else {
          one_line ? relay<true>() : relay<false>();
        }
      }) {}

FloorRelay::~FloorRelay() {
  channels_.client_to_relay.commit(number_ + 1, kStop);
  thread_.join();
}

template <bool kOneLine>
void FloorRelay::relay() const {
  (void)pin_to(relaying_core_);
  std::uint64_t request = 1;
  std::uint64_t reply = 1;
  for (;;) {
    const std::uint64_t word = channels_.client_to_relay.word_at(request);
    if (word == request) {
      channels_.relay_to_servant.send<kOneLine>(request,
                                                channels_.client_to_relay.payload_at(request));
      ++request;
    } else if (word == kStop) [[unlikely]] {
      return;
    }
    if (channels_.servant_to_relay.word_at(reply) == reply) {
      channels_.relay_to_client.send<kOneLine>(reply, channels_.servant_to_relay.payload_at(reply));
      ++reply;
    }
    for (int i = 0; i < kPausesPerPass; ++i) {
      shm::cpu_pause();
    }
  }
}

template <bool kOneLine>
void FloorRelay::relay_many() const {
  (void)pin_to(relaying_core_);
  const FloorChannels& c = channels_;
  std::uint64_t request = 1;
  std::uint64_t reply = 1;
  for (;;) {
    const std::uint64_t before = request + reply;
    std::uint64_t word = 0;
    for (int i = 0; i < kBatch && (word = c.client_to_relay.word_at(request)) == request; ++i) {
      c.relay_to_servant.send<kOneLine>(request, c.client_to_relay.payload_at(request));
      ++request;
    }
    if (word == kStop) [[unlikely]] {
      return;
    }
    for (int i = 0; i < kBatch && c.servant_to_relay.word_at(reply) == reply; ++i) {
      c.relay_to_client.send<kOneLine>(reply, c.servant_to_relay.payload_at(reply));
      ++reply;
    }
    if (request + reply == before) {
      shm::cpu_pause();
    }
  }
}

template <bool kOneLine>
double FloorRelay::keep_under_way(std::uint64_t window, std::uint64_t duration_ns) {
  const FloorChannels& c = channels_;
  std::uint64_t served = number_;
  std::uint64_t answered = number_;
  const auto pass = [&](std::uint64_t under_way_max) {
    for (int i = 0; i < kBatch && number_ - answered < under_way_max; ++i) {
      ++number_;
      c.client_to_relay.send<kOneLine>(number_, request_.data());
    }
    for (; served < number_ && c.relay_to_servant.word_at(served + 1) == served + 1; ++served) {
      c.servant_to_relay.send<kOneLine>(served + 1, c.relay_to_servant.payload_at(served + 1));
    }
    for (; answered < served && c.relay_to_client.word_at(answered + 1) == answered + 1;
         ++answered) {
      c.relay_to_client.copy<kOneLine>(answer_.data(), c.relay_to_client.payload_at(answered + 1));
    }
  };
  const std::uint64_t before = answered;
  const std::uint64_t begin_ns = shm::steady_now();
  std::uint64_t now_ns = begin_ns;
  while (now_ns - begin_ns < duration_ns && !interrupted()) {
    for (int i = 0; i < kPassesPerLook; ++i) {
      pass(window);
    }
    now_ns = shm::steady_now();
  }
  const double rate =
      static_cast<double>(answered - before) * 1e9 / static_cast<double>(now_ns - begin_ns);
  while (answered < number_) {
    pass(0);
  }
  return rate;
}

double FloorRelay::saturate(std::uint64_t window, std::uint64_t duration_ns) {
  const std::uint64_t most = std::min(window, channels_.client_to_relay.slots());
  return request_.size() == kLinePayloadBytes ? keep_under_way<true>(most, duration_ns)
                                              : keep_under_way<false>(most, duration_ns);
}

template <bool kOneLine>
void FloorRelay::round_trips(const Timer& timer, std::uint64_t duration_ns,
                             shm::Histogram& samples) {
  const FloorChannels& c = channels_;
  const std::uint64_t begin_ns = shm::steady_now();
  while (shm::steady_now() - begin_ns < duration_ns && !interrupted()) {
    for (int i = 0; i < kFloorTripsPerLook; ++i) {
      const std::uint64_t n = ++number_;
      const std::uint64_t begin = timer.read();
      c.client_to_relay.send<kOneLine>(n, request_.data());
      wait_for_word(c.relay_to_servant, n);
      c.servant_to_relay.send<kOneLine>(n, c.relay_to_servant.payload_at(n));
      wait_for_word(c.relay_to_client, n);
      c.relay_to_client.copy<kOneLine>(answer_.data(), c.relay_to_client.payload_at(n));
      const std::uint64_t end = timer.read();
      samples.record(timer.to_ns(end - begin));
    }
  }
}

void FloorRelay::measure(const Timer& timer, std::uint64_t duration_ns, shm::Histogram& samples) {
  if (request_.size() == kLinePayloadBytes) {
    round_trips<true>(timer, duration_ns, samples);
  } else {
    round_trips<false>(timer, duration_ns, samples);
  }
}

}  // namespace mserve::bench
