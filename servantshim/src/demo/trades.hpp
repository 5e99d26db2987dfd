// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

namespace mserve::demo {

/// The symbols traded, in the order of LBT's quickstart. All are equally likely.
inline constexpr std::array<std::string_view, 8> kSymbols = {"GS",   "AAPL", "BA",  "VOD",
                                                             "MSFT", "GOOG", "IBM", "UBS"};

/// Index into kSymbols, or nothing.
[[nodiscard]] std::optional<std::size_t> symbol_index(std::string_view name) noexcept;

inline constexpr std::uint64_t kRowsMax = 1'000'000'000;  ///< 16 GB.

/// The rows of one symbol, in order of time.
struct SymbolRows {
  std::span<const std::int32_t>
      time_ms;                         ///< 09:00 to 16:00, milliseconds since midnight, ascending.
  std::span<const double> price;       ///< 0 <= price < 100
  std::span<const std::int32_t> size;  ///< 0 to 9999
};

/// A table of random trades in columns, parted by symbol: what q's `p# makes of it, so that a query
/// touches only the rows of the symbols that it wants, one after the other. Row i of the day is a
/// function of (seed, rows, i) alone, so the same seed and row count give the same table
/// everywhere.
class Trades {
 public:
  /// @param rows  0..kRowsMax. Throws std::bad_alloc when 16 bytes per row are not to be had.
  [[nodiscard]] static Trades generate(std::uint64_t rows, std::uint64_t seed);

  /// @param symbol  index into kSymbols.
  [[nodiscard]] SymbolRows rows(std::size_t symbol) const noexcept;
  [[nodiscard]] std::uint64_t count() const noexcept { return starts_.back(); }

 private:
  explicit Trades(const std::array<std::uint64_t, kSymbols.size() + 1>& starts);

  std::array<std::uint64_t, kSymbols.size() + 1>
      starts_;  ///< First row of each symbol, and the end.
  std::unique_ptr<std::int32_t[]> time_ms_;
  std::unique_ptr<double[]> price_;
  std::unique_ptr<std::int32_t[]> size_;
};

}  // namespace mserve::demo
