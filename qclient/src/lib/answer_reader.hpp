// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "lib/in_flight.hpp"
#include "mserve/kdb/message.hpp"
#include "mserve/shm/ring.hpp"

namespace mserve {

/// Turns the bytes that a gateway sends, async `(id; result; info)` or `(id; result)`, into reply
/// frames whose payload is what follows the id: the result and, with the flag pair, the info
/// dictionary. Whose id it is and what the payload says is the reader's business (core_remote.cpp).
///
///   Memory  a plain message: none, it goes into the ring piece by piece. A compressed or
///   big-endian
///           one is put together first, up to the bound on messages.
///   Trust   none: every length is checked against that bound and against what is there. A lie
///   makes
///           failed() true for good.
class AnswerReader {
 public:
  /// Message header, head of the list, id: what is in front of an answer's result.
  static constexpr std::size_t kFrontBytes = 8 + 6 + 9;

  /// @param ring               takes the frames; outlives this.
  /// @param message_bytes_max  largest result with its info. A larger one becomes a reply with
  ///                           status `too_large` and is skipped; far larger ones fail.
  AnswerReader(shm::RingProducer& ring, std::uint64_t message_bytes_max) noexcept;

  /// Bytes that must fit into the caller's buffer, so that feed() never waits for more than it can
  /// be given at once.
  [[nodiscard]] std::size_t window_bytes() const noexcept;

  /// Takes as much as it can use of what arrived; the rest is to be given again, with what comes
  /// behind it. @return bytes taken.
  [[nodiscard]] std::size_t feed(std::span<const std::byte> bytes);

  /// The info of this request's answer is wanted: its frame will carry the flag. Forgotten when the
  /// answer comes.
  void want_info(std::uint64_t id) { wanted_.insert(id); }
  /// No answer to this request is wanted any more.
  void forget(std::uint64_t id) noexcept { (void)wanted_.erase(id); }

  /// True when the last feed() stopped because the ring is full.
  [[nodiscard]] bool blocked() const noexcept { return blocked_; }
  [[nodiscard]] bool failed() const noexcept { return state_ == State::failed; }
  /// What the gateway did wrong, as the end of a sentence that starts with its name.
  [[nodiscard]] const std::string& reason() const noexcept { return reason_; }

 private:
  enum class State : std::uint8_t { between, fragments, skipping, gathering, failed };

  // Each takes what it can of `bytes` and returns how much; 0 when it needs more bytes or room.
  [[nodiscard]] std::size_t step(std::span<const std::byte> bytes);
  [[nodiscard]] std::size_t begin(std::span<const std::byte> bytes);
  [[nodiscard]] std::size_t begin_plain(const kdb::Header& header,
                                        std::span<const std::byte> bytes);
  [[nodiscard]] std::size_t take_whole(std::span<const std::byte> body);
  [[nodiscard]] std::size_t refuse_large(std::uint64_t body_bytes);
  [[nodiscard]] std::size_t take_fragment(std::span<const std::byte> bytes);
  [[nodiscard]] std::size_t gather(std::span<const std::byte> bytes);
  void finish_gathering();
  void finish_head() noexcept;
  std::size_t fail(std::string reason);
  std::size_t fail_as_no_answer(std::span<const std::byte> message);

  shm::RingProducer& ring_;
  const std::uint64_t message_bytes_max_;
  InFlight wanted_;
  State state_ = State::between;
  bool blocked_ = false;
  shm::FrameHeader head_;         ///< Of the answer under way.
  std::uint64_t body_bytes_ = 0;  ///< Its result and info.
  std::uint64_t body_done_ = 0;
  std::uint64_t message_bytes_ = 0;  ///< Of the message that is being gathered.
  std::vector<std::byte> gathered_;
  std::vector<std::byte> plain_;  ///< What gathering made, little endian and not compressed.
  std::size_t plain_done_ = 0;
  std::string reason_;
};

}  // namespace mserve
