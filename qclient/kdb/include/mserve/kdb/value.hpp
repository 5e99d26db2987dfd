// SPDX-License-Identifier: Apache-2.0
// A kdb+ value of any data type: immutable, and cheap to copy because vectors are shared.
//   Storage    one C++ type per q type: boolean, byte -> uint8_t; char -> char; short -> int16_t;
//   int, month, date,
//              minute, second, time -> int32_t; long, timestamp, timespan -> int64_t; real ->
//              float; float, datetime -> double; guid -> Guid; symbol -> std::string. Units are q's
//              (KDB_IPC: days, ns, ... since 2000.01.01).
//   Invariants table columns and names match and columns have one length; dictionary keys and
//   values have one count;
//              depth() <= kDepthMax; no error inside another value; symbols and error texts hold no
//              NUL.
//   Breaking   factories cannot fail: one that would break an invariant returns the error value
//   that q would signal
//              (`length`, `type`, `limit`), and an error as an item makes the whole an error. Test
//              is_error() once, at the end.
//   Threads    a Value may be read by many threads; each thread copies or assigns its own objects.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "mserve/kdb/result.hpp"
#include "mserve/kdb/types.hpp"

namespace mserve::kdb {

class Value {
 public:
  /// The generic null `::`, also what a default-constructed Value is.
  Value() noexcept;
  [[nodiscard]] static Value null() noexcept { return {}; }

  // --- atoms ---
  [[nodiscard]] static Value boolean(bool value) noexcept;
  [[nodiscard]] static Value guid(const Guid& value) noexcept;
  [[nodiscard]] static Value byte(std::uint8_t value) noexcept;
  [[nodiscard]] static Value short_atom(std::int16_t value) noexcept;
  [[nodiscard]] static Value int_atom(std::int32_t value) noexcept;
  [[nodiscard]] static Value long_atom(std::int64_t value) noexcept;
  [[nodiscard]] static Value real(float value) noexcept;
  [[nodiscard]] static Value float_atom(double value) noexcept;
  [[nodiscard]] static Value char_atom(char value) noexcept;
  /// @param text  cut at its first NUL, which a symbol cannot hold.
  [[nodiscard]] static Value symbol(std::string_view text);
  [[nodiscard]] static Value timestamp(std::int64_t ns_since_2000) noexcept;
  [[nodiscard]] static Value month(std::int32_t months_since_2000) noexcept;
  [[nodiscard]] static Value date(std::int32_t days_since_2000) noexcept;
  [[nodiscard]] static Value datetime(double days_since_2000) noexcept;
  [[nodiscard]] static Value timespan(std::int64_t ns) noexcept;
  [[nodiscard]] static Value minute(std::int32_t minutes) noexcept;
  [[nodiscard]] static Value second(std::int32_t seconds) noexcept;
  [[nodiscard]] static Value time(std::int32_t ms) noexcept;

  // --- vectors: contiguous, taken over without a copy when moved in ---
  /// @param values  0 or 1 each; other bytes count as true but are kept.
  [[nodiscard]] static Value booleans(std::vector<std::uint8_t> values);
  [[nodiscard]] static Value guids(std::vector<Guid> values);
  [[nodiscard]] static Value bytes(std::vector<std::uint8_t> values);
  [[nodiscard]] static Value shorts(std::vector<std::int16_t> values);
  [[nodiscard]] static Value ints(std::vector<std::int32_t> values);
  [[nodiscard]] static Value longs(std::vector<std::int64_t> values);
  [[nodiscard]] static Value reals(std::vector<float> values);
  [[nodiscard]] static Value floats(std::vector<double> values);
  /// A q string; may hold any byte.
  [[nodiscard]] static Value chars(std::string text);
  /// Each text is cut at its first NUL.
  [[nodiscard]] static Value symbols(std::vector<std::string> values);
  [[nodiscard]] static Value timestamps(std::vector<std::int64_t> ns_since_2000);
  [[nodiscard]] static Value months(std::vector<std::int32_t> months_since_2000);
  [[nodiscard]] static Value dates(std::vector<std::int32_t> days_since_2000);
  [[nodiscard]] static Value datetimes(std::vector<double> days_since_2000);
  [[nodiscard]] static Value timespans(std::vector<std::int64_t> ns);
  [[nodiscard]] static Value minutes(std::vector<std::int32_t> minutes);
  [[nodiscard]] static Value seconds(std::vector<std::int32_t> seconds);
  [[nodiscard]] static Value times(std::vector<std::int32_t> ms);
  /// The empty vector of a type, or `()` for Type::list.
  [[nodiscard]] static Value empty(Type type);
  /// Atom or vector of any type whose storage is T (see the table above); the error `type` when T
  /// does not fit.
  template <class T>
  [[nodiscard]] static Value atom_of(Type type, T value);
  template <class T>
  [[nodiscard]] static Value vector_of(Type type, std::vector<T> values);

  // --- compounds ---
  /// A general list exactly as given: atoms of one type stay a general list (q would make a vector;
  /// see enlist_all()).
  [[nodiscard]] static Value list(std::vector<Value> items);
  /// What q's `(a;b;c)` makes: a vector when all items are atoms of one vector type, else a general
  /// list.
  [[nodiscard]] static Value enlist_all(std::vector<Value> items);
  /// keys!values. Counts must agree, or the result is the error `length`.
  [[nodiscard]] static Value dict(Value keys, Value values);
  /// As dict(), marked sorted (type 127); the caller knows that the keys are.
  [[nodiscard]] static Value sorted_dict(Value keys, Value values);
  /// @param names    one per column. @param columns  vectors, lists or tables of one length, or the
  /// error is `length` or `type`.
  [[nodiscard]] static Value table(std::vector<std::string> names, std::vector<Value> columns);
  /// A table from values as they are, attributes included: `names` a symbol vector, `columns` a
  /// general list, or a symbol atom (a splayed table's path). Errors `type` and `length` as above.
  [[nodiscard]] static Value table_from(const Value& names, const Value& columns);
  /// Keyed table: a dictionary from a table to a table.
  [[nodiscard]] static Value keyed_table(Value key_table, Value value_table) {
    return dict(std::move(key_table), std::move(value_table));
  }
  /// An error. @param text  without the leading quote; cut at its first NUL.
  [[nodiscard]] static Value error(std::string_view text);
  /// A function (types 100..111) as its encoded little-endian bytes, type byte included; kept and
  /// written as they are.
  /// @return the value, or why the bytes are not exactly one function object.
  [[nodiscard]] static Result<Value> function(std::span<const std::byte> object);

  /// The same value with another attribute; atoms, dictionaries, functions and errors have none and
  /// are returned as they are.
  [[nodiscard]] Value with_attribute(Attribute attribute) const;

  // --- what it is ---
  /// q's type number: negative for atoms, -128 for errors.
  [[nodiscard]] std::int8_t type_code() const noexcept { return code_; }
  /// The type without the sign of atoms.
  [[nodiscard]] Type type() const noexcept;
  [[nodiscard]] Attribute attribute() const noexcept { return attribute_; }
  [[nodiscard]] bool is_atom() const noexcept { return code_ < 0 && code_ != -128; }
  /// A vector of one type (strings included), not a general list.
  [[nodiscard]] bool is_vector() const noexcept { return code_ > 0 && code_ < 20; }
  [[nodiscard]] bool is_list() const noexcept { return code_ == 0; }
  [[nodiscard]] bool is_dict() const noexcept { return code_ == 99 || code_ == 127; }
  [[nodiscard]] bool is_table() const noexcept { return code_ == 98; }
  [[nodiscard]] bool is_keyed_table() const noexcept;
  /// A table that is only a path on the sender's disk (its columns are a symbol atom).
  [[nodiscard]] bool is_splayed() const noexcept;
  [[nodiscard]] bool is_function() const noexcept { return code_ >= 100 && code_ <= 111; }
  /// The generic null `::`.
  [[nodiscard]] bool is_null() const noexcept;
  [[nodiscard]] bool is_error() const noexcept { return code_ == -128; }
  [[nodiscard]] bool is_string() const noexcept { return code_ == 10; }
  /// q's count: items, rows or keys; 1 for atoms, functions and errors; 0 for a splayed table.
  [[nodiscard]] std::size_t count() const noexcept;
  /// Levels of nesting on the wire; see kDepthMax.
  [[nodiscard]] std::size_t depth() const noexcept { return depth_; }

  // --- typed access: never fails loudly, a wrong type gives nothing ---
  /// The atom's storage, or nullptr when this is not an atom stored as T. For symbols T is
  /// std::string.
  template <class T>
  [[nodiscard]] const T* as() const noexcept;
  /// The vector's storage, or an empty span when this is not a vector stored as T. Valid while any
  /// copy of this value lives.
  template <class T>
  [[nodiscard]] std::span<const T> items() const noexcept;
  /// Items of a general list; empty for everything else.
  [[nodiscard]] std::span<const Value> list_items() const noexcept;
  /// An integer-stored atom (boolean, byte, short, int, long or temporal) widened; nulls and
  /// infinities are passed as their numbers.
  [[nodiscard]] std::optional<std::int64_t> integer() const noexcept;
  /// Any numeric or temporal atom as a double; integer nulls become NaN, integer infinities become
  /// infinite.
  [[nodiscard]] std::optional<double> number() const noexcept;
  /// The text of a symbol atom, char atom, char vector or error.
  [[nodiscard]] std::optional<std::string_view> text_view() const noexcept;
  /// Encoded bytes of a function; empty for everything else.
  [[nodiscard]] std::span<const std::byte> function_bytes() const noexcept;
  /// Keys and values of a dictionary, also of a table's inner dictionary (names and list of
  /// columns); `::` otherwise.
  [[nodiscard]] const Value& keys() const noexcept;
  [[nodiscard]] const Value& values() const noexcept;
  /// Column names and columns of a table; empty for everything else, and no columns for a splayed
  /// table.
  [[nodiscard]] std::span<const std::string> names() const noexcept;
  [[nodiscard]] std::span<const Value> columns() const noexcept;
  /// The column of that name, looked up in a table or in both halves of a keyed table; nullptr when
  /// there is none.
  [[nodiscard]] const Value* column(std::string_view name) const noexcept;
  /// The value that a dictionary with symbol keys holds at `key` (first match); an empty optional
  /// when there is none.
  [[nodiscard]] std::optional<Value> find(std::string_view key) const;
  /// Item `index`: atom of a vector, item of a list, row of a table (as a dictionary), value of a
  /// dictionary, row of both halves joined for a keyed table; an atom or function gives itself.
  /// `::` when the index is past the end.
  [[nodiscard]] Value at(std::size_t index) const;

  /// Same type and same bits, item by item, as q's `~`: attributes are not compared and 127 equals
  /// 99; a NaN equals only a NaN of the same bits.
  friend bool operator==(const Value& a, const Value& b) noexcept;

 private:
  template <class T>
  using Shared = std::shared_ptr<const std::vector<T>>;
  using Storage =
      std::variant<std::uint8_t, char, std::int16_t, std::int32_t, std::int64_t, float, double,
                   Guid, std::string, Shared<std::uint8_t>, std::shared_ptr<const std::string>,
                   Shared<std::int16_t>, Shared<std::int32_t>, Shared<std::int64_t>, Shared<float>,
                   Shared<double>, Shared<Guid>, Shared<std::string>, Shared<Value>,
                   Shared<std::byte>>;

  Value(std::int8_t code, Storage storage, std::size_t depth = 1) noexcept
      : code_(code), depth_(static_cast<std::uint8_t>(depth)), storage_(std::move(storage)) {}

  static Value compound(std::int8_t code, std::vector<Value> parts, std::size_t extra_depth);
  static Value make_dict(std::int8_t code, Value keys, Value values);
  static bool same_storage(const Value& a, const Value& b) noexcept;
  std::span<const Value> parts() const noexcept;

  std::int8_t code_;
  Attribute attribute_ = Attribute::none;
  std::uint8_t depth_ = 1;
  Storage storage_;
};

template <class T>
const T* Value::as() const noexcept {
  return is_atom() ? std::get_if<T>(&storage_) : nullptr;
}

template <class T>
std::span<const T> Value::items() const noexcept {
  if (!is_vector()) {
    return {};
  }
  if constexpr (std::is_same_v<T, char>) {
    const auto* text = std::get_if<std::shared_ptr<const std::string>>(&storage_);
    return text != nullptr ? std::span<const char>(**text) : std::span<const char>{};
  } else {
    const auto* items = std::get_if<Shared<T>>(&storage_);
    return items != nullptr ? std::span<const T>(**items) : std::span<const T>{};
  }
}

}  // namespace mserve::kdb
