// SPDX-License-Identifier: Apache-2.0
// Client to servant: requests that fit one frame, and what the Dispatcher decides about all of
// them.
#include <algorithm>

#include "data/data_plane.hpp"

namespace mserve::broker {

namespace {

constexpr int kFramesPerPass = 16;  // one session cannot hold the loop
constexpr std::uint32_t kDecisionsPerPass = 64;
constexpr std::uint32_t kCancelScanMax = 1024;
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
  }
  return Errc::internal;
}

}  // namespace

bool DataPlane::serve_client(Session& client) {
  bool worked = false;
  const bool look_at_control =
      client.window_left < client.window_bytes || (pass_count_ & kControlPassMask) == 0;
  if (look_at_control && client.control.ready()) [[unlikely]] {
    if (!take_control(client)) {
      return true;
    }
    worked = true;
  }
  for (int i = 0; i < kFramesPerPass; ++i) {
    shm::FrameView frame;
    const Errc code = client.in.front(frame);
    if (code == Errc::empty) {
      break;
    }
    if (code != Errc::ok) [[unlikely]] {
      close(client, code, "request ring");
      return true;
    }
    const Taken taken = take_request(client, frame);
    if (taken != Taken::done) [[unlikely]] {
      if (taken == Taken::blocked && !client.waits_for_servant && client.blocked_since == 0) {
        client.blocked_since = now();
      }
      return worked || taken == Taken::closed;
    }
    client.blocked_since = 0;
    client.in.release();
    worked = true;
  }
  if (worked) {
    client.active_at = now();
  }
  return worked;
}

DataPlane::Taken DataPlane::take_request(Session& client, const shm::FrameView& frame) {
  if (frame.header.ext_bytes == 0 && frame.header.kind == shm::Kind::request) [[likely]] {
    return submit_whole(client, frame);
  }
  if (frame.header.kind == shm::Kind::abort) {
    return abort_flow(client, frame.header.id);
  }
  shm::Extensions extensions;
  if (frame.header.kind != shm::Kind::request ||
      !shm::parse_extensions(frame.extensions, extensions) || extensions.origin_index != 0) {
    close(client, Errc::bad_frame, "request kind, extension or origin");
    return Taken::closed;
  }
  return extensions.has_flow ? take_fragment(client, frame, extensions.flow)
                             : submit_whole(client, frame);
}

// hot: the Dispatcher's submit and decision, one record, one copy into the servant's ring.
DataPlane::Taken DataPlane::submit_whole(Session& client, const shm::FrameView& frame) {
  if (frame.payload.size() > options_.max_message) [[unlikely]] {
    answer_status(client, frame.header.id, Errc::too_large, /*reply_begun=*/false);
    return client.attached ? Taken::done : Taken::closed;
  }
  const Submit submit{.origin = client.number,
                      .route = frame.header.aux,
                      .bytes = frame.payload.size(),
                      .retries = retries_of(frame.header.flags, frame.payload.size())};
  RequestId id;
  if (!admit(client, submit, frame.header.id, frame.header.flags, id)) [[unlikely]] {
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

bool DataPlane::admit(Session& client, const Submit& submit, std::uint64_t client_id,
                      std::uint8_t flags, RequestId& id) {
  const Submitted submitted = dispatcher_.on(submit, now());
  if (submitted.refusal != Refusal::none) [[unlikely]] {
    counters_.refused->add();
    answer_status(client, client_id, errc_of(submitted.refusal), /*reply_begun=*/false);
    return false;
  }
  counters_.requests->add();
  id = submitted.id;
  RequestRecord& record = records_[id.slot];
  record = RequestRecord{};
  record.id = id;
  record.client = client.number;
  record.client_generation = client.generation;
  record.client_id = client_id;
  record.route = submit.route;
  record.bytes = submit.bytes;
  record.flags = flags;
  record.repeatable = submit.retries > 0;
  record.submitted_at = now();
  record.backlog = submitted.backlog;
  record.next = client.requests_first;
  if (record.next != kNone) {
    records_[record.next].previous = id.slot;
  }
  client.requests_first = id.slot;
  return true;
}

void DataPlane::queue_payload(RequestRecord& record, std::span<const std::byte> payload) {
  record.block = store_.take(payload.size());
  if (!record.block.empty()) {
    std::copy(payload.begin(), payload.end(), store_.bytes_of(record.block).begin());
    return;
  }
  // The store is split too finely for one more of this size: as good as full.
  const std::uint64_t client_id = record.client_id;
  Session* const client = client_of(record);
  record.abandoned = true;
  if (record.servant_session == kNone) {
    (void)dispatcher_.on(Cancel{record.id}, now());
  } else {
    Session& servant = *sessions_[record.servant_session];
    std::erase(servant.undelivered, record.id.slot);
    finish(servant, record);
  }
  if (client != nullptr) {
    answer_status(*client, client_id, Errc::busy, /*reply_begun=*/false);
  }
}

bool DataPlane::decide() {
  decisions_left_ = false;
  for (std::uint32_t i = 0; i < kDecisionsPerPass; ++i) {
    const Decision decision = dispatcher_.next(now());
    switch (decision.kind) {
      case Decision::Kind::none:
        return i > 0;
      case Decision::Kind::dispatch:
        deliver(decision);
        break;
      case Decision::Kind::fail:
        fail(decision);
        break;
      case Decision::Kind::discard:
        discard(decision.request);
        break;
      case Decision::Kind::more:
        break;
    }
  }
  decisions_left_ = true;  // a death or a drain: go on next pass, others first
  return true;
}

void DataPlane::deliver(const Decision& decision) {
  RequestRecord& record = records_[decision.request.slot];
  Session& servant = *sessions_[decision.servant];
  record.servant_session = servant.number;
  record.dispatched_at = now();
  servant.running.push_back(decision.request.slot);
  heat(servant);
  if (record.flow != kNone) {
    RequestFlow& flow = flows_[record.flow];
    flow.state = RequestFlow::State::streaming;
    flow.moved_at = now();
    sessions_[flow.client]->waits_for_servant = false;
    return;
  }
  const bool in_ring = current_ == decision.request;
  if (!in_ring && record.block.empty()) [[unlikely]] {
    // Its copy could not be kept when its servant died: it cannot be repeated after all.
    Session* const client = client_of(record);
    if (client != nullptr && !record.abandoned) {
      answer_status(*client, record.client_id, Errc::servant_died, /*reply_begun=*/false);
    }
    finish(servant, record);
    return;
  }
  const std::span<const std::byte> payload =
      in_ring ? current_payload_ : store_.bytes_of(record.block);
  if (try_deliver(servant, record, payload)) [[likely]] {
    if (in_ring) {
      current_ = RequestId{};
    }
    store_.give_back(record.block);
    return;
  }
  servant.undelivered.push_back(decision.request.slot);
}

bool DataPlane::try_deliver(Session& servant, RequestRecord& record,
                            std::span<const std::byte> payload) {
  shm::FrameHeader head;
  head.kind = shm::Kind::request;
  head.flags = record.flags;
  head.id = record.id.packed();
  head.aux = record.route;
  if (!shm::try_send_whole(servant.out, head, {}, payload)) [[unlikely]] {
    return false;
  }
  if (record.repeatable) {
    record.kept = true;
    record.kept_pos = servant.out.claimed_position();
    update_retained(servant);
  }
  note_wake(servant);
  return true;
}

void DataPlane::deliver_waiting(Session& servant) {
  while (!servant.undelivered.empty()) {
    RequestRecord& record = records_[servant.undelivered.front()];
    if (!try_deliver(servant, record, store_.bytes_of(record.block))) {
      return;
    }
    store_.give_back(record.block);
    servant.undelivered.erase(servant.undelivered.begin());
  }
}

void DataPlane::leave_servant(RequestRecord& record) noexcept {
  if (record.servant_session == kNone || sessions_[record.servant_session] == nullptr) {
    return;
  }
  Session& servant = *sessions_[record.servant_session];
  std::erase(servant.running, record.id.slot);
  std::erase(servant.undelivered, record.id.slot);
  std::erase(servant.aborts, record.id);
  record.servant_session = kNone;
}

void DataPlane::fail(const Decision& decision) {
  RequestRecord& record = records_[decision.request.slot];
  leave_servant(record);  // a drain that expires fails what still runs
  Session* const client = client_of(record);
  const std::uint64_t client_id = record.client_id;
  const bool begun = record.reply_begun;
  const bool wanted = !record.abandoned;
  if (record.flow != kNone) {
    RequestFlow& flow = flows_[record.flow];
    flow.state = RequestFlow::State::discarding;
    flow.request = RequestId{};
    if (client != nullptr) {
      client->waits_for_servant = false;
    }
  }
  release_record(record);
  if (client != nullptr && wanted) {
    answer_status(*client, client_id, errc_of(decision.reason), begun);
  }
}

void DataPlane::discard(RequestId id) {
  counters_.discarded->add();
  RequestRecord& record = records_[id.slot];
  leave_servant(record);
  if (record.flow != kNone) {
    flows_[record.flow].state = RequestFlow::State::discarding;
    flows_[record.flow].request = RequestId{};
    if (Session* const client = client_of(record)) {
      client->waits_for_servant = false;
    }
  }
  release_record(record);
}

void DataPlane::release_record(RequestRecord& record) noexcept {
  store_.give_back(record.block);
  if (record.previous != kNone) {
    records_[record.previous].next = record.next;
  } else if (Session* const client = client_of(record);
             client != nullptr && client->requests_first == record.id.slot) {
    client->requests_first = record.next;
  }
  if (record.next != kNone) {
    records_[record.next].previous = record.previous;
  }
  record.next = record.previous = kNone;
  record.id = RequestId{};
}

Session* DataPlane::client_of(const RequestRecord& record) noexcept {
  Session* const client = sessions_[record.client];
  return client != nullptr && client->generation == record.client_generation ? client : nullptr;
}

bool DataPlane::take_control(Session& client) {
  for (int i = 0; i < kFramesPerPass; ++i) {
    shm::FrameView frame;
    const Errc code = client.control.front(frame);
    if (code == Errc::empty) {
      break;
    }
    if (code == Errc::ok && frame.header.kind == shm::Kind::window && frame.header.id == 0) {
      const std::uint64_t room = client.window_bytes - client.window_left;
      client.window_left += std::min(frame.header.aux, room);
    } else if (code == Errc::ok && frame.header.kind == shm::Kind::cancel) {
      client.control.release();
      cancel(client, frame.header.id);
      return client.attached;  // one a pass: each may look at many requests
    } else {
      close(client, code == Errc::ok ? Errc::bad_frame : code, "control ring");
      return false;
    }
    client.control.release();
  }
  return true;
}

void DataPlane::cancel(Session& client, std::uint64_t client_id) {
  // Newest first and bounded: what a client cancels it sent lately, and what is missed here the
  // client's library drops when it arrives.
  std::uint32_t slot = client.requests_first;
  for (std::uint32_t i = 0; i < kCancelScanMax && slot != kNone; ++i, slot = records_[slot].next) {
    RequestRecord& record = records_[slot];
    if (record.client_id == client_id) {
      record.abandoned = true;
      (void)dispatcher_.on(Cancel{record.id}, now());
      (void)decide();
      return;
    }
  }
}

}  // namespace mserve::broker
