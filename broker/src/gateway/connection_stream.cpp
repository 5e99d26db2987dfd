// SPDX-License-Identifier: Apache-2.0
// Answers in fragments: straight through to the client if it is their turn, gathered otherwise.
#include <algorithm>

#include "gateway/connection.hpp"

namespace mserve::broker {

namespace {

/// While the client has this much unread the data plane is not granted more.
constexpr std::size_t kUnreadMax = std::size_t{256} * 1024;

}  // namespace

void Connection::take_fragment(Pending& pending, const LinkEvent& event) {
  const std::span<const std::byte> bytes = event.payload;
  const bool first = pending.answer_bytes == 0;
  const std::uint64_t total = first ? event.flow.total_bytes : pending.answer_total;
  if (event.flow.offset != pending.answer_bytes || event.flow.total_bytes != total ||
      bytes.empty() || bytes.size() > total - pending.answer_bytes) [[unlikely]] {
    close("fragments of an answer out of order");
    return;
  }
  if (event.has_info) {
    pending.has_info = true;
    pending.info = event.info;
  }
  if (first) {
    begin_answer(pending, event);
  }
  pending.answer_bytes += bytes.size();
  const bool last = pending.answer_bytes == total;
  if (pending.state == AnswerState::gathering) {
    gather(pending, bytes);
  } else if (pending.state == AnswerState::streaming) {
    send(bytes);
  }
  ungranted_ += bytes.size();
  grant();
  if (!last) {
    return;
  }
  switch (pending.state) {
    case AnswerState::gathering:
      finish(pending, pending.answer, event.flags);
      break;
    case AnswerState::streaming:
      end_of_wire(pending);
      break;
    case AnswerState::dropped:
      end_dropped(pending);
      break;
    case AnswerState::awaited:
    case AnswerState::complete:
      break;
  }
}

/// The first fragment: what becomes of this answer?
void Connection::begin_answer(Pending& pending, const LinkEvent& event) {
  stop_flow(pending);
  pending.answer_total = event.flow.total_bytes;
  pending.status = event.status;
  pending.servant = event.servant;
  if (pending.silent) {
    drop_rest(pending, {});
    return;
  }
  // A servant's own info lies behind the result, an error is never large, a console shows a part.
  const bool must_be_whole = (event.flags & (shm::kFlagPair | shm::kFlagOpaque)) != 0 ||
                             event.status != Errc::ok || mode_ == Mode::console ||
                             pending.broadcast != nullptr;
  const bool compressible =
      peer_.remote && capability_ >= 1 && pending.answer_total <= context_.settings.gather_max;
  pending.streamable = !must_be_whole && !compressible;
  const bool too_large = pending.broadcast != nullptr
                             ? !pending.broadcast->table.reserve(pending.row, pending.answer_total)
                         : must_be_whole
                             ? pending.answer_total > context_.settings.max_gathered
                             : too_long(wrap(pending, pending.answer_total, {}).message_bytes);
  if (too_large) {
    drop_rest(pending, "limit");
    return;
  }
  pending.state = AnswerState::gathering;
  pending.answer = context_.buffers.take();
  if (pending.streamable && its_turn(pending)) {
    put_on_wire(pending);
  } else if (pending.streamable && pending.list == &unordered_) {
    unordered_.remove(pending);
    ready_.add(pending);
  }
}

void Connection::gather(Pending& pending, std::span<const std::byte> bytes) {
  if (kept_bytes_ + bytes.size() > kept_bytes_max()) {
    drop_rest(pending, "limit");
    return;
  }
  pending.answer.insert(pending.answer.end(), bytes.begin(), bytes.end());
  kept_bytes_ += bytes.size();
}

/// From here on nothing else is sent until the end of this answer. Its length goes out first.
void Connection::put_on_wire(Pending& pending) {
  Wrapping wrapping = wrap(pending, pending.answer_total, {});
  context_.counters.answers->add();
  wire_ = &pending;
  wire_after_ = std::move(wrapping.after);
  pending.state = AnswerState::streaming;
  send(wrapping.before.span(), pending.answer);
  drop_buffer(pending);
  if (pending.list != &ordered_) {
    pending.list->remove(pending);
  }
}

void Connection::end_of_wire(Pending& pending) {
  if (pending.convention == Convention::lbt) {
    // With the final figures; their length is that of the first ones, which was promised.
    Wrapping last = wrap(pending, pending.answer_total, {});
    if (last.after.size() == wire_after_.size()) {
      wire_after_ = std::move(last.after);
    }
  }
  send(wire_after_);
  wire_after_.clear();
  wire_ = nullptr;
  remember(pending);
  release(pending);
  advance();
}

void Connection::take_abort(Pending& pending, Errc status) {
  stop_flow(pending);
  switch (pending.state) {
    case AnswerState::streaming:
      close(std::string("an answer broke off: ") + to_string(status));
      break;
    case AnswerState::dropped:
      end_dropped(pending);
      break;
    case AnswerState::awaited:
    case AnswerState::gathering:
    case AnswerState::complete:
      leave_ready(pending);
      drop_buffer(pending);
      fail(pending, status);
      break;
  }
}

/// The client gets an error now, or nothing if that is empty; what still comes is swallowed by the
/// node, which therefore leaves its place in the order of answers to another one.
void Connection::drop_rest(Pending& pending, std::string_view error) {
  drop_buffer(pending);
  if (pending.broadcast != nullptr) {
    pending.state = AnswerState::dropped;  // its row waits: its servant is not done yet
    return;
  }
  if (pending.silent) {
    remember(pending);
    unordered_.remove(pending);
  } else {
    leave_ready(pending);
    Pending& place = context_.pendings.take();
    const std::uint64_t id = place.id;
    std::vector<std::byte> quoted = std::move(pending.quoted);
    pending.quoted.clear();
    place = pending;  // without its buffer, which was given back
    place.id = id;
    place.quoted = std::move(quoted);
    pending.list->replace(pending, place);
    pending.counted = false;
    place.status = Errc::too_large;
    place.state = AnswerState::awaited;
    ++pending_count_;
    answer_error(place, error);
  }
  --pending_count_;
  pending.state = AnswerState::dropped;
  dropped_.add(pending);
  advance();
}

/// All of it was swallowed.
void Connection::end_dropped(Pending& pending) {
  if (pending.broadcast != nullptr) {
    end_part(pending, {.result = {}, .servant_info = {}, .error = "limit"});
  } else {
    release(pending);
  }
}

/// Back to where an answer of its convention waits.
void Connection::leave_ready(Pending& pending) noexcept {
  if (pending.list == &ready_) {
    ready_.remove(pending);
    unordered_.add(pending);
  }
}

/// Half a window was taken: the data plane is told in such steps.
bool Connection::owes_grant() const noexcept {
  return ungranted_ != 0 && ungranted_ >= context_.link->info().window_bytes / 2;
}

/// Lets the data plane send more fragments while the client reads.
void Connection::grant() {
  if (owes_grant() && output_.waiting() <= kUnreadMax) {
    context_.link->grant(origin_, ungranted_);
    ungranted_ = 0;
  }
}

bool Connection::reads_slowly() const noexcept {
  return !closed_ && output_.waiting() > kUnreadMax && owes_grant();
}

void Connection::be_patient() {
  if (reads_slowly() && output_.waiting() <= context_.settings.max_pending_bytes) {
    context_.link->grant(origin_, ungranted_);
    ungranted_ = 0;
  }
}

}  // namespace mserve::broker
