// SPDX-License-Identifier: Apache-2.0
// What goes with a request to another broker (--peer): the options of LBT's form, as that broker's
// gateway reads them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "mserve/shm/frame.hpp"

namespace mserve::shim {

/// What our broker says of a request beside its payload.
struct PeerTerms {
  shm::DeadlineExt deadline;  ///< What is left of it; 0: no limit.
  std::uint8_t priority = shm::kPriorityDefault;
  bool vouched = false;  ///< `user` and `role` in its options are the broker's own words.
};

/// What is left of a request's time when it has waited here for `waited_ns`.
/// @return nullptr; or the error to answer with, when nothing is left: the peer is not asked then.
[[nodiscard]] const char* spend(shm::DeadlineExt& deadline, std::uint64_t waited_ns) noexcept;

/// Longest options that a peer takes: its gateway looks at no longer ones.
inline constexpr std::size_t kPeerOptionsBytesMax = std::size_t{64} << 10;

/// The client's options, but for `hop`, `user`, `role` and what the terms say better, and behind
/// them: `hop` 1; `user` and `role` if the broker vouches for them; `timeout`, and a
/// `queue_timeout` that is no longer, as timespans; `priority`; `repeatable` 0b of what must not
/// run twice. Options whose keys are no symbols, or whose values are a table or a dictionary, are
/// forgotten, as gateways forget them.
/// @param options     the client's, encoded; empty: none.
/// @param repeatable  whether the broker may send the request again.
/// @return encoded; nothing when they are no dictionary, or longer than kPeerOptionsBytesMax.
[[nodiscard]] std::optional<std::vector<std::byte>> peer_options(std::span<const std::byte> options,
                                                                 const PeerTerms& terms,
                                                                 bool repeatable);

}  // namespace mserve::shim
