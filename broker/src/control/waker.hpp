// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <thread>
#include <vector>

#include "data/exchange.hpp"
#include "mserve/shm/counters.hpp"

namespace mserve::broker {

/// Makes the system calls that a spinning data thread must not make: wakes sleeping peers and
/// passes reports on to the control thread. Exists only with the idle strategy `spin`.
///
/// It looks at its queue every 30 us while some peer sleeps, or was woken lately, and at queue and
/// peers every millisecond otherwise, or every 4 ms while everybody spins (waker_pace.hpp): a
/// sleeping waker could not be woken without a system call either. So who falls asleep is woken so
/// much later the first time, and sessions that end are told of so much later.
class Waker {
 public:
  /// All outlive it. @param requests  counts what the data thread accepted.
  Waker(Queue<Wake>& wakes, Queue<Report>& reports, int report_fd, const shm::Counter& requests);
  Waker(const Waker&) = delete;
  Waker& operator=(const Waker&) = delete;
  ~Waker();  ///< Handles what is queued, then ends the thread.

 private:
  void run();
  bool take_all();
  [[nodiscard]] bool any_peer_sleeps() const;

  Queue<Wake>& wakes_;
  Queue<Report>& reports_;
  int report_fd_;
  const shm::Counter& requests_;
  std::vector<Session*> known_;  // attached sessions, for any_peer_sleeps()
  /// A futex wake that found nobody: repeated until it does, but no longer than any sleep lasts.
  struct Repeat {
    Session* session;
    std::uint64_t until_ns;
  };
  std::vector<Repeat> repeat_;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

}  // namespace mserve::broker
