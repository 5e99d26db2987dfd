// SPDX-License-Identifier: Apache-2.0
// Origins come and go, and what they say on the control ring.
#include <algorithm>

#include "data/data_plane.hpp"

namespace mserve::broker {

namespace {

constexpr int kControlFramesPerPass = 16;
constexpr std::uint32_t kCancelScanMax = 1024;

}  // namespace

bool DataPlane::begin_origin(OriginState& origin, Session& session) {
  if (!dispatcher_.on(OriginOpened{.origin = origin.number, .sticky = options_.sticky}, now())) {
    return false;
  }
  origins_.begin(origin, session, session.window_bytes);
  return true;
}

/// The origin that a frame speaks of. `stale`: one that is over (a frame may have been on its way).
/// @param opens  a generation not seen before begins a new life.
DataPlane::Asking DataPlane::find_origin(Session& session, const shm::Extensions& extensions,
                                         bool opens, OriginState*& origin) {
  if (!session.is_gateway()) {
    origin = &origins_[session.number];
    return extensions.has_origin && extensions.origin_index != 0 ? Asking::lie : Asking::known;
  }
  OriginPlaces& table = session.origins;
  if (!extensions.has_origin || extensions.origin_index >= table.places.size() ||
      extensions.origin_generation == 0) {
    return Asking::lie;
  }
  OriginPlaces::Place& place = table.places[extensions.origin_index];
  if (place.generation == extensions.origin_generation && place.number != kNone) [[likely]] {
    origin = &origins_[place.number];
    return Asking::known;
  }
  if (!opens || extensions.origin_generation <= place.generation) {
    return Asking::stale;
  }
  return open_place(session, extensions, origin);
}

DataPlane::Asking DataPlane::open_place(Session& session, const shm::Extensions& extensions,
                                        OriginState*& origin) {
  OriginPlaces::Place& place = session.origins.places[extensions.origin_index];
  if (place.number != kNone) {
    end_origin(origins_[place.number]);
  }
  place.generation = extensions.origin_generation;
  OriginState* const fresh = origins_.take();
  if (fresh == nullptr || !begin_origin(*fresh, session)) {
    session.origins.untold.push_back({extensions.origin_index, extensions.origin_generation,
                                      static_cast<std::uint64_t>(Errc::no_memory)});
    return Asking::stale;
  }
  fresh->index = extensions.origin_index;
  fresh->generation = extensions.origin_generation;
  place.number = fresh->number;
  origin = fresh;
  return Asking::known;
}

/// This side gives up on an origin: on a client with its session, of a gateway on the one
/// connection.
void DataPlane::close_origin(OriginState& origin, Errc code, const char* where) {
  if (!origin.open) {
    return;
  }
  Session& session = *origin.session;
  if (!session.is_gateway()) {
    close(session, code, where);
    return;
  }
  counters_.closed->add();
  session.origins.untold.push_back(
      {origin.index, origin.generation, static_cast<std::uint64_t>(code)});
  heat(session);  // it is told while it is hot
  end_origin(origin);
  decisions_left_ = true;  // as in close()
}

/// Nobody asks any more: what waits vanishes by `discard` decisions, what runs goes on for nobody.
void DataPlane::end_origin(OriginState& origin) {
  origin.open = false;
  clear_outbox(origin);
  std::erase(outbox_list_, &origin);
  while (origin.flows_first != kNone) {
    const std::uint32_t index = origin.flows_first;
    cut_flow(index, Errc::disconnected);
    end_flow(index);
  }
  dispatcher_.on(OriginClosed{origin.number}, now());
  while (origin.requests_first != kNone) {
    RequestRecord& record = records_[origin.requests_first];
    record.abandoned = true;
    interrupt(record);
    origin.requests_first = record.next;
    record.next = record.previous = kNone;
  }
  Session& session = *origin.session;
  origin.past = {origin.life, session.number, session.generation,
                 session.is_gateway() ? origin.index : kNone};
  if (session.is_gateway()) {
    session.origins.places[origin.index].number = kNone;
  }
  origins_.give_back(origin, session.is_gateway());
}

void DataPlane::tell_gone(Session& gateway) {
  std::vector<OriginPlaces::Gone>& untold = gateway.origins.untold;
  while (!untold.empty()) {
    const OriginPlaces::Gone& gone = untold.back();
    shm::FrameHeader head;
    head.kind = shm::Kind::gone;
    head.aux = gone.code;
    std::byte extension[shm::ext_bytes_of(sizeof(std::uint64_t))];
    (void)shm::put_extension(extension, shm::ExtType::origin, gone.index, gone.generation);
    if (!shm::try_send_whole(gateway.out, head, extension, {})) {
      return;
    }
    note_wake(gateway);
    untold.pop_back();
  }
}

/// @return false when the session was closed.
bool DataPlane::take_control(Session& session) {
  for (int i = 0; i < kControlFramesPerPass; ++i) {
    shm::FrameView frame;
    const Errc code = session.control.front(frame);
    if (code == Errc::empty) {
      break;
    }
    shm::Extensions extensions;
    OriginState* origin = nullptr;
    const Asking asking = code == Errc::ok && shm::parse_extensions(frame.extensions, extensions)
                              ? find_origin(session, extensions, /*opens=*/false, origin)
                              : Asking::lie;
    const shm::FrameHeader head = frame.header;
    const bool meant = head.kind == shm::Kind::cancel ||
                       (head.kind == shm::Kind::window && head.id == 0) ||
                       (head.kind == shm::Kind::gone && session.is_gateway());
    if (asking == Asking::lie || !meant) {
      close(session, code == Errc::ok ? Errc::bad_frame : code, "control ring");
      return false;
    }
    session.control.release();
    if (asking == Asking::stale) {
      continue;
    }
    if (head.kind == shm::Kind::window) {
      origin->window_left += std::min(head.aux, session.window_bytes - origin->window_left);
    } else if (head.kind == shm::Kind::gone) {
      end_origin(*origin);
      (void)decide();
    } else {
      cancel(*origin, head.id);
      return session.attached;  // one a pass: each may look at many requests
    }
  }
  return session.attached;
}

void DataPlane::cancel(OriginState& origin, std::uint64_t client_id) {
  // Newest first and bounded: what a client cancels it sent lately, and what is missed here the
  // client's library drops when it arrives.
  std::uint32_t slot = origin.requests_first;
  for (std::uint32_t i = 0; i < kCancelScanMax && slot != kNone; ++i, slot = records_[slot].next) {
    if (records_[slot].client_id == client_id) {
      cancel(origin, records_[slot]);
      return;
    }
  }
}

/// A gateway's connection goes on and hears what became of its request: that it is cancelled, or,
/// once an answer has begun or is there already, that answer.
void DataPlane::cancel(const OriginState& origin, RequestRecord& record) {
  const bool told = origin.session->is_gateway();
  if (told && (record.abandoned || record.reply_begun || record.flow != kNone)) {
    return;
  }
  const RequestRecord ended = record;
  record.abandoned = true;
  record.counted = record.counted || told;
  interrupt(record);
  (void)dispatcher_.on(Cancel{record.id}, now());
  if (told) {
    tell_end(ended, Errc::cancelled);
  }
  (void)decide();
}

}  // namespace mserve::broker
