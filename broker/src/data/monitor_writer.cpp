// SPDX-License-Identifier: Apache-2.0
#include "data/monitor_writer.hpp"

#include <algorithm>

namespace mserve::broker {

namespace {

constexpr Nanos kProbeInterval = 1'000'000;

void fold(shm::MonitorCells& into, const shm::MonitorCells& from) noexcept {
  for (std::uint32_t i = 0; i < shm::kMonitorBuckets; ++i) {
    if (const std::uint64_t count = from.counts[i].get(); count != 0) {
      into.counts[i].add(count);
    }
  }
  into.sum_ns.add(from.sum_ns.get());
}

void clear(shm::MonitorCells& cells) noexcept {
  for (shm::Counter& count : cells.counts) {
    count.set(0);
  }
  cells.sum_ns.set(0);
}

}  // namespace

MonitorWriter::MonitorWriter(shm::MonitorSegment& segment, std::uint32_t sessions, Nanos now)
    : broker_(segment.broker()),
      rows_(segment.rows().data()),
      routes_(segment.routes().data()),
      books_(sessions, segment.books().data()),
      all_books_(segment.books().data()),
      started_at_(now) {}

void MonitorWriter::attached(const Session& session) noexcept {
  // Not from the row: what others could write chooses no address.
  books_[session.number] = all_books_ + session.book;
}

void MonitorWriter::closing(const Session& session, Errc code) noexcept {
  switch (code) {
    case Errc::disconnected:
    case Errc::retired:
    case Errc::shutdown:
      break;
    case Errc::slow_reader:
      ++slow_;
      break;
    case Errc::stalled:
      ++stalled_;
      break;
    default:
      ++poisoned_;
  }
  shm::MonitorRow& row = rows_[session.number];
  shm::MonitorBook*& book = books_[session.number];
  if (book != all_books_) {
    broker_.folds.begin_change();
    for (shm::MonitorCells shm::MonitorBook::*const part :
         {&shm::MonitorBook::direct, &shm::MonitorBook::queue, &shm::MonitorBook::execution,
          &shm::MonitorBook::whole}) {
      fold(all_books_->*part, book->*part);
      clear(book->*part);
    }
    broker_.folds.end_change();
    book = all_books_;
  }
  row.now.put({.told_at = row.now.get().told_at, .flags = shm::kMonitorClosed});
}

/// Space-Saving: the one used least makes room, and its count stays as the bound of the error.
void MonitorWriter::replace_route(shm::MonitorRouteSet& set, std::uint64_t route, Nanos ran,
                                  bool warm) noexcept {
  std::uint32_t least = 0;
  for (std::uint32_t i = 1; i < shm::kMonitorWays; ++i) {
    if (set.counts[i].get() < set.counts[least].get()) {
      least = i;
    }
  }
  const std::uint64_t inherited = set.counts[least].get();
  set.keys[least].set(0);
  set.counts[least].set(inherited + 1);
  set.errors[least].set(inherited);
  set.hits[least].set(warm ? 1 : 0);
  set.execution_ns[least].set(ran);
  set.keys[least].set(route);
}

void MonitorWriter::remember(const RequestRecord& record, Nanos now) noexcept {
  probe_at_ = now + kProbeInterval;
  if (probes_added_ - probes_taken_ < kProbes) {
    probes_[probes_added_++ % kProbes] = {record.id, record.submitted_at};
  }
}

Nanos MonitorWriter::queue_age(const std::vector<RequestRecord>& records, Nanos now) noexcept {
  constexpr int kProbeLooks = 64;
  for (int i = 0; i < kProbeLooks && probes_taken_ != probes_added_; ++i) {
    const Probe& oldest = probes_[probes_taken_ % kProbes];
    const RequestRecord& record = records[oldest.id.slot];
    if (record.id == oldest.id && record.servant_session == kNone) {
      return now - oldest.submitted_at;
    }
    ++probes_taken_;
  }
  return 0;
}

void MonitorWriter::publish(shm::MonitorTotals& totals, Nanos now) noexcept {
  totals.told_at = now;
  totals.started_at = started_at_;
  totals.poisoned = poisoned_;
  totals.slow = slow_;
  totals.stalled = stalled_;
  totals.asleep_ns = asleep_ns_;
  totals.passes = passes_;
  totals.worked = worked_;
  broker_.totals.put(totals);
}

void MonitorWriter::look_at(const Session& session, std::uint64_t kept_bytes, Nanos now) noexcept {
  // The peer's own words: whatever they say, no more than the ring holds.
  const shm::SegmentFront& peer = *session.peer.front();
  const std::uint64_t written = peer.producer_pos.load(std::memory_order_relaxed);  // to look at
  const std::uint64_t read = peer.consumer_pos.load(std::memory_order_relaxed);     // the same
  const std::uint64_t in = written - session.in.position();
  const std::uint64_t out = session.out.position() - read;
  rows_[session.number].now.put({.told_at = now,
                                 .active_at = session.active_at,
                                 .running = session.running.size(),
                                 .in_bytes = in <= session.in.capacity() ? in : 0,
                                 .out_bytes = out <= session.out.capacity() ? out : 0,
                                 .kept_bytes = kept_bytes,
                                 .flags = (session.hot ? shm::kMonitorHot : 0) |
                                          (session.suspended ? shm::kMonitorSuspended : 0)});
}

}  // namespace mserve::broker
