// SPDX-License-Identifier: Apache-2.0
#include "demo/summary.hpp"

#include <array>
#include <cmath>
#include <limits>

namespace mserve::demo {
namespace {

/// Independent sums per quantity: floating-point addition is not associative, so the compiler may
/// use vector instructions only where the source says which sums may be kept apart.
constexpr std::size_t kLanes = 4;
using Lanes = std::array<double, kLanes>;

struct Sums {
  Lanes max;
  Lanes min;
  Lanes delta{};  ///< price - pivot
  Lanes delta_squared{};
  Lanes traded{};  ///< price * size
  Lanes size{};    ///< Exact: far below 2^53.
};

inline void add(Sums& s, std::size_t lane, double price, double size, double pivot) noexcept {
  const double delta = price - pivot;
  s.max[lane] = s.max[lane] < price ? price : s.max[lane];
  s.min[lane] = price < s.min[lane] ? price : s.min[lane];
  s.delta[lane] += delta;
  s.delta_squared[lane] += delta * delta;
  s.traded[lane] += price * size;
  s.size[lane] += size;
}

double total(const Lanes& lanes) noexcept {
  return (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]);
}

/// One pass over one symbol's rows, at least one. Deviations are taken from `pivot`: any value
/// gives the same result but for rounding, and one near the average gives the best. It is also what
/// ties each pass to the one before (the caller hands in the last average), so no compiler can drop
/// or merge passes. Not inlined for the same reason.
[[gnu::noinline]] Summary pass(std::size_t symbol, const SymbolRows& rows, double pivot) noexcept {
  const std::size_t count = rows.price.size();
  const double* const price = rows.price.data();
  const std::int32_t* const size = rows.size.data();
  Sums sums;
  sums.max.fill(price[0]);
  sums.min.fill(price[0]);
  std::size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      add(sums, lane, price[i + lane], size[i + lane], pivot);
    }
  }
  for (; i < count; ++i) {
    add(sums, 0, price[i], size[i], pivot);
  }
  Summary out;
  out.symbol = symbol;
  out.max = sums.max[0];
  out.min = sums.min[0];
  for (std::size_t lane = 1; lane < kLanes; ++lane) {
    out.max = out.max < sums.max[lane] ? sums.max[lane] : out.max;
    out.min = sums.min[lane] < out.min ? sums.min[lane] : out.min;
  }
  const double rows_total = static_cast<double>(count);
  const double shift = total(sums.delta) / rows_total;
  const double size_total = total(sums.size);
  out.open = price[0];
  out.close = price[count - 1];
  out.avg = pivot + shift;
  out.vwap =
      size_total > 0 ? total(sums.traded) / size_total : std::numeric_limits<double>::quiet_NaN();
  out.var = std::fmax(total(sums.delta_squared) / rows_total - shift * shift, 0.0);
  out.dev = std::sqrt(out.var);
  return out;
}

}  // namespace

std::vector<Summary> summarise(const Trades& trades, std::span<const std::size_t> wanted,
                               int passes) {
  std::vector<Summary> out;
  for (const std::size_t symbol : wanted) {
    if (const SymbolRows rows = trades.rows(symbol); !rows.price.empty()) {
      out.push_back({.symbol = symbol, .avg = rows.price[0]});
    }
  }
  // Pass by pass over everything wanted, as q's do[100;select ...] does, not symbol by symbol.
  for (int n = 0; n < passes; ++n) {
    for (Summary& summary : out) {
      summary = pass(summary.symbol, trades.rows(summary.symbol), summary.avg);
    }
  }
  return out;
}

}  // namespace mserve::demo
