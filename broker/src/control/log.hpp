// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace mserve::broker {

// The broker's log: one line per event on stderr, `time level event key=value ...`. Control, waker
// and main threads only; the data thread never logs, it reports.

enum class LogLevel : std::uint8_t { info, warning, error };

/// `info`, `warning` or `error`. @return false for anything else; nothing changes.
bool set_log_level(std::string_view level);

/// Writes one line. Never throws; a full disk or closed stderr loses the line, not the broker.
void log(LogLevel level, const std::string& line) noexcept;

/// At most `kPerSecond` lines a second of one kind; what was swallowed is counted in the next line.
class LogLimiter {
 public:
  static constexpr std::uint32_t kPerSecond = 10;
  void log(LogLevel level, std::uint64_t now_ns, const std::string& line) noexcept;

 private:
  std::uint64_t second_ = 0;
  std::uint32_t count_ = 0;
  std::uint64_t swallowed_ = 0;
};

}  // namespace mserve::broker
