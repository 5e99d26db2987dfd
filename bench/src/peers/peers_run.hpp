// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "cores.hpp"
#include "peers/peer.hpp"
#include "run.hpp"

namespace mserve::bench {

/// What the user asked for, checked.
struct PeersSettings {
  Plan plan;  ///< Shared out over all sections.
  CorePair cores;
  std::size_t payload_bytes = 40;
  std::vector<PeerMode> modes;
  std::vector<PeerKind> kinds;  ///< mserve first, then the peers that were asked for.
  bool tune = false;            ///< Try each setting first and take the best.
};

/// For each mode a section with round trips (floor, mserve, each peer) and one with throughput;
/// with `tune` before them one with what was tried. A peer that fails is a failure of the run, and
/// the others go on. Returns early when interrupted().
void run_peers(Run& run, const PeersSettings& settings);

}  // namespace mserve::bench
