// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "pin/machine_files.hpp"

namespace mserve::pin {

/// A physical core.
struct PhysicalCore {
  CoreList threads;  ///< Its SMT threads, as the kernel counts cores; at least one.
  int l3 = 0;        ///< Cores with the same number share their last cache.
  int node = 0;      ///< NUMA node, as the kernel counts them.
  int package = 0;
};

/// What a machine looks like, as far as a plan needs it.
struct Topology {
  std::vector<PhysicalCore> cores;  ///< By their lowest thread.

  [[nodiscard]] CoreList threads() const;
  /// "2 packages, 2 NUMA nodes, 16 cores, 32 threads".
  [[nodiscard]] std::string to_text() const;
};

/// Asks hwloc.
/// @param xml    a file that `lstopo --of xml` wrote; empty: this machine, as far as this process's
///               control group lets it be used.
/// @param fault  why there is none.
[[nodiscard]] std::optional<Topology> read_topology(const std::string& xml, std::string& fault);

}  // namespace mserve::pin
