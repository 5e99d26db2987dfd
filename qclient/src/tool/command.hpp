// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string_view>

namespace mserve::tool {

/// How much of the screen a value may take, rows as well as columns.
inline constexpr std::uint32_t kConsoleMin = 10;
inline constexpr std::uint32_t kConsoleMax = 2000;

/// A line that mserve-client keeps for itself instead of sending it.
struct Command {
  enum class Kind : std::uint8_t {
    query,            ///< None of ours: send it.
    nothing,          ///< Blank, or a comment.
    quit,             ///< `\\`
    help,             ///< `\?`
    timer_show,       ///< `\t`
    timer_set,        ///< `\t N`
    console_show,     ///< `\c`
    console_set,      ///< `\c ROWS COLUMNS`
    console_refused,  ///< The same with numbers from elsewhere than kConsoleMin to kConsoleMax.
    unknown,          ///< Starts with a backslash, but is none of the above.
  };
  Kind kind = Kind::query;
  std::uint32_t first = 0;   ///< timer_set: milliseconds; console_set: rows.
  std::uint32_t second = 0;  ///< console_set: columns.
};

/// What a line means. Surrounding blanks do not matter.
[[nodiscard]] Command parse_command(std::string_view line) noexcept;

/// The text without blanks at either end.
[[nodiscard]] std::string_view trimmed(std::string_view text) noexcept;

/// What to say to Kind::console_refused.
[[nodiscard]] std::string_view console_refusal() noexcept;

/// What `\?` shows.
[[nodiscard]] std::string_view command_help() noexcept;

}  // namespace mserve::tool
