// SPDX-License-Identifier: Apache-2.0
#include "cluster/replace_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "mserve/shm/unique_fd.hpp"

namespace mserve::cluster {

int replace_file(const std::string& path, const std::string& text, std::optional<gid_t> group) {
  const std::string next = path + ".new";
  (void)unlink(next.c_str());  // left by one that was killed
  constexpr mode_t kOwner = S_IRUSR | S_IWUSR;
  shm::UniqueFd fd(
      open(next.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, kOwner));
  if (!fd) {
    return errno;
  }
  if (group && fchown(fd.get(), static_cast<uid_t>(-1), *group) == 0) {
    (void)fchmod(fd.get(), kOwner | S_IRGRP);
  }
  std::size_t done = 0;
  while (done < text.size()) {
    const ssize_t wrote = write(fd.get(), text.data() + done, text.size() - done);
    if (wrote < 0 && errno != EINTR) {
      const int fault = errno;
      (void)unlink(next.c_str());
      return fault;
    }
    done += wrote > 0 ? static_cast<std::size_t>(wrote) : 0;
  }
  fd.reset();
  return std::rename(next.c_str(), path.c_str()) == 0 ? 0 : errno;
}

}  // namespace mserve::cluster
