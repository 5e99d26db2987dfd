// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "lib/link.hpp"
#include "lib/tcp_dialer.hpp"
#include "mserve/client/options.hpp"

namespace mserve {

/// Largest request or answer over TCP, in bytes, where ClientOptions::message_bytes_max says
/// nothing: what a broker takes by default.
inline constexpr std::uint64_t kTcpMessageBytesMax = 1ULL << 30;

/// A session with a gateway, in terms of rings: frames are moved between private rings and the
/// socket whenever the core commits one, looks at the session, or sleeps.
///
/// Answers wait in the socket while the incoming ring is full, so the gateway feels the reader's
/// pace, and no windows are needed. Cancels go nowhere: LBT's convention has none; the late answer
/// is dropped.
/// @return the link, or `os`.
[[nodiscard]] Result<std::unique_ptr<Link>> make_tcp_link(TcpSession session,
                                                          const ClientOptions& options);

}  // namespace mserve
