// SPDX-License-Identifier: Apache-2.0
#include "option_values.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <string_view>

#include "usage.hpp"

namespace mserve::broker {

namespace {

struct Unit {
  std::string_view name;
  double ns;
};
constexpr std::array<Unit, 5> kUnits{
    {{"ns", 1}, {"us", 1e3}, {"ms", 1e6}, {"s", 1e9}, {"m", 60e9}}};

/// @param unit  what a bare number counts.
bool parse_with_unit(const std::string& given, Nanos unit, Nanos& value) {
  std::uint32_t units = 0;
  const char* const end = given.data() + given.size();
  const auto [rest, error] = std::from_chars(given.data(), end, units);
  if (error == std::errc{} && rest == end) {
    value = units * unit;
    return true;
  }
  return parse_duration(given, value);
}

template <class T>
void add_any_size(CLI::App& app, const char* flag, T& value, const char* text) {
  const auto to_bytes = [](std::string& given) {
    const std::string typed = given;
    std::string fault = program::to_bytes(given);
    std::uint64_t bytes = 0;
    (void)std::from_chars(given.data(), given.data() + given.size(), bytes);
    return fault.empty() && bytes > std::numeric_limits<T>::max()
               ? "'" + typed + "' is too large: less than 4g is needed"
               : fault;
  };
  app.add_option(flag, value, text)
      ->transform(CLI::Validator(to_bytes, "SIZE"))
      ->default_str(shown_size(value))
      ->option_text("SIZE [" + shown_size(value) + "]");
}

}  // namespace

bool parse_duration(std::string_view text, Nanos& out) {
  if (text == "inf") {
    out = kForever;
    return true;
  }
  double number = 0;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const std::string_view unit(rest, static_cast<std::size_t>(text.data() + text.size() - rest));
  if (error != std::errc{} || number < 0 || number > 1e9) {
    return false;
  }
  if (unit.empty() && number == 0) {
    out = 0;
    return true;
  }
  constexpr double kLongest = 9e18;  // what fits, some 285 years
  for (const Unit& u : kUnits) {
    if (u.name == unit && number * u.ns <= kLongest) {
      out = static_cast<Nanos>(number * u.ns);
      return true;
    }
  }
  return false;
}

bool parse_milliseconds(const std::string& given, Nanos& value) {
  return parse_with_unit(given, 1'000'000, value);
}

bool parse_seconds(const std::string& given, Nanos& value) {
  return parse_duration(given, value) || parse_duration(given + "s", value);
}

bool parse_minutes(const std::string& given, Nanos& value) {
  return parse_with_unit(given, 60'000'000'000, value);
}

std::string shown_size(std::uint64_t bytes) {
  constexpr std::array<char, 4> kSuffixes{'\0', 'k', 'm', 'g'};
  std::size_t suffix = 0;
  while (suffix + 1 < kSuffixes.size() && bytes >= 1024 && bytes % 1024 == 0) {
    bytes /= 1024;
    ++suffix;
  }
  return std::to_string(bytes) + (suffix == 0 ? std::string() : std::string(1, kSuffixes[suffix]));
}

std::string shown_time(Nanos ns) {
  if (ns == kForever) {
    return "inf";
  }
  std::string text = "0";
  for (const Unit& unit : kUnits) {
    const auto size = static_cast<Nanos>(unit.ns);
    if (ns != 0 && ns % size == 0) {
      text = std::to_string(ns / size) + std::string(unit.name);
    }
  }
  return text;
}

void add_duration(CLI::App& app, const char* flag, Nanos& value, const char* text,
                  const std::string& shown) {
  app.add_option_function<std::string>(
         flag,
         [&value, flag](const std::string& given) {
           if (!parse_duration(given, value)) {
             throw CLI::ValidationError(
                 flag, "'" + given + "' is not a time such as 500us, 20ms, 12s, 0 or inf");
           }
         },
         text)
      ->default_str(shown)
      ->option_text("TIME [" + shown + "]");
}

void add_size(CLI::App& app, const char* flag, std::uint32_t& value, const char* text) {
  add_any_size(app, flag, value, text);
}

void add_size(CLI::App& app, const char* flag, std::uint64_t& value, const char* text) {
  add_any_size(app, flag, value, text);
}

CLI::Option* add_words(CLI::App& app, const char* flag, const char* text,
                       const std::vector<std::string>& words, std::size_t otherwise,
                       std::function<void(std::size_t)> set) {
  std::string shown;
  for (const std::string& word : words) {
    shown += (shown.empty() ? "" : "|") + word;
  }
  const std::string fallback = otherwise < words.size() ? words[otherwise] : std::string();
  return app
      .add_option_function<std::string>(
          flag,
          [flag, words, shown, set = std::move(set)](const std::string& given) {
            const auto found = std::find(words.begin(), words.end(), given);
            if (found == words.end()) {
              throw CLI::ValidationError(flag, "'" + given + "' is not one of " + shown);
            }
            set(static_cast<std::size_t>(found - words.begin()));
          },
          text)
      ->default_str(fallback)
      ->option_text(shown + " [" + fallback + "]");
}

}  // namespace mserve::broker
