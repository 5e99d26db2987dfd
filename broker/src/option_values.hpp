// SPDX-License-Identifier: Apache-2.0
// Kinds of values that options take: times, sizes, words.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "dispatch/types.hpp"

namespace CLI {  // NOLINT(readability-identifier-naming): not ours
class App;
class Option;
}  // namespace CLI

namespace mserve::broker {

/// The same time in the largest unit that it fills: 1000ms is 1s.
[[nodiscard]] std::string shown_time(Nanos ns);

/// Reads a time such as 500us, 12s, 0 or inf (kForever). @return false when it is none.
[[nodiscard]] bool parse_duration(std::string_view text, Nanos& out);

/// The same; a bare number is milliseconds.
[[nodiscard]] bool parse_milliseconds(const std::string& given, Nanos& value);

/// The same; a bare number is seconds, and may be a fraction.
[[nodiscard]] bool parse_seconds(const std::string& given, Nanos& value);

/// The same; a bare number is minutes, as in LBT's variable.
[[nodiscard]] bool parse_minutes(const std::string& given, Nanos& value);

/// A size as --help shows defaults: 64k, 1m, 2g where it comes out even.
[[nodiscard]] std::string shown_size(std::uint64_t bytes);

/// An option that takes a time. @param shown  the default, as --help shows it.
void add_duration(CLI::App& app, const char* flag, Nanos& value, const char* text,
                  const std::string& shown);

/// An option that takes a size. `value` holds the default.
void add_size(CLI::App& app, const char* flag, std::uint32_t& value, const char* text);
void add_size(CLI::App& app, const char* flag, std::uint64_t& value, const char* text);

/// An option that takes one of a few words. @param otherwise  which of them is the default.
/// @param set  is told which one was given.
CLI::Option* add_words(CLI::App& app, const char* flag, const char* text,
                       const std::vector<std::string>& words, std::size_t otherwise,
                       std::function<void(std::size_t)> set);

/// The same for words that mean values. `value` holds the default.
template <class T>
CLI::Option* add_choice(CLI::App& app, const char* flag, T& value, const char* text,
                        const std::vector<std::pair<std::string, T>>& choices) {
  std::vector<std::string> words;
  std::size_t otherwise = choices.size();
  for (const auto& [word, meaning] : choices) {
    otherwise = meaning == value ? words.size() : otherwise;
    words.push_back(word);
  }
  return add_words(app, flag, text, words, otherwise,
                   [&value, choices](std::size_t which) { value = choices[which].second; });
}

}  // namespace mserve::broker
