// SPDX-License-Identifier: Apache-2.0
#include "mserve/shm/histogram.hpp"

#include <algorithm>
#include <cmath>

namespace mserve::shm {

void Histogram::merge(const Histogram& other) noexcept {
  for (std::size_t i = 0; i < kBuckets; ++i) {
    counts_[i] += other.counts_[i];
  }
  count_ += other.count_;
  sum_low_ += other.sum_low_;
  sum_high_ += other.sum_high_ + (sum_low_ < other.sum_low_ ? 1 : 0);
  min_ns_ = std::min(min_ns_, other.min_ns_);
  max_ns_ = std::max(max_ns_, other.max_ns_);
}

std::uint64_t Histogram::percentile(double percent) const noexcept {
  if (count_ == 0) {
    return 0;
  }
  if (!(percent > 0)) {  // also what is not a number
    return min_ns_;
  }
  if (percent >= 100) {
    return max_ns_;
  }
  // The tiny step down keeps 99.9 % of 1,000 from becoming rank 1,000 by rounding.
  const double exact_rank = percent / 100.0 * static_cast<double>(count_);
  const double rank = std::ceil(exact_rank - 1e-9 * exact_rank);
  const auto wanted = std::clamp<std::uint64_t>(static_cast<std::uint64_t>(rank), 1, count_);
  std::uint64_t seen = 0;
  for (std::size_t i = 0; i < kBuckets; ++i) {
    seen += counts_[i];
    if (seen >= wanted) {
      return std::clamp(middle_of(i), min_ns_, max_ns_);
    }
  }
  return max_ns_;
}

double Histogram::mean() const noexcept {
  if (count_ == 0) {
    return 0;
  }
  const double sum = std::ldexp(static_cast<double>(sum_high_), 64) + static_cast<double>(sum_low_);
  return sum / static_cast<double>(count_);
}

std::uint64_t Histogram::middle_of(std::size_t bucket) noexcept {
  constexpr std::size_t kLinear = std::size_t{2} << kSubBits;
  if (bucket < kLinear) {
    return bucket;
  }
  const std::size_t shift = (bucket >> kSubBits) - 1;
  const std::uint64_t lowest = std::uint64_t{bucket - (shift << kSubBits)} << shift;
  return lowest + (std::uint64_t{1} << (shift - 1));
}

}  // namespace mserve::shm
