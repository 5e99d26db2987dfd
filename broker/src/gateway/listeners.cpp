// SPDX-License-Identifier: Apache-2.0
#include "gateway/listeners.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>

namespace mserve::broker {

namespace {

constexpr int kSocketFlags = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;

/// The family, and an address without a port yet.
socklen_t parse_address(const std::string& text, sockaddr_storage& storage) noexcept {
  sockaddr_in in{};
  if (::inet_pton(AF_INET, text.c_str(), &in.sin_addr) == 1) {
    in.sin_family = AF_INET;
    std::memcpy(&storage, &in, sizeof(in));
    return sizeof(in);
  }
  sockaddr_in6 in6{};
  if (::inet_pton(AF_INET6, text.c_str(), &in6.sin6_addr) == 1) {
    in6.sin6_family = AF_INET6;
    std::memcpy(&storage, &in6, sizeof(in6));
    return sizeof(in6);
  }
  return 0;
}

// The port lies at the same place in both families.
static_assert(offsetof(sockaddr_in, sin_port) == offsetof(sockaddr_in6, sin6_port));

void set_port(sockaddr_storage& storage, std::uint16_t port) noexcept {
  const std::uint16_t wire = htons(port);
  std::memcpy(reinterpret_cast<char*>(&storage) + offsetof(sockaddr_in, sin_port), &wire,
              sizeof(wire));
}

std::uint16_t port_of(int fd) noexcept {
  sockaddr_storage storage{};
  socklen_t bytes = sizeof(storage);
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &bytes) != 0) {
    return 0;
  }
  std::uint16_t wire = 0;
  std::memcpy(&wire, reinterpret_cast<char*>(&storage) + offsetof(sockaddr_in, sin_port),
              sizeof(wire));
  return ntohs(wire);
}

/// @param name  the address's bytes behind the family: a path, or NUL and a name.
socklen_t unix_address(std::string_view name, sockaddr_un& address) noexcept {
  address = sockaddr_un{};
  address.sun_family = AF_UNIX;
  if (name.size() >= sizeof(address.sun_path)) {
    return 0;
  }
  std::memcpy(address.sun_path, name.data(), name.size());
  const bool is_path = name[0] != '\0';
  return static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size() + (is_path ? 1 : 0));
}

shm::UniqueFd bind_unix(std::string_view name) noexcept {
  sockaddr_un address;
  const socklen_t bytes = unix_address(name, address);
  shm::UniqueFd fd(::socket(AF_UNIX, kSocketFlags, 0));
  if (bytes == 0) {
    errno = ENAMETOOLONG;
    return {};
  }
  if (!fd || ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), bytes) != 0 ||
      ::listen(fd.get(), SOMAXCONN) != 0) {
    return {};
  }
  return fd;
}

/// Whether nobody listens at the socket that lies at `path` any more.
bool is_stale(const std::string& path) noexcept {
  sockaddr_un address;
  const socklen_t bytes = unix_address(path, address);
  const shm::UniqueFd probe(::socket(AF_UNIX, kSocketFlags, 0));
  struct stat info {};
  return bytes != 0 && probe && ::lstat(path.c_str(), &info) == 0 && S_ISSOCK(info.st_mode) &&
         ::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), bytes) != 0 &&
         errno == ECONNREFUSED;
}

MissingSocket missing(const std::string& path, const char* kind) {
  return {.kind = kind,
          .path = path,
          .reason = std::string(std::strerror(errno)) + ": clients that look for it use TCP"};
}

}  // namespace

std::optional<std::string> unix_socket_path(std::uint16_t port) {
  const char* const directory = std::getenv("QUDSPATH");
  if (directory != nullptr && *directory == '\0') {
    return std::nullopt;
  }
  return std::string(directory != nullptr ? directory : "/tmp") + "/kx." + std::to_string(port);
}

Result<Listeners> Listeners::open(const GatewayOptions& options, std::string& reason,
                                  std::vector<MissingSocket>& missed) {
  Listeners listeners;
  listeners.port_ = options.port;
  for (const std::string& address : options.bind) {
    if (const Error e = listeners.listen_tcp(address, reason); e.code != Errc::ok) {
      return e;
    }
  }
  if (const auto path = unix_socket_path(listeners.port_)) {
    listeners.listen_abstract(*path, missed);
    listeners.listen_path(*path, missed);
  }
  return listeners;
}

Error Listeners::listen_tcp(const std::string& address, std::string& reason) {
  sockaddr_storage storage{};
  const socklen_t bytes = parse_address(address, storage);
  set_port(storage, port_);
  shm::UniqueFd fd(::socket(storage.ss_family, kSocketFlags, 0));
  const int on = 1;
  const bool made = fd && ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
                    (storage.ss_family != AF_INET6 ||
                     ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) == 0) &&
                    ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&storage), bytes) == 0 &&
                    ::listen(fd.get(), SOMAXCONN) == 0;
  if (!made) {
    const Errc code = errno == EADDRINUSE ? Errc::in_use : Errc::os;
    reason = "cannot listen at " + address + " port " + std::to_string(port_) + ": " +
             std::strerror(errno);
    return os_error("listen", code);
  }
  port_ = port_of(fd.get());  // the first one chooses when any will do
  sockets_.push_back(std::move(fd));
  return {};
}

void Listeners::listen_abstract(const std::string& path, std::vector<MissingSocket>& missed) {
  shm::UniqueFd fd = bind_unix(std::string(1, '\0') + path);
  if (fd) {
    sockets_.push_back(std::move(fd));
  } else {
    missed.push_back(missing(path, "abstract"));
  }
}

void Listeners::listen_path(const std::string& path, std::vector<MissingSocket>& missed) {
  shm::UniqueFd fd = bind_unix(path);
  if (!fd && errno == EADDRINUSE && is_stale(path)) {
    (void)::unlink(path.c_str());
    fd = bind_unix(path);
  }
  struct stat info {};
  if (!fd || ::lstat(path.c_str(), &info) != 0) {
    missed.push_back(missing(path, "path"));
    return;
  }
  path_ = path;
  path_device_ = info.st_dev;
  path_inode_ = info.st_ino;
  sockets_.push_back(std::move(fd));
}

void Listeners::close() noexcept {
  sockets_.clear();
  struct stat info {};
  if (!path_.empty() && ::lstat(path_.c_str(), &info) == 0 && info.st_dev == path_device_ &&
      info.st_ino == path_inode_) {
    (void)::unlink(path_.c_str());
  }
  path_.clear();
}

}  // namespace mserve::broker
