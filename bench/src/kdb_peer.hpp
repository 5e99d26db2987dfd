// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "mserve/shm/histogram.hpp"
#include "mserve/shm/unique_fd.hpp"
#include "timer.hpp"

namespace mserve::bench {

/// A kdb+ client on loopback as a simple C client is one: blocking socket, one query at a time.
class KdbPeer {
 public:
  /// Connects and shakes hands. Throws std::runtime_error when nobody answers.
  KdbPeer(std::uint16_t port, std::size_t payload_bytes);

  /// One sync `echo` after the other for `duration_ns`, or until interrupted(). A sample goes from
  /// before send() until the whole answer is received. Throws when an answer is not the one
  /// expected.
  void measure(const Timer& timer, std::uint64_t duration_ns, shm::Histogram& samples);

 private:
  void ask();

  shm::UniqueFd socket_;
  std::vector<std::byte> question_;
  std::vector<std::byte> expected_;
  std::vector<std::byte> answer_;
};

/// A TCP port on 127.0.0.1 that nobody listens on now.
[[nodiscard]] std::uint16_t free_port();
/// Waits until a KdbPeer gets its answer at `port`. Throws after 20 s, naming `what`.
void wait_for_answer(std::uint16_t port, const std::string& what);

}  // namespace mserve::bench
