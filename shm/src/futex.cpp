// SPDX-License-Identifier: Apache-2.0
#include "mserve/shm/futex.hpp"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>

#include "mserve/shm/socket.hpp"

namespace mserve::shm {

Errc futex_wait(const std::atomic<std::uint32_t>& word, std::uint32_t expected,
                std::uint64_t deadline_ns) noexcept {
  timespec deadline = {};
  deadline.tv_sec = static_cast<time_t>(deadline_ns / kNsPerSecond);
  deadline.tv_nsec = static_cast<long>(deadline_ns % kNsPerSecond);
  // WAIT_BITSET instead of WAIT: its time-out is absolute, on CLOCK_MONOTONIC.
  const long rc =
      ::syscall(SYS_futex, &word, FUTEX_WAIT_BITSET, expected,
                deadline_ns != kNoDeadline ? &deadline : nullptr, nullptr, FUTEX_BITSET_MATCH_ANY);
  if (rc == 0 || errno == EAGAIN || errno == EINTR) {
    return Errc::ok;
  }
  return errno == ETIMEDOUT ? Errc::timed_out : Errc::os;
}

int futex_wake(const std::atomic<std::uint32_t>& word, int count) noexcept {
  const long woken = ::syscall(SYS_futex, &word, FUTEX_WAKE, count, nullptr, nullptr, 0);
  return woken > 0 ? static_cast<int>(woken) : 0;
}

}  // namespace mserve::shm
