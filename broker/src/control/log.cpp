// SPDX-License-Identifier: Apache-2.0
#include "control/log.hpp"

#include <spdlog/sinks/base_sink.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <mutex>

#include "control/log_writer.hpp"

namespace mserve::broker {

namespace {

/// Counts what could not be written in the next line that can be.
class LogSink final : public spdlog::sinks::base_sink<std::mutex> {
 private:
  void sink_it_(const spdlog::details::log_msg& message) override {
    if (lost_ > 0) {
      const std::string text = "log_lost lines=" + std::to_string(lost_);
      if (write({message.time, message.source, message.logger_name, spdlog::level::warn, text})) {
        lost_ = 0;
      }
    }
    if (lost_ > 0 || !write(message)) {
      ++lost_;
    }
  }
  void flush_() override {}

  [[nodiscard]] bool write(const spdlog::details::log_msg& message) {
    spdlog::memory_buf_t line;
    formatter_->format(message, line);
    return writer_.write({line.data(), line.size()});
  }

  LogWriter writer_{STDERR_FILENO};
  std::uint64_t lost_ = 0;
};

spdlog::logger& logger() {
  static const std::shared_ptr<spdlog::logger> instance = [] {
    auto made = std::make_shared<spdlog::logger>("mserve", std::make_shared<LogSink>());
    made->set_pattern("%Y-%m-%dT%H:%M:%S.%e %l %v");
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

bool LogLimiter::may(std::uint64_t now_ns) noexcept {
  constexpr std::uint64_t kRefillNs = 1'000'000'000;
  const std::uint64_t earned = (now_ns - refilled_ns_) / kRefillNs;
  if (earned > 0) {
    refilled_ns_ = now_ns;
    left_ = static_cast<std::uint32_t>(std::min<std::uint64_t>(left_ + earned, kAtOnce));
  }
  if (left_ == 0) {
    return false;
  }
  --left_;
  return true;
}

void LogLimiter::log(LogLevel level, std::uint64_t now_ns, const std::string& line) noexcept {
  if (!may(now_ns)) {
    ++swallowed_;
    return;
  }
  try {
    broker::log(level, swallowed_ == 0 ? line : line + " swallowed=" + std::to_string(swallowed_));
    swallowed_ = 0;
  } catch (...) {  // NOLINT(bugprone-empty-catch): out of memory loses the line
  }
}

void LogLimiter::tell_swallowed(std::uint64_t now_ns, std::string_view kind) noexcept {
  if (swallowed_ == 0 || !may(now_ns)) {
    return;
  }
  try {
    broker::log(LogLevel::warning,
                "swallowed kind=\"" + std::string(kind) + "\" lines=" + std::to_string(swallowed_));
    swallowed_ = 0;
  } catch (...) {  // NOLINT(bugprone-empty-catch): the next line counts them
  }
}

void KindLimiter::log(std::string_view kind, LogLevel level, std::uint64_t now_ns,
                      const std::string& line) noexcept {
  try {
    auto found = kinds_.find(kind);
    if (found == kinds_.end()) {
      const bool room = kinds_.size() < kKindsMax;
      found = kinds_.try_emplace(room ? std::string(kind) : std::string("other")).first;
    }
    found->second.log(level, now_ns, line);
  } catch (...) {  // NOLINT(bugprone-empty-catch): out of memory loses the line
  }
}

void KindLimiter::tell_swallowed(std::uint64_t now_ns) noexcept {
  for (auto& [kind, limiter] : kinds_) {
    limiter.tell_swallowed(now_ns, kind);
  }
}

}  // namespace mserve::broker
