// SPDX-License-Identifier: Apache-2.0
// `mserve-stat ctl cluster`: the document of a cluster, for whoever operates it.
#pragma once

#include <cstdint>
#include <string>

#include "stat/cluster_call.hpp"
#include "stat/commands.hpp"

namespace CLI {  // NOLINT(readability-identifier-naming): not ours
class App;
}  // namespace CLI

namespace mserve::stat {

/// Adds the subcommand to `ctl`. @param settings  gets what is given; it outlives `ctl`.
void describe_cluster_order(CLI::App& ctl, Settings& settings);

/// Does it, prints, and tells faults on stderr.
[[nodiscard]] ExitCode run_cluster_order(const Settings& settings);

}  // namespace mserve::stat
