// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <initializer_list>
#include <map>
#include <string>
#include <string_view>

#include "control/log_event.hpp"

namespace mserve::broker {

// The broker's log: one line per event on stderr, `time level event key=value ...` or a JSON
// object. Control, waker, gateway and main threads only; the data thread never logs, it reports.

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

/// Writes one line. Never throws and waits for nobody; a full disk, a closed stderr or a reader
/// that does not read loses the line, not the broker.
void log(LogLevel level, EventName event, LogFields fields) noexcept;
inline void log(LogLevel level, EventName event,
                std::initializer_list<LogField> fields = {}) noexcept {
  log(level, event, LogFields(fields.begin(), fields.size()));
}

/// Lines of one kind that a peer can cause: some at once, then one a second. What was swallowed is
/// counted in the next line, or by tell_swallowed().
class LogLimiter {
 public:
  static constexpr std::uint32_t kAtOnce = 10;
  void log(LogLevel level, std::uint64_t now_ns, EventName event,
           std::initializer_list<LogField> fields = {}) noexcept;
  /// To be called now and then, for the end of a flood has no next line.
  void tell_swallowed(std::uint64_t now_ns, std::string_view kind) noexcept;

 private:
  [[nodiscard]] bool may(std::uint64_t now_ns) noexcept;

  std::uint64_t refilled_ns_ = 0;
  std::uint32_t left_ = kAtOnce;
  std::uint64_t swallowed_ = 0;
};

/// The same for several kinds of lines: a flood of one kind hides no other.
class KindLimiter {
 public:
  static constexpr std::size_t kKindsMax = 64;
  /// @param kind  what they have in common: an event, a reason. Beyond kKindsMax all are one kind.
  void log(std::string_view kind, LogLevel level, std::uint64_t now_ns, EventName event,
           std::initializer_list<LogField> fields = {}) noexcept;
  void tell_swallowed(std::uint64_t now_ns) noexcept;

 private:
  std::map<std::string, LogLimiter, std::less<>> kinds_;
};

}  // namespace mserve::broker
