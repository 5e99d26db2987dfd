// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include "run.hpp"

namespace mserve::bench {

/// What `mserve-bench failover` was asked for, checked.
struct FailoverSettings {
  double per_second = 2000;   ///< Requests of the client.
  std::uint32_t window = 64;  ///< That may be under way; at most what a link holds.
  std::string etcd_path;
  std::string broker_path;
  std::string servant_path;
};

/// Requests to a broker without servants, in a cluster with two peers that have two each, while one
/// of the peers is killed, and while it is stopped: how long what was there waits, and whether each
/// request is answered once. A request that is not is a failure of the run.
void run_failover(Run& run, const Plan& plan, const FailoverSettings& settings);

}  // namespace mserve::bench
