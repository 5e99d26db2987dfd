// SPDX-License-Identifier: Apache-2.0
#include "format.hpp"

#include <algorithm>
#include <charconv>

#include "mserve/kdb/utf8.hpp"

namespace mserve::kdb::detail {

namespace {

constexpr std::int64_t kDayMs = 86'400'000;
constexpr std::int64_t kDayNs = kDayMs * 1'000'000;
constexpr char kHex[] = "0123456789abcdef";

/// The remainder that goes with floor_div(): 0..b-1, and unlike a - b * floor_div(a, b) without
/// overflow.
std::int64_t floor_mod(std::int64_t a, std::int64_t b) noexcept {
  const std::int64_t rest = a % b;
  return rest < 0 ? rest + b : rest;
}

std::int64_t floor_div(std::int64_t a, std::int64_t b) noexcept {
  return a / b - (a % b < 0 ? 1 : 0);
}

/// 0N, 0W or -0W; floats (not reals) write them in lower case. False: an ordinary item.
bool append_special(std::string& out, Special special, bool lower) {
  switch (special) {
    case Special::none:
      return false;
    case Special::null:
      out += lower ? "0n" : "0N";
      return true;
    case Special::infinity:
      out += lower ? "0w" : "0W";
      return true;
    case Special::minus_infinity:
      out += lower ? "-0w" : "-0W";
      return true;
  }
  return false;
}

void append_integer(std::string& out, std::int64_t value) {
  out += std::to_string(value);
}

template <class T>
void append_digits(std::string& out, T value, int precision) {
  char buffer[64];
  const auto end =
      std::to_chars(buffer, buffer + sizeof(buffer), value, std::chars_format::general, precision)
          .ptr;
  out.append(buffer, end);
}

template <class T>
void append_float(std::string& out, T value, int precision) {
  if (precision > 0) {
    append_digits(out, value, precision);
    return;
  }
  constexpr int kDigitsMax = std::numeric_limits<T>::max_digits10;
  std::string digits;
  for (const int digit_count : {7, kDigitsMax - 2, kDigitsMax - 1, kDigitsMax}) {
    digits.clear();
    append_digits(digits, value, digit_count);
    T back{};
    const auto read = std::from_chars(digits.data(), digits.data() + digits.size(), back);
    if (read.ec == std::errc() && back == value) {
      break;
    }
  }
  out += digits;
}

void append_date(std::string& out, std::int64_t days) {
  const Civil civil = civil_of(days);
  append_padded(out, civil.year, 4);
  out += '.';
  append_padded(out, civil.month, 2);
  out += '.';
  append_padded(out, civil.day, 2);
}

/// hh:mm, hh:mm:ss or hh:mm:ss.fff of a count of units; `per_second` 0 stands for minutes.
void append_clock(std::string& out, std::int64_t units, std::int64_t per_second,
                  std::size_t fraction_digits) {
  if (units < 0) {
    out += '-';
    units = -units;
  }
  const std::int64_t seconds = per_second == 0 ? units * 60 : units / per_second;
  append_padded(out, seconds / 3600, 2);
  out += ':';
  append_padded(out, seconds / 60 % 60, 2);
  if (per_second == 0) {
    return;
  }
  out += ':';
  append_padded(out, seconds % 60, 2);
  if (fraction_digits != 0) {
    out += '.';
    append_padded(out, units % per_second, fraction_digits);
  }
}

void append_timespan(std::string& out, std::int64_t ns) {
  if (ns < 0) {
    out += '-';
    ns = -ns;
  }
  append_integer(out, ns / kDayNs);
  out += 'D';
  append_clock(out, ns % kDayNs, 1'000'000'000, 9);
}

void append_datetime(std::string& out, double days) {
  // Day numbers beyond any calendar would overflow the arithmetic below.
  if (std::abs(days) > 1e9) {
    out += "0000.00.00T00:00:00.000";
    return;
  }
  const auto ms = static_cast<std::int64_t>(std::llround(days * static_cast<double>(kDayMs)));
  append_date(out, floor_div(ms, kDayMs));
  out += 'T';
  append_clock(out, floor_mod(ms, kDayMs), 1000, 3);
}

void append_octal(std::string& out, unsigned char byte) {
  out += '\\';
  out += static_cast<char>('0' + (byte >> 6));
  out += static_cast<char>('0' + (byte >> 3 & 7));
  out += static_cast<char>('0' + (byte & 7));
}

bool is_symbol_char(char c) noexcept {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '.' || c == ':';
}

}  // namespace

void append_padded(std::string& out, std::int64_t value, std::size_t width) {
  if (value < 0) {
    out += '-';
  }
  const std::string digits = std::to_string(value < 0 ? -value : value);
  out.append(width > digits.size() ? width - digits.size() : 0, '0');
  out += digits;
}

Civil civil_of(std::int64_t days_since_2000) noexcept {
  // Days are counted from 0000.03.01, so that leap days end their year: 146097 days make 400 years.
  const std::int64_t days = days_since_2000 + 730'425;
  const std::int64_t era = floor_div(days, 146'097);
  const std::int64_t day_of_era = days - era * 146'097;
  const std::int64_t year_of_era =
      (day_of_era - day_of_era / 1460 + day_of_era / 36'524 - day_of_era / 146'096) / 365;
  const std::int64_t day_of_year =
      day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  const std::int64_t shifted_month = (5 * day_of_year + 2) / 153;
  Civil civil;
  civil.day = static_cast<unsigned>(day_of_year - (153 * shifted_month + 2) / 5 + 1);
  civil.month = static_cast<unsigned>(shifted_month < 10 ? shifted_month + 3 : shifted_month - 9);
  civil.year = year_of_era + era * 400 + (civil.month <= 2 ? 1 : 0);
  return civil;
}

std::int64_t days_of(std::int64_t year, unsigned month, unsigned day) noexcept {
  const std::int64_t shifted_year = year - (month <= 2 ? 1 : 0);
  const std::int64_t era = floor_div(shifted_year, 400);
  const std::int64_t year_of_era = shifted_year - era * 400;
  const std::int64_t shifted_month = static_cast<std::int64_t>(month) + (month > 2 ? -3 : 9);
  const std::int64_t day_of_year =
      (153 * shifted_month + 2) / 5 + static_cast<std::int64_t>(day) - 1;
  return era * 146'097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year -
         730'425;
}

void append_item(std::string& out, Type type, std::uint8_t item, const Style&) {
  if (type == Type::boolean) {
    out += item != 0 ? '1' : '0';
    return;
  }
  out += kHex[item >> 4];
  out += kHex[item & 15];
}

void append_item(std::string& out, Type, char item, const Style&) {
  append_plain(out, {&item, 1});
}

void append_item(std::string& out, Type, std::int16_t item, const Style&) {
  if (!append_special(out, special_of(item), false)) {
    append_integer(out, item);
  }
}

void append_item(std::string& out, Type type, std::int32_t item, const Style&) {
  if (append_special(out, special_of(item), false)) {
    return;
  }
  switch (type) {
    case Type::month:
      append_padded(out, 2000 + floor_div(item, 12), 4);
      out += '.';
      append_padded(out, floor_mod(item, 12) + 1, 2);
      return;
    case Type::date:
      append_date(out, item);
      return;
    case Type::minute:
      append_clock(out, item, 0, 0);
      return;
    case Type::second:
      append_clock(out, item, 1, 0);
      return;
    case Type::time:
      append_clock(out, item, 1000, 3);
      return;
    default:
      append_integer(out, item);
  }
}

void append_item(std::string& out, Type type, std::int64_t item, const Style&) {
  if (append_special(out, special_of(item), false)) {
    return;
  }
  if (type == Type::timespan) {
    append_timespan(out, item);
  } else if (type == Type::timestamp) {
    append_date(out, floor_div(item, kDayNs));
    out += 'D';
    append_clock(out, floor_mod(item, kDayNs), 1'000'000'000, 9);
  } else {
    append_integer(out, item);
  }
}

void append_item(std::string& out, Type, float item, const Style& style) {
  if (!append_special(out, special_of(item), false)) {
    append_float(out, item, std::min(style.precision, 9));
  }
}

void append_item(std::string& out, Type type, double item, const Style& style) {
  if (append_special(out, special_of(item), type == Type::float_)) {
    return;
  }
  if (type == Type::datetime) {
    append_datetime(out, item);
  } else {
    append_float(out, item, style.precision);
  }
}

void append_item(std::string& out, Type, const Guid& item, const Style&) {
  for (std::size_t i = 0; i < item.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) {
      out += '-';
    }
    out += kHex[item[i] >> 4];
    out += kHex[item[i] & 15];
  }
}

void append_item(std::string& out, Type, const std::string& item, const Style&) {
  append_plain(out, item);
}

void append_quoted(std::string& out, std::string_view text) {
  out += '"';
  for (const char c : text) {
    switch (c) {
      case '"':
      case '\\':
        out += '\\';
        out += c;
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      default:
        if (c >= ' ' && c <= '~') {
          out += c;
        } else {
          append_octal(out, static_cast<unsigned char>(c));
        }
    }
  }
  out += '"';
}

void append_plain(std::string& out, std::string_view text) {
  while (!text.empty()) {
    const std::size_t size = utf8_sequence(text);
    const std::string_view sequence = text.substr(0, std::max<std::size_t>(size, 1));
    const auto first = static_cast<unsigned char>(sequence.front());
    if (size == 0 || first < 0x20 || first == 0x7f || misleads_terminal(sequence)) {
      for (const char c : sequence) {
        append_octal(out, static_cast<unsigned char>(c));
      }
    } else {
      out += sequence;
    }
    text.remove_prefix(sequence.size());
  }
}

bool is_plain_symbol(std::string_view text) noexcept {
  bool path = false;  // a slash belongs to a symbol only behind a colon, as in `:a/b
  for (const char c : text) {
    path = path || c == ':';
    if (!is_symbol_char(c) && !(c == '/' && path)) {
      return false;
    }
  }
  return true;
}

}  // namespace mserve::kdb::detail
