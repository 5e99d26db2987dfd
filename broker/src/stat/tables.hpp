// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "mserve/kdb/value.hpp"
#include "mserve/shm/monitor.hpp"
#include "stat/monitor_call.hpp"

// What a broker shows, as tables: for the console, and as JSON. Times are nanoseconds.
namespace mserve::stat {

/// Every word of MonitorTotals with its name, in the order of that struct.
[[nodiscard]] std::vector<std::pair<std::string, std::uint64_t>> totals_of(
    const shm::MonitorTotals& totals);

/// `orig`, `even`, ... as in --policy.
[[nodiscard]] const char* policy_name(std::uint64_t policy) noexcept;

/// What the broker's own table of servants says, with what was counted added to it, by number.
[[nodiscard]] kdb::Value servants_table(const kdb::Value& states, const View& view);
/// Attached clients and the gateway.
[[nodiscard]] kdb::Value clients_table(const View& view);
/// The most used routes, at most `count`.
[[nodiscard]] kdb::Value routes_table(const View& view, std::size_t count);
/// One row for each of queue, execution, round trip, and of the broker as a whole broker_in and
/// broker_out.
[[nodiscard]] kdb::Value latency_table(const shm::MonitorLatency& latency,
                                       const shm::MonitorBrokerTimes* broker);
[[nodiscard]] kdb::Value events_table(const std::vector<shm::MonitorHappening>& events);
/// Everything, as one JSON object.
[[nodiscard]] std::string view_json(const View& view);

/// One word: attached, paused, draining, stopped, ... also several with a plus.
[[nodiscard]] std::string state_of(const shm::MonitorSession& session);
/// How it is shown: its name, or 0x and its hash.
[[nodiscard]] std::string route_text(const shm::MonitorRoute& route);
/// The hash alone: 16 digits.
[[nodiscard]] std::string hash_text(const shm::MonitorRoute& route);

}  // namespace mserve::stat
