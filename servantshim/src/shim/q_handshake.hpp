// SPDX-License-Identifier: Apache-2.0
// How the shim and q introduce themselves: credentials and capability; if that was not decided by
// the user, which form of messages this q speaks; which process it is. Needs no socket, only a
// stream and a way to wait for it.
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
  /// Its own process id as it says (.z.i), above 0; 0: it does not say, or was not asked.
  std::int64_t process = 0;
  /// Of an introduction that failed: it hung up on the question which process it is.
  bool hung_up_on_process = false;
};

/// Waits until the stream can be read from (or written to). @return false to give up.
using WaitFunction = std::function<bool(bool writable)>;

/// Does the whole introduction. It waits as long as `wait` lets it: a q that runs somebody's query
/// answers when it is through.
/// @param credentials  `user:password`, without NUL.
/// @param ask_process  whether it is asked which process it is. One that answers anything else,
/// such
///                     as an error, has introduced itself all the same.
/// @param why          one sentence on failure.
[[nodiscard]] bool introduce(QLink& q, const std::string& credentials, ServantProtocol protocol,
                             bool ask_process, const WaitFunction& wait, Identity& identity,
                             std::string& why);

/// Asks another broker's gateway, which was introduced as Form::lbt, for a sign of life every `ms`
/// milliseconds: `.mserve.beat`. Each is an async (0; ::); the first of them is awaited here.
/// @param takes_cancels  set to whether it says that it knows put_cancel().
/// @return false, and `why` in one sentence, when it is no gateway that knows this, or refuses.
[[nodiscard]] bool ask_for_beats(QLink& q, std::uint64_t ms, const WaitFunction& wait,
                                 bool& takes_cancels, std::string& why);

}  // namespace mserve::shim
