// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include "mserve/shm/unique_fd.hpp"

namespace mserve::test {

/// Sockets as q has them. All are non-blocking and CLOEXEC; what fails throws std::system_error.

/// @param port  on 127.0.0.1; 0: any, and on return the one that it got.
[[nodiscard]] shm::UniqueFd listen_tcp(std::uint16_t& port);
/// @param name  a path whose stale socket is replaced, or with `abstract` a name without the NUL.
[[nodiscard]] shm::UniqueFd listen_unix(const std::string& name, bool abstract);

/// DIR/kx.PORT: the path, and with a NUL before it the abstract name, on which kdb+ clients look.
[[nodiscard]] std::string uds_name(const std::string& dir, std::uint16_t port);

/// The next connection of a listener. @param address  becomes the peer's, 0.0.0.0 on a Unix socket.
/// @return nothing when nobody waits.
[[nodiscard]] shm::UniqueFd accept_one(int listener, std::string& address);

}  // namespace mserve::test
