// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

#include "mserve/shm/message.hpp"
#include "mserve/shm/ring.hpp"
#include "shim/messages.hpp"

namespace mserve::shim {

/// Where the shim says what somebody should know and nothing stops: one line, valid during the
/// call.
using WarnFunction = std::function<void(std::string_view line)>;

/// The two rings of a session, for one step.
struct Rings {
  shm::RingProducer& out;
  shm::RingConsumer& in;
  bool committed = false;  ///< Something was committed to `out`: the broker may have to be woken.
};

/// Answers a request with a kdb+ error of our own.
/// @param status  of a link's: what may be tried elsewhere, since it never ran, says so.
/// @return false when `out` has no room.
[[nodiscard]] inline bool send_error(Rings& rings, std::uint32_t servant, std::uint64_t id,
                                     std::string_view text, Errc status = Errc::failed) noexcept {
  OwnBytes object;
  put_error(object, text);
  shm::FrameHeader header;
  header.kind = shm::Kind::reply;
  header.id = id;
  header.aux = shm::pack({servant, static_cast<std::uint16_t>(status)});
  const bool sent = shm::try_send_whole(rings.out, header, {}, object.view());
  rings.committed = rings.committed || sent;
  return sent;
}

}  // namespace mserve::shim
