// SPDX-License-Identifier: Apache-2.0
// Sessions come and go.
#include <algorithm>

#include "data/data_plane.hpp"

namespace mserve::broker {

namespace {

template <class T>
void erase_unordered(std::vector<T>& items, const T& item) noexcept {
  const auto it = std::find(items.begin(), items.end(), item);
  if (it != items.end()) {
    *it = items.back();
    items.pop_back();
  }
}

}  // namespace

void DataPlane::attach(Session& session) {
  if (!join(session)) {
    joining_.push_back(&session);  // what its index left behind is cleared away first
  }
}

bool DataPlane::join(Session& session) {
  bool joined = true;  // a gateway's origins come one by one
  if (session.is_servant()) {
    joined = dispatcher_.on(ServantJoined{.servant = session.number,
                                          .credit = session.credit,
                                          .tier = session.tier,
                                          .weight = session.weight,
                                          .pool = session.pool,
                                          .home = session.home,
                                          .ends_overruns = session.link},
                            now());
  } else if (!session.is_gateway()) {
    joined = begin_origin(origins_[session.number], session);
  }
  if (!joined) {
    return false;
  }
  if (session.suspended) {
    (void)dispatcher_.on(ServantSuspended{session.number}, now());
  }
  session.attached = true;
  monitor_.attached(session);
  sessions_[session.number] = &session;
  all_.push_back(&session);
  heat(session);
  if (links_.wakes != nullptr) {
    links_.wakes->enqueue(*wake_token_, Wake{Wake::Kind::know, &session, {}});
  }
  counters_.sessions->set(all_.size());
  counters_.servants->set(counters_.servants->get() + (session.is_servant() ? 1 : 0));
  counters_.attached->add();
  (void)decide();
  return true;
}

Session* DataPlane::find(const Command& command) noexcept {
  const auto is_it = [&command](const Session* s) {
    return s != nullptr && s->number == command.number && s->generation == command.generation;
  };
  if (is_it(sessions_[command.number])) {
    return sessions_[command.number];
  }
  const auto joining = std::find_if(joining_.begin(), joining_.end(), is_it);
  return joining != joining_.end() ? *joining : nullptr;
}

void DataPlane::suspend(Session& session, bool suspended, bool release_sticky) {
  session.suspended = suspended;
  if (session.attached && session.is_servant()) {  // else join() looks again
    (void)(suspended ? dispatcher_.on(ServantSuspended{session.number, release_sticky}, now())
                     : dispatcher_.on(ServantResumed{session.number}, now()));
    (void)decide();
  }
  ++session.orders;  // after it: whoever sees this may rely on what was ordered
  session.tell_load();
}

void DataPlane::close(Session& session, Errc code, const char* where) {
  if (session.closing) {
    return;  // reported already, or a fault found while it is being closed
  }
  session.closing = true;
  if (session.attached && session.is_servant()) {
    close_servant(session);
  } else if (session.attached) {
    close_client(session);
  }
  monitor_.closing(session, code);
  if (session.attached) {
    sessions_[session.number] = nullptr;
  }
  session.attached = false;
  std::erase(joining_, &session);
  erase_unordered(all_, &session);
  erase_unordered(hot_, &session);
  leave_cold(session);
  erase_unordered(wake_list_, &session);
  counters_.sessions->set(all_.size());
  if (code != Errc::disconnected && code != Errc::retired) {
    counters_.closed->add();
  }
  // Told at the end of the pass: until then callers up the stack may still look at the session.
  closed_.push_back({Report::Kind::detached, code, where, &session});
  // What follows from it is decided when nobody up the stack is in the middle of a request: that
  // request, or its client, might be what the decision ends.
  decisions_left_ = true;
}

void DataPlane::close_client(Session& client) {
  if (!client.is_gateway()) {
    end_origin(origins_[client.number]);
    return;
  }
  for (const OriginPlaces::Place& place : client.origins.places) {
    if (place.number != kNone) {
      end_origin(origins_[place.number]);
    }
  }
}

void DataPlane::close_servant(Session& servant) {
  // What these answers set free must not come back to it.
  (void)dispatcher_.on(ServantSuspended{servant.number}, now());
  // Answers that it committed before it died count. Bounded by what its ring can hold.
  const std::uint64_t frames_max = servant.in.capacity() / shm::kCacheLine;
  for (std::uint64_t i = 0; i < frames_max && !servant.in.poisoned(); ++i) {
    shm::FrameView frame;
    if (servant.in.front(frame) != Errc::ok || frame.header.kind != shm::Kind::reply ||
        servant.is_changed(frame.header) || take_reply(servant, frame) != Taken::done) {
      break;
    }
    servant.held.frame_bytes = 0;
    servant.in.release();
  }
  while (!servant.aborts.empty()) {
    // The cut flow never became a whole request there, and now it never will.
    finish(servant, records_[servant.aborts.back().slot]);
  }
  monitor_.lost(servant.number, servant.running.size());
  keep_for_repeat(servant);
  dispatcher_.on(ServantLeft{servant.number}, now());
  counters_.servants->set(counters_.servants->get() - 1);
  servant.running.clear();
  servant.undelivered.clear();
  servant.aborts.clear();
  servant.interrupts.clear();
}

void DataPlane::keep_for_repeat(Session& servant) {
  for (const std::uint32_t slot : servant.running) {
    RequestRecord& record = records_[slot];
    record.servant_session = kNone;
    if (terms_[slot].id == record.id) {
      terms_[slot].queued_at = now();
    }
    if (!record.kept) {
      continue;
    }
    // The servant could never write here, so these are the client's bytes as they came.
    record.kept = false;
    record.block = store_.take(record.bytes);
    if (!record.block.empty()) {
      const std::byte* from = servant.out.peek_at(record.kept_pos) + shm::kFrameHeaderBytes;
      std::copy_n(from, record.bytes, store_.bytes_of(record.block).data());
    }
  }
}

void DataPlane::check_drained() {
  if (!drained_told_ && !decisions_left_ && dispatcher_.queued() == 0 &&
      dispatcher_.running() == 0 && outbox_list_.empty()) {
    drained_told_ = true;
    report({Report::Kind::drained, Errc::ok, "", nullptr});
  }
}

}  // namespace mserve::broker
