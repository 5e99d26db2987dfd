// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include "mserve/kdb/types.hpp"

// The first byte of those objects that the shim tells apart or writes itself.
namespace mserve::shim {

[[nodiscard]] constexpr std::byte vector_byte(kdb::Type type) noexcept {
  return static_cast<std::byte>(static_cast<std::uint8_t>(type));
}
[[nodiscard]] constexpr std::byte atom_byte(kdb::Type type) noexcept {
  return static_cast<std::byte>(static_cast<std::uint8_t>(-static_cast<int>(type)));
}

inline constexpr std::byte kListByte = vector_byte(kdb::Type::list);
inline constexpr std::byte kLongVectorByte = vector_byte(kdb::Type::long_int);
inline constexpr std::byte kLongAtomByte = atom_byte(kdb::Type::long_int);
inline constexpr std::byte kCharVectorByte = vector_byte(kdb::Type::character);
inline constexpr std::byte kDictionaryByte = vector_byte(kdb::Type::dict);
inline constexpr std::byte kErrorByte = vector_byte(kdb::Type::error);

[[nodiscard]] constexpr bool is_dictionary(std::int8_t type) noexcept {
  return type == static_cast<std::int8_t>(kdb::Type::dict) ||
         type == static_cast<std::int8_t>(kdb::Type::sorted_dict);
}

}  // namespace mserve::shim
