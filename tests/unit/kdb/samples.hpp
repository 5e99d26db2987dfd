// SPDX-License-Identifier: Apache-2.0
// Values of every kind for the tests of the kdb+ library, and a seeded generator of more.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "mserve/kdb/value.hpp"

namespace mserve::test {

using kdb::Type;
using kdb::Value;

/// $MSERVE_TEST_SEED, or the fallback; print it with replay_hint() in every assertion that depends
/// on it.
inline std::uint64_t test_seed(std::uint64_t fallback) {
  const char* text = std::getenv("MSERVE_TEST_SEED");
  return text != nullptr ? std::strtoull(text, nullptr, 10) : fallback;
}

inline std::string replay_hint(std::uint64_t seed, const char* filter) {
  return "replay: MSERVE_TEST_SEED=" + std::to_string(seed) +
         " mserve-test-kdb --gtest_filter=" + filter;
}

inline std::vector<std::byte> bytes_of(std::initializer_list<int> values) {
  std::vector<std::byte> bytes;
  for (const int value : values) {
    bytes.push_back(static_cast<std::byte>(value));
  }
  return bytes;
}

inline kdb::Guid sample_guid() {
  return {0x8c, 0x6b, 0x8b, 0x64, 0x68, 0x15, 0x60, 0x84,
          0x0a, 0x3e, 0x17, 0x84, 0x01, 0x25, 0x1b, 0x68};
}

template <class T>
std::vector<T> edge_numbers() {
  using Limits = std::numeric_limits<T>;
  if constexpr (std::is_floating_point_v<T>) {
    return {T{0},
            T{1.5},
            T{-2},
            -Limits::quiet_NaN(),
            Limits::infinity(),
            -Limits::infinity(),
            Limits::max(),
            T{1e-5F}};
  } else {
    return {T{0}, T{1}, T{-1}, Limits::min(), Limits::max(), static_cast<T>(-Limits::max()), T{42}};
  }
}

/// Atoms, empty, one-item and longer vectors of every type, with nulls and infinities.
inline std::vector<Value> flat_samples() {
  std::vector<Value> values{Value::null(),
                            Value::boolean(true),
                            Value::guid(sample_guid()),
                            Value::byte(0xff),
                            Value::char_atom('"'),
                            Value::symbol("IBM"),
                            Value::symbol(""),
                            Value::symbol("a b"),
                            Value::chars(""),
                            Value::chars("x"),
                            Value::chars("a\"\\\n\x01 z"),
                            Value::symbols({"a", "b", ""}),
                            Value::symbols({"one"}),
                            Value::symbols({"a b", "c", "!"}),
                            Value::bytes({0, 1, 255}),
                            Value::booleans({0, 1, 1}),
                            Value::guids({sample_guid(), kdb::Guid{}})};
  for (std::int8_t code = 0; code < 20; ++code) {
    if (code == 0 || kdb::is_vector_type(code)) {
      values.push_back(Value::empty(static_cast<Type>(code)));
    }
  }
  const auto add = [&values](Type type, const auto& items) {
    values.push_back(Value::vector_of(type, items));
    for (const auto& item : items) {
      values.push_back(Value::atom_of(type, item));
    }
    values.push_back(Value::vector_of(type, std::remove_cvref_t<decltype(items)>{items[0]}));
  };
  add(Type::short_int, edge_numbers<std::int16_t>());
  for (const Type type : {Type::int_, Type::minute, Type::second, Type::time}) {
    add(type, edge_numbers<std::int32_t>());
  }
  for (const Type type : {Type::date, Type::month}) {
    add(type,
        std::vector<std::int32_t>{0, 8825, -400, kdb::kNullInt, kdb::kInfInt, -kdb::kInfInt, 1});
  }
  for (const Type type : {Type::long_int, Type::timestamp, Type::timespan}) {
    add(type, edge_numbers<std::int64_t>());
  }
  add(Type::real, edge_numbers<float>());
  add(Type::float_, edge_numbers<double>());
  add(Type::datetime,
      std::vector<double>{0.0, 8825.5, -1.25, kdb::kNullFloat, kdb::kInfFloat, -kdb::kInfFloat});
  return values;
}

/// Lists, dictionaries, tables, keyed tables.
inline std::vector<Value> compound_samples() {
  const Value simple = Value::table({"a", "b"}, {Value::longs({1, 2}), Value::symbols({"x", "y"})});
  const Value key = Value::table({"k"}, {Value::symbols({"x", "y"})});
  return {
      Value::list({Value::long_atom(1), Value::symbol("a"), Value::char_atom('b')}),
      Value::list({Value::longs({1, 2})}),
      Value::list({Value::list({}), Value::list({Value::chars("ab"), Value::null()})}),
      Value::dict(Value::symbols({"a", "b"}), Value::longs({1, 2})),
      Value::dict(Value::symbols({"a"}), Value::longs({1})),
      Value::dict(Value::list({}), Value::list({})),
      Value::sorted_dict(Value::symbols({"a", "b"}).with_attribute(kdb::Attribute::sorted),
                         Value::ints({2, 3})),
      Value::dict(Value::longs({1, 2}), Value::list({Value::chars("xy"), Value::float_atom(2.5)})),
      simple,
      Value::table({"s"}, {Value::list({Value::chars("ab"), Value::chars("cde")})}),
      Value::table({"a", "b"}, {Value::empty(Type::long_int), Value::empty(Type::symbol)}),
      Value::keyed_table(key, simple),
      Value::dict(Value::symbols({"p", "q"}), simple),
      Value::longs({1, 2, 3}).with_attribute(kdb::Attribute::sorted),
      Value::list({simple, Value::dict(Value::symbols({"k"}), Value::list({simple}))}),
  };
}

inline std::vector<Value> all_samples() {
  std::vector<Value> values = flat_samples();
  const std::vector<Value> compounds = compound_samples();
  values.insert(values.end(), compounds.begin(), compounds.end());
  return values;
}

}  // namespace mserve::test
