// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

namespace mserve::broker {

/// A client or servant that is attached through rings.
struct SessionRow {
  std::uint32_t number = 0;  ///< From 1, as in logs and info.
  bool servant = false;
  bool suspended = false;  ///< Its process is stopped.
  bool paused = false;     ///< An operator paused, drains or retires it.
  std::uint32_t tier = 0;  ///< Of a servant, 0 to 3.
  std::uint32_t credit = 0;
  pid_t pid = 0;
  uid_t uid = 0;
  std::int64_t since = 0;  ///< ns since 2000.01.01.
  std::string name;
  std::string tags{};
};

/// Who is attached, told by the control thread and read by the gateway's. Any thread; a lock, so
/// not for the data thread.
class SessionBoard {
 public:
  using Lock = std::unique_lock<std::mutex>;
  /// rows() waits for as long as this lives; so nothing that takes long, or this lock again.
  [[nodiscard]] Lock lock() { return Lock(mutex_); }
  /// @param lock  of this board: whoever sees the row finds done what was done under it.
  void attached(SessionRow row, const Lock& lock);
  void held(std::uint32_t number, bool suspended, bool paused);
  void detached(std::uint32_t number);
  /// In order of attaching.
  [[nodiscard]] std::vector<SessionRow> rows() const;

 private:
  mutable std::mutex mutex_;
  std::vector<SessionRow> rows_;
};

/// A kdb+ connection of the gateway.
struct ClientRow {
  std::uint32_t handle = 0;  ///< Number of the connection.
  std::int64_t since = 0;    ///< ns since 2000.01.01.
  std::uint64_t requests = 0;
  std::uint64_t pending = 0;  ///< Requests without an answer.
  std::uint64_t sent_bytes = 0;
  std::uint64_t waiting_bytes = 0;  ///< Answers that it has not read yet.
  std::string user;
  std::string address;
};

struct CounterRow {
  std::string name;
  std::uint64_t value = 0;
};

}  // namespace mserve::broker
