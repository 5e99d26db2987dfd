// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "mserve/kdb/value.hpp"
#include "mserve/shm/monitor.hpp"
#include "stat/control_call.hpp"
#include "stat/counters_call.hpp"
#include "stat/live_broker.hpp"
#include "stat/monitor_call.hpp"

namespace mserve::stat {

/// What one look found, for a curve over time. Rates and times are of the time since the look
/// before it, times in ns of whole round trips.
struct Point {
  std::uint64_t number = 0;  ///< Grows, also from one process that looks to the next.
  std::int64_t at_ms = 0;    ///< Since 1970, UTC.
  std::uint64_t answered = 0;
  double p50 = 0;
  double p90 = 0;
  double p99 = 0;
  double max = 0;
  double requests_per_s = 0;
  double errors_per_s = 0;
  std::uint64_t queued = 0;  ///< At the end of it.
  std::uint64_t running = 0;
};

/// A broker, whichever it is now, for whoever looks at it all the time. Nothing here waits longer
/// than kWaitNs. Threads: one.
class Watch {
 public:
  /// The longest that a call waits for a broker that is there and does not answer.
  static constexpr std::uint64_t kWaitNs = 1'000'000'000;
  static constexpr std::size_t kPointsMax = 300;

  explicit Watch(BrokerName broker) : live_(std::move(broker)) {}

  /// To be called once a second: looks again, and for a broker if there is none or another one.
  void look();

  [[nodiscard]] const std::string& name() const noexcept { return live_.broker().name; }
  /// As of LiveBroker.
  [[nodiscard]] Presence presence() const noexcept { return live_.presence(); }
  [[nodiscard]] const std::string& reason() const noexcept { return live_.reason(); }
  [[nodiscard]] const View* view() const noexcept { return live_.view(); }
  /// What holds now, at most kFreshNs old; null when the broker is gone.
  [[nodiscard]] const shm::MonitorSnapshot* fresh();
  /// 0 before a broker was there.
  [[nodiscard]] pid_t pid() const noexcept {
    return live_.reader() != nullptr ? live_.reader()->pid() : 0;
  }
  [[nodiscard]] std::uint64_t epoch() const noexcept {
    return live_.reader() != nullptr ? live_.reader()->broker_epoch() : 0;
  }
  /// As MonitorReader::events(); empty when the broker is gone.
  [[nodiscard]] std::vector<shm::MonitorHappening> events(std::uint64_t after = 0) const;
  [[nodiscard]] Counters counters() const;
  /// Points of this broker, oldest first, at most kPointsMax.
  [[nodiscard]] const std::deque<Point>& points() const noexcept { return points_; }

  /// Asks the broker's control thread, at most once a second for each verb and count: others get
  /// the same answer.
  /// @return as call_control(); `no_broker` when it is gone, `timed_out` when it is stuck.
  [[nodiscard]] Result<ControlAnswer> ask(const shm::Control& request, std::string& reason);

 private:
  static constexpr std::uint64_t kFreshNs = 50'000'000;
  static constexpr std::uint64_t kFindNs = 200'000'000;

  struct Asked {
    std::uint64_t at = 0;
    Result<ControlAnswer> answer;
    std::string reason;
  };

  void add_point();

  LiveBroker live_;
  std::optional<shm::MonitorSnapshot> fresh_;
  std::deque<Point> points_;
  std::map<std::pair<std::uint32_t, std::uint32_t>, Asked> asked_;
};

}  // namespace mserve::stat
