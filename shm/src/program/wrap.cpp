// SPDX-License-Identifier: Apache-2.0
#include "wrap.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>

namespace mserve::program {

namespace {

constexpr std::size_t kNone = std::string_view::npos;
/// Where CLI11 begins what it says of an option; a longer name has a line of its own.
constexpr std::size_t kColumn = 30;

std::size_t indent_of(std::string_view line) {
  return std::min(line.find_first_not_of(' '), line.size());
}

/// Where it goes on behind the first of several blanks within a line; kNone: there are none.
std::size_t behind_gap(std::string_view line) {
  const std::size_t gap = line.find("  ", indent_of(line));
  return gap != kNone ? line.find_first_not_of(' ', gap) : kNone;
}

/// "Environment: ...", "--peer: ..."
bool begins_with_label(std::string_view text) {
  constexpr std::ptrdiff_t kBlanksMax = 3;
  const std::string_view label = text.substr(0, text.find(':'));
  return label.size() != text.size() && (text[0] == '-' || (text[0] >= 'A' && text[0] <= 'Z')) &&
         label.find('.') == kNone && std::count(label.begin(), label.end(), ' ') <= kBlanksMax;
}

bool is_item(std::string_view text) {
  return text.starts_with("- ");
}

/// Whether a line belongs to the paragraph of the one before it, which hangs there.
bool goes_on(std::string_view line, std::size_t hang) {
  return indent_of(line) == hang && line.size() > hang && behind_gap(line) == kNone &&
         !is_item(line.substr(hang)) && !begins_with_label(line.substr(hang));
}

/// How far to the right a line goes on if it is too long. @param next  the line behind it.
std::size_t hang_of(std::string_view line, std::string_view next, std::size_t width) {
  constexpr std::size_t kStep = 2;
  constexpr std::size_t kNameGoesOn = 6;
  constexpr std::size_t kRoomMin = 20;
  const std::size_t indent = indent_of(line);
  const std::size_t gap = behind_gap(line);
  const std::size_t below = indent_of(next);
  if (indent == 0) {
    return 0;
  }
  if (indent == kStep && gap == kNone && below >= kColumn) {
    return kNameGoesOn;
  }
  const bool item = is_item(line.substr(indent));
  if (indent == kStep && !item && line[kStep] == '-' && line.size() > kColumn &&
      line[kColumn - 1] == ' ') {
    return kColumn;
  }
  const std::size_t hang = gap != kNone                             ? gap
                           : item                                   ? indent + kStep
                           : below > indent && goes_on(next, below) ? below
                                                                    : indent;
  return hang + kRoomMin <= width ? hang : indent + kStep;
}

/// Where to part a line that is longer than `width`: its first part ends there.
std::size_t end_of_part(std::string_view line, std::size_t width, std::size_t hang) {
  const std::size_t first = std::max(hang, indent_of(line));
  const std::size_t blank = line.rfind(' ', width);
  const bool found = blank != kNone && blank > first;
  const std::size_t begin = found ? blank + 1 : first;
  const std::size_t end = std::min(line.find(' ', begin), line.size());
  if (end - begin + hang > width) {
    const std::size_t within = line.find_last_of("|,", width - 1);
    if (within != kNone && within > begin) {
      return within + 1;
    }
  }
  return found ? blank : end;
}

}  // namespace

std::size_t terminal_width() {
  constexpr std::size_t kUsual = 80;
  winsize size{};
  if (isatty(STDOUT_FILENO) == 0) {
    return 0;
  }
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
    return size.ws_col;
  }
  const char* const given = std::getenv("COLUMNS");
  const std::string_view text(given != nullptr ? given : "");
  std::size_t width = 0;
  (void)std::from_chars(text.data(), text.data() + text.size(), width);
  return width != 0 ? width : kUsual;
}

std::vector<std::string> wrapped_line(std::string line, std::size_t width, std::size_t hang) {
  std::vector<std::string> parts;
  hang = hang < width ? hang : 0;
  while (line.size() > width) {
    const std::size_t end = end_of_part(line, width, hang);
    const std::size_t next = line.find_first_not_of(' ', end);
    if (next == kNone) {
      break;
    }
    parts.push_back(line.substr(0, end));
    line.replace(0, next, hang, ' ');
  }
  parts.push_back(std::move(line));
  return parts;
}

std::string wrapped_help(std::string_view help, std::size_t width) {
  constexpr std::size_t kWidthMin = 60;
  width = std::max(width, kWidthMin);
  std::string text;
  std::string rest;  // of the paragraph, whose first line was too long
  std::size_t hang = 0;
  const auto end_paragraph = [&] {
    text += rest.empty() ? "" : rest + "\n";
    rest.clear();
  };
  while (!help.empty()) {
    const std::size_t end = std::min(help.find('\n'), help.size());
    std::string line(help.substr(0, end));
    help.remove_prefix(std::min(end + 1, help.size()));
    if (!rest.empty() && goes_on(line, hang)) {
      line = rest + line.replace(0, hang, " ");
    } else {
      end_paragraph();
      hang = hang_of(line, help.substr(0, help.find('\n')), width);
      if (line.size() <= width) {
        text += line + "\n";
        continue;
      }
    }
    std::vector<std::string> parts = wrapped_line(std::move(line), width, hang);
    rest = std::move(parts.back());
    parts.pop_back();
    for (const std::string& part : parts) {
      text += part + "\n";
    }
  }
  end_paragraph();
  return text;
}

}  // namespace mserve::program
