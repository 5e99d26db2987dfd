// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/socket.h>

namespace mserve::shm {

// What every TCP connection of kdb+ IPC wants of its socket, whoever made it. Any thread.

/// How soon a peer that is silent, or gone without a word, is given up.
struct TcpPatience {
  int idle_s = 60;          ///< Silent for so long it is asked for the first time; 0: never ...
  int every_s = 10;         ///< ... then so often ...
  int probes = 6;           ///< ... and gone after so many unanswered questions.
  int user_timeout_ms = 0;  ///< What is sent unacknowledged for so long; 0: the kernel's own.
};

/// TCP_NODELAY, keep-alive and TCP_USER_TIMEOUT. None of them is needed for right answers, so a
/// kernel that refuses one is not told of: it costs speed or patience.
void set_tcp_options(int fd, const TcpPatience& patience) noexcept;

/// Looking for a port of this host that nobody listens on, TCP may connect a socket to itself.
[[nodiscard]] bool connected_to_itself(int fd) noexcept;

/// 127.0.0.0/8, ::1, or the former written as IPv6. Also whatever is neither IPv4 nor IPv6: a Unix
/// socket never leaves the host.
[[nodiscard]] bool is_loopback(const sockaddr* address) noexcept;

/// Whether the other end of a connected socket is on this host: a loopback address, or the same as
/// at this end, since a host may connect to its own outer address. True also when the kernel does
/// not tell.
[[nodiscard]] bool peer_on_this_host(int fd) noexcept;

}  // namespace mserve::shm
