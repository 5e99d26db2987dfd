// SPDX-License-Identifier: Apache-2.0
#include "gateway/peer.hpp"

#include <arpa/inet.h>
#include <sys/socket.h>

#include <cstring>

#include "mserve/shm/tcp.hpp"

namespace mserve::broker {

Peer Peer::of(int fd) noexcept {
  Peer peer;
  sockaddr_storage storage{};
  socklen_t bytes = sizeof(storage);
  if (::getpeername(fd, reinterpret_cast<sockaddr*>(&storage), &bytes) != 0) {
    return peer;
  }
  peer.remote = !shm::is_loopback(reinterpret_cast<const sockaddr*>(&storage));
  if (storage.ss_family == AF_INET) {
    sockaddr_in in{};
    std::memcpy(&in, &storage, sizeof(in));
    peer.kind = Kind::tcp4;
    peer.port = ntohs(in.sin_port);
    std::memcpy(peer.address.data(), &in.sin_addr, sizeof(in.sin_addr));
  } else if (storage.ss_family == AF_INET6) {
    sockaddr_in6 in6{};
    std::memcpy(&in6, &storage, sizeof(in6));
    peer.kind = Kind::tcp6;
    peer.port = ntohs(in6.sin6_port);
    std::memcpy(peer.address.data(), &in6.sin6_addr, sizeof(in6.sin6_addr));
  } else {
    ucred credentials{};
    bytes = sizeof(credentials);
    if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &bytes) == 0) {
      peer.uid = credentials.uid;
      peer.pid = credentials.pid;
    } else {
      peer.uid = static_cast<uid_t>(-1);  // nobody
    }
  }
  return peer;
}

std::string Peer::text() const {
  if (kind == Kind::unix_socket) {
    return "unix:" + std::to_string(pid);
  }
  char shown[INET6_ADDRSTRLEN] = "?";
  (void)::inet_ntop(kind == Kind::tcp4 ? AF_INET : AF_INET6, address.data(), shown, sizeof(shown));
  const std::string host = kind == Kind::tcp4 ? shown : "[" + std::string(shown) + "]";
  return host + ":" + std::to_string(port);
}

}  // namespace mserve::broker
