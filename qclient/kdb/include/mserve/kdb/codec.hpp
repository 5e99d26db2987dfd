// SPDX-License-Identifier: Apache-2.0
// Encoded kdb+ objects to Values and back. An object is what follows the 8-byte message header; see
// message.hpp for that. Decoding then encoding gives the same bytes, except that a 64-bit count
// (attribute bit 80 hex) is written only where the count needs it.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

#include "mserve/kdb/result.hpp"
#include "mserve/kdb/types.hpp"
#include "mserve/kdb/value.hpp"

namespace mserve::kdb {

/// What decode() accepts. Memory used is at most about 32 times the object (vectors of empty
/// symbols), usually 1 to 2 times.
struct Limits {
  std::size_t depth_max = kDepthMax;  ///< 1..kDepthMax levels; larger values count as kDepthMax.
  std::size_t object_bytes_max =
      ~std::size_t{0};  ///< Longer objects give too_large before anything is read.
};

/// Decodes exactly one object. Memory is taken only as far as the bytes that are there can fill it.
/// The bytes must not change during the call: copy them out of memory that others can write to
/// first.
/// @return the value, or too_large, or an error as from validate(), with the byte offset in
/// `object`.
[[nodiscard]] Result<Value> decode(std::span<const std::byte> object,
                                   ByteOrder order = ByteOrder::little, const Limits& limits = {});

/// Bytes that the value takes encoded, in either byte order.
[[nodiscard]] std::size_t encoded_size(const Value& value) noexcept;

/// The value's encoding, little endian unless asked otherwise (always send little endian; see
/// KDB_IPC section 8).
[[nodiscard]] std::vector<std::byte> encode(const Value& value,
                                            ByteOrder order = ByteOrder::little);

/// Writes the little-endian encoding at the front of `buffer`, allocating nothing.
/// @return bytes written, or too_large (offset: bytes needed) when the buffer is too small; then
/// nothing was written.
[[nodiscard]] Result<std::size_t> encode_to(const Value& value,
                                            std::span<std::byte> buffer) noexcept;

/// Appends the little-endian encoding of (name;arguments...): name as a symbol. What a servant is
/// sent. Atoms are not joined into a vector: the list is always general, so arguments keep their
/// types.
[[nodiscard]] std::vector<std::byte> encode_call(std::string_view name,
                                                 std::span<const Value> arguments);

}  // namespace mserve::kdb
