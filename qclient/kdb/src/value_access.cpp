// SPDX-License-Identifier: Apache-2.0
// Looking into values; building them is value.cpp.
#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "mserve/kdb/value.hpp"
#include "value_types.hpp"

namespace mserve::kdb {

namespace {

const Value& generic_null() noexcept {
  static const Value kNull;
  return kNull;
}

template <class T>
bool same_item(const T& a, const T& b) noexcept {
  if constexpr (std::is_same_v<T, float>) {
    return std::bit_cast<std::uint32_t>(a) == std::bit_cast<std::uint32_t>(b);
  } else if constexpr (std::is_same_v<T, double>) {
    return std::bit_cast<std::uint64_t>(a) == std::bit_cast<std::uint64_t>(b);
  } else {
    return a == b;
  }
}

template <class T>
double widen(T value) noexcept {
  if constexpr (std::is_signed_v<T> && std::is_integral_v<T>) {
    if (value == std::numeric_limits<T>::min()) {
      return kNullFloat;
    }
    if (value == std::numeric_limits<T>::max()) {
      return kInfFloat;
    }
    if (value == -std::numeric_limits<T>::max()) {
      return -kInfFloat;
    }
  }
  return static_cast<double>(value);
}

/// Row `index` of a table, as names and values for a dictionary.
void append_row(const Value& table, std::size_t index, std::vector<std::string>& names,
                std::vector<Value>& values) {
  names.insert(names.end(), table.names().begin(), table.names().end());
  for (const Value& column : table.columns()) {
    values.push_back(column.at(index));
  }
}

constexpr std::byte kNullBytes[] = {std::byte{101}, std::byte{0}};

}  // namespace

Type Value::type() const noexcept {
  return static_cast<Type>(is_atom() ? static_cast<std::int8_t>(-code_) : code_);
}

std::span<const Value> Value::parts() const noexcept {
  const auto* parts = std::get_if<Shared<Value>>(&storage_);
  return parts != nullptr ? std::span<const Value>(**parts) : std::span<const Value>{};
}

bool Value::is_keyed_table() const noexcept {
  return is_dict() && keys().is_table() && values().is_table();
}

bool Value::is_splayed() const noexcept {
  return is_table() && values().is_atom();
}

bool Value::is_null() const noexcept {
  const auto* bytes = std::get_if<Shared<std::byte>>(&storage_);
  return bytes != nullptr && *bytes == nullptr;
}

std::size_t Value::count() const noexcept {
  if (is_vector() || is_list()) {
    return std::visit(
        []<class T>(const T& storage) -> std::size_t {
          if constexpr (requires { storage->size(); }) {
            return storage->size();
          } else {
            return 1;
          }
        },
        storage_);
  }
  if (is_dict()) {
    return keys().count();
  }
  if (is_table()) {
    return columns().empty() ? 0 : columns().front().count();
  }
  return 1;
}

std::span<const Value> Value::list_items() const noexcept {
  return is_list() ? parts() : std::span<const Value>{};
}

std::optional<std::int64_t> Value::integer() const noexcept {
  if (!is_atom()) {
    return std::nullopt;
  }
  return std::visit(
      []<class T>(const T& storage) -> std::optional<std::int64_t> {
        if constexpr (std::is_integral_v<T> && !std::is_same_v<T, char>) {
          return storage;
        } else {
          return std::nullopt;
        }
      },
      storage_);
}

std::optional<double> Value::number() const noexcept {
  if (!is_atom()) {
    return std::nullopt;
  }
  return std::visit(
      []<class T>(const T& storage) -> std::optional<double> {
        if constexpr (std::is_arithmetic_v<T> && !std::is_same_v<T, char>) {
          return widen(storage);
        } else {
          return std::nullopt;
        }
      },
      storage_);
}

std::optional<std::string_view> Value::text_view() const noexcept {
  if (const auto* text = std::get_if<std::string>(&storage_)) {
    return *text;
  }
  if (const auto* text = std::get_if<std::shared_ptr<const std::string>>(&storage_)) {
    return **text;
  }
  if (const auto* letter = std::get_if<char>(&storage_)) {
    return std::string_view(letter, 1);
  }
  return std::nullopt;
}

std::span<const std::byte> Value::function_bytes() const noexcept {
  const auto* bytes = std::get_if<Shared<std::byte>>(&storage_);
  if (bytes == nullptr) {
    return {};
  }
  return *bytes != nullptr ? std::span<const std::byte>(**bytes)
                           : std::span<const std::byte>(kNullBytes);
}

const Value& Value::keys() const noexcept {
  return is_dict() || is_table() ? parts()[0] : generic_null();
}

const Value& Value::values() const noexcept {
  return is_dict() || is_table() ? parts()[1] : generic_null();
}

std::span<const std::string> Value::names() const noexcept {
  return is_table() ? keys().items<std::string>() : std::span<const std::string>{};
}

std::span<const Value> Value::columns() const noexcept {
  return is_table() ? values().list_items() : std::span<const Value>{};
}

const Value* Value::column(std::string_view name) const noexcept {
  if (is_keyed_table()) {
    const Value* found = keys().column(name);
    return found != nullptr ? found : values().column(name);
  }
  const std::span<const std::string> all = names();
  const auto found = std::find(all.begin(), all.end(), name);
  const auto index = static_cast<std::size_t>(found - all.begin());
  return index < columns().size() ? &columns()[index] : nullptr;
}

std::optional<Value> Value::find(std::string_view key) const {
  if (!is_dict()) {
    return std::nullopt;
  }
  const std::span<const std::string> all = keys().items<std::string>();
  const auto found = std::find(all.begin(), all.end(), key);
  if (found == all.end()) {
    return std::nullopt;
  }
  return values().at(static_cast<std::size_t>(found - all.begin()));
}

Value Value::at(std::size_t index) const {
  if (is_atom() || is_function() || is_error()) {
    return *this;
  }
  if (index >= count()) {
    return {};
  }
  if (is_list()) {
    return parts()[index];
  }
  if (is_table() || is_keyed_table()) {
    std::vector<std::string> row_names;
    std::vector<Value> row_values;
    append_row(is_table() ? *this : keys(), index, row_names, row_values);
    if (!is_table()) {
      append_row(values(), index, row_names, row_values);
    }
    return dict(symbols(std::move(row_names)), enlist_all(std::move(row_values)));
  }
  if (is_dict()) {
    return values().at(index);
  }
  return detail::with_storage(type(), Value(), [&]<class T>(std::type_identity<T>) -> Value {
    return {static_cast<std::int8_t>(-code_), Storage(items<T>()[index])};
  });
}

bool Value::same_storage(const Value& a, const Value& b) noexcept {
  return std::visit(
      [&b]<class T>(const T& left) -> bool {
        const T* right = std::get_if<T>(&b.storage_);
        if (right == nullptr) {
          return false;
        }
        if constexpr (requires { left->size(); }) {
          if (left == *right) {
            return true;
          }
          return left != nullptr && *right != nullptr && left->size() == (*right)->size() &&
                 std::equal(left->begin(), left->end(), (*right)->begin(),
                            [](const auto& x, const auto& y) { return same_item(x, y); });
        } else {
          return same_item(left, *right);
        }
      },
      a.storage_);
}

bool operator==(const Value& a, const Value& b) noexcept {
  return (a.code_ == b.code_ || (a.is_dict() && b.is_dict())) && Value::same_storage(a, b);
}

}  // namespace mserve::kdb
