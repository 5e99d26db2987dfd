// SPDX-License-Identifier: Apache-2.0
// The half of RequestWriter that takes frames: whole requests, fragments, aborts.
#include <algorithm>

#include "shim/request_check.hpp"
#include "shim/request_writer.hpp"
#include "shim/type_codes.hpp"

namespace mserve::shim {

RequestWriter::Step RequestWriter::take_frame(Rings& rings) {
  shm::FrameView frame;
  const Errc got = rings.in.front(frame);
  if (got != Errc::ok) {
    return got == Errc::empty ? Step::idle : broken(got);
  }
  if (frame.header.kind == shm::Kind::request) {
    shm::Extensions extensions;
    if (!shm::parse_extensions(frame.extensions, extensions)) {
      return broken(Errc::bad_frame);
    }
    const PeerTerms terms{extensions.deadline, extensions.priority, extensions.vouched};
    return extensions.has_flow ? take_fragment(rings, frame, extensions.flow, terms)
                               : take_whole(rings, frame, terms);
  }
  if (frame.header.kind == shm::Kind::abort) {
    return take_abort(rings, frame.header.id);
  }
  if (frame.header.kind == shm::Kind::cancel) {
    return take_cancel(rings, frame.header.id);
  }
  rings.in.release();  // other kinds mean nothing to a servant
  return Step::worked;
}

RequestWriter::Step RequestWriter::take_whole(Rings& rings, const shm::FrameView& frame,
                                              const PeerTerms& terms) {
  if (over_credit()) {
    return broken(Errc::protocol);
  }
  const std::uint64_t id = frame.header.id;
  if (flow_) {
    return hold(rings, frame, frame.payload.size(), terms);
  }
  const Checked checked = look_at(frame.header.flags, frame.payload, terms);
  if (checked.refusal != nullptr) {
    return refuse_frame(rings, id, checked.refusal);
  }
  const bool pair = keeps_options(frame.header.flags);
  if (too_large(pair, checked.object.size())) {
    return refuse_frame(rings, id, kRefusedTooLarge);
  }
  begin_message(id, pair, checked.object.size());
  payload_ = checked.object;
  source_ = Source::frame;
  return Step::worked;
}

RequestWriter::Step RequestWriter::take_fragment(Rings& rings, const shm::FrameView& frame,
                                                 const shm::FlowExt& flow, const PeerTerms& terms) {
  const std::uint64_t id = frame.header.id;
  if (flow_ && flow_->id == id) {
    return pass_fragment(rings, frame, flow);
  }
  const auto held =
      std::find_if(held_.begin(), held_.end(), [id](const Held& h) { return h.id == id; });
  if (held != held_.end()) {
    return gather_fragment(rings, *held, frame, flow, terms);
  }
  if (flow.offset != 0) {
    rings.in.release();  // what the broker sent of a request before it saw our refusal
    return Step::worked;
  }
  if (over_credit()) {
    return broken(Errc::protocol);
  }
  if (frame.payload.empty() || frame.payload.size() > flow.total_bytes) {
    return broken(Errc::bad_frame);
  }
  const bool pair = (frame.header.flags & shm::kFlagPair) != 0;
  if ((frame.header.flags & shm::kFlagOpaque) != 0) {
    return refuse_frame(rings, id, kRefusedOpaque);
  }
  if (too_large(/*has_options=*/true, flow.total_bytes)) {
    return refuse_frame(rings, id, kRefusedTooLarge);
  }
  // Where its options begin, which have to be others or none at all, shows at its end only.
  const bool taken_apart = pair && (peer_ || form_ == Form::plain);
  // Half a message would block everybody's way to a peer until its client sends the rest, or cost
  // the connection if that gives up: it goes once it is whole, unless it is too large for that.
  const bool gathers = taken_apart || (peer_ && flow.total_bytes <= held_bytes_max_);
  if (gathers || flow_) {
    if (flow.total_bytes > held_bytes_max_) {
      // What could stream may do so later, when no other one does.
      return refuse_frame(rings, id, taken_apart ? kRefusedTooLarge : kRefusedBusy);
    }
    return hold(rings, frame, flow.total_bytes, terms);
  }
  const bool told = !peer_ || make_options({}, frame.header.flags, terms);
  if (!told || too_large(pair, flow.total_bytes)) {
    return refuse_frame(rings, id, kRefusedTooLarge);
  }
  return begin_flow(rings, frame, flow.total_bytes);
}

/// nullptr, or the refusal that a piece of the message's body calls for.
const char* RequestWriter::check_flow_piece(Flow& flow, std::span<const std::byte> piece) noexcept {
  const kdb::Errc verdict = flow.validator.feed(piece);
  if (verdict != kdb::Errc::ok) {
    return refusal_of(verdict);
  }
  return flow.validator.type() == static_cast<std::int8_t>(kdb::Type::error) ? kRefusedMalformed
                                                                             : nullptr;
}

/// Of a flow that was fed to its end: whether it is one object, with a dictionary as its options.
bool RequestWriter::ended_well(const Flow& flow) const noexcept {
  return flow.validator.done() &&
         (form_ == Form::plain || is_dictionary(flow.validator.item_type()));
}

RequestWriter::Step RequestWriter::begin_flow(Rings& rings, const shm::FrameView& frame,
                                              std::uint64_t total_bytes) {
  const bool pair = (frame.header.flags & shm::kFlagPair) != 0;
  begin_message(frame.header.id, pair, total_bytes);
  const std::span<const std::byte> front = lead_.view().subspan(kdb::kHeaderBytes);
  Flow flow{.id = frame.header.id,
            .total_bytes = total_bytes,
            .validator = kdb::StreamValidator(front.size() + total_bytes + trail_.size())};
  const bool all = frame.payload.size() == total_bytes;
  const char* refusal = check_flow_piece(flow, front);
  refusal = refusal == nullptr ? check_flow_piece(flow, frame.payload) : refusal;
  refusal = refusal == nullptr && all ? check_flow_piece(flow, trail_) : refusal;
  if (refusal != nullptr || (all && !ended_well(flow))) {
    questions_.remove(current_qid_);
    return refuse_frame(rings, frame.header.id, refusal != nullptr ? refusal : kRefusedMalformed);
  }
  flow_trail_ = trail_;
  trail_ = all ? flow_trail_ : std::span<const std::byte>{};
  payload_ = frame.payload;
  flow_.emplace(flow);
  source_ = Source::frame;
  return Step::worked;
}

RequestWriter::Step RequestWriter::pass_fragment(Rings& rings, const shm::FrameView& frame,
                                                 const shm::FlowExt& flow) {
  const bool in_order = flow.offset == flow_->offset && flow.total_bytes == flow_->total_bytes &&
                        !frame.payload.empty() &&
                        frame.payload.size() <= flow_->total_bytes - flow_->offset;
  if (!in_order) {
    return broken(Errc::bad_frame);
  }
  const bool last = frame.payload.size() == flow_->total_bytes - flow_->offset;
  const char* refusal = check_flow_piece(*flow_, frame.payload);
  refusal = refusal == nullptr && last ? check_flow_piece(*flow_, flow_trail_) : refusal;
  if (refusal != nullptr || (last && !ended_well(*flow_))) {
    return cut(rings, flow_->id, refusal != nullptr ? refusal : kRefusedMalformed);
  }
  lead_.clear();
  payload_ = frame.payload;
  trail_ = last ? flow_trail_ : std::span<const std::byte>{};
  written_ = 0;
  source_ = Source::frame;
  return Step::worked;
}

/// Refuses a request of which q has a part already.
RequestWriter::Step RequestWriter::cut(Rings& rings, std::uint64_t id, const char* text) {
  const Step refused = refuse_frame(rings, id, text);
  if (refused == Step::worked) {
    cut_ = true;
    questions_.remove(current_qid_);
  }
  return refused;
}

RequestWriter::Step RequestWriter::hold(Rings& rings, const shm::FrameView& frame,
                                        std::uint64_t total_bytes, const PeerTerms& terms) {
  if (frame.payload.size() > held_bytes_max_ - held_bytes_) {
    return make_room(rings, frame, 0);
  }
  held_bytes_ += frame.payload.size();
  // Memory grows with what arrives, never with what was promised.
  held_.push_back({.id = frame.header.id,
                   .flags = frame.header.flags,
                   .total_bytes = total_bytes,
                   .bytes = {frame.payload.begin(), frame.payload.end()},
                   .terms = terms,
                   .told_ns = now_ns_});
  rings.in.release();
  return Step::worked;
}

RequestWriter::Step RequestWriter::gather_fragment(Rings& rings, Held& held,
                                                   const shm::FrameView& frame,
                                                   const shm::FlowExt& flow,
                                                   const PeerTerms& terms) {
  if (flow.offset != held.bytes.size() || flow.total_bytes != held.total_bytes ||
      frame.payload.empty() || frame.payload.size() > held.total_bytes - held.bytes.size()) {
    return broken(Errc::bad_frame);
  }
  if (frame.payload.size() > held_bytes_max_ - held_bytes_) {
    return make_room(rings, frame, held.bytes.size());
  }
  held_bytes_ += frame.payload.size();
  held.bytes.insert(held.bytes.end(), frame.payload.begin(), frame.payload.end());
  if (!terms.deadline.empty()) {
    held.terms.deadline = terms.deadline;  // what is left now
    held.told_ns = now_ns_;
  }
  rings.in.release();
  return Step::worked;
}

/// The frame at the front finds no room in memory. Of the requests that are still arriving the one
/// that has most of it is refused, and the frame is looked at again: that makes the most room for
/// one refusal, and whoever fills the memory so loses his own request, not those of others. Whole
/// ones stay, since they go as soon as q takes them; where they leave too little, the frame's own
/// request is refused.
/// @param held_of_it  bytes that are held of the frame's request already.
RequestWriter::Step RequestWriter::make_room(Rings& rings, const shm::FrameView& frame,
                                             std::uint64_t held_of_it) {
  const Held* largest = nullptr;
  std::uint64_t whole_bytes = held_bytes_;
  for (const Held& held : held_) {
    if (!held.whole()) {
      whole_bytes -= held.bytes.size();
      largest = largest == nullptr || held.bytes.size() > largest->bytes.size() ? &held : largest;
    }
  }
  if (largest == nullptr || frame.payload.size() > held_bytes_max_ - whole_bytes - held_of_it) {
    const std::uint64_t id = frame.header.id;
    const Step refused = refuse_frame(rings, id, kRefusedBusy);
    if (refused == Step::worked) {
      forget_held(id);
    }
    return refused;
  }
  const Step refused = refuse(rings, largest->id, kRefusedBusy);
  if (refused == Step::worked) {
    forget_held(largest->id);
  }
  return refused;
}

void RequestWriter::forget_held(std::uint64_t id) noexcept {
  const auto held =
      std::find_if(held_.begin(), held_.end(), [id](const Held& h) { return h.id == id; });
  if (held != held_.end()) {
    held_bytes_ -= held->bytes.size();
    held_.erase(held);
  }
}

RequestWriter::Step RequestWriter::take_abort(Rings& rings, std::uint64_t id) {
  if (flow_ && flow_->id == id) {
    cut_ = true;
    questions_.remove(current_qid_);
  }
  forget_held(id);
  rings.in.release();
  return Step::worked;
}

/// Nobody wants this request any more. It stays in the books, since it is to be answered. A peer is
/// asked many at once, of which one shall not keep a place: it is answered here, the peer hears of
/// it, and what that answers is dropped. Beyond as many such orphans as there are places it keeps
/// its place after all, so that a peer is never asked more than twice the credit.
RequestWriter::Step RequestWriter::take_cancel(Rings& rings, std::uint64_t id) {
  const auto held = std::find_if(held_.begin(), held_.end(), [id](const Held& h) {
    return h.id == id && h.bytes.size() == h.total_bytes;
  });
  if (held != held_.end()) {
    const Step refused = refuse_frame(rings, id, kRefusedUnwanted);
    if (refused == Step::worked) {
      forget_held(id);
    }
    return refused;
  }
  Question* const asked = peer_ ? questions_.find_sent(id) : nullptr;
  const bool answers = asked != nullptr && questions_.orphans() < credit_;
  if (answers && !send_error(rings, servant_, id, kRefusedUnwanted)) {
    return Step::waits_for_ring;
  }
  if (asked != nullptr && takes_cancels_ && !asked->unwanted) {
    cancels_owed_.push_back(asked->qid);
  }
  if (answers) {
    asked->orphan = true;
  }
  questions_.mark_unwanted(id);
  rings.in.release();
  return Step::worked;
}

}  // namespace mserve::shim
