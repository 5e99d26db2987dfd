// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "control/log.hpp"
#include "control/trace_file.hpp"
#include "data/request_stamps.hpp"
#include "data/session.hpp"
#include "mserve/shm/monitor_layout.hpp"
#include "spsc_queue.hpp"

namespace mserve::broker {

/// --slow and --trace: takes what the data thread tells of requests that ended and writes it.
/// Threads: the control thread's.
class RequestLog {
 public:
  struct Setup {
    SpscQueue<RequestStamps>* stamps = nullptr;    ///< Outlives it, as `names`.
    std::span<const shm::MonitorNameSet> names{};  ///< What the gateway calls routes.
    std::unique_ptr<TraceFile> trace{};            ///< Null: none.
    std::uint32_t trace_every = 0;
  };
  explicit RequestLog(Setup setup) : setup_(std::move(setup)) {}

  /// Writes all that was told before the call. To be called before one of the sessions goes.
  /// @param sessions  by number; null: not attached.
  void take(std::span<const std::unique_ptr<Session>> sessions);
  /// Of a session that goes: what still runs for its client is told with that one's name.
  void remember(const Session& session);
  /// Several times a second.
  void tick(Nanos now);
  /// How long it may wait before take() is called, lest the queue runs full.
  [[nodiscard]] Nanos patience_ns() const noexcept;
  /// Each so-manieth request is still written; 0: there is no trace, or it has ended.
  [[nodiscard]] std::uint32_t trace_every() const noexcept {
    return setup_.trace != nullptr && !setup_.trace->ended() ? setup_.trace_every : 0;
  }
  /// Requests that a queue holds that is fit for this.
  [[nodiscard]] static constexpr std::size_t queue_size(bool traced) noexcept {
    return traced ? kTraceQueue : kSlowQueue;
  }

 private:
  static constexpr std::size_t kSlowQueue = 1U << 10;
  static constexpr std::size_t kTraceQueue = 1U << 16;

  /// A client's last session of a number.
  struct Gone {
    std::uint32_t generation = 0;
    std::string name{};
    std::optional<uid_t> uid{};
  };

  void tell_slow(const EndedRequest& request);

  Setup setup_;
  KindLimiter limiter_;
  std::map<std::uint32_t, Gone> gone_;  ///< By number: as many as there were sessions at once.
};

}  // namespace mserve::broker
