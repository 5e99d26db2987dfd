// SPDX-License-Identifier: Apache-2.0
#include "stat/serve/watch.hpp"

#include <chrono>
#include <utility>

#include "mserve/shm/clock.hpp"

namespace mserve::stat {

namespace {

constexpr std::uint64_t kAskNs = 300'000'000;  // it answers within microseconds, if it runs

std::int64_t unix_ms() {
  using namespace std::chrono;
  return duration_cast<milliseconds>(system_clock::now().time_since_epoch()).count();
}

}  // namespace

const char* to_string(Presence presence) noexcept {
  switch (presence) {
    case Presence::there:
      return "ok";
    case Presence::stuck:
      return "stuck";
    case Presence::gone:
      break;
  }
  return "no_broker";
}

/// Asks which broker is there. @return true: the reader is that one's.
bool Watch::find() {
  std::string reason;
  auto reader = open_monitor(broker_, kAskNs, reason);
  found_at_ = shm::steady_now();
  if (!reader) {
    const Errc code = reader.error().code;
    // A process that is stopped lets others connect, and does not answer.
    const bool stopped = code == Errc::timed_out && reader_;
    presence_ = stopped ? Presence::stuck : Presence::gone;
    reason_ = stopped ? "the broker does not answer; it is stopped, or hangs"
                      : (reason.empty() ? advice(code) : reason);
    return false;
  }
  if (!reader_ || reader.value().broker_epoch() != reader_->broker_epoch()) {
    reader_.emplace(std::move(reader).value());
    seen_ = false;
    fresh_.reset();
    points_.clear();
    asked_.clear();
  }
  return true;
}

void Watch::look() {
  // A broker that was killed leaves what it showed, so whether there is one is asked anew.
  const bool doubtful =
      !reader_ || presence_ != Presence::there || stale(view_.now) || !reader_->current();
  if (doubtful && !find()) {
    return;
  }
  View next{.now = reader_->snapshot()};
  if (seen_) {
    next.before = std::move(view_.now);
  }
  view_ = std::move(next);
  seen_ = true;
  if (stale(view_.now)) {
    presence_ = Presence::stuck;
    reason_ = "the broker shows nothing new; it is stopped, or its data thread hangs";
    return;
  }
  presence_ = Presence::there;
  reason_.clear();
  if (view_.before) {
    add_point();
  }
}

void Watch::add_point() {
  constexpr double kMedian = 50;
  constexpr double kMost = 90;
  constexpr double kTail = 99;
  constexpr std::uint64_t kNsPerMs = 1'000'000;
  const shm::MonitorHistogram whole = view_.latency().whole;
  const shm::MonitorTotals& now = view_.now.totals;
  const shm::MonitorTotals& before = view_.before->totals;
  points_.push_back({.number = view_.now.taken_at / kNsPerMs,
                     .at_ms = unix_ms(),
                     .answered = whole.count(),
                     .p50 = whole.percentile_ns(kMedian),
                     .p90 = whole.percentile_ns(kMost),
                     .p99 = whole.percentile_ns(kTail),
                     .max = static_cast<double>(whole.max_ns()),
                     .requests_per_s = view_.rate(now.requests, before.requests),
                     .errors_per_s = view_.rate(now.errors, before.errors),
                     .queued = now.queued,
                     .running = now.running});
  if (points_.size() > kPointsMax) {
    points_.pop_front();
  }
}

const shm::MonitorSnapshot* Watch::fresh() {
  if (presence_ == Presence::gone || !reader_->current()) {
    // Perhaps the next one is there already; but many who ask are no reason to try all the time.
    if (const std::uint64_t now = shm::steady_now(); now - found_at_ >= kFindNs) {
      look();
    }
  }
  if (presence_ == Presence::gone) {
    return nullptr;
  }
  if (!fresh_ || shm::steady_now() - fresh_->taken_at > kFreshNs) {
    fresh_ = reader_->snapshot();
  }
  return &*fresh_;
}

std::vector<shm::MonitorHappening> Watch::events(std::uint64_t after) const {
  return presence_ != Presence::gone ? reader_->events(after)
                                     : std::vector<shm::MonitorHappening>{};
}

Counters Watch::counters() const {
  return presence_ != Presence::gone ? reader_->counters() : Counters{};
}

Result<ControlAnswer> Watch::ask(const shm::Control& request, std::string& reason) {
  constexpr std::uint64_t kOldNs = 1'000'000'000;
  if (presence_ != Presence::there) {
    reason = reason_;
    return Error{presence_ == Presence::gone ? Errc::no_broker : Errc::timed_out, 0, "watch"};
  }
  const auto key = std::pair{static_cast<std::uint32_t>(request.verb), request.count};
  const std::uint64_t now = shm::steady_now();
  auto found = asked_.find(key);
  if (found == asked_.end() || now - found->second.at > kOldNs) {
    // Few numbers of rows are asked for; whoever tries many makes nothing grow.
    constexpr std::size_t kKept = 16;
    if (found == asked_.end() && asked_.size() >= kKept) {
      asked_.clear();
    }
    std::string why;
    auto answer = call_control(broker_, request, why, kWaitNs);
    found = asked_.insert_or_assign(key, Asked{now, std::move(answer), std::move(why)}).first;
  }
  reason = found->second.reason;
  return found->second.answer;
}

}  // namespace mserve::stat
