// SPDX-License-Identifier: Apache-2.0
#include "statistics.hpp"

#include <algorithm>

#include "mserve/shm/histogram.hpp"

namespace mserve::bench {

Quantiles quantiles_of(const shm::Histogram& histogram) {
  Quantiles quantiles;
  quantiles.count = histogram.count();
  for (std::size_t i = 0; i < kPercentiles.size(); ++i) {
    quantiles.ns[i] = histogram.percentile(kPercentiles[i].percent);
  }
  for (std::size_t i = 0; i < kCurvePercents.size(); ++i) {
    quantiles.curve_ns[i] = histogram.percentile(kCurvePercents[i]);
  }
  return quantiles;
}

Spread spread_of(std::vector<double> values) {
  if (values.empty()) {
    return {};
  }
  std::sort(values.begin(), values.end());
  const std::size_t middle = values.size() / 2;
  const double median =
      values.size() % 2 != 0 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
  return {median, values.front(), values.back()};
}

std::string_view to_string(Placement placement) noexcept {
  return placement == Placement::near ? "near" : "far";
}

Placement placement_of(const LineProbe& probe) noexcept {
  return probe.timed_p50_ns <= kNearNsMax ? Placement::near : Placement::far;
}

bool is_steady(const LineProbe& before, const LineProbe& after) noexcept {
  if (!before.measured() || !after.measured()) {
    return false;
  }
  const auto [low, high] = std::minmax(before.timed_p50_ns, after.timed_p50_ns);
  return placement_of(before) == placement_of(after) &&
         static_cast<double>(high) <= kProbeRatioMax * static_cast<double>(low);
}

}  // namespace mserve::bench
