// SPDX-License-Identifier: Apache-2.0

#include "floor_relay.hpp"
#include "interrupt.hpp"
#include "mserve/shm/idle.hpp"
#include "pace.hpp"

namespace mserve::bench {
namespace {

constexpr std::uint32_t kWaitsPerLook = 1U << 12;

/// `auto`, except that it begins anew where `auto` would sleep.
class AwakeIdler {
 public:
  explicit AwakeIdler(int cores) noexcept
      : idler_(shm::idle_budget(shm::IdleStrategy::automatic, cores, 3)) {}

  void idle() noexcept {
    if (idler_.idle() == shm::Idler::Step::park) {
      idler_.reset();
    }
  }
  void reset() noexcept { idler_.reset(); }

 private:
  shm::Idler idler_;
};

[[noreturn]] void relay(const FloorChannels& c, AwakeIdler idler) {
  std::uint64_t request = 1;
  std::uint64_t reply = 1;
  for (;;) {
    if (c.client_to_relay.word_at(request) == request) {
      c.relay_to_servant.send<false>(request, c.client_to_relay.payload_at(request));
      ++request;
      idler.reset();
    } else if (c.servant_to_relay.word_at(reply) == reply) {
      c.relay_to_client.send<false>(reply, c.servant_to_relay.payload_at(reply));
      ++reply;
      idler.reset();
    } else {
      idler.idle();
    }
  }
}

[[noreturn]] void serve(const FloorChannels& c, AwakeIdler idler) {
  for (std::uint64_t n = 1;;) {
    if (c.relay_to_servant.word_at(n) == n) {
      c.servant_to_relay.send<false>(n, c.relay_to_servant.payload_at(n));
      ++n;
      idler.reset();
    } else {
      idler.idle();
    }
  }
}

}  // namespace

ProcessRelay::ProcessRelay(std::size_t payload_bytes, std::optional<CorePair> pinned)
    : cores_(pinned ? 2 : shm::usable_cores()),
      channels_(payload_bytes),
      request_(channels_.client_to_relay.payload_bytes(), std::byte{'x'}),
      answer_(request_.size()),
      relay_([this, pinned] {
        (void)(pinned && pin_to(pinned->relaying));
        relay(channels_, AwakeIdler(cores_));
      }),
      servant_([this, pinned] {
        (void)(pinned && pin_to(pinned->measuring));
        serve(channels_, AwakeIdler(cores_));
      }) {}

void ProcessRelay::measure(const Timer& timer, std::uint64_t duration_ns, shm::Histogram& samples) {
  AwakeIdler idler(cores_);
  const std::uint64_t begin_ns = shm::steady_now();
  while (shm::steady_now() - begin_ns < duration_ns && !interrupted()) {
    for (int i = 0; i < kTripsPerLook; ++i) {
      const std::uint64_t n = ++number_;
      const std::uint64_t begin = timer.read();
      channels_.client_to_relay.send<false>(n, request_.data());
      for (std::uint32_t waits = 1; channels_.relay_to_client.word_at(n) != n; ++waits) {
        if (waits % kWaitsPerLook == 0 && interrupted()) [[unlikely]] {
          return;
        }
        idler.idle();
      }
      channels_.relay_to_client.copy<false>(answer_.data(),
                                            channels_.relay_to_client.payload_at(n));
      const std::uint64_t end = timer.read();
      idler.reset();
      samples.record(timer.to_ns(end - begin));
    }
  }
}

}  // namespace mserve::bench
