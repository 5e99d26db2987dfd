// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <thread>
#include <vector>

#include "cores.hpp"
#include "floor_channel.hpp"
#include "forked.hpp"
#include "mserve/shm/histogram.hpp"
#include "timer.hpp"

namespace mserve::bench {

/// The smallest client-broker-servant-broker-client relay: one thread of its own on cores.relaying
/// copies each message onwards and looks at nothing but its commit word. Client and servant are the
/// caller, which must be pinned to cores.measuring.
class FloorRelay {
 public:
  /// One message at a time, for measure(), or many, for saturate(): the relay pauses differently.
  enum class Use : std::uint8_t { latency, throughput };

  FloorRelay(const CorePair& cores, std::size_t payload_bytes, Use use = Use::latency);
  ~FloorRelay();  ///< Stops and joins the thread.
  FloorRelay(const FloorRelay&) = delete;
  FloorRelay& operator=(const FloorRelay&) = delete;

  /// Round trips for `duration_ns`, one at a time. A sample goes from before the client copies its
  /// payload in until it has copied the answer out: four hops, five copies.
  void measure(const Timer& timer, std::uint64_t duration_ns, shm::Histogram& samples);
  /// Keeps `window` messages under way, as many as the channels have slots at most.
  /// @return answers per second.
  double saturate(std::uint64_t window, std::uint64_t duration_ns);

 private:
  template <bool kOneLine>
  double keep_under_way(std::uint64_t window, std::uint64_t duration_ns);
  template <bool kOneLine>
  void round_trips(const Timer& timer, std::uint64_t duration_ns, shm::Histogram& samples);
  template <bool kOneLine>
  void relay() const;
  template <bool kOneLine>
  void relay_many() const;

  // Both threads read the first two in every pass and the caller writes the rest: on one line this
  // cost up to 150 ns a round trip, by the luck of the stack's alignment.
  alignas(shm::kCacheStride) FloorChannels channels_;
  int relaying_core_;
  alignas(shm::kCacheStride) std::uint64_t number_ = 0;
  std::vector<std::byte> request_;
  std::vector<std::byte> answer_;
  std::thread thread_;
};

/// The same with a process each for client (the caller), relay and servant. Each waits as the idle
/// strategy `auto` does while it is awake, and never sleeps: with fewer cores than processes that
/// is sched_yield() and nothing else.
class ProcessRelay {
 public:
  /// The caller must be the only thread of its process. Throws std::system_error.
  /// @param pinned  the servant's and the relay's core; nothing: the kernel's choice.
  ProcessRelay(std::size_t payload_bytes, std::optional<CorePair> pinned);

  /// As FloorRelay::measure().
  void measure(const Timer& timer, std::uint64_t duration_ns, shm::Histogram& samples);

 private:
  int cores_;  ///< That the three may use.
  FloorChannels channels_;
  std::uint64_t number_ = 0;
  std::vector<std::byte> request_;
  std::vector<std::byte> answer_;
  Forked relay_;  ///< Last: they use what is above.
  Forked servant_;
};

}  // namespace mserve::bench
