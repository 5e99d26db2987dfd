// SPDX-License-Identifier: Apache-2.0
// Requests that arrive in fragments: gathered when they are small enough to be one frame for the
// servant, else passed on fragment by fragment once a servant is reserved (cut-through).
#include <algorithm>
#include <array>
#include <utility>

#include "data/data_plane.hpp"

namespace mserve::broker {

DataPlane::Taken DataPlane::take_fragment(OriginState& origin, const shm::FrameView& frame,
                                          const shm::Extensions& extensions) {
  const shm::FlowExt& flow = extensions.flow;
  Session& client = *origin.session;
  std::uint32_t index = origin.flows_first;
  while (index != kNone && flows_[index].client_id != frame.header.id) {
    index = flows_[index].next;
  }
  const bool first = index == kNone;
  if (first && flow.offset != 0 && client.is_gateway()) {
    return Taken::done;  // of a request that ended before its sender knew
  }
  const std::uint64_t offset = first ? 0 : flows_[index].offset;
  const std::uint64_t total = first ? flow.total_bytes : flows_[index].total_bytes;
  const std::uint32_t flows_max = client.is_gateway() ? 1 : kFlowsPerClient;
  const bool granted =
      first || !client.is_gateway() || frame.payload.size() <= flows_[index].granted - offset;
  if (flow.offset != offset || flow.total_bytes != total || frame.payload.empty() ||
      frame.payload.size() > total - offset || (first && origin.flow_count >= flows_max) ||
      !granted || frame.payload.size() > whole_max_) {
    close(client, Errc::bad_frame, "request fragments out of order");
    return Taken::closed;
  }
  if (first) {
    index = begin_flow(origin, frame, extensions);
    if (!origin.open) {
      return client.attached ? Taken::done : Taken::closed;
    }
    if (client.is_gateway() && flows_[index].state != RequestFlow::State::gathering) {
      return Taken::done;  // kept, or refused
    }
  }
  counters_.fragments_in->add();
  switch (flows_[index].state) {
    case RequestFlow::State::gathering:
      return gather(origin, index, frame);
    case RequestFlow::State::streaming:
      return stream(origin, index, frame);
    case RequestFlow::State::waiting:
      client.waits_for_servant = true;
      return Taken::blocked;
    case RequestFlow::State::discarding:
      return skip_fragment(origin, index, frame);
    case RequestFlow::State::free:
      break;
  }
  return Taken::done;
}

std::uint32_t DataPlane::begin_flow(OriginState& origin, const shm::FrameView& frame,
                                    const shm::Extensions& extensions) {
  const shm::FlowExt& ext = extensions.flow;
  Session& client = *origin.session;
  const std::uint32_t index = flows_.take();  // never runs dry: a share for every origin
  RequestFlow& flow = flows_[index];
  flow.origin = origin.number;
  flow.client_id = frame.header.id;
  flow.flags = frame.header.flags;
  flow.route = frame.header.aux;
  flow.total_bytes = ext.total_bytes;
  flow.terms = terms_of(extensions);
  flow.moved_at = now();
  flow.next = origin.flows_first;
  origin.flows_first = index;
  ++origin.flow_count;
  client.flows.push_back(index);
  flow.state = RequestFlow::State::discarding;
  Errc refused = Errc::ok;
  if (ext.total_bytes > options_.max_message) {
    refused = Errc::too_large;
  } else if (ext.total_bytes <= gather_limit_ && !client.is_gateway()) {
    flow.block = store_.take(ext.total_bytes);
    flow.granted = flow.total_bytes;
    refused = flow.block.empty() ? Errc::busy : Errc::ok;
    flow.state = refused == Errc::ok ? RequestFlow::State::gathering : flow.state;
  } else if (client.is_gateway() && !keep_first_fragment(flow, frame.payload)) {
    refused = Errc::busy;
  } else {
    submit_flow(origin, index);
    return index;
  }
  if (refused != Errc::ok) {
    refuse(origin, flow.client_id, refused);
    drop_early(origin, index);
  }
  return index;
}

/// A gateway's ring is everybody's: the first fragment leaves it at once, the others come when
/// asked.
bool DataPlane::keep_first_fragment(RequestFlow& flow, std::span<const std::byte> payload) {
  flow.block = store_.take(payload.size());
  if (flow.block.empty()) {
    return false;
  }
  std::copy(payload.begin(), payload.end(), store_.bytes_of(flow.block).begin());
  flow.offset = flow.granted = payload.size();
  return true;
}

void DataPlane::submit_flow(OriginState& origin, std::uint32_t index) {
  RequestFlow& flow = flows_[index];
  Submit submit{.origin = origin.number,
                .route = flow.route,
                .bytes = flow.total_bytes,
                .retries = 0,
                .flow = true};
  set_terms(submit, flow.terms, *origin.session);
  RequestId id;
  if (!admit(origin, submit, flow.client_id, flow.flags, id)) {
    drop_early(origin, index);
    return;
  }
  flow.state = RequestFlow::State::waiting;
  flow.request = id;
  records_[id.slot].flow = index;
  (void)decide();
  note_queued(id);
}

/// The request of a flow is over before the flow is. A client's further fragments are still to be
/// swallowed; a gateway sends none.
void DataPlane::drop_early(OriginState& origin, std::uint32_t index) noexcept {
  if (origin.open && origin.session->is_gateway()) {
    end_flow(index);
  }
}

/// The same, seen from its record.
void DataPlane::leave_flow(RequestRecord& record) noexcept {
  if (record.flow == kNone) {
    return;
  }
  const std::uint32_t index = std::exchange(record.flow, kNone);
  RequestFlow& flow = flows_[index];
  flow.state = RequestFlow::State::discarding;
  flow.request = RequestId{};
  store_.give_back(flow.block);
  if (OriginState* const origin = origin_of(record)) {
    origin->session->waits_for_servant = false;
    drop_early(*origin, index);
  }
}

/// A servant is reserved: what comes is passed on from here.
void DataPlane::begin_stream(std::uint32_t index) {
  RequestFlow& flow = flows_[index];
  flow.state = RequestFlow::State::streaming;
  flow.moved_at = now();
  Session& client = *origins_[flow.origin].session;
  client.waits_for_servant = false;
  if (client.is_gateway()) {
    granting_.push_back(index);
  }
}

/// Of the flows of gateways: passes the first fragment on and asks for more as the servant reads.
bool DataPlane::grant_flows() {
  bool worked = false;
  for (std::size_t i = granting_.size(); i > 0; --i) {
    if (!pass_on_first(granting_[i - 1], worked)) {
      continue;
    }
    RequestFlow& flow = flows_[granting_[i - 1]];
    worked |= flow.granted < flow.total_bytes && grant(flow);
    if (flow.granted == flow.total_bytes) {
      RequestRecord& record = records_[flow.request.slot];
      const std::uint32_t index = granting_[i - 1];
      granting_[i - 1] = granting_.back();
      granting_.pop_back();
      if (flow.offset == flow.total_bytes) {
        record.flow = kNone;
        end_flow(index);  // a single fragment was all of it
      }
    }
  }
  return worked;
}

/// @return true once the first fragment is with the servant.
bool DataPlane::pass_on_first(std::uint32_t index, bool& worked) {
  RequestFlow& flow = flows_[index];
  const RequestRecord& record = records_[flow.request.slot];
  if (record.servant_session == kNone) {
    return false;  // its servant just died; the decision about it is on its way
  }
  if (flow.block.empty()) {
    return true;
  }
  if (!pass_on(*sessions_[record.servant_session], record, flow, 0, store_.bytes_of(flow.block))) {
    return false;
  }
  store_.give_back(flow.block);
  flow.moved_at = now();
  worked = true;
  return true;
}

bool DataPlane::grant(RequestFlow& flow) {
  const RequestRecord& record = records_[flow.request.slot];
  Session& servant = *sessions_[record.servant_session];
  // What was asked for and what the servant has not read yet stay below half of its ring, so that
  // what comes is never held up in the gateway's.
  const std::uint64_t half = servant.out.capacity() / 2;
  const std::uint64_t under_way = flow.granted - flow.offset + servant.out.unread();
  if (under_way > half / 2) {
    return false;
  }
  Session& gateway = *origins_[flow.origin].session;
  const std::uint64_t more = std::min(half - under_way, flow.total_bytes - flow.granted);
  shm::FrameHeader head;
  head.kind = shm::Kind::window;
  head.id = flow.client_id;
  head.aux = more;
  if (!shm::try_send_whole(gateway.out, head, {}, {})) {
    return false;
  }
  note_wake(gateway);
  flow.granted += more;
  flow.moved_at = now();
  return true;
}

/// Passes on what the servant has not got yet of one fragment, which begins at `offset`.
/// @return false: its ring has no room for all of it now.
bool DataPlane::pass_on(Session& servant, const RequestRecord& record, RequestFlow& flow,
                        std::uint64_t offset, std::span<const std::byte> payload) {
  while (flow.front_done < payload.size()) {
    const std::uint64_t sent = pass_piece(servant, record, offset + flow.front_done,
                                          flow.total_bytes, payload.subspan(flow.front_done));
    if (sent == 0) {
      return false;
    }
    flow.front_done += sent;
  }
  flow.front_done = 0;
  return true;
}

/// A link is told the terms with the first fragment, and once more with the last one, since time
/// went by: it may have gathered the request. Where a fragment leaves no room for them beside it,
/// its end goes as one of its own.
/// @return how much of the payload went; 0: no room.
std::uint64_t DataPlane::pass_piece(Session& servant, const RequestRecord& record,
                                    std::uint64_t offset, std::uint64_t total,
                                    std::span<const std::byte> payload) {
  shm::FrameHeader head;
  head.kind = shm::Kind::request;
  head.flags = record.told_flags();
  head.id = record.id.packed();
  head.aux = record.route;
  constexpr std::size_t kFlowBytes = shm::ext_bytes_of(sizeof(shm::FlowExt));
  std::array<std::byte, kFlowBytes + shm::ext_bytes_of(sizeof(shm::DeadlineExt))> extensions;
  std::byte* end =
      shm::put_extension(extensions.data(), shm::ExtType::flow, 0, shm::FlowExt{offset, total});
  const auto is_last = [&] { return offset + payload.size() == total; };
  if (servant.link && (offset == 0 || is_last())) [[unlikely]] {
    payload = payload.first(
        std::min<std::size_t>(payload.size(), servant.payload_beside_terms(kFlowBytes)));
    if (offset == 0 || is_last()) {
      end = put_terms(end, record);
    }
  }
  if (!shm::try_send_whole(servant.out, head, {extensions.data(), end}, payload)) {
    return 0;
  }
  note_wake(servant);
  return payload.size();
}

DataPlane::Taken DataPlane::gather(OriginState& origin, std::uint32_t index,
                                   const shm::FrameView& frame) {
  Session& client = *origin.session;
  RequestFlow& flow = flows_[index];
  std::copy(frame.payload.begin(), frame.payload.end(),
            store_.bytes_of(flow.block).begin() + static_cast<std::ptrdiff_t>(flow.offset));
  flow.offset += frame.payload.size();
  flow.moved_at = now();
  if (flow.offset < flow.total_bytes) {
    return Taken::done;
  }
  Submit submit{.origin = origin.number,
                .route = flow.route,
                .bytes = flow.total_bytes,
                .retries = retries_of(flow.flags, flow.total_bytes)};
  set_terms(submit, flow.terms, *origin.session);
  const std::uint64_t client_id = flow.client_id;
  const std::uint8_t flags = flow.flags;
  PayloadStore::Block block = flow.block;
  flow.block = PayloadStore::Block{};
  end_flow(index);
  RequestId id;
  if (admit(origin, submit, client_id, flags, id)) {
    records_[id.slot].block = block;
    (void)decide();
    note_queued(id);
  } else {
    store_.give_back(block);
  }
  return client.attached ? Taken::done : Taken::closed;
}

DataPlane::Taken DataPlane::stream(OriginState& origin, std::uint32_t index,
                                   const shm::FrameView& frame) {
  RequestFlow& flow = flows_[index];
  RequestRecord& record = records_[flow.request.slot];
  if (record.servant_session == kNone) {
    return Taken::blocked;  // its servant just died; the decision about it is on its way
  }
  if (!pass_on(*sessions_[record.servant_session], record, flow, flow.offset, frame.payload)) {
    return Taken::blocked;
  }
  origin.session->active_at = flow.moved_at = now();
  flow.offset += frame.payload.size();
  if (flow.offset == flow.total_bytes) {
    record.flow = kNone;
    end_flow(index);
  }
  return Taken::done;
}

DataPlane::Taken DataPlane::skip_fragment(OriginState& origin, std::uint32_t index,
                                          const shm::FrameView& frame) {
  RequestFlow& flow = flows_[index];
  origin.session->active_at = flow.moved_at = now();
  flow.offset += frame.payload.size();
  if (flow.offset == flow.total_bytes) {
    end_flow(index);
  }
  return Taken::done;
}

DataPlane::Taken DataPlane::abort_flow(OriginState& origin, std::uint64_t client_id) {
  Session& client = *origin.session;
  for (std::uint32_t index = origin.flows_first; index != kNone; index = flows_[index].next) {
    if (flows_[index].client_id == client_id) {
      cut_flow(index, Errc::cancelled);
      if (origin.open) {
        end_flow(index);
      }
      (void)decide();
      break;
    }
  }
  return client.attached ? Taken::done : Taken::closed;
}

/// Ends the request of a flow with `code`; the node stays, to swallow fragments still to come.
void DataPlane::cut_flow(std::uint32_t index, Errc code) {
  RequestFlow& flow = flows_[index];
  const RequestFlow::State was = flow.state;
  const RequestId id = flow.request;
  bool reply_begun = false;
  bool wanted = was != RequestFlow::State::discarding && code != Errc::disconnected;
  flow.state = RequestFlow::State::discarding;
  flow.request = RequestId{};
  store_.give_back(flow.block);
  if (was == RequestFlow::State::waiting) {
    RequestRecord& record = records_[id.slot];
    record.flow = kNone;
    record.abandoned = true;
    record.counted = code != Errc::disconnected;  // else as `discard` decides
    if (record.counted) {
      note_end(record, code, 0);
    }
    (void)dispatcher_.on(Cancel{id}, now());
    origins_[flow.origin].session->waits_for_servant = false;
  } else if (was == RequestFlow::State::streaming) {
    RequestRecord& record = records_[id.slot];
    record.flow = kNone;
    wanted = wanted && !record.abandoned;
    reply_begun = record.reply_begun;
    if (wanted) {
      note_end(record, code, record.reply_bytes);
    } else if (!record.counted) {
      counters_.discarded->add();
      note_end(record, Errc::cancelled, record.reply_bytes);
    }
    record.abandoned = record.counted = true;
    if (record.servant_session != kNone) {
      Session& servant = *sessions_[record.servant_session];
      servant.aborts.push_back(id);
      send_aborts(servant);
    }
  }
  if (wanted && was == RequestFlow::State::gathering) {
    refuse(origins_[flow.origin], flow.client_id, code);  // the Dispatcher never heard of it
  } else if (wanted) {
    answer_status(origins_[flow.origin], flow.client_id, code, reply_begun);
  }
}

void DataPlane::end_flow(std::uint32_t index) noexcept {
  RequestFlow& flow = flows_[index];
  OriginState& origin = origins_[flow.origin];
  std::uint32_t* link = &origin.flows_first;
  while (*link != index) {
    link = &flows_[*link].next;
  }
  *link = flow.next;
  --origin.flow_count;
  std::erase(origin.session->flows, index);
  std::erase(granting_, index);
  store_.give_back(flow.block);
  flows_.give_back(index);
}

void DataPlane::send_aborts(Session& servant) {
  while (!servant.aborts.empty()) {
    const RequestId id = servant.aborts.back();
    shm::FrameHeader head;
    head.kind = shm::Kind::abort;
    head.id = id.packed();
    head.aux = static_cast<std::uint64_t>(Errc::stalled);
    if (!shm::try_send_whole(servant.out, head, {}, {})) {
      return;
    }
    note_wake(servant);
    finish(servant, records_[id.slot]);
  }
}

void DataPlane::cut_stalled() {
  for (std::size_t i = all_.size(); i > 0 && i <= all_.size(); --i) {
    Session& session = *all_[i - 1];
    if (session.is_servant()) {
      cut_stalled_replies(session);
    } else if (!session.flows.empty()) {
      cut_stalled_flows(session);
    }
  }
}

void DataPlane::cut_stalled_flows(Session& client) {
  for (std::size_t i = client.flows.size(); i > 0 && i <= client.flows.size(); --i) {
    const std::uint32_t index = client.flows[i - 1];
    const RequestFlow::State state = flows_[index].state;
    // Fragments of one flow may wait behind those of another in the client's ring.
    const bool held_up = client.waits_for_servant && state == RequestFlow::State::gathering;
    if (!held_up &&
        (state == RequestFlow::State::gathering || state == RequestFlow::State::streaming) &&
        now() - flows_[index].moved_at > options_.stall_timeout) {
      OriginState& origin = origins_[flows_[index].origin];
      cut_flow(index, Errc::stalled);
      if (client.attached) {
        drop_early(origin, index);
      }
      (void)decide();
      if (!client.attached) {
        return;
      }
    }
  }
}

void DataPlane::cut_stalled_replies(Session& servant) {
  if (servant.blocked_since != 0 && now() - servant.blocked_since > options_.stall_timeout) {
    // Its answer cannot move because the client does not read: that client is closed.
    servant.blocked_since = now();
    // As it was: the servant may write another id there by now.
    if (RequestRecord* const record = running_record(servant, servant.held.id)) {
      if (OriginState* const origin = origin_of(*record)) {
        close_origin(*origin, Errc::slow_reader, "reads too slowly for a large answer");
      }
    }
    return;
  }
  for (const std::uint32_t slot : servant.running) {
    RequestRecord& record = records_[slot];
    if (record.reply_begun && !record.abandoned && servant.blocked_since == 0 &&
        now() - record.reply_moved_at > options_.stall_timeout) {
      const RequestRecord ended = record;
      record.abandoned = record.counted = true;
      (void)dispatcher_.on(Cancel{record.id}, now());
      tell_end(ended, Errc::stalled);
      return;  // the lists may have changed; the next millisecond looks again
    }
  }
}

}  // namespace mserve::broker
