// SPDX-License-Identifier: Apache-2.0
// What another broker (--peer) answers: (qid; result; info), where the info says whether the result
// is an error.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "mserve/shm/errc.hpp"

namespace mserve::shim {

struct PeerAnswer {
  Errc status = Errc::ok;  ///< As the peer has it. Its number may be none that we know.
  std::string error;       ///< Its text, unless status is ok.
  /// Of a result: the peer's info for our broker to extend, encoded. What our broker says itself is
  /// left out, but for who ran it there and for how long: `qsvr`, `elapsed` and `execution` become
  /// `peer_qsvr`, `peer_elapsed` and `peer_execution`.
  std::vector<std::byte> info;

  /// The peer says that no servant of its got the request, and none will. (It says `shutdown` of
  /// those alone: of what it cut short a link is told `servant died`.)
  [[nodiscard]] bool never_ran() const noexcept {
    return status == Errc::no_servant || status == Errc::busy || status == Errc::queue_timeout ||
           status == Errc::shutdown;
  }
};

/// @param result  encoded; looked at only where the info says that it is an error.
/// @param info    an encoded dictionary.
/// @return nothing when this is no answer of a broker to a link.
[[nodiscard]] std::optional<PeerAnswer> read_peer_answer(std::span<const std::byte> result,
                                                         std::span<const std::byte> info);

}  // namespace mserve::shim
