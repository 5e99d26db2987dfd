// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "cores.hpp"
#include "statistics.hpp"
#include "timer.hpp"

namespace mserve::bench {

/// Bounces one cache line at a time between the two cores: the caller, which must be pinned to
/// cores.measuring, and a thread of its own on cores.relaying.
/// @param duration_ns  half of it timed round trip by round trip, half in untimed batches.
/// @return zeros, so that no repetition beside it counts as steady, when interrupted() and when it
/// took two seconds longer: others keep the cores busy.
[[nodiscard]] LineProbe probe_line(const CorePair& cores, const Timer& timer,
                                   std::uint64_t duration_ns);

}  // namespace mserve::bench
