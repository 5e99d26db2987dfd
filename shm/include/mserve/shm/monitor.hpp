// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "mserve/shm/counters.hpp"
#include "mserve/shm/errc.hpp"
#include "mserve/shm/monitor_layout.hpp"
#include "mserve/shm/rendezvous.hpp"

namespace mserve::shm {

/// How many times fell into which bucket (monitor_bucket_begin()), and their sum. A plain value.
struct MonitorHistogram {
  std::array<std::uint64_t, kMonitorBuckets> counts{};
  std::uint64_t sum_ns = 0;

  [[nodiscard]] std::uint64_t count() const noexcept;
  /// 0 when empty.
  [[nodiscard]] double mean_ns() const noexcept;
  /// A time that `percent` percent of all do not exceed, evenly spread within its bucket: off by a
  /// quarter at most; 0 when empty. @param percent  0..100, others are clamped.
  [[nodiscard]] double percentile_ns(double percent) const noexcept;
  /// Where the highest bucket that is not empty ends, or its value if it has but one; 0 when empty.
  [[nodiscard]] std::uint64_t max_ns() const noexcept;
  void merge(const MonitorHistogram& other) noexcept;
  /// What was added since an earlier snapshot of the same; what shrank (a restart) counts as 0.
  [[nodiscard]] MonitorHistogram since(const MonitorHistogram& earlier) const noexcept;
};

/// Latencies of requests that a servant answered, whether or not anybody still waited. All stamps
/// are readings of the data thread's clock, which is read once a pass, when the pass first needs
/// it: what happens within one pass has the same stamp, so a request that goes straight through
/// counts as queued for 0 ns. What a frame lies in a ring before the data thread looks is in none
/// of them but `execution`, which contains the servant's side of it.
struct MonitorLatency {
  /// From taking the request out of its client's ring (its last part, of one that is gathered) to
  /// giving it to the servant that answered it.
  MonitorHistogram queue;
  /// From there to taking the answer (its last part) out of the servant's ring.
  MonitorHistogram execution;
  /// The whole round trip as the broker sees it: both together.
  MonitorHistogram whole;
};

/// What the broker itself takes for a message, by readings of the clock of their own: one of 64
/// requests and answers that are one frame each is measured, so counts are a sample.
struct MonitorBrokerTimes {
  /// From looking at a request to having it committed to a servant's ring; only requests for which
  /// a servant was free.
  MonitorHistogram in;
  /// From looking at an answer to having it committed to its client's ring (or kept, if full).
  MonitorHistogram out;
};

/// MonitorBusy, as plain numbers.
struct MonitorBusyCounts {
  std::uint64_t requests = 0;
  std::uint64_t answered = 0;
  std::uint64_t errors = 0;
  std::uint64_t hits = 0;
  std::uint64_t overruns = 0;
  std::uint64_t interrupts = 0;
  std::uint64_t kept = 0;
  std::uint64_t lost = 0;
};

/// A client, servant or gateway that is attached.
struct MonitorSession {
  MonitorIdentity identity;
  std::uint64_t held = 0;  ///< kMonitorStopped ...
  MonitorBusyCounts busy;
  MonitorNow now;
  /// Of a servant that has a book of its own (the first 256 that are there at a time).
  std::optional<MonitorLatency> latency{};

  [[nodiscard]] bool is(Role role) const noexcept;
  /// Whether it is there: its row is kept for a while when it has ended.
  [[nodiscard]] bool attached() const noexcept;
  [[nodiscard]] std::string name() const;  ///< Printable ASCII.
  [[nodiscard]] std::string tags() const;
};

/// A route, by use.
struct MonitorRoute {
  std::uint64_t hash = 0;
  std::string name{};  ///< As the gateway saw it; empty: only programs on rings asked for it.
  std::uint64_t answered = 0;      ///< Requests, at most,
  std::uint64_t error = 0;         ///< and how many of these at most belong to others.
  std::uint64_t hits = 0;          ///< To a servant that held it, since it is in the table.
  std::uint64_t execution_ns = 0;  ///< In all, since it is in the table, of answered - error.
};

/// Something that happened.
struct MonitorHappening {
  std::uint64_t number = 0;  ///< From 1; without gaps.
  std::int64_t at = 0;       ///< ns since 1970, UTC.
  MonitorEventKind kind = MonitorEventKind::started;
  std::uint32_t session = 0;  ///< 0: none.
  Errc code = Errc::ok;
  pid_t pid = 0;
  std::string text;
};

struct MonitorSnapshot {
  std::uint64_t taken_at =
      0;  ///< CLOCK_MONOTONIC, ns: rates are differences by difference of this.
  MonitorTotals totals;
  std::vector<MonitorSession> sessions;  ///< By number.
  MonitorLatency latency;                ///< Of all servants, those that left included.
  MonitorBrokerTimes broker;
  std::vector<MonitorRoute> routes;  ///< Most used first.
};

/// Reads what a broker shows, from another process, at any rate: it makes nobody wait, and the
/// broker nothing slower but for the cache lines that it takes over and gives back. Everything is
/// copied and checked, so a segment full of nonsense gives nonsense of the documented shape.
/// Threads: const calls from any.
class MonitorReader {
 public:
  /// @param counters_name  as Welcome told.
  /// @param owner  the broker's user (peer_credentials() of its socket).
  /// @return `no_broker` (no such object, or it shows none), `empty` (its writer is still at it:
  ///         retry), `version_mismatch`, `access` (only the broker's own user and root may),
  ///         `bad_segment`, `invalid` (name), `os`.
  [[nodiscard]] static Result<MonitorReader> open(const std::string& counters_name, uid_t owner);

  MonitorReader(MonitorReader&&) noexcept;
  MonitorReader& operator=(MonitorReader&&) noexcept;
  ~MonitorReader();

  /// Everything but events and counters. Some 100 us with a few servants, 1 ms with 256.
  [[nodiscard]] MonitorSnapshot snapshot() const;
  /// The parts alone.
  [[nodiscard]] MonitorTotals totals() const;
  [[nodiscard]] std::vector<MonitorSession> sessions(bool with_latency = true) const;
  [[nodiscard]] MonitorLatency latency() const;
  [[nodiscard]] MonitorBrokerTimes broker_times() const;
  [[nodiscard]] std::vector<MonitorRoute> routes() const;

  /// The last events, oldest first; at most kMonitorEvents.
  /// @param after  only those with a higher number; how to follow them.
  [[nodiscard]] std::vector<MonitorHappening> events(std::uint64_t after = 0) const;
  /// All counters by name; see CountersReader.
  [[nodiscard]] std::vector<CountersReader::Value> counters() const;

  [[nodiscard]] std::uint64_t broker_epoch() const noexcept;
  [[nodiscard]] pid_t pid() const noexcept;
  /// False when another broker has taken the name, or it was ended and took the object away; then
  /// open anew. A broker that was killed leaves everything: totals().told_at stands still.
  [[nodiscard]] bool current() const;

 private:
  struct Parts;
  explicit MonitorReader(std::unique_ptr<Parts> parts) noexcept;
  std::unique_ptr<Parts> parts_;
};

/// How the gateway called a route last, printable ASCII; empty: it did not, or is just changing
/// that. @param sets  kMonitorRouteSets of them, or none: then nothing has a name.
/// @param route  its hash; 0, no route, has no name.   Threads: any.
[[nodiscard]] std::string monitor_route_name(std::span<const MonitorNameSet> sets,
                                             std::uint64_t route);

/// One word, such as "attached"; a literal.
[[nodiscard]] const char* to_string(MonitorEventKind kind) noexcept;

}  // namespace mserve::shm
