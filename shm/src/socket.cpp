// SPDX-License-Identifier: Apache-2.0
#include "mserve/shm/socket.hpp"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "mserve/shm/clock.hpp"

namespace mserve::shm {
namespace {

constexpr std::size_t kMessageBytesMax = 65536;
constexpr std::size_t kDrainMax = 256;

bool fill_address(const std::string& path, sockaddr_un& address) noexcept {
  if (path.empty() || path.size() >= sizeof(address.sun_path)) {
    return false;
  }
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  return true;
}

bool is_disconnect(int error) noexcept {
  return error == EPIPE || error == ECONNRESET || error == ENOTCONN;
}

bool would_block(int error) noexcept {
  return error == EAGAIN || error == EWOULDBLOCK;
}

UniqueFd make_socket(int extra_flags) noexcept {
  return UniqueFd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | extra_flags, 0));
}

// Removes a dead broker's socket; whatever else lies there makes bind() say EADDRINUSE.
void remove_socket(const std::string& path) noexcept {
  struct stat status = {};
  if (::lstat(path.c_str(), &status) == 0 && S_ISSOCK(status.st_mode)) {
    ::unlink(path.c_str());
  }
}

Error connect_error(int error) noexcept {
  switch (error) {
    case ENOENT:
    case ECONNREFUSED:
      return {Errc::no_broker, error, "connect"};
    case EACCES:
    case EPERM:
      return {Errc::access, error, "connect"};
    case EAGAIN:
      return {Errc::timed_out, error, "connect: the broker does not accept"};
    default:
      return {Errc::os, error, "connect"};
  }
}

// A Unix connect() waits while the backlog is full; the send time-out bounds that wait.
bool bound_connect(int fd, std::uint64_t deadline_ns) noexcept {
  timeval limit = {};
  if (deadline_ns != kNoDeadline) {
    const std::uint64_t now = steady_now();
    const std::uint64_t left_us = deadline_ns > now ? (deadline_ns - now) / 1000 : 0;
    limit.tv_sec = static_cast<time_t>(left_us / 1'000'000);
    // Zero would mean "for ever".
    limit.tv_usec = left_us == 0 ? 1 : static_cast<suseconds_t>(left_us % 1'000'000);
  }
  return ::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) == 0;
}

/// Room for the descriptors of one message, aligned as the kernel wants it.
struct ControlBuffer {
  alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(kMessageFdsMax * sizeof(int))> bytes{};
};

// Takes ownership of every descriptor that came, also of those that nobody wanted.
// @return how many came.
std::size_t take_descriptors(msghdr& header, std::size_t max_fds, ReceivedMessage& out) noexcept {
  std::size_t came = 0;
  for (cmsghdr* c = CMSG_FIRSTHDR(&header); c != nullptr; c = CMSG_NXTHDR(&header, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) {
      continue;
    }
    const std::size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
      UniqueFd owned(fd);
      if (came < max_fds) {
        out.fds[came] = std::move(owned);
      }
      ++came;
    }
  }
  return came;
}

Error fault(Errc code, const char* where) noexcept {
  return {code, 0, where};
}

// recvmsg() that never waits. A peer that closes while bytes of ours lie unread at its end makes
// the kernel tell of a reset, once, ahead of what that peer said last. Its last words (a refusal, a
// reason) still wait behind the error, so that one is passed over.
ssize_t receive_now(int fd, msghdr& header, int flags) noexcept {
  bool reset_told = false;
  for (;;) {
    const ssize_t got = ::recvmsg(fd, &header, flags | MSG_DONTWAIT);
    if (got < 0 && errno == ECONNRESET && !reset_told) {
      reset_told = true;
    } else if (got >= 0 || errno != EINTR) {
      return got;
    }
  }
}

}  // namespace

Result<UniqueFd> listen_at(const std::string& path, ListenOptions options) {
  sockaddr_un address = {};
  if (!fill_address(path, address)) {
    return fault(Errc::invalid, "listen: socket path too long");
  }
  UniqueFd fd = make_socket(SOCK_NONBLOCK);
  if (!fd) {
    return os_error("socket");
  }
  // On a Unix socket this is the mode that bind() gives the file: no moment at which it is wider.
  if (::fchmod(fd.get(), 0600) != 0) {
    return os_error("socket mode");
  }
  remove_socket(path);
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    return os_error("bind");
  }
  if (options.group.has_value() &&
      (::lchown(path.c_str(), static_cast<uid_t>(-1), *options.group) != 0 ||
       ::chmod(path.c_str(), 0660) != 0)) {
    const Error error = os_error("socket group");
    ::unlink(path.c_str());
    return error;
  }
  if (::listen(fd.get(), options.backlog) != 0) {
    const Error error = os_error("listen");
    ::unlink(path.c_str());
    return error;
  }
  return fd;
}

Result<UniqueFd> connect_to(const std::string& path, std::uint64_t deadline_ns) {
  sockaddr_un address = {};
  if (!fill_address(path, address)) {
    return fault(Errc::invalid, "connect: socket path too long");
  }
  UniqueFd fd = make_socket(0);
  if (!fd) {
    return os_error("socket", errno == EMFILE || errno == ENFILE ? Errc::no_memory : Errc::os);
  }
  int rc = 0;
  do {
    if (!bound_connect(fd.get(), deadline_ns)) {
      return os_error("connect time-out");
    }
    rc = ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address));
  } while (rc != 0 && errno == EINTR);
  if (rc != 0) {
    return connect_error(errno);
  }
  return fd;
}

Result<UniqueFd> accept_from(int listener) noexcept {
  UniqueFd fd;
  do {
    fd.reset(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  } while (!fd && errno == EINTR);
  if (fd) {
    return fd;
  }
  if (would_block(errno) || errno == ECONNABORTED) {
    return fault(Errc::empty, "accept");
  }
  const bool exhausted = errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM;
  return os_error("accept", exhausted ? Errc::no_memory : Errc::os);
}

Error send_message(int fd, std::span<const std::byte> bytes, std::span<const int> fds,
                   std::uint64_t deadline_ns) noexcept {
  if (bytes.empty() || bytes.size() > kMessageBytesMax || fds.size() > kMessageFdsMax) {
    return fault(Errc::invalid, "send: size");
  }
  iovec data = {const_cast<std::byte*>(bytes.data()), bytes.size()};
  msghdr header = {};
  header.msg_iov = &data;
  header.msg_iovlen = 1;
  ControlBuffer control;
  if (!fds.empty()) {
    header.msg_control = control.bytes.data();
    header.msg_controllen = CMSG_SPACE(fds.size_bytes());
    cmsghdr* const c = CMSG_FIRSTHDR(&header);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(fds.size_bytes());
    std::memcpy(CMSG_DATA(c), fds.data(), fds.size_bytes());
  }
  while (::sendmsg(fd, &header, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
    if (is_disconnect(errno)) {
      return os_error("send", Errc::disconnected);
    }
    if (would_block(errno)) {
      if (const Errc waited = wait_writable(fd, deadline_ns); waited != Errc::ok) {
        return {waited, errno, "send"};
      }
    } else if (errno != EINTR) {
      return os_error("send", errno == EMSGSIZE ? Errc::invalid : Errc::os);
    }
  }
  return {};
}

Result<ReceivedMessage> receive_message(int fd, std::span<std::byte> buffer, std::size_t max_fds,
                                        std::uint64_t deadline_ns) noexcept {
  if (max_fds > kMessageFdsMax || buffer.empty()) {
    return fault(Errc::invalid, "receive: size");
  }
  ReceivedMessage message;
  iovec data = {buffer.data(), buffer.size()};
  ControlBuffer control;
  msghdr header = {};
  ssize_t got = -1;
  for (;;) {
    header = {};
    header.msg_iov = &data;
    header.msg_iovlen = 1;
    if (max_fds > 0) {  // without room the kernel drops descriptors before they become ours
      header.msg_control = control.bytes.data();
      header.msg_controllen = CMSG_LEN(max_fds * sizeof(int));
    }
    got = receive_now(fd, header, MSG_CMSG_CLOEXEC);
    if (got >= 0) {
      break;
    }
    if (is_disconnect(errno)) {
      return os_error("receive", Errc::disconnected);
    }
    if (!would_block(errno)) {
      return os_error("receive");
    }
    if (const Errc waited = wait_readable(fd, deadline_ns); waited != Errc::ok) {
      return Error{waited, errno, "receive"};
    }
  }
  const std::size_t came = take_descriptors(header, max_fds, message);
  if (got == 0) {
    return fault(Errc::disconnected, "receive");
  }
  if ((header.msg_flags & MSG_TRUNC) != 0) {
    return fault(Errc::protocol, "receive: message too long");
  }
  if ((header.msg_flags & MSG_CTRUNC) != 0 && came < max_fds) {
    return fault(Errc::no_memory, "receive: descriptor limit");
  }
  if ((header.msg_flags & MSG_CTRUNC) != 0 || came > max_fds) {
    return fault(Errc::protocol, "receive: too many descriptors");
  }
  message.bytes = static_cast<std::size_t>(got);
  message.fd_count = came;
  return message;
}

Result<Credentials> peer_credentials(int fd) noexcept {
  ucred credentials = {};
  socklen_t length = sizeof(credentials);
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &length) != 0) {
    return os_error("peer credentials");
  }
  if (length != sizeof(credentials) || credentials.pid <= 0) {
    return Error{Errc::os, ENOTCONN, "peer credentials"};
  }
  return Credentials{credentials.pid, credentials.uid, credentials.gid};
}

std::string silence_text(int fd) {
  const auto broker = peer_credentials(fd);
  const bool known = broker && broker.value().pid > 0;
  return "the broker " + (known ? "(pid " + std::to_string(broker.value().pid) + ") " : "") +
         "does not answer; is it stopped or overloaded?";
}

bool peer_is_member(int fd, const Credentials& who, std::span<const gid_t> groups) {
  const auto wanted = [&](gid_t gid) {
    return std::find(groups.begin(), groups.end(), gid) != groups.end();
  };
  if (wanted(who.gid)) {
    return true;
  }
  std::vector<gid_t> all;
  socklen_t bytes = 0;
  (void)::getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, nullptr, &bytes);  // ERANGE, and how many
  all.resize(bytes / sizeof(gid_t));
  if (all.empty() || ::getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, all.data(), &bytes) != 0) {
    return false;
  }
  return std::any_of(all.begin(), all.end(), wanted);
}

Result<UniqueFd> open_pidfd(pid_t pid) noexcept {
  // Set CLOEXEC by the kernel. By number: glibc's wrapper came after the call.
  UniqueFd fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0U)));
  if (!fd) {
    return os_error("pidfd_open");
  }
  return fd;
}

Errc send_byte(int fd) noexcept {
  const std::byte bell{1};
  for (;;) {
    if (::send(fd, &bell, 1, MSG_DONTWAIT | MSG_NOSIGNAL) == 1 || would_block(errno)) {
      return Errc::ok;
    }
    if (errno != EINTR) {
      return Errc::disconnected;
    }
  }
}

Drained drain_bytes(int fd, std::span<std::byte> message) noexcept {
  Drained drained;
  std::array<std::byte, 1> spare{};
  const std::span<std::byte> buffer = message.empty() ? std::span<std::byte>(spare) : message;
  for (std::size_t i = 0; i < kDrainMax; ++i) {
    iovec data = {buffer.data(), buffer.size()};
    msghdr header = {};
    header.msg_iov = &data;
    header.msg_iovlen = 1;
    const ssize_t got = receive_now(fd, header, 0);
    if (got < 0 && would_block(errno)) {
      return drained;
    }
    if (got <= 0) {
      drained.code = got == 0 || is_disconnect(errno) ? Errc::disconnected : Errc::os;
      return drained;
    }
    if ((header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) {
      drained.code = Errc::protocol;
      return drained;
    }
    if (got > 1) {
      drained.message_bytes = static_cast<std::size_t>(got);
      return drained;
    }
    ++drained.bells;
  }
  drained.more = true;
  return drained;
}

Errc wait_readable(int fd, std::uint64_t deadline_ns) noexcept {
  pollfd entry = {fd, POLLIN, 0};
  return wait_any({&entry, 1}, deadline_ns);
}

Errc wait_writable(int fd, std::uint64_t deadline_ns) noexcept {
  pollfd entry = {fd, POLLOUT, 0};
  return wait_any({&entry, 1}, deadline_ns);
}

Errc wait_any(std::span<pollfd> fds, std::uint64_t deadline_ns) noexcept {
  for (;;) {
    timespec limit = {};
    if (deadline_ns != kNoDeadline) {
      const std::uint64_t now = steady_now();
      const std::uint64_t left = deadline_ns > now ? deadline_ns - now : 0;
      limit.tv_sec = static_cast<time_t>(left / kNsPerSecond);
      limit.tv_nsec = static_cast<long>(left % kNsPerSecond);
    }
    const int ready =
        ::ppoll(fds.data(), fds.size(), deadline_ns != kNoDeadline ? &limit : nullptr, nullptr);
    if (ready > 0) {
      return Errc::ok;
    }
    if (ready == 0) {
      return Errc::timed_out;
    }
    if (errno != EINTR) {
      return Errc::os;
    }
  }
}

}  // namespace mserve::shm
