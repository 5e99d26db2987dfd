// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include "run.hpp"

namespace mserve::bench {

/// What `mserve-bench idle-clients` was asked for, checked.
struct IdleClientsSettings {
  std::uint32_t clients = 1000;     ///< Attached in the end, the busy one included.
  std::uint32_t ring_bytes = 4096;  ///< Of each client, each way.
  std::size_t payload_bytes = 40;
  CorePair cores;
  std::string broker_path;
};

/// Round trips with one attached client, then with many that are silent; then the first message of
/// each silent one. Raises RLIMIT_NOFILE as far as it is allowed.
void run_idle_clients(Run& run, const Plan& plan, const IdleClientsSettings& settings);

}  // namespace mserve::bench
