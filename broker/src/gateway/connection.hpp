// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "access/judge.hpp"
#include "control/log_event.hpp"
#include "gateway/admin_view.hpp"
#include "gateway/answer.hpp"
#include "gateway/connection_context.hpp"
#include "gateway/message_reader.hpp"
#include "gateway/opening.hpp"
#include "gateway/output.hpp"
#include "gateway/peer.hpp"
#include "gateway/pending.hpp"

namespace mserve::broker {

// One kdb+ connection of the gateway: a state machine over one non-blocking stream socket and the
// gateway's link. It has no thread and never waits: the gateway tells it what happened, and looks
// afterwards what it wants to be told of next.
//   Opening   first bytes -> kdb (one byte back, nothing else), console line, HTTP request, or
//             closed; with --users a password is checked before that byte, and nothing read till
//             then
//   In        received bytes -> MessageReader -> conventions -> a request on the link.
//   Whatever has
//             to wait (sync window, no room in the ring, no grant) is held, and the socket is not
//             read meanwhile: the client's own TCP window is the queue.
//   Out       answers by id -> wrapped -> Output. Sync and aw leave in the order of their requests,
//             lbt and np as they come. An answer in fragments streams through when it is its turn
//             and nothing else is on the wire; otherwise it is gathered.
//   Lists     a Pending is in exactly one of ordered_, unordered_, ready_, dropped_, but for an
//             unordered one whose answer streams, which is wire_ alone, and the requests of a
//             broadcast, which are the broadcast's
//   Ends      hang-up or a fault of the client: at once, its origin is gone. Half-close, drain,
//             malformed message: no more requests, the rest is answered first.
class Connection {
 public:
  /// @param context  outlives it. @param fd  non-blocking; stays the caller's, open until this
  /// ends.
  Connection(ConnectionContext& context, int fd, const Peer& peer, OriginId origin);
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection();

  // What happened. After each of them look at the state below.
  void on_readable();
  void on_writable();
  /// The socket has an error, or nobody is at its other end any more.
  void on_hang_up();
  /// A reply, a fragment or an abort for one of this connection's requests.
  void on_answer(Pending& pending, const LinkEvent& event);
  void on_grant(Pending& pending, std::uint64_t bytes);
  /// What became of its GatewayDesk::check_login(). @param role  null: refused.
  void on_login(std::shared_ptr<const Role> role);
  /// Asked for by waits_for_turn(): go on where it stopped.
  void resume();
  /// Lets more of an answer come though the client has not read what came, so that its flow is not
  /// taken for a dead one; up to the bound on unread bytes.
  void be_patient();
  /// Sends a sign of life if one is due; see beats().
  void beat();
  /// Take no more requests, answer the rest, then close.
  void drain();
  /// The same of who is to come again. A link hears no sign of life any more: it would go on to
  /// send what nobody reads here until its last answer.
  void send_back();
  /// Whether it was let in without being asked who it is.
  [[nodiscard]] bool unasked() const noexcept {
    return mode_ != Mode::opening && role_ == nullptr && !closed_;
  }
  /// The session with the data plane is lost: there will be no answers any more.
  void abandon();
  /// Close now: it only waits to be destroyed. @param reason  for the log; empty: not worth a line.
  void close(std::string_view reason);
  /// What a socket's error says of a peer that went without a word; empty when it hung up.
  [[nodiscard]] static std::string_view silence(int error) noexcept;

  // What is wanted next.
  [[nodiscard]] bool closed() const noexcept { return closed_; }
  [[nodiscard]] bool wants_read() const noexcept {
    return !closed_ && login_ == nullptr &&
           (lingers_ || (!input_over_ && !eof_ && hold_ == Hold::none));
  }
  [[nodiscard]] bool wants_write() const noexcept { return !closed_ && output_.waiting() != 0; }
  /// It stopped for lack of room in the ring, or to let others go first: resume() next pass.
  [[nodiscard]] bool waits_for_turn() const noexcept {
    return hold_ == Hold::ring || hold_ == Hold::turn;
  }
  /// Its client reads more slowly than an answer in fragments comes: be_patient() now and then.
  [[nodiscard]] bool reads_slowly() const noexcept;
  /// It is a link of another broker, which is to hear at beat_at_ns() that this one lives.
  [[nodiscard]] bool beats() const noexcept { return beat_ns_ != 0 && !closed_; }
  [[nodiscard]] std::uint64_t beat_at_ns() const noexcept { return beat_at_; }
  /// The handshake is not done.
  [[nodiscard]] bool opening() const noexcept { return mode_ == Mode::opening && !closed_; }
  /// Nothing is asked and nothing waits.
  [[nodiscard]] bool idle() const noexcept { return pending_count_ == 0 && output_.waiting() == 0; }
  /// Memory that it takes for messages and answers now, in bytes.
  [[nodiscard]] std::uint64_t held_bytes() const noexcept {
    return reader_.held_bytes() + parked_.size() + anew_.payload.size() + kept_bytes_ +
           output_.waiting() + pending_count_ * sizeof(Pending) +
           (owns_broadcast() ? context_.broadcast->table.results_bytes() : 0);
  }
  /// CLOCK_MONOTONIC of the last bytes in either direction.
  [[nodiscard]] std::uint64_t active_ns() const noexcept { return active_ns_; }

  [[nodiscard]] OriginId origin() const noexcept { return origin_; }
  [[nodiscard]] int fd() const noexcept { return fd_; }
  [[nodiscard]] ClientRow row() const;
  /// What each line about it bears, for the log.
  struct Described {
    std::string user;
    std::string address;
    std::uint32_t index = 0;

    [[nodiscard]] LogField client() const { return {"client", user}; }
    [[nodiscard]] LogField peer() const { return {"peer", address}; }
    [[nodiscard]] LogField handle() const { return {"handle", index}; }
  };
  [[nodiscard]] Described describe() const;

 private:
  enum class Mode : std::uint8_t { opening, kdb, console, http };
  /// Why the next message is not taken now.
  enum class Hold : std::uint8_t {
    none,
    window,  ///< As many sync requests as allowed are unanswered.
    answer,  ///< Too many messages are unanswered, or too many answers wait for earlier ones.
    grant,   ///< The next part of a request in fragments was not granted yet.
    ring,    ///< No room in the ring.
    turn,    ///< It had its share of this pass.
  };
  /// What became of one event of the reader.
  enum class Step : std::uint8_t { done, held };
  /// What goes to a servant in a message's place.
  struct Forwarded {
    std::span<const std::byte> query;    ///< As its client may ask it: the route is read in it.
    std::span<const std::byte> payload;  ///< The query, wrapped if wished, and its options, if any.
    std::span<const std::byte> memory;   ///< Where it lies, if it has to be sent in parts.
    bool pair = false;                   ///< There are options.
    std::string_view user;               ///< Who asks.
  };
  /// Whom a message comes from.
  struct Asker {
    std::string user;
    std::shared_ptr<const Role> role;  ///< Null without --users.
  };
  /// The same, put together here.
  struct Anew {
    std::vector<std::byte> payload{};  ///< Empty: there is none.
    std::size_t lead_bytes = 0;        ///< Of --wrap.
    std::size_t query_bytes = 0;
    std::string user{};  ///< Who asks.
  };
  /// An answer before it is wrapped.
  struct Outcome {
    std::span<const std::byte> result;        ///< Empty: an error.
    std::span<const std::byte> servant_info;  ///< lbt
    std::string error;                        ///< Its text.
  };

  // Bytes in (connection_read.cpp).
  void take_received(std::span<const std::byte> received);
  void take_opening(std::span<const std::byte> received);
  void forget_password(Opening& opening) noexcept;
  void open(const Opening& opening, std::span<const std::byte> rest);
  void open_kdb(const Opening& opening, std::span<const std::byte> rest);
  void open_console(const Opening& opening);
  void ask_login(Opening opening, Secret password, std::span<const std::byte> rest);
  void deny(std::string_view reason);
  void take_end();
  void take_last();
  void pump();
  [[nodiscard]] Step take(const MessageReader::Event& event);
  void park();
  void take_failure(const MessageReader::Event& event);
  [[nodiscard]] std::size_t read_bytes_max() const noexcept;
  void end_input() noexcept;

  // Messages to requests (connection_request.cpp).
  [[nodiscard]] Step take_whole(const MessageReader::Event& event);
  [[nodiscard]] bool restricted() const noexcept {
    return role_ != nullptr && !role_->unrestricted;
  }
  [[nodiscard]] bool wraps() const noexcept { return !context_.settings.wrap.empty(); }
  [[nodiscard]] bool put_anew(const Classified& message);
  [[nodiscard]] Step submit_anew(const Classified& message);
  [[nodiscard]] Step submit(const Classified& message, const Forwarded& forwarded);
  [[nodiscard]] shm::PlacementExt placement_for(std::span<const std::byte> query,
                                                std::string_view user) const;
  [[nodiscard]] kdb::Route route_for(std::span<const std::byte> query,
                                     std::span<const std::byte> options, std::string_view user);
  [[nodiscard]] bool may_ask(Convention convention) noexcept;
  [[nodiscard]] std::uint8_t flags_of(Convention convention, bool pair,
                                      bool repeatable) const noexcept;
  [[nodiscard]] RequestHead head_of(const Pending& pending, std::uint8_t flags) const noexcept;
  [[nodiscard]] Pending& new_pending(Convention convention);
  void count_request(Pending& pending) noexcept;
  void describe(Pending& pending, const Classified& message);
  void answer_refused(const Classified& message);
  void answer_forbidden(const Classified& message, std::string_view reason);
  [[nodiscard]] bool may_administer() const noexcept;
  void answer_admin(const AdminCall& call, const Classified& message);
  void note(Pending& pending, const Classified& message) noexcept;
  [[nodiscard]] Step begin_broadcast(const BroadcastCall& call, const Classified& message);
  void refuse_broadcast(const Classified& message, std::string_view error);
  void note_ignored(const kdb::Header& header);
  void note_ambiguous();

  // Links of other brokers (connection_link.cpp).
  [[nodiscard]] bool believed() const noexcept;
  [[nodiscard]] std::string find_asker(std::span<const std::byte> options, Asker& asker) const;
  void answer_beat(const AdminCall& call, const Classified& message);
  [[nodiscard]] bool says_cancel(const AdminCall& call, const Classified& message) const noexcept;
  void cancel(const AdminCall& call);

  // Broadcasts (connection_broadcast.cpp).
  [[nodiscard]] bool owns_broadcast() const noexcept {
    return context_.broadcast != nullptr && context_.broadcast->owner == this;
  }
  [[nodiscard]] bool may_broadcast() const noexcept;
  [[nodiscard]] Step send_broadcast();
  void end_part(Pending& part, const Outcome& outcome);
  void release_part(Pending& part);
  void drop_broadcast();

  // Requests in fragments (connection_flow.cpp).
  [[nodiscard]] std::uint64_t may_send() const noexcept;
  [[nodiscard]] std::uint64_t first_fragment_bytes_max() const noexcept;
  [[nodiscard]] std::size_t piece_bytes_max() const noexcept;
  [[nodiscard]] bool send_fragment(std::span<const std::byte> bytes);
  [[nodiscard]] bool send_piece(std::span<const std::byte> bytes);
  [[nodiscard]] Step send_held(std::span<const std::byte> body);
  [[nodiscard]] Step take_begin(const MessageReader::Event& event);
  [[nodiscard]] Step take_piece(const MessageReader::Event& event);
  void stop_flow(const Pending& pending) noexcept;
  void break_flow(std::string_view error);

  // Answers (connection_answer.cpp).
  void take_reply(Pending& pending, const LinkEvent& event);
  void finish(Pending& pending, std::span<const std::byte> payload, std::uint8_t flags);
  [[nodiscard]] static Outcome outcome_of(const Pending& pending,
                                          std::span<const std::byte> payload, std::uint8_t flags);
  void fail(Pending& pending, Errc status);
  void answer(Pending& pending, const Outcome& outcome);
  void answer_error(Pending& pending, std::string_view text);
  void answer_console(const Outcome& outcome);
  void put_error(Pending& pending, std::string_view text);
  [[nodiscard]] bool too_long(std::uint64_t message_bytes) const noexcept;
  [[nodiscard]] std::uint64_t elapsed_ns_of(const Pending& pending) const noexcept;
  [[nodiscard]] Stamps stamps_of(const Pending& pending) const noexcept;
  [[nodiscard]] Wrapping wrap(const Pending& pending, std::uint64_t result_bytes,
                              std::span<const std::byte> servant_info) const;
  [[nodiscard]] bool its_turn(const Pending& pending) const noexcept;
  void put(Pending& pending, const Wrapping& wrapping, std::span<const std::byte> result);
  [[nodiscard]] bool may_compress(std::uint64_t message_bytes) const noexcept;
  void transmit(const Wrapping& wrapping, std::span<const std::byte> result);
  void transmit(std::span<const std::byte> message);
  void keep(Pending& pending, const Wrapping& wrapping, std::span<const std::byte> result);
  [[nodiscard]] std::uint64_t kept_bytes_max() const noexcept;
  void advance();
  void remember(const Pending& pending);
  void drop_buffer(Pending& pending);
  void release(Pending& pending);

  // Answers in fragments (connection_stream.cpp).
  void take_fragment(Pending& pending, const LinkEvent& event);
  void begin_answer(Pending& pending, const LinkEvent& event);
  void gather(Pending& pending, std::span<const std::byte> bytes);
  void put_on_wire(Pending& pending);
  void end_of_wire(Pending& pending);
  void take_abort(Pending& pending, Errc status);
  void drop_rest(Pending& pending, std::string_view error);
  void end_dropped(Pending& pending);
  void leave_ready(Pending& pending) noexcept;
  [[nodiscard]] bool owes_grant() const noexcept;
  void grant();

  void send(std::span<const std::byte> first, std::span<const std::byte> second = {},
            std::span<const std::byte> third = {});
  void settle();
  void close_when_done();
  void tell_closing(std::string_view reason);
  void forget_received();

  ConnectionContext& context_;
  const int fd_;
  const Peer peer_;
  const OriginId origin_;
  Output output_;
  bool lingers_ = false;  // All is said; what its client is still sending is read and forgotten.
  std::uint64_t linger_bytes_ = 0;  // How much of that.
  std::size_t largest_sent_ = 0;    // Since output_ was empty.

  Mode mode_ = Mode::opening;
  Hold hold_ = Hold::none;
  std::uint8_t capability_ = 0;
  bool eof_ = false;  ///< The peer half-closed: all that it sends is received.
  bool input_over_ =
      false;  ///< No more messages are taken: eof_ and all done, malformed, draining.
  bool closed_ = false;
  bool draining_ = false;
  bool known_ = false;  ///< The data plane has heard of this origin.
  bool pumping_ = false;
  History history_;
  std::string user_;
  std::unique_ptr<Opening> login_;    ///< Its password is being checked.
  std::shared_ptr<const Role> role_;  ///< Null without --users.
  std::string fault_;                 ///< Why it closes once everything is answered.

  MessageReader reader_;
  std::vector<std::byte> parked_;             ///< Received bytes that could not be taken yet.
  std::optional<MessageReader::Event> held_;  ///< What could not be taken yet.

  PendingList ordered_;                ///< sync, aw, flush: answered in this order.
  PendingList unordered_;              ///< lbt, np, silent ones: no answer has begun.
  PendingList ready_;                  ///< Of these, those whose answer waits for the wire.
  PendingList dropped_;                ///< Answered with an error while fragments still arrive.
  Pending* wire_ = nullptr;            ///< Its answer is on the wire in part.
  std::vector<std::byte> wire_after_;  ///< What follows that answer.
  std::uint32_t pending_count_ = 0;    ///< In all lists but dropped_.
  std::uint32_t sync_count_ = 0;       ///< Sync requests without an answer.
  std::uint64_t sequence_ = 0;
  std::uint64_t kept_bytes_ = 0;  ///< In buffers of pending messages.
  std::uint64_t ungranted_ = 0;   ///< Fragment bytes taken that the data plane was not told of.

  std::vector<std::byte> beat_;  ///< Of a link: what beat() sends.
  std::uint64_t beat_ns_ = 0;    ///< How often; 0: it is no link.
  std::uint64_t beat_at_ = 0;

  bool sends_broadcast_ = false;  ///< Not all requests of its broadcast are sent.

  Anew anew_;  ///< What goes in a message's place, until all of it is sent.

  // The request that is being sent in fragments, if there is one.
  Pending* flow_ = nullptr;
  std::uint8_t flow_flags_ = 0;
  bool flow_pair_ = false;
  bool flow_held_ = false;       ///< From held_, which is whole; else from pieces of the reader.
  bool swallowing_ = false;      ///< The rest of the pieces goes nowhere.
  std::size_t flow_skip_ = 0;    ///< Bytes of the body in front of the payload still to come.
  std::size_t flow_lead_ = 0;    ///< Bytes of --wrap that go in front of its first piece.
  std::size_t flow_offset_ = 0;  ///< Place of the payload in held_.

  std::uint64_t active_ns_;
  std::int64_t since_;
  std::uint64_t request_count_ = 0;
};

}  // namespace mserve::broker
