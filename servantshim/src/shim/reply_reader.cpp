// SPDX-License-Identifier: Apache-2.0
#include "shim/reply_reader.hpp"

#include <algorithm>
#include <utility>

namespace mserve::shim {

void ReplyReader::connect(Form form) {
  form_ = form;
  if (buffer_.empty()) {
    buffer_.resize(kBufferBytesMin);
  }
  begin_ = end_ = 0;
  phase_ = Phase::header;
  claimed_ = begun_ = false;
  answer_flow_.reset();
  validator_.reset();
  gathered_ = {};
  early_.reset();
  sync_count_ = 0;
  fault_.clear();
}

void ReplyReader::attach(const Bounds& bounds) {
  bounds_ = bounds;
  whole_max_ = shm::whole_payload_bytes_max(bounds.ring_capacity);
  const std::size_t wanted = std::max<std::size_t>(
      kBufferBytesMin, static_cast<std::size_t>(whole_max_) + kLbtOpeningBytes + kdb::kHeaderBytes);
  if (buffer_.size() < wanted) {
    buffer_.resize(wanted);  // keeps what was received already
  }
}

void ReplyReader::detach() {
  // What was answered early is not answered again, once all of it was sent.
  if (early_) {
    questions_.remove(early_->qid);
    early_.reset();
  }
  if (!claimed_) {
    return;
  }
  if (!target_.sent) {
    questions_.remove(target_.qid);
  }
  claimed_ = begun_ = false;
  answer_flow_.reset();
  validator_.reset();
  gathered_ = {};
  phase_ = Phase::skip;
}

// hot: for a small reply one receive, one validation, one copy, one commit.
ReplyReader::Step ReplyReader::step(QLink& q, Rings* rings) {
  bool worked = false;
  for (int n = 0; n < kTurnsPerStep; ++n) {
    switch (turn(q, rings)) {
      case Turn::again:
        worked = true;
        if (!busy()) {
          return Step::worked;  // an answer is through: do not ask the kernel for the next at once
        }
        break;
      case Turn::idle:
        return worked ? Step::worked : Step::idle;
      case Turn::blocked:
        return worked ? Step::worked : Step::waits_for_ring;
      case Turn::lost:
        return Step::lost;
      case Turn::malformed:
        return Step::malformed;
    }
  }
  return Step::worked;
}

ReplyReader::Turn ReplyReader::turn(QLink& q, Rings* rings) {
  switch (phase_) {
    case Phase::header:
      return read_header(q);
    case Phase::opening:
      return read_opening(q);
    case Phase::body:
      return read_body(q);
    case Phase::stream:
      return stream(q, *rings);  // claimed, so there is a session
    case Phase::gather:
      return gather(q);
    case Phase::sending:
      return send_answer(*rings);
    case Phase::skip:
      break;
  }
  return skip(q);
}

/// Receives more into the buffer.
ReplyReader::Turn ReplyReader::fill(QLink& q) {
  if (begin_ == end_) {
    begin_ = end_ = 0;
  } else if (end_ == buffer_.size()) {
    std::copy(buffer_.begin() + static_cast<std::ptrdiff_t>(begin_),
              buffer_.begin() + static_cast<std::ptrdiff_t>(end_), buffer_.begin());
    end_ -= begin_;
    begin_ = 0;
  }
  const Transfer got = q.receive(std::span(buffer_).subspan(end_));
  if (got.outcome != Outcome::moved) {
    return got.outcome == Outcome::blocked ? Turn::idle : Turn::lost;
  }
  end_ += got.bytes;
  received_bytes_ += got.bytes;
  return Turn::again;
}

ReplyReader::Turn ReplyReader::read_header(QLink& q) {
  if (early_ && tell_early()) [[unlikely]] {
    return Turn::again;
  }
  if (buffered() < kdb::kHeaderBytes) {
    return fill(q);
  }
  const kdb::Result<kdb::Header> header = kdb::parse_header(buffer_front());
  if (!header) {
    return malformed("message header: " + kdb::to_text(header.error()));
  }
  header_ = *header;
  std::copy_n(buffer_front().begin(), kdb::kHeaderBytes, header_bytes_.begin());
  begin_ += kdb::kHeaderBytes;
  left_ = header_.message_bytes - kdb::kHeaderBytes;
  return classify();
}

ReplyReader::Turn ReplyReader::classify() {
  if (header_.kind == kdb::MessageKind::response) {
    return classify_response();
  }
  if (header_.kind == kdb::MessageKind::sync) {
    ++sync_count_;
    warn_("q sent a sync message; it is answered with the error nyi");
    return skip_rest();
  }
  if (form_ == Form::plain) {
    warn_("q sent an async message that nobody asked for; it is ignored");
    return skip_rest();
  }
  // Whom a compressed message answers is known only once it is whole.
  if (header_.compression != kdb::Compression::none) {
    if (header_.message_bytes <= bounds_.max_gathered) {
      return begin_gather();
    }
    return answer_unread();
  }
  phase_ = Phase::opening;
  return Turn::again;
}

ReplyReader::Turn ReplyReader::classify_response() {
  if (form_ == Form::lbt) {
    warn_("q sent a response, though nothing was asked in that way; it is ignored");
    return skip_rest();
  }
  if (!questions_.take_oldest(target_) || !target_.sent) {
    return malformed("a response that nobody asked for");
  }
  if (target_.probe || target_.orphan) {
    return skip_rest();
  }
  claimed_ = true;
  return plan_plain();
}

ReplyReader::Turn ReplyReader::plan_plain() {
  const bool direct =
      header_.compression == kdb::Compression::none && header_.order == kdb::ByteOrder::little;
  if (!direct) {
    return header_.message_bytes <= bounds_.max_gathered ? begin_gather() : answer_error("limit");
  }
  if (left_ > bounds_.message_bytes_max) {
    return answer_error("limit");
  }
  if (left_ <= whole_max_) {
    phase_ = Phase::body;
    return Turn::again;
  }
  return begin_stream(left_, {});
}

/// Finds the request that an LBT reply answers. @return false when nobody waits for it.
bool ReplyReader::claim(std::uint64_t qid) {
  if (!questions_.take(qid, target_)) {
    warn_("q answered qid " + std::to_string(static_cast<std::int64_t>(qid)) +
          ", which nobody waits for; the answer is dropped");
    return false;
  }
  return take_on();
}

/// target_ is whom this message answers. @return false when nobody waits for it.
bool ReplyReader::take_on() {
  claimed_ = !target_.probe && !target_.orphan;
  if (claimed_ && peer_ && !target_.sent) {
    questions_.add(target_);  // until it is sent, and this answer told
  }
  return claimed_;
}

/// A compressed message is too large to be looked into: it can only answer the only question.
ReplyReader::Turn ReplyReader::answer_unread() {
  if (questions_.empty()) {
    warn_("q sent an async message that nobody asked for; it is ignored");
    return skip_rest();
  }
  if (!questions_.take_only(target_)) {
    return malformed("a compressed message above --max-gathered, and several requests wait");
  }
  if (take_on() && too_early()) {
    return malformed(kTooEarly);
  }
  return answer_error("limit");
}

ReplyReader::Turn ReplyReader::read_opening(QLink& q) {
  const std::uint64_t needed = std::min<std::uint64_t>(left_, kLbtOpeningBytes);
  if (buffered() < needed) {
    return fill(q);
  }
  const std::size_t there = static_cast<std::size_t>(std::min<std::uint64_t>(left_, buffered()));
  const LbtOpening opening = lbt_opening(buffer_front().first(there), header_.order);
  if (!opening.is_reply) {
    warn_("q sent an async message that is no (qid; result); it is ignored");
    return skip_rest();
  }
  if (peer_ && opening.qid == 0) {
    return skip_rest();  // a sign of life
  }
  return claim(opening.qid) ? plan_lbt(opening) : skip_rest();
}

/// What to do with a reply in LBT's form whose request is known.
ReplyReader::Turn ReplyReader::plan_lbt(const LbtOpening& opening) {
  if (too_early()) {
    return malformed(kTooEarly);
  }
  if (header_.order == kdb::ByteOrder::big) {
    return header_.message_bytes <= bounds_.max_gathered ? begin_gather() : answer_error("limit");
  }
  if (left_ > bounds_.message_bytes_max) {
    return answer_error("limit");
  }
  const std::uint64_t result_bytes = left_ - opening.result_offset;
  if (opening.items == 2 && !opening.joined && result_bytes > whole_max_ && target_.sent) {
    return begin_stream(result_bytes, buffer_front().first(opening.result_offset));
  }
  if (left_ <= buffer_.size()) {
    phase_ = Phase::body;
    return Turn::again;
  }
  return header_.message_bytes <= bounds_.max_gathered ? begin_gather() : answer_error("limit");
}

ReplyReader::Turn ReplyReader::read_body(QLink& q) {
  if (buffered() < left_) {
    // The buffer holds any message of this phase, but perhaps not behind an earlier one.
    if (left_ > buffer_.size() - begin_) {
      std::copy(buffer_.begin() + static_cast<std::ptrdiff_t>(begin_),
                buffer_.begin() + static_cast<std::ptrdiff_t>(end_), buffer_.begin());
      end_ -= begin_;
      begin_ = 0;
    }
    return fill(q);
  }
  return answer(buffer_front().first(static_cast<std::size_t>(left_)));
}

ReplyReader::Turn ReplyReader::skip_rest() noexcept {
  phase_ = Phase::skip;
  return Turn::again;
}

ReplyReader::Turn ReplyReader::skip(QLink& q) {
  const std::uint64_t there = std::min<std::uint64_t>(left_, buffered());
  begin_ += static_cast<std::size_t>(there);
  left_ -= there;
  if (left_ > 0) {
    return fill(q);
  }
  phase_ = Phase::header;
  return Turn::again;
}

ReplyReader::Turn ReplyReader::malformed(std::string_view what) {
  fault_.assign(what);
  return Turn::malformed;
}

bool ReplyReader::give_up(Rings& rings, std::string_view text) {
  // One that is answered early is in the books still, and may have been cancelled there.
  const Question* const asked = target_.sent ? nullptr : questions_.find(target_.qid);
  if (!claimed_ || (asked != nullptr && asked->orphan)) {
    return true;
  }
  if (!begun_) {
    return send_error(rings, bounds_.servant, target_.id, text);
  }
  shm::FrameHeader header;
  header.kind = shm::Kind::abort;
  header.id = target_.id;
  header.aux = static_cast<std::uint64_t>(Errc::servant_died);
  const bool sent = shm::try_send_whole(rings.out, header, {}, {});
  rings.committed = rings.committed || sent;
  return sent;
}

shm::FrameHeader ReplyReader::reply_header(Errc status) const noexcept {
  shm::FrameHeader header;
  header.kind = shm::Kind::reply;
  header.id = target_.id;
  header.aux = shm::pack({bounds_.servant, static_cast<std::uint16_t>(status)});
  return header;
}

}  // namespace mserve::shim
