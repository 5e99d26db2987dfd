// SPDX-License-Identifier: Apache-2.0
// The words of the kdb+ format: data types, attributes, byte orders, and the nulls and infinities
// of each type.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string_view>

namespace mserve::kdb {

/// Data types by q's own numbers. An atom of type t travels as -t; see Value::type_code().
enum class Type : std::int8_t {
  list = 0,
  boolean = 1,
  guid = 2,
  byte = 4,
  short_int = 5,
  int_ = 6,
  long_int = 7,
  real = 8,
  float_ = 9,
  character = 10,
  symbol = 11,
  timestamp = 12,
  month = 13,
  date = 14,
  datetime = 15,
  timespan = 16,
  minute = 17,
  second = 18,
  time = 19,
  table = 98,
  dict = 99,
  lambda = 100,
  unary = 101,  ///< Unary primitive; code 0 is the generic null `::`.
  operator_ = 102,
  iterator = 103,
  projection = 104,
  composition = 105,
  derived_first = 106,  ///< 106..111: ' / \ ': /: \: of one object.
  derived_last = 111,
  sorted_dict = 127,
  error = -128,
};

/// Attribute of a vector, list or table. Claims only: nothing here checks that "sorted" is true.
/// The wire has 7 bits for it; numbers above 4 have no meaning but are kept, so that they re-encode
/// byte for byte.
enum class Attribute : std::uint8_t { none = 0, sorted = 1, unique = 2, parted = 3, grouped = 4 };

/// Byte order of a message, by the value of its header's first byte.
enum class ByteOrder : std::uint8_t { big = 0, little = 1 };

/// 16 raw bytes in text order; never swapped.
using Guid = std::array<std::uint8_t, 16>;

/// How deep objects may nest on the wire: each object inside another one is a level, so an atom has
/// depth 1 and a table of plain vectors depth 4 (table, dictionary, list of columns, column).
/// Applies to decoding, skipping, text and building.
inline constexpr std::size_t kDepthMax = 64;

inline constexpr std::int16_t kNullShort = std::numeric_limits<std::int16_t>::min();
inline constexpr std::int32_t kNullInt = std::numeric_limits<std::int32_t>::min();
inline constexpr std::int64_t kNullLong = std::numeric_limits<std::int64_t>::min();
inline constexpr std::int16_t kInfShort = std::numeric_limits<std::int16_t>::max();
inline constexpr std::int32_t kInfInt = std::numeric_limits<std::int32_t>::max();
inline constexpr std::int64_t kInfLong = std::numeric_limits<std::int64_t>::max();
/// q's own null bits: the negative quiet NaN. Every NaN is a q null; these are the bits that q
/// writes.
inline constexpr float kNullReal = -std::numeric_limits<float>::quiet_NaN();
inline constexpr double kNullFloat = -std::numeric_limits<double>::quiet_NaN();
inline constexpr double kInfFloat = std::numeric_limits<double>::infinity();

/// 2000.01.01 in days and seconds since 1970.01.01.
inline constexpr std::int32_t kEpochUnixDays = 10957;
inline constexpr std::int64_t kEpochUnixSeconds = 946684800;

/// q's name of a vector type, such as "long" or "symbol"; "" for types that are no vector types.
/// Static storage.
[[nodiscard]] std::string_view type_name(Type type) noexcept;

/// q's letter of a vector type ('j' for long); ' ' for types that are no vector types.
[[nodiscard]] char type_letter(Type type) noexcept;

/// Bytes per item of a vector type on the wire; 0 for symbols and for everything that is no vector
/// type.
[[nodiscard]] std::size_t item_bytes(Type type) noexcept;

/// True for the types 1..19 that exist (not 3).
[[nodiscard]] bool is_vector_type(std::int8_t code) noexcept;

}  // namespace mserve::kdb
