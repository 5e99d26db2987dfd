// SPDX-License-Identifier: Apache-2.0
#include "shim/q_socket.hpp"

#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <memory>

#include "mserve/shm/clock.hpp"
#include "mserve/shm/tcp.hpp"

namespace mserve::shim {

namespace {

// A silent peer is asked after 10 s, then every 5 s; unanswered three times it is gone.
constexpr int kKeepIdleSeconds = 10;
constexpr int kKeepEverySeconds = 5;
constexpr int kKeepProbes = 3;
constexpr std::size_t kPiecesMax = 4;

std::string os_text(int error) {
  return std::strerror(error);
}

shm::TcpPatience patience_for(const sockaddr* address, const SocketOptions& options) noexcept {
  shm::TcpPatience patience{kKeepIdleSeconds, kKeepEverySeconds, kKeepProbes};
  if (!shm::is_loopback(address) && options.user_timeout_ns > 0) {
    const std::uint64_t ms =
        std::min<std::uint64_t>(options.user_timeout_ns / 1'000'000, INT32_MAX);
    patience.user_timeout_ms = static_cast<int>(std::max<std::uint64_t>(ms, 1));
  }
  return patience;
}

bool wait_for(int fd, short events, std::uint64_t ns, const std::atomic<bool>& stop) {
  const std::uint64_t until = shm::steady_now() + std::min(ns, UINT64_MAX / 2);
  while (!stop.load(std::memory_order_relaxed)) {  // a flag of its own
    const std::uint64_t now = shm::steady_now();
    if (now >= until) {
      return false;
    }
    pollfd waiting{fd, events, 0};
    const std::uint64_t slice = std::min(until - now, kStopLookNs);
    if (poll(&waiting, 1, static_cast<int>((slice + 999'999) / 1'000'000)) > 0) {
      return true;
    }
  }
  return false;
}

/// Connects `fd` (non-blocking). @return 0, or why not as an errno.
int connect_fd(int fd, const sockaddr* address, socklen_t length, std::uint64_t ns,
               const std::atomic<bool>& stop) {
  if (::connect(fd, address, length) == 0) {
    return 0;
  }
  // A local socket says EAGAIN when its queue is full; a later attempt may find room.
  if (errno != EINPROGRESS) {
    return errno;
  }
  if (!wait_for(fd, POLLOUT, ns, stop)) {
    return ETIMEDOUT;
  }
  int error = 0;
  socklen_t size = sizeof(error);
  return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 ? error : errno;
}

shm::UniqueFd connect_local(const QEndpoint& endpoint, std::uint64_t ns,
                            const std::atomic<bool>& stop, int& error) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::size_t bytes = endpoint.path.size();
  constexpr std::size_t kFront = offsetof(sockaddr_un, sun_path);
  for (const bool abstract : {true, true, false}) {
    static_assert(sizeof(address.sun_path) > 1);
    std::memset(address.sun_path, 0, sizeof(address.sun_path));
    std::memcpy(address.sun_path + (abstract ? 1 : 0), endpoint.path.data(), bytes);
    // First the exact name, then the one filled up with NULs: they are two names to the kernel.
    const bool exact = abstract && error == 0;
    const std::size_t length = exact ? kFront + 1 + bytes : sizeof(address);
    shm::UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    error = connect_fd(fd.get(), reinterpret_cast<const sockaddr*>(&address),
                       static_cast<socklen_t>(length), ns, stop);
    if (error == 0) {
      return fd;
    }
  }
  return {};
}

}  // namespace

bool QSocket::connect(const QEndpoint& endpoint, const SocketOptions& options,
                      const std::atomic<bool>& stop, std::string& why) {
  fd_.reset();
  int error = 0;
  if (endpoint.local) {
    fd_ = connect_local(endpoint, options.connect_ns_max, stop, error);
  } else {
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* found = nullptr;
    const int failed = getaddrinfo(endpoint.host.c_str(), endpoint.port.c_str(), &hints, &found);
    if (failed != 0) {
      why = "no address of " + endpoint.host + ": " + gai_strerror(failed);
      return false;
    }
    const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owned(found, freeaddrinfo);
    for (const addrinfo* at = found; at != nullptr && !fd_; at = at->ai_next) {
      shm::UniqueFd fd(
          socket(at->ai_family, at->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, at->ai_protocol));
      error = fd ? connect_fd(fd.get(), at->ai_addr, at->ai_addrlen, options.connect_ns_max, stop)
                 : errno;
      if (error == 0 && shm::connected_to_itself(fd.get())) {
        error = ECONNREFUSED;
      }
      if (error == 0) {
        shm::set_tcp_options(fd.get(), patience_for(at->ai_addr, options));
        fd_ = std::move(fd);
      }
    }
  }
  if (!fd_) {
    why = "cannot connect to " + endpoint.text() + ": " + os_text(error);
  }
  return connected();
}

bool QSocket::elsewhere() const noexcept {
  return !shm::peer_on_this_host(fd_.get());
}

Transfer QSocket::send(std::span<const Piece> pieces) noexcept {
  std::array<iovec, kPiecesMax> vectors;
  msghdr message{};
  message.msg_iov = vectors.data();
  for (const Piece& piece : pieces.first(std::min(pieces.size(), kPiecesMax))) {
    // The kernel only reads them; iovec has no const.
    vectors[message.msg_iovlen++] = {const_cast<std::byte*>(piece.data()), piece.size()};
  }
  const ssize_t sent = sendmsg(fd_.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
  if (sent > 0) {
    return {Outcome::moved, static_cast<std::size_t>(sent)};
  }
  const bool later = errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR || errno == ENOBUFS;
  return {later ? Outcome::blocked : Outcome::lost, 0};
}

Transfer QSocket::receive(std::span<std::byte> into) noexcept {
  const ssize_t got = recv(fd_.get(), into.data(), into.size(), MSG_DONTWAIT);
  if (got > 0) {
    return {Outcome::moved, static_cast<std::size_t>(got)};
  }
  const bool later = got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR);
  return {later ? Outcome::blocked : Outcome::lost, 0};
}

bool QSocket::has_something() const noexcept {
  char byte = 0;
  const ssize_t got = recv(fd_.get(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return got >= 0 || (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR);
}

bool QSocket::wait(bool writable, std::uint64_t ns, const std::atomic<bool>& stop) const {
  return wait_for(fd_.get(), writable ? POLLOUT : POLLIN, ns, stop);
}

}  // namespace mserve::shim
