// SPDX-License-Identifier: Apache-2.0
// How single items look: shared by the console printer, the one-line text and JSON.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <type_traits>

#include "mserve/kdb/types.hpp"

namespace mserve::kdb::detail {

/// How to write items.
struct Style {
  int precision =
      7;  ///< Significant digits of floats; 0 means as few as read back to the same bits.
  bool readable =
      false;  ///< Write odd symbols so that parse_value() reads them (`$"a b"), not bare as q does.
};

enum class Special { none, null, infinity, minus_infinity };

/// What q makes of an item's bits. Booleans, bytes and guids have no special values that are shown
/// as such.
template <class T>
Special special_of(const T& item) noexcept {
  if constexpr (std::is_floating_point_v<T>) {
    if (std::isnan(item)) {
      return Special::null;
    }
    if (std::isinf(item)) {
      return item > 0 ? Special::infinity : Special::minus_infinity;
    }
  } else if constexpr (std::is_signed_v<T> && std::is_integral_v<T> && !std::is_same_v<T, char>) {
    if (item == std::numeric_limits<T>::min()) {
      return Special::null;
    }
    if (item == std::numeric_limits<T>::max()) {
      return Special::infinity;
    }
    if (item == -std::numeric_limits<T>::max()) {
      return Special::minus_infinity;
    }
  }
  return Special::none;
}

/// Item without prefix or suffix: 12, 1.5, 0N, 0w, 2024.01.02, ff, IBM, and the char itself.
void append_item(std::string& out, Type type, std::uint8_t item, const Style& style);
void append_item(std::string& out, Type type, char item, const Style& style);
void append_item(std::string& out, Type type, std::int16_t item, const Style& style);
void append_item(std::string& out, Type type, std::int32_t item, const Style& style);
void append_item(std::string& out, Type type, std::int64_t item, const Style& style);
void append_item(std::string& out, Type type, float item, const Style& style);
void append_item(std::string& out, Type type, double item, const Style& style);
void append_item(std::string& out, Type type, const Guid& item, const Style& style);
void append_item(std::string& out, Type type, const std::string& item, const Style& style);

/// The text in double quotes with q's escapes; bytes outside ASCII's printable range as three octal
/// digits.
void append_quoted(std::string& out, std::string_view text);

/// The text bare, with control characters, bytes that are no UTF-8, and what turns the direction of
/// reading as three octal digits a byte, so that no text moves the terminal's cursor, or seems to
/// be what it is not.
void append_plain(std::string& out, std::string_view text);

/// Whether `text` can follow a backtick in q source as it is.
bool is_plain_symbol(std::string_view text) noexcept;

/// Calendar date of a day number since 2000.01.01.
struct Civil {
  std::int64_t year = 0;
  unsigned month = 0;
  unsigned day = 0;
};
Civil civil_of(std::int64_t days_since_2000) noexcept;
/// The day number of a calendar date (proleptic Gregorian).
std::int64_t days_of(std::int64_t year, unsigned month, unsigned day) noexcept;

/// `value` with at least `width` digits, zeros in front.
void append_padded(std::string& out, std::int64_t value, std::size_t width);

}  // namespace mserve::kdb::detail
