// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "cluster/cluster_options.hpp"
#include "cluster/links.hpp"
#include "stat/control_call.hpp"

namespace mserve::cluster {

class TlsContext;

struct ClusterSetup {
  ClusterOptions options{};   ///< Valid and complete.
  stat::BrokerName broker{};  ///< The local one; its directory is given.
  LinkSetup links{};
  std::string version{};
  std::string password{};             ///< Of options.user.
  std::shared_ptr<TlsContext> tls{};  ///< Null where no endpoint is https://.
};

/// Keeps one broker in its cluster: its key in etcd, a link to each peer, the state file. Returns
/// after SIGTERM or SIGINT, once the own key is taken away and the links have been told to end;
/// what they run they finish by themselves.
void run_cluster(const ClusterSetup& setup);

}  // namespace mserve::cluster
