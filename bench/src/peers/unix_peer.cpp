// SPDX-License-Identifier: Apache-2.0
// Unix sockets, SOCK_SEQPACKET: one system call sends or receives a whole message.
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <system_error>

#include "peers/kinds.hpp"
#include "peers/socket_peer.hpp"

namespace mserve::bench {
namespace {

SocketPair unix_pair() {
  std::array<int, 2> ends{};
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    throw std::system_error(errno, std::generic_category(), "socketpair");
  }
  return {shm::UniqueFd(ends[0]), shm::UniqueFd(ends[1])};
}

}  // namespace

std::unique_ptr<Peer> open_unix_peer(const PeerOptions& options) {
  SocketPair client = unix_pair();
  return open_socket_peer("unix", options, std::move(client), unix_pair());
}

}  // namespace mserve::bench
