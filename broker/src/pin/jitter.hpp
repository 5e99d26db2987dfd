// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>

#include "pin/machine_files.hpp"

namespace mserve::pin {

/// How long it took from one look at the clock to the next, over and over. Fixed size.
class GapHistogram {
 public:
  void add(std::uint64_t gap_ns) noexcept;
  [[nodiscard]] std::uint64_t count() const noexcept { return count_; }
  [[nodiscard]] std::uint64_t max_ns() const noexcept { return max_ns_; }
  /// Gaps of more than this long.
  [[nodiscard]] std::uint64_t over_1us() const noexcept { return over_[0]; }
  [[nodiscard]] std::uint64_t over_10us() const noexcept { return over_[1]; }
  [[nodiscard]] std::uint64_t over_100us() const noexcept { return over_[2]; }
  /// All gaps above 1 us together: time in which a spinning thread did not run.
  [[nodiscard]] std::uint64_t lost_ns() const noexcept { return lost_ns_; }
  /// The gap that this part of all gaps does not exceed, to an eighth. @param part  0 to 1.
  [[nodiscard]] std::uint64_t percentile_ns(double part) const noexcept;
  /// Gaps from `from_ns` up to below `to_ns`, both powers of two.
  [[nodiscard]] std::uint64_t between(std::uint64_t from_ns, std::uint64_t to_ns) const noexcept;

 private:
  static constexpr std::size_t kParts = 8;  // of each power of two
  static constexpr std::size_t kBuckets = 64 * kParts;
  [[nodiscard]] static std::size_t bucket_of(std::uint64_t ns) noexcept;
  [[nodiscard]] static std::uint64_t upper_end(std::size_t bucket) noexcept;

  std::array<std::uint64_t, kBuckets> buckets_{};
  std::array<std::uint64_t, 3> over_{};
  std::uint64_t count_ = 0;
  std::uint64_t max_ns_ = 0;
  std::uint64_t lost_ns_ = 0;
};

/// What a spinning thread saw on one core.
struct Jitter {
  int core = -1;
  std::string fault{};  ///< Not empty: why it was not measured.
  std::uint64_t time_ns = 0;
  GapHistogram gaps{};
  std::map<std::string, std::uint64_t> interrupts{};  ///< By id, those that came meanwhile.
};

/// Spins on `core` and looks at the clock. The calling thread is moved there and back. Blocks.
/// @param time_ns  how long, above 0.
[[nodiscard]] Jitter measure_jitter(const MachineFiles& files, int core, std::uint64_t time_ns);

/// A headline and a bar for each power of two above a microsecond, as text of several lines.
[[nodiscard]] std::string to_text(const Jitter& jitter);

}  // namespace mserve::pin
