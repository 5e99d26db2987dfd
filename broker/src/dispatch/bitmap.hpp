// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <bit>
#include <cstdint>
#include <vector>

#include "dispatch/types.hpp"

namespace mserve::broker {

/// A set of small numbers that finds its lowest member, or the lowest above a given one, in a
/// handful of loads: 64-ary, a bit in a word says that the word below it is not empty. One level
/// up to 64 numbers, two up to 4096, three up to 262144. Allocates at construction only.
class Bitmap {
 public:
  /// Numbers are below `count`; the set starts empty.
  explicit Bitmap(std::uint32_t count) {
    std::uint32_t words = (count + 63) / 64;
    std::uint32_t start = 0;
    for (;;) {
      start_[levels_++] = start;
      start += words;
      if (words <= 1) {
        break;
      }
      words = (words + 63) / 64;
    }
    words_.assign(start, 0);
  }

  void set(std::uint32_t number) noexcept {
    for (std::uint32_t level = 0; level < levels_; ++level) {
      std::uint64_t& word = words_[start_[level] + number / 64];
      const std::uint64_t before = word;
      word |= bit(number);
      if (before != 0) {
        return;  // The levels above know of this word already.
      }
      number /= 64;
    }
  }

  void clear(std::uint32_t number) noexcept {
    for (std::uint32_t level = 0; level < levels_; ++level) {
      std::uint64_t& word = words_[start_[level] + number / 64];
      word &= ~bit(number);
      if (word != 0) {
        return;
      }
      number /= 64;
    }
  }

  [[nodiscard]] bool test(std::uint32_t number) const noexcept {
    return (words_[number / 64] & bit(number)) != 0;
  }

  [[nodiscard]] bool empty() const noexcept { return words_[start_[levels_ - 1]] == 0; }

  /// The lowest member, or kNone.
  [[nodiscard]] std::uint32_t first() const noexcept {
    return empty() ? kNone : descend(levels_ - 1, 0);
  }

  /// The lowest member above `number`, or kNone; any number may be asked about.
  [[nodiscard]] std::uint32_t first_above(std::uint32_t number) const noexcept {
    std::uint32_t from = number + 1;  // kNone + 1 is 0: "above nothing" is the lowest member.
    for (std::uint32_t level = 0; level < levels_; ++level) {
      const std::uint32_t word = from / 64;
      if (start_[level] + word >= end(level)) {
        return kNone;
      }
      const std::uint64_t rest = words_[start_[level] + word] & (~std::uint64_t{0} << (from % 64));
      if (rest != 0) {
        const std::uint32_t found = word * 64 + static_cast<std::uint32_t>(std::countr_zero(rest));
        return level == 0 ? found : descend(level - 1, found);
      }
      from = word + 1;
    }
    return kNone;
  }

 private:
  static constexpr std::uint64_t bit(std::uint32_t number) noexcept {
    return std::uint64_t{1} << (number % 64);
  }
  [[nodiscard]] std::uint32_t end(std::uint32_t level) const noexcept {
    return level + 1 < levels_ ? start_[level + 1] : static_cast<std::uint32_t>(words_.size());
  }
  // The lowest member under word `word` of `level`, which is not empty.
  [[nodiscard]] std::uint32_t descend(std::uint32_t level, std::uint32_t word) const noexcept {
    for (;;) {
      const std::uint64_t bits = words_[start_[level] + word];
      word = word * 64 + static_cast<std::uint32_t>(std::countr_zero(bits));
      if (level == 0) {
        return word;
      }
      --level;
    }
  }

  static constexpr std::uint32_t kLevelsMax = 6;  // 64^6 exceeds 32 bits
  std::uint32_t start_[kLevelsMax] = {};
  std::uint32_t levels_ = 0;
  std::vector<std::uint64_t> words_;
};

}  // namespace mserve::broker
