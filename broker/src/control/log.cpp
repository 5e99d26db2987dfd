// SPDX-License-Identifier: Apache-2.0
#include "control/log.hpp"

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <mutex>
#include <vector>

#include "control/log_writer.hpp"

namespace mserve::broker {

namespace {

/// sd-daemon(3): what the journal reads off the beginning of a line.
const char* priority_of(spdlog::level::level_enum level) noexcept {
  return level == spdlog::level::err ? "<3>" : level == spdlog::level::warn ? "<4>" : "<6>";
}

/// Counts what could not be written in the next line that can be.
class LogSink final : public spdlog::sinks::base_sink<std::mutex> {
 public:
  void set_form(const LogForm& form) {
    form_ = form;
    if (form.json) {
      set_formatter(std::make_unique<spdlog::pattern_formatter>(
          R"({"time":"%Y-%m-%dT%H:%M:%S.%fZ","level":"%l",%v})", spdlog::pattern_time_type::utc));
    } else {
      set_formatter(std::make_unique<spdlog::pattern_formatter>(
          form.journal ? "%l %v" : "%Y-%m-%dT%H:%M:%S.%e %l %v"));
    }
  }
  [[nodiscard]] const LogForm& form() const noexcept { return form_; }
  [[nodiscard]] std::string body(std::string_view event, LogFields fields) const {
    return form_.json ? event_json(event, fields) : event_text(event, fields);
  }

 private:
  void sink_it_(const spdlog::details::log_msg& message) override {
    if (lost_ > 0) {
      const LogField lines{"lines", lost_};
      const std::string text = body("log_lost", {&lines, 1});
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
    if (form_.journal) {
      const std::string_view priority = priority_of(message.level);
      line.append(priority.data(), priority.data() + priority.size());
    }
    formatter_->format(message, line);
    return writer_.write({line.data(), line.size()});
  }

  LogWriter writer_{STDERR_FILENO};
  LogForm form_;
  std::uint64_t lost_ = 0;
};

LogSink& sink() {
  static const std::shared_ptr<LogSink> instance = [] {
    auto made = std::make_shared<LogSink>();
    made->set_form({});
    return made;
  }();
  return *instance;
}

spdlog::logger& logger() {
  static const std::shared_ptr<spdlog::logger> instance = [] {
    // Not owned by the logger: both live as long as the process.
    auto made = std::make_shared<spdlog::logger>(
        "mserve", spdlog::sink_ptr(std::shared_ptr<void>(), &sink()));
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

/// Of a thread that does not write itself.
thread_local LogQueue* queue_of_thread = nullptr;

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

void set_log_form(const LogForm& form) {
  sink().set_form(form);
}

const LogForm& log_form() noexcept {
  return sink().form();
}

void log(LogLevel level, EventName event, LogFields fields) noexcept {
  try {
    if (logger().should_log(level_of(level))) {
      std::string body = sink().body(event.text(), fields);
      if (queue_of_thread != nullptr) {
        queue_of_thread->put(level, std::move(body));
      } else {
        logger().log(level_of(level), spdlog::string_view_t(body));
      }
    }
  } catch (...) {  // NOLINT(bugprone-empty-catch): see the header
  }
}

void LogQueue::take_lines_of_this_thread() noexcept {
  queue_of_thread = this;
}

void LogQueue::put(LogLevel level, std::string&& body) {
  Line line{.level = level, .time = std::chrono::system_clock::now(), .body = std::move(body)};
  if (!lines_.try_put(std::move(line))) {
    lost_.fetch_add(1, std::memory_order_relaxed);  // a number, and nothing comes with it
  }
}

void LogQueue::write_out() noexcept {
  try {
    Line line;
    for (std::size_t i = 0; i < lines_.capacity() && lines_.try_take(line); ++i) {
      logger().log(line.time, {}, level_of(line.level), spdlog::string_view_t(line.body));
    }
  } catch (...) {  // NOLINT(bugprone-empty-catch): a line is lost, not the broker
  }
  const std::uint64_t lost = lost_.exchange(0, std::memory_order_relaxed);  // as in put()
  if (lost != 0) {
    broker::log(LogLevel::warning, "log_lost", {{"lines", lost}});
  }
}

bool LogLimiter::may(std::uint64_t now_ns) noexcept {
  constexpr std::uint64_t kRefillNs = 1'000'000'000;
  const std::uint64_t earned = (now_ns - refilled_ns_) / kRefillNs;
  if (earned > 0) {
    refilled_ns_ = now_ns;
    left_ = static_cast<std::uint32_t>(std::min<std::uint64_t>(left_ + earned, at_once_));
  }
  if (left_ == 0) {
    return false;
  }
  --left_;
  return true;
}

void LogLimiter::log(LogLevel level, std::uint64_t now_ns, EventName event,
                     std::initializer_list<LogField> fields) noexcept {
  if (!may(now_ns)) {
    ++swallowed_;
    return;
  }
  try {
    std::vector<LogField> all(fields);
    if (swallowed_ != 0) {
      all.push_back({"swallowed", swallowed_});
    }
    broker::log(level, event, all);
    swallowed_ = 0;
  } catch (...) {  // NOLINT(bugprone-empty-catch): out of memory loses the line
  }
}

void LogLimiter::tell_swallowed(std::uint64_t now_ns, std::string_view kind) noexcept {
  if (swallowed_ != 0 && may(now_ns)) {
    broker::log(LogLevel::warning, "swallowed", {{"kind", LogText{kind}}, {"lines", swallowed_}});
    swallowed_ = 0;
  }
}

void KindLimiter::log(std::string_view kind, LogLevel level, std::uint64_t now_ns, EventName event,
                      std::initializer_list<LogField> fields) noexcept {
  try {
    auto found = kinds_.find(kind);
    if (found == kinds_.end()) {
      const bool room = kinds_.size() < kKindsMax;
      found = kinds_.try_emplace(room ? std::string(kind) : std::string("other"), at_once_).first;
    }
    found->second.log(level, now_ns, event, fields);
  } catch (...) {  // NOLINT(bugprone-empty-catch): out of memory loses the line
  }
}

void KindLimiter::tell_swallowed(std::uint64_t now_ns) noexcept {
  for (auto& [kind, limiter] : kinds_) {
    limiter.tell_swallowed(now_ns, kind);
  }
}

}  // namespace mserve::broker
