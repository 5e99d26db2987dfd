// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include "mserve/shm/unique_fd.hpp"

namespace mserve::shim {

/// The process at the other end of a connection on this host, held by a pidfd: a signal can never
/// reach another process that got its number. Any thread, one at a time.
class QProcess {
 public:
  /// Finds it if two agree on which it is: q itself, and the kernel, which says who holds the other
  /// end (TCP, in /proc) or listened there (Unix). So nothing that stands between, such as a
  /// forwarder or another broker, is ever taken for q.
  /// @param fd    a connected stream socket; a TCP one to another host finds nothing.
  /// @param said  q's own process id as it said over this connection; 0: it did not.
  /// @param why   one sentence when nothing was found: another host, another user's process, this
  ///              one itself, one of another namespace, or no agreement.
  [[nodiscard]] static QProcess find(int fd, std::int64_t said, std::string& why);

  /// Whether the process at the other end has taken all that was sent to it. A system call, of TCP
  /// a look through a table of /proc. @param fd  as for find().
  [[nodiscard]] static bool has_read_all(int fd);

  [[nodiscard]] bool found() const noexcept { return static_cast<bool>(pidfd_); }
  /// SIGINT, which makes q end what it evaluates with the error 'stop. @return false when it is
  /// gone.
  [[nodiscard]] bool interrupt() const noexcept;

 private:
  shm::UniqueFd pidfd_;
};

}  // namespace mserve::shim
