// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>

namespace mserve::shim {

/// How long a peer may keep quiet. It says every so often that it lives, but never in the middle of
/// another message; there it may wait for a servant that pauses, and the kernel finds a host that
/// is dead.
class PeerPatience {
 public:
  /// Signs of life that may fail to come.
  static constexpr std::uint64_t kMissedMax = 3;
  /// The same in the middle of a message: 5 s unless told otherwise. The peer itself ends an answer
  /// that pauses, and the connection, after its --stall-timeout (1 s): this is for one that hangs.
  static constexpr std::uint64_t kMissedMaxInMessage = 25;

  /// @param beat_ns  how often it says so.
  explicit PeerPatience(std::uint64_t beat_ns) noexcept : beat_ns_(beat_ns) {}

  /// A new connection, or it is not the peer that keeps us waiting.
  void begin() noexcept { silence_ns_ = 0; }

  /// To be called every so often. Only time in which somebody listened counts: when this process
  /// was held up itself, what the peer said may lie in the socket.
  /// @param spent_ns     since the last call.
  /// @param heard_bytes  all that the peer has sent so far, whatever it means.
  /// @param in_message   it has begun a message and not ended it.
  /// @return whether it is to be given up.
  [[nodiscard]] bool ends(std::uint64_t spent_ns, std::uint64_t heard_bytes,
                          bool in_message) noexcept {
    if (heard_bytes != heard_bytes_) {
      heard_bytes_ = heard_bytes;
      silence_ns_ = 0;
      return false;
    }
    silence_ns_ += std::min(spent_ns, beat_ns_ / 2);
    return silence_ns_ >= (in_message ? kMissedMaxInMessage : kMissedMax) * beat_ns_;
  }

 private:
  std::uint64_t beat_ns_;
  std::uint64_t heard_bytes_ = 0;
  std::uint64_t silence_ns_ = 0;
};

}  // namespace mserve::shim
