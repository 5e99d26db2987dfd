// SPDX-License-Identifier: Apache-2.0
#include "cluster_side.hpp"

#include <chrono>
#include <utility>

#include "broker_counters.hpp"
#include "kdb_peer.hpp"
#include "processes.hpp"
#include "waiting.hpp"

namespace mserve::bench {

std::vector<std::string> gateway_options(std::uint16_t port, int core) {
  return {"-p", std::to_string(port), "--control-cores", std::to_string(core)};
}

std::vector<std::string> options_of(const MemberOptions& member) {
  // No delay at the end: nobody asks any more. What shares a busy core must not lose its lease, and
  // leases are not what is measured.
  return {"--cluster",     member.etcd_url,
          "--cluster-id",  member.id,
          "--advertise",   "127.0.0.1:" + std::to_string(member.port),
          "--zone",        "bench",
          "--region",      "bench",
          "--cluster-ttl", "20s",
          "--drain-delay", "0"};
}

void wait_for_servants(const OwnBroker& broker, std::uint64_t servants) {
  const BrokerCounters counters(broker.trip_options(0));
  wait_for(
      std::chrono::minutes(1), [&] { return counters.value("servants") == servants; },
      [&] {
        return "a broker of the cluster has " + std::to_string(counters.value("servants")) +
               " servants and links instead of " + std::to_string(servants) + "; it said:\n" +
               broker.said();
      });
}

ClusterSide::ClusterSide(const std::string& etcd_path, const std::string& broker_path, int core)
    : core_(core), etcd_(etcd_path) {
  const std::uint16_t port = free_port();
  std::vector<std::string> options = options_of({etcd_.url(), "peer", port});
  options.insert(options.end(), {"-p", std::to_string(port), "--servant-args", "--rows 0", "1",
                                 find_tool("mserve-servant")});
  peer_ =
      std::make_unique<OwnBroker>(broker_path, shm::IdleStrategy::automatic, std::nullopt, options);
}

std::vector<std::string> ClusterSide::options_of_measured() const {
  const std::uint16_t port = free_port();
  std::vector<std::string> options = options_of({etcd_.url(), "measured", port});
  for (std::string& option : gateway_options(port, core_)) {
    options.push_back(std::move(option));
  }
  return options;
}

void ClusterSide::wait_for_link_back() const {
  wait_for_servants(*peer_, 2);
  keep_on(etcd_.pid(), core_);
  keep_on(peer_->pid(), core_);
  for (const Process& process : descendants_of(peer_->pid())) {
    keep_on(process.pid, core_);
  }
}

}  // namespace mserve::bench
