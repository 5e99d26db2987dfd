// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "mserve/shm/unique_fd.hpp"

namespace mserve::shim {

/// The process at the other end of a connection on this host, held by a pidfd: a signal can never
/// reach another process that got its number. Any thread, one at a time.
class QProcess {
 public:
  /// Finds it: by what the kernel says of a Unix socket's listener, of TCP by looking in /proc for
  /// who holds the other end. That takes milliseconds where many processes run.
  /// @param fd   a connected stream socket; a TCP one to another host finds nothing.
  /// @param why  one sentence when nothing was found: another host, another user's process, this
  ///             one itself, one of another namespace, or none that is certain.
  [[nodiscard]] static QProcess find(int fd, std::string& why);

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
