// SPDX-License-Identifier: Apache-2.0
#include "nearest.hpp"

#include <algorithm>
#include <numeric>

namespace mserve::program {

namespace {

/// How keys are written elsewhere: MAX_QUEUE is max-queue.
constexpr char plain(char c) noexcept {
  return c == '_' ? '-' : c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

bool same(char a, char b) noexcept {
  return plain(a) == plain(b);
}

/// Letters to change, add, leave out or swap with their neighbour to get from one to the other.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before(b.size() + 1);
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  std::vector<std::size_t> next(b.size() + 1);
  for (std::size_t i = 0; i < a.size(); ++i) {
    next[0] = i + 1;
    for (std::size_t j = 0; j < b.size(); ++j) {
      next[j + 1] = std::min({row[j] + (same(a[i], b[j]) ? 0U : 1U), row[j + 1] + 1, next[j] + 1});
      if (i > 0 && j > 0 && same(a[i], b[j - 1]) && same(a[i - 1], b[j])) {
        next[j + 1] = std::min(next[j + 1], before[j - 1] + 1);
      }
    }
    before.swap(row);
    row.swap(next);
  }
  return row.back();
}

}  // namespace

std::string nearest_word(std::string_view word, const std::vector<std::string>& words,
                         std::optional<std::size_t> most) {
  std::string best;
  constexpr std::size_t kShort = 4;  // with two changed there is little left of it
  const std::size_t usual = word.size() <= kShort ? 1 : std::max<std::size_t>(2, word.size() / 3);
  std::size_t least = most.value_or(usual) + 1;
  for (const std::string& candidate : words) {
    const std::size_t d = distance(word, candidate);
    if (d < least) {
      least = d;
      best = candidate;
    }
  }
  return best;
}

std::string unknown_subcommand(const std::vector<std::string>& typed,
                               const std::vector<std::string>& words) {
  const auto word = std::find_if(typed.begin(), typed.end(), [](const std::string& argument) {
    return !argument.empty() && argument.front() != '-';
  });
  if (word == typed.end()) {
    return {};
  }
  const std::string nearest = nearest_word(*word, words);
  std::string text = "there is no subcommand '" + *word + "'; ";
  if (!nearest.empty()) {
    return text + "is it '" + nearest + "'?";
  }
  text += "there are";
  for (const std::string& one : words) {
    text += (&one == &words.front() ? " " : ", ") + one;
  }
  return text;
}

}  // namespace mserve::program
