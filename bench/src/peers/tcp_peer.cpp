// SPDX-License-Identifier: Apache-2.0
// TCP on loopback, TCP_NODELAY, through a relay of ours.
#include <sys/socket.h>

#include <cerrno>
#include <system_error>

#include "peers/kinds.hpp"
#include "peers/socket_peer.hpp"

namespace mserve::bench {
namespace {

SocketPair tcp_pair() {
  const shm::UniqueFd listener = listen_on_loopback();
  SocketPair pair;
  pair.near = connect_to(port_of(listener.get()));
  pair.far = shm::UniqueFd(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  if (!pair.far) {
    throw std::system_error(errno, std::generic_category(), "accept");
  }
  set_no_delay(pair.far.get());
  return pair;
}

}  // namespace

std::unique_ptr<Peer> open_tcp_peer(const PeerOptions& options) {
  SocketPair client = tcp_pair();
  return open_socket_peer("tcp", options, std::move(client), tcp_pair());
}

}  // namespace mserve::bench
