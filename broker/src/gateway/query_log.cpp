// SPDX-License-Identifier: Apache-2.0
#include "gateway/query_log.hpp"

#include <algorithm>
#include <ctime>

#include "mserve/kdb/types.hpp"

namespace mserve::broker {

std::vector<QueryRecord> QueryLog::last(std::size_t count) const {
  const std::size_t wanted = std::min({count, count_, kRecords});
  std::vector<QueryRecord> found;
  found.reserve(wanted);
  for (std::size_t i = count_ - wanted; i < count_; ++i) {
    found.push_back(records_[i % kRecords]);
  }
  return found;
}

std::int64_t timestamp_now() noexcept {
  timespec now{};
  (void)clock_gettime(CLOCK_REALTIME, &now);
  return (static_cast<std::int64_t>(now.tv_sec) - kdb::kEpochUnixSeconds) * 1'000'000'000 +
         now.tv_nsec;
}

}  // namespace mserve::broker
