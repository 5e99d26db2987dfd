// SPDX-License-Identifier: Apache-2.0
// Servant to client.
#include <algorithm>
#include <cstring>

#include "data/data_plane.hpp"

namespace mserve::broker {

namespace {

constexpr int kReplyFramesPerPass = 16;
/// What of a servant's flags its client gets to see.
constexpr std::uint8_t kReplyFlags = shm::kFlagOpaque | shm::kFlagPair;

/// A servant may only say that it worked or that the function failed; the rest is ours to say.
Errc servant_status(std::uint64_t aux) noexcept {
  return shm::unpack_reply(aux).status == 0 ? Errc::ok : Errc::failed;
}

bool is_error(const shm::FrameView& reply) noexcept {
  return servant_status(reply.header.aux) != Errc::ok;
}

/// What a link alone may say besides: its peer never gave the request to anybody.
bool says_never_ran(std::uint64_t aux) noexcept {
  switch (static_cast<Errc>(shm::unpack_reply(aux).status)) {
    case Errc::busy:
    case Errc::no_servant:
    case Errc::queue_timeout:
    case Errc::shutdown:
      return true;
    default:
      return false;
  }
}

}  // namespace

bool DataPlane::serve_servant(Session& servant) {
  if (!servant.undelivered.empty()) [[unlikely]] {
    deliver_waiting(servant);
  }
  if (!servant.aborts.empty()) [[unlikely]] {
    send_aborts(servant);
  }
  if (!servant.interrupts.empty()) [[unlikely]] {
    send_interrupts(servant);
  }
  bool worked = false;
  for (int i = 0; i < kReplyFramesPerPass; ++i) {
    shm::FrameView frame;
    const Errc code = servant.in.front(frame);
    if (code == Errc::empty) {
      break;
    }
    if (code != Errc::ok) [[unlikely]] {
      close(servant, code, "reply ring");
      return true;
    }
    if (servant.is_changed(frame.header)) [[unlikely]] {
      close(servant, Errc::bad_frame, "a reply changed while it waited");
      return true;
    }
    const Taken taken = frame.header.kind == shm::Kind::reply ? take_reply(servant, frame)
                                                              : abort_reply(servant, frame);
    if (taken == Taken::closed) [[unlikely]] {
      return true;
    }
    if (taken == Taken::blocked) [[unlikely]] {
      if (servant.blocked_since == 0) {
        servant.blocked_since = now();
      }
      servant.held = frame.header;
      return worked;
    }
    servant.blocked_since = 0;
    servant.held.frame_bytes = 0;
    servant.in.release();
    worked = true;
    // After the release: the servant may be given its next request now.
    (void)decide();
  }
  if (worked) {
    servant.active_at = now();
  }
  if (servant.out.poisoned()) [[unlikely]] {
    close(servant, Errc::cursor_out_of_range, "request ring of a servant");
  }
  return worked;
}

RequestRecord* DataPlane::running_record(const Session& servant, std::uint64_t id) noexcept {
  const RequestId wanted = RequestId::unpack(id);
  if (wanted.slot >= records_.size()) {
    return nullptr;
  }
  RequestRecord& record = records_[wanted.slot];
  const bool there = wanted && record.id == wanted && record.servant_session == servant.number;
  return there ? &record : nullptr;
}

DataPlane::Taken DataPlane::take_reply(Session& servant, const shm::FrameView& frame) {
  RequestRecord* const record = running_record(servant, frame.header.id);
  if (record == nullptr) [[unlikely]] {
    counters_.stale->add();
    servant.front_done = 0;  // its request may have ended while this frame was half forwarded
    return Taken::done;
  }
  if (frame.header.ext_bytes != 0) [[unlikely]] {
    shm::Extensions extensions;
    if (!shm::parse_extensions(frame.extensions, extensions)) {
      close(servant, Errc::bad_frame, "reply extension");
      return Taken::closed;
    }
    if (extensions.has_flow) {
      return take_reply_fragment(servant, *record, frame, extensions.flow);
    }
  }
  dispatcher_.prefetch_done(record->id, servant.number);
  if (record->reply_begun || frame.payload.size() > options_.max_message) [[unlikely]] {
    close(servant, Errc::bad_frame, "whole reply after fragments, or above --max-message");
    return Taken::closed;
  }
  if (is_error(frame) && servant.link && says_never_ran(frame.header.aux) &&
      send_elsewhere(servant, *record)) [[unlikely]] {
    return Taken::done;
  }
  monitor_.begin_out(clock_);
  answer(*record, frame);  // first: the client waits for it, the books do not
  monitor_.end_out(clock_);
  monitor_.answered(servant.number, *record, now(), is_error(frame));
  finish(servant, *record);
  return Taken::done;
}

/// Puts a request that the link's peer did not run back into the queue, for somebody else.
/// @return false: what the peer says is its answer.
[[gnu::cold]] bool DataPlane::send_elsewhere(Session& link, RequestRecord& record) {
  const bool wanted = origin_of(record) != nullptr && !record.abandoned;
  if (!wanted || record.block.empty() || !dispatcher_.on(NotRun{record.id, link.number}, now())) {
    return false;
  }
  leave_servant(record);
  monitor_.sent_back(link.number);
  monitor_.queued(record, now());
  return true;
}

void DataPlane::finish(Session& servant, RequestRecord& record) {
  (void)dispatcher_.on(Done{record.id, servant.number}, now());
  const std::uint32_t slot = record.id.slot;
  leave_running(servant, record);
  if (!servant.aborts.empty()) [[unlikely]] {
    std::erase(servant.aborts, record.id);
  }
  if (!servant.interrupts.empty()) [[unlikely]] {
    std::erase(servant.interrupts, record.id);
  }
  if (!servant.undelivered.empty()) [[unlikely]] {
    std::erase(servant.undelivered, slot);
  }
  if (record.flow != kNone) [[unlikely]] {
    leave_flow(record);  // answered before it was sent whole
  }
  const bool kept = record.kept;
  release_record(record);
  if (kept) {
    update_retained(servant);
  }
}

void DataPlane::update_retained(Session& servant) noexcept {
  bool any = false;
  std::uint64_t oldest = 0;
  for (const std::uint32_t slot : servant.running) {
    const RequestRecord& record = records_[slot];
    if (record.kept) {
      // Cursors only grow: the distance to the producer's tells which is older, wrap or not.
      const std::uint64_t here = servant.out.position() - record.kept_pos;
      if (!any || here > servant.out.position() - oldest) {
        oldest = record.kept_pos;
      }
      any = true;
    }
  }
  if (any) {
    servant.out.retain(oldest);
  } else {
    servant.out.retain_nothing();
  }
}

shm::InfoExt DataPlane::info_of(const RequestRecord& record) {
  shm::InfoExt info;
  info.elapsed_ns = now() - record.submitted_at;
  info.execution_ns = now() - record.dispatched_at;
  info.backlog = record.backlog;
  info.remaining = dispatcher_.queued() + dispatcher_.running() - 1;  // this one is still running
  if (record.servant_session != kNone && sessions_[record.servant_session] != nullptr) {
    const std::string& name = sessions_[record.servant_session]->name;
    std::memcpy(info.servant, name.data(), std::min(name.size(), sizeof(info.servant) - 1));
  }
  return info;
}

void DataPlane::answer(RequestRecord& record, const shm::FrameView& reply) {
  OriginState* const origin = origin_of(record);
  if (origin == nullptr || record.abandoned) [[unlikely]] {
    count_unwanted(record);
    return;
  }
  count_reply(*origin);
  shm::FrameHeader head;
  head.kind = shm::Kind::reply;
  head.flags = reply.header.flags & kReplyFlags;
  head.id = record.client_id;
  head.aux = shm::pack(shm::ReplyAux{record.servant_session + 1,
                                     static_cast<std::uint16_t>(servant_status(reply.header.aux))});
  if ((record.flags & shm::kFlagWantInfo) != 0) {
    const shm::InfoExt info = info_of(record);
    send_or_keep(*origin, head, &info, reply.payload);
  } else if (!send_now(*origin, head, {}, reply.payload)) [[unlikely]] {
    keep_or_split(*origin, head, nullptr, reply.payload);
  }
  note_end(record, servant_status(reply.header.aux), reply.payload.size());
}

DataPlane::Taken DataPlane::take_reply_fragment(Session& servant, RequestRecord& record,
                                                const shm::FrameView& frame,
                                                const shm::FlowExt& flow) {
  const bool first = !record.reply_begun;
  const bool fits = !frame.payload.empty() && flow.offset == (first ? 0 : record.reply_bytes) &&
                    flow.total_bytes <= options_.max_message &&
                    (first || flow.total_bytes == record.reply_total) &&
                    frame.payload.size() <= flow.total_bytes - flow.offset;
  if (!fits) {
    close(servant, Errc::bad_frame, "reply fragments out of order or too many");
    return Taken::closed;
  }
  if (first) {
    (void)dispatcher_.on(ReplyBegan{record.id, servant.number}, now());
    record.reply_begun = true;
    record.reply_total = flow.total_bytes;
    record.reply_moved_at = now();
  }
  const Taken taken = forward_fragment(servant, record, frame, flow);
  if (taken != Taken::done) {
    return taken;
  }
  record.reply_bytes += frame.payload.size();
  record.reply_moved_at = now();
  servant.front_done = 0;
  if (record.reply_bytes == record.reply_total) {
    if (const OriginState* const origin = origin_of(record);
        origin != nullptr && !record.abandoned) {
      count_reply(*origin);
      note_end(record, servant_status(frame.header.aux), record.reply_total);
    } else {
      count_unwanted(record);
    }
    monitor_.answered(servant.number, record, now(), is_error(frame));
    finish(servant, record);
  }
  return Taken::done;
}

DataPlane::Taken DataPlane::forward_fragment(Session& servant, RequestRecord& record,
                                             const shm::FrameView& frame,
                                             const shm::FlowExt& flow) {
  shm::FrameHeader head;
  head.kind = shm::Kind::reply;
  head.flags = frame.header.flags & kReplyFlags;
  head.id = record.client_id;
  head.aux = shm::pack(shm::ReplyAux{servant.number + 1,
                                     static_cast<std::uint16_t>(servant_status(frame.header.aux))});
  const bool want_info = (record.flags & shm::kFlagWantInfo) != 0;
  const shm::InfoExt info = want_info ? info_of(record) : shm::InfoExt{};
  while (servant.front_done < frame.payload.size()) {
    OriginState* const origin = origin_of(record);
    if (origin == nullptr || record.abandoned) {
      break;  // nobody waits for it: swallow it
    }
    std::uint64_t sent = 0;
    if (!send_piece(*origin, head, want_info ? &info : nullptr, flow.offset + servant.front_done,
                    flow.total_bytes, frame.payload.subspan(servant.front_done), sent)) {
      if (origin->session->out.poisoned()) {
        close(*origin->session, Errc::cursor_out_of_range, "reply ring");
        continue;
      }
      return Taken::blocked;
    }
    servant.front_done += sent;
    servant.blocked_since = 0;
  }
  return Taken::done;
}

DataPlane::Taken DataPlane::abort_reply(Session& servant, const shm::FrameView& frame) {
  if (frame.header.kind != shm::Kind::abort) {
    close(servant, Errc::bad_frame, "kind of frame");
    return Taken::closed;
  }
  RequestRecord* const record = running_record(servant, frame.header.id);
  if (record == nullptr) {
    counters_.stale->add();
    return Taken::done;
  }
  const RequestRecord ended = *record;
  servant.front_done = 0;
  finish(servant, *record);
  tell_end(ended, Errc::servant_died);
  return Taken::done;
}

/// Of a request that ended without an answer: its client is told, or, when nobody waits any more,
/// it is counted, so that each request is found in one counter.
/// @param ended  as it was before that.
void DataPlane::tell_end(const RequestRecord& ended, Errc code) {
  OriginState* const origin = origin_of(ended);
  if (origin != nullptr && !ended.abandoned) {
    note_end(ended, code, ended.reply_bytes);
    const std::uint32_t servant = ended.servant_session != kNone ? ended.servant_session + 1 : 0;
    answer_status(*origin, ended.client_id, code, ended.reply_begun, servant);
  } else if (!ended.counted) {
    counters_.discarded->add();
    note_end(ended, Errc::cancelled, ended.reply_bytes);
  }
}

/// Its answer came, and nobody waits for it: it ends hereby, or ended long ago.
void DataPlane::count_unwanted(const RequestRecord& record) noexcept {
  (record.counted ? counters_.stale : counters_.discarded)->add();
  if (!record.counted) {
    note_end(record, Errc::cancelled, record.reply_bytes);
  }
}

void DataPlane::count_reply(const OriginState& origin) noexcept {
  counters_.replies->add();
  monitor_.replied(origin.session->number);
}

/// Of what was not accepted: answered at once, and in no other counter.
[[gnu::cold]] void DataPlane::refuse(OriginState& origin, std::uint64_t client_id, Errc code) {
  counters_.refused->add();
  send_status(origin, client_id, code, /*reply_begun=*/false);
}

/// Of what was accepted.
/// @param servant  as ReplyAux has it
void DataPlane::answer_status(OriginState& origin, std::uint64_t client_id, Errc code,
                              bool reply_begun, std::uint32_t servant) {
  counters_.errors->add();
  send_status(origin, client_id, code, reply_begun, servant);
}

void DataPlane::send_status(OriginState& origin, std::uint64_t client_id, Errc code,
                            bool reply_begun, std::uint32_t servant) {
  monitor_.refused(origin.session->number);
  shm::FrameHeader head;
  head.kind = reply_begun ? shm::Kind::abort : shm::Kind::reply;
  head.id = client_id;
  head.aux = reply_begun ? static_cast<std::uint64_t>(code)
                         : shm::pack(shm::ReplyAux{servant, static_cast<std::uint16_t>(code)});
  send_or_keep(origin, head, nullptr, {});
}

}  // namespace mserve::broker
