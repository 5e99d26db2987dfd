// SPDX-License-Identifier: Apache-2.0
// Client to servant: requests that fit one frame, and what the Dispatcher decides about all of
// them.
#include <algorithm>
#include <array>

#include "data/data_plane.hpp"

namespace mserve::broker {

namespace {

constexpr int kRequestFramesPerPass = 16;  // one session cannot hold the loop
constexpr std::uint32_t kDecisionsPerPass = 64;
constexpr std::uint32_t kControlPassMask = 15;

Errc errc_of(Refusal refusal) noexcept {
  switch (refusal) {
    case Refusal::none:
      return Errc::ok;
    case Refusal::busy:
      return Errc::busy;
    case Refusal::no_servant:
      return Errc::no_servant;
    case Refusal::shutting_down:
      return Errc::shutdown;
    case Refusal::unknown_origin:
      break;
  }
  return Errc::internal;
}

Errc errc_of(FailReason reason) noexcept {
  switch (reason) {
    case FailReason::servant_died:
      return Errc::servant_died;
    case FailReason::no_servant:
      return Errc::no_servant;
    case FailReason::shutdown:
      return Errc::shutdown;
    case FailReason::queue_timeout:
      return Errc::queue_timeout;
  }
  return Errc::internal;
}

}  // namespace

shm::RequestTerms terms_of(const shm::Extensions& extensions) noexcept {
  return {extensions.deadline,  extensions.placement,    extensions.priority,
          extensions.broadcast, extensions.broadcast_to, extensions.here};
}

bool DataPlane::serve_client(Session& client) {
  bool worked = false;
  const bool look_at_control = client.is_gateway() ||
                               origins_[client.number].window_left < client.window_bytes ||
                               (pass_count_ & kControlPassMask) == 0;
  if (look_at_control && client.control.ready()) [[unlikely]] {
    if (!take_control(client)) {
      return true;
    }
    worked = true;
  }
  if (!client.origins.untold.empty()) [[unlikely]] {
    tell_gone(client);
  }
  for (int i = 0; i < kRequestFramesPerPass; ++i) {
    shm::FrameView frame;
    const Errc code = client.in.front(frame);
    if (code == Errc::empty) {
      break;
    }
    if (code != Errc::ok) [[unlikely]] {
      close(client, code, "request ring");
      return true;
    }
    if (client.is_changed(frame.header)) [[unlikely]] {
      close(client, Errc::bad_frame, "a request changed while it waited");
      return true;
    }
    const Taken taken = take_request(client, frame);
    if (taken != Taken::done) [[unlikely]] {
      if (taken == Taken::blocked && !client.waits_for_servant && client.blocked_since == 0) {
        client.blocked_since = now();
      }
      client.held = frame.header;
      return worked || taken == Taken::closed;
    }
    client.blocked_since = 0;
    client.held.frame_bytes = 0;
    client.in.release();
    worked = true;
  }
  if (worked) {
    client.active_at = now();
  }
  return worked;
}

DataPlane::Taken DataPlane::take_request(Session& client, const shm::FrameView& frame) {
  const bool is_request = frame.header.kind == shm::Kind::request;
  if (frame.header.ext_bytes == 0 && is_request && !client.is_gateway()) [[likely]] {
    return submit_whole(origins_[client.number], frame, {});
  }
  shm::Extensions extensions;
  OriginState* origin = nullptr;
  const bool meant = is_request || frame.header.kind == shm::Kind::abort;
  const Asking asking = meant && shm::parse_extensions(frame.extensions, extensions)
                            ? find_origin(client, extensions, /*opens=*/is_request, origin)
                            : Asking::lie;
  if (asking == Asking::lie) {
    close(client, Errc::bad_frame, "request kind, extension or origin");
    return Taken::closed;
  }
  if (asking == Asking::stale) {
    return Taken::done;
  }
  if (!is_request) {
    return abort_flow(*origin, frame.header.id);
  }
  return extensions.has_flow ? take_fragment(*origin, frame, extensions)
                             : submit_whole(*origin, frame, terms_of(extensions));
}

// hot: the Dispatcher's submit and decision, one record, one copy into the servant's ring.
DataPlane::Taken DataPlane::submit_whole(OriginState& origin, const shm::FrameView& frame,
                                         const shm::RequestTerms& terms) {
  Session& client = *origin.session;
  monitor_.begin_in(clock_);
  if (frame.payload.size() > whole_max_) [[unlikely]] {
    refuse(origin, frame.header.id, Errc::too_large);
    return client.attached ? Taken::done : Taken::closed;
  }
  Submit submit{.origin = origin.number,
                .route = frame.header.aux,
                .bytes = frame.payload.size(),
                .retries = retries_of(frame.header.flags, frame.payload.size())};
  set_terms(submit, terms, client);
  RequestId id;
  if (!admit(origin, submit, frame.header.id, frame.header.flags, id)) [[unlikely]] {
    return client.attached ? Taken::done : Taken::closed;
  }
  current_ = id;
  current_payload_ = frame.payload;
  (void)decide();
  // Whatever decide() did not send has to leave the client's ring.
  if (current_ && records_[id.slot].id == id) [[unlikely]] {
    queue_payload(records_[id.slot], frame.payload);
  }
  current_ = RequestId{};
  return client.attached ? Taken::done : Taken::closed;
}

/// What the request wants, but no more than the broker allows, and where the rules send it.
void DataPlane::set_terms(Submit& submit, const shm::RequestTerms& wanted,
                          const Session& from) const noexcept {
  const auto within = [](Nanos wish, Nanos most) {
    return wish == 0 ? most : std::min(wish, most);
  };
  submit.queue_timeout = within(wanted.deadline.queue_ns, options_.queue_timeout);
  submit.run_timeout = within(wanted.deadline.run_ns, options_.timeout);
  submit.priority = wanted.priority;
  // Another broker says what is left until it gives it up, wherever it is here then.
  submit.whole_timeout = wanted.here ? within(wanted.deadline.run_ns, kForever) : kForever;
  if (wanted.broadcast.count != 0 && from.is_gateway()) [[unlikely]] {
    submit.broadcast =
        static_cast<std::uint32_t>(std::min<std::uint64_t>(wanted.broadcast.count, kNone));
    submit.target = wanted.broadcast_to;
    return;
  }
  if (placement_ != nullptr) {
    submit.class_number =
        placement_->class_for({wanted.placement.function, wanted.placement.user, submit.route});
    if (wanted.here) [[unlikely]] {
      submit.class_number = placement_->here_only(submit.class_number);
    }
  }
}

bool DataPlane::admit(OriginState& origin, const Submit& submit, std::uint64_t client_id,
                      std::uint8_t flags, RequestId& id) {
  if ((flags & shm::kFlagPair) != 0 && judges_users_ && origin.session->bars_options) [[unlikely]] {
    refuse(origin, client_id, Errc::access);
    return false;
  }
  if (submit.broadcast != 0 && !meet_announced(origin)) [[unlikely]] {
    return false;
  }
  Submitted submitted = dispatcher_.on(submit, now());
  if (submitted.refusal != Refusal::none && !submit_again(origin, submit, client_id, submitted))
      [[unlikely]] {
    return false;
  }
  counters_.requests->add();
  monitor_.admitted(origin.session->number);
  id = submitted.id;
  RequestRecord& record = records_[id.slot];
  record = {.id = id,
            .client_id = client_id,
            .route = submit.route,
            .origin = origin.number,
            .origin_life = origin.life,
            .next = origin.requests_first,
            .flags = vouched_flags(*origin.session, flags),
            .repeatable = submit.retries > 0,
            .backlog = submitted.backlog,
            .submitted_at = now(),
            .bytes = submit.bytes};
  if (record.next != kNone) {
    records_[record.next].previous = id.slot;
  }
  origin.requests_first = id.slot;
  if (submit.queue_timeout != kForever || submit.run_timeout != kForever ||
      submit.priority != kPriorityNormal) [[unlikely]] {
    terms_[id.slot] = {id, submit.queue_timeout, submit.run_timeout, submit.priority, now()};
  }
  return true;
}

/// A part of a broadcast names its servant, whose attach was in the queue of commands before the
/// gateway could know of it. @return false: one of them ended who asks.
[[gnu::cold]] bool DataPlane::meet_announced(const OriginState& origin) {
  while (origin.open && links_.commands->size_approx() != 0) {
    take_commands();
  }
  std::erase_if(joining_, [this](Session* session) { return join(*session); });
  return origin.open;
}

/// What the Dispatcher refused, once more if it may know too little: a servant that was ready
/// before this was sent is announced by a command, which may still be in the queue.
[[gnu::cold]] bool DataPlane::submit_again(OriginState& origin, const Submit& submit,
                                           std::uint64_t client_id, Submitted& answer) {
  while (answer.refusal == Refusal::no_servant && submit.broadcast == 0 &&
         links_.commands->size_approx() != 0) {
    take_commands();
    if (!origin.open) {
      return false;  // one of them ended who asks
    }
    answer = dispatcher_.on(submit, now());
  }
  if (answer.refusal == Refusal::none) {
    return true;
  }
  refuse(origin, client_id, errc_of(answer.refusal));
  return false;
}

/// Of one whose payload does not lie in the client's ring, when it was decided about for the first
/// time.
void DataPlane::note_queued(RequestId id) noexcept {
  if (const RequestRecord& record = records_[id.slot];
      record.id == id && record.servant_session == kNone) {
    monitor_.queued(record, now());
  }
}

void DataPlane::queue_payload(RequestRecord& record, std::span<const std::byte> payload) {
  monitor_.queued(record, now());
  record.block = store_.take(payload.size());
  if (!record.block.empty()) {
    std::copy(payload.begin(), payload.end(), store_.bytes_of(record.block).begin());
    return;
  }
  // The store is split too finely for one more of this size: as good as full.
  const RequestRecord ended = record;
  record.abandoned = record.counted = true;
  if (record.servant_session == kNone) {
    (void)dispatcher_.on(Cancel{record.id}, now());
  } else {
    Session& servant = *sessions_[record.servant_session];
    std::erase(servant.undelivered, record.id.slot);
    finish(servant, record);
  }
  tell_end(ended, Errc::busy);
}

/// This decision, and what the Dispatcher has to say beyond it.
void DataPlane::carry_out_all(Decision decision) {
  for (std::uint32_t i = 0; i < kDecisionsPerPass; ++i) {
    if (decision.kind == Decision::Kind::dispatch) [[likely]] {
      deliver(decision);
    } else {
      carry_out(decision);
    }
    if (i + 1 == kDecisionsPerPass) [[unlikely]] {
      break;
    }
    decision = dispatcher_.next(now());
    if (decision.kind == Decision::Kind::none) [[likely]] {
      decisions_left_ = false;
      return;
    }
  }
  decisions_left_ = true;  // a death or a drain: go on next pass, others first
}

// What ends a request, or tells of one.
[[gnu::cold]] void DataPlane::carry_out(const Decision& decision) {
  switch (decision.kind) {
    case Decision::Kind::fail:
      fail(decision);
      break;
    case Decision::Kind::discard:
      discard(decision.request);
      break;
    case Decision::Kind::overrun:
      overrun(decision);
      break;
    case Decision::Kind::none:
    case Decision::Kind::more:
    case Decision::Kind::dispatch:
      break;
  }
}

void DataPlane::deliver(const Decision& decision) {
  RequestRecord& record = records_[decision.request.slot];
  Session& servant = *sessions_[decision.servant];
  record.servant_session = servant.number;
  record.dispatched_at = now();
  enter_running(servant, record);
  heat(servant);
  monitor_.dispatched(servant.number, record, dispatcher_.counters().hits);
  if (record.flow != kNone) {
    begin_stream(record.flow);
    return;
  }
  const bool in_ring = current_ == decision.request;
  if (!in_ring && record.block.empty()) [[unlikely]] {
    // Its copy could not be kept when its servant died: it cannot be repeated after all.
    fail_undelivered(servant, record, Errc::servant_died);
    return;
  }
  const std::span<const std::byte> payload =
      in_ring ? current_payload_ : store_.bytes_of(record.block);
  if (try_deliver(servant, record, payload)) [[likely]] {
    if (in_ring) {
      current_ = RequestId{};
      monitor_.end_in(clock_);
    }
    return;
  }
  servant.undelivered.push_back(decision.request.slot);
}

[[gnu::cold]] void DataPlane::fail_undelivered(Session& servant, RequestRecord& record,
                                               Errc reason) {
  const RequestRecord ended = record;
  finish(servant, record);
  tell_end(ended, reason);
}

/// @param payload  in the client's ring or in the record's block, which is given back after it.
bool DataPlane::try_deliver(Session& servant, RequestRecord& record,
                            std::span<const std::byte> payload) {
  shm::FrameHeader head;
  head.kind = shm::Kind::request;
  head.flags = record.told_flags();
  head.id = record.id.packed();
  head.aux = record.route;
  if (servant.link) [[unlikely]] {
    return try_deliver_to_link(servant, record, head, payload);
  }
  if (!shm::try_send_whole(servant.out, head, {}, payload)) [[unlikely]] {
    return false;
  }
  store_.give_back(record.block);
  if (record.repeatable) {
    record.kept = true;
    record.kept_pos = servant.out.claimed_position();
    update_retained(servant);
  }
  note_wake(servant);
  return true;
}

[[gnu::noinline]] bool DataPlane::try_deliver_to_link(Session& link, RequestRecord& record,
                                                      const shm::FrameHeader& head,
                                                      std::span<const std::byte> payload) {
  std::array<std::byte, shm::ext_bytes_of(sizeof(shm::DeadlineExt))> terms;
  if (payload.size() > link.payload_beside_terms(0)) {
    // Without them the peer would take the link's user for the one who asks, and never give up.
    fail_undelivered(link, record, Errc::too_large);
    return true;
  }
  (void)put_terms(terms.data(), record);
  if (!shm::try_send_whole(link.out, head, terms, payload)) {
    return false;
  }
  keep_copy(record, payload);
  note_wake(link);
  return true;
}

/// A link's answers come in any order, and much later than its ring is full: what is to be sent
/// again if the link is lost, or elsewhere if its peer does not run it, is kept here, not there.
/// Copies are taken only while half of the store is free, so that they are not what keeps others
/// waiting; beyond that a request cannot be sent again.
void DataPlane::keep_copy(RequestRecord& record, std::span<const std::byte> payload) {
  const std::uint64_t more = record.block.empty() ? payload.size() : 0;
  if (payload.size() > options_.retain_max || store_.used_bytes() + more > store_.capacity() / 2) {
    store_.give_back(record.block);
  } else if (record.block.empty()) {
    record.block = store_.take(payload.size());
    if (!record.block.empty()) {
      std::copy(payload.begin(), payload.end(), store_.bytes_of(record.block).begin());
    }
  }
  if (record.block.empty() && record.repeatable) {
    record.repeatable = false;
    counters_.not_repeatable->add();
  }
}

/// What a link is told of a request that it is sent now: the rest of its time, its priority, and
/// whether we know who asks.
std::byte* DataPlane::put_terms(std::byte* to, const RequestRecord& record) {
  const Terms& terms = terms_[record.id.slot];
  const bool asked = terms.id == record.id;
  // At least a nanosecond: 0 would be no limit at all.
  const auto left = [this](Nanos most, Nanos since) {
    const Nanos spent = now() - since;
    return most >= kForever / 2 ? 0 : most > spent ? most - spent : 1;
  };
  const shm::DeadlineExt deadline =
      asked ? shm::DeadlineExt{left(terms.queue_timeout, terms.queued_at),
                               left(terms.run_timeout, record.dispatched_at)}
            : shm::DeadlineExt{};
  constexpr unsigned kBoth = shm::kFlagPair | shm::kFlagVouched;
  const bool vouched = (record.flags & kBoth) == kBoth;
  const std::uint32_t small =
      (asked ? terms.priority + 1U : 0U) | (vouched ? shm::kDeadlineVouched : 0U);
  return shm::put_extension(to, shm::ExtType::deadline, small, deadline);
}

void DataPlane::deliver_waiting(Session& servant) {
  while (!servant.undelivered.empty()) {
    RequestRecord& record = records_[servant.undelivered.front()];
    const RequestId id = record.id;
    if (!try_deliver(servant, record, store_.bytes_of(record.block))) {
      return;
    }
    std::erase(servant.undelivered, id.slot);
    if (record.id == id && record.abandoned) {
      interrupt(record);
    }
  }
}

void DataPlane::leave_servant(RequestRecord& record) noexcept {
  if (record.servant_session == kNone || sessions_[record.servant_session] == nullptr) {
    return;
  }
  Session& servant = *sessions_[record.servant_session];
  leave_running(servant, record);
  std::erase(servant.undelivered, record.id.slot);
  std::erase(servant.aborts, record.id);
  std::erase(servant.interrupts, record.id);
  record.servant_session = kNone;
}

void DataPlane::fail(const Decision& decision) {
  RequestRecord& record = records_[decision.request.slot];
  const RequestRecord ended = record;
  leave_servant(record);  // a drain that expires fails what still runs
  leave_flow(record);
  release_record(record);
  tell_end(ended, errc_of(decision.reason));
}

/// Its client hears of it now; the request stays with its servant until that answers.
void DataPlane::overrun(const Decision& decision) {
  RequestRecord& record = records_[decision.request.slot];
  monitor_.overran(decision.servant);
  if (const std::uint32_t index = record.flow; index != kNone) {
    OriginState& origin = origins_[flows_[index].origin];
    cut_flow(index, Errc::timed_out);  // it is still on its way to the servant
    drop_early(origin, index);
    return;
  }
  const RequestRecord ended = record;
  record.abandoned = record.counted = true;
  Session& servant = *sessions_[decision.servant];
  const auto& undelivered = servant.undelivered;
  if (std::find(undelivered.begin(), undelivered.end(), record.id.slot) != undelivered.end() &&
      record.id != current_) {
    finish(servant, record);  // its ring had no room: it never got there
  } else {
    interrupt(record);
  }
  tell_end(ended, Errc::timed_out);
}

/// Nobody waits for this request any more: its servant may stop it, if that is wished, and a link
/// gives its place back at once. One that knows no `cancel` passes it over.
void DataPlane::interrupt(RequestRecord& record) {
  if (record.servant_session == kNone || record.interrupted || record.reply_begun ||
      record.flow != kNone || record.id == current_) {
    return;
  }
  Session& servant = *sessions_[record.servant_session];
  if (!options_.interrupt && !servant.link) {
    return;
  }
  const auto& undelivered = servant.undelivered;
  if (std::find(undelivered.begin(), undelivered.end(), record.id.slot) != undelivered.end()) {
    return;  // deliver_waiting() comes back to it
  }
  if (std::find(servant.aborts.begin(), servant.aborts.end(), record.id) != servant.aborts.end()) {
    return;  // it never got all of it
  }
  record.interrupted = true;
  counters_.interrupts->add();
  monitor_.interrupted(servant.number);
  servant.interrupts.push_back(record.id);
  send_interrupts(servant);
}

void DataPlane::send_interrupts(Session& servant) {
  while (!servant.interrupts.empty()) {
    shm::FrameHeader head;
    head.kind = shm::Kind::cancel;
    head.id = servant.interrupts.back().packed();
    if (!shm::try_send_whole(servant.out, head, {}, {})) {
      return;
    }
    note_wake(servant);
    servant.interrupts.pop_back();
  }
}

void DataPlane::discard(RequestId id) {
  RequestRecord& record = records_[id.slot];
  if (!record.counted) {
    counters_.discarded->add();
    note_end(record, Errc::cancelled, record.reply_bytes);
  }
  leave_servant(record);
  leave_flow(record);
  release_record(record);
}

}  // namespace mserve::broker
