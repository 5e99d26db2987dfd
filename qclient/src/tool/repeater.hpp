// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <random>
#include <string>

namespace mserve::tool {

/// The timer of `\t N`: a query about a random symbol every N milliseconds.
class Repeater {
 public:
  /// @param seed  of the random symbols.
  explicit Repeater(std::uint32_t seed) : random_(seed) {}

  /// @param ms  0 stops it. @param now_ns  the first query is due one period later.
  void set(std::uint32_t ms, std::uint64_t now_ns) noexcept {
    period_ns_ = std::uint64_t{ms} * 1'000'000;
    due_ns_ = now_ns + period_ns_;
  }

  /// True once per period. After a hold-up missed periods are dropped, not made up for.
  [[nodiscard]] bool due(std::uint64_t now_ns) noexcept {
    if (period_ns_ == 0 || now_ns < due_ns_) {
      return false;
    }
    due_ns_ += period_ns_;
    if (due_ns_ <= now_ns) {
      due_ns_ = now_ns + period_ns_;
    }
    return true;
  }

  [[nodiscard]] std::string next_query() {
    static constexpr std::array<const char*, 8> kSymbols = {"GS",   "AAPL", "BA",  "VOD",
                                                            "MSFT", "GOOG", "IBM", "UBS"};
    return std::string("proc1 `") + kSymbols[random_() % kSymbols.size()];
  }

  [[nodiscard]] bool running() const noexcept { return period_ns_ != 0; }
  [[nodiscard]] std::uint64_t period_ms() const noexcept { return period_ns_ / 1'000'000; }
  [[nodiscard]] std::uint64_t due_ns() const noexcept { return due_ns_; }

 private:
  std::mt19937 random_;
  std::uint64_t period_ns_ = 0;
  std::uint64_t due_ns_ = 0;
};

}  // namespace mserve::tool
