// SPDX-License-Identifier: Apache-2.0
#include "affinity_load.hpp"

#include <algorithm>
#include <cmath>
#include <random>

namespace mserve::bench {
namespace {

/// Of [0, 1). std::uniform_real_distribution may differ between standard libraries.
double uniform(std::mt19937_64& random) {
  return static_cast<double>(random() >> 11) * 0x1p-53;
}

}  // namespace

RoutePicker::RoutePicker(std::uint32_t routes, double exponent) : up_to_(routes) {
  double sum = 0;
  for (std::size_t k = 0; k < up_to_.size(); ++k) {
    sum += std::pow(static_cast<double>(k + 1), -exponent);
    up_to_[k] = sum;
  }
  for (double& p : up_to_) {
    p /= sum;
  }
}

std::uint32_t RoutePicker::pick(double uniform) const noexcept {
  const auto found = std::upper_bound(up_to_.begin(), up_to_.end(), uniform);
  const auto last = static_cast<std::ptrdiff_t>(up_to_.size()) - 1;
  return static_cast<std::uint32_t>(std::min(found - up_to_.begin(), last));
}

bool WarmSet::use(std::uint32_t route) {
  const auto found = std::find(latest_first_.begin(), latest_first_.end(), route);
  const bool warm = found != latest_first_.end();
  if (warm) {
    std::rotate(latest_first_.begin(), found, found + 1);
    return true;
  }
  if (latest_first_.size() == capacity_ && capacity_ > 0) {
    latest_first_.pop_back();
  }
  if (capacity_ > 0) {
    latest_first_.insert(latest_first_.begin(), route);
  }
  return false;
}

std::vector<Arrival> make_arrivals(const ArrivalPlan& plan) {
  std::mt19937_64 random(plan.seed);
  const RoutePicker picker(plan.routes, plan.exponent);
  std::vector<Arrival> arrivals;
  double at_ns = 0;
  for (;;) {
    at_ns += -std::log1p(-uniform(random)) * 1e9 / plan.per_second;
    if (at_ns >= static_cast<double>(plan.duration_ns)) {
      return arrivals;
    }
    const std::uint32_t route = picker.pick(uniform(random));
    const auto client = static_cast<std::uint32_t>(uniform(random) * plan.clients);
    arrivals.push_back({static_cast<std::uint64_t>(at_ns), route, client});
  }
}

}  // namespace mserve::bench
