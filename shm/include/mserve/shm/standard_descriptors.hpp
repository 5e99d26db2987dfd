// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace mserve::shm {

/// Opens /dev/null as each of the descriptors 0, 1 and 2 that is closed. A program calls it first
/// of all: the next socket or file would get such a number, and then whatever is printed goes into
/// it.
/// @return false when /dev/null cannot be opened; errno says why. Then end: nothing can be printed.
/// @thread before there are others
[[nodiscard]] bool hold_standard_descriptors() noexcept;

/// Whether stderr goes to systemd's journal: it is the descriptor that $JOURNAL_STREAM tells of.
/// Lines may then begin with `<N>`, a syslog priority, and need no time of their own.
/// @thread any, while nobody changes the environment
[[nodiscard]] bool stderr_is_journal() noexcept;

}  // namespace mserve::shm
