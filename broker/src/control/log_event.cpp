// SPDX-License-Identifier: Apache-2.0
#include "control/log_event.hpp"

#include <algorithm>

#include "mserve/kdb/json.hpp"
#include "mserve/kdb/utf8.hpp"
#include "mserve/shm/names.hpp"

namespace mserve::broker {

namespace {

constexpr std::string_view kCut = "...";

/// The front of a text, cut between two characters.
std::string_view front_of(std::string_view text) noexcept {
  if (text.size() <= kLogValueBytesMax) {
    return text;
  }
  std::size_t end = kLogValueBytesMax;
  for (std::size_t back = 1; back < 4; ++back) {
    const std::size_t size = kdb::utf8_sequence(text.substr(kLogValueBytesMax - back));
    if (size > back) {
      end = kLogValueBytesMax - back;
    }
  }
  return text.substr(0, end);
}

/// Nothing in it could be taken for the end of the value, or for another field.
bool is_plain_word(std::string_view text) noexcept {
  return !text.empty() && text.size() <= kLogValueBytesMax &&
         std::all_of(text.begin(), text.end(), [](char c) {
           return c > ' ' && c < 0x7f && c != '"' && c != '\\' && c != '=';
         });
}

/// Whether a value of a configuration file is a number, true or false: JSON spells these as TOML.
bool is_json(std::string_view toml) noexcept {
  constexpr std::size_t kDigitsMax = 18;
  return toml == "true" || toml == "false" || toml == "0" ||
         (!toml.empty() && toml.size() <= kDigitsMax && toml.front() != '0' &&
          toml.find_first_not_of("0123456789") == std::string_view::npos);
}

/// A simple string of a configuration file, or what else it is.
std::string_view inside_quotes(std::string_view toml) noexcept {
  const bool simple = toml.size() >= 2 && toml.front() == '"' && toml.back() == '"' &&
                      toml.find('\\') == std::string_view::npos;
  return simple ? toml.substr(1, toml.size() - 2) : toml;
}

void append_escaped(std::string& line, char c) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  const auto byte = static_cast<unsigned char>(c);
  line += "\\x";
  line += kDigits[byte >> 4U];
  line += kDigits[byte & 15U];
}

void append_quoted(std::string& line, std::string_view text) {
  line += '"';
  const std::string_view shown = front_of(text);
  for (std::size_t i = 0; i < shown.size();) {
    const char c = shown[i];
    const std::size_t size = kdb::utf8_sequence(shown.substr(i));
    const bool c1 = size == 2 && c == '\xc2' && static_cast<unsigned char>(shown[i + 1]) < 0xa0;
    if (c == '"' || c == '\\') {
      line += {'\\', c};
    } else if (c == '\n' || c == '\t') {
      line += {'\\', c == '\n' ? 'n' : 't'};
    } else if (size > 1 && !c1) {
      line += shown.substr(i, size);
      i += size;
      continue;
    } else if (size == 1 && c >= ' ' && c != 0x7f) {
      line += c;
    } else {
      append_escaped(line, c);
    }
    ++i;
  }
  line += shown.size() < text.size() ? kCut : std::string_view();
  line += '"';
}

}  // namespace

void LogValue::append_number(std::string& line) const {
  if (kind_ == Kind::boolean) {
    line += number_ != 0 ? "true" : "false";
  } else if (kind_ == Kind::number) {
    line += std::to_string(static_cast<std::int64_t>(number_));
  } else {
    line += std::to_string(number_);
  }
}

void LogValue::append_text(std::string& line) const {
  const bool as_it_is = (kind_ == Kind::word && is_plain_word(text_)) ||
                        (kind_ == Kind::toml && text_.size() <= kLogValueBytesMax &&
                         std::all_of(text_.begin(), text_.end(), shm::is_printable));
  if (as_it_is) {
    line += text_;
  } else if (!is_number()) {
    append_quoted(line, text_);
  } else {
    append_number(line);
  }
}

void LogValue::append_json(std::string& line) const {
  if (is_number()) {
    append_number(line);
    return;
  }
  const std::string_view whole = kind_ == Kind::toml ? inside_quotes(text_) : text_;
  const std::string_view shown = front_of(whole);
  if (kind_ == Kind::toml && is_json(text_)) {
    line += text_;
  } else if (shown.size() < whole.size()) {
    line += kdb::json_string(std::string(shown).append(kCut));
  } else {
    line += kdb::json_string(shown);
  }
}

std::string event_text(std::string_view event, LogFields fields) {
  std::string line(event);
  for (const LogField& field : fields) {
    if (!field.value.absent()) {
      line.append(" ").append(field.key).append("=");
      field.value.append_text(line);
    }
  }
  return line;
}

std::string event_json(std::string_view event, LogFields fields) {
  std::string line = "\"event\":" + kdb::json_string(event);
  for (const LogField& field : fields) {
    if (!field.value.absent()) {
      line.append(",").append(kdb::json_string(field.key)).append(":");
      field.value.append_json(line);
    }
  }
  return line;
}

}  // namespace mserve::broker
