// SPDX-License-Identifier: Apache-2.0
// Answers that are whole: wrapped as their convention wants it, and sent when it is their turn.
#include <algorithm>
#include <cstring>
#include <limits>

#include "gateway/connection.hpp"
#include "mserve/kdb/codec.hpp"
#include "mserve/kdb/compress.hpp"
#include "mserve/kdb/print.hpp"
#include "mserve/kdb/skip.hpp"

namespace mserve::broker {

namespace {

/// Answers above this go to links without an info. No error is that large.
constexpr std::uint64_t kLinkInfoBytesMax = 128U << 10;
static_assert(kLinkInfoBytesMax >= 2 * kErrorTextBytesMax);

/// As links are told it, which go elsewhere with what certainly did not run: a broker that goes
/// down says `shutdown` of what it never began and of what it cuts short.
Errc status_for_link(const Pending& pending) noexcept {
  return pending.status == Errc::shutdown && pending.servant != 0 ? Errc::servant_died
                                                                  : pending.status;
}

template <std::size_t N>
void copy_text(std::array<char, N>& to, std::string_view text) noexcept {
  const std::size_t bytes = std::min(text.size(), N - 1);
  std::memcpy(to.data(), text.data(), bytes);
  to[bytes] = '\0';
}

template <class T>
std::int64_t widened(std::span<const std::byte> atom) noexcept {
  T value;
  std::memcpy(&value, atom.data() + 1, sizeof(value));
  return value == std::numeric_limits<T>::min() ? kdb::kNullLong : std::int64_t{value};
}

/// The number in a client's id: an encoded atom, a byte to a long, which the conventions checked.
std::int64_t integer_in(std::span<const std::byte> atom) noexcept {
  switch (atom.size() - 1) {
    case sizeof(std::int16_t):
      return widened<std::int16_t>(atom);
    case sizeof(std::int32_t):
      return widened<std::int32_t>(atom);
    case sizeof(std::int64_t):
      return widened<std::int64_t>(atom);
    default:
      return std::to_integer<std::int64_t>(atom[atom.size() - 1]);
  }
}

}  // namespace

void Connection::on_answer(Pending& pending, const LinkEvent& event) {
  if (pending.state == AnswerState::complete) [[unlikely]] {
    return;  // a second answer
  }
  switch (event.kind) {
    case LinkEvent::Kind::reply:
      take_reply(pending, event);
      break;
    case LinkEvent::Kind::fragment:
      take_fragment(pending, event);
      break;
    case LinkEvent::Kind::aborted:
      take_abort(pending, event.status);
      break;
    case LinkEvent::Kind::window:
    case LinkEvent::Kind::gone:
      return;
  }
  settle();
}

void Connection::take_reply(Pending& pending, const LinkEvent& event) {
  stop_flow(pending);
  if (pending.state == AnswerState::streaming) [[unlikely]] {
    close("an answer was cut short");
    return;
  }
  if (pending.state == AnswerState::dropped) {
    end_dropped(pending);
    return;
  }
  drop_buffer(pending);
  pending.status = event.status;
  pending.servant = event.servant;
  pending.has_info = event.has_info;
  if (event.has_info) {
    pending.info = event.info;
  }
  pending.answer_bytes = event.payload.size();
  finish(pending, event.payload, event.flags);
}

/// The answer is there as a whole.
void Connection::finish(Pending& pending, std::span<const std::byte> payload, std::uint8_t flags) {
  answer(pending, outcome_of(pending, payload, flags));
}

// hot: one walk over the answer, which no servant is trusted to have made well.
Connection::Outcome Connection::outcome_of(const Pending& pending,
                                           std::span<const std::byte> payload, std::uint8_t flags) {
  Outcome outcome;
  if (pending.status != Errc::ok) {
    outcome.error = error_text(pending.status, payload);
    return outcome;
  }
  if (flags == shm::kFlagPair) {
    if (const std::optional<Pair> pair = split_pair(payload)) {
      outcome.result = pair->first;
      outcome.servant_info = pair->second;
    }
  } else if (flags == 0 && kdb::validate(payload)) {  // opaque bytes cannot be told to q
    outcome.result = payload;
  }
  if (outcome.result.empty()) {
    outcome.error = "badmsg";
  } else if (static_cast<std::int8_t>(outcome.result[0]) ==
             static_cast<std::int8_t>(kdb::Type::error)) {
    outcome.error = error_text(Errc::failed, outcome.result);
    outcome.result = {};
  }
  return outcome;
}

void Connection::fail(Pending& pending, Errc status) {
  pending.status = status;
  answer_error(pending, error_text(status, {}));
}

void Connection::answer_error(Pending& pending, std::string_view text) {
  if (pending.status == Errc::ok) {
    pending.status = Errc::failed;
  }
  answer(pending, {.result = {}, .servant_info = {}, .error = std::string(text)});
}

void Connection::answer(Pending& pending, const Outcome& outcome) {
  if (pending.broadcast != nullptr) [[unlikely]] {
    end_part(pending, outcome);
    return;
  }
  remember(pending);
  if (pending.silent) {
    release(pending);
    advance();  // a flush may have waited for it
    return;
  }
  if (mode_ == Mode::console) {
    answer_console(outcome);
    release(pending);
    return;
  }
  if (outcome.result.empty()) {
    put_error(pending, outcome.error);
    return;
  }
  const Wrapping wrapping = wrap(pending, outcome.result.size(), outcome.servant_info);
  if (too_long(wrapping.message_bytes)) [[unlikely]] {
    put_error(pending, "limit");
    return;
  }
  put(pending, wrapping, outcome.result);
}

void Connection::put_error(Pending& pending, std::string_view text) {
  std::vector<std::byte> error;
  if (pending.convention == Convention::sync) {
    error = error_object(text);
  } else if (pending.convention == Convention::aw && !pending.refused) {
    const std::span<const std::byte> symbol = error_symbol_object();
    error.assign(symbol.begin(), symbol.end());
  } else {
    error = error_text_object(text);
  }
  put(pending, wrap(pending, error.size(), {}), error);
}

/// Whether the client's capability does not allow a message of this size.
bool Connection::too_long(std::uint64_t message_bytes) const noexcept {
  return message_bytes >
         (capability_ < kCapabilityLarge ? kdb::kMessageBytesMaxSmall : kdb::kMessageBytesMax);
}

/// If it is answered now. Data plane and gateway look at their clocks at different moments: it is
/// no less than what the servant took.
std::uint64_t Connection::elapsed_ns_of(const Pending& pending) const noexcept {
  const std::uint64_t execution_ns = pending.has_info ? pending.info.execution_ns : 0;
  return std::max(context_.now_ns - pending.begun_ns, execution_ns);
}

/// If it is answered now.
Stamps Connection::stamps_of(const Pending& pending) const noexcept {
  const std::int64_t now = timestamp_now();
  const std::uint64_t execution_ns = pending.has_info ? pending.info.execution_ns : 0;
  return {now - static_cast<std::int64_t>(elapsed_ns_of(pending)),
          pending.has_info ? now - static_cast<std::int64_t>(execution_ns) : kdb::kNullLong, now};
}

Wrapping Connection::wrap(const Pending& pending, std::uint64_t result_bytes,
                          std::span<const std::byte> servant_info) const {
  switch (pending.convention) {
    case Convention::lbt: {
      // So that a link can stream what is large: a whole (id; result; info) must be held to be
      // split.
      if (beats() && result_bytes > kLinkInfoBytesMax) {
        return wrap_bare(pending.client_id(), result_bytes);
      }
      shm::InfoExt info = pending.info;
      if (!pending.has_info) {  // the broker's own answers carry none
        info.elapsed_ns = elapsed_ns_of(pending);
      }
      const Stamps stamps = pending.stamps ? stamps_of(pending) : Stamps{};
      return wrap_lbt(
          pending.client_id(),
          info_object(info, pending.route_text, servant_info, pending.stamps ? &stamps : nullptr,
                      beats() ? std::optional(status_for_link(pending)) : std::nullopt),
          result_bytes);
    }
    case Convention::np:
      return wrap_np(pending.callback(), pending.qid, pending.query(), result_bytes);
    case Convention::aw:
      return wrap_aw(result_bytes);
    case Convention::sync:
    case Convention::flush:
    case Convention::ignored:
    case Convention::refused:
      break;
  }
  return wrap_sync(result_bytes);
}

bool Connection::its_turn(const Pending& pending) const noexcept {
  return wire_ == nullptr && ready_.first() == nullptr &&
         (pending.list != &ordered_ || ordered_.first() == &pending);
}

/// Sends a whole answer now or keeps it until its turn comes.
void Connection::put(Pending& pending, const Wrapping& wrapping,
                     std::span<const std::byte> result) {
  if (its_turn(pending)) [[likely]] {
    transmit(wrapping, result);
    release(pending);
    advance();
  } else {
    keep(pending, wrapping, result);
  }
}

bool Connection::may_compress(std::uint64_t message_bytes) const noexcept {
  return peer_.remote && capability_ >= 1 && message_bytes > kdb::kCompressAboveBytes &&
         message_bytes <= context_.settings.gather_max;
}

// hot: one system call, straight from the ring.
void Connection::transmit(const Wrapping& wrapping, std::span<const std::byte> result) {
  if (!may_compress(wrapping.message_bytes)) [[likely]] {
    context_.counters.answers->add();
    send(wrapping.before.span(), result, wrapping.after);
    return;
  }
  std::vector<std::byte>& message = context_.message;
  message.clear();
  for (const std::span<const std::byte> part :
       {wrapping.before.span(), result, std::span<const std::byte>(wrapping.after)}) {
    message.insert(message.end(), part.begin(), part.end());
  }
  transmit(message);
}

void Connection::transmit(std::span<const std::byte> message) {
  context_.counters.answers->add();
  if (may_compress(message.size())) {
    if (const auto compressed = kdb::compress(message)) {
      send(*compressed);
      return;
    }
  }
  send(message);
}

void Connection::keep(Pending& pending, const Wrapping& wrapping,
                      std::span<const std::byte> result) {
  // `result` may lie in the buffer that is replaced here.
  std::vector<std::byte> message = context_.buffers.take();
  message.reserve(static_cast<std::size_t>(wrapping.message_bytes));
  for (const std::span<const std::byte> part :
       {wrapping.before.span(), result, std::span<const std::byte>(wrapping.after)}) {
    message.insert(message.end(), part.begin(), part.end());
  }
  drop_buffer(pending);
  if (kept_bytes_ + message.size() > kept_bytes_max() && pending.status != Errc::too_large) {
    context_.buffers.give_back(message);
    pending.status = Errc::too_large;
    put_error(pending, "limit");
    return;
  }
  pending.answer = std::move(message);
  kept_bytes_ += pending.answer.size();
  pending.state = AnswerState::complete;
  if (pending.list == &unordered_) {
    unordered_.remove(pending);
    ready_.add(pending);
  }
}

/// Answers of one connection that are kept here, waiting for earlier ones, the rest of them, or the
/// wire.
std::uint64_t Connection::kept_bytes_max() const noexcept {
  return std::max(context_.settings.max_pending_bytes, context_.settings.max_gathered);
}

/// Sends what may go now that something before it has gone.
void Connection::advance() {
  while (wire_ == nullptr && !closed_) {
    Pending* const ready = ready_.first();
    Pending* const next = ready != nullptr ? ready : ordered_.first();
    if (next == nullptr) {
      return;
    }
    if (next->convention == Convention::flush) {
      const Pending* const oldest = unordered_.first();
      if (oldest != nullptr && oldest->sequence < next->sequence) {
        return;
      }
      context_.counters.answers->add();
      send(flush_answer());
      release(*next);
    } else if (next->state == AnswerState::complete) {
      transmit(next->answer);
      release(*next);
    } else if (next->state == AnswerState::gathering && next->streamable) {
      put_on_wire(*next);
    } else {
      return;
    }
  }
}

void Connection::answer_console(const Outcome& outcome) {
  std::string text;
  if (!outcome.error.empty()) {
    text = kdb::show(kdb::Value::error(outcome.error));
  } else if (const auto value = kdb::decode(outcome.result)) {
    text = kdb::show(*value);
  }
  context_.counters.answers->add();
  send(std::as_bytes(std::span(text)));
}

/// One line of .mserve.queries[]; only for what went through the data plane.
void Connection::remember(const Pending& pending) {
  if (pending.request_bytes == 0) {
    return;
  }
  QueryRecord& record = context_.queries.add(context_.now_ns);
  record.qid = pending.qid;
  record.time = timestamp_now();
  record.request_bytes = pending.request_bytes;
  record.answer_bytes = pending.answer_bytes;
  record.elapsed_ns = elapsed_ns_of(pending);
  if (pending.has_info) {
    record.execution_ns = pending.info.execution_ns;
    record.backlog =
        static_cast<std::int32_t>(std::min<std::uint32_t>(pending.info.backlog, INT32_MAX));
  }
  record.client_qid = pending.id_size != 0 ? integer_in(pending.client_id()) : kdb::kNullLong;
  record.options = pending.options_head;
  record.options_bytes = pending.options_bytes;
  record.handle = origin_.index;
  record.servant = pending.servant;
  record.convention = pending.convention;
  record.status = pending.status;
  copy_text(record.user, user_);
  copy_text(record.route, pending.route_text);
  record.query = pending.query_head;
}

void Connection::drop_buffer(Pending& pending) {
  kept_bytes_ -= pending.answer.size();
  context_.buffers.give_back(pending.answer);
}

/// The message has its answer: its node is free for another one.
void Connection::release(Pending& pending) {
  drop_buffer(pending);
  kept_bytes_ -= pending.quoted.size();
  context_.buffers.give_back(pending.quoted);
  pending_count_ -= pending.list != &dropped_ ? 1U : 0U;
  sync_count_ -= pending.counted ? 1U : 0U;
  if (pending.list != nullptr) {
    pending.list->remove(pending);
  }
  context_.pendings.give_back(pending);
  context_.counters.pending->set(context_.pendings.used());
}

}  // namespace mserve::broker
