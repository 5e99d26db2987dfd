// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "mserve/shm/layout.hpp"

namespace mserve::shm {

/// Bytes of a ring of tests: the smallest, so that a few frames fill it.
inline constexpr std::uint32_t kCapacity = kRingBytesMin;

}  // namespace mserve::shm
