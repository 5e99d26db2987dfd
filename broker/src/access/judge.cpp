// SPDX-License-Identifier: Apache-2.0
#include "access/judge.hpp"

#include "mserve/kdb/admit.hpp"
#include "mserve/kdb/codec.hpp"

namespace mserve::broker {

kdb::Result<Admitted, std::string> judge(std::span<const std::byte> query,
                                         std::span<const std::byte> options, const Role& role) {
  if (query.size() > kJudgedBytesMax || options.size() > kJudgedBytesMax - query.size()) {
    return std::string("limit");
  }
  const kdb::Result<kdb::Call, kdb::Value> call =
      kdb::admit(query, [&role](std::string_view name) { return role.lists(name); });
  if (!call) {
    return std::string(call.error().text_view().value_or("badmsg"));
  }
  Admitted admitted;
  admitted.payload = kdb::encode_call(call->name, call->arguments);
  admitted.query_bytes = admitted.payload.size();
  if (!options.empty()) {
    const kdb::Result<kdb::Value> value = kdb::decode(options);
    if (!value || kdb::holds_function(*value)) {
      return std::string(value ? "nested evaluation" : "badmsg");
    }
    const std::vector<std::byte> bytes = kdb::encode(*value);
    admitted.payload.insert(admitted.payload.end(), bytes.begin(), bytes.end());
  }
  return admitted;
}

}  // namespace mserve::broker
