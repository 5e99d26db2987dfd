// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <thread>

#include "child.hpp"
#include "trips.hpp"

namespace mserve::bench {

/// Those who look at a broker of ours ten times a second while it is measured: `mserve-stat top
/// --json`, and somebody who fetches /metrics from `mserve-stat serve`.
class Watchers {
 public:
  /// Starts them on `core`, and returns when the first page was fetched.
  /// Throws std::runtime_error when mserve-stat is not there or does not serve.
  Watchers(const TripOptions& broker, int core);
  ~Watchers();
  Watchers(const Watchers&) = delete;
  Watchers& operator=(const Watchers&) = delete;

  /// Pages fetched so far.
  [[nodiscard]] std::uint64_t fetched() const noexcept {
    return fetched_.load(std::memory_order_relaxed);
  }

 private:
  void fetch_again_and_again(int core);

  TempDir dir_;
  Child top_;
  Child serve_;
  std::string port_;
  std::atomic<std::uint64_t> fetched_ = 0;
  std::atomic<bool> over_ = false;
  std::thread fetching_;
};

}  // namespace mserve::bench
