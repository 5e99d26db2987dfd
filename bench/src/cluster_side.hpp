// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "own_broker.hpp"
#include "own_etcd.hpp"

namespace mserve::bench {

/// Further options of a broker whose data thread is pinned: a gateway, and all threads but that one
/// stay on this core, and so does what the broker starts.
[[nodiscard]] std::vector<std::string> gateway_options(std::uint16_t port, int core);

/// Where the gateway of a broker of ours in a cluster listens, and what the cluster calls it.
struct MemberOptions {
  std::string etcd_url;
  std::string id;
  std::uint16_t port = 0;
};
/// Further options of mserve-broker, beside its gateway's. All members are in one zone.
[[nodiscard]] std::vector<std::string> options_of(const MemberOptions& member);

/// Waits until that broker has exactly so many servants, links included; returns early when
/// interrupted(). Throws std::runtime_error with what it said when it takes longer than a minute.
void wait_for_servants(const OwnBroker& broker, std::uint64_t servants);

/// The cluster around a broker that is measured: an etcd and a peer with one servant.
class ClusterSide {
 public:
  /// Starts both. @param core  where all of it is while something is measured.
  ClusterSide(const std::string& etcd_path, const std::string& broker_path, int core);

  /// What makes the broker that is measured a member, gateway_options() for that core included.
  [[nodiscard]] std::vector<std::string> options_of_measured() const;

  /// Waits until the measured broker has a link to the peer, its only servant so far.
  static void wait_for_link(const OwnBroker& measured) { wait_for_servants(measured, 1); }
  /// Waits until the peer has a link back, which it gets once the measured broker has a servant.
  /// From then on etcd and peer are on their core: a busy one would make them slow to begin.
  void wait_for_link_back() const;

 private:
  int core_;
  OwnEtcd etcd_;
  std::unique_ptr<OwnBroker> peer_;
};

}  // namespace mserve::bench
