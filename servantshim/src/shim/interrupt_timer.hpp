// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>

#include "shim/backoff.hpp"

namespace mserve::shim {

/// When it is time to look whether what q runs for nobody may be interrupted. No clock of its own.
class InterruptTimer {
 public:
  /// How long such a request may go on: what takes less time needs no interruption, and q should
  /// have begun it before SIGINT comes, since one that is idle may end by it.
  static constexpr std::uint64_t kGraceNs = 20'000'000;
  /// The longest pause between two looks at a q that has not read its request. A look through the
  /// table of a host with many connections is not cheap.
  static constexpr std::uint64_t kPauseNsMax = 1'000'000'000;

  /// Whether to look now. To be called about once a millisecond.
  /// @param unwanted  the id of what q runs for nobody; nothing: there is none.
  /// @param alone     q was asked nothing else. Never true otherwise: the signal could hit what q
  ///                  was asked behind it, or a q that has read neither.
  [[nodiscard]] bool due(std::optional<std::uint64_t> unwanted, bool alone,
                         std::uint64_t now_ns) noexcept {
    const std::uint64_t id = unwanted.value_or(0);
    if (id != id_) {
      id_ = id;
      since_ns_ = now_ns;
      pause_ = Backoff(kGraceNs, kPauseNsMax);
    }
    return id_ != 0 && alone && now_ns - since_ns_ >= kGraceNs && pause_.wait_ns(now_ns) == 0;
  }
  /// It was looked, and q has not read the request: due again after a pause, which doubles.
  void not_begun(std::uint64_t now_ns) noexcept { pause_.failed(now_ns); }

 private:
  std::uint64_t id_ = 0;  ///< What q was last seen to run for nobody; 0: nothing.
  std::uint64_t since_ns_ = 0;
  Backoff pause_{kGraceNs, kPauseNsMax};
};

}  // namespace mserve::shim
