// SPDX-License-Identifier: Apache-2.0
#include "mserve/shm/standard_descriptors.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

namespace mserve::shm {

bool hold_standard_descriptors() noexcept {
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; ++fd) {
    if (::fcntl(fd, F_GETFD) >= 0 || errno != EBADF) {
      continue;
    }
    // The kernel gives the lowest number that is free, and those below are taken. Kept over an
    // exec: the programs that this one starts shall find it, too.
    const int opened = ::open("/dev/null", O_RDWR);  // NOLINT(android-cloexec-open): see above
    if (opened != fd) {
      return false;
    }
  }
  return true;
}

}  // namespace mserve::shm
