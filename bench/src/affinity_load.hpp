// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace mserve::bench {

/// How often which route is asked for: route k of n in proportion to 1 / k^exponent. Exponent 0 is
/// the uniform distribution.
class RoutePicker {
 public:
  /// @param routes  at least 1.
  RoutePicker(std::uint32_t routes, double exponent);

  /// @param uniform  a random number of [0, 1).
  /// @return 0 (the most frequent) to routes - 1.
  [[nodiscard]] std::uint32_t pick(double uniform) const noexcept;

 private:
  std::vector<double> up_to_;  ///< Probability of this route or a more frequent one.
};

/// The routes whose data a servant has at hand: the last `capacity` different ones that it served.
class WarmSet {
 public:
  explicit WarmSet(std::size_t capacity) : capacity_(capacity) {}

  /// Serves a request of this route; the one not served for longest makes room.
  /// @return whether it was warm.
  bool use(std::uint32_t route);

 private:
  std::size_t capacity_;
  std::vector<std::uint32_t> latest_first_;
};

/// One request to be sent.
struct Arrival {
  std::uint64_t at_ns = 0;  ///< After the beginning.
  std::uint32_t route = 0;
  std::uint32_t client = 0;
};

/// What a sequence of arrivals is made from.
struct ArrivalPlan {
  std::uint64_t seed = 1;
  double per_second = 1000;
  std::uint64_t duration_ns = 0;
  std::uint32_t routes = 1;
  double exponent = 0;  ///< See RoutePicker.
  std::uint32_t clients = 1;
};

/// A Poisson process, in ascending order; each arrival is any client's with equal probability. The
/// same plan gives the same sequence, whatever the standard library.
[[nodiscard]] std::vector<Arrival> make_arrivals(const ArrivalPlan& plan);

}  // namespace mserve::bench
