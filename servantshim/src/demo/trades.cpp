// SPDX-License-Identifier: Apache-2.0
#include "demo/trades.hpp"

#include <algorithm>

namespace mserve::demo {
namespace {

constexpr std::uint64_t kOpenMs = 9ULL * 3'600'000;
constexpr std::uint64_t kDayMs = 7ULL * 3'600'000;
constexpr std::uint64_t kSizes = 10'000;
constexpr std::uint64_t kGolden = 0x9e3779b97f4a7c15ULL;  // 2^64 divided by the golden ratio, odd

/// The output function of SplitMix64: a bijection that makes random bits of a counter. A counter
/// needs no state from row to row, so the table can be gone through twice without storing what was
/// drawn.
constexpr std::uint64_t mix(std::uint64_t z) noexcept {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31);
}

/// The random bits of one row, cut into disjoint fields.
class Draw {
 public:
  Draw(std::uint64_t seed, std::uint64_t row) noexcept
      : first_(mix(seed + (2 * row + 1) * kGolden)), second_(mix(seed + (2 * row + 2) * kGolden)) {}

  [[nodiscard]] std::size_t symbol() const noexcept { return first_ >> 61; }
  [[nodiscard]] std::int32_t size() const noexcept {
    return static_cast<std::int32_t>(((first_ & 0xffffffffU) * kSizes) >> 32);
  }
  /// 0 <= result < below; below at most 2^29.
  [[nodiscard]] std::uint64_t jitter(std::uint64_t below) const noexcept {
    return (((first_ >> 32) & 0x1fffffffU) * below) >> 29;
  }
  [[nodiscard]] double price() const noexcept {
    return static_cast<double>(second_ >> 11) * (100.0 / 9007199254740992.0);  // 53 bits of [0, 1)
  }

 private:
  static_assert(kSymbols.size() == 8, "three bits choose the symbol");
  std::uint64_t first_;
  std::uint64_t second_;
};

}  // namespace

std::optional<std::size_t> symbol_index(std::string_view name) noexcept {
  const auto* const it = std::find(kSymbols.begin(), kSymbols.end(), name);
  return it != kSymbols.end() ? std::optional<std::size_t>(it - kSymbols.begin()) : std::nullopt;
}

Trades::Trades(const std::array<std::uint64_t, kSymbols.size() + 1>& starts)
    : starts_(starts),
      time_ms_(std::make_unique_for_overwrite<std::int32_t[]>(starts.back())),
      price_(std::make_unique_for_overwrite<double[]>(starts.back())),
      size_(std::make_unique_for_overwrite<std::int32_t[]>(starts.back())) {}

Trades Trades::generate(std::uint64_t rows, std::uint64_t seed) {
  const std::uint64_t base =
      mix(seed);  // neighbouring seeds must not give shifted copies of one table
  std::array<std::uint64_t, kSymbols.size() + 1> starts{};
  for (std::uint64_t row = 0; row < rows; ++row) {
    ++starts[Draw(base, row).symbol() + 1];
  }
  for (std::size_t symbol = 0; symbol < kSymbols.size(); ++symbol) {
    starts[symbol + 1] += starts[symbol];
  }
  Trades trades(starts);
  std::array<std::uint64_t, kSymbols.size() + 1> next = starts;
  for (std::uint64_t row = 0; row < rows; ++row) {
    // Each row falls somewhere into its own share of the day, so times ascend without sorting.
    const std::uint64_t from_ms = row * kDayMs / rows;
    const std::uint64_t to_ms = (row + 1) * kDayMs / rows;
    const Draw draw(base, row);
    const std::uint64_t at = next[draw.symbol()]++;
    trades.time_ms_[at] =
        static_cast<std::int32_t>(kOpenMs + from_ms + draw.jitter(to_ms - from_ms));
    trades.price_[at] = draw.price();
    trades.size_[at] = draw.size();
  }
  return trades;
}

SymbolRows Trades::rows(std::size_t symbol) const noexcept {
  const std::uint64_t first = starts_[symbol];
  const std::uint64_t count = starts_[symbol + 1] - first;
  return {
      {time_ms_.get() + first, count}, {price_.get() + first, count}, {size_.get() + first, count}};
}

}  // namespace mserve::demo
