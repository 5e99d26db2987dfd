// SPDX-License-Identifier: Apache-2.0
#include "pin/jitter.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <vector>

#include "mserve/shm/clock.hpp"
#include "pin/interrupts.hpp"

namespace mserve::pin {

namespace {

constexpr std::uint64_t kMicrosecond = 1'000;
constexpr std::array<std::uint64_t, 3> kBounds{kMicrosecond, 10 * kMicrosecond, 100 * kMicrosecond};

std::map<std::string, std::uint64_t> interrupts_of(const MachineFiles& files, int core) {
  std::map<std::string, std::uint64_t> counts;
  for (const Interrupt& one : read_interrupts(files)) {
    if (const auto found = one.count.find(core); found != one.count.end()) {
      counts[one.id] = found->second;
    }
  }
  return counts;
}

std::string shown(std::uint64_t ns) {
  if (ns < kMicrosecond) {
    return fmt::format("{} ns", ns);
  }
  return ns < 1000 * kMicrosecond ? fmt::format("{:.1f} us", static_cast<double>(ns) / 1e3)
                                  : fmt::format("{:.1f} ms", static_cast<double>(ns) / 1e6);
}

void spin(Jitter& jitter, std::uint64_t time_ns) {
  const std::uint64_t begin = shm::steady_now();
  std::uint64_t before = begin;
  while (before - begin < time_ns) {
    const std::uint64_t now = shm::steady_now();
    jitter.gaps.add(now - before);
    before = now;
  }
  jitter.time_ns = before - begin;
}

}  // namespace

std::size_t GapHistogram::bucket_of(std::uint64_t ns) noexcept {
  if (ns < kParts) {
    return ns;
  }
  const auto power = static_cast<std::size_t>(std::bit_width(ns)) - 1;  // at least 3
  const std::size_t part = (ns >> (power - 3)) & (kParts - 1);
  return std::min((power - 2) * kParts + part, kBuckets - 1);
}

std::uint64_t GapHistogram::upper_end(std::size_t bucket) noexcept {
  if (bucket < kParts) {
    return bucket;
  }
  const std::size_t power = bucket / kParts + 2;
  const std::uint64_t part = bucket % kParts;
  return (std::uint64_t{1} << power) + ((part + 1) << (power - 3)) - 1;
}

void GapHistogram::add(std::uint64_t gap_ns) noexcept {
  ++count_;
  ++buckets_[bucket_of(gap_ns)];
  max_ns_ = std::max(max_ns_, gap_ns);
  if (gap_ns > kMicrosecond) {
    lost_ns_ += gap_ns;
    for (std::size_t i = 0; i < kBounds.size(); ++i) {
      over_[i] += gap_ns > kBounds[i] ? 1 : 0;
    }
  }
}

std::uint64_t GapHistogram::percentile_ns(double part) const noexcept {
  const auto wanted = static_cast<std::uint64_t>(part * static_cast<double>(count_));
  std::uint64_t seen = 0;
  for (std::size_t i = 0; i < kBuckets; ++i) {
    seen += buckets_[i];
    if (seen >= wanted && seen > 0) {
      return std::min(upper_end(i), max_ns_);
    }
  }
  return max_ns_;
}

std::uint64_t GapHistogram::between(std::uint64_t from_ns, std::uint64_t to_ns) const noexcept {
  std::uint64_t sum = 0;
  for (std::size_t i = bucket_of(from_ns); i < bucket_of(to_ns); ++i) {
    sum += buckets_[i];
  }
  return sum;
}

Jitter measure_jitter(const MachineFiles& files, int core, std::uint64_t time_ns) {
  Jitter jitter{.core = core};
  const CoreList before = allowed_cores();
  if (!stay_on({core})) {
    jitter.fault = std::strerror(errno);
  } else {
    const auto earlier = interrupts_of(files, core);
    spin(jitter, time_ns);
    for (const auto& [id, count] : interrupts_of(files, core)) {
      const auto was = earlier.find(id);
      if (was != earlier.end() && count > was->second) {
        jitter.interrupts[id] = count - was->second;
      }
    }
  }
  (void)stay_on(before);
  return jitter;
}

std::string to_text(const Jitter& jitter) {
  if (!jitter.fault.empty()) {
    return fmt::format("jitter   core {}: not measured: {}\n", jitter.core, jitter.fault);
  }
  const GapHistogram& gaps = jitter.gaps;
  std::string text = fmt::format(
      "jitter   core {}: {} looks at the clock in {}; gaps p50 {}, p99 {}, p99.9 {}, p99.99 {}, "
      "max "
      "{}; over 1 us {}, over 10 us {}, over 100 us {}; {:.2f} % of the time lost\n",
      jitter.core, gaps.count(), shown(jitter.time_ns), shown(gaps.percentile_ns(0.5)),
      shown(gaps.percentile_ns(0.99)), shown(gaps.percentile_ns(0.999)),
      shown(gaps.percentile_ns(0.9999)), shown(gaps.max_ns()), gaps.over_1us(), gaps.over_10us(),
      gaps.over_100us(),
      jitter.time_ns == 0
          ? 0.0
          : 100.0 * static_cast<double>(gaps.lost_ns()) / static_cast<double>(jitter.time_ns));
  std::vector<std::pair<std::uint64_t, std::string>> came;
  for (const auto& [id, count] : jitter.interrupts) {
    came.emplace_back(count, id);
  }
  std::sort(came.rbegin(), came.rend());
  std::string interrupts;
  for (const auto& [count, id] : came) {
    const bool device = id.find_first_not_of("0123456789") == std::string::npos;
    interrupts += fmt::format("{}{}{} {} times", interrupts.empty() ? "" : ", ",
                              device ? "irq " : "", id, count);
  }
  text += fmt::format("         interrupts meanwhile: {}\n", came.empty() ? "none" : interrupts);
  constexpr std::uint64_t kFirst = 1024;
  constexpr std::size_t kBarMax = 40;
  std::uint64_t most = 0;
  for (std::uint64_t ns = kFirst; ns <= gaps.max_ns(); ns *= 2) {
    most = std::max(most, gaps.between(ns, 2 * ns));
  }
  for (std::uint64_t ns = kFirst; ns <= gaps.max_ns(); ns *= 2) {
    const std::uint64_t count = gaps.between(ns, 2 * ns);
    const auto width = most == 0 ? 0 : (count * kBarMax + most - 1) / most;
    text += fmt::format("         {:>9} and more {:>9} {}\n", shown(ns), count,
                        std::string(width, '#'));
  }
  return text;
}

}  // namespace mserve::pin
