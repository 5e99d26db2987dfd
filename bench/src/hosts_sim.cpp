// SPDX-License-Identifier: Apache-2.0
#include "hosts_sim.hpp"

#include <cmath>
#include <memory>

#include "hosts_model.hpp"
#include "mserve/shm/histogram.hpp"

namespace mserve::bench {
namespace {

constexpr std::uint64_t kRoutesCounted = 10'000;  ///< To see how many homes move.

class Cluster final : public HostsWatcher {
 public:
  Cluster(const HostsSettings& settings, std::uint32_t hosts)
      : s_(settings),
        zones_((hosts + settings.zone_hosts - 1) / settings.zone_hosts),
        model_(settings, hosts + 1, zones_, *this) {
    result_.hosts = hosts;
    result_.zones = zones_;
    result_.regions = (zones_ + s_.region_zones - 1) / s_.region_zones;
    for (std::uint32_t host = 0; host < hosts; ++host) {
      model_.add_host(s_.servants);
    }
    share_out_demand();
  }

  HostsResult run() {
    model_.begin();
    model_.run_arrivals(s_.requests / 4);
    model_.enter(HostsPhase::before);
    model_.run_arrivals(s_.requests);
    const std::vector<std::uint32_t> before = homes_in(model_.zone_of(result_.hosts));
    model_.enter(HostsPhase::right_after);
    model_.add_host(s_.servants);
    count_moves(before);
    model_.run_arrivals(s_.requests);
    model_.finish();
    result_.refused = model_.refused();
    result_.waiting = quantiles_of(*waiting_);
    return result_;
  }

 private:
  void share_out_demand() {
    double sum = 0;
    for (std::uint32_t host = 0; host < result_.hosts; ++host) {
      sum += std::pow(host + 1.0, -s_.skew);
    }
    const double per_ns = cold_capacity_per_ns(s_, result_.hosts) * s_.load_percent / 100;
    for (std::uint32_t host = 0; host < result_.hosts; ++host) {
      model_.set_demand(host, per_ns * std::pow(host + 1.0, -s_.skew) / sum);
    }
    result_.per_second = per_ns * 1e9;
  }

  void on_served(const Asked& asked, bool forwarded, bool warm) override {
    Share& share = (forwarded ? result_.warm : result_.warm_here)[index_of(asked.phase)];
    share.count(warm);
    if (asked.phase == HostsPhase::before) {
      waiting_->record(model_.now() - asked.born);
      result_.forwarded.count(forwarded);
    }
    if (forwarded && asked.phase == HostsPhase::right_after && share.of == kRightAfter) {
      model_.enter(HostsPhase::after);
    }
  }

  void on_forwarded(const Asked& asked, std::uint32_t peer) override {
    const std::uint32_t tier = model_.tier_between(asked.host, peer);
    result_.at_home[index_of(asked.phase)].count(
        model_.home_of(asked.host, model_.hash_of(asked.route), tier) == peer);
    for (std::size_t each = 0; each < kLinkTiers && model_.phase() == HostsPhase::before; ++each) {
      result_.of_tier[each].count(each + 1 == tier);
    }
  }

  /// Of many routes at each host of a zone, those within it, or kNone. Other zones have homes of
  /// their own, so what joins this one moves nothing there.
  [[nodiscard]] std::vector<std::uint32_t> homes_in(std::uint32_t zone) const {
    std::vector<std::uint32_t> found;
    for (std::uint32_t host = 0; host < result_.hosts; ++host) {
      for (std::uint64_t route = 1; model_.zone_of(host) == zone && route <= kRoutesCounted;
           ++route) {
        found.push_back(model_.home_of(host, broker::home_rank(route, 1), 1));
      }
    }
    return found;
  }

  void count_moves(const std::vector<std::uint32_t>& before) {
    const std::uint32_t added = result_.hosts;
    const std::vector<std::uint32_t> after = homes_in(model_.zone_of(added));
    for (std::size_t at = 0; at < before.size(); ++at) {
      if (before[at] != broker::kNone) {
        result_.moved.count(after[at] == added);
      }
      result_.moved_elsewhere += after[at] != before[at] && after[at] != added ? 1 : 0;
    }
  }

  const HostsSettings& s_;
  std::uint32_t zones_;
  HostsModel model_;
  HostsResult result_;
  std::unique_ptr<shm::Histogram> waiting_ = std::make_unique<shm::Histogram>();
};

}  // namespace

double cold_capacity_per_ns(const HostsSettings& settings, std::uint32_t hosts) noexcept {
  return static_cast<double>(hosts) * settings.servants / static_cast<double>(settings.cold_ns);
}

HostsResult simulate_hosts(const HostsSettings& settings, std::uint32_t hosts) {
  return Cluster(settings, hosts).run();
}

}  // namespace mserve::bench
