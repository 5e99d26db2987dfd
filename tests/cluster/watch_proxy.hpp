// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "mserve/shm/unique_fd.hpp"

namespace mserve::test {

/// Passes connections on to a port of this host, and treats those that watch as a bad network
/// would.
class WatchProxy {
 public:
  explicit WatchProxy(std::uint16_t target);
  ~WatchProxy();
  WatchProxy(const WatchProxy&) = delete;
  WatchProxy& operator=(const WatchProxy&) = delete;

  [[nodiscard]] std::string url() const;
  /// Connections that watch, so far.
  [[nodiscard]] int watches() const noexcept;
  /// From here on nothing of what the target says reaches those that watch now. Returns when that
  /// holds.
  void freeze_watches();
  /// Closes those.
  void cut_watches();

 private:
  struct Pair;
  void run();
  void carry_out();
  [[nodiscard]] bool pass(Pair& pair, bool from_client) const;
  void order(int what);

  std::uint16_t target_;
  std::uint16_t port_ = 0;
  shm::UniqueFd listener_;
  shm::UniqueFd stop_;
  std::vector<std::unique_ptr<Pair>> pairs_;
  std::atomic<int> watches_{0};
  std::atomic<int> order_{0};
  std::thread thread_;
};

}  // namespace mserve::test
