// SPDX-License-Identifier: Apache-2.0
#include "control/log_writer.hpp"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace mserve::broker {

namespace {

/// What a pipe surely takes without waiting, once it is writable at all.
constexpr std::size_t kPartBytesMax = 4096;
/// A reader that is only slow gets this long, once.
constexpr int kPatienceMs = 20;

}  // namespace

bool LogWriter::write(std::string_view line) noexcept {
  while (!line.empty()) {
    patient_ = writable();
    const ssize_t written =
        patient_ ? ::write(fd_, line.data(), std::min(line.size(), kPartBytesMax)) : -1;
    if (written > 0) {
      line.remove_prefix(static_cast<std::size_t>(written));
    } else if (!patient_ || errno != EINTR) {
      return false;
    }
  }
  return true;
}

bool LogWriter::writable() noexcept {
  pollfd look{fd_, POLLOUT, 0};
  // Someone who reads no more is told by write(): with an error, and at once.
  return ::poll(&look, 1, patient_ ? kPatienceMs : 0) == 1;
}

}  // namespace mserve::broker
