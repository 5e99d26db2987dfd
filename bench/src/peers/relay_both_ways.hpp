// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sched.h>

#include <thread>

#include "peers/peer.hpp"

namespace mserve::bench {

/// Moves messages both ways for ever, in this thread and, where it blocks, another one.
/// @param one, other  have run(), which never returns, and step(), which is true if it moved
/// something.
template <class Direction>
[[noreturn]] void relay_both_ways(Direction& one, Direction& other, Wait wait) {
  if (wait == Wait::block) {
    const std::jthread thread([&other] { other.run(); });
    one.run();
  }
  for (;;) {
    const bool moved = static_cast<int>(one.step()) + static_cast<int>(other.step()) != 0;
    if (!moved && wait == Wait::yield) {
      sched_yield();
    }
  }
}

}  // namespace mserve::bench
