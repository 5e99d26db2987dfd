// SPDX-License-Identifier: Apache-2.0
#include "option_keys.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <utility>

#include "access/table_file.hpp"
#include "nearest.hpp"
#include "option_values.hpp"
#include "usage.hpp"

namespace mserve::broker {

namespace {

std::string toml_string(const std::string& value) {
  std::string text = "\"";
  for (const char c : value) {
    if (static_cast<unsigned char>(c) < ' ') {
      constexpr std::string_view kDigits = "0123456789abcdef";
      text += "\\u00";
      text += kDigits[static_cast<unsigned char>(c) >> 4];
      text += kDigits[static_cast<unsigned char>(c) & 15];
      continue;
    }
    text += c == '"' || c == '\\' ? std::string{'\\', c} : std::string(1, c);
  }
  return text + "\"";
}

/// One spelling for each value, so that two readings can be compared.
std::string spelling_of(const CLI::Option& option, const std::string& value) {
  if (option.get_option_text().starts_with("SIZE")) {
    std::uint64_t bytes = 0;
    const auto [rest, error] = std::from_chars(value.data(), value.data() + value.size(), bytes);
    return error == std::errc{} && rest == value.data() + value.size() ? shown_size(bytes) : value;
  }
  Nanos ns = 0;
  const auto parse = [&option](const std::string& text, Nanos& out) {
    return option.check_lname("purge")  ? parse_minutes(text, out)
           : option.check_lname("slow") ? parse_milliseconds(text, out)
                                        : parse_duration(text, out);
  };
  if (option.get_option_text().starts_with("TIME") && parse(value, ns)) {
    return shown_time(ns);
  }
  return value;
}

}  // namespace

std::string key_of(const CLI::Option& option) {
  static const std::map<std::string, std::string> kOthers{
      {"N", "servants"}, {"COMMAND", "command"}, {"HOST", "hosts"}, {"--help", ""},
      {"--version", ""}, {"--config", ""},       {"--check", ""},   {"--ready-fd", ""}};
  const std::string name = option.get_name();
  const auto other = kOthers.find(name);
  return other != kOthers.end() ? other->second : name.substr(2);
}

bool is_changeable(std::string_view key) noexcept {
  constexpr std::array<std::string_view, 11> kKeys{
      "rule",    "policy",           "match-wait",    "route-expire", "spill-after",
      "retries", "max-queue-client", "queue-timeout", "timeout",      "log-level",
      "slow"};
  return std::find(kKeys.begin(), kKeys.end(), key) != kKeys.end();
}

std::string as_toml(const std::string& value) {
  const bool number = !value.empty() && value.size() < 19 &&
                      (value == "0" || value.front() != '0') &&
                      value.find_first_not_of("0123456789") == std::string::npos;
  return number || value == "true" || value == "false" ? value : toml_string(value);
}

std::string value_of(const CLI::Option& option) {
  std::vector<std::string> values = option.results();
  if (values.empty() && !option.get_default_str().empty()) {
    values.push_back(option.get_default_str());
  }
  if (values.empty()) {
    return option.get_expected_max() == 0 ? "false" : "";
  }
  if (option.get_expected_max() <= 1) {
    return as_toml(spelling_of(option, values.front()));
  }
  std::string list;
  for (const std::string& value : values) {
    list += (list.empty() ? "[" : ", ") + as_toml(value);
  }
  return list + "]";
}

OptionKeys::OptionKeys(CLI::App& app) {
  for (CLI::Option* const option : app.get_options()) {
    if (std::string key = key_of(*option); !key.empty()) {
      options_.emplace(std::move(key), option);
    }
  }
}

void OptionKeys::apply(std::vector<FileEntry> entries, const std::string& path, Scope scope,
                       std::vector<std::string>& faults) {
  for (FileEntry& entry : entries) {
    if (faults.size() >= kFaultsMax) {
      return;
    }
    const std::string where = place_in(path, entry.line);
    const auto found = options_.find(entry.key);
    if (found == options_.end()) {
      faults.push_back(where + unknown(entry.key, scope));
    } else if (scope == Scope::cluster && !is_changeable(entry.key)) {
      faults.push_back(where + entry.key +
                       " is set per broker, by its flags or its --config, not for all of them");
    } else {
      apply(*found->second, entry, where, faults);
    }
  }
}

void OptionKeys::apply(CLI::Option& option, FileEntry& entry, const std::string& where,
                       std::vector<std::string>& faults) {
  if (option.count() > 0) {
    return;  // what goes before this file said it
  }
  if (entry.key == "servant-args" || entry.key == "q-args") {
    entry.values = {CLI::detail::join(entry.values, " ")};
  }
  if (entry.values.size() != 1 && option.get_expected_max() <= 1) {
    doubtful_.insert(entry.key);
    faults.push_back(where + entry.key + " takes one value");
    return;
  }
  try {
    if (!entry.values.empty()) {
      option.add_result(entry.values);
      option.run_callback();
      places_.emplace(entry.key, where);
    }
  } catch (const CLI::Error& e) {
    doubtful_.insert(entry.key);
    // Of the positional one the command line speaks in its own words.
    faults.push_back(where + (entry.key == "servants" ? "servants: expected a whole number, not '" +
                                                            entry.values.front() + "'"
                                                      : program::value_fault(option, e.what())));
  }
}

std::string OptionKeys::unknown(const std::string& key, Scope scope) {
  constexpr std::size_t kKeyBytesMax = 64;  // of longer ones none is near, and nobody reads them
  std::vector<std::string> keys;
  std::string all;
  for (const auto& [one, option] : options_) {
    if (scope == Scope::broker || is_changeable(one)) {
      keys.push_back(one);
      all += one + ", ";
    }
  }
  if (scope == Scope::cluster) {
    keys.insert(keys.end(), {"users-table", "roles-table"});
  }
  std::string nearest = key.size() <= kKeyBytesMax ? program::nearest_word(key, keys) : "";
  for (const auto& [one, option] : options_) {
    nearest = key.size() == 1 && option->check_sname(key) ? one : nearest;  // p, as in -p
  }
  doubtful_.insert(nearest);
  const std::string known = scope == Scope::broker
                                ? "; --check prints all"
                                : "; keys are " + all + "users-table, roles-table";
  return "there is no key '" + shown_name(key) + "'" +
         (nearest.empty() ? known : "; is it '" + nearest + "'?");
}

std::string OptionKeys::place_of(std::string_view fault) const {
  while (fault.starts_with("--")) {
    const std::size_t end = std::min(fault.find_first_of(":, "), fault.size());
    const auto found = places_.find(std::string(fault.substr(2, end - 2)));
    if (found != places_.end()) {
      return found->second;
    }
    fault.remove_prefix(std::min(fault.find_first_not_of(", ", end), fault.size()));
  }
  return "";
}

bool OptionKeys::in_doubt(std::string_view fault) const {
  return std::any_of(doubtful_.begin(), doubtful_.end(), [&](const std::string& key) {
    if (key == "servants" || key == "hosts") {  // which have no flags
      return fault.find("servant") != std::string_view::npos || fault.starts_with(key);
    }
    const std::size_t at = key.empty() ? std::string_view::npos : fault.find("--" + key);
    constexpr std::string_view kInner = "abcdefghijklmnopqrstuvwxyz0123456789-";
    const std::size_t end = at + key.size() + 2;
    return at != std::string_view::npos &&
           (end >= fault.size() || kInner.find(fault[end]) == std::string_view::npos);
  });
}

}  // namespace mserve::broker
