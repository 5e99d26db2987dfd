// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "mserve/shm/errc.hpp"
#include "mserve/shm/monitor.hpp"
#include "stat/control_call.hpp"

namespace mserve::stat {

/// Asks a broker where it shows what it does, and opens that.
/// @param reason  one sentence when it fails.
/// @return as Attachment::open() and MonitorReader::open(); `access`: not its user, nor root;
///         `no_broker`: none is there, or one too old to show anything.
[[nodiscard]] Result<shm::MonitorReader> open_monitor(const BrokerName& broker,
                                                      std::uint64_t timeout_ns,
                                                      std::string& reason);

/// Two looks at a broker, for rates; one look gives none.
struct View {
  shm::MonitorSnapshot now;
  std::optional<shm::MonitorSnapshot> before{};

  /// Seconds between the two; 0: there is one.
  [[nodiscard]] double seconds() const noexcept;
  /// Per second; 0 without an earlier look or when it shrank.
  [[nodiscard]] double rate(std::uint64_t now_count, std::uint64_t before_count) const noexcept;
  /// The same session at the earlier look; null: it was not there.
  [[nodiscard]] const shm::MonitorSession* before_of(const shm::MonitorSession& session) const;
  /// Latencies of the time between the two looks; of one look, since the start.
  [[nodiscard]] shm::MonitorLatency latency() const;
  [[nodiscard]] shm::MonitorBrokerTimes broker_times() const;
  /// Of a servant, likewise; nothing without a book of its own.
  [[nodiscard]] std::optional<shm::MonitorLatency> latency_of(
      const shm::MonitorSession& session) const;
};

/// The servant of that number, as told to operators; null: there is none.
[[nodiscard]] const shm::MonitorSession* servant_of(const shm::MonitorSnapshot& snapshot,
                                                    std::uint64_t number);

/// The data thread has shown nothing for this long: it is stopped, stuck or dead.
inline constexpr std::uint64_t kStaleNs = 2'000'000'000;
[[nodiscard]] bool stale(const shm::MonitorSnapshot& snapshot) noexcept;

}  // namespace mserve::stat
