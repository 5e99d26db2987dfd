// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "pin/finding.hpp"

namespace mserve::pin {

namespace {

constexpr std::size_t kIndent = 20;     // level and topic
constexpr std::size_t kNarrowest = 40;  // of what stands behind them

/// Adds the text behind the indent, a word that is longer than a line on one of its own.
/// @param at  where the line stands already.
void add_wrapped(std::string& to, std::string_view text, std::size_t width, std::size_t at) {
  bool begins = true;
  while (!text.empty()) {
    const std::string_view word = text.substr(0, text.find(' '));
    text.remove_prefix(std::min(text.size(), word.size() + 1));
    if (!begins && at + 1 + word.size() > width) {
      to += "\n" + std::string(kIndent, ' ');
      at = kIndent;
      begins = true;
    }
    to.append(begins ? "" : " ").append(word);
    at += word.size() + (begins ? 0 : 1);
    begins = false;
  }
  to += "\n";
}

}  // namespace

std::string to_text(const Finding& f, std::size_t width) {
  std::string text = fmt::format("{:<8} {:<10} ", to_string(f.level), f.topic);
  if (width == 0) {
    text += fmt::format("{} [{}]", f.seen, f.where);
    text += f.cost.empty() ? "" : "; costs " + f.cost;
    text += f.mend.empty() ? "" : "; mend: " + f.mend;
    return text + "\n";
  }
  width = std::max(width, kIndent + kNarrowest);
  add_wrapped(text, f.seen, width, text.size());
  const auto add_line = [&](const char* lead, const std::string& what, const char* end) {
    if (!what.empty()) {
      text += std::string(kIndent, ' ');
      add_wrapped(text, lead + what + end, width, kIndent);
    }
  };
  add_line("costs ", f.cost, "");
  add_line("mend: ", f.mend, "");
  add_line("[", f.where, "]");
  return text;
}

}  // namespace mserve::pin
