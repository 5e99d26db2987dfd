// SPDX-License-Identifier: Apache-2.0
// What mserve-servant and mserve-qshim write to stderr, in the forms that the broker's log has.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace mserve {

/// One line. What it says may come from anywhere; views are valid during the call.
struct ServantLogLine {
  enum class Level : std::uint8_t { info, warning };

  Level level = Level::info;
  std::string_view event{};  ///< A word or two of ours: "attached", "no q".
  std::string_view text{};   ///< More about it; may be empty.
};

/// Writes such lines: `NAME: EVENT: TEXT`, or one JSON object each. Behind `<N>`, a syslog
/// priority, where stderr is systemd's journal.
class ServantLog {
 public:
  /// @param name  of the servant. @param json  as --log-format says.
  ServantLog(std::string name, bool json);

  /// Never throws; a line that cannot be written is lost. @thread one at a time
  void write(const ServantLogLine& line) const noexcept;

  /// The line, with its newline. @param wall_ns  nanoseconds since 1970, UTC.
  [[nodiscard]] std::string format(const ServantLogLine& line, std::int64_t wall_ns) const;

 private:
  std::string name_;
  bool json_;
  bool journal_;
};

}  // namespace mserve
