// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "dispatch/types.hpp"

namespace mserve::broker {

/// How long the waker sleeps between two rounds. One thread.
class WakerPace {
 public:
  /// While some peer sleeps, or was woken lately.
  static constexpr Nanos kNap = 30'000;
  /// Else, and how often the peers' words are looked at in between.
  static constexpr Nanos kSleep = 1'000'000;
  /// While everybody spins: each round takes the core from whoever spins there.
  static constexpr Nanos kLongSleep = 4'000'000;
  /// Everybody spins: nobody has slept for so long,
  static constexpr Nanos kAwake = 100'000'000;
  /// and so many requests came per kSleep, a hundred thousand a second.
  static constexpr std::uint64_t kBusyRequests = 100;

  explicit WakerPace(Nanos now) noexcept : needed_at_(now), looked_at_(now) {}

  /// Whether it is time to look at the peers' words.
  [[nodiscard]] bool due(Nanos now) const noexcept { return now - looked_at_ >= kSleep; }
  /// They were looked at. @param sleeps  somebody sleeps, or was woken in this round. @param
  /// requests  how many there were since the start.
  void looked(bool sleeps, std::uint64_t requests, Nanos now) noexcept {
    sleeps_ = sleeps;
    busy_ = (requests - requests_) * kSleep >= kBusyRequests * (now - looked_at_);
    requests_ = requests;
    looked_at_ = now;
  }
  /// Until the next round, in ns. @param repeating  a wake-up has to be repeated.
  [[nodiscard]] Nanos sleep_ns(bool repeating, Nanos now) noexcept {
    if (sleeps_ || repeating) {
      needed_at_ = now;
      return kNap;
    }
    return busy_ && now - needed_at_ >= kAwake ? kLongSleep : kSleep;
  }

 private:
  Nanos needed_at_;
  Nanos looked_at_;
  std::uint64_t requests_ = 0;
  bool sleeps_ = false;
  bool busy_ = false;
};

}  // namespace mserve::broker
