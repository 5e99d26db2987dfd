// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <condition_variable>
#include <mutex>

#include "data/data_plane.hpp"
#include "data/exchange.hpp"

namespace mserve::broker {

/// Lends the data plane to the gateway's thread for as long as that has a session. Where
/// there are fewer cores than threads that look for work, two threads of one process only take the
/// core from each other; and to the kernel a core with both of them on it looks too busy to wake a
/// client there, so that it sends an interrupt to the other one, which costs more than the query.
///
/// Threads: run() is the data thread's, borrow() and give_back() are the gateway's. What one of
/// them did to the data plane is visible to the other after the hand-over.
class DataLoan {
 public:
  /// All outlive it. `command_fd` tells of `commands`, as in DataPlane::Links.
  DataLoan(DataPlane& data, Queue<Command>& commands, int command_fd) noexcept
      : data_(data), commands_(commands), command_fd_(command_fd) {}

  /// DataPlane::run(), with pauses while the data plane is lent.
  void run();
  /// Blocks until the data thread has let go. From here to give_back() the data plane is the
  /// caller's to run. @return nullptr: it has stopped for good.
  [[nodiscard]] DataPlane* borrow();
  void give_back();

 private:
  enum class State : std::uint8_t { kept, lent, stopped };

  DataPlane& data_;
  Queue<Command>& commands_;
  int command_fd_;
  std::mutex mutex_;
  std::condition_variable changed_;
  State state_ = State::kept;
};

}  // namespace mserve::broker
