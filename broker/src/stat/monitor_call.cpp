// SPDX-License-Identifier: Apache-2.0
#include "stat/monitor_call.hpp"

#include <algorithm>

#include "stat/counters_call.hpp"

namespace mserve::stat {

namespace {

shm::MonitorLatency between(const shm::MonitorLatency& now, const shm::MonitorLatency& before) {
  return {now.queue.since(before.queue), now.execution.since(before.execution),
          now.whole.since(before.whole)};
}

}  // namespace

Result<shm::MonitorReader> open_monitor(const BrokerName& broker, std::uint64_t timeout_ns,
                                        std::string& reason) {
  const auto place = find_counters(broker, timeout_ns, reason);
  if (!place) {
    return place.error();
  }
  auto reader = shm::MonitorReader::open(place.value().name, place.value().owner);
  if (reader) {
    return reader;
  }
  switch (reader.error().code) {
    case Errc::access:
      reason = "only the broker's own user and root may";
      break;
    case Errc::no_broker:
      reason =
          "that broker shows nothing: it is too old, or in another container; upgrade it, or "
          "run mserve-stat where it runs";
      break;
    default:
      reason = "what the broker shows cannot be read: " + std::string(reader.error().where);
  }
  return reader;
}

double View::seconds() const noexcept {
  constexpr double kNsPerSecond = 1e9;
  return before ? static_cast<double>(now.taken_at - before->taken_at) / kNsPerSecond : 0;
}

double View::rate(std::uint64_t now_count, std::uint64_t before_count) const noexcept {
  const double s = seconds();
  return s > 0 && now_count > before_count ? static_cast<double>(now_count - before_count) / s : 0;
}

const shm::MonitorSession* View::before_of(const shm::MonitorSession& session) const {
  if (!before) {
    return nullptr;
  }
  const auto& then = before->sessions;
  const auto found = std::find_if(then.begin(), then.end(), [&](const auto& one) {
    return one.identity.number == session.identity.number &&
           one.identity.generation == session.identity.generation;
  });
  return found != then.end() ? &*found : nullptr;
}

shm::MonitorLatency View::latency() const {
  return before ? between(now.latency, before->latency) : now.latency;
}

shm::MonitorBrokerTimes View::broker_times() const {
  return before ? shm::MonitorBrokerTimes{now.broker.in.since(before->broker.in),
                                          now.broker.out.since(before->broker.out)}
                : now.broker;
}

std::optional<shm::MonitorLatency> View::latency_of(const shm::MonitorSession& session) const {
  const shm::MonitorSession* const then = before_of(session);
  if (session.latency && then != nullptr && then->latency) {
    return between(*session.latency, *then->latency);
  }
  return session.latency;
}

const shm::MonitorSession* servant_of(const shm::MonitorSnapshot& snapshot, std::uint64_t number) {
  const auto& sessions = snapshot.sessions;
  const auto found = std::find_if(sessions.begin(), sessions.end(), [&](const auto& one) {
    return one.identity.number == number && one.is(shm::Role::servant);
  });
  return found != sessions.end() ? &*found : nullptr;
}

bool stale(const shm::MonitorSnapshot& snapshot) noexcept {
  return snapshot.taken_at > snapshot.totals.told_at &&
         snapshot.taken_at - snapshot.totals.told_at > kStaleNs;
}

}  // namespace mserve::stat
