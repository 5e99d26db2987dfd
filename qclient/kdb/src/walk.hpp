// SPDX-License-Identifier: Apache-2.0
// The one walk over encoded bytes that skipping, validating and byte swapping share. Reads each
// byte at most once, allocates nothing, and recurses at most depth_max levels.
#pragma once

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <optional>
#include <span>

#include "mserve/kdb/result.hpp"
#include "mserve/kdb/types.hpp"

namespace mserve::kdb::detail {

static_assert(std::endian::native == std::endian::little, "the codec copies vectors as they are");

/// Reads an unsigned integer of `width` bytes (1..8).
inline std::uint64_t load(const std::byte* at, std::size_t width, ByteOrder order) noexcept {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < width; ++i) {
    const std::size_t from = order == ByteOrder::little ? width - 1 - i : i;
    value = (value << 8) | std::to_integer<std::uint64_t>(at[from]);
  }
  return value;
}

/// What the walk learnt about one object.
struct Shape {
  std::size_t end = 0;      ///< Offset just behind the object.
  std::uint64_t count = 1;  ///< q's count of it.
  std::int8_t type = 0;
};

/// A field visitor that does nothing: plain skipping.
struct NoFields {
  void operator()(std::size_t, std::size_t, std::uint64_t) const noexcept {}
};

/// @tparam Fields  called with (offset, width, count) for every run of multi-byte numbers, after
/// the walk has read it.
template <class Fields>
class Walker {
 public:
  Walker(std::span<const std::byte> bytes, ByteOrder order, std::size_t depth_max,
         Fields fields) noexcept
      : bytes_(bytes),
        order_(order),
        depth_max_(std::clamp<std::size_t>(depth_max, 1, kDepthMax)),
        fields_(fields) {}

  /// Walks the object at the front. False: error() says why.
  [[nodiscard]] bool walk(Shape& shape) noexcept { return object(shape, 0, 1); }

  [[nodiscard]] const Error& error() const noexcept { return error_; }
  /// Deepest level seen; the top object is level 1.
  [[nodiscard]] std::size_t deepest() const noexcept { return deepest_; }

 private:
  bool fail(Errc code, std::size_t offset) noexcept {
    error_ = {code, offset};
    return false;
  }

  [[nodiscard]] std::size_t left(std::size_t offset) const noexcept {
    return bytes_.size() - offset;
  }

  bool object(Shape& shape, std::size_t offset, std::size_t depth) noexcept {
    if (depth > depth_max_) {
      return fail(Errc::too_deep, offset);
    }
    deepest_ = std::max(deepest_, depth);
    if (left(offset) == 0) {
      return fail(Errc::truncated, offset);
    }
    const auto code = static_cast<std::int8_t>(bytes_[offset]);
    shape = {offset + 1, 1, code};
    if (code == static_cast<std::int8_t>(Type::error)) {
      return depth == 1 ? symbol(shape.end) : fail(Errc::nested_error, offset);
    }
    if (code < 0) {
      return atom(shape, offset);
    }
    if (is_vector_type(code)) {
      return vector(shape, offset);
    }
    switch (code) {
      case 0:
        return list(shape, depth);
      case 98:
        return table(shape, offset, depth);
      case 99:
      case 127:
        return dict(shape, offset, depth);
      default:
        return code >= 100 && code <= 111 ? function(shape, offset, depth)
                                          : fail(Errc::bad_type, offset);
    }
  }

  bool atom(Shape& shape, std::size_t offset) noexcept {
    const auto base = static_cast<std::int8_t>(-shape.type);
    if (!is_vector_type(base)) {
      return fail(Errc::bad_type, offset);
    }
    if (base == static_cast<std::int8_t>(Type::symbol)) {
      return symbol(shape.end);
    }
    const std::size_t width = item_bytes(static_cast<Type>(base));
    if (left(shape.end) < width) {
      return fail(Errc::truncated, offset);
    }
    numbers(shape.end, width, 1);
    shape.end += width;
    return true;
  }

  /// Moves `end` behind the NUL of the text that starts there.
  bool symbol(std::size_t& end) noexcept {
    const void* nul = left(end) == 0 ? nullptr : std::memchr(bytes_.data() + end, 0, left(end));
    if (nul == nullptr) {
      return fail(Errc::truncated, end);
    }
    end = static_cast<std::size_t>(static_cast<const std::byte*>(nul) - bytes_.data()) + 1;
    return true;
  }

  void numbers(std::size_t offset, std::size_t width, std::uint64_t count) noexcept {
    if (width > 1 && width < 16) {
      fields_(offset, width, count);
    }
  }

  /// Reads a count of `width` bytes at `end`; every item takes at least item_bytes.
  bool count(Shape& shape, std::size_t width, std::size_t item_bytes) noexcept {
    const std::size_t offset = shape.end;
    if (left(offset) < width) {
      return fail(Errc::truncated, offset);
    }
    shape.count = load(bytes_.data() + offset, width, order_);
    numbers(offset, width, 1);
    shape.end += width;
    return shape.count <= left(shape.end) / item_bytes || fail(Errc::bad_count, offset);
  }

  /// Reads the attribute byte and the count that it announces (bit 80 hex: 8 bytes).
  bool head(Shape& shape, std::size_t item_bytes) noexcept {
    if (left(shape.end) == 0) {
      return fail(Errc::truncated, shape.end);
    }
    const bool wide = (std::to_integer<unsigned>(bytes_[shape.end]) & 0x80U) != 0;
    shape.end += 1;
    return count(shape, wide ? 8 : 4, item_bytes);
  }

  bool vector(Shape& shape, std::size_t /*offset*/) noexcept {
    const auto type = static_cast<Type>(shape.type);
    if (type == Type::symbol) {
      if (!head(shape, 1)) {
        return false;
      }
      for (std::uint64_t i = 0; i < shape.count; ++i) {
        if (!symbol(shape.end)) {
          return false;
        }
      }
      return true;
    }
    const std::size_t width = item_bytes(type);
    if (!head(shape, width)) {
      return false;
    }
    numbers(shape.end, width, shape.count);
    shape.end += width * static_cast<std::size_t>(shape.count);
    return true;
  }

  bool list(Shape& shape, std::size_t depth) noexcept {
    return head(shape, 1) && sequence(shape, depth);
  }

  bool sequence(Shape& shape, std::size_t depth) noexcept {
    for (std::uint64_t i = 0; i < shape.count; ++i) {
      Shape item;
      if (!object(item, shape.end, depth + 1)) {
        return false;
      }
      shape.end = item.end;
    }
    return true;
  }

  bool dict(Shape& shape, std::size_t offset, std::size_t depth) noexcept {
    Shape keys;
    Shape values;
    if (!object(keys, shape.end, depth + 1) || !object(values, keys.end, depth + 1)) {
      return false;
    }
    shape.end = values.end;
    shape.count = keys.count;
    return keys.count == values.count || fail(Errc::bad_shape, offset);
  }

  bool table(Shape& shape, std::size_t offset, std::size_t depth) noexcept {
    if (left(shape.end) < 2) {
      return fail(Errc::truncated, shape.end);
    }
    if (depth + 2 > depth_max_) {
      return fail(Errc::too_deep, shape.end + 1);
    }
    if (bytes_[shape.end + 1] != std::byte{99}) {
      return fail(Errc::bad_shape, shape.end + 1);
    }
    Shape names;
    if (!object(names, shape.end + 2, depth + 2)) {
      return false;
    }
    if (names.type != static_cast<std::int8_t>(Type::symbol)) {
      return fail(Errc::bad_shape, shape.end + 2);
    }
    if (left(names.end) != 0 && bytes_[names.end] == std::byte{0}) {
      return columns(shape, offset, names, depth + 2);
    }
    Shape path;
    if (!object(path, names.end, depth + 2)) {
      return false;
    }
    shape.end = path.end;
    shape.count = 0;
    return path.type == -static_cast<std::int8_t>(Type::symbol) || fail(Errc::bad_shape, offset);
  }

  /// The list of columns behind the names: each with the same count, none an atom or a function.
  bool columns(Shape& shape, std::size_t offset, const Shape& names, std::size_t depth) noexcept {
    Shape list{names.end + 1, 0, 0};
    if (!head(list, 1)) {
      return false;
    }
    std::uint64_t rows = 0;
    for (std::uint64_t i = 0; i < list.count; ++i) {
      Shape column;
      if (!object(column, list.end, depth + 1)) {
        return false;
      }
      if (column.type < 0 || (column.type >= 100 && column.type <= 111) ||
          (i != 0 && column.count != rows)) {
        return fail(Errc::bad_shape, list.end);
      }
      rows = column.count;
      list.end = column.end;
    }
    shape.end = list.end;
    shape.count = rows;
    return list.count == names.count || fail(Errc::bad_shape, offset);
  }

  bool function(Shape& shape, std::size_t offset, std::size_t depth) noexcept {
    if (shape.type == 100) {
      return lambda(shape, offset, depth);
    }
    if (shape.type <= 103) {  // one code byte
      if (left(shape.end) == 0) {
        return fail(Errc::truncated, shape.end);
      }
      shape.end += 1;
      return true;
    }
    if (shape.type <= 105) {
      if (!count(shape, 4, 1) || !sequence(shape, depth)) {
        return false;
      }
    } else {
      Shape inner;
      if (!object(inner, shape.end, depth + 1)) {
        return false;
      }
      shape.end = inner.end;
    }
    shape.count = 1;
    return true;
  }

  /// Context name, then the source as a char vector.
  bool lambda(Shape& shape, std::size_t offset, std::size_t depth) noexcept {
    Shape source;
    if (!symbol(shape.end) || !object(source, shape.end, depth + 1)) {
      return false;
    }
    shape.end = source.end;
    return source.type == static_cast<std::int8_t>(Type::character) ||
           fail(Errc::bad_shape, offset);
  }

  std::span<const std::byte> bytes_;
  ByteOrder order_;
  std::size_t depth_max_;
  Fields fields_;
  Error error_;
  std::size_t deepest_ = 0;
};

}  // namespace mserve::kdb::detail
