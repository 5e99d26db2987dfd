// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <netinet/in.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "mserve/shm/unique_fd.hpp"
#include "peers/peer.hpp"

namespace mserve::bench {

/// Two connected sockets.
struct SocketPair {
  shm::UniqueFd near;  ///< Of client or servant.
  shm::UniqueFd far;   ///< Of the relay.
};

/// A relay of ours between two socket pairs, message by message as they come.
///   relay spin, yield  one thread, recv() on both without waiting
///   relay block        a thread for each direction, in recv(): a system call less than with poll()
[[nodiscard]] std::unique_ptr<Peer> open_socket_peer(const char* name, const PeerOptions& options,
                                                     SocketPair client, SocketPair servant);

/// A connected socket; messages may come in pieces.
class SocketEndpoint final : public Endpoint {
 public:
  /// @param socket         connected, or with `listening` one to accept a single one from, in the
  ///                       first use.
  SocketEndpoint(shm::UniqueFd socket, std::size_t payload_bytes, bool listening = false);

  [[nodiscard]] bool try_send(std::span<const std::byte> message) override;
  [[nodiscard]] bool try_receive(std::span<std::byte> message) override;
  [[nodiscard]] bool receive(std::span<std::byte> message) override;

 private:
  [[nodiscard]] bool flush();
  [[nodiscard]] bool take(std::span<std::byte> message, int flags);
  [[nodiscard]] bool accepted(bool wait);

  shm::UniqueFd socket_;
  bool listening_;
  std::vector<std::byte> unsent_;    ///< What the kernel did not take of a message.
  std::vector<std::byte> received_;  ///< A message that is not whole yet.
  std::size_t received_bytes_ = 0;
};

/// A socket that listens on a free port of 127.0.0.1. Throws std::system_error.
[[nodiscard]] shm::UniqueFd listen_on_loopback();
[[nodiscard]] std::uint16_t port_of(int socket);
/// Connects to it, with TCP_NODELAY. Throws std::system_error.
[[nodiscard]] shm::UniqueFd connect_to(std::uint16_t port);
/// Nothing waits to fill a segment.
void set_no_delay(int socket) noexcept;

}  // namespace mserve::bench
