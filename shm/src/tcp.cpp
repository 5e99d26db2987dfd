// SPDX-License-Identifier: Apache-2.0
#include "mserve/shm/tcp.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <span>

namespace mserve::shm {

namespace {

struct Ends {
  sockaddr_storage own{};
  sockaddr_storage peer{};
  socklen_t own_bytes = sizeof(sockaddr_storage);
  socklen_t peer_bytes = sizeof(sockaddr_storage);
};

bool look_up(int fd, Ends& ends) noexcept {
  return ::getsockname(fd, reinterpret_cast<sockaddr*>(&ends.own), &ends.own_bytes) == 0 &&
         ::getpeername(fd, reinterpret_cast<sockaddr*>(&ends.peer), &ends.peer_bytes) == 0;
}

/// The IP address within; empty for other families.
std::span<const std::byte> ip_of(const sockaddr_storage& address) noexcept {
  const auto bytes = std::as_bytes(std::span(&address, 1));
  switch (address.ss_family) {
    case AF_INET:
      return bytes.subspan(offsetof(sockaddr_in, sin_addr), sizeof(in_addr));
    case AF_INET6:
      return bytes.subspan(offsetof(sockaddr_in6, sin6_addr), sizeof(in6_addr));
    default:
      return {};
  }
}

void set_option(int fd, int level, int option, int value) noexcept {
  (void)::setsockopt(fd, level, option, &value, sizeof(value));
}

}  // namespace

void set_tcp_options(int fd, const TcpPatience& patience) noexcept {
  set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  set_option(fd, SOL_SOCKET, SO_KEEPALIVE, patience.idle_s > 0 ? 1 : 0);
  if (patience.idle_s > 0) {
    set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, patience.idle_s);
    set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, patience.every_s);
    set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, patience.probes);
  }
  if (patience.user_timeout_ms > 0) {
    set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, patience.user_timeout_ms);
  }
}

bool connected_to_itself(int fd) noexcept {
  Ends ends;
  return look_up(fd, ends) && ends.own_bytes == ends.peer_bytes &&
         std::memcmp(&ends.own, &ends.peer, ends.own_bytes) == 0;
}

bool is_loopback(const sockaddr* address) noexcept {
  constexpr unsigned char kLoopbackNet = 127;
  if (address->sa_family == AF_INET) {
    sockaddr_in v4{};
    std::memcpy(&v4, address, sizeof(v4));
    return (ntohl(v4.sin_addr.s_addr) >> 24) == kLoopbackNet;
  }
  if (address->sa_family == AF_INET6) {
    sockaddr_in6 v6{};
    std::memcpy(&v6, address, sizeof(v6));
    return IN6_IS_ADDR_LOOPBACK(&v6.sin6_addr) ||
           (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr) && v6.sin6_addr.s6_addr[12] == kLoopbackNet);
  }
  return true;
}

bool peer_on_this_host(int fd) noexcept {
  Ends ends;
  return !look_up(fd, ends) || is_loopback(reinterpret_cast<const sockaddr*>(&ends.peer)) ||
         std::ranges::equal(ip_of(ends.own), ip_of(ends.peer));
}

}  // namespace mserve::shm
