// SPDX-License-Identifier: Apache-2.0
#include "shim/request_check.hpp"

#include "mserve/kdb/skip.hpp"
#include "mserve/shm/frame.hpp"
#include "shim/type_codes.hpp"

namespace mserve::shim {

Checked check_request(Form form, std::uint8_t flags, std::span<const std::byte> payload) noexcept {
  if ((flags & shm::kFlagOpaque) != 0) {
    return {kRefusedOpaque, {}};
  }
  // In LBT's form the query lies one level deeper.
  const std::size_t depth_max = form == Form::lbt ? kdb::kDepthMax - 1 : kdb::kDepthMax;
  const kdb::Result<std::size_t> query_bytes = kdb::skip(payload, depth_max);
  if (!query_bytes) {
    return {refusal_of(query_bytes.error().code), {}};
  }
  if (payload[0] == kErrorByte) {
    return {kRefusedMalformed, {}};
  }
  if ((flags & shm::kFlagPair) == 0) {
    return *query_bytes == payload.size() ? Checked{nullptr, payload, *query_bytes}
                                          : Checked{kRefusedMalformed, {}};
  }
  const kdb::Result<std::int8_t> options = kdb::validate(payload.subspan(*query_bytes), depth_max);
  if (!options) {
    return {refusal_of(options.error().code), {}};
  }
  if (!is_dictionary(*options)) {
    return {kRefusedMalformed, {}};
  }
  return {nullptr, form == Form::lbt ? payload : payload.first(*query_bytes), *query_bytes};
}

}  // namespace mserve::shim
