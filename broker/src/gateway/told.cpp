// SPDX-License-Identifier: Apache-2.0
#include "gateway/told.hpp"

#include <optional>

#include "access/users.hpp"
#include "mserve/kdb/types.hpp"

namespace mserve::broker {

namespace {

/// The text of a symbol atom; null when it is something else.
const std::string* symbol_in(const std::optional<kdb::Value>& value) noexcept {
  return value && value->type() == kdb::Type::symbol ? value->as<std::string>() : nullptr;
}

}  // namespace

bool tells_hop(const kdb::Value& options) {
  const std::optional<kdb::Value> hop = options.find("hop");
  if (!hop) {
    return false;
  }
  const std::int8_t type = hop->type_code();
  const bool whole =
      type <= -static_cast<int>(kdb::Type::byte) && type >= -static_cast<int>(kdb::Type::long_int);
  return whole && hop->integer().value_or(0) > 0;  // nulls are the smallest numbers
}

ToldCaller told_caller(const kdb::Value& options) {
  const std::optional<kdb::Value> user = options.find("user");
  const std::optional<kdb::Value> role = options.find("role");
  ToldCaller caller;
  if (!user && !role) {
    return caller;
  }
  const std::string* const user_name = symbol_in(user);
  const std::string* const role_name = symbol_in(role);
  if (user_name == nullptr || role_name == nullptr) {
    caller.fault = "user and role: symbols, both of them";
  } else if (user_name->size() > Users::kNameBytesMax || role_name->size() > Users::kNameBytesMax) {
    caller.fault = "limit";
  } else {
    caller = {true, *user_name, *role_name, {}};
  }
  return caller;
}

}  // namespace mserve::broker
