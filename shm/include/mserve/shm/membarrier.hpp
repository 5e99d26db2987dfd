// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "mserve/shm/errc.hpp"

namespace mserve::shm {

// membarrier(2), command GLOBAL_EXPEDITED: the caller makes every running thread of every
// registered process execute a full memory barrier. parking.hpp says why that is enough to sleep
// safely.

/// Bits of the commands that the kernel knows. @return `os`: ENOSYS where there is none.
[[nodiscard]] Result<int> membarrier_query() noexcept;

/// True when the kernel offers GLOBAL_EXPEDITED. Asked once per process, then remembered.
[[nodiscard]] bool membarrier_available() noexcept;

/// Registers this process as one that executes such barriers; once is enough, again is harmless.
/// Threads made later are included. @return code ok or `os`: use WakeMode::seq_cst then.
Error membarrier_register_global_expedited() noexcept;

/// The barrier. One system call of about a microsecond, which interrupts the registered threads
/// that run now; registration of the caller is not needed.
/// @return false when the kernel refused, which cannot happen where membarrier_available(). A sleep
///         is bounded anyway (kSleepNsMax), so a caller may ignore it.
bool membarrier_global_expedited() noexcept;

}  // namespace mserve::shm
