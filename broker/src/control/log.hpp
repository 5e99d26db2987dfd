// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <initializer_list>
#include <map>
#include <string>
#include <string_view>

#include "control/log_event.hpp"
#include "spsc_queue.hpp"

namespace mserve::broker {

// The broker's log: one line per event on stderr, `time level event key=value ...` or a JSON
// object. Main, control and waker thread write; the gateway's, which may run the data plane as
// well, hands its lines to the control thread (LogQueue). The data thread writes none once it
// serves: it reports.

enum class LogLevel : std::uint8_t { info, warning, error };

/// `info`, `warning` or `error`. @return false for anything else; nothing changes.
bool set_log_level(std::string_view level);

/// How lines look.
struct LogForm {
  bool json = false;     ///< One JSON object a line.
  bool journal = false;  ///< Each begins with `<N>`, its syslog priority; text bears no time.
};
/// @thread before there are others. Until then it is text with a time.
void set_log_form(const LogForm& form);
[[nodiscard]] const LogForm& log_form() noexcept;

/// Writes one line, or leaves that to a LogQueue. Never throws. A full disk, a closed stderr or a
/// reader that does not read loses the line, not the broker: the first such line waits 20 ms, those
/// behind it not at all.
void log(LogLevel level, EventName event, LogFields fields) noexcept;
inline void log(LogLevel level, EventName event,
                std::initializer_list<LogField> fields = {}) noexcept {
  log(level, event, LogFields(fields.begin(), fields.size()));
}

/// Lines of a thread that is to wait for nothing, on their way to one that writes them. They keep
/// their time. Those that find it full are counted, and `log_lost` tells of them.
class LogQueue {
 public:
  explicit LogQueue(std::size_t lines = 512) : lines_(lines) {}
  /// Writes what is left.
  ~LogQueue() { write_out(); }
  LogQueue(const LogQueue&) = delete;
  LogQueue& operator=(const LogQueue&) = delete;

  /// From here to its end the calling thread writes no line itself. One thread at a time; the queue
  /// outlives it.
  void take_lines_of_this_thread() noexcept;
  /// Writes all that was there before the call. @thread one at a time, and not the same
  void write_out() noexcept;

 private:
  friend void log(LogLevel level, EventName event, LogFields fields) noexcept;
  struct Line {
    LogLevel level = LogLevel::info;
    std::chrono::system_clock::time_point time{};
    std::string body;
  };
  void put(LogLevel level, std::string&& body);

  SpscQueue<Line> lines_;
  std::atomic<std::uint64_t> lost_{0};
};

/// Lines of one kind that a peer can cause: some at once, then one a second. What was swallowed is
/// counted in the next line, or by tell_swallowed().
class LogLimiter {
 public:
  static constexpr std::uint32_t kAtOnce = 10;
  explicit LogLimiter(std::uint32_t at_once = kAtOnce) noexcept
      : at_once_(at_once), left_(at_once) {}
  void log(LogLevel level, std::uint64_t now_ns, EventName event,
           std::initializer_list<LogField> fields = {}) noexcept;
  /// To be called now and then, for the end of a flood has no next line.
  void tell_swallowed(std::uint64_t now_ns, std::string_view kind) noexcept;

 private:
  [[nodiscard]] bool may(std::uint64_t now_ns) noexcept;

  std::uint64_t refilled_ns_ = 0;
  std::uint32_t at_once_;
  std::uint32_t left_;
  std::uint64_t swallowed_ = 0;
};

/// The same for several kinds of lines: a flood of one kind hides no other.
class KindLimiter {
 public:
  static constexpr std::size_t kKindsMax = 64;
  /// @param at_once  lines of each kind.
  explicit KindLimiter(std::uint32_t at_once = LogLimiter::kAtOnce) noexcept : at_once_(at_once) {}
  /// @param kind  what they have in common: an event, a reason. Beyond kKindsMax all are one kind.
  void log(std::string_view kind, LogLevel level, std::uint64_t now_ns, EventName event,
           std::initializer_list<LogField> fields = {}) noexcept;
  void tell_swallowed(std::uint64_t now_ns) noexcept;

 private:
  std::uint32_t at_once_;
  std::map<std::string, LogLimiter, std::less<>> kinds_;
};

}  // namespace mserve::broker
