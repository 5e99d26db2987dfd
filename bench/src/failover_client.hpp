// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "failover_book.hpp"
#include "mserve/shm/attachment.hpp"
#include "mserve/shm/ring.hpp"
#include "trips.hpp"

namespace mserve::bench {

/// A client that sends repeatable requests, calls of `echo`, at a steady rate, and looks at who
/// answered which when. Failures are thrown as std::runtime_error, also an answer that belongs to
/// another request. Threads: one at a time.
class SteadyClient {
 public:
  /// Attaches. @param window  requests that may be under way; what is due beyond it is left out.
  SteadyClient(const TripOptions& options, double per_second, std::uint32_t window);

  /// Sends and takes answers for so long; returns early when interrupted().
  void run_for(std::uint64_t ns);
  /// Sends so many at once, as far as the window allows, so that some are under way.
  void send_now(std::uint32_t requests);
  /// From now on a host does not answer. @param link  as the broker that is asked calls its link.
  void note_loss(const char* link) { book_.lose(link); }
  /// Sends nothing more and takes answers until all have come, for `ns` at most.
  void settle(std::uint64_t ns);
  /// What was seen so far. Requests without an answer count as lost, so settle() first.
  [[nodiscard]] FailoverFigures figures() const { return book_.figures(); }

 private:
  [[nodiscard]] bool send_one();
  bool take();
  void on_answer(const shm::FrameView& view);
  void on_result(const shm::FrameView& view);
  void sleep_until(std::uint64_t deadline_ns);

  shm::Attachment client_;
  std::uint64_t period_ns_;
  std::uint32_t window_;
  std::vector<std::uint64_t> routes_;
  std::uint64_t next_id_ = 1;
  FailoverBook book_;
};

}  // namespace mserve::bench
