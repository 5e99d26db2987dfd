// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "options.hpp"

namespace CLI {  // NOLINT(readability-identifier-naming): not ours
class App;
}  // namespace CLI

namespace mserve::broker {

/// The options of several hosts, which mserve-broker and mserve-cluster share.
void add_cluster(CLI::App& app, cluster::ClusterOptions& o);

/// Once all is known: what follows from the other options of the broker, where nothing was given.
void complete_cluster(CLI::App& app, BrokerOptions& all);

}  // namespace mserve::broker
