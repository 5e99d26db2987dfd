// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cluster/cluster_options.hpp"

namespace CLI {  // NOLINT(readability-identifier-naming): not ours
class App;
}  // namespace CLI

namespace mserve::broker {

/// The options of several hosts, which mserve-broker and mserve-cluster share.
void add_cluster(CLI::App& app, cluster::ClusterOptions& o);

}  // namespace mserve::broker
