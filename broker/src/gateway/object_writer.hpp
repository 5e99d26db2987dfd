// SPDX-License-Identifier: Apache-2.0
// Encoded kdb+ objects written straight into memory, for the few shapes that the gateway makes on
// the path of a query. Everything else goes through kdb::Value.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "mserve/kdb/types.hpp"

namespace mserve::broker {

inline constexpr std::size_t kListHeadBytes = 6;  // type, attribute, count
inline constexpr std::size_t kLongAtomBytes = 9;

constexpr std::byte type_byte(int type) noexcept {
  return static_cast<std::byte>(static_cast<std::uint8_t>(type));
}
inline constexpr std::byte kLongAtom = type_byte(-static_cast<int>(kdb::Type::long_int));
inline constexpr std::byte kTimestampAtom = type_byte(-static_cast<int>(kdb::Type::timestamp));
inline constexpr std::byte kSymbolAtom = type_byte(-static_cast<int>(kdb::Type::symbol));
inline constexpr std::byte kSymbols = type_byte(static_cast<int>(kdb::Type::symbol));
inline constexpr std::byte kChars = type_byte(static_cast<int>(kdb::Type::character));
inline constexpr std::byte kList = type_byte(static_cast<int>(kdb::Type::list));
inline constexpr std::byte kDict = type_byte(static_cast<int>(kdb::Type::dict));
inline constexpr std::byte kSortedDict = type_byte(static_cast<int>(kdb::Type::sorted_dict));
inline constexpr std::byte kError = type_byte(static_cast<int>(kdb::Type::error));

/// What of a text fits a symbol or an error.
inline std::string_view until_nul(std::string_view text) noexcept {
  return text.substr(0, text.find('\0'));
}

/// Writes into memory that the caller sized.
class ObjectWriter {
 public:
  explicit ObjectWriter(std::span<std::byte> to) noexcept : to_(to.data()) {}

  void bytes(std::span<const std::byte> from) noexcept {
    to_ = std::copy(from.begin(), from.end(), to_);
  }
  void byte(std::byte value) noexcept { *to_++ = value; }
  void number(std::uint64_t value, std::size_t width) noexcept {
    for (std::size_t i = 0; i < width; ++i) {
      byte(static_cast<std::byte>((value >> (8 * i)) & 0xff));
    }
  }
  void long_atom(std::int64_t value) noexcept {
    byte(kLongAtom);
    number(static_cast<std::uint64_t>(value), 8);
  }
  void timestamp_atom(std::int64_t value) noexcept {
    byte(kTimestampAtom);
    number(static_cast<std::uint64_t>(value), 8);
  }
  void vector_head(std::byte type, std::uint32_t count) noexcept {
    byte(type);
    byte(std::byte{0});  // no attribute
    number(count, 4);
  }
  void text(std::string_view text) noexcept { bytes(std::as_bytes(std::span(text))); }
  void symbol(std::string_view text_without_nul) noexcept {
    text(text_without_nul);
    byte(std::byte{0});
  }

 private:
  std::byte* to_;
};

}  // namespace mserve::broker
