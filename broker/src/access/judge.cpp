// SPDX-License-Identifier: Apache-2.0
#include "access/judge.hpp"

#include "mserve/kdb/admit.hpp"
#include "mserve/kdb/codec.hpp"

namespace mserve::broker {

namespace {

constexpr std::string_view kUser = "user";
constexpr std::string_view kRole = "role";

/// The client's options, but for what it says of itself there, and who it is. Options whose keys
/// are no symbols are forgotten, as LBT forgets them: a name could hide in them. So are values that
/// are a table or a dictionary: taking a row of it for each key could take any amount of memory.
kdb::Value with_caller(const kdb::Value& options, const Caller& caller) {
  std::vector<std::string> names;
  std::vector<kdb::Value> values;
  if (options.is_dict() && (options.values().is_vector() || options.values().is_list())) {
    const kdb::Value& keys = options.keys();
    const std::span<const std::string> symbols = keys.items<std::string>();
    for (std::size_t i = 0; i < symbols.size(); ++i) {
      if (symbols[i] != kUser && symbols[i] != kRole) {
        names.push_back(symbols[i]);
        values.push_back(options.values().at(i));
      }
    }
  }
  names.emplace_back(kUser);
  names.emplace_back(kRole);
  values.push_back(kdb::Value::symbol(caller.user));
  values.push_back(kdb::Value::symbol(caller.role.name));
  return kdb::Value::dict(kdb::Value::symbols(std::move(names)),
                          kdb::Value::list(std::move(values)));
}

/// @return the error's text; empty: `admitted` has the query.
std::string take_query(std::span<const std::byte> query, const Role& role, Admitted& admitted) {
  if (role.unrestricted) {
    admitted.payload.assign(query.begin(), query.end());
    return {};
  }
  const kdb::Result<kdb::Call, kdb::Value> call =
      kdb::admit(query, [&role](std::string_view name) { return role.lists(name); });
  if (!call) {
    return std::string(call.error().text_view().value_or("badmsg"));
  }
  admitted.payload = kdb::encode_call(call->name, call->arguments);
  return {};
}

}  // namespace

kdb::Result<Admitted, std::string> judge(std::span<const std::byte> query,
                                         std::span<const std::byte> options, const Caller& caller) {
  const std::size_t looked_at = options.size() + (caller.role.unrestricted ? 0 : query.size());
  if (looked_at > kJudgedBytesMax || options.size() > kOptionsBytesMax) {
    return std::string("limit");
  }
  Admitted admitted;
  if (std::string refused = take_query(query, caller.role, admitted); !refused.empty()) {
    return refused;
  }
  admitted.query_bytes = admitted.payload.size();
  kdb::Value given;
  if (!options.empty()) {
    kdb::Result<kdb::Value> value = kdb::decode(options);
    if (!value || (!caller.role.unrestricted && kdb::holds_function(*value))) {
      return std::string(value ? "nested evaluation" : "badmsg");
    }
    given = std::move(value).value();
  }
  const kdb::Value said = with_caller(given, caller);
  if (said.is_error()) {
    return std::string("limit");  // nested too deeply
  }
  const std::vector<std::byte> bytes = kdb::encode(said);
  admitted.payload.insert(admitted.payload.end(), bytes.begin(), bytes.end());
  return admitted;
}

}  // namespace mserve::broker
