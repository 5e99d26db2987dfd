// SPDX-License-Identifier: Apache-2.0
// What q runs for nobody any more is interrupted, if its process can be told.
#include "shim/shim.hpp"

namespace mserve::shim {

namespace {

/// How long a request that nobody wants may go on: what takes less time needs no interruption, and
/// q should have begun it before SIGINT comes, since one that is idle may end by it.
constexpr std::uint64_t kGraceNs = 20'000'000;

}  // namespace

/// To be called about once a millisecond.
void Shim::interrupt_if_due(std::uint64_t now_ns) {
  const std::optional<std::uint64_t> id = exchange_.unwanted();
  if (!id) {
    unwanted_id_ = 0;
    return;
  }
  if (*id != unwanted_id_) {
    unwanted_id_ = *id;
    unwanted_ns_ = now_ns;
    return;
  }
  if (now_ns - unwanted_ns_ < kGraceNs) {
    return;
  }
  if (!q_process_sought_) {
    q_process_sought_ = true;
    std::string why;
    q_process_ = QProcess::find(q_.fd(), why);
    if (!q_process_.found()) {
      log_.event("q cannot be interrupted: " + why);
    }
  }
  if (q_process_.found() && exchange_.asked_one() && !QProcess::has_read_all(q_.fd())) {
    return;  // it has not begun: it is stopped, or the host is busy
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
