// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "data/request_table.hpp"
#include "data/session.hpp"
#include "dispatch/types.hpp"
#include "mserve/shm/clock.hpp"
#include "mserve/shm/monitor_layout.hpp"

namespace mserve::broker {

/// The data thread's share of what the broker shows of itself (shm/monitor_layout.hpp): plain
/// stores to lines that only it writes, mostly after the answer is on its way. Roles, edges and
/// trust are said there. Allocates at construction only. Threads: the data thread's.
class MonitorWriter {
 public:
  /// @param segment  outlives it.
  MonitorWriter(shm::MonitorSegment& segment, std::uint32_t sessions, Nanos now);

  // Sessions come and go. The control thread has filled the row before.
  void attached(const Session& session) noexcept;
  /// Of a servant: it left while it ran so many.
  void lost(std::uint32_t servant, std::size_t count) noexcept {
    rows_[servant].busy.lost.add(count);
  }
  /// Of a servant: it gave back a request that it did not run.
  void sent_back(std::uint32_t servant) noexcept {
    rows_[servant].busy.answered.add();
    rows_[servant].busy.errors.add();
  }
  /// Adds the book of a servant to the one of all that have left.
  void closing(const Session& session, Errc code) noexcept;

  // A request's way. hot: one store, or two.
  void admitted(std::uint32_t client) noexcept { rows_[client].busy.requests.add(); }
  /// @param hits  Counters::hits now: whether this one hit is what it grew by.
  void dispatched(std::uint32_t servant, RequestRecord& record, std::uint64_t hits) noexcept {
    shm::MonitorBusy& busy = rows_[servant].busy;
    busy.requests.add();
    record.warm = hits != hits_;
    if (record.warm) {
      busy.hits.add();
    }
    hits_ = hits;
  }
  /// Its servant answered, and the answer is on its way. hot: three stores if it never waited and
  /// has no route, five or six with one; four more if it waited.
  void answered(std::uint32_t servant, const RequestRecord& record, Nanos now,
                bool failed) noexcept {
    const Nanos queued = record.dispatched_at - record.submitted_at;
    const Nanos ran = now - record.dispatched_at;
    shm::MonitorBook& book = *books_[servant];
    if (queued == 0) [[likely]] {
      book.direct.record(ran);
    } else {
      book.queue.record(queued);
      book.execution.record(ran);
      book.whole.record(queued + ran);
    }
    shm::MonitorBusy& busy = rows_[servant].busy;
    busy.answered.add();
    if (failed) [[unlikely]] {
      busy.errors.add();
    }
    if (record.route != 0) {
      count_route(record.route, ran, record.warm);
    }
  }
  void replied(std::uint32_t client) noexcept { rows_[client].busy.answered.add(); }
  void refused(std::uint32_t client) noexcept { rows_[client].busy.errors.add(); }
  void kept(std::uint32_t client) noexcept { rows_[client].busy.kept.add(); }
  void overran(std::uint32_t servant) noexcept { rows_[servant].busy.overruns.add(); }
  void interrupted(std::uint32_t servant) noexcept { rows_[servant].busy.interrupts.add(); }

  // How long the broker itself takes; one of kSampleEvery is looked at.
  void begin_in(shm::TscClock& clock) noexcept { in_.begin(clock); }
  void end_in(shm::TscClock& clock) noexcept { in_.end(clock, broker_.in); }
  void begin_out(shm::TscClock& clock) noexcept { out_.begin(clock); }
  void end_out(shm::TscClock& clock) noexcept { out_.end(clock, broker_.out); }

  // The loop.
  void passed(bool worked) noexcept {
    ++passes_;
    worked_ += worked ? 1 : 0;
  }
  void falls_asleep(Nanos now) noexcept { asleep_since_ = now; }
  void wakes_up(Nanos now) noexcept { asleep_ns_ += now > asleep_since_ ? now - asleep_since_ : 0; }

  /// A request waits for a servant. One each millisecond is remembered, to tell the queue's age.
  void queued(const RequestRecord& record, Nanos now) noexcept {
    if (now >= probe_at_) [[unlikely]] {
      remember(record, now);
    }
  }
  /// How long the oldest of these has waited; 0: none waits. Bounded.
  [[nodiscard]] Nanos queue_age(const std::vector<RequestRecord>& records, Nanos now) noexcept;

  /// What goes on by itself is filled in; the rest is the caller's.
  void publish(shm::MonitorTotals& totals, Nanos now) noexcept;
  /// What its rings hold, and the like. @param kept_bytes  answers that wait for it.
  void look_at(const Session& session, std::uint64_t kept_bytes, Nanos now) noexcept;

 private:
  /// A stopwatch that runs for some of many.
  struct Sample {
    static constexpr std::uint32_t kSampleEvery = 64;
    std::uint32_t left = kSampleEvery;
    Nanos since = 0;  ///< 0: it does not run.
    void begin(shm::TscClock& clock) noexcept {
      since = 0;
      if (--left == 0) [[unlikely]] {
        left = kSampleEvery;
        since = clock.now();
      }
    }
    void end(shm::TscClock& clock, shm::MonitorCells& cells) noexcept {
      if (since != 0) [[unlikely]] {
        cells.record(clock.now() - since);
        since = 0;
      }
    }
  };
  /// A request that was queued when it was looked at.
  struct Probe {
    RequestId id;
    Nanos submitted_at = 0;
  };
  static constexpr std::size_t kProbes = 1024;

  void count_route(std::uint64_t route, Nanos ran, bool warm) noexcept {
    shm::MonitorRouteSet& set = routes_[shm::monitor_set_of(route)];
    for (std::uint32_t i = 0; i < shm::kMonitorWays; ++i) {
      if (set.keys[i].get() == route) {
        set.counts[i].add(1);
        set.execution_ns[i].add(ran);
        if (warm) {
          set.hits[i].add(1);
        }
        return;
      }
    }
    replace_route(set, route, ran, warm);
  }
  static void replace_route(shm::MonitorRouteSet& set, std::uint64_t route, Nanos ran,
                            bool warm) noexcept;
  void remember(const RequestRecord& record, Nanos now) noexcept;

  shm::MonitorBroker& broker_;
  shm::MonitorRow* rows_;
  shm::MonitorRouteSet* routes_;
  std::vector<shm::MonitorBook*> books_;  // by session; the shared one where there is no other
  shm::MonitorBook* all_books_;
  std::uint64_t hits_ = 0;
  Sample in_;
  Sample out_;
  std::uint64_t passes_ = 0;
  std::uint64_t worked_ = 0;
  Nanos asleep_since_ = 0;
  Nanos asleep_ns_ = 0;
  Nanos started_at_;
  std::uint64_t poisoned_ = 0;
  std::uint64_t slow_ = 0;
  std::uint64_t stalled_ = 0;

  std::array<Probe, kProbes> probes_{};  // a ring
  std::uint64_t probes_taken_ = 0;
  std::uint64_t probes_added_ = 0;
  Nanos probe_at_ = 0;
};

}  // namespace mserve::broker
