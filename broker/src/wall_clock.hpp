// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <ctime>

namespace mserve::broker {

/// What the wall says: nanoseconds since 1970, UTC. It may jump; nothing is timed by it.
[[nodiscard]] inline std::int64_t wall_now() noexcept {
  constexpr std::int64_t kNsPerSecond = 1'000'000'000;
  timespec now{};
  (void)clock_gettime(CLOCK_REALTIME, &now);
  return std::int64_t{now.tv_sec} * kNsPerSecond + now.tv_nsec;
}

}  // namespace mserve::broker
