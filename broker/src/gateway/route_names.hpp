// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <string_view>

#include "mserve/shm/monitor_layout.hpp"

namespace mserve::broker {

/// Tells whoever looks at the broker how routes are called, which the data thread knows by their
/// hashes alone. The newest names of each set stay. Threads: the gateway's.
class RouteNames {
 public:
  /// @param sets  outlives it; null: nobody is told.
  explicit RouteNames(shm::MonitorNameSet* sets = nullptr) noexcept : sets_(sets) {}

  /// Of a request that goes to the data plane; hash 0: it has no route. Looks at 8 places; stores
  /// if the name is in none of them.
  void note(std::uint64_t route, std::string_view text) noexcept {
    if (sets_ == nullptr || route == 0) {
      return;
    }
    const std::uint32_t set = shm::monitor_set_of(route);
    for (const shm::MonitorName& name : sets_[set].names) {
      if (name.hash.load(std::memory_order_relaxed) == route) {  // this thread stored it
        return;
      }
    }
    shm::MonitorName& name = sets_[set].names[next_[set]++ % shm::kMonitorWays];
    shm::MonitorName::Text copy{};
    std::copy_n(text.begin(), std::min(text.size(), sizeof(copy.text) - 1), copy.text);
    name.version.begin_change();
    name.hash.store(route, std::memory_order_release);  // M2
    name.text.put(copy);
    name.version.end_change();
  }

 private:
  shm::MonitorNameSet* sets_;
  std::array<std::uint8_t, shm::kMonitorRouteSets> next_{};
};

}  // namespace mserve::broker
