// SPDX-License-Identifier: Apache-2.0
#include "standin/sockets.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <system_error>

namespace mserve::test {
namespace {

constexpr int kType = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;

void check(bool ok, const std::string& what) {
  if (!ok) {
    throw std::system_error(errno, std::generic_category(), what);
  }
}

}  // namespace

shm::UniqueFd listen_tcp(std::uint16_t& port) {
  shm::UniqueFd fd(socket(AF_INET, kType, 0));
  const int on = 1;
  check(fd && setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0, "socket");
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  auto* const any = reinterpret_cast<sockaddr*>(&address);
  check(bind(fd.get(), any, size) == 0 && listen(fd.get(), SOMAXCONN) == 0 &&
            getsockname(fd.get(), any, &size) == 0,
        "port " + std::to_string(port));
  port = ntohs(address.sin_port);
  return fd;
}

shm::UniqueFd listen_unix(const std::string& name, bool abstract) {
  shm::UniqueFd fd(socket(AF_UNIX, kType, 0));
  check(static_cast<bool>(fd), "socket");
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::size_t skip = abstract ? 1 : 0;
  errno = ENAMETOOLONG;
  check(name.size() + 1 < sizeof address.sun_path, name);
  std::memcpy(address.sun_path + skip, name.data(), name.size());
  if (!abstract) {
    unlink(name.c_str());
  }
  // Clients give an abstract name its exact length; a path ends with its NUL.
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size() + 1);
  check(bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), size) == 0 &&
            listen(fd.get(), SOMAXCONN) == 0,
        name);
  return fd;
}

std::string uds_name(const std::string& dir, std::uint16_t port) {
  return dir + "/kx." + std::to_string(port);
}

shm::UniqueFd accept_one(int listener, std::string& address) {
  sockaddr_storage peer{};
  socklen_t size = sizeof peer;
  shm::UniqueFd fd(
      accept4(listener, reinterpret_cast<sockaddr*>(&peer), &size, SOCK_NONBLOCK | SOCK_CLOEXEC));
  address = "0.0.0.0";
  if (fd && peer.ss_family == AF_INET) {
    const int on = 1;
    setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    char text[INET_ADDRSTRLEN] = {};
    inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in&>(peer).sin_addr, text, sizeof text);
    address = text;
  }
  return fd;
}

}  // namespace mserve::test
