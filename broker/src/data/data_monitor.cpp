// SPDX-License-Identifier: Apache-2.0
// What the data thread shows of itself about once a millisecond; what it counts as it happens is
// MonitorWriter's.
#include <algorithm>

#include "data/data_plane.hpp"

namespace mserve::broker {

namespace {

/// Of sessions, each time: looking at one costs two cache misses, since its peer writes there.
constexpr std::size_t kLooks = 8;

}  // namespace

void DataPlane::publish() noexcept {
  const Counters& decided = dispatcher_.counters();
  shm::MonitorTotals totals;
  totals.policy = static_cast<std::uint64_t>(options_.policy);
  totals.queued = dispatcher_.queued();
  totals.running = dispatcher_.running();
  totals.queue_age_ns = dispatcher_.queued() > 0 ? monitor_.queue_age(records_, now()) : 0;
  totals.sessions = all_.size();
  totals.servants = counters_.servants->get();
  totals.requests = counters_.requests->get();
  totals.refused = counters_.refused->get();
  totals.replies = counters_.replies->get();
  totals.errors = counters_.errors->get();
  totals.dispatched = decided.dispatched;
  totals.hits = decided.hits;
  totals.claims = decided.claims;
  totals.steals = decided.steals;
  totals.spills = decided.spills;
  totals.unrouted = decided.unrouted;
  totals.remote = decided.remote;
  totals.bound = decided.bound;
  totals.retried = decided.retried;
  totals.queue_timeouts = decided.failed_queued;
  totals.overruns = decided.overruns;
  totals.died = decided.failed_died;
  totals.cancelled = decided.discarded;
  totals.kept = counters_.kept->get();
  totals.kept_bytes = kept_bytes_;
  totals.wakes = counters_.wakes->get();
  totals.sleeps = counters_.sleeps->get();
  monitor_.publish(totals, now());
  for (std::size_t i = 0; i < std::min(kLooks, all_.size()); ++i) {
    publish_cursor_ = publish_cursor_ + 1 < all_.size() ? publish_cursor_ + 1 : 0;
    const Session& session = *all_[publish_cursor_];
    monitor_.look_at(session, kept_bytes_of(session), now());
  }
}

[[gnu::cold]] void DataPlane::tell_stamps(const RequestRecord& record, Errc status,
                                          std::uint64_t reply_bytes) noexcept {
  RequestStamps stamps{.client_id = record.client_id,
                       .route = record.route,
                       .bytes = record.bytes,
                       .reply_bytes = reply_bytes,
                       .submitted_at = record.submitted_at,
                       .dispatched_at = record.dispatched_at,
                       .ended_at = now(),
                       .status = status};
  if (!stamps_.wants(stamps, stamps.ended_at - stamps.submitted_at)) {
    return;
  }
  if (const OriginState* const origin = origin_of(record); origin != nullptr) {
    stamps.client = origin->session->number;
    stamps.client_generation = origin->session->generation;
    stamps.connection = origin->session->is_gateway() ? origin->index : kNone;
  } else if (const OriginState::Past& past = origins_[record.origin].past;
             past.life == record.origin_life) {
    stamps.client = past.session;
    stamps.client_generation = past.session_generation;
    stamps.connection = past.connection;
  }
  if (record.servant_session != kNone && sessions_[record.servant_session] != nullptr) {
    stamps.servant = record.servant_session;
    stamps.servant_generation = sessions_[record.servant_session]->generation;
  }
  stamps_.tell(stamps);
}

std::uint64_t DataPlane::kept_bytes_of(const Session& session) noexcept {
  if (session.is_servant()) {
    return 0;
  }
  if (!session.is_gateway()) {
    return origins_[session.number].outbox_bytes;
  }
  std::uint64_t bytes = 0;
  for (const OriginState* const origin : outbox_list_) {
    bytes += origin->session == &session ? origin->outbox_bytes : 0;
  }
  return bytes;
}

}  // namespace mserve::broker
