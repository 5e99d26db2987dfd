// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>

#include "mserve/shm/errc.hpp"

namespace mserve::shm {

// Futexes between processes (not FUTEX_PRIVATE). The waiter waits on a word in its own segment, the
// waker may have it mapped read-only.

/// Sleeps until woken while `word` holds `expected`.
/// @param deadline_ns  CLOCK_MONOTONIC, absolute; kNoDeadline waits for ever.
/// @return ok: woken, or the word differs, or for no reason at all: look again. timed_out. os: a
/// bad
///         address.
[[nodiscard]] Errc futex_wait(const std::atomic<std::uint32_t>& word, std::uint32_t expected,
                              std::uint64_t deadline_ns) noexcept;

/// Wakes up to `count` waiters; never blocks. Works on a read-only mapping.
/// @return how many were asleep and are woken now; 0 also when the kernel refused.
int futex_wake(const std::atomic<std::uint32_t>& word, int count = 1) noexcept;

}  // namespace mserve::shm
