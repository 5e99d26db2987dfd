// SPDX-License-Identifier: Apache-2.0
// One pass, every read checked against the bytes that are there, every count checked before memory
// is taken for it.
#include <algorithm>
#include <cstring>
#include <string>

#include "mserve/kdb/codec.hpp"
#include "mserve/kdb/skip.hpp"
#include "value_types.hpp"
#include "walk.hpp"

namespace mserve::kdb {

namespace {

/// Decodes little-endian bytes. Failing calls leave the reason in error() and return false.
class Decoder {
 public:
  Decoder(std::span<const std::byte> bytes, std::size_t depth_max) noexcept
      : bytes_(bytes), depth_max_(std::clamp<std::size_t>(depth_max, 1, kDepthMax)) {}

  bool object(Value& value, std::size_t depth);

  [[nodiscard]] const Error& error() const noexcept { return error_; }
  [[nodiscard]] std::size_t offset() const noexcept { return offset_; }

 private:
  struct Head {
    Attribute attribute = Attribute::none;
    std::size_t count = 0;
  };

  bool fail(Errc code, std::size_t offset) noexcept {
    error_ = {code, offset};
    return false;
  }

  [[nodiscard]] std::size_t left() const noexcept { return bytes_.size() - offset_; }

  bool take(void* to, std::size_t size) noexcept {
    if (left() < size) {
      return fail(Errc::truncated, offset_);
    }
    std::memcpy(to, bytes_.data() + offset_, size);
    offset_ += size;
    return true;
  }

  bool text(std::string& to) {
    const auto* from = reinterpret_cast<const char*>(bytes_.data()) + offset_;
    const void* nul = left() == 0 ? nullptr : std::memchr(from, 0, left());
    if (nul == nullptr) {
      return fail(Errc::truncated, offset_);
    }
    to.assign(from, static_cast<const char*>(nul));
    offset_ += to.size() + 1;
    return true;
  }

  bool head(Head& head, std::size_t item_bytes) noexcept {
    const std::size_t start = offset_;
    std::uint8_t attribute = 0;
    std::uint64_t count = 0;
    if (!take(&attribute, 1) || !take(&count, (attribute & 0x80U) != 0 ? 8 : 4)) {
      return false;
    }
    head = {static_cast<Attribute>(attribute & 0x7fU), static_cast<std::size_t>(count)};
    return count <= left() / item_bytes || fail(Errc::bad_count, start + 1);
  }

  bool atom(Value& value, std::int8_t code);
  bool vector(Value& value, Type type);
  bool list(Value& value, std::size_t depth);
  bool dict(Value& value, std::int8_t code, std::size_t depth);
  bool table(Value& value, std::size_t depth);
  bool function(Value& value, std::size_t start, std::size_t depth);

  std::span<const std::byte> bytes_;
  std::size_t depth_max_;
  std::size_t offset_ = 0;
  Error error_;
};

bool Decoder::object(Value& value, std::size_t depth) {
  const std::size_t start = offset_;
  if (depth > depth_max_) {
    return fail(Errc::too_deep, start);
  }
  std::int8_t code = 0;
  if (!take(&code, 1)) {
    return false;
  }
  if (code == static_cast<std::int8_t>(Type::error)) {
    std::string message;
    if (depth != 1) {
      return fail(Errc::nested_error, start);
    }
    if (!text(message)) {
      return false;
    }
    value = Value::error(message);
    return true;
  }
  if (code < 0) {
    return atom(value, code);
  }
  if (is_vector_type(code)) {
    return vector(value, static_cast<Type>(code));
  }
  if (code == 0) {
    return list(value, depth);
  }
  if (code == 98) {
    return table(value, depth);
  }
  if (code == 99 || code == 127) {
    return dict(value, code, depth);
  }
  return code >= 100 && code <= 111 ? function(value, start, depth) : fail(Errc::bad_type, start);
}

bool Decoder::atom(Value& value, std::int8_t code) {
  const auto type = static_cast<Type>(-code);
  const std::size_t start = offset_ - 1;
  if (!is_vector_type(static_cast<std::int8_t>(type))) {
    return fail(Errc::bad_type, start);
  }
  return detail::with_storage(type, false, [&]<class T>(std::type_identity<T>) {
    T item{};
    bool taken = false;
    if constexpr (std::is_same_v<T, std::string>) {
      taken = text(item);
    } else {
      taken = take(&item, sizeof(item));
    }
    if (taken) {
      value = Value::atom_of(type, std::move(item));
    }
    return taken;
  });
}

bool Decoder::vector(Value& value, Type type) {
  return detail::with_storage(type, false, [&]<class T>(std::type_identity<T>) {
    constexpr bool kSymbols = std::is_same_v<T, std::string>;
    Head head;
    if (!this->head(head, kSymbols ? 1 : sizeof(T))) {
      return false;
    }
    if constexpr (std::is_same_v<T, char>) {
      value = Value::chars(
          std::string(reinterpret_cast<const char*>(bytes_.data()) + offset_, head.count));
      offset_ += head.count;
    } else {
      std::vector<T> items(head.count);
      if constexpr (kSymbols) {
        for (std::string& item : items) {
          if (!text(item)) {
            return false;
          }
        }
      } else if (head.count != 0) {
        std::memcpy(items.data(), bytes_.data() + offset_, head.count * sizeof(T));
        offset_ += head.count * sizeof(T);
      }
      value = Value::vector_of(type, std::move(items));
    }
    value = std::move(value).with_attribute(head.attribute);
    return true;
  });
}

bool Decoder::list(Value& value, std::size_t depth) {
  Head head;
  if (!this->head(head, 1)) {
    return false;
  }
  // Grows as items arrive: a list of n items needs n good objects, so a lying count costs nothing.
  std::vector<Value> items;
  items.reserve(std::min<std::size_t>(head.count, 1024));
  for (std::size_t i = 0; i < head.count; ++i) {
    if (!object(items.emplace_back(), depth + 1)) {
      return false;
    }
  }
  value = Value::list(std::move(items)).with_attribute(head.attribute);
  return true;
}

bool Decoder::dict(Value& value, std::int8_t code, std::size_t depth) {
  const std::size_t start = offset_ - 1;
  Value keys;
  Value values;
  if (!object(keys, depth + 1) || !object(values, depth + 1)) {
    return false;
  }
  value = code == 99 ? Value::dict(std::move(keys), std::move(values))
                     : Value::sorted_dict(std::move(keys), std::move(values));
  return !value.is_error() || fail(Errc::bad_shape, start);
}

bool Decoder::table(Value& value, std::size_t depth) {
  const std::size_t start = offset_ - 1;
  std::uint8_t attribute = 0;
  if (!take(&attribute, 1)) {
    return false;
  }
  if (depth + 2 > depth_max_) {
    return fail(Errc::too_deep, offset_);
  }
  std::int8_t inner = 0;
  if (!take(&inner, 1)) {
    return false;
  }
  if (inner != 99) {
    return fail(Errc::bad_shape, offset_ - 1);
  }
  Value names;
  Value columns;
  if (!object(names, depth + 2) || !object(columns, depth + 2)) {
    return false;
  }
  value = Value::table_from(names, columns);
  if (value.is_error()) {
    return fail(Errc::bad_shape, start);
  }
  value = value.with_attribute(static_cast<Attribute>(attribute));
  return true;
}

bool Decoder::function(Value& value, std::size_t start, std::size_t depth) {
  const std::span<const std::byte> rest = bytes_.subspan(start);
  const Result<std::size_t> size = skip(rest, depth_max_ - depth + 1);
  if (!size) {
    return fail(size.error().code, start + size.error().offset);
  }
  Result<Value> made = Value::function(rest.first(*size));
  if (!made) {
    return fail(made.error().code, start + made.error().offset);
  }
  value = *std::move(made);
  offset_ = start + *size;
  return true;
}

Result<Value> decode_little(std::span<const std::byte> object, std::size_t depth_max) {
  Decoder decoder(object, depth_max);
  Value value;
  if (!decoder.object(value, 1)) {
    return decoder.error();
  }
  if (decoder.offset() != object.size()) {
    return Error{Errc::trailing_bytes, decoder.offset()};
  }
  return value;
}

}  // namespace

Result<Value> decode(std::span<const std::byte> object, ByteOrder order, const Limits& limits) {
  if (object.size() > limits.object_bytes_max) {
    return Error{Errc::too_large, limits.object_bytes_max};
  }
  if (order == ByteOrder::little) {
    return decode_little(object, limits.depth_max);
  }
  // Big-endian peers are old and few, so a copy and an in-place swap serve them.
  std::vector<std::byte> swapped(object.begin(), object.end());
  const Result<std::int8_t> type = swap_byte_order(swapped, ByteOrder::big);
  if (!type) {
    return type.error();
  }
  return decode_little(swapped, limits.depth_max);
}

}  // namespace mserve::kdb
