// SPDX-License-Identifier: Apache-2.0
// Which C++ type stores the items of which q type; the one place that knows.
#pragma once

#include <cstdint>
#include <string>
#include <type_traits>
#include <utility>

#include "mserve/kdb/types.hpp"

namespace mserve::kdb::detail {

/// Calls `use(std::type_identity<T>())` with the storage type of a vector type's items, or returns
/// `otherwise`.
template <class R, class Use>
R with_storage(Type type, R otherwise, Use&& use) {
  switch (type) {
    case Type::boolean:
    case Type::byte:
      return use(std::type_identity<std::uint8_t>());
    case Type::guid:
      return use(std::type_identity<Guid>());
    case Type::short_int:
      return use(std::type_identity<std::int16_t>());
    case Type::int_:
    case Type::month:
    case Type::date:
    case Type::minute:
    case Type::second:
    case Type::time:
      return use(std::type_identity<std::int32_t>());
    case Type::long_int:
    case Type::timestamp:
    case Type::timespan:
      return use(std::type_identity<std::int64_t>());
    case Type::real:
      return use(std::type_identity<float>());
    case Type::float_:
    case Type::datetime:
      return use(std::type_identity<double>());
    case Type::character:
      return use(std::type_identity<char>());
    case Type::symbol:
      return use(std::type_identity<std::string>());
    default:
      return otherwise;
  }
}

/// Whether items of that q type are stored as T.
template <class T>
bool stored_as(Type type) noexcept {
  return with_storage(type, false,
                      []<class U>(std::type_identity<U>) { return std::is_same_v<T, U>; });
}

}  // namespace mserve::kdb::detail
