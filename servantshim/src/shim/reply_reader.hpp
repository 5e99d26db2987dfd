// SPDX-License-Identifier: Apache-2.0
// Messages of q's, from its byte stream to reply frames. No socket, clock or thread: whoever owns
// these calls step().
//   Small     a reply that fits one frame is read whole, validated, and copied into the ring
//   Flow      a larger one of known length goes from the stream straight into fragments in the ring
//             as its bytes arrive, each validated before it is committed
//   Gathered  compressed and big-endian messages, and LBT replies with an info dictionary that the
//             buffer cannot hold, are put together in memory, up to a bound; above: error `limit`
//   Skipped   what nobody waits for is passed over in the buffer, however long it is
//   Trust     every length is checked before memory is taken; bytes that are no kdb+ object end the
//             connection (`malformed`), never us
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "mserve/kdb/message.hpp"
#include "mserve/kdb/stream.hpp"
#include "shim/lbt_reply.hpp"
#include "shim/q_link.hpp"
#include "shim/questions.hpp"
#include "shim/rings.hpp"

namespace mserve::shim {

class ReplyReader {
 public:
  enum class Step : std::uint8_t {
    idle,            ///< q has sent nothing more.
    worked,          ///< Call again at once.
    waits_for_ring,  ///< A reply finds no room towards the broker.
    lost,            ///< q hung up.
    malformed,       ///< What q sends makes no sense any more; see fault().
  };

  struct Bounds {
    std::uint32_t servant = 0;        ///< Our number, stamped on replies.
    std::uint64_t ring_capacity = 0;  ///< Of the ring towards the broker.
    /// What must be whole in memory: compressed and big-endian messages, either size, and LBT
    /// replies with info.
    std::uint64_t max_gathered = 0;
    std::uint64_t message_bytes_max = 0;  ///< Largest reply that the broker takes.
  };

  /// Both outlive the reader.
  /// @param peer  q is another broker: its answers say whether they are errors, see PeerAnswer,
  ///              those to qid 0 are signs of life, and a large request may be answered before all
  ///              of it was sent, which is told once it was. Only with Form::lbt.
  ReplyReader(Questions& questions, const WarnFunction& warn, bool peer) noexcept
      : questions_(questions), warn_(warn), peer_(peer) {}
  ReplyReader(const ReplyReader&) = delete;
  ReplyReader& operator=(const ReplyReader&) = delete;

  /// A new connection to q.
  void connect(Form form);
  /// A new session.
  void attach(const Bounds& bounds);
  /// The session is over: the reply under way is passed over from here on.
  void detach();

  /// Reads and forwards a bounded number of pieces. @param rings  nullptr without a session.
  [[nodiscard]] Step step(QLink& q, Rings* rings);

  /// The reply under way will not come, but its session goes on: ends its flow, or answers with the
  /// error `text`. @return false when that finds no room.
  [[nodiscard]] bool give_up(Rings& rings, std::string_view text);

  /// In the middle of a message, or of a reply that waits for room.
  [[nodiscard]] bool busy() const noexcept { return phase_ != Phase::header || buffered() > 0; }
  /// Bytes received in all connections.
  [[nodiscard]] std::uint64_t received_bytes() const noexcept { return received_bytes_; }
  /// Sync messages of q's since the last call: each is owed a response.
  [[nodiscard]] std::uint32_t take_sync_count() noexcept { return std::exchange(sync_count_, 0U); }
  /// Why step() said malformed.
  [[nodiscard]] const std::string& fault() const noexcept { return fault_; }

 private:
  enum class Phase : std::uint8_t {
    header,   // between messages
    opening,  // of an LBT reply
    body,     // of a message that the buffer will hold
    stream,   // into fragments
    gather,   // into memory
    sending,  // a reply that lies in memory
    skip,     // what is left of the body
  };
  enum class Turn : std::uint8_t { again, idle, blocked, lost, malformed };

  static constexpr int kTurnsPerStep = 64;
  static constexpr std::size_t kBufferBytesMin = std::size_t{64} << 10;
  static constexpr std::string_view kTooEarly = "an answer to a request that was not sent whole";

  Turn turn(QLink& q, Rings* rings);
  Turn read_header(QLink& q);
  Turn classify();
  Turn classify_response();
  Turn plan_plain();
  Turn answer_unread();
  Turn read_opening(QLink& q);
  Turn plan_lbt(const LbtOpening& opening);
  Turn read_body(QLink& q);
  Turn gather(QLink& q);
  Turn use_gathered();
  Turn answer(std::span<const std::byte> body);
  Turn answer_lbt(std::span<const std::byte> body);
  Turn answer_peer(std::span<const std::byte> result, std::span<const std::byte> info);
  Turn send_answer(Rings& rings);
  Turn stream(QLink& q, Rings& rings);
  Turn commit_piece(Rings& rings, std::byte* frame, std::size_t bytes);
  Turn skip(QLink& q);

  bool claim(std::uint64_t qid);
  bool take_on();
  /// Only a peer answers what was not sent whole, and once.
  [[nodiscard]] bool too_early() const noexcept {
    return !target_.sent && (!peer_ || early_.has_value());
  }
  Turn skip_rest() noexcept;
  Turn begin_gather();
  Turn begin_stream(std::uint64_t result_bytes, std::span<const std::byte> front);
  Turn answer_error(std::string_view text);
  Turn keep_early(std::span<const std::byte> payload, Errc status, bool pair);
  [[nodiscard]] bool tell_early();
  Turn answer_bytes(std::span<const std::byte> payload, Errc status, bool pair);
  Turn malformed(std::string_view what);
  Turn fill(QLink& q);
  [[nodiscard]] std::size_t buffered() const noexcept { return end_ - begin_; }
  [[nodiscard]] std::span<const std::byte> buffer_front() const noexcept {
    return {buffer_.data() + begin_, buffered()};
  }
  [[nodiscard]] shm::FrameHeader reply_header(Errc status) const noexcept;

  Questions& questions_;
  const WarnFunction& warn_;
  const bool peer_;
  std::uint64_t received_bytes_ = 0;
  Form form_ = Form::plain;
  Bounds bounds_;
  std::uint64_t whole_max_ = 0;
  std::string fault_;

  std::vector<std::byte> buffer_;  // bytes [begin_, end_) are received and not used
  std::size_t begin_ = 0;
  std::size_t end_ = 0;

  Phase phase_ = Phase::header;
  kdb::Header header_;
  std::array<std::byte, kdb::kHeaderBytes> header_bytes_{};
  std::uint64_t left_ = 0;  // bytes of this message's body that were not used
  Question target_;         // whom the message answers, if claimed_
  bool claimed_ = false;
  bool begun_ = false;  // a part of the reply is committed

  // Phase stream.
  std::uint64_t flow_bytes_ = 0;
  std::uint64_t flow_offset_ = 0;
  Errc flow_status_ = Errc::ok;
  std::optional<kdb::StreamValidator> validator_;

  std::vector<std::byte> gathered_;  // a whole message, header included

  // Phase sending: the bytes lie in buffer_, gathered_, made_ or own_.
  shm::FrameHeader answer_header_;
  std::span<const std::byte> answer_;
  std::optional<shm::FlowWriter> answer_flow_;
  OwnBytes own_;
  std::vector<std::byte> made_;  ///< Of a peer's answer.

  /// A peer's answer to the request of which it has not got all. The rest of it goes there all the
  /// same, since the peer passes over it; after an answer our broker would send no more.
  struct Early {
    std::uint64_t qid = 0;
    Errc status = Errc::ok;
    bool pair = false;
    std::vector<std::byte> payload;
  };
  std::optional<Early> early_;

  std::uint32_t sync_count_ = 0;
};

}  // namespace mserve::shim
