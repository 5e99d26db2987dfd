// SPDX-License-Identifier: Apache-2.0
// What a broker shows of itself, as its cluster is told it.
#pragma once

#include <cstdint>
#include <optional>

#include "cluster/broker_record.hpp"
#include "mserve/shm/monitor.hpp"

namespace mserve::cluster {

/// Counts the servants of this broker: those that nobody paused or stopped, and no links to peers,
/// whose requests would go a second hop.
/// @param record  gets servants, queued, queue_age_ms and load; the rest stays.
void count_servants(const shm::MonitorSnapshot& seen, BrokerRecord& record);

/// When the own key is to be written: at once if it was never, or if the broker is another one,
/// drains, or has taken or refused a document, else at most once a second, and only if it is
/// another.
class PublishPacer {
 public:
  static constexpr std::uint64_t kEveryNs = 1'000'000'000;
  /// @return true: write it; it counts as written then. @param now  steady clock.
  [[nodiscard]] bool due(const BrokerRecord& record, std::uint64_t now);
  /// The key was taken away.
  void forget() noexcept { last_.reset(); }

 private:
  std::optional<BrokerRecord> last_;
  std::uint64_t at_ = 0;
};

}  // namespace mserve::cluster
