// SPDX-License-Identifier: Apache-2.0
// What ends mserve-servant and mserve-qshim.
#pragma once

#include <csignal>

namespace mserve {

/// SIGTERM and SIGINT call `stop()` of what it is given, for as long as this lives. Afterwards they
/// do nothing: whoever is ending already must not touch what is gone. One at a time, of each type.
template <class Stoppable>
class StopsOnSignal {
 public:
  /// @param what  outlives this; its stop() is safe in a signal handler.
  explicit StopsOnSignal(Stoppable& what) {
    what_ = &what;
    handle([](int) { what_->stop(); });
  }
  ~StopsOnSignal() { handle(SIG_IGN); }
  StopsOnSignal(const StopsOnSignal&) = delete;
  StopsOnSignal& operator=(const StopsOnSignal&) = delete;

 private:
  static void handle(void (*handler)(int)) {
    struct sigaction action {};
    action.sa_handler = handler;
    sigaction(SIGTERM, &action, nullptr);
    sigaction(SIGINT, &action, nullptr);
  }

  // Set before the handler is installed, and not changed while it is.
  static inline Stoppable* what_ = nullptr;
};

}  // namespace mserve
