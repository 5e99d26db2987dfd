// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <utility>

#include "lib/core.hpp"

namespace mserve {
namespace {

/// Frames that one call looks at when none of them finishes a reply.
constexpr int kFramesPerPass = 64;

bool carries_payload(Errc status) noexcept {
  return status == Errc::ok || status == Errc::failed;
}

void fill(Reply& out, const shm::FrameHeader& header, const shm::Extensions& ext) {
  const shm::ReplyAux aux = shm::unpack_reply(header.aux);
  out.id = header.id;
  out.status = static_cast<Errc>(aux.status);
  out.servant = aux.servant;
  out.opaque = (header.flags & shm::kFlagOpaque) != 0;
  out.payload = {};
  out.info_object = {};
  out.info_complete = false;
  if (ext.has_info) {
    out.info = ext.info;
  } else {
    out.info.reset();
  }
}

void fill_status(Reply& out, std::uint64_t id, Errc status) {
  out = Reply{};
  out.id = id;
  out.status = status;
}

}  // namespace

// hot: one acquire load when nothing is there; no copy when a whole reply is.
Errc ClientCore::poll(Reply& out) {
  if (has_next_) {
    out = next_;
    has_next_ = false;
    return Errc::ok;
  }
  take_back();
  if (give_kept(out)) {
    return Errc::ok;
  }
  if (!ensure_attached()) [[unlikely]] {
    return without_session(out);
  }
  if (remote_) [[unlikely]] {
    look_for_home();
  }
  if (pending_) [[unlikely]] {
    flush_pending();
  }
  if (link_ != nullptr && receive(out) == Errc::ok) {
    return Errc::ok;
  }
  look_after_session();
  return link_ != nullptr ? Errc::empty : without_session(out);
}

/// What poll() can still give, or say, when there is no session.
Errc ClientCore::without_session(Reply& out) {
  if (give_kept(out)) {
    return Errc::ok;
  }
  return again_.empty() ? Errc::not_attached : Errc::empty;
}

Errc ClientCore::wait(std::uint64_t deadline_ns) {
  while (!has_next_) {
    const Errc code = poll(next_);
    if (code == Errc::ok) {
      has_next_ = true;
    } else if (code != Errc::empty || in_flight_.size() == 0) {
      return code;
    } else if (!pause(deadline_ns, UINT64_MAX)) {
      return Errc::timed_out;
    }
  }
  return Errc::ok;
}

Errc ClientCore::await(std::uint64_t id, Reply& out, std::uint64_t deadline_ns) {
  if (has_next_ && next_.id == id) {
    out = next_;
    has_next_ = false;
    return Errc::ok;
  }
  keep_next();
  take_back();
  if (give_kept(id, out)) {
    return Errc::ok;
  }
  while (in_flight_.contains(id)) {
    if (kept_bytes_ >= options_.unread_bytes_max) {
      return Errc::full;
    }
    if (!ensure_attached()) [[unlikely]] {
      if (in_flight_.contains(id) && !pause(deadline_ns, UINT64_MAX)) {
        return Errc::timed_out;
      }
      continue;
    }
    if (receive(out) == Errc::ok) {
      if (out.id == id) {
        return Errc::ok;
      }
      keep(out);
      continue;
    }
    if (link_ != nullptr && pending_) {
      flush_pending();
    }
    look_after_session();
    if (link_ != nullptr && !pause(deadline_ns, UINT64_MAX)) {
      return Errc::timed_out;
    }
  }
  return give_kept(id, out) ? Errc::ok : Errc::invalid;
}

Result<OwnedReply> ClientCore::call(std::span<const std::byte> payload, const SendOptions& options,
                                    std::uint64_t deadline_ns) {
  const auto sent = send(payload, options, deadline_ns);
  if (!sent) {
    return sent.error();
  }
  Reply reply;
  if (const Errc code = await(sent.value(), reply, deadline_ns); code != Errc::ok) {
    (void)cancel(sent.value());
    return Error{code, 0, "call"};
  }
  if (!carries_payload(reply.status)) {
    return Error{reply.status, 0, "call"};
  }
  if (!reply.payload.empty() && reply.payload.data() == lent_->payload.data()) {
    return std::move(lent_);
  }
  return OwnedReply(reply);
}

/// Takes frames until one finishes a reply. @return ok; or empty, also when the session was lost.
Errc ClientCore::receive(Reply& out) {
  shm::RingConsumer& ring = link_->incoming();
  for (int i = 0; i < kFramesPerPass; ++i) {
    shm::FrameView frame;
    const Errc code = ring.front(frame);
    if (code == Errc::empty) [[likely]] {
      break;
    }
    worked_ = true;
    const Taken taken = code == Errc::ok ? take(frame, out) : Taken::violation;
    if (taken == Taken::violation) [[unlikely]] {
      lose(Errc::bad_frame);
      break;
    }
    frame_lent_ = taken == Taken::frame;
    if (!frame_lent_) {
      ring.release();
    }
    if (pending_) {
      flush_pending();  // a grant, so that the rest of the flow comes
    }
    if (taken != Taken::nothing) {
      return Errc::ok;
    }
    if (link_ == nullptr) {
      break;
    }
  }
  return Errc::empty;
}

ClientCore::Taken ClientCore::take(const shm::FrameView& frame, Reply& out) {
  const shm::FrameHeader& header = frame.header;
  if (header.id == 0 || header.id >= next_id_) [[unlikely]] {
    return Taken::violation;  // we never asked that
  }
  if (header.kind == shm::Kind::abort) {
    return take_abort(frame, out);
  }
  shm::Extensions ext;
  if (header.kind != shm::Kind::reply || !shm::parse_extensions(frame.extensions, ext) ||
      (ext.has_origin && ext.origin_index != 0)) [[unlikely]] {
    return Taken::violation;
  }
  return ext.has_flow ? take_fragment(frame, ext, out) : take_whole(frame, ext, out);
}

ClientCore::Taken ClientCore::take_whole(const shm::FrameView& frame, const shm::Extensions& ext,
                                         Reply& out) {
  if (!finish(frame.header.id)) [[unlikely]] {
    ++late_replies_;
    return Taken::nothing;
  }
  if (assembler_.unfinished() != 0) [[unlikely]] {
    assembler_.drop(frame.header.id);  // an error in place of the rest of a flow
  }
  fill(out, frame.header, ext);
  if (!carries_payload(out.status) || frame.payload.empty()) {
    return Taken::reply;
  }
  out.payload = frame.payload;
  if (remote_ || (frame.header.flags & shm::kFlagPair) != 0) [[unlikely]] {
    if (std::vector<std::byte> own = unwrap(out, frame.header.flags); !own.empty()) {
      lent_ = OwnedReply(out, std::move(own));
      return Taken::reply;
    }
    if (out.payload.empty()) {
      return Taken::reply;
    }
  }
  return Taken::frame;
}

ClientCore::Taken ClientCore::take_fragment(const shm::FrameView& frame, const shm::Extensions& ext,
                                            Reply& out) {
  const std::uint64_t id = frame.header.id;
  consumed_flow_bytes(
      frame.payload.size());  // also of flows that nobody wants: the window is the origin's
  if (!in_flight_.contains(id)) {
    late_replies_ += ext.flow.offset == 0 ? 1U : 0U;
    return Taken::nothing;
  }
  switch (assembler_.add(id, ext.flow, frame.payload, assembled_)) {
    case Errc::empty:
      return Taken::nothing;
    case Errc::ok:
      (void)finish(id);
      fill(out, frame.header, ext);
      lend_assembled(out, frame.header.flags);
      return Taken::reply;
    case Errc::too_large:
      (void)finish(id);
      queue_cancel(id);
      fill_status(out, id, Errc::too_large);
      return Taken::reply;
    default:
      return Taken::violation;
  }
}

void ClientCore::lend_assembled(Reply& out, std::uint8_t flags) {
  std::vector<std::byte> bytes = std::exchange(assembled_, {});
  out.payload = bytes;
  if (remote_ || (flags & shm::kFlagPair) != 0) {
    if (std::vector<std::byte> own = unwrap(out, flags); !own.empty()) {
      bytes = std::move(own);
    }
  }
  lent_ = OwnedReply(out, std::move(bytes));
}

/// The rest of a flow will not come: that is the end of its request.
ClientCore::Taken ClientCore::take_abort(const shm::FrameView& frame, Reply& out) {
  assembler_.drop(frame.header.id);
  if (!finish(frame.header.id)) {
    return Taken::nothing;
  }
  const Errc code = static_cast<Errc>(static_cast<std::uint16_t>(frame.header.aux));
  fill_status(out, frame.header.id, carries_payload(code) ? Errc::servant_died : code);
  return Taken::reply;
}

void ClientCore::consumed_flow_bytes(std::uint64_t bytes) {
  ungranted_bytes_ += bytes;
  pending_ = pending_ || ungranted_bytes_ >= info_.window_bytes / 2;
}

/// Ends the loan of the reply given out last.
void ClientCore::take_back() noexcept {
  if (frame_lent_) {
    link_->incoming().release();
    frame_lent_ = false;
  }
  if (!lent_->payload.empty()) [[unlikely]] {
    lent_ = OwnedReply();
  }
  if (retired_ != nullptr) [[unlikely]] {
    retired_.reset();
  }
}

/// Keeps a reply on loan for poll(), behind (or before) those kept already, and ends the loan.
void ClientCore::keep(const Reply& reply, bool first) {
  const bool owned = !reply.payload.empty() && reply.payload.data() == lent_->payload.data();
  kept_bytes_ += size_of(reply);
  kept_.insert(first ? kept_.begin() : kept_.end(), owned ? std::move(lent_) : OwnedReply(reply));
  take_back();
}

/// The same for what wait() found: it came before everything that is kept.
void ClientCore::keep_next() {
  if (std::exchange(has_next_, false)) {
    keep(next_, /*first=*/true);
  }
}

bool ClientCore::give_kept(Reply& out) {
  return !kept_.empty() && give_kept(kept_.front()->id, out);
}

bool ClientCore::give_kept(std::uint64_t id, Reply& out) {
  const auto at =
      std::find_if(kept_.begin(), kept_.end(), [id](const auto& r) { return r->id == id; });
  if (at == kept_.end()) {
    return false;
  }
  lent_ = std::move(*at);
  kept_.erase(at);
  kept_bytes_ -= size_of(*lent_);
  out = *lent_;
  return true;
}

bool ClientCore::drop_kept(std::uint64_t id) {
  const auto at =
      std::find_if(kept_.begin(), kept_.end(), [id](const auto& r) { return r->id == id; });
  if (at == kept_.end()) {
    return false;
  }
  kept_bytes_ -= size_of(**at);
  kept_.erase(at);
  return true;
}

bool ClientCore::prepare_sleep() {
  keep_next();
  take_back();
  if (!kept_.empty()) {
    return false;
  }
  if (link_ != nullptr && pending_) {
    flush_pending();
    if (pending_ && !remote_) {
      return false;  // a grant or cancel still waits for room: poll() tries again
    }
  }
  return link_ == nullptr || link_->prepare_sleep();
}

void ClientCore::finish_sleep() {
  if (link_ != nullptr && link_->finish_sleep() != Errc::ok) {
    lose(Errc::disconnected);
  }
}

}  // namespace mserve
