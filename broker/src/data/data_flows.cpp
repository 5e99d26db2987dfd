// SPDX-License-Identifier: Apache-2.0
// Requests that arrive in fragments: gathered when they are small enough to be one frame for the
// servant, else passed on fragment by fragment once a servant is reserved (cut-through).
#include <algorithm>

#include "data/data_plane.hpp"

namespace mserve::broker {

DataPlane::Taken DataPlane::take_fragment(Session& client, const shm::FrameView& frame,
                                          const shm::FlowExt& flow) {
  std::uint32_t index = client.flows_first;
  while (index != kNone && flows_[index].client_id != frame.header.id) {
    index = flows_[index].next;
  }
  const bool first = index == kNone;
  const std::uint64_t offset = first ? 0 : flows_[index].offset;
  const std::uint64_t total = first ? flow.total_bytes : flows_[index].total_bytes;
  if (flow.offset != offset || flow.total_bytes != total || frame.payload.empty() ||
      frame.payload.size() > total - offset || (first && client.flow_count >= kFlowsPerClient)) {
    close(client, Errc::bad_frame, "request fragments out of order");
    return Taken::closed;
  }
  if (first) {
    index = begin_flow(client, frame, flow);
    if (!client.attached) {
      return Taken::closed;
    }
  }
  counters_.fragments_in->add();
  switch (flows_[index].state) {
    case RequestFlow::State::gathering:
      return gather(client, index, frame);
    case RequestFlow::State::streaming:
      return stream(client, index, frame);
    case RequestFlow::State::waiting:
      client.waits_for_servant = true;
      return Taken::blocked;
    case RequestFlow::State::discarding:
    case RequestFlow::State::free:
      break;
  }
  return skip_fragment(client, index, frame);
}

std::uint32_t DataPlane::begin_flow(Session& client, const shm::FrameView& frame,
                                    const shm::FlowExt& ext) {
  const std::uint32_t index = flows_.take();  // never runs dry: a share for every session
  RequestFlow& flow = flows_[index];
  flow.client = client.number;
  flow.client_id = frame.header.id;
  flow.flags = frame.header.flags;
  flow.route = frame.header.aux;
  flow.total_bytes = ext.total_bytes;
  flow.moved_at = now();
  flow.next = client.flows_first;
  client.flows_first = index;
  ++client.flow_count;
  flow.state = RequestFlow::State::discarding;
  if (ext.total_bytes > options_.max_message) {
    answer_status(client, flow.client_id, Errc::too_large, /*reply_begun=*/false);
  } else if (ext.total_bytes <= gather_limit_) {
    flow.block = store_.take(ext.total_bytes);
    if (flow.block.empty()) {
      answer_status(client, flow.client_id, Errc::busy, /*reply_begun=*/false);
    } else {
      flow.state = RequestFlow::State::gathering;
    }
  } else {
    const Submit submit{.origin = client.number,
                        .route = flow.route,
                        .bytes = flow.total_bytes,
                        .retries = 0,
                        .flow = true};
    RequestId id;
    if (admit(client, submit, flow.client_id, flow.flags, id)) {
      flow.state = RequestFlow::State::waiting;
      flow.request = id;
      records_[id.slot].flow = index;
      (void)decide();
    }
  }
  return index;
}

DataPlane::Taken DataPlane::gather(Session& client, std::uint32_t index,
                                   const shm::FrameView& frame) {
  RequestFlow& flow = flows_[index];
  std::copy(frame.payload.begin(), frame.payload.end(),
            store_.bytes_of(flow.block).begin() + static_cast<std::ptrdiff_t>(flow.offset));
  flow.offset += frame.payload.size();
  flow.moved_at = now();
  if (flow.offset < flow.total_bytes) {
    return Taken::done;
  }
  const Submit submit{.origin = client.number,
                      .route = flow.route,
                      .bytes = flow.total_bytes,
                      .retries = retries_of(flow.flags, flow.total_bytes)};
  const std::uint64_t client_id = flow.client_id;
  const std::uint8_t flags = flow.flags;
  PayloadStore::Block block = flow.block;
  flow.block = PayloadStore::Block{};
  end_flow(index);
  RequestId id;
  if (admit(client, submit, client_id, flags, id)) {
    records_[id.slot].block = block;
    (void)decide();
  } else {
    store_.give_back(block);
  }
  return client.attached ? Taken::done : Taken::closed;
}

DataPlane::Taken DataPlane::stream(Session& client, std::uint32_t index,
                                   const shm::FrameView& frame) {
  RequestFlow& flow = flows_[index];
  RequestRecord& record = records_[flow.request.slot];
  if (record.servant_session == kNone) {
    return Taken::blocked;  // its servant just died; the decision about it is on its way
  }
  Session& servant = *sessions_[record.servant_session];
  shm::FrameHeader head;
  head.kind = shm::Kind::request;
  head.flags = record.flags;
  head.id = record.id.packed();
  head.aux = record.route;
  std::byte extension[shm::ext_bytes_of(sizeof(shm::FlowExt))];
  (void)shm::put_extension(extension, shm::ExtType::flow, 0,
                           shm::FlowExt{flow.offset, flow.total_bytes});
  if (!shm::try_send_whole(servant.out, head, extension, frame.payload)) {
    return Taken::blocked;
  }
  note_wake(servant);
  client.active_at = flow.moved_at = now();
  flow.offset += frame.payload.size();
  if (flow.offset == flow.total_bytes) {
    record.flow = kNone;
    end_flow(index);
  }
  return Taken::done;
}

DataPlane::Taken DataPlane::skip_fragment(Session& client, std::uint32_t index,
                                          const shm::FrameView& frame) {
  RequestFlow& flow = flows_[index];
  client.active_at = flow.moved_at = now();
  flow.offset += frame.payload.size();
  if (flow.offset == flow.total_bytes) {
    end_flow(index);
  }
  return Taken::done;
}

DataPlane::Taken DataPlane::abort_flow(Session& client, std::uint64_t client_id) {
  for (std::uint32_t index = client.flows_first; index != kNone; index = flows_[index].next) {
    if (flows_[index].client_id == client_id) {
      cut_flow(index, Errc::cancelled);
      if (!client.attached) {
        return Taken::closed;
      }
      end_flow(index);
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
  flow.state = RequestFlow::State::discarding;
  flow.request = RequestId{};
  store_.give_back(flow.block);
  if (was == RequestFlow::State::waiting) {
    records_[id.slot].flow = kNone;
    records_[id.slot].abandoned = true;
    (void)dispatcher_.on(Cancel{id}, now());
    sessions_[flow.client]->waits_for_servant = false;
  } else if (was == RequestFlow::State::streaming) {
    RequestRecord& record = records_[id.slot];
    record.flow = kNone;
    record.abandoned = true;
    reply_begun = record.reply_begun;
    if (record.servant_session != kNone) {
      Session& servant = *sessions_[record.servant_session];
      servant.aborts.push_back(id);
      send_aborts(servant);
    }
  }
  if (was != RequestFlow::State::discarding && code != Errc::disconnected) {
    answer_status(*sessions_[flow.client], flow.client_id, code, reply_begun);
  }
}

void DataPlane::end_flow(std::uint32_t index) noexcept {
  Session& client = *sessions_[flows_[index].client];
  std::uint32_t* link = &client.flows_first;
  while (*link != index) {
    link = &flows_[*link].next;
  }
  *link = flows_[index].next;
  --client.flow_count;
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
    } else if (session.flow_count != 0) {
      cut_stalled_flows(session);
    }
  }
}

void DataPlane::cut_stalled_flows(Session& client) {
  std::uint32_t index = client.flows_first;
  while (index != kNone && client.attached) {
    const std::uint32_t next = flows_[index].next;
    const RequestFlow::State state = flows_[index].state;
    // Fragments of one flow may wait behind those of another in the client's ring.
    const bool held_up = client.waits_for_servant && state == RequestFlow::State::gathering;
    if (!held_up &&
        (state == RequestFlow::State::gathering || state == RequestFlow::State::streaming) &&
        now() - flows_[index].moved_at > options_.stall_timeout) {
      cut_flow(index, Errc::stalled);
      (void)decide();
    }
    index = next;
  }
}

void DataPlane::cut_stalled_replies(Session& servant) {
  if (servant.blocked_since != 0 && now() - servant.blocked_since > options_.stall_timeout) {
    // Its answer cannot move because the client does not read: that client is closed.
    servant.blocked_since = now();
    shm::FrameView frame;
    if (servant.in.front(frame) == Errc::ok) {
      if (RequestRecord* const record = running_record(servant, frame.header.id)) {
        if (Session* const client = client_of(*record)) {
          close(*client, Errc::slow_reader, "reads too slowly for a large answer");
        }
      }
    }
    return;
  }
  for (const std::uint32_t slot : servant.running) {
    RequestRecord& record = records_[slot];
    if (record.reply_begun && !record.abandoned && servant.blocked_since == 0 &&
        now() - record.reply_moved_at > options_.stall_timeout) {
      record.abandoned = true;
      (void)dispatcher_.on(Cancel{record.id}, now());
      if (Session* const client = client_of(record)) {
        answer_status(*client, record.client_id, Errc::stalled, /*reply_begun=*/true);
      }
      return;  // the lists may have changed; the next millisecond looks again
    }
  }
}

}  // namespace mserve::broker
