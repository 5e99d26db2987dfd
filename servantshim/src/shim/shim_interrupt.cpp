// SPDX-License-Identifier: Apache-2.0
// What q runs for nobody any more is interrupted, if its process can be told.
#include "shim/shim.hpp"

namespace mserve::shim {

/// To be called about once a millisecond.
void Shim::interrupt_if_due(std::uint64_t now_ns) {
  if (!interrupt_timer_.due(exchange_.unwanted(), exchange_.asked_one(), now_ns)) {
    return;
  }
  if (!q_process_sought_) {
    q_process_sought_ = true;
    std::string why;
    q_process_ = QProcess::find(q_.fd(), q_says_process_, why);
    if (!q_process_.found()) {
      log_.trouble("q cannot be interrupted", why);
    }
  }
  if (q_process_.found() && !QProcess::has_read_all(q_.fd())) {
    interrupt_timer_.not_begun(now_ns);  // it is stopped, or the host is busy
    return;
  }
  // The last look before the signal: what is answered was evaluated.
  if (q_process_.found() && !q_.has_something()) {
    log_.warning(q_process_.interrupt() ? "q is interrupted: nobody waits for what it runs"
                                        : "q cannot be interrupted: its process is gone",
                 now_ns);
  }
  exchange_.forget_unwanted();
}

}  // namespace mserve::shim
