// SPDX-License-Identifier: Apache-2.0
// How the shim and q introduce themselves: credentials and capability, then, if that was not
// decided by the user, which form of messages this q speaks. Needs no socket, only a stream and a
// way to wait for it.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "shim/messages.hpp"
#include "shim/q_link.hpp"

namespace mserve::shim {

/// `--servant-protocol`.
enum class ServantProtocol : std::uint8_t { automatic, plain, lbt };

/// The capability that is offered: messages and vectors of any length.
inline constexpr std::uint8_t kOfferedCapability = 6;

/// What q said of itself.
struct Identity {
  Form form = Form::plain;
  std::uint8_t capability = 0;
};

/// Waits until the stream can be read from (or written to). @return false to give up.
using WaitFunction = std::function<bool(bool writable)>;

/// Does the whole introduction. It waits as long as `wait` lets it: a q that runs somebody's query
/// answers when it is through.
/// @param credentials  `user:password`, without NUL.
/// @param why          one sentence on failure.
[[nodiscard]] bool introduce(QLink& q, const std::string& credentials, ServantProtocol protocol,
                             const WaitFunction& wait, Identity& identity, std::string& why);

}  // namespace mserve::shim
