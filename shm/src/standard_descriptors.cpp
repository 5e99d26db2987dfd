// SPDX-License-Identifier: Apache-2.0
#include "mserve/shm/standard_descriptors.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <string_view>

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

bool stderr_is_journal() noexcept {
  const char* const told = std::getenv("JOURNAL_STREAM");
  struct stat is {};
  if (told == nullptr || ::fstat(STDERR_FILENO, &is) != 0) {
    return false;
  }
  // DEVICE:INODE; whoever redirected stderr since then has another one.
  const std::string_view text(told);
  const char* const end = text.data() + text.size();
  dev_t device = 0;
  ino_t inode = 0;
  const auto [colon, error] = std::from_chars(text.data(), end, device);
  if (error != std::errc{} || colon == end || *colon != ':') {
    return false;
  }
  const auto [rest, inode_error] = std::from_chars(colon + 1, end, inode);
  return inode_error == std::errc{} && rest == end && device == is.st_dev && inode == is.st_ino;
}

}  // namespace mserve::shm
