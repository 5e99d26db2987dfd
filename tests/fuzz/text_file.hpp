// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>

namespace mserve::test {

/// A file in memory for what reads files by their path.
class TextFile {
 public:
  TextFile() : fd_(::memfd_create("mserve-fuzz", MFD_CLOEXEC)) {
    if (fd_ < 0 || ::fchmod(fd_, 0600) != 0) {
      std::abort();
    }
  }
  ~TextFile() { ::close(fd_); }
  TextFile(const TextFile&) = delete;
  TextFile& operator=(const TextFile&) = delete;

  /// What it holds from now on.
  void write(std::span<const std::uint8_t> text) const {
    if (::ftruncate(fd_, 0) != 0 ||
        ::pwrite(fd_, text.data(), text.size(), 0) != static_cast<ssize_t>(text.size())) {
      std::abort();
    }
  }
  [[nodiscard]] std::string path() const { return "/proc/self/fd/" + std::to_string(fd_); }

 private:
  int fd_;
};

}  // namespace mserve::test
