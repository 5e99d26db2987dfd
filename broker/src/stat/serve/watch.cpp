// SPDX-License-Identifier: Apache-2.0
#include "stat/serve/watch.hpp"

#include <chrono>
#include <utility>

#include "mserve/shm/clock.hpp"

namespace mserve::stat {

namespace {

std::int64_t unix_ms() {
  using namespace std::chrono;
  return duration_cast<milliseconds>(system_clock::now().time_since_epoch()).count();
}

}  // namespace

void Watch::look() {
  if (live_.look()) {
    fresh_.reset();
    points_.clear();
    asked_.clear();
  }
  if (presence() == Presence::there && view()->before) {
    add_point();
  }
}

void Watch::add_point() {
  constexpr double kMedian = 50;
  constexpr double kMost = 90;
  constexpr double kTail = 99;
  constexpr std::uint64_t kNsPerMs = 1'000'000;
  const View& view = *live_.view();
  const shm::MonitorHistogram whole = view.latency().whole;
  const shm::MonitorTotals& now = view.now.totals;
  const shm::MonitorTotals& before = view.before->totals;
  points_.push_back({.number = view.now.taken_at / kNsPerMs,
                     .at_ms = unix_ms(),
                     .answered = whole.count(),
                     .p50 = whole.percentile_ns(kMedian),
                     .p90 = whole.percentile_ns(kMost),
                     .p99 = whole.percentile_ns(kTail),
                     .max = static_cast<double>(whole.max_ns()),
                     .requests_per_s = view.rate(now.requests, before.requests),
                     .errors_per_s = view.rate(now.errors, before.errors),
                     .queued = now.queued,
                     .running = now.running});
  if (points_.size() > kPointsMax) {
    points_.pop_front();
  }
}

const shm::MonitorSnapshot* Watch::fresh() {
  if (presence() == Presence::gone || !live_.reader()->current()) {
    // Perhaps the next one is there already; but many who ask are no reason to try all the time.
    if (const std::uint64_t now = shm::steady_now(); now - live_.asked_at() >= kFindNs) {
      look();
    }
  }
  if (presence() == Presence::gone) {
    return nullptr;
  }
  if (!fresh_ || shm::steady_now() - fresh_->taken_at > kFreshNs) {
    fresh_ = live_.reader()->snapshot();
  }
  return &*fresh_;
}

std::vector<shm::MonitorHappening> Watch::events(std::uint64_t after) const {
  return presence() != Presence::gone ? live_.reader()->events(after)
                                      : std::vector<shm::MonitorHappening>{};
}

Counters Watch::counters() const {
  return presence() != Presence::gone ? live_.reader()->counters() : Counters{};
}

Result<ControlAnswer> Watch::ask(const shm::Control& request, std::string& reason) {
  constexpr std::uint64_t kQuietNs = 1'000'000'000;
  if (presence() != Presence::there) {
    reason = this->reason();
    return Error{presence() == Presence::gone ? Errc::no_broker : Errc::timed_out, 0, "watch"};
  }
  const auto key = std::pair{static_cast<std::uint32_t>(request.verb), request.count};
  const std::uint64_t now = shm::steady_now();
  auto found = asked_.find(key);
  if (found == asked_.end() || now - found->second.at > kQuietNs) {
    // Few numbers of rows are asked for; whoever tries many makes nothing grow.
    constexpr std::size_t kKept = 16;
    if (found == asked_.end() && asked_.size() >= kKept) {
      asked_.clear();
    }
    std::string why;
    auto answer = call_control(live_.broker(), request, why, kWaitNs);
    found = asked_.insert_or_assign(key, Asked{now, std::move(answer), std::move(why)}).first;
  }
  reason = found->second.reason;
  return found->second.answer;
}

}  // namespace mserve::stat
