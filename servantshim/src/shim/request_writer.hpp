// SPDX-License-Identifier: Apache-2.0
// Requests from the ring to q. No socket, clock or thread: whoever owns these calls step().
//   Memory    a request goes out of the ring's own memory, whose place is given back when q has
//             taken the last byte: a q that does not read holds up the ring, and nothing grows
//   Flows     a request in fragments becomes one message of q's, its length in front, bytes as they
//             come. What else arrives meanwhile (only with a credit above 1) is held in memory up
//             to a bound, and so is what cannot stream: a pair in plain form or for a peer, whose
//             query's length is known at its end only. For a peer all of them are held until they
//             are whole, so that others pass and one that is given up costs nothing; one that is
//             larger than the bound streams. What was promised takes no room, only what has come;
//             when that is up, the largest of those that are not whole yet is refused
//   Trust     every request is validated before q sees it; of a flow every piece. A flow that turns
//             out malformed, or is aborted, leaves q in the middle of a message: only another
//             connection ends that (`cut`)
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "mserve/kdb/stream.hpp"
#include "mserve/shm/errc.hpp"
#include "shim/messages.hpp"
#include "shim/peer_options.hpp"
#include "shim/q_link.hpp"
#include "shim/questions.hpp"
#include "shim/request_check.hpp"
#include "shim/rings.hpp"

namespace mserve::shim {

class RequestWriter {
 public:
  enum class Step : std::uint8_t {
    idle,            ///< Nothing to do.
    worked,          ///< Call again at once.
    waits_for_q,     ///< q takes no bytes now.
    waits_for_ring,  ///< A refusal finds no room towards the broker.
    cut,             ///< q waits for the rest of a message that will never come.
    lost,            ///< q takes no bytes any more.
    broken,          ///< The broker broke the protocol; see fault().
  };

  /// @param peer  q is another broker: each request goes with options that we make, see
  ///              peer_options(). Only with Form::lbt.
  RequestWriter(Questions& questions, bool peer) noexcept : questions_(questions), peer_(peer) {}
  RequestWriter(const RequestWriter&) = delete;
  RequestWriter& operator=(const RequestWriter&) = delete;

  /// A new connection to q; forgets what the last one was in the middle of, and keeps what is held.
  /// @param takes_cancels  see put_cancel()
  void connect(Form form, std::uint8_t capability, bool takes_cancels);
  /// A new session. @param held_bytes_max  bound on a request that is held, and on what has come of
  /// all of them.
  void attach(std::uint32_t servant, std::uint32_t credit, std::uint64_t held_bytes_max);
  /// The session is over. @return false when q was left in the middle of a message.
  [[nodiscard]] bool detach();

  /// Sends what is begun, then takes more.
  /// @param rings     nullptr without a session.
  /// @param take_new  whether requests may begin; one that is in the middle goes on anyway.
  /// @param now_ns    steady clock: what is held for a peer is told what is left of its time.
  [[nodiscard]] Step step(QLink& q, Rings* rings, bool take_new, std::uint64_t now_ns);

  /// q sent a sync message, which is to be answered with `nyi` as soon as no message is under way.
  void owe_nyi() noexcept { ++nyi_owed_; }
  /// A probe is to be sent likewise.
  void owe_probe() noexcept { probe_owed_ = true; }
  [[nodiscard]] bool owes_probe() const noexcept { return probe_owed_; }

  /// No message is under way.
  [[nodiscard]] bool idle() const noexcept {
    return source_ == Source::none && !flow_ && held_.empty();
  }
  /// Only another connection to q ends this.
  [[nodiscard]] bool is_cut() const noexcept { return cut_; }
  [[nodiscard]] Errc fault() const noexcept { return fault_; }
  /// Of the present session, or of the last one.
  [[nodiscard]] std::uint32_t credit() const noexcept { return credit_; }

 private:
  /// Where the bytes of the message under way lie.
  enum class Source : std::uint8_t { none, frame, held, own };

  /// The request that streams.
  struct Flow {
    std::uint64_t id = 0;
    std::uint64_t total_bytes = 0;
    std::uint64_t offset = 0;  ///< Of the next fragment.
    kdb::StreamValidator validator;
  };
  /// A request in memory, complete or still arriving.
  struct Held {
    std::uint64_t id = 0;
    std::uint8_t flags = 0;
    std::uint64_t total_bytes = 0;
    std::vector<std::byte> bytes;
    PeerTerms terms{};
    std::uint64_t told_ns = 0;  ///< When we were told them.
    [[nodiscard]] bool whole() const noexcept { return bytes.size() == total_bytes; }
  };

  static constexpr int kMessagesPerStep = 16;

  Step choose(Rings* rings, bool take_new);
  [[nodiscard]] bool owes_cancel() noexcept;
  void begin_own();
  Step begin_held(Rings& rings, std::size_t index);
  Step take_frame(Rings& rings);
  Step take_whole(Rings& rings, const shm::FrameView& frame, const PeerTerms& terms);
  Step take_fragment(Rings& rings, const shm::FrameView& frame, const shm::FlowExt& flow,
                     const PeerTerms& terms);
  Step begin_flow(Rings& rings, const shm::FrameView& frame, std::uint64_t total_bytes);
  Step pass_fragment(Rings& rings, const shm::FrameView& frame, const shm::FlowExt& flow);
  Step gather_fragment(Rings& rings, Held& held, const shm::FrameView& frame,
                       const shm::FlowExt& flow, const PeerTerms& terms);
  Step hold(Rings& rings, const shm::FrameView& frame, std::uint64_t total_bytes,
            const PeerTerms& terms);
  Step make_room(Rings& rings, const shm::FrameView& frame, std::uint64_t held_of_it);
  void forget_held(std::uint64_t id) noexcept;
  Step take_abort(Rings& rings, std::uint64_t id);
  Step take_cancel(Rings& rings, std::uint64_t id);
  Step refuse(Rings& rings, std::uint64_t id, const char* text);
  Step refuse_frame(Rings& rings, std::uint64_t id, const char* text);
  Step cut(Rings& rings, std::uint64_t id, const char* text);
  Step broken(Errc fault) noexcept;

  [[nodiscard]] Checked look_at(std::uint8_t flags, std::span<const std::byte> payload,
                                const PeerTerms& terms);
  [[nodiscard]] bool make_options(std::span<const std::byte> options, std::uint8_t flags,
                                  const PeerTerms& terms);
  /// Whether the options of a request with these flags go as they came, behind the query.
  [[nodiscard]] bool keeps_options(std::uint8_t flags) const noexcept {
    return (flags & shm::kFlagPair) != 0 && !peer_;
  }
  void begin_message(std::uint64_t id, bool has_options, std::uint64_t payload_bytes);
  [[nodiscard]] bool too_large(bool has_options, std::uint64_t payload_bytes) const noexcept;
  [[nodiscard]] const char* check_flow_piece(Flow& flow, std::span<const std::byte> piece) noexcept;
  [[nodiscard]] bool ended_well(const Flow& flow) const noexcept;
  Step send(QLink& q);
  void finish(Rings* rings);
  [[nodiscard]] bool over_credit() const noexcept {
    return questions_.requests() + held_.size() >= credit_;
  }

  Questions& questions_;
  const bool peer_;
  Form form_ = Form::plain;
  std::uint64_t message_bytes_max_ = 0;
  std::uint32_t servant_ = 0;
  std::uint32_t credit_ = 1;
  std::uint64_t held_bytes_max_ = 0;
  std::uint64_t held_bytes_ = 0;  ///< In held_ and sending_.
  std::uint64_t now_ns_ = 0;
  Errc fault_ = Errc::ok;

  Source source_ = Source::none;
  OwnBytes lead_;                       // header and what stands before the request, or our own
  std::span<const std::byte> payload_;  // in the ring or in sending_
  std::span<const std::byte> trail_;    // what stands behind it
  std::size_t written_ = 0;             // of the three together
  std::vector<std::byte> options_;      // made for a peer; of the message under way
  std::uint64_t current_qid_ = 0;
  std::uint64_t next_qid_ = 1;

  std::optional<Flow> flow_;
  std::span<const std::byte> flow_trail_;
  bool cut_ = false;
  std::deque<Held> held_;
  Held sending_;
  std::uint32_t nyi_owed_ = 0;
  bool probe_owed_ = false;
  bool takes_cancels_ = false;
  std::vector<std::uint64_t> cancels_owed_;  // Questions of a peer, each once.
};

}  // namespace mserve::shim
