// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace mserve::bench {

/// What a loop that measures does between two looks at the clock and at interrupted(): round trips
/// one at a time, or passes over both rings while many requests are under way.
inline constexpr int kTripsPerLook = 100;
inline constexpr int kPassesPerLook = 16;

/// Most frames of one ring before the other gets its turn.
inline constexpr int kBatch = 64;

}  // namespace mserve::bench
