// SPDX-License-Identifier: Apache-2.0
#include "placement/rule.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <utility>

#include "control/servant_tags.hpp"
#include "nearest.hpp"

namespace mserve::broker {

namespace {

/// The words of a text, parted by blanks.
std::vector<std::string_view> words_of(std::string_view text) {
  std::vector<std::string_view> words;
  while (!text.empty()) {
    if (const std::string_view word = take_tag(text); !word.empty()) {
      words.push_back(word);
    }
  }
  return words;
}

/// The names in a list parted by commas; false if one is empty.
bool split(std::string_view list, std::vector<std::string>& names) {
  for (;;) {
    const std::size_t end = std::min(list.find(','), list.size());
    if (end == 0) {
      return false;
    }
    names.emplace_back(list.substr(0, end));
    if (end == list.size()) {
      return true;
    }
    list.remove_prefix(end + 1);
  }
}

/// "10%", "0.5%" in hundredths of a percent.
std::optional<std::uint32_t> share_of(std::string_view text) {
  double percent = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, percent);
  if (error != std::errc{} || end - rest != 1 || *rest != '%' ||
      !(percent >= 0 && percent <= 100)) {
    return std::nullopt;
  }
  return static_cast<std::uint32_t>(std::lround(percent * 100));
}

/// Letters, digits, dots and underscores, not beginning with a digit or an underscore.
bool is_name_of_q(std::string_view name) {
  const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  const auto inner = [&](char c) {
    return letter(c) || (c >= '0' && c <= '9') || c == '.' || c == '_';
  };
  return (letter(name.front()) || name.front() == '.') &&
         std::all_of(name.begin(), name.end(), inner);
}

std::string in_quotes(std::string_view word) {
  return "'" + std::string(word) + "'";
}

/// Adds a condition to the rule. False: `fault` says what is wrong.
bool add_condition(Rule& rule, std::string_view word, std::string& fault) {
  const std::size_t equals = word.find('=');
  const std::string_view key = word.substr(0, equals);
  const std::string_view value =
      equals == std::string_view::npos ? std::string_view() : word.substr(equals + 1);
  std::vector<std::string>* const list = key == "fn"      ? &rule.functions
                                         : key == "user"  ? &rule.users
                                         : key == "route" ? &rule.routes
                                                          : nullptr;
  if (list != nullptr) {
    if (!list->empty()) {
      fault = "'" + std::string(key) + "=' stands in a rule once; part names by commas";
      return false;
    }
    if (!split(value, *list)) {
      fault = in_quotes(word) + ": names parted by commas are needed behind '='";
      return false;
    }
    for (const std::string& name : *list) {
      if (list == &rule.functions && !is_name_of_q(name)) {
        fault = in_quotes(name) + " is no name that a function of q has";
        return false;
      }
    }
    return true;
  }
  if (key != "share") {
    fault = in_quotes(word) + " is none of fn=, user=, route=, share=, ->";
    return false;
  }
  if (rule.share != Rule::kAll) {
    fault = "'share=' stands in a rule once";
    return false;
  }
  const std::optional<std::uint32_t> share = share_of(value);
  if (!share) {
    fault = in_quotes(word) + ": a share is a percentage from 0% to 100%, such as share=10%";
    return false;
  }
  rule.share = *share;
  return true;
}

/// As a tag it would match no servant, and nobody would be told why. With one letter instead of
/// another it may be a name.
bool looks_like_else(std::string_view word) {
  constexpr std::string_view kElse = "else";
  const std::vector<std::string> wanted{std::string(kElse)};
  const bool other_letter = word.size() == kElse.size() &&
                            !std::is_permutation(word.begin(), word.end(), kElse.begin()) &&
                            program::nearest_word(word, wanted, 0).empty();
  return !other_letter && !program::nearest_word(word, wanted, 1).empty();
}

/// The selector that these words are; false: `fault` says what is wrong.
bool read_selector(const std::vector<std::string_view>& words, Selector& selector,
                   std::string& fault) {
  if (words.empty()) {
    fault = "tags of servants, or any, are needed behind '->' and 'else'";
    return false;
  }
  for (const std::string_view word : words) {
    if (word == "any") {
      if (words.size() != 1) {
        fault = "'any' stands alone";
        return false;
      }
    } else if (word == "!" || word == "->" || word == "else" || word.starts_with("weight=") ||
               word.starts_with("!weight=")) {
      fault = in_quotes(word) + " is no tag that servants are chosen by";
      return false;
    } else if (word.starts_with('=') || word.ends_with('=')) {
      fault = in_quotes(word) + " is no tag that servants are chosen by; write NAME=VALUE in one";
      return false;
    } else if (looks_like_else(word)) {
      fault = in_quotes(word) + " is no tag that servants are chosen by; is it 'else'?";
      return false;
    } else if (word.starts_with('!')) {
      selector.without.emplace_back(word.substr(1));
    } else {
      selector.with.emplace_back(word);
    }
  }
  for (std::vector<std::string>* const list : {&selector.with, &selector.without}) {
    std::sort(list->begin(), list->end());
    list->erase(std::unique(list->begin(), list->end()), list->end());
  }
  for (const std::string& tag : selector.with) {
    if (std::binary_search(selector.without.begin(), selector.without.end(), tag)) {
      fault =
          in_quotes(tag) + " and " + in_quotes("!" + tag) + ": no servant has and has not a tag";
      return false;
    }
  }
  return true;
}

}  // namespace

bool Selector::matches(std::string_view tags) const {
  const auto has = [&](const std::string& tag) { return has_tag(tags, tag); };
  return std::all_of(with.begin(), with.end(), has) &&
         std::none_of(without.begin(), without.end(), has);
}

std::string Selector::text() const {
  std::string text;
  for (const std::string& tag : with) {
    text += (text.empty() ? "" : " ") + tag;
  }
  for (const std::string& tag : without) {
    text += (text.empty() ? "!" : " !") + tag;
  }
  return text.empty() ? "any" : text;
}

std::optional<Rule> parse_rule(std::string_view text, std::string& fault) {
  Rule rule;
  const std::vector<std::string_view> words = words_of(text);
  const auto arrow = std::find(words.begin(), words.end(), "->");
  if (arrow == words.end()) {
    fault = text.find("->") != std::string_view::npos
                ? "blanks are needed around '->', as in fn=getTrades -> group=hdb"
                : "a rule is CONDITIONS '->' TAGS, such as fn=getTrades -> group=hdb";
    return std::nullopt;
  }
  for (auto word = words.begin(); word != arrow; ++word) {
    if (!add_condition(rule, *word, fault)) {
      return std::nullopt;
    }
  }
  const auto otherwise = std::find(arrow, words.end(), "else");
  if (!read_selector({arrow + 1, otherwise}, rule.servants, fault)) {
    return std::nullopt;
  }
  if (otherwise != words.end()) {
    Selector selector;
    if (!read_selector({otherwise + 1, words.end()}, selector, fault)) {
      return std::nullopt;
    }
    rule.otherwise = std::move(selector);
  }
  return rule;
}

}  // namespace mserve::broker
