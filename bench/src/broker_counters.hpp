// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string_view>

#include "mserve/shm/counters.hpp"
#include "trips.hpp"

namespace mserve::bench {

/// The counters of a broker of this user, which tells them once a millisecond.
class BrokerCounters {
 public:
  /// Attaches for a moment, to be told where they are. Throws std::runtime_error when that fails.
  explicit BrokerCounters(const TripOptions& broker);

  /// By its name; throws std::runtime_error when there is none.
  [[nodiscard]] std::uint64_t value(std::string_view name) const;

 private:
  shm::CountersReader reader_;
};

}  // namespace mserve::bench
