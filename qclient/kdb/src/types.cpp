// SPDX-License-Identifier: Apache-2.0
#include "mserve/kdb/types.hpp"

namespace mserve::kdb {

namespace {

struct TypeFacts {
  std::string_view name;
  char letter;
  std::uint8_t item_bytes;
};

// Indexed by q's type number; type 3 does not exist.
constexpr TypeFacts kFacts[] = {
    {"", ' ', 0},          {"boolean", 'b', 1}, {"guid", 'g', 16},  {"", ' ', 0},
    {"byte", 'x', 1},      {"short", 'h', 2},   {"int", 'i', 4},    {"long", 'j', 8},
    {"real", 'e', 4},      {"float", 'f', 8},   {"char", 'c', 1},   {"symbol", 's', 0},
    {"timestamp", 'p', 8}, {"month", 'm', 4},   {"date", 'd', 4},   {"datetime", 'z', 8},
    {"timespan", 'n', 8},  {"minute", 'u', 4},  {"second", 'v', 4}, {"time", 't', 4},
};

const TypeFacts& facts(Type type) noexcept {
  const auto code = static_cast<std::int8_t>(type);
  return is_vector_type(code) ? kFacts[code] : kFacts[0];
}

}  // namespace

bool is_vector_type(std::int8_t code) noexcept {
  return code > 0 && code < 20 && code != 3;
}

std::string_view type_name(Type type) noexcept {
  return facts(type).name;
}

char type_letter(Type type) noexcept {
  return facts(type).letter;
}

std::size_t item_bytes(Type type) noexcept {
  return facts(type).item_bytes;
}

}  // namespace mserve::kdb
