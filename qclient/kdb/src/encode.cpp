// SPDX-License-Identifier: Apache-2.0
#include <cstring>

#include "mserve/kdb/codec.hpp"
#include "mserve/kdb/skip.hpp"
#include "value_types.hpp"

namespace mserve::kdb {

namespace {

constexpr std::uint64_t kWideCount = std::uint64_t{1} << 32;

/// Counts bytes, or writes them when it has somewhere to write to. Sizes are computed and bytes are
/// written by the same code, so the two cannot disagree.
class Writer {
 public:
  explicit Writer(std::byte* to) noexcept : to_(to) {}

  void raw(const void* from, std::size_t size) noexcept {
    if (to_ != nullptr && size != 0) {
      std::memcpy(to_ + size_, from, size);
    }
    size_ += size;
  }

  template <class T>
  void number(T value) noexcept {
    raw(&value, sizeof(value));
  }

  void text(std::string_view text) noexcept {
    raw(text.data(), text.size());
    number(std::uint8_t{0});
  }

  void head(std::int8_t code, Attribute attribute, std::size_t count) noexcept {
    number(code);
    const bool wide = count >= kWideCount;
    number(static_cast<std::uint8_t>(static_cast<unsigned>(attribute) | (wide ? 0x80U : 0U)));
    if (wide) {
      number(static_cast<std::uint64_t>(count));
    } else {
      number(static_cast<std::uint32_t>(count));
    }
  }

  void value(const Value& value) noexcept;

  [[nodiscard]] std::size_t size() const noexcept { return size_; }

 private:
  void atom(const Value& value) noexcept;
  void vector(const Value& value) noexcept;

  std::byte* to_;
  std::size_t size_ = 0;
};

void Writer::atom(const Value& value) noexcept {
  number(value.type_code());
  detail::with_storage(value.type(), false, [&]<class T>(std::type_identity<T>) {
    const T& item = *value.as<T>();
    if constexpr (std::is_same_v<T, std::string>) {
      text(item);
    } else {
      number(item);
    }
    return true;
  });
}

void Writer::vector(const Value& value) noexcept {
  detail::with_storage(value.type(), false, [&]<class T>(std::type_identity<T>) {
    const std::span<const T> items = value.items<T>();
    head(value.type_code(), value.attribute(), items.size());
    if constexpr (std::is_same_v<T, std::string>) {
      for (const std::string& item : items) {
        text(item);
      }
    } else {
      raw(items.data(), items.size_bytes());
    }
    return true;
  });
}

void Writer::value(const Value& value) noexcept {
  if (value.is_atom()) {
    atom(value);
  } else if (value.is_vector()) {
    vector(value);
  } else if (value.is_list()) {
    head(0, value.attribute(), value.count());
    for (const Value& item : value.list_items()) {
      this->value(item);
    }
  } else if (value.is_function()) {
    const std::span<const std::byte> bytes = value.function_bytes();
    raw(bytes.data(), bytes.size());
  } else if (value.is_error()) {
    number(value.type_code());
    text(*value.text_view());
  } else {
    number(value.type_code());
    if (value.is_table()) {
      number(static_cast<std::uint8_t>(value.attribute()));
      number(std::uint8_t{99});
    }
    this->value(value.keys());
    this->value(value.values());
  }
}

}  // namespace

std::size_t encoded_size(const Value& value) noexcept {
  Writer counter(nullptr);
  counter.value(value);
  return counter.size();
}

Result<std::size_t> encode_to(const Value& value, std::span<std::byte> buffer) noexcept {
  const std::size_t size = encoded_size(value);
  if (size > buffer.size()) {
    return Error{Errc::too_large, size};
  }
  Writer writer(buffer.data());
  writer.value(value);
  return size;
}

std::vector<std::byte> encode(const Value& value, ByteOrder order) {
  std::vector<std::byte> bytes(encoded_size(value));
  Writer writer(bytes.data());
  writer.value(value);
  if (order == ByteOrder::big) {
    // Our own encoding is well formed, so the swap cannot fail.
    static_cast<void>(swap_byte_order(bytes, ByteOrder::little));
  }
  return bytes;
}

std::vector<std::byte> encode_call(std::string_view name, std::span<const Value> arguments) {
  const auto write = [&](Writer& writer) {
    writer.head(0, Attribute::none, arguments.size() + 1);
    writer.value(Value::symbol(name));
    for (const Value& argument : arguments) {
      writer.value(argument);
    }
  };
  Writer counter(nullptr);
  write(counter);
  std::vector<std::byte> bytes(counter.size());
  Writer writer(bytes.data());
  write(writer);
  return bytes;
}

}  // namespace mserve::kdb
