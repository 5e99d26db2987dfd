// SPDX-License-Identifier: Apache-2.0
#include "gateway/output.hpp"

#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>

namespace mserve::broker {

namespace {

/// Sends what the socket takes now. @return bytes, or -1 when the peer is gone.
ssize_t send_some(int fd, std::span<iovec> pieces) noexcept {
  msghdr message{};
  message.msg_iov = pieces.data();
  message.msg_iovlen = pieces.size();
  for (;;) {
    const ssize_t sent = ::sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent >= 0) {
      return sent;
    }
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS) {
      return 0;
    }
    if (errno != EINTR) {
      return -1;
    }
  }
}

iovec piece_of(std::span<const std::byte> bytes) noexcept {
  return {const_cast<std::byte*>(bytes.data()), bytes.size()};  // sendmsg() only reads
}

}  // namespace

void Output::send(std::span<const std::byte> first, std::span<const std::byte> second,
                  std::span<const std::byte> third) {
  if (broken_) {
    return;
  }
  std::size_t taken = 0;
  if (rest_.empty()) {
    std::array<iovec, 3> pieces{piece_of(first), piece_of(second), piece_of(third)};
    const ssize_t sent = send_some(fd_, pieces);
    if (sent < 0) {
      fail();
      return;
    }
    taken = static_cast<std::size_t>(sent);
    sent_bytes_ += taken;
    if (taken == first.size() + second.size() + third.size()) [[likely]] {
      return;
    }
    rest_ = pool_.take();
  }
  for (const std::span<const std::byte> piece : {first, second, third}) {
    const std::size_t skip = std::min(taken, piece.size());
    taken -= skip;
    rest_.insert(rest_.end(), piece.begin() + static_cast<std::ptrdiff_t>(skip), piece.end());
  }
}

void Output::flush() {
  while (waiting() != 0) {
    std::array<iovec, 1> pieces{piece_of(std::span(rest_).subspan(sent_))};
    const ssize_t sent = send_some(fd_, pieces);
    if (sent < 0) {
      fail();
      return;
    }
    if (sent == 0) {
      break;
    }
    sent_ += static_cast<std::size_t>(sent);
    sent_bytes_ += static_cast<std::size_t>(sent);
  }
  if (waiting() == 0) {
    pool_.give_back(rest_);
    sent_ = 0;
  } else if (sent_ >= rest_.size() / 2) {
    // Half of it is through: moved to the front, so that the buffer does not grow for ever.
    rest_.erase(rest_.begin(), rest_.begin() + static_cast<std::ptrdiff_t>(sent_));
    sent_ = 0;
  }
}

void Output::fail() noexcept {
  broken_ = true;
  sent_ = 0;
  std::vector<std::byte>().swap(rest_);
}

}  // namespace mserve::broker
