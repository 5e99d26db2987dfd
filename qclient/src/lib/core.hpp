// SPDX-License-Identifier: Apache-2.0
// What a Client is made of. Each public call means what it means in client.hpp.
//   Reply on loan  at most one at a time: its frame is still in the ring (frame_lent_) or in that
//   of a lost session
//                  (retired_), or lent_ owns its bytes. take_back() ends the loan.
//   next_          a finished reply that wait() found and poll() has not given out yet; it is on
//   loan already. kept_          finished replies that came while something else was waited for,
//   and those that a lost
//                  session completed.
//   Invariant      an id lies in exactly one of: in_flight_, next_, kept_; or it is completed.
//                  Without link_ nothing is in flight.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "lib/in_flight.hpp"
#include "lib/link.hpp"
#include "mserve/client/options.hpp"
#include "mserve/client/reply.hpp"
#include "mserve/shm/frame.hpp"
#include "mserve/shm/idle.hpp"
#include "mserve/shm/message.hpp"

namespace mserve {

class ClientCore {
 public:
  ClientCore(ClientOptions options, LinkFactory factory);

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
  [[nodiscard]] const shm::SessionInfo& session() const noexcept { return info_; }
  [[nodiscard]] const std::string& last_failure() const noexcept { return last_failure_; }
  [[nodiscard]] std::uint64_t late_replies() const noexcept { return late_replies_; }
  [[nodiscard]] int fd() const noexcept { return link_ != nullptr ? link_->fd() : -1; }

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

  // core_send.cpp
  [[nodiscard]] Result<std::uint64_t> send_flow(std::span<const std::byte> payload,
                                                const SendOptions& options,
                                                std::uint64_t deadline_ns);
  [[nodiscard]] Errc make_room(std::uint64_t deadline_ns);
  [[nodiscard, gnu::cold]] Errc refused();
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
  void take_back() noexcept;
  void keep(const Reply& reply, bool first = false);
  void keep_next();
  [[nodiscard]] bool give_kept(Reply& out);
  [[nodiscard]] bool give_kept(std::uint64_t id, Reply& out);
  [[nodiscard]] bool drop_kept(std::uint64_t id);
  void consumed_flow_bytes(std::uint64_t bytes);

  // core_session.cpp
  [[nodiscard]] bool ensure_attached() { return link_ != nullptr || ensure_attached_slow(); }
  [[nodiscard, gnu::cold]] bool ensure_attached_slow();
  void look_after_session();
  [[gnu::cold]] void lose(Errc why);
  void keep_what_arrived();
  [[nodiscard]] bool pause(std::uint64_t deadline_ns, std::uint64_t sleep_ns_max);

  const ClientOptions options_;
  const LinkFactory factory_;
  std::unique_ptr<Link> link_;
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

  shm::Idler idler_;
  bool worked_ = false;  ///< Something arrived since the last pause().
  std::uint32_t empty_passes_ = 0;
  std::uint32_t pauses_ = 0;
  std::uint64_t retry_at_ns_ = 0;
  std::uint64_t retry_pause_ns_ = 0;
  std::string last_failure_;
  std::uint64_t late_replies_ = 0;
};

}  // namespace mserve
