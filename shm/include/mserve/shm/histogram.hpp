// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace mserve::shm {

/// Counts of latencies in nanoseconds, log-linear: exact below 256 ns, then 128 equal buckets per
/// power of two, so a value read back is off by at most 0.4 %. Covers up to 2^43 ns (2.4 hours);
/// longer ones count in the last bucket, and max() stays exact. Fixed size (37 KiB, keep it off
/// small stacks), allocates nothing. Threads: one at a time; merge() the histograms of several.
class Histogram {
 public:
  /// Counts `value_ns`, `times` times. hot: one shift, two adds to private memory.
  void record(std::uint64_t value_ns, std::uint64_t times = 1) noexcept {
    if (times == 0) {
      return;
    }
    counts_[bucket_of(value_ns)] += times;
    count_ += times;
    add_to_sum(value_ns, times);
    min_ns_ = value_ns < min_ns_ ? value_ns : min_ns_;
    max_ns_ = value_ns > max_ns_ ? value_ns : max_ns_;
  }

  /// Adds everything that `other` counted.
  void merge(const Histogram& other) noexcept;
  /// Forgets everything.
  void reset() noexcept { *this = Histogram(); }

  /// The smallest recorded value (within 0.4 %) that at least `percent` percent of all values do
  /// not exceed; 0 when empty.
  /// @param percent  0..100, others are clamped; 0 gives min(), 100 gives max(), both exact.
  [[nodiscard]] std::uint64_t percentile(double percent) const noexcept;

  [[nodiscard]] std::uint64_t count() const noexcept { return count_; }
  /// Exact; 0 when empty.
  [[nodiscard]] std::uint64_t min() const noexcept { return count_ != 0 ? min_ns_ : 0; }
  /// Exact; 0 when empty.
  [[nodiscard]] std::uint64_t max() const noexcept { return max_ns_; }
  /// From exact sums; 0 when empty.
  [[nodiscard]] double mean() const noexcept;

 private:
  static constexpr unsigned kSubBits = 7;     // 128 buckets per power of two
  static constexpr unsigned kRangeBits = 43;  // values below 2^43
  static constexpr std::size_t kBuckets = std::size_t{kRangeBits - kSubBits + 1} << kSubBits;

  static constexpr std::size_t bucket_of(std::uint64_t value_ns) noexcept {
    if (value_ns >> kRangeBits != 0) [[unlikely]] {
      return kBuckets - 1;
    }
    // The highest kSubBits + 1 bits number the bucket; small values have no lower ones.
    const unsigned width = static_cast<unsigned>(std::bit_width(value_ns));
    const unsigned shift = width > kSubBits + 1 ? width - (kSubBits + 1) : 0;
    return (std::size_t{shift} << kSubBits) + static_cast<std::size_t>(value_ns >> shift);
  }
  static std::uint64_t middle_of(std::size_t bucket) noexcept;

  void add_to_sum(std::uint64_t value_ns, std::uint64_t times) noexcept {
    __extension__ using Wide = unsigned __int128;
    const Wide product = Wide{value_ns} * times;
    const auto low = static_cast<std::uint64_t>(product);
    sum_low_ += low;
    sum_high_ += static_cast<std::uint64_t>(product >> 64) + (sum_low_ < low ? 1 : 0);
  }

  std::array<std::uint64_t, kBuckets> counts_{};
  std::uint64_t count_ = 0;
  std::uint64_t sum_low_ = 0;
  std::uint64_t sum_high_ = 0;
  std::uint64_t min_ns_ = UINT64_MAX;
  std::uint64_t max_ns_ = 0;
};

}  // namespace mserve::shm
