// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "mserve/kdb/value.hpp"
#include "mserve/shm/errc.hpp"

namespace mserve::broker {

// The broker's side of Control and ControlReply (rendezvous.hpp), for any thread.

/// Whether a user, as the kernel tells, may control the broker of user `own`: that one and root
/// may, whoever else may attach. @return code ok, or `access` with a sentence in `where`.
[[nodiscard]] Error check_operator(uid_t asker, uid_t own) noexcept;

/// Answers an operator's request without waiting; a peer that is gone is nobody's loss.
/// @param count  servants that it was done to.   @param text  one sentence, cut to fit.
void reply_to_operator(int socket, Errc status, std::uint64_t count, const std::string& text);

/// Answers with a table, in a memfd of its own: any size is one message, which never waits for
/// whoever reads it. Without memory for it the answer says so.
/// @param remark  one sentence about the table, cut to fit; may be empty.
/// @param status  `ok`, or `invalid`: the table says what is wrong.
void reply_with_table(int socket, const kdb::Value& table, const std::string& remark = {},
                      Errc status = Errc::ok);

}  // namespace mserve::broker
