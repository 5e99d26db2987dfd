// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

namespace mserve::shm {
class Histogram;
}

namespace mserve::bench {

/// The percentiles that are reported, and what they are called in tables and JSON.
struct PercentileName {
  const char* name;
  double percent;
};
inline constexpr std::array<PercentileName, 6> kPercentiles = {{{"p50", 50.0},
                                                                {"p90", 90.0},
                                                                {"p99", 99.0},
                                                                {"p99.9", 99.9},
                                                                {"p99.99", 99.99},
                                                                {"max", 100.0}}};
inline constexpr std::size_t kP50 = 0;
inline constexpr std::size_t kP99 = 2;

/// Where the curve of a drawing is taken: evenly spread over log(1 / (1 - p)).
inline constexpr std::array<double, 31> kCurvePercents = {
    0,     10,    20,    30,    40,    50,     60,     70,     80,    85,   90,
    93,    95,    97,    98,    98.5,  99,     99.3,   99.5,   99.7,  99.8, 99.9,
    99.93, 99.95, 99.97, 99.98, 99.99, 99.993, 99.995, 99.998, 99.999};

/// What is kept of one measurement.
struct Quantiles {
  std::uint64_t count = 0;
  std::array<std::uint64_t, kPercentiles.size()> ns{};          ///< In the order of kPercentiles.
  std::array<std::uint64_t, kCurvePercents.size()> curve_ns{};  ///< In the order of kCurvePercents.
};
[[nodiscard]] Quantiles quantiles_of(const shm::Histogram& histogram);

/// Median, lowest and highest of several repetitions.
struct Spread {
  double median = 0;
  double low = 0;
  double high = 0;
};
/// All zero when there are no values. An even number of values: the mean of the middle two.
[[nodiscard]] Spread spread_of(std::vector<double> values);

/// The line probe: one cache line there and back between the two cores, in ns.
struct LineProbe {
  std::uint64_t timed_p50_ns = 0;  ///< Each round trip timed by itself.
  double untimed_ns = 0;           ///< A batch, divided by its length.

  /// Whether there is a figure: a probe of busy cores is given up on.
  [[nodiscard]] bool measured() const noexcept { return timed_p50_ns != 0; }
};

/// Where the host has put the two cores, by the timed probe.
enum class Placement : std::uint8_t { near, far };
[[nodiscard]] std::string_view to_string(Placement placement) noexcept;

/// Between the dearest near pair and the cheapest far pair seen, 240 and 480 ns.
inline constexpr std::uint64_t kNearNsMax = 340;
/// Two probes that differ by more than this factor mean that the placement changed, even when both
/// lie on one side of kNearNsMax.
inline constexpr double kProbeRatioMax = 1.5;

[[nodiscard]] Placement placement_of(const LineProbe& probe) noexcept;
/// True when a measurement between these two probes may be compared with others.
[[nodiscard]] bool is_steady(const LineProbe& before, const LineProbe& after) noexcept;

}  // namespace mserve::bench
