// SPDX-License-Identifier: Apache-2.0
// What requests and answers of these tests carry.
#pragma once

#include <string>
#include <string_view>

#include "support/test_gateway.hpp"

namespace mserve::test {

/// A query in text, encoded.
inline Bytes encoded_text(std::string_view query) {
  return kdb::encode(kdb::Value::chars(std::string(query)));
}

/// A result and its info, encoded one behind the other.
inline Bytes pair_of(const kdb::Value& result, const kdb::Value& info = lbt_info()) {
  Bytes bytes = kdb::encode(result);
  const Bytes behind = kdb::encode(info);
  bytes.insert(bytes.end(), behind.begin(), behind.end());
  return bytes;
}

}  // namespace mserve::test
