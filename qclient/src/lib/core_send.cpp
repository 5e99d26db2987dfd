// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <utility>

#include "lib/core.hpp"

namespace mserve {
namespace {

/// Cancels that wait for room in the control ring. Beyond it the oldest is forgotten: a cancel only
/// saves work, the late answer is dropped anyway.
constexpr std::size_t kCancelsMax = 4096;

}  // namespace

shm::FrameHeader request_head(std::uint64_t id, const SendOptions& options) noexcept {
  shm::FrameHeader head;
  head.kind = shm::Kind::request;
  head.flags = static_cast<std::uint8_t>(
      (options.opaque ? shm::kFlagOpaque : 0U) | (options.want_info ? shm::kFlagWantInfo : 0U) |
      (options.repeatable ? shm::kFlagRepeatable : 0U) | (options.pair ? shm::kFlagPair : 0U));
  head.id = id;
  head.aux = options.route;
  return head;
}

shm::RequestTerms terms_of(const SendOptions& options) noexcept {
  shm::RequestTerms terms;
  terms.deadline = {options.queue_ns_max, options.run_ns_max};
  terms.placement = {options.function, options.user};
  terms.priority = std::min(options.priority, shm::kPriorityMax);
  return terms;
}

bool send_whole(shm::RingProducer& ring, std::uint64_t id, std::span<const std::byte> payload,
                const SendOptions& options) noexcept {
  std::byte extensions[shm::RequestTerms::kBytesMax];
  return shm::try_send_whole(ring, request_head(id, options),
                             {extensions, terms_of(options).put(extensions)}, payload);
}

// hot: one insert into in_flight_, one claim, one copy, one look at `polled`.
Result<std::uint64_t> ClientCore::try_send(std::span<const std::byte> payload,
                                           const SendOptions& options) {
  if (!ensure_attached()) [[unlikely]] {
    return Error{Errc::not_attached, 0, "try_send"};
  }
  if (remote_) [[unlikely]] {
    look_for_home();
    if (const Error fault = check_remote_send(payload, options); fault.code != Errc::ok) {
      return fault;
    }
  }
  if (payload.size() > whole_bytes_max(options)) [[unlikely]] {
    return Error{Errc::too_large, 0, "try_send"};
  }
  if (pending_) [[unlikely]] {
    flush_pending();
    if (link_ == nullptr) {
      return Error{Errc::not_attached, 0, "try_send"};
    }
  }
  if (must_wait() || in_flight_.size() >= options_.in_flight_max) [[unlikely]] {
    return Error{Errc::full, 0, "try_send"};
  }
  const std::uint64_t id = next_id_;
  in_flight_.insert(id);
  if (!send_whole(link_->outgoing(), id, payload, options)) [[unlikely]] {
    (void)in_flight_.erase(id);
    return Error{refused(), 0, "try_send"};
  }
  ++next_id_;
  if (source_.keep_copies) [[unlikely]] {
    remember(id, payload, options);
  }
  wake();
  return id;
}

/// What fits one frame beside the terms, if there are any.
std::uint64_t ClientCore::whole_bytes_max(const SendOptions& options) const noexcept {
  if (terms_of(options).empty()) [[likely]] {
    return whole_bytes_max_;
  }
  return std::min(whole_bytes_max_, shm::whole_payload_bytes_max(link_->outgoing().capacity(),
                                                                 shm::RequestTerms::kBytesMax));
}

/// No room: full, or is the session broken?
Errc ClientCore::refused() {
  if (link_->outgoing().poisoned()) {
    lose(Errc::cursor_out_of_range);
    return Errc::not_attached;
  }
  look_after_session();
  return link_ != nullptr ? Errc::full : Errc::not_attached;
}

Result<std::uint64_t> ClientCore::send(std::span<const std::byte> payload,
                                       const SendOptions& options, std::uint64_t deadline_ns) {
  if (!ensure_attached()) {
    return Error{Errc::not_attached, 0, "send"};
  }
  if (remote_) {
    look_for_home();
  }
  if (payload.size() > message_bytes_max_) {
    return Error{Errc::too_large, 0, "send"};
  }
  if (payload.size() > whole_bytes_max(options)) {
    if (const Error fault = remote_ ? check_remote_send(payload, options) : Error{};
        fault.code != Errc::ok) {
      return fault;
    }
    return send_flow(payload, options, deadline_ns);
  }
  for (;;) {
    auto sent = try_send(payload, options);
    if (sent || sent.error().code != Errc::full) {
      return sent;
    }
    if (const Errc code = make_room(deadline_ns); code != Errc::ok) {
      return Error{code, 0, "send"};
    }
  }
}

Result<std::uint64_t> ClientCore::send_flow(std::span<const std::byte> payload,
                                            const SendOptions& options, std::uint64_t deadline_ns) {
  while (must_wait() || in_flight_.size() >= options_.in_flight_max) {
    if (const Errc code = make_room(deadline_ns); code != Errc::ok) {
      return Error{code, 0, "send"};
    }
  }
  const std::uint64_t id = next_id_++;
  in_flight_.insert(id);
  shm::FlowWriter writer(request_head(id, options), payload, terms_of(options));
  bool begun = false;
  while (!writer.done()) {
    if (writer.step(link_->outgoing())) {
      begun = true;
      wake();
      continue;
    }
    const Errc code = make_room(deadline_ns);
    const bool answered = link_ != nullptr && !in_flight_.contains(id);
    // A gateway has been told the length: it waits for the rest, whatever it has answered.
    if (code == Errc::ok && (!answered || remote_)) {
      continue;
    }
    if (begun && link_ != nullptr) {
      give_up_flow(id);
    }
    if (answered) {
      return id;  // the broker refused it half-way; that answer is kept for poll()
    }
    withdraw(id);
    return Error{code, 0, "send"};
  }
  if (source_.keep_copies && in_flight_.contains(id)) {
    remember(id, payload, options);
  }
  return id;
}

/// The rest of a request that was begun will not be sent.
void ClientCore::give_up_flow(std::uint64_t id) {
  if (remote_) {
    // The gateway was told the length; only hanging up keeps it from waiting for the rest.
    lose(Errc::disconnected);
    last_failure_ = endpoint_ + " was left in the middle of a large request that was given up";
    return;
  }
  abort_id_ = id;
  pending_ = true;
  flush_pending();
}

/// Takes back an id that the caller never gets to know.
void ClientCore::withdraw(std::uint64_t id) {
  if (!finish(id)) {
    (void)drop_kept(id);
  }
}

/// One step of waiting for room: whoever waits to send goes on reading, or two full rings would
/// wait for each other for ever. @return ok: look again; full, timed_out or disconnected: give up.
Errc ClientCore::make_room(std::uint64_t deadline_ns) {
  keep_next();
  take_back();
  if (kept_bytes_ >= options_.unread_bytes_max) {
    return Errc::full;
  }
  if (pending_) {
    flush_pending();
  }
  Reply reply;
  if (link_ != nullptr && receive(reply) == Errc::ok) {
    keep(reply);
    return Errc::ok;
  }
  if (link_ != nullptr && link_->outgoing().poisoned()) {
    lose(Errc::cursor_out_of_range);
  }
  look_after_session();
  if (link_ == nullptr) {
    return Errc::disconnected;
  }
  if (!pause(deadline_ns, kRoomNapNs)) {
    return Errc::timed_out;
  }
  return link_ != nullptr ? Errc::ok : Errc::disconnected;
}

bool ClientCore::cancel(std::uint64_t id) {
  if (has_next_ && next_.id == id) {
    has_next_ = false;
    return true;
  }
  if (drop_kept(id)) {
    return true;
  }
  if (!finish(id)) {
    return false;
  }
  if (link_ != nullptr) {
    assembler_.drop(id);
    queue_cancel(id);
    flush_pending();
  }
  return true;
}

void ClientCore::queue_cancel(std::uint64_t id) {
  if (cancels_.size() == kCancelsMax) {
    cancels_.pop_front();
  }
  cancels_.push_back(id);
  pending_ = true;
}

/// Sends what had no room before: the end of a broken flow, a grant, cancels, requests of a lost
/// session. The grant goes ahead of the cancels, which may fill the control ring: without it the
/// answer that we wait for stands still.
void ClientCore::flush_pending() {
  shm::FrameHeader head;
  if (abort_id_ != 0) {
    head.kind = shm::Kind::abort;
    head.id = abort_id_;
    head.aux = static_cast<std::uint64_t>(Errc::cancelled);
    if (shm::try_send_whole(link_->outgoing(), head, {}, {})) {
      abort_id_ = 0;
    }
  }
  const std::uint64_t half = info_.window_bytes / 2;
  if (ungranted_bytes_ != 0 && ungranted_bytes_ >= half) {
    head.kind = shm::Kind::window;
    head.id = 0;  // origin 0
    head.aux = ungranted_bytes_;
    if (shm::try_send_whole(link_->control(), head, {}, {})) {
      ungranted_bytes_ = 0;
    }
  }
  head.kind = shm::Kind::cancel;
  head.aux = 0;
  while (!cancels_.empty()) {
    head.id = cancels_.front();
    if (!shm::try_send_whole(link_->control(), head, {}, {})) {
      break;
    }
    cancels_.pop_front();
  }
  if (!again_.empty() && abort_id_ == 0) {
    send_again();
  }
  pending_ =
      must_wait() || !cancels_.empty() || (ungranted_bytes_ != 0 && ungranted_bytes_ >= half);
  wake();
  if (link_->control().poisoned() || link_->outgoing().poisoned()) {
    lose(Errc::cursor_out_of_range);
  }
}

}  // namespace mserve
