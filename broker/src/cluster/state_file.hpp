// SPDX-License-Identifier: Apache-2.0
// DIR/NAME.cluster.json: what mserve-cluster knows, for people and for `mserve-stat cluster`.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "cluster/broker_record.hpp"
#include "cluster/cluster_options.hpp"
#include "cluster/links.hpp"
#include "cluster/membership.hpp"
#include "cluster/peer_table.hpp"
#include "cluster/shared_document.hpp"

namespace mserve::cluster {

/// All that is told. What it refers to is read while state_json() runs.
struct StateParts {
  const ClusterOptions& options;
  const std::string& broker;  ///< Its --name.
  const BrokerRecord& own;
  bool published = false;  ///< The own key stands in etcd, or is about to, unless it is contested.
  const DocumentWatch& document;
  const EtcdStatus& etcd;
  const PeerTable& table;
  std::function<LinkView(const std::string& id)> link{};
  std::int64_t written_at = 0;  ///< ns since 1970, as all times in it.
};

/// One line: a JSON object.
[[nodiscard]] std::string state_json(const StateParts& parts);

[[nodiscard]] std::string state_path(const std::string& directory, const std::string& broker);

/// Replaces the file as a whole: whoever reads sees the old or the new one. Its mode is 0600, or
/// 0640 for the group that can reach the broker's socket.
/// @return 0, or errno.
[[nodiscard]] int write_state(const std::string& directory, const std::string& broker,
                              const std::string& text);

}  // namespace mserve::cluster
