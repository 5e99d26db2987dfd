// SPDX-License-Identifier: Apache-2.0
#include "tool/command.hpp"

#include <charconv>
#include <optional>

namespace mserve::tool {
namespace {

constexpr std::string_view kBlanks = " \t\r\n";

bool shows(std::uint32_t size) noexcept {
  return size >= kConsoleMin && size <= kConsoleMax;
}

/// Takes the next word off `rest`; empty when there is none.
std::string_view next_word(std::string_view& rest) noexcept {
  rest = trimmed(rest);
  const std::string_view word = rest.substr(0, rest.find_first_of(kBlanks));
  rest.remove_prefix(word.size());
  return word;
}

std::optional<std::uint32_t> number(std::string_view word) noexcept {
  std::uint32_t value = 0;
  const auto [end, code] = std::from_chars(word.data(), word.data() + word.size(), value);
  if (code != std::errc() || end != word.data() + word.size()) {
    return std::nullopt;
  }
  return value;
}

Command timer(std::string_view rest) noexcept {
  const std::string_view word = next_word(rest);
  if (word.empty()) {
    return {Command::Kind::timer_show};
  }
  const auto ms = number(word);
  return ms && next_word(rest).empty() ? Command{Command::Kind::timer_set, *ms}
                                       : Command{Command::Kind::unknown};
}

Command console(std::string_view rest) noexcept {
  const std::string_view first = next_word(rest);
  if (first.empty()) {
    return {Command::Kind::console_show};
  }
  const auto rows = number(first);
  const auto columns = number(next_word(rest));
  if (!rows || !columns || !next_word(rest).empty()) {
    return {Command::Kind::unknown};
  }
  return shows(*rows) && shows(*columns) ? Command{Command::Kind::console_set, *rows, *columns}
                                         : Command{Command::Kind::console_refused};
}

}  // namespace

std::string_view trimmed(std::string_view text) noexcept {
  const std::size_t first = text.find_first_not_of(kBlanks);
  if (first == std::string_view::npos) {
    return {};
  }
  return text.substr(first, text.find_last_not_of(kBlanks) - first + 1);
}

Command parse_command(std::string_view line) noexcept {
  std::string_view rest = trimmed(line);
  if (rest.empty() || rest.front() == '/') {
    return {Command::Kind::nothing};
  }
  if (rest == "exit" || rest == "quit") {  // what other prompts know
    return {Command::Kind::quit};
  }
  if (rest == "help" || rest == "?") {
    return {Command::Kind::help};
  }
  if (rest.front() != '\\') {
    return {Command::Kind::query};
  }
  const std::string_view word = next_word(rest);
  if (word == "\\t") {
    return timer(rest);
  }
  if (word == "\\c") {
    return console(rest);
  }
  if (!trimmed(rest).empty()) {
    return {Command::Kind::unknown};
  }
  return {word == "\\\\"  ? Command::Kind::quit
          : word == "\\?" ? Command::Kind::help
                          : Command::Kind::unknown};
}

std::string_view console_refusal() noexcept {
  return "'\\c: ROWS and COLUMNS are 10 to 2000 each\n";
}

std::string_view command_help() noexcept {
  return "proc1 `IBM       any other line is a query; answers appear when they come\n"
         "\\t N             every N ms: proc1 of a random symbol; \\t 0 stops, \\t shows\n"
         "\\c ROWS COLUMNS  size of what is shown, 10 to 2000 each; \\c shows\n"
         "\\?               this help (as help)\n"
         "\\\\               quit (as exit, Ctrl-D); Ctrl-C gives up on what is in flight,\n"
         "                 and turns \\t off\n";
}

}  // namespace mserve::tool
