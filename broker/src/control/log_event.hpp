// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace mserve::broker {

/// Bytes of a string that a log line shows; the rest is left out, and `...` says so.
inline constexpr std::size_t kLogValueBytesMax = 1024;

/// What happened, in one word: small letters, digits and `_`. Checked when it is compiled.
class EventName {
 public:
  template <std::size_t N>
  consteval EventName(const char (&name)[N]) : name_(name, N - 1) {  // NOLINT: a literal is one
    for (const char c : name_) {
      if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_')) {
        throw "an event is one word; what else there is to say goes into fields";
      }
    }
  }
  [[nodiscard]] constexpr std::string_view text() const noexcept { return name_; }

 private:
  std::string_view name_;
};

/// Prose: in quotes, whatever it says. Borrowed.
struct LogText {
  std::string_view text;
};

/// A value as a configuration file spells it: shown as it is in text, a JSON value of its own kind
/// where it is one. Borrowed.
struct LogToml {
  std::string_view text;
};

/// A number, true or false, or a string that may be anything: what a peer said, too. Borrowed.
class LogValue {
 public:
  LogValue(bool value) noexcept : kind_(Kind::boolean), number_(value ? 1 : 0) {}
  template <std::integral T>
  LogValue(T value) noexcept
      : kind_(std::signed_integral<T> ? Kind::number : Kind::positive),
        number_(static_cast<std::uint64_t>(value)) {}
  LogValue(std::string_view value) noexcept : kind_(Kind::word), text_(value) {}
  LogValue(const std::string& value) noexcept : LogValue(std::string_view(value)) {}
  LogValue(const char* value) noexcept : LogValue(std::string_view(value)) {}
  LogValue(LogText value) noexcept : kind_(Kind::prose), text_(value.text) {}
  LogValue(LogToml value) noexcept : kind_(Kind::toml), text_(value.text) {}
  /// Nothing: the field is left out.
  LogValue(std::nullopt_t /*nothing*/) noexcept : kind_(Kind::absent) {}

  [[nodiscard]] bool absent() const noexcept { return kind_ == Kind::absent; }
  void append_text(std::string& line) const;
  void append_json(std::string& line) const;

 private:
  enum class Kind : std::uint8_t { absent, boolean, number, positive, word, prose, toml };
  [[nodiscard]] bool is_number() const noexcept { return kind_ < Kind::word; }
  void append_number(std::string& line) const;

  Kind kind_;
  std::uint64_t number_ = 0;
  std::string_view text_;
};

/// `key=value`. Keys are ours, never a peer's, and not time, level or event.
struct LogField {
  std::string_view key;
  LogValue value;
};

using LogFields = std::span<const LogField>;

/// `event key=value key="some words"`, one line: control characters and bytes that are not UTF-8
/// are shown as \n, \t or \xNN. A string that is one plain word needs no quotes.
[[nodiscard]] std::string event_text(std::string_view event, LogFields fields);

/// `"event":"event","key":value`, the members of a JSON object, always valid.
[[nodiscard]] std::string event_json(std::string_view event, LogFields fields);

}  // namespace mserve::broker
