// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

#include "mserve/shm/counters.hpp"
#include "mserve/shm/errc.hpp"

namespace mserve::shm {

// What a broker shows of its sessions, routes and latencies, in a named shared memory object beside
// its counters: tables of fixed size, taken at the start. Whoever only reads wants monitor.hpp.
//   Roles     the data thread stores MonitorTotals, the busy half of each MonitorRow, MonitorBook,
//             MonitorRouteSet; the control thread the other half of each row and MonitorEvent; the
//             gateway's thread MonitorNameSet. Each word has one storing thread; any number of
//             readers, which nobody waits for
//   Progress  wait-free, both sides: a reader that met a change three times takes what it has
//   Edges     M1 ready  header.ready: create() store release -> open() load acquire
//             M2 row    row.version, event.version, folds, a slot's key: odd (or 0) before the
//                       change, then the words by store release, then even by store release; the
//                       reader loads it, the words and it again by load acquire. Whoever saw a word
//                       of the change so sees the odd number too
//   Invariant what counts only grows while its row or slot stays the same
//   Crash     a killed broker leaves the object; the next one of that name replaces it
//   Trust     readers map it read-only and check everything; the writers read nothing back but
//             counts and keys, which choose no address. Mode 0600, whatever --socket-group says:
//             names and routes tell what users ask

inline constexpr std::uint32_t kMonitorMagic = 0x314d534dU;  // "MSM1", little endian
inline constexpr std::uint16_t kMonitorMajor = 1;
inline constexpr std::uint16_t kMonitorMinor = 0;

inline constexpr std::uint32_t kMonitorSessionsMax = 16384;
inline constexpr std::uint32_t kMonitorBooksMax = 257;
inline constexpr std::uint32_t kMonitorWays = 8;        ///< Places of one set of routes.
inline constexpr std::uint32_t kMonitorRouteSets = 64;  ///< So 512 routes.
inline constexpr std::uint32_t kMonitorEvents = 256;

// ---- Histograms. Log-linear: exact below 4 ns, then 4 buckets per power of two, so a bucket is at
// most a quarter as wide as its values; from 2^40 ns (18 minutes) on all is in the last.

inline constexpr std::uint32_t kMonitorBuckets = 156;

/// The bucket of a time.
[[nodiscard]] constexpr std::uint32_t monitor_bucket_of(std::uint64_t ns) noexcept {
  const auto width = static_cast<std::uint32_t>(std::bit_width(ns));
  const std::uint32_t shift = width > 3 ? width - 3 : 0;
  const auto bucket = static_cast<std::uint32_t>((shift << 2) + (ns >> shift));
  return bucket < kMonitorBuckets ? bucket : kMonitorBuckets - 1;
}
/// The smallest time of a bucket, up to and with kMonitorBuckets: that is where the last one ends.
[[nodiscard]] constexpr std::uint64_t monitor_bucket_begin(std::uint32_t bucket) noexcept {
  if (bucket < 8) {
    return bucket;
  }
  return std::uint64_t{4 + (bucket & 3)} << ((bucket >> 2) - 1);
}
static_assert(monitor_bucket_of(0) == 0 && monitor_bucket_of(7) == 7 && monitor_bucket_of(8) == 8);
static_assert(monitor_bucket_begin(kMonitorBuckets) == std::uint64_t{1} << 40);
static_assert(monitor_bucket_of((std::uint64_t{1} << 40) - 1) == kMonitorBuckets - 1);

/// One histogram, in shared memory.
struct MonitorCells {
  Counter counts[kMonitorBuckets];
  Counter sum_ns;
  Counter reserved[3];

  /// hot: two loads, adds and stores, of two lines.
  void record(std::uint64_t ns) noexcept {
    counts[monitor_bucket_of(ns)].add();
    sum_ns.add(ns);
  }
};
static_assert(sizeof(MonitorCells) == 1280);

/// The histograms of one servant; which stamps they hold is said at MonitorLatency. A request that
/// waited for nothing stands in `direct` alone, by its execution, which is its whole round trip
/// too: two stores instead of six. The reader puts them together.
struct MonitorBook {
  MonitorCells direct;
  MonitorCells queue;
  MonitorCells execution;
  MonitorCells whole;
};

// ---- Plain structs of 64-bit words, stored and loaded word by word.

/// Who a row is about.
struct MonitorIdentity {
  std::uint32_t number = 0;  ///< From 1, as in logs; 0: the row is free.
  std::uint32_t generation = 0;
  std::uint32_t role = 0;  ///< Role.
  std::int32_t pid = 0;
  std::uint32_t uid = 0;
  std::uint32_t credit = 0;
  std::uint32_t weight = 0;
  std::uint32_t tier = 0;
  std::uint32_t book = 0;  ///< Of a servant: its MonitorBook; 0: the one that is shared.
  std::uint32_t reserved = 0;
  std::uint32_t ring_in_bytes = 0;   ///< Capacity of its ring to the broker.
  std::uint32_t ring_out_bytes = 0;  ///< Capacity of the broker's ring to it.
  std::int64_t attached_at = 0;      ///< ns since 1970, UTC.
  char name[64] = {};
  char tags[120] = {};  ///< Cut to fit.
};

/// What is stored of a row now and then, a millisecond or more ago.
struct MonitorNow {
  std::uint64_t told_at = 0;     ///< CLOCK_MONOTONIC, ns.
  std::uint64_t active_at = 0;   ///< The same: its last frame.
  std::uint64_t running = 0;     ///< Of a servant: requests that it runs.
  std::uint64_t in_bytes = 0;    ///< In its ring to the broker, not yet taken.
  std::uint64_t out_bytes = 0;   ///< In the broker's ring to it, not yet read.
  std::uint64_t kept_bytes = 0;  ///< Of a client: answers that wait for it to read.
  std::uint64_t flags = 0;       ///< kMonitorHot ...
  std::uint64_t reserved = 0;
};
inline constexpr std::uint64_t kMonitorHot = 1;        ///< Polled every pass.
inline constexpr std::uint64_t kMonitorSuspended = 2;  ///< Gets nothing new.
inline constexpr std::uint64_t kMonitorClosed = 4;     ///< Its session has ended.

/// Why a servant gets nothing new; MonitorRow::held.
inline constexpr std::uint64_t kMonitorStopped = 1;   ///< Its process is stopped.
inline constexpr std::uint64_t kMonitorPaused = 2;    ///< An operator said so.
inline constexpr std::uint64_t kMonitorDraining = 4;  ///< And waits for it to run dry.
inline constexpr std::uint64_t kMonitorSpare = 8;     ///< Of the reserve, about to be stopped.

/// What the broker as a whole does. Times are CLOCK_MONOTONIC ns; counts are since the start.
struct MonitorTotals {
  std::uint64_t told_at = 0;     ///< When this was stored: about each millisecond.
  std::uint64_t started_at = 0;  ///< When the data plane was made.
  std::uint64_t policy = 0;      ///< Policy of dispatch/types.hpp.
  std::uint64_t queued = 0;      ///< Requests that wait for a servant now.
  std::uint64_t running = 0;     ///< Requests with a servant now.
  /// How long the oldest queued request has waited; of those that were looked at, one each
  /// millisecond, so a queue that is younger may show 0.
  std::uint64_t queue_age_ns = 0;
  std::uint64_t sessions = 0;    ///< Attached now.
  std::uint64_t servants = 0;    ///< Attached now.
  std::uint64_t requests = 0;    ///< Accepted from clients.
  std::uint64_t refused = 0;     ///< Not accepted: busy, no servant or the like.
  std::uint64_t replies = 0;     ///< Answers of servants handed to clients or kept for them.
  std::uint64_t errors = 0;      ///< Requests that ended with a status of the broker's.
  std::uint64_t dispatched = 0;  ///< Sent to servants, repeats included; the sum of the next seven.
  std::uint64_t hits = 0;        ///< To a servant that held the route.
  std::uint64_t claims = 0;      ///< Nobody held it: to one with room for one more route.
  std::uint64_t steals = 0;      ///< Nobody held it: to one of which it displaced a route.
  std::uint64_t spills = 0;      ///< A holder lives, but it went to another servant.
  std::uint64_t unrouted = 0;    ///< Without a route.
  std::uint64_t remote = 0;      ///< To a servant of tier 1 to 3.
  std::uint64_t bound = 0;       ///< To the servant of a sticky client, or of a broadcast.
  std::uint64_t retried = 0;     ///< Put back because the servant left.
  std::uint64_t queue_timeouts = 0;
  std::uint64_t overruns = 0;    ///< Ran too long.
  std::uint64_t died = 0;        ///< Failed because their servant left.
  std::uint64_t cancelled = 0;   ///< Vanished with their client or by its wish.
  std::uint64_t poisoned = 0;    ///< Sessions closed because their peer broke the protocol.
  std::uint64_t slow = 0;        ///< Clients closed because they did not read.
  std::uint64_t stalled = 0;     ///< Sessions closed because a message made no progress.
  std::uint64_t kept = 0;        ///< Answers that had to wait for a slow client.
  std::uint64_t kept_bytes = 0;  ///< How much of them waits now.
  std::uint64_t wakes = 0;       ///< Peers woken.
  std::uint64_t sleeps = 0;      ///< Times that the data thread slept,
  std::uint64_t asleep_ns = 0;   ///< and for how long in all.
  std::uint64_t passes = 0;      ///< Of the data thread,
  std::uint64_t worked = 0;      ///< and those that found work.
};

/// What stands in an event.
struct MonitorEventWords {
  std::int64_t at = 0;        ///< ns since 1970, UTC.
  std::uint32_t kind = 0;     ///< MonitorEventKind.
  std::uint32_t session = 0;  ///< Number from 1; 0: none.
  std::uint32_t code = 0;     ///< Errc.
  std::int32_t pid = 0;
  char text[96] = {};  ///< NUL-terminated, printable ASCII, cut to fit.
};

enum class MonitorEventKind : std::uint32_t {
  started = 1,   ///< The broker.
  attached = 2,  ///< A session; `text` is its name.
  detached = 3,  ///< It left.
  closed = 4,    ///< This side closed it, for `code` and `text`.
  stopped = 5,   ///< A servant's process is stopped (SIGSTOP),
  resumed = 6,   ///< and goes on.
  order = 7,     ///< Of an operator.
  reloaded = 8,  ///< The configuration was read again.
  draining = 9,  ///< The broker shuts down.
  launch = 10,   ///< A launched servant ended, is started again, or one of the reserve.
};

// ---- Words in shared memory.

/// A plain struct, word by word.
template <class Plain>
class MonitorWords {
  static_assert(std::is_trivially_copyable_v<Plain> && sizeof(Plain) % 8 == 0);
  using Words = std::array<std::uint64_t, sizeof(Plain) / 8>;

 public:
  void put(const Plain& plain) noexcept {
    const auto words = std::bit_cast<Words>(plain);
    for (std::size_t i = 0; i < words.size(); ++i) {
      words_[i].store(words[i], std::memory_order_release);  // M2
    }
  }
  [[nodiscard]] Plain get() const noexcept {
    Words words;
    for (std::size_t i = 0; i < words.size(); ++i) {
      words[i] = words_[i].load(std::memory_order_acquire);  // M2
    }
    return std::bit_cast<Plain>(words);
  }

 private:
  std::atomic<std::uint64_t> words_[sizeof(Plain) / 8];
};

/// Tells of changes to what it stands beside; see edge M2.
class MonitorVersion {
 public:
  void begin_change() noexcept {
    value_.store(value_.load(std::memory_order_relaxed) | 1,
                 std::memory_order_relaxed);  // the release stores of the words carry it
  }
  void end_change() noexcept {
    value_.store((value_.load(std::memory_order_relaxed) | 1) + 1,
                 std::memory_order_release);  // M2
  }
  [[nodiscard]] std::uint64_t get() const noexcept {
    return value_.load(std::memory_order_acquire);  // M2
  }

 private:
  std::atomic<std::uint64_t> value_;
};

/// Counted as it happens: one line of the data thread's.
struct MonitorBusy {
  Counter requests;  ///< Of a client: accepted; of a servant: sent to it.
  Counter answered;  ///< Of a client: answers for it; of a servant: requests that it answered.
  Counter errors;    ///< Of a client: statuses of the broker's; of a servant: it answered `failed`.
  Counter hits;      ///< Of a servant: it held the route.
  Counter overruns;  ///< Of a servant: ran too long.
  Counter interrupts;  ///< Of a servant: told that nobody waits.
  Counter kept;        ///< Of a client: answers that had to wait for it.
  Counter lost;        ///< Of a servant: what it ran when its session ended.
};

/// One session. The first half belongs to the control thread, the second to the data thread.
struct MonitorRow {
  MonitorVersion version;
  std::atomic<std::uint64_t> held;  ///< kMonitorStopped ...
  MonitorWords<MonitorIdentity> identity;
  MonitorBusy busy;
  MonitorWords<MonitorNow> now;
};
static_assert(sizeof(MonitorRow) == 384 && offsetof(MonitorRow, busy) == 256);

/// A word of a place that others may take over; see edge M2.
class MonitorWord {
 public:
  [[nodiscard]] std::uint64_t get() const noexcept {
    return value_.load(std::memory_order_relaxed);  // its own thread's
  }
  void add(std::uint64_t n) noexcept {
    value_.store(get() + n, std::memory_order_relaxed);  // within one life of the place
  }
  void set(std::uint64_t value) noexcept {
    value_.store(value, std::memory_order_release);  // M2
  }
  [[nodiscard]] std::uint64_t look() const noexcept {
    return value_.load(std::memory_order_acquire);  // M2
  }

 private:
  std::atomic<std::uint64_t> value_;
};

/// Eight routes. What is used most is kept by the rule of Metwally's Space-Saving: a new route
/// takes the place of the one used least and inherits its count, as an error bound.
struct MonitorRouteSet {
  MonitorWord keys[kMonitorWays];  ///< Hash; 0: free or just being changed.
  MonitorWord counts[kMonitorWays];
  MonitorWord errors[kMonitorWays];  ///< At most so much of the count belongs to others.
  MonitorWord hits[kMonitorWays];
  MonitorWord execution_ns[kMonitorWays];
};

struct MonitorName {
  MonitorVersion version;
  std::atomic<std::uint64_t> hash;
  struct Text {
    char text[64];
  };
  MonitorWords<Text> text;
};
struct MonitorNameSet {
  MonitorName names[kMonitorWays];
};

struct MonitorEvent {
  MonitorVersion version;  ///< 2 * (times that this place was used).
  MonitorWords<MonitorEventWords> words;
};
static_assert(sizeof(MonitorEvent) == 128);

struct MonitorHeader {
  std::atomic<std::uint64_t> ready;  ///< Magic (high 32 bits), major, minor; stored last.
  std::uint64_t broker_epoch;
  std::int32_t pid;
  std::uint32_t sessions;  ///< Rows.
  std::uint32_t books;
  std::uint32_t route_sets;
  std::uint32_t events;
  std::uint32_t reserved[23];
};
static_assert(std::is_standard_layout_v<MonitorHeader> && sizeof(MonitorHeader) == 128);

/// What is there once.
struct MonitorBroker {
  MonitorWords<MonitorTotals> totals;              ///< The data thread's, as all here but the next.
  alignas(128) std::atomic<std::uint64_t> events;  ///< How many there were. The control thread's.
  alignas(128) MonitorVersion folds;               ///< Odd while a book is added to book 0.
  MonitorCells in;
  MonitorCells out;
};

/// Where the parts are.
struct MonitorShape {
  std::uint32_t sessions = 0;
  std::uint32_t books = 1;

  static constexpr std::uint64_t kBrokerAt = sizeof(MonitorHeader);
  static constexpr std::uint64_t kRoutesAt = kBrokerAt + sizeof(MonitorBroker);
  static constexpr std::uint64_t kNamesAt = kRoutesAt + kMonitorRouteSets * sizeof(MonitorRouteSet);
  static constexpr std::uint64_t kEventsAt = kNamesAt + kMonitorRouteSets * sizeof(MonitorNameSet);
  static constexpr std::uint64_t kRowsAt = kEventsAt + kMonitorEvents * sizeof(MonitorEvent);
  [[nodiscard]] constexpr std::uint64_t books_at() const noexcept {
    return kRowsAt + std::uint64_t{sessions} * sizeof(MonitorRow);
  }
  [[nodiscard]] constexpr std::uint64_t bytes() const noexcept {
    return books_at() + std::uint64_t{books} * sizeof(MonitorBook);
  }
  [[nodiscard]] constexpr bool valid() const noexcept {
    return sessions >= 1 && sessions <= kMonitorSessionsMax && books >= 1 &&
           books <= kMonitorBooksMax;
  }
};
static_assert(MonitorShape::kRowsAt % 128 == 0 && MonitorShape::kRoutesAt % 128 == 0);
inline constexpr std::uint64_t kMonitorBytesMax =
    MonitorShape{kMonitorSessionsMax, kMonitorBooksMax}.bytes();

struct MonitorOptions {
  std::string counters_name;  ///< CountersWriter::name(): it is ours alone.
  std::uint64_t broker_epoch = 0;
  std::uint32_t sessions = 1024;  ///< Cut to kMonitorSessionsMax.
};

/// The broker's side: the tables, all zero, writable. Which thread stores what, see above.
class MonitorSegment {
 public:
  /// Creates the object, of mode 0600, and removes what killed brokers left of it.
  /// @return `in_use`, `no_memory` (/dev/shm is full; 1.8 MiB with 1024 sessions), `os`.
  [[nodiscard]] static Result<MonitorSegment> create(const MonitorOptions& options);

  MonitorSegment(MonitorSegment&&) noexcept;
  MonitorSegment& operator=(MonitorSegment&&) noexcept;
  /// Removes the object, unless a forked child runs this.
  ~MonitorSegment();

  /// For CountersWriter::tell_monitor().
  [[nodiscard]] std::uint32_t suffix() const noexcept;
  [[nodiscard]] const std::string& name() const noexcept;

  // Addresses are stable while it lives, moves included.
  [[nodiscard]] MonitorBroker& broker() const noexcept;
  [[nodiscard]] std::span<MonitorRow> rows() const noexcept;
  /// Book 0 holds what belongs to no other: servants that left, and those beyond the last book.
  [[nodiscard]] std::span<MonitorBook> books() const noexcept;
  [[nodiscard]] std::span<MonitorRouteSet, kMonitorRouteSets> routes() const noexcept;
  [[nodiscard]] std::span<MonitorNameSet, kMonitorRouteSets> names() const noexcept;
  [[nodiscard]] std::span<MonitorEvent, kMonitorEvents> events() const noexcept;

 private:
  struct Parts;
  explicit MonitorSegment(std::unique_ptr<Parts> parts) noexcept;
  std::unique_ptr<Parts> parts_;
};

/// `NAME-monitor`, with `.SUFFIX` if that is not 0.
[[nodiscard]] std::string monitor_name(std::string_view counters_name, std::uint32_t suffix);

/// The set of a route. Clients choose hashes, so it is scattered.
[[nodiscard]] constexpr std::uint32_t monitor_set_of(std::uint64_t route) noexcept {
  return static_cast<std::uint32_t>((route * 0x9e3779b97f4a7c15ULL) >> 58);
}
static_assert(kMonitorRouteSets == 64, "monitor_set_of() gives six bits");

}  // namespace mserve::shm
