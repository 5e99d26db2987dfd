// SPDX-License-Identifier: Apache-2.0
#include "hosts_change.hpp"

#include <algorithm>

#include "hosts_model.hpp"
#include "interrupt.hpp"

namespace mserve::bench {
namespace {

constexpr broker::Nanos kSecond = 1'000'000'000;
constexpr broker::Nanos kWarmUp = 10 * kSecond;
constexpr broker::Nanos kBefore = 10 * kSecond;
constexpr broker::Nanos kUntilSettled = 9 * kSecond;  // behind the first one
constexpr broker::Nanos kSettled = 10 * kSecond;
constexpr std::uint32_t kRequestsPerTrial = 5'000;
/// Where all clients ask. It has no servants, so each request travels to its route's home.
constexpr std::uint32_t kFront = 0;
/// The host that comes or goes has the last number.
constexpr std::uint32_t kOther = kHostsThatStay + 1;

enum class ChangeKind : std::uint8_t { joins, leaves };

class ChangeTrial final : public HostsWatcher {
 public:
  ChangeTrial(const HostsSettings& settings, ChangeKind kind, HostsChange& to)
      : s_(settings), kind_(kind), to_(to), model_(settings, kOther + 1, 1, *this) {
    model_.add_host(0);
    for (std::uint32_t host = 0; host < to.before; ++host) {
      model_.add_host(s_.servants);
    }
    model_.set_demand(kFront, to.per_second / 1e9);
  }

  void run() {
    model_.begin();
    model_.run_for(kWarmUp);
    go_on(HostsPhase::before, kBefore);
    const std::vector<std::uint32_t> homes = homes_now();
    if (kind_ == ChangeKind::joins) {
      model_.add_host(s_.servants);
    } else {
      model_.retire_host(kOther);
    }
    count_moves(homes);
    go_on(HostsPhase::right_after, kSecond);
    go_on(HostsPhase::warm_up, kUntilSettled);
    go_on(HostsPhase::after, kSettled);
    model_.finish();
    to_.refused += model_.refused();
  }

 private:
  void go_on(HostsPhase phase, broker::Nanos ns) {
    model_.enter(phase);
    model_.run_for(ns);
  }

  void on_forwarded(const Asked&, std::uint32_t) override {}
  void on_served(const Asked& asked, bool, bool warm) override {
    switch (asked.phase) {
      case HostsPhase::before:
        to_.warm_before.count(warm);
        break;
      case HostsPhase::right_after:
        to_.warm_first_second.count(warm);
        if (moved_[asked.route]) {
          to_.warm_moved.count(warm);
        }
        break;
      case HostsPhase::after:
        to_.warm_settled.count(warm);
        break;
      case HostsPhase::warm_up:
        break;
    }
  }

  [[nodiscard]] std::vector<std::uint32_t> homes_now() const {
    std::vector<std::uint32_t> homes;
    for (std::uint32_t route = 0; route < s_.routes; ++route) {
      homes.push_back(model_.home_of(kFront, model_.hash_of(route), 1));
    }
    return homes;
  }
  void count_moves(const std::vector<std::uint32_t>& before) {
    const std::vector<std::uint32_t> after = homes_now();
    for (std::size_t route = 0; route < before.size(); ++route) {
      const bool moved = after[route] != before[route];
      moved_.push_back(moved);
      to_.moved.count(moved);
      to_.moved_elsewhere +=
          moved && (kind_ == ChangeKind::joins ? after : before)[route] != kOther ? 1 : 0;
    }
  }

  const HostsSettings& s_;
  ChangeKind kind_;
  HostsChange& to_;
  HostsModel model_;
  std::vector<bool> moved_;  ///< By route.
};

HostsChange simulate(const HostsSettings& settings, ChangeKind kind) {
  HostsChange change;
  change.before = kHostsThatStay + (kind == ChangeKind::leaves ? 1 : 0);
  change.after = kHostsThatStay + (kind == ChangeKind::joins ? 1 : 0);
  change.per_second =
      cold_capacity_per_ns(settings, kHostsThatStay) * settings.load_percent / 100 * 1e9;
  HostsSettings one = settings;
  one.routes = kRoutesThatStay;
  const std::uint32_t trials = std::max(settings.requests / kRequestsPerTrial, 1U);
  for (std::uint32_t trial = 0; trial < trials && !interrupted(); ++trial) {
    one.seed = settings.seed + trial;
    one.first_route = trial * one.routes;
    ChangeTrial(one, kind, change).run();
  }
  return change;
}

}  // namespace

HostsChange simulate_joining(const HostsSettings& settings) {
  return simulate(settings, ChangeKind::joins);
}

HostsChange simulate_leaving(const HostsSettings& settings) {
  return simulate(settings, ChangeKind::leaves);
}

}  // namespace mserve::bench
