// SPDX-License-Identifier: Apache-2.0
// Finding the boundaries of encoded objects without decoding them. Forwarding uses nothing else.
// Nothing here allocates; the work is at most one pass over the bytes (symbols are scanned, other
// vectors are jumped over) and the recursion stops at the depth limit. An object is accepted here
// exactly when decode() accepts it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "mserve/kdb/result.hpp"
#include "mserve/kdb/types.hpp"

namespace mserve::kdb {

/// Size in bytes of the object that starts at `bytes[0]`; more bytes may follow it. An error object
/// (-128) is accepted at the top only. @param depth_max  1..kDepthMax; larger values count as
/// kDepthMax.
/// @return the size, or truncated, bad_type, bad_count, bad_shape, too_deep, nested_error with the
/// offset of the culprit.
[[nodiscard]] Result<std::size_t> skip(std::span<const std::byte> bytes,
                                       std::size_t depth_max = kDepthMax,
                                       ByteOrder order = ByteOrder::little) noexcept;

/// Whether `object` is exactly one well-formed object. Call it before handing bytes from elsewhere
/// to anybody.
/// @return the q type number of the object, or an error as from skip(), or trailing_bytes.
[[nodiscard]] Result<std::int8_t> validate(std::span<const std::byte> object,
                                           std::size_t depth_max = kDepthMax,
                                           ByteOrder order = ByteOrder::little) noexcept;

/// Turns the bytes of exactly one object from one byte order into the other, in place (sizes do not
/// change, guids and texts stay). @param from  the order that the bytes have now. On an error the
/// bytes are unusable.
/// @return the object's q type number, or an error as from validate().
[[nodiscard]] Result<std::int8_t> swap_byte_order(std::span<std::byte> object,
                                                  ByteOrder from) noexcept;

/// The text of an encoded symbol, character or char vector, as it lies in the bytes; empty for
/// other types. @param object  exactly one well-formed object, little endian.
[[nodiscard]] std::string_view text_of(std::span<const std::byte> object) noexcept;

/// One element of a list that a ListReader is at.
struct Element {
  /// q type number of the element. For a symbol vector it is -11 and `bytes` holds the text and its
  /// NUL, without a type byte.
  std::int8_t type = 0;
  /// The element inside the list's own bytes; with its type byte in a general list, bare items in a
  /// vector.
  std::span<const std::byte> bytes;
  bool in_vector = false;  ///< Of a symbol vector.

  /// As text_of(), of an element of either kind of list.
  [[nodiscard]] std::string_view text() const noexcept;
};

/// Walks the elements of an encoded general list (type 0) or symbol vector (type 11), little
/// endian. The two are how queries travel: (`f;1 2;`x) is a general list, (`f;`x) a symbol vector.
/// Borrows the bytes.
class ListReader {
 public:
  /// @param object  starts with a list or symbol vector; bytes behind it are ignored.
  /// @return a reader, or bad_type when it is neither, or truncated, bad_count.
  [[nodiscard]] static Result<ListReader> open(std::span<const std::byte> object) noexcept;

  /// Number of elements the list claims; at most the number of bytes that were given.
  [[nodiscard]] std::uint64_t count() const noexcept { return count_; }
  /// Elements not yet read.
  [[nodiscard]] std::uint64_t remaining() const noexcept { return remaining_; }
  /// The next element; empty when the list is through or broken (then error() is set).
  [[nodiscard]] std::optional<Element> next() noexcept;
  /// What stopped next(): code ok at the end of the list. Offsets count from the start of the
  /// object.
  [[nodiscard]] const Error& error() const noexcept { return error_; }

 private:
  ListReader() = default;

  std::span<const std::byte> object_;
  std::size_t offset_ = 0;
  std::uint64_t count_ = 0;
  std::uint64_t remaining_ = 0;
  bool symbols_ = false;
  Error error_;
};

}  // namespace mserve::kdb
