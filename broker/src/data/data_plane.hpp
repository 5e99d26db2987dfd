// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "data/data_counters.hpp"
#include "data/exchange.hpp"
#include "data/monitor_writer.hpp"
#include "data/origin.hpp"
#include "data/payload_store.hpp"
#include "data/request_stamps.hpp"
#include "data/request_table.hpp"
#include "data/session.hpp"
#include "dispatch/dispatcher.hpp"
#include "mserve/shm/clock.hpp"
#include "mserve/shm/idle.hpp"
#include "mserve/shm/message.hpp"
#include "options.hpp"
#include "plugin/policy_plugin.hpp"

namespace mserve::broker {

/// What a request's first frame asks for.
[[nodiscard]] shm::RequestTerms terms_of(const shm::Extensions& extensions) noexcept;

/// The broker's data thread: moves requests from clients' rings to the servants that the Dispatcher
/// chooses, and answers back. One thread runs it; everything it owns is allocated at construction,
/// except for the rules of placement, which the control thread makes and it lets go.
///
/// Split by what it does: data_plane.cpp the loop, data_sessions.cpp attach and detach,
/// data_origins.cpp who asks within a session, data_requests.cpp client to servant, data_flows.cpp
/// requests in fragments, data_replies.cpp servant to client, data_outbox.cpp answers that wait for
/// a slow client, data_monitor.cpp what it shows of all that.
///
/// Trust: sessions' rings are hostile. Each frame is checked once into locals; a session that
/// breaks the protocol is closed and touches no other.
class DataPlane {
 public:
  /// How it talks to the other threads. Queues, counters and monitor outlive it.
  struct Links {
    Queue<Command>* commands = nullptr;
    Queue<Report>* reports = nullptr;
    Queue<Wake>* wakes =
        nullptr;          ///< To the waker thread; null: this thread makes the calls itself.
    int epoll_fd = -1;    ///< Session sockets and command_fd, for sleeping.
    int command_fd = -1;  ///< eventfd that tells of commands; its epoll data is kCommandMark.
    int report_fd = -1;   ///< eventfd that tells the control thread of reports.
    shm::MonitorSegment* monitor = nullptr;      ///< Never null.
    SpscQueue<RequestStamps>* stamps = nullptr;  ///< To the control thread; null: none are told.
  };
  static constexpr std::uint64_t kCommandMark = ~std::uint64_t{0};

  DataPlane(const BrokerOptions& options, bool seq_cst_wakes, const Links& links,
            const DataCounters& counters, shm::Idler idler);

  /// Serves until Command::stop or Command::lend.
  void run();
  /// After Command::stop: nothing is to be run any more.
  [[nodiscard]] bool stopped() const noexcept { return stopping_; }

  // What run() is made of, for a thread that waits for something else as well.

  /// One pass over everything. @return true when there was work.
  bool pass();
  /// Commands and timers, which pass() looks at now and then: for a thread whose passes take long,
  /// about once a millisecond.
  void upkeep();
  /// To be called before sleeping on Links::epoll_fd. @return false: there is something to do.
  /// After true nobody's wake-up is lost: sleep for sleep_ns() at most, then call finish_sleep().
  [[nodiscard]] bool prepare_sleep();
  [[nodiscard]] Nanos sleep_ns();
  /// @param wait_ns  how long to sleep first; 0 for a caller that has slept. @return whether
  /// somebody rang.
  bool finish_sleep(Nanos wait_ns);

  /// The clock's helper side: another thread calls it about once a second.
  void sync_clock() noexcept { (void)clock_.sync(); }
  /// Constant. Any thread.
  [[nodiscard]] bool reads_tsc() const noexcept { return clock_.from_tsc(); }
  /// Wrong answers of the policy plugin so far. Any thread.
  [[nodiscard]] std::uint64_t policy_faults() const noexcept {
    return counters_.policy_faults->get();
  }

  /// When the oldest of the queued requests was submitted, as steady_now() counts, a millisecond
  /// ago or so; kForever: none was queued, or there is no reserve to need it. Any thread.
  [[nodiscard]] Nanos oldest_queued() const noexcept {
    return oldest_queued_.load(std::memory_order_relaxed);  // a number, and nothing comes with it
  }

  /// The number of the last Command::beat that this thread came to. Any thread.
  [[nodiscard]] std::uint32_t beats() const noexcept {
    return beats_.load(std::memory_order_relaxed);  // a number, and nothing comes with it
  }

 private:
  /// What became of the frame at the front of a ring.
  enum class Taken : std::uint8_t {
    done,     ///< Release it.
    blocked,  ///< Leave it at the front and try again next pass.
    closed,   ///< The session is closed; touch nothing of it.
  };

  /// Bytes that all kept answers together may take: a few clients that do not read shall not cost
  /// others their session.
  [[nodiscard]] static constexpr std::uint64_t kept_bytes_max(const BrokerOptions& o) noexcept {
    return 4 * o.max_pending_bytes;
  }

  // The loop (data_plane.cpp).
  /// The clock, read once per pass at most.
  Nanos now() noexcept {
    if (!now_read_) [[unlikely]] {
      now_ = clock_.now();
      now_read_ = true;
    }
    return now_;
  }
  void take_commands();
  bool serve(Session& session);
  bool probe_cold(std::size_t most);
  void timers();
  void tell_oldest() noexcept;
  void publish() noexcept;
  /// A request ended, and its record is still as it was. Once for each that was accepted.
  void note_end(const RequestRecord& record, Errc status, std::uint64_t reply_bytes) noexcept {
    if (stamps_.on()) [[unlikely]] {
      tell_stamps(record, status, reply_bytes);
    }
  }
  void tell_stamps(const RequestRecord& record, Errc status, std::uint64_t reply_bytes) noexcept;
  [[nodiscard]] std::uint64_t kept_bytes_of(const Session& session) noexcept;
  void cool_sessions();
  void idle();
  void wake_up();
  [[nodiscard]] bool anything_ready();
  /// To be called after a commit to this session: its peer may sleep.
  void note_wake(Session& session) noexcept {
    if (session.out.consumer_polled() != shm::Polled::polling) [[unlikely]] {
      list_wake(session);
    }
  }
  void list_wake(Session& session) noexcept;
  void flush_wakes();
  /// From here on it is polled in every pass.
  void heat(Session& session) noexcept {
    if (!session.hot) [[unlikely]] {
      enter_hot(session);
    }
  }
  void enter_hot(Session& session) noexcept;
  void leave_cold(Session& session) noexcept;
  void report(const Report& report);
  void report_closed();

  // Sessions (data_sessions.cpp).
  void attach(Session& session);
  [[nodiscard]] bool join(Session& session);
  [[nodiscard]] Session* find(const Command& command) noexcept;
  void suspend(Session& session, bool suspended, bool release_sticky);
  void close(Session& session, Errc code, const char* where);
  void close_client(Session& session);
  void close_servant(Session& session);
  void keep_for_repeat(Session& servant);
  void check_drained();

  // Origins (data_origins.cpp).
  /// What a frame says about who asks.
  enum class Asking : std::uint8_t { known, stale, lie };
  [[nodiscard]] bool begin_origin(OriginState& origin, Session& session);
  [[nodiscard]] Asking find_origin(Session& session, const shm::Extensions& extensions, bool opens,
                                   OriginState*& origin);
  [[nodiscard]] Asking open_place(Session& session, const shm::Extensions& extensions,
                                  OriginState*& origin);
  void close_origin(OriginState& origin, Errc code, const char* where);
  void end_origin(OriginState& origin);
  void tell_gone(Session& gateway);
  bool take_control(Session& session);
  void cancel(OriginState& origin, std::uint64_t client_id);
  void cancel(const OriginState& origin, RequestRecord& record);

  // Client to servant (data_requests.cpp).
  bool serve_client(Session& client);
  Taken take_request(Session& client, const shm::FrameView& frame);
  Taken submit_whole(OriginState& origin, const shm::FrameView& frame,
                     const shm::RequestTerms& terms);
  void set_terms(Submit& submit, const shm::RequestTerms& wanted,
                 const Session& from) const noexcept;
  [[nodiscard]] bool admit(OriginState& origin, const Submit& submit, std::uint64_t client_id,
                           std::uint8_t flags, RequestId& id);
  [[nodiscard]] bool meet_announced(const OriginState& origin);
  [[nodiscard]] bool submit_again(OriginState& origin, const Submit& submit,
                                  std::uint64_t client_id, Submitted& answer);
  /// Whether what a request's options say of who asks is true: the gateway knows what it put there,
  /// and where users are judged nobody else but our own user's programs may send any.
  [[nodiscard]] std::uint8_t vouched_flags(const Session& from, std::uint8_t flags) const noexcept {
    const bool said = (flags & shm::kFlagVouched) != 0;
    const bool vouched = from.is_gateway() ? said : judges_users_;
    return static_cast<std::uint8_t>((flags & ~unsigned{shm::kFlagVouched}) |
                                     (vouched ? unsigned{shm::kFlagVouched} : 0U));
  }
  /// How often a request may be sent again: what its client allows, if its payload can be kept.
  [[nodiscard]] std::uint8_t retries_of(std::uint8_t flags, std::uint64_t bytes) const noexcept {
    const bool repeatable = (flags & shm::kFlagRepeatable) != 0 && bytes <= options_.retain_max;
    return repeatable ? static_cast<std::uint8_t>(options_.retries) : std::uint8_t{0};
  }
  void note_queued(RequestId id) noexcept;
  void queue_payload(RequestRecord& record, std::span<const std::byte> payload);
  /// Carries out what the Dispatcher has to say. @return whether there was anything.
  [[gnu::always_inline]] bool decide() {
    const Decision decision = dispatcher_.next(now());
    if (decision.kind == Decision::Kind::none) [[likely]] {
      decisions_left_ = false;
      return false;
    }
    carry_out_all(decision);
    return true;
  }
  void carry_out_all(Decision decision);
  void carry_out(const Decision& decision);
  void deliver(const Decision& decision);
  void fail_undelivered(Session& servant, RequestRecord& record, Errc reason);
  bool try_deliver(Session& servant, RequestRecord& record, std::span<const std::byte> payload);
  [[nodiscard]] bool try_deliver_to_link(Session& link, RequestRecord& record,
                                         const shm::FrameHeader& head,
                                         std::span<const std::byte> payload);
  void keep_copy(RequestRecord& record, std::span<const std::byte> payload);
  std::byte* put_terms(std::byte* to, const RequestRecord& record);
  void deliver_waiting(Session& servant);
  void enter_running(Session& servant, RequestRecord& record) {
    record.running_at = static_cast<std::uint32_t>(servant.running.size());
    servant.running.push_back(record.id.slot);
    servant.tell_load();
  }
  /// Its place goes to the last one: with much credit a search would cost more than the rest.
  void leave_running(Session& servant, const RequestRecord& record) noexcept {
    const std::uint32_t at = record.running_at;
    if (at < servant.running.size() && servant.running[at] == record.id.slot) [[likely]] {
      const std::uint32_t last = servant.running.back();
      servant.running[at] = last;
      records_[last].running_at = at;
      servant.running.pop_back();
    }
    servant.tell_load();
  }
  void leave_servant(RequestRecord& record) noexcept;
  void fail(const Decision& decision);
  void overrun(const Decision& decision);
  void interrupt(RequestRecord& record);
  void send_interrupts(Session& servant);
  void discard(RequestId id);
  void release_record(RequestRecord& record) noexcept {
    store_.give_back(record.block);
    if (record.previous != kNone) {
      records_[record.previous].next = record.next;
    } else if (OriginState* const origin = origin_of(record);
               origin != nullptr && origin->requests_first == record.id.slot) {
      origin->requests_first = record.next;
    }
    if (record.next != kNone) {
      records_[record.next].previous = record.previous;
    }
    record.next = record.previous = kNone;
    record.id = RequestId{};
  }
  [[nodiscard]] OriginState* origin_of(const RequestRecord& record) noexcept {
    OriginState& origin = origins_[record.origin];
    return origin.session != nullptr && origin.life == record.origin_life ? &origin : nullptr;
  }

  // Requests in fragments (data_flows.cpp).
  Taken take_fragment(OriginState& origin, const shm::FrameView& frame,
                      const shm::Extensions& extensions);
  std::uint32_t begin_flow(OriginState& origin, const shm::FrameView& frame,
                           const shm::Extensions& extensions);
  [[nodiscard]] bool keep_first_fragment(RequestFlow& flow, std::span<const std::byte> payload);
  void submit_flow(OriginState& origin, std::uint32_t index);
  void begin_stream(std::uint32_t index);
  Taken stream(OriginState& origin, std::uint32_t index, const shm::FrameView& frame);
  bool pass_on(Session& servant, const RequestRecord& record, RequestFlow& flow,
               std::uint64_t offset, std::span<const std::byte> payload);
  std::uint64_t pass_piece(Session& servant, const RequestRecord& record, std::uint64_t offset,
                           std::uint64_t total, std::span<const std::byte> payload);
  bool grant_flows();
  [[nodiscard]] bool pass_on_first(std::uint32_t index, bool& worked);
  bool grant(RequestFlow& flow);
  Taken gather(OriginState& origin, std::uint32_t index, const shm::FrameView& frame);
  Taken skip_fragment(OriginState& origin, std::uint32_t index, const shm::FrameView& frame);
  Taken abort_flow(OriginState& origin, std::uint64_t client_id);
  void leave_flow(RequestRecord& record) noexcept;
  void drop_early(OriginState& origin, std::uint32_t index) noexcept;
  void cut_flow(std::uint32_t index, Errc code);
  void end_flow(std::uint32_t index) noexcept;
  void cut_stalled();
  void cut_stalled_flows(Session& client);
  void cut_stalled_replies(Session& servant);
  void send_aborts(Session& servant);

  // Servant to client (data_replies.cpp).
  bool serve_servant(Session& servant);
  Taken take_reply(Session& servant, const shm::FrameView& frame);
  Taken take_reply_fragment(Session& servant, RequestRecord& record, const shm::FrameView& frame,
                            const shm::FlowExt& flow);
  Taken forward_fragment(Session& servant, RequestRecord& record, const shm::FrameView& frame,
                         const shm::FlowExt& flow);
  Taken abort_reply(Session& servant, const shm::FrameView& frame);
  [[nodiscard]] bool send_elsewhere(Session& link, RequestRecord& record);
  void finish(Session& servant, RequestRecord& record);
  void answer(RequestRecord& record, const shm::FrameView& reply);
  void count_reply(const OriginState& origin) noexcept;
  void refuse(OriginState& origin, std::uint64_t client_id, Errc code);
  void answer_status(OriginState& origin, std::uint64_t client_id, Errc code, bool reply_begun,
                     std::uint32_t servant = 0);
  void send_status(OriginState& origin, std::uint64_t client_id, Errc code, bool reply_begun,
                   std::uint32_t servant = 0);
  void tell_end(const RequestRecord& ended, Errc code);
  void count_unwanted(const RequestRecord& record) noexcept;
  [[nodiscard]] RequestRecord* running_record(const Session& servant, std::uint64_t id) noexcept;
  [[nodiscard]] shm::InfoExt info_of(const RequestRecord& record);
  void update_retained(Session& servant) noexcept;

  // Answers that wait (data_outbox.cpp).
  /// Straight into the client's ring. hot: one claim, one copy. @return false when it has to wait
  /// (or to end): nothing happened.
  [[nodiscard, gnu::always_inline]] bool send_now(OriginState& origin, const shm::FrameHeader& head,
                                                  std::span<const std::byte> extensions,
                                                  std::span<const std::byte> payload) {
    if (!origin.open || origin.outbox_first != kNone ||
        !shm::try_send_whole(origin.session->out, head, extensions, payload)) [[unlikely]] {
      return false;
    }
    note_wake(*origin.session);
    return true;
  }
  void send_or_keep(OriginState& origin, const shm::FrameHeader& head, const shm::InfoExt* info,
                    std::span<const std::byte> payload);
  void keep_or_split(OriginState& origin, const shm::FrameHeader& head, const shm::InfoExt* info,
                     std::span<const std::byte> payload);
  [[nodiscard]] bool send_piece(OriginState& origin, const shm::FrameHeader& head,
                                const shm::InfoExt* info, std::uint64_t offset, std::uint64_t total,
                                std::span<const std::byte> rest, std::uint64_t& sent);
  void keep(OriginState& origin, const Outbound& draft, std::span<const std::byte> rest);
  bool flush_outbox(OriginState& origin);
  void clear_outbox(OriginState& origin) noexcept;
  [[nodiscard]] std::uint32_t take_outbound(std::uint64_t bytes, std::uint64_t cost) noexcept;
  [[nodiscard]] OriginState& largest_keeper(OriginState& candidate) noexcept;

  BrokerOptions options_;
  bool judges_users_;  ///< There are users, of --users or of the cluster's document.
  Links links_;
  DataCounters counters_;
  shm::TscClock clock_;
  shm::Idler idler_;
  std::optional<moodycamel::ProducerToken> wake_token_;
  std::unique_ptr<PluginPolicies> plugin_;      // Null without --policy-plugin.
  std::shared_ptr<const Placement> placement_;  // Null: no rules.
  Dispatcher dispatcher_;
  MonitorWriter monitor_;
  StampsWriter stamps_;
  PayloadStore store_;
  std::vector<RequestRecord> records_;
  // How long a request may take, by slot; of another id: no limit, and the default priority. Only
  // links ask, so it is stored only if there is something to tell.
  struct Terms {
    RequestId id = {};
    Nanos queue_timeout = kForever;
    Nanos run_timeout = kForever;
    std::uint8_t priority = kPriorityNormal;
    Nanos queued_at = 0;  ///< What is sent again waits anew.
  };
  std::vector<Terms> terms_;
  Pool<RequestFlow> flows_;
  Pool<Outbound> outbounds_;
  OriginTable origins_;
  std::uint64_t gather_limit_ = 0;
  std::uint64_t whole_max_ = 0;   // payload of one frame that any servant's ring takes
  std::uint64_t kept_bytes_ = 0;  // of all outboxes
  bool seq_cst_wakes_ = false;

  std::vector<Session*> sessions_;  // by number; null when free
  std::vector<Session*> all_;       // attached, any order
  std::vector<Session*> hot_;       // polled every pass
  // The others: where their next frame will be, side by side, since what a session is lies far
  // apart when there are a thousand of them.
  struct Cold {
    const std::atomic<std::uint64_t>* next;
    Session* session;
  };
  std::vector<Cold> cold_;
  std::vector<Session*> wake_list_;
  std::vector<OriginState*> outbox_list_;  // those with kept answers
  std::vector<std::uint32_t> granting_;    // flows of gateways of which more is to be asked for
  std::vector<Session*> joining_;          // servants whose index is not cleared yet
  std::vector<Report> closed_;             // this pass's, told at its end

  /// The request being taken from its client's ring: its payload is still there.
  RequestId current_;
  std::span<const std::byte> current_payload_;

  Nanos now_ = 0;
  bool now_read_ = false;
  bool decisions_left_ = false;
  bool draining_ = false;
  bool drained_told_ = false;
  bool stopping_ = false;
  bool lending_ = false;
  std::uint32_t pass_count_ = 0;
  std::size_t cold_cursor_ = 0;
  std::size_t cold_control_cursor_ = 0;
  std::size_t publish_cursor_ = 0;
  std::atomic<Nanos> oldest_queued_{kForever};
  std::atomic<std::uint32_t> beats_{0};
  Nanos timers_at_ = 0;
};

}  // namespace mserve::broker
