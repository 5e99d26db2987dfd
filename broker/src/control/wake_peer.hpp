// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "data/session.hpp"
#include "mserve/shm/futex.hpp"
#include "mserve/shm/socket.hpp"

namespace mserve::broker {

/// Wakes the peer of a session in the way it sleeps. Makes system calls, never blocks.
/// @return false when the wake must be repeated: a futex wake that found nobody while the peer
/// still
///         says that it sleeps (it is between its last look and the kernel; see shm/parking.hpp).
inline bool wake_peer(Session& session) noexcept {
  shm::SegmentFront& front = *session.peer.front();
  const std::uint32_t polled =
      front.polled.load(std::memory_order_relaxed);  // parking: a hint here
  if (polled == static_cast<std::uint32_t>(shm::Polled::polling)) {
    return true;
  }
  if (polled == static_cast<std::uint32_t>(shm::Polled::sleeping_on_futex)) {
    return shm::futex_wake(front.sleep_word) > 0;
  }
  (void)shm::send_byte(session.socket.get());
  return true;
}

}  // namespace mserve::broker
