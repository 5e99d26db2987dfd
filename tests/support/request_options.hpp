// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "mserve/kdb/value.hpp"

namespace mserve::test {

/// The options of a request: a dictionary of symbols and what each is set to; as many of both.
inline kdb::Value options(std::vector<std::string> keys, std::vector<kdb::Value> values) {
  return kdb::Value::dict(kdb::Value::symbols(std::move(keys)),
                          kdb::Value::list(std::move(values)));
}

}  // namespace mserve::test
