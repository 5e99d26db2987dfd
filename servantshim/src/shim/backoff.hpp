// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>

namespace mserve::shim {

/// When the next attempt is due: at once, then after pauses that double up to a bound.
class Backoff {
 public:
  Backoff(std::uint64_t ns_min, std::uint64_t ns_max) noexcept : ns_min_(ns_min), ns_max_(ns_max) {}

  void failed(std::uint64_t now_ns) noexcept {
    pause_ns_ = std::min(std::max(pause_ns_ * 2, ns_min_), ns_max_);
    due_ns_ = now_ns + pause_ns_;
  }
  /// The next pause is the shortest again.
  void succeeded() noexcept { pause_ns_ = 0; }

  /// Until the next attempt; 0: now.
  [[nodiscard]] std::uint64_t wait_ns(std::uint64_t now_ns) const noexcept {
    return due_ns_ > now_ns ? due_ns_ - now_ns : 0;
  }

 private:
  std::uint64_t ns_min_;
  std::uint64_t ns_max_;
  std::uint64_t pause_ns_ = 0;
  std::uint64_t due_ns_ = 0;
};

}  // namespace mserve::shim
