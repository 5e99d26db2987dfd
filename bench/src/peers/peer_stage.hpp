// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "child.hpp"
#include "mserve/shm/histogram.hpp"
#include "peers/peer.hpp"
#include "peers/role_process.hpp"
#include "timer.hpp"

namespace mserve::bench {

/// Requests under way at once when throughput is measured: 64, or fewer when they would fill the
/// buffers of a socket.
[[nodiscard]] std::size_t peer_window(std::size_t payload_bytes) noexcept;

/// One peer that runs: relay, servant, and this thread as the client (and, in pair mode, the
/// servant). Pins this thread as the setting says while it lives. Everything ends with it.
class PeerStage {
 public:
  /// Starts everything and makes the first round trip. The caller is the only thread of its
  /// process. Throws std::exception when that fails; when interrupted() it may not be usable.
  /// @param options.directory  ignored: a stage has its own.
  PeerStage(const PeerKind& kind, PeerOptions options);
  ~PeerStage();
  PeerStage(const PeerStage&) = delete;
  PeerStage& operator=(const PeerStage&) = delete;

  /// One round trip after the other for `duration_ns`; returns early when interrupted(). A sample
  /// goes from before the request is sent until the answer stands in the client's buffer. Each
  /// answer is compared with its request outside of that. Throws std::runtime_error when one
  /// differs, none comes for 30 s, or a process ends.
  void measure(const Timer& timer, std::uint64_t duration_ns, shm::Histogram& samples);

  /// @return answers per second with peer_window() requests under way; checked as they come.
  [[nodiscard]] double throughput(std::uint64_t duration_ns);

 private:
  void open();
  void round_trip();
  void receive(Endpoint& endpoint, std::vector<std::byte>& message);
  void send(Endpoint& endpoint, const std::vector<std::byte>& message);
  bool idle(bool slept);
  void check_alive();
  void number_request() noexcept;
  void check_answer(std::uint64_t number) const;
  bool serve_some();

  const PeerKind& kind_;
  TempDir directory_;
  PeerOptions options_;
  std::unique_ptr<Peer> peer_;
  std::unique_ptr<Relay> relay_;
  std::unique_ptr<RoleProcess> servant_process_;  ///< Mode processes.
  std::unique_ptr<Endpoint> client_;
  std::unique_ptr<Endpoint> servant_;  ///< Mode pair.
  std::unique_ptr<Pinned> pinned_;
  std::uint64_t number_ = 0;
  std::uint64_t waits_ = 0;
  std::vector<std::byte> request_;
  std::vector<std::byte> served_;
  std::vector<std::byte> answer_;
  bool unanswered_ = false;  ///< Mode pair: served_ is still to be sent.
};

}  // namespace mserve::bench
