// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>

namespace mserve::bench {

/// Set by SIGINT, SIGTERM and SIGHUP; every loop looks at it now and then and returns early, so
/// that children and files are cleaned up on the normal way out.
inline std::atomic<int> g_interrupted{0};
static_assert(std::atomic<int>::is_always_lock_free);

[[nodiscard]] inline bool interrupted() noexcept {
  return g_interrupted.load(std::memory_order_relaxed) != 0;
}

/// Installs the handlers, and ignores SIGPIPE.
void install_signal_handlers() noexcept;

}  // namespace mserve::bench
