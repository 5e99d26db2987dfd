// SPDX-License-Identifier: Apache-2.0
#include "control/log.hpp"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

namespace mserve::broker {

namespace {

spdlog::logger& logger() {
  static const std::shared_ptr<spdlog::logger> instance = [] {
    auto made = std::make_shared<spdlog::logger>("mserve",
                                                 std::make_shared<spdlog::sinks::stderr_sink_mt>());
    made->set_pattern("%Y-%m-%dT%H:%M:%S.%e %l %v");
    made->flush_on(spdlog::level::info);
    // A log that cannot be written is nobody's reason to stop; spdlog would print about it.
    made->set_error_handler([](const std::string&) {});
    return made;
  }();
  return *instance;
}

spdlog::level::level_enum level_of(LogLevel level) noexcept {
  switch (level) {
    case LogLevel::info:
      return spdlog::level::info;
    case LogLevel::warning:
      return spdlog::level::warn;
    case LogLevel::error:
      break;
  }
  return spdlog::level::err;
}

}  // namespace

bool set_log_level(std::string_view level) {
  constexpr std::pair<std::string_view, LogLevel> kNames[] = {
      {"info", LogLevel::info}, {"warning", LogLevel::warning}, {"error", LogLevel::error}};
  for (const auto& [name, value] : kNames) {
    if (name == level) {
      logger().set_level(level_of(value));
      return true;
    }
  }
  return false;
}

void log(LogLevel level, const std::string& line) noexcept {
  try {
    logger().log(level_of(level), "{}", line);
  } catch (...) {  // NOLINT(bugprone-empty-catch): see the header
  }
}

void LogLimiter::log(LogLevel level, std::uint64_t now_ns, const std::string& line) noexcept {
  const std::uint64_t second = now_ns / 1'000'000'000;
  if (second != second_) {
    second_ = second;
    count_ = 0;
  }
  if (++count_ > kPerSecond) {
    ++swallowed_;
    return;
  }
  try {
    broker::log(level, swallowed_ == 0 ? line : line + " swallowed=" + std::to_string(swallowed_));
    swallowed_ = 0;
  } catch (...) {  // NOLINT(bugprone-empty-catch): out of memory loses the line
  }
}

}  // namespace mserve::broker
