// SPDX-License-Identifier: Apache-2.0
#include "shim/request_writer.hpp"

#include <algorithm>

#include "mserve/kdb/message.hpp"
#include "shim/request_check.hpp"

namespace mserve::shim {

namespace {

/// From this capability on messages may be longer than 2 GiB.
constexpr std::uint8_t kCapabilityLong = 5;

}  // namespace

void RequestWriter::connect(Form form, std::uint8_t capability, bool takes_cancels) {
  form_ = form;
  options_.assign(no_options().begin(), no_options().end());
  message_bytes_max_ =
      capability >= kCapabilityLong ? kdb::kMessageBytesMax : kdb::kMessageBytesMaxSmall;
  source_ = Source::none;
  flow_.reset();
  cut_ = false;
  held_bytes_ -= sending_.bytes.size();
  sending_ = {};
  nyi_owed_ = 0;
  probe_owed_ = false;
  takes_cancels_ = takes_cancels;
  cancels_owed_.clear();
}

void RequestWriter::attach(std::uint32_t servant, std::uint32_t credit,
                           std::uint64_t held_bytes_max) {
  servant_ = servant;
  credit_ = credit;
  held_bytes_max_ = held_bytes_max;
  fault_ = Errc::ok;
  cancels_owed_.reserve(std::size_t{2} * credit);  // as many questions there are at most
}

bool RequestWriter::detach() {
  if (takes_cancels_) {  // whoever asked is gone
    questions_.each_wanted([this](const Question& asked) { cancels_owed_.push_back(asked.qid); });
  }
  held_.clear();
  held_bytes_ = sending_.bytes.size();
  // The ring's memory goes away with the session.
  return source_ != Source::frame && !flow_ && !cut_;
}

// hot: for a small request one look at the ring, one validation, one send, one release.
RequestWriter::Step RequestWriter::step(QLink& q, Rings* rings, bool take_new,
                                        std::uint64_t now_ns) {
  now_ns_ = now_ns;
  bool worked = false;
  for (int n = 0; n < kMessagesPerStep; ++n) {
    if (source_ == Source::none) {
      const Step chosen = choose(rings, take_new);
      if (chosen == Step::idle) {
        break;
      }
      if (chosen != Step::worked) {
        return chosen;
      }
      worked = true;
    }
    if (source_ != Source::none) {
      const Step sent = send(q);
      if (sent != Step::worked) {
        return sent;
      }
      finish(rings);
      worked = true;
    }
  }
  return worked ? Step::worked : Step::idle;
}

/// Decides what q gets next. worked: a message is begun, or a frame was used up that q does not
/// see.
RequestWriter::Step RequestWriter::choose(Rings* rings, bool take_new) {
  if (cut_) {
    return Step::cut;
  }
  if (!flow_) {
    if (nyi_owed_ > 0 || probe_owed_ || owes_cancel()) {
      begin_own();
      return Step::worked;
    }
    for (std::size_t i = 0; rings != nullptr && i < held_.size(); ++i) {
      if (held_[i].whole()) {
        return begin_held(*rings, i);
      }
    }
  }
  // A flow in the middle, or a request half arrived in memory, must be able to end.
  if (rings == nullptr || (!take_new && !flow_ && held_.empty())) {
    return Step::idle;
  }
  return take_frame(*rings);
}

/// What was answered meanwhile need not be cancelled.
bool RequestWriter::owes_cancel() noexcept {
  while (!cancels_owed_.empty() && questions_.find(cancels_owed_.back()) == nullptr) {
    cancels_owed_.pop_back();
  }
  return !cancels_owed_.empty();
}

void RequestWriter::begin_own() {
  lead_.clear();
  payload_ = {};
  trail_ = {};
  written_ = 0;
  source_ = Source::own;
  current_qid_ = 0;
  if (nyi_owed_ > 0) {
    --nyi_owed_;
    put_nyi_response(lead_);
    return;
  }
  if (!probe_owed_) {
    put_cancel(lead_, cancels_owed_.back());
    cancels_owed_.pop_back();
    return;
  }
  probe_owed_ = false;
  if (form_ == Form::plain) {
    put_plain_probe(lead_);
  } else {
    put_lbt_probe(lead_);
  }
  questions_.add({.probe = true, .sent = true});
}

RequestWriter::Step RequestWriter::begin_held(Rings& rings, std::size_t index) {
  Held& held = held_[index];
  const bool pair = keeps_options(held.flags);
  PeerTerms terms = held.terms;
  Checked checked{spend(terms.deadline, now_ns_ - held.told_ns), {}};
  if (checked.refusal == nullptr) {
    checked = look_at(held.flags, held.bytes, terms);
  }
  if (checked.refusal == nullptr && too_large(pair, checked.object.size())) {
    checked.refusal = kRefusedTooLarge;
  }
  if (checked.refusal != nullptr) {
    const Step refused = refuse(rings, held.id, checked.refusal);
    if (refused == Step::worked) {
      forget_held(held.id);
    }
    return refused;
  }
  begin_message(held.id, pair, checked.object.size());
  payload_ = checked.object;  // moving the vector leaves its bytes where they are
  sending_ = std::move(held);
  held_.erase(held_.begin() + static_cast<std::ptrdiff_t>(index));
  source_ = Source::held;
  return Step::worked;
}

/// Judges a whole request. What goes to a peer is its query, and options that are made here.
Checked RequestWriter::look_at(std::uint8_t flags, std::span<const std::byte> payload,
                               const PeerTerms& terms) {
  Checked checked = check_request(form_, flags, payload);
  if (!peer_ || checked.refusal != nullptr) {
    return checked;
  }
  if (!make_options(checked.object.subspan(checked.query_bytes), flags, terms)) {
    return {kRefusedTooLarge, {}};
  }
  checked.object = checked.object.first(checked.query_bytes);
  return checked;
}

/// @return false when they would be too long for it.
bool RequestWriter::make_options(std::span<const std::byte> options, std::uint8_t flags,
                                 const PeerTerms& terms) {
  auto made = peer_options(options, terms, (flags & shm::kFlagRepeatable) != 0);
  if (made) {
    options_ = *std::move(made);
  }
  return made.has_value();
}

bool RequestWriter::too_large(bool has_options, std::uint64_t payload_bytes) const noexcept {
  const std::uint64_t around =
      kdb::kHeaderBytes +
      (form_ == Form::lbt ? kLbtPrefixBytes + (has_options ? 0 : options_.size()) : 0);
  return payload_bytes > message_bytes_max_ - around;
}

/// @param has_options  they follow the query within the payload.
void RequestWriter::begin_message(std::uint64_t id, bool has_options, std::uint64_t payload_bytes) {
  lead_.clear();
  trail_ = {};
  written_ = 0;
  current_qid_ = next_qid_++;
  if (form_ == Form::plain) {
    put_header(lead_, kdb::MessageKind::sync, payload_bytes);
  } else {
    if (!has_options) {
      trail_ = options_;
    }
    put_header(lead_, kdb::MessageKind::async, kLbtPrefixBytes + payload_bytes + trail_.size());
    put_lbt_prefix(lead_, 3, current_qid_);
  }
  questions_.add({.id = id, .qid = current_qid_});
}

RequestWriter::Step RequestWriter::send(QLink& q) {
  const std::array<Piece, 3> all = {lead_.view(), payload_, trail_};
  for (;;) {
    std::array<Piece, 3> rest;
    std::size_t count = 0;
    std::size_t skip = written_;
    for (const Piece& piece : all) {
      const std::size_t skipped = std::min(skip, piece.size());
      skip -= skipped;
      if (skipped < piece.size()) {
        rest[count++] = piece.subspan(skipped);
      }
    }
    if (count == 0) {
      return Step::worked;
    }
    const Transfer sent = q.send(std::span(rest).first(count));
    if (sent.outcome != Outcome::moved) {
      return sent.outcome == Outcome::blocked ? Step::waits_for_q : Step::lost;
    }
    written_ += sent.bytes;
  }
}

/// q has taken all of what was begun.
void RequestWriter::finish(Rings* rings) {
  bool whole = true;
  if (source_ == Source::frame) {
    rings->in.release();
    if (flow_) {
      flow_->offset += payload_.size();
      whole = flow_->offset == flow_->total_bytes;
    }
  } else if (source_ == Source::held) {
    held_bytes_ -= sending_.bytes.size();
    sending_ = {};
  }
  if (whole && source_ != Source::own) {
    questions_.mark_sent(current_qid_);
    flow_.reset();
  }
  source_ = Source::none;
}

RequestWriter::Step RequestWriter::refuse(Rings& rings, std::uint64_t id, const char* text) {
  // As a peer's own `busy`, a link's is for another servant.
  const Errc status = peer_ && std::string_view(text) == kRefusedBusy ? Errc::busy : Errc::failed;
  return send_error(rings, servant_, id, text, status) ? Step::worked : Step::waits_for_ring;
}

/// The frame at the front is used up once the refusal is on its way.
RequestWriter::Step RequestWriter::refuse_frame(Rings& rings, std::uint64_t id, const char* text) {
  const Step refused = refuse(rings, id, text);
  if (refused == Step::worked) {
    rings.in.release();
  }
  return refused;
}

RequestWriter::Step RequestWriter::broken(Errc fault) noexcept {
  fault_ = fault;
  return Step::broken;
}

}  // namespace mserve::shim
