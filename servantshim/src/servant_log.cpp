// SPDX-License-Identifier: Apache-2.0
#include "servant_log.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <ctime>
#include <utility>

#include "mserve/kdb/json.hpp"
#include "mserve/shm/standard_descriptors.hpp"

namespace mserve {

namespace {

/// Of a text that a line shows.
constexpr std::size_t kTextBytesMax = 1024;
constexpr std::int64_t kNsPerSecond = 1'000'000'000;

/// RFC 3339, to the microsecond, as the broker's.
std::string time_text(std::int64_t wall_ns) {
  const std::time_t seconds = wall_ns / kNsPerSecond;
  std::tm parts{};
  (void)::gmtime_r(&seconds, &parts);
  std::array<char, 32> text{};
  const std::size_t size = std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%S", &parts);
  std::array<char, 16> fraction{};
  (void)std::snprintf(fraction.data(), fraction.size(), ".%06dZ",
                      static_cast<int>(wall_ns % kNsPerSecond / 1000));
  return std::string(text.data(), size) + fraction.data();
}

/// One line, whatever somebody sent.
std::string on_one_line(std::string_view text) {
  std::string line(text);
  std::replace_if(
      line.begin(), line.end(), [](char c) { return (c >= 0 && c < ' ') || c == 0x7f; }, ' ');
  return line;
}

}  // namespace

ServantLog::ServantLog(std::string name, bool json)
    : name_(std::move(name)), json_(json), journal_(shm::stderr_is_journal()) {}

std::string ServantLog::format(const ServantLogLine& line, std::int64_t wall_ns) const {
  const bool warning = line.level == ServantLogLine::Level::warning;
  const std::string_view shown = line.text.substr(0, kTextBytesMax);
  std::string out = journal_ ? (warning ? "<4>" : "<6>") : "";
  if (json_) {
    std::string event(line.event);
    std::replace(event.begin(), event.end(), ' ', '_');
    out += R"({"time":")" + time_text(wall_ns) + R"(","level":")" + (warning ? "warning" : "info") +
           R"(","event":)" + kdb::json_string(event) + R"(,"servant":)" + kdb::json_string(name_);
    out += line.text.empty() ? "}" : R"(,"text":)" + kdb::json_string(shown) + "}";
  } else {
    out += name_ + ": " + std::string(line.event) + (line.text.empty() ? "" : ": ") +
           on_one_line(shown);
  }
  return out + "\n";
}

void ServantLog::write(const ServantLogLine& line) const noexcept {
  try {
    timespec now{};
    (void)::clock_gettime(CLOCK_REALTIME, &now);
    const std::string text = format(line, now.tv_sec * kNsPerSecond + now.tv_nsec);
    (void)std::fwrite(text.data(), 1, text.size(), stderr);
  } catch (...) {  // NOLINT(bugprone-empty-catch): out of memory loses the line
  }
}

}  // namespace mserve
