// SPDX-License-Identifier: Apache-2.0
// What a Client is made of. Each public call means what it means in client.hpp.
//   Reply on loan  at most one at a time: its frame is still in the ring (frame_lent_) or in that
//                  of a lost session (retired_), or lent_ owns its bytes. take_back() ends the
//                  loan.
//   next_          a finished reply that wait() found and poll() has not given out yet; it is on
//                  loan already.
//   kept_          finished replies that came while something else was waited for, and those that a
//                  lost session completed.
//   again_         requests of a lost session that wait for the next one, oldest first. They are in
//                  flight and have a copy in copies_.
//   Invariant      an id lies in exactly one of: in_flight_, next_, kept_; or it is completed.
//                  Without link_ nothing is in flight but what lies in again_.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "lib/in_flight.hpp"
#include "lib/link.hpp"
#include "mserve/client/options.hpp"
#include "mserve/client/reply.hpp"
#include "mserve/shm/frame.hpp"
#include "mserve/shm/idle.hpp"
#include "mserve/shm/message.hpp"

namespace mserve {

/// The head of a request's frames.
[[nodiscard]] shm::FrameHeader request_head(std::uint64_t id, const SendOptions& options) noexcept;
/// What a request asks beside being run; goes with its first frame.
[[nodiscard]] shm::RequestTerms terms_of(const SendOptions& options) noexcept;
/// Sends a request that fits one frame, beside its terms if there are any. @return false: no
/// room.
[[nodiscard]] bool send_whole(shm::RingProducer& ring, std::uint64_t id,
                              std::span<const std::byte> payload,
                              const SendOptions& options) noexcept;

class ClientCore {
 public:
  ClientCore(ClientOptions options, LinkSource source);

  /// The first session, or the next one. Nothing happens when there is one.
  [[nodiscard]] Error attach(std::uint64_t attach_ns, std::string* reason);

  [[nodiscard]] Result<std::uint64_t> try_send(std::span<const std::byte> payload,
                                               const SendOptions& options);
  [[nodiscard]] Result<std::uint64_t> send(std::span<const std::byte> payload,
                                           const SendOptions& options, std::uint64_t deadline_ns);
  bool cancel(std::uint64_t id);
  [[nodiscard]] Errc poll(Reply& out);
  [[nodiscard]] Errc wait(std::uint64_t deadline_ns);
  [[nodiscard]] Errc await(std::uint64_t id, Reply& out, std::uint64_t deadline_ns);
  [[nodiscard]] Result<OwnedReply> call(std::span<const std::byte> payload,
                                        const SendOptions& options, std::uint64_t deadline_ns);
  [[nodiscard]] Errc reconnect(std::uint64_t deadline_ns, std::string* reason);
  [[nodiscard]] bool prepare_sleep();
  void finish_sleep();

  [[nodiscard]] bool attached() const noexcept { return link_ != nullptr; }
  [[nodiscard]] std::size_t in_flight() const noexcept { return in_flight_.size(); }
  [[nodiscard]] std::size_t unread() const noexcept { return kept_.size() + (has_next_ ? 1 : 0); }
  [[nodiscard]] std::uint64_t max_payload_bytes() const noexcept { return message_bytes_max_; }
  [[nodiscard]] std::uint64_t try_payload_bytes_max() const noexcept { return whole_bytes_max_; }
  [[nodiscard]] std::uint64_t whole_bytes_max(const SendOptions& options) const noexcept;
  [[nodiscard]] const shm::SessionInfo& session() const noexcept { return info_; }
  [[nodiscard]] const std::string& user() const noexcept {
    return options_.user.empty() ? source_.user : options_.user;
  }
  [[nodiscard]] const std::string& last_failure() const noexcept { return last_failure_; }
  [[nodiscard]] std::uint64_t late_replies() const noexcept { return late_replies_; }
  [[nodiscard]] int fd() const noexcept { return link_ != nullptr ? link_->fd() : -1; }
  [[nodiscard]] const std::string& endpoint() const noexcept { return endpoint_; }

 private:
  /// Longest sleep while something waits for room in a ring: the broker does not tell when there is
  /// some again.
  static constexpr std::uint64_t kRoomNapNs = 200'000;

  /// What became of one incoming frame.
  enum class Taken : std::uint8_t {
    nothing,    ///< Released, no reply finished by it.
    reply,      ///< `out` is finished; the frame is released.
    frame,      ///< `out` is finished and points into the frame, which is not released.
    violation,  ///< The broker broke the protocol.
  };

  /// A request that may be sent again.
  struct Copy {
    SendOptions options;
    std::vector<std::byte> payload;
    bool sent_again = false;
  };

  // core_send.cpp
  [[nodiscard]] Result<std::uint64_t> send_flow(std::span<const std::byte> payload,
                                                const SendOptions& options,
                                                std::uint64_t deadline_ns);
  [[nodiscard]] Errc make_room(std::uint64_t deadline_ns);
  /// Something goes first: the end of a broken flow, or requests that are sent again.
  [[nodiscard]] bool must_wait() const noexcept { return abort_id_ != 0 || !again_.empty(); }
  [[nodiscard, gnu::cold]] Errc refused();
  void give_up_flow(std::uint64_t id);
  void withdraw(std::uint64_t id);
  void queue_cancel(std::uint64_t id);
  void wake() noexcept {
    if (link_->outgoing().consumer_polled() != shm::Polled::polling) [[unlikely]] {
      link_->wake_broker();
    }
  }
  [[gnu::cold]] void flush_pending();

  // core_receive.cpp
  [[nodiscard]] Errc receive(Reply& out);
  [[nodiscard]] Taken take(const shm::FrameView& frame, Reply& out);
  [[nodiscard]] Taken take_whole(const shm::FrameView& frame, const shm::Extensions& ext,
                                 Reply& out);
  [[nodiscard]] Taken take_fragment(const shm::FrameView& frame, const shm::Extensions& ext,
                                    Reply& out);
  [[nodiscard]] Taken take_abort(const shm::FrameView& frame, Reply& out);
  void lend_assembled(Reply& out, std::uint8_t flags);
  [[nodiscard]] Errc without_session(Reply& out);
  void take_back() noexcept;
  void keep(const Reply& reply, bool first = false);
  void keep_next();
  [[nodiscard]] bool give_kept(Reply& out);
  [[nodiscard]] bool give_kept(std::uint64_t id, Reply& out);
  [[nodiscard]] bool drop_kept(std::uint64_t id);
  void consumed_flow_bytes(std::uint64_t bytes);

  // core_remote.cpp
  [[nodiscard, gnu::cold]] Error check_remote_send(std::span<const std::byte> payload,
                                                   const SendOptions& options) const noexcept;
  [[nodiscard]] std::vector<std::byte> unwrap(Reply& out, std::uint8_t flags) const;
  [[gnu::cold]] void look_for_home();

  // core_resend.cpp
  void remember(std::uint64_t id, std::span<const std::byte> payload, const SendOptions& options);
  [[nodiscard]] bool goes_again(std::uint64_t id);
  void send_again();
  [[nodiscard]] bool send_copy_again(std::uint64_t id);
  void forget(std::uint64_t id);
  void give_up_again(Errc status);
  /// Takes an id out of flight. @return false when it was not in flight.
  bool finish(std::uint64_t id) {
    if (!in_flight_.erase(id)) {
      return false;
    }
    if (!copies_.empty()) [[unlikely]] {
      forget(id);
    }
    return true;
  }

  // core_session.cpp
  [[nodiscard]] bool ensure_attached() { return link_ != nullptr || ensure_attached_slow(); }
  [[nodiscard, gnu::cold]] bool ensure_attached_slow();
  void look_after_session();
  [[nodiscard]] bool check_is_due() noexcept;
  void use(std::unique_ptr<Link> link);
  void leave_link();
  [[gnu::cold]] void lose(Errc why);
  void complete(std::uint64_t id, Errc status);
  void keep_what_arrived();
  [[nodiscard]] bool pause(std::uint64_t deadline_ns, std::uint64_t sleep_ns_max);
  [[nodiscard]] bool pause_without_session(std::uint64_t deadline_ns);
  /// What a kept reply counts for in kept_bytes_.
  [[nodiscard]] static std::uint64_t size_of(const Reply& reply) noexcept {
    return reply.payload.size() + reply.info_object.size() + sizeof(OwnedReply);
  }

  const ClientOptions options_;
  const LinkSource source_;
  std::unique_ptr<Link> link_;
  bool remote_ = false;            ///< What link_ says, or said.
  std::unique_ptr<Link> retired_;  ///< A lost session whose ring still holds a reply on loan.
  shm::SessionInfo info_;
  std::uint64_t message_bytes_max_ = 0;
  std::uint64_t whole_bytes_max_ = 0;
  std::uint64_t next_id_ = 1;
  InFlight in_flight_;

  shm::Assembler assembler_{0};
  std::vector<std::byte> assembled_;
  OwnedReply lent_;
  Reply next_;  ///< Only while has_next_.
  bool has_next_ = false;
  bool frame_lent_ = false;
  std::deque<OwnedReply> kept_;
  std::uint64_t kept_bytes_ = 0;

  // Frames that had no room yet; pending_ is true while there are any.
  bool pending_ = false;
  std::deque<std::uint64_t> cancels_;
  std::uint64_t abort_id_ = 0;  ///< 0: none. Nothing else is sent before it.
  std::uint64_t ungranted_bytes_ = 0;

  std::unordered_map<std::uint64_t, Copy> copies_;
  std::uint64_t copy_bytes_ = 0;
  std::deque<std::uint64_t> again_;
  std::optional<shm::FlowWriter> flow_again_;  ///< Of again_.front(), which is large.
  std::uint64_t again_until_ns_ = 0;

  shm::Idler idler_;
  bool worked_ = false;  ///< Something arrived since the last pause().
  std::uint32_t empty_passes_ = 0;
  std::uint64_t checked_at_ns_ = 0;  ///< When the socket was last looked at by the clock.
  std::uint32_t pauses_ = 0;
  std::uint64_t retry_at_ns_ = 0;
  std::uint64_t retry_pause_ns_ = 0;
  std::uint64_t home_at_ns_ = 0;  ///< When to look for the local broker again.
  std::string endpoint_;
  std::string last_failure_;
  std::uint64_t late_replies_ = 0;
};

}  // namespace mserve
