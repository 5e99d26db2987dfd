// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "demo/trades.hpp"

namespace mserve::demo {

/// One row of proc1's result.
struct Summary {
  std::size_t symbol = 0;  ///< Index into kSymbols.
  double max = 0;
  double min = 0;
  double open = 0;   ///< First price of the day.
  double close = 0;  ///< Last price of the day.
  double avg = 0;
  double vwap = 0;  ///< Average weighted by size; NaN when all sizes are 0.
  double dev = 0;   ///< Of the population, as q's dev and var.
  double var = 0;
};

/// Goes `passes` times over all rows of the wanted symbols, each time computing everything: the
/// servant's load.
/// @param wanted  indices into kSymbols, without duplicates.
/// @return one row per symbol that has any trade, in the order of `wanted`, as the last pass found
/// it.
[[nodiscard]] std::vector<Summary> summarise(const Trades& trades,
                                             std::span<const std::size_t> wanted, int passes);

}  // namespace mserve::demo
