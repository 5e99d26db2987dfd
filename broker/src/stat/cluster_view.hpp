// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "mserve/kdb/value.hpp"
#include "mserve/shm/errc.hpp"
#include "stat/control_call.hpp"

namespace mserve::stat {

/// What mserve-cluster has written of a broker.
struct ClusterView {
  std::string json{};                ///< All of it, one line.
  std::vector<std::string> lines{};  ///< The broker itself, etcd, the document.
  kdb::Value peers{};                ///< A table, a row for each peer.
  std::string warning{};             ///< Not empty: it is old, or stale.
};

/// Reads DIR/NAME.cluster.json.
/// @param now  ns since 1970.
/// @param reason  one sentence that says what to do, when there is none.
/// @return `no_broker` (no such file: the broker is in no cluster), `access`, `unsafe_directory`,
///         `protocol` (the file is none of mserve-cluster's), `invalid` (name), `os`.
[[nodiscard]] Result<ClusterView> read_cluster(const BrokerName& broker, std::int64_t now,
                                               std::string& reason);

/// The same of a text that was read.
[[nodiscard]] Result<ClusterView> view_cluster(const std::string& text, std::int64_t now,
                                               std::string& reason);

}  // namespace mserve::stat
