// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "mserve/shm/errc.hpp"
#include "mserve/shm/layout.hpp"

namespace mserve::shm {

// The broker's counters in a named shared memory object, for mserve-stat and whoever may read it.
//   Roles     one writing process; each counter has one storing thread; any number of readers
//   Edges     C1 ready  ready: create() store release -> open()     load acquire
//             C2 named  used:  add()    store release -> snapshot() load acquire
//             C3 told   monitor: tell_monitor() store release -> monitor_suffix() load acquire
//   Crash     a killed writer leaves the object; the next one of that name replaces it
//   Trust     readers check everything and map read-only; the writer reads nothing back but its own

inline constexpr std::uint32_t kCountersMagic = 0x3143534dU;  // "MSC1", little endian
inline constexpr std::uint16_t kCountersMajor = 1;
inline constexpr std::uint16_t kCountersMinor = 1;
inline constexpr std::uint32_t kCounterSlots = 1023;  ///< With the header 64 KiB.

/// One counter, in shared memory. Stores by its one thread only; nobody is made to wait.
class Counter {
 public:
  /// hot: a plain load, add and store.
  [[gnu::always_inline]] void add(std::uint64_t n = 1) noexcept { set(get() + n); }
  [[gnu::always_inline]] void set(std::uint64_t value) noexcept {
    value_.store(value, std::memory_order_relaxed);  // counters order nothing
  }
  [[nodiscard, gnu::always_inline]] std::uint64_t get() const noexcept {
    return value_.load(std::memory_order_relaxed);  // counters order nothing
  }

 private:
  std::atomic<std::uint64_t> value_{0};
};

/// One cache line per counter: those of one thread are added together and may be neighbours.
struct CounterSlot {
  char name[48];  ///< NUL-terminated; printable ASCII without spaces.
  Counter value;
  std::uint64_t reserved;
};
static_assert(std::is_standard_layout_v<CounterSlot> && sizeof(CounterSlot) == 64);
static_assert(offsetof(CounterSlot, name) == 0 && offsetof(CounterSlot, value) == 48);

struct CountersHeader {
  std::atomic<std::uint64_t> ready;  ///< Magic (high 32 bits), major, minor; stored last.
  std::uint64_t broker_epoch;
  std::int32_t pid;                 ///< Of the writer.
  std::uint32_t slots;              ///< kCounterSlots.
  std::atomic<std::uint32_t> used;  ///< Slots with a name.
  /// 1 + suffix of the monitor's object (monitor.hpp); 0: there is none (yet). Since 1.1.
  std::atomic<std::uint32_t> monitor;
  std::uint32_t reserved[8];
};
static_assert(std::is_standard_layout_v<CountersHeader> && sizeof(CountersHeader) == 64);
static_assert(offsetof(CountersHeader, ready) == 0 && offsetof(CountersHeader, broker_epoch) == 8);
static_assert(offsetof(CountersHeader, pid) == 16 && offsetof(CountersHeader, slots) == 20);
static_assert(offsetof(CountersHeader, used) == 24 && offsetof(CountersHeader, monitor) == 28);

inline constexpr std::uint64_t kCountersBytes =
    sizeof(CountersHeader) + std::uint64_t{kCounterSlots} * sizeof(CounterSlot);

struct CountersOptions {
  std::string broker;  ///< The broker's name; a valid_broker_name().
  std::uint64_t broker_epoch = 0;
  std::optional<gid_t> group =
      std::nullopt;  ///< Members may read (0640), else only the user (0600).
};

/// Creates and fills the counters. Mode 0600, or 0640 for the group that may attach: rates and
/// names tell what a desk does, so they are as private as the socket.
class CountersWriter {
 public:
  /// Creates `mserve-NAME-UID` exclusively. The writer keeps a flock on its object while it lives,
  /// so that an object of ours without one is known to be stale and is removed, whatever became of
  /// its pid. One that is not ours is never opened nor removed, and a live one is left alone (a
  /// broker of that name in another directory): then the name gets a suffix `.1` to `.15`.
  /// @return `invalid` (name), `in_use` (every name is taken: look into /dev/shm), `no_memory`
  ///         (/dev/shm is full), `os`.
  [[nodiscard]] static Result<CountersWriter> create(const CountersOptions& options);

  CountersWriter(CountersWriter&&) noexcept;
  CountersWriter& operator=(CountersWriter&&) noexcept;
  /// Removes the object, unless a forked child runs this. A child that does not exec keeps the lock
  /// alive: fork the launcher first.
  ~CountersWriter();

  /// Adds a counter, which starts at 0. Its address is stable while the writer lives, moves of the
  /// writer included. With no slot left, or a name that is empty, too long (47 bytes), not
  /// printable ASCII or has spaces, the counter is a private one that works but is not shown; see
  /// refused().
  /// @thread one at a time, at start
  [[nodiscard]] Counter& add(std::string_view name);

  /// Calls of add() whose counter is not shown.
  [[nodiscard]] std::size_t refused() const noexcept;
  /// For CountersReader::open(), to be told in Welcome; with the suffix if there is one.
  [[nodiscard]] const std::string& name() const noexcept;
  /// Tells readers that there is a MonitorSegment, and its suffix. @thread one at a time, at start
  void tell_monitor(std::uint32_t suffix) noexcept;

 private:
  struct Parts;
  explicit CountersWriter(std::unique_ptr<Parts> parts) noexcept;
  std::unique_ptr<Parts> parts_;
};

/// Reads another process's counters; maps them read-only.
class CountersReader {
 public:
  /// @param name   as Welcome told.
  /// @param owner  who must own the object: the broker's user (peer_credentials() of its socket).
  /// It
  ///               could truncate the object under us, so it is never a stranger.
  /// @return `no_broker` (no such object), `empty` (its writer is still filling it: retry),
  ///         `version_mismatch`, `access` (not readable for us, or of another owner), `bad_segment`
  ///         (wrong size or header), `invalid` (name), `os`.
  [[nodiscard]] static Result<CountersReader> open(const std::string& name, uid_t owner);

  CountersReader(CountersReader&&) noexcept;
  CountersReader& operator=(CountersReader&&) noexcept;
  ~CountersReader();

  struct Value {
    std::string name;
    std::uint64_t value = 0;
  };
  /// All counters now, in the order in which they were added; at most kCounterSlots. Slots whose
  /// name is malformed are left out.
  [[nodiscard]] std::vector<Value> snapshot() const;
  /// Of the writer.
  [[nodiscard]] std::uint64_t broker_epoch() const noexcept;
  [[nodiscard]] pid_t pid() const noexcept;
  /// Of the writer's MonitorSegment; none: it has none, or not yet.
  [[nodiscard]] std::optional<std::uint32_t> monitor_suffix() const noexcept;

 private:
  struct Parts;
  explicit CountersReader(std::unique_ptr<Parts> parts) noexcept;
  std::unique_ptr<Parts> parts_;
};

/// `mserve-NAME-UID`, the name without a suffix.
[[nodiscard]] std::string counters_name(std::string_view broker, uid_t uid);

}  // namespace mserve::shm
