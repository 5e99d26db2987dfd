// SPDX-License-Identifier: Apache-2.0
// Building values; looking into them is value_access.cpp.
#include "mserve/kdb/value.hpp"

#include <algorithm>

#include "value_types.hpp"
#include "walk.hpp"

namespace mserve::kdb {

namespace {

std::int8_t atom_code(Type type) noexcept {
  return static_cast<std::int8_t>(-static_cast<int>(type));
}
std::int8_t vector_code(Type type) noexcept {
  return static_cast<std::int8_t>(type);
}

/// Symbols and error texts end at their first NUL on the wire, so they do here too.
std::string_view until_nul(std::string_view text) noexcept {
  return text.substr(0, text.find('\0'));
}

template <class T>
std::vector<T> gather(std::span<const Value> items) {
  std::vector<T> values;
  values.reserve(items.size());
  for (const Value& item : items) {
    values.push_back(*item.as<T>());
  }
  return values;
}

}  // namespace

Value::Value() noexcept : code_(101), storage_(Shared<std::byte>()) {}

template <class T>
Value Value::atom_of(Type type, T value) {
  if (!detail::stored_as<T>(type)) {
    return error("type");
  }
  if constexpr (std::is_same_v<T, std::string>) {
    value.resize(until_nul(value).size());
  }
  return {atom_code(type), Storage(std::move(value))};
}

template <class T>
Value Value::vector_of(Type type, std::vector<T> values) {
  if (!detail::stored_as<T>(type)) {
    return error("type");
  }
  if constexpr (std::is_same_v<T, char>) {
    return chars(std::string(values.begin(), values.end()));
  } else {
    if constexpr (std::is_same_v<T, std::string>) {
      for (std::string& text : values) {
        text.resize(until_nul(text).size());
      }
    }
    return {vector_code(type), Storage(std::make_shared<const std::vector<T>>(std::move(values)))};
  }
}

#define MSERVE_KDB_INSTANTIATE(T)            \
  template Value Value::atom_of<T>(Type, T); \
  template Value Value::vector_of<T>(Type, std::vector<T>);
MSERVE_KDB_INSTANTIATE(std::uint8_t)
MSERVE_KDB_INSTANTIATE(char)
MSERVE_KDB_INSTANTIATE(std::int16_t)
MSERVE_KDB_INSTANTIATE(std::int32_t)
MSERVE_KDB_INSTANTIATE(std::int64_t)
MSERVE_KDB_INSTANTIATE(float)
MSERVE_KDB_INSTANTIATE(double)
MSERVE_KDB_INSTANTIATE(Guid)
MSERVE_KDB_INSTANTIATE(std::string)
#undef MSERVE_KDB_INSTANTIATE

Value Value::boolean(bool value) noexcept {
  return {-1, Storage(static_cast<std::uint8_t>(value ? 1 : 0))};
}
Value Value::guid(const Guid& value) noexcept {
  return {-2, Storage(value)};
}
Value Value::byte(std::uint8_t value) noexcept {
  return {-4, Storage(value)};
}
Value Value::short_atom(std::int16_t value) noexcept {
  return {-5, Storage(value)};
}
Value Value::int_atom(std::int32_t value) noexcept {
  return {-6, Storage(value)};
}
Value Value::long_atom(std::int64_t value) noexcept {
  return {-7, Storage(value)};
}
Value Value::real(float value) noexcept {
  return {-8, Storage(value)};
}
Value Value::float_atom(double value) noexcept {
  return {-9, Storage(value)};
}
Value Value::char_atom(char value) noexcept {
  return {-10, Storage(value)};
}
Value Value::symbol(std::string_view text) {
  return {-11, Storage(std::string(until_nul(text)))};
}
Value Value::timestamp(std::int64_t ns_since_2000) noexcept {
  return {-12, Storage(ns_since_2000)};
}
Value Value::month(std::int32_t months_since_2000) noexcept {
  return {-13, Storage(months_since_2000)};
}
Value Value::date(std::int32_t days_since_2000) noexcept {
  return {-14, Storage(days_since_2000)};
}
Value Value::datetime(double days_since_2000) noexcept {
  return {-15, Storage(days_since_2000)};
}
Value Value::timespan(std::int64_t ns) noexcept {
  return {-16, Storage(ns)};
}
Value Value::minute(std::int32_t minutes) noexcept {
  return {-17, Storage(minutes)};
}
Value Value::second(std::int32_t seconds) noexcept {
  return {-18, Storage(seconds)};
}
Value Value::time(std::int32_t ms) noexcept {
  return {-19, Storage(ms)};
}

Value Value::booleans(std::vector<std::uint8_t> values) {
  return vector_of(Type::boolean, std::move(values));
}
Value Value::guids(std::vector<Guid> values) {
  return vector_of(Type::guid, std::move(values));
}
Value Value::bytes(std::vector<std::uint8_t> values) {
  return vector_of(Type::byte, std::move(values));
}
Value Value::shorts(std::vector<std::int16_t> values) {
  return vector_of(Type::short_int, std::move(values));
}
Value Value::ints(std::vector<std::int32_t> values) {
  return vector_of(Type::int_, std::move(values));
}
Value Value::longs(std::vector<std::int64_t> values) {
  return vector_of(Type::long_int, std::move(values));
}
Value Value::reals(std::vector<float> values) {
  return vector_of(Type::real, std::move(values));
}
Value Value::floats(std::vector<double> values) {
  return vector_of(Type::float_, std::move(values));
}
Value Value::chars(std::string text) {
  return {10, Storage(std::make_shared<const std::string>(std::move(text)))};
}
Value Value::symbols(std::vector<std::string> values) {
  return vector_of(Type::symbol, std::move(values));
}
Value Value::timestamps(std::vector<std::int64_t> ns_since_2000) {
  return vector_of(Type::timestamp, std::move(ns_since_2000));
}
Value Value::months(std::vector<std::int32_t> months_since_2000) {
  return vector_of(Type::month, std::move(months_since_2000));
}
Value Value::dates(std::vector<std::int32_t> days_since_2000) {
  return vector_of(Type::date, std::move(days_since_2000));
}
Value Value::datetimes(std::vector<double> days_since_2000) {
  return vector_of(Type::datetime, std::move(days_since_2000));
}
Value Value::timespans(std::vector<std::int64_t> ns) {
  return vector_of(Type::timespan, std::move(ns));
}
Value Value::minutes(std::vector<std::int32_t> minutes) {
  return vector_of(Type::minute, std::move(minutes));
}
Value Value::seconds(std::vector<std::int32_t> seconds) {
  return vector_of(Type::second, std::move(seconds));
}
Value Value::times(std::vector<std::int32_t> ms) {
  return vector_of(Type::time, std::move(ms));
}

Value Value::empty(Type type) {
  if (type == Type::list) {
    return list({});
  }
  if (type == Type::character) {
    return chars({});
  }
  return detail::with_storage(type, error("type"), [type]<class T>(std::type_identity<T>) {
    return vector_of(type, std::vector<T>());
  });
}

Value Value::compound(std::int8_t code, std::vector<Value> parts, std::size_t extra_depth) {
  std::size_t depth = extra_depth;
  for (const Value& part : parts) {
    if (part.is_error()) {
      return part;
    }
    depth = std::max(depth, part.depth() + extra_depth);
  }
  if (depth > kDepthMax) {
    return error("limit");
  }
  return {code, Storage(std::make_shared<const std::vector<Value>>(std::move(parts))), depth};
}

Value Value::list(std::vector<Value> items) {
  return compound(0, std::move(items), 1);
}

Value Value::enlist_all(std::vector<Value> items) {
  const std::int8_t code = items.empty() ? std::int8_t{0} : items.front().type_code();
  const bool uniform = std::all_of(items.begin(), items.end(), [code](const Value& item) {
    return item.is_atom() && item.type_code() == code;
  });
  if (items.empty() || !uniform) {
    return list(std::move(items));
  }
  const Type type = items.front().type();
  return detail::with_storage(type, error("type"), [&]<class T>(std::type_identity<T>) {
    return vector_of(type, gather<T>(items));
  });
}

Value Value::make_dict(std::int8_t code, Value keys, Value values) {
  if (!keys.is_error() && !values.is_error() && keys.count() != values.count()) {
    return error("length");
  }
  std::vector<Value> parts;
  parts.reserve(2);
  parts.push_back(std::move(keys));
  parts.push_back(std::move(values));
  return compound(code, std::move(parts), 1);
}

Value Value::dict(Value keys, Value values) {
  return make_dict(99, std::move(keys), std::move(values));
}

Value Value::sorted_dict(Value keys, Value values) {
  return make_dict(127, std::move(keys), std::move(values));
}

Value Value::table(std::vector<std::string> names, std::vector<Value> columns) {
  if (names.size() != columns.size()) {
    return error("length");
  }
  return table_from(symbols(std::move(names)), list(std::move(columns)));
}

Value Value::table_from(const Value& names, const Value& columns) {
  for (const Value* part : {&names, &columns}) {
    if (part->is_error()) {
      return *part;
    }
  }
  const bool splayed = columns.type_code() == -11;
  if (names.type_code() != 11 || !(columns.is_list() || splayed)) {
    return error("type");
  }
  const std::span<const Value> items = columns.list_items();
  for (const Value& column : items) {
    if (column.is_atom() || column.is_function()) {
      return error("type");
    }
    if (column.count() != items.front().count()) {
      return error("length");
    }
  }
  if (!splayed && names.count() != items.size()) {
    return error("length");
  }
  return compound(98, {names, columns}, 2);
}

Value Value::error(std::string_view text) {
  return {-128, Storage(std::string(until_nul(text)))};
}

Result<Value> Value::function(std::span<const std::byte> object) {
  detail::Walker<detail::NoFields> walker(object, ByteOrder::little, kDepthMax, {});
  detail::Shape shape;
  if (!walker.walk(shape)) {
    return walker.error();
  }
  if (shape.end != object.size()) {
    return Error{Errc::trailing_bytes, shape.end};
  }
  if (shape.type < 100 || shape.type > 111) {
    return Error{Errc::bad_type, 0};
  }
  if (object.size() == 2 && shape.type == 101 && object[1] == std::byte{0}) {
    return null();
  }
  auto bytes = std::make_shared<const std::vector<std::byte>>(object.begin(), object.end());
  return Value(shape.type, Storage(std::move(bytes)), walker.deepest());
}

Value Value::with_attribute(Attribute attribute) const {
  Value copy = *this;
  if (code_ >= 0 && code_ <= 98) {
    copy.attribute_ = static_cast<Attribute>(static_cast<unsigned>(attribute) & 0x7fU);
  }
  return copy;
}

}  // namespace mserve::kdb
