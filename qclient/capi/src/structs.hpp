// SPDX-License-Identifier: Apache-2.0
// Structs that begin with their size: between a program and a library that may be older or newer.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace mserve::capi {

/// Nothing of ours will ever be larger; a size beyond it was never set.
inline constexpr std::uint32_t kStructBytesMax = 4096;

/// Copies what the caller gave over the defaults in `known`.
/// @param first_bytes  size of the struct in the first release; never changes.
/// @return false when the size cannot be right, or members that we do not know are not 0.
template <class Struct>
[[nodiscard]] bool read_struct(const Struct* given, Struct& known, std::size_t first_bytes) {
  static_assert(std::is_trivially_copyable_v<Struct> && offsetof(Struct, size) == 0);
  if (given == nullptr) {
    return true;
  }
  const std::uint32_t size = given->size;
  if (size < first_bytes || size > kStructBytesMax) {
    return false;
  }
  const auto* const bytes = reinterpret_cast<const unsigned char*>(given);
  if (size > sizeof(Struct) && std::any_of(bytes + sizeof(Struct), bytes + size,
                                           [](unsigned char byte) { return byte != 0; })) {
    return false;
  }
  std::memcpy(&known, given, std::min<std::size_t>(size, sizeof(Struct)));
  known.size = sizeof(Struct);
  return true;
}

/// Whether `out` can be filled by write_struct().
template <class Struct>
[[nodiscard]] bool writable(const Struct* out, std::size_t first_bytes) {
  return out != nullptr && out->size >= first_bytes && out->size <= kStructBytesMax;
}

/// Fills what the caller has room for; members that we do not know become 0.
template <class Struct>
void write_struct(Struct* out, const Struct& filled) {
  static_assert(std::is_trivially_copyable_v<Struct> && offsetof(Struct, size) == 0);
  const std::uint32_t size = out->size;
  const std::size_t known_bytes = std::min<std::size_t>(size, sizeof(Struct));
  std::memcpy(out, &filled, known_bytes);
  std::memset(reinterpret_cast<unsigned char*>(out) + known_bytes, 0, size - known_bytes);
  out->size = size;
}

}  // namespace mserve::capi
