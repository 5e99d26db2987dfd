// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <netinet/in.h>
#include <sys/types.h>

#include <array>
#include <cstdint>
#include <string>

namespace mserve::broker {

/// Who is at the other end of an accepted socket, as the kernel tells.
struct Peer {
  enum class Kind : std::uint8_t { tcp4, tcp6, unix_socket };
  Kind kind = Kind::unix_socket;
  /// Not on this machine, by its address: what is sent to it may be compressed. As in KX's own
  /// library the machine's external address counts as remote.
  bool remote = false;
  std::uint16_t port = 0;
  std::array<unsigned char, 16> address{};  ///< tcp4: the first four.
  uid_t uid = 0;                            ///< unix_socket.
  pid_t pid = 0;

  /// Asks the kernel about a connected socket.
  [[nodiscard]] static Peer of(int fd) noexcept;
  /// "127.0.0.1:5012", "[::1]:5012" or "unix:PID".
  [[nodiscard]] std::string text() const;
};

}  // namespace mserve::broker
