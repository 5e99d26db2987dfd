// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cluster/cluster_options.hpp"
#include "core_list.hpp"
#include "data/request_stamps.hpp"
#include "dispatch/types.hpp"
#include "gateway/gateway_options.hpp"
#include "mserve/kdb/route.hpp"
#include "mserve/shm/clock.hpp"
#include "mserve/shm/idle.hpp"
#include "placement/rule.hpp"
#include "plugin/plugin_file.hpp"

namespace mserve::broker {

/// Largest ring of a servant: its frames, a quarter of it, must fit PayloadStore::kBlockBytesMax.
inline constexpr std::uint32_t kServantRingMax = 4U << 20;

/// Where one launched servant runs.
struct ServantCores {
  CoreList cores;  ///< Of its program, or of its q process.
  CoreList shim;   ///< Of the q process's shim; empty: `cores`.
};

/// Everything a user can set. Names are those of the flags; bytes are bytes, times nanoseconds.
struct BrokerOptions {
  std::string name = "default";
  std::string directory;   ///< Empty: the rule of shm/directory.hpp.
  int core = -1;           ///< Core of the data thread; -1: not pinned.
  CoreList control_cores;  ///< Of all other threads; empty: wherever the process may run.
  std::vector<ServantCores> servant_cores;  ///< By launched servant; else off pinned_cores().
  shm::IdleStrategy idle = shm::IdleStrategy::automatic;
  shm::ClockSource clock = shm::ClockSource::automatic;  ///< Of the data thread.

  Policy policy = Policy::match;
  std::string policy_plugin_file;  ///< Empty: there is no Policy::plugin.
  kdb::RouteRule route;            ///< Told to each peer when it attaches.
  std::string route_plugin_file;   ///< Not empty: it takes the place of `route`.
  Plugins plugins;                 ///< Of these two files, once load_plugins() was called.
  std::vector<Rule> placement;     ///< Which requests go to which servants.
  bool of_cluster = false;         ///< They are those of a document for all brokers of one.
  bool rules_may_come = false;     ///< There is a configuration file, which may bring some later.
  bool sticky = false;             ///< What one connection asks stays on one servant.
  Nanos match_wait = 0;
  Nanos route_expire = 12'000'000'000;
  Nanos spill_after = 100'000'000;
  std::uint32_t routes_per_servant = 1;
  std::uint32_t retries = 1;       ///< For requests that may be repeated.
  Nanos queue_timeout = kForever;  ///< The most; a request may ask for less.
  Nanos timeout = kForever;        ///< The same for running.
  /// Servants are told of requests that they run and nobody waits for any more.
  bool interrupt = false;

  std::uint32_t max_sessions = 1024;
  std::uint32_t max_queue = 65536;     ///< Requests queued or running.
  std::uint32_t max_queue_client = 0;  ///< The same for each client or connection; 0: no limit.
  std::uint64_t max_queue_bytes = 64ULL << 20;  ///< Payloads waiting in the broker.
  /// Answers kept for one client that does not read; for all together four times as much.
  std::uint64_t max_pending_bytes = 16ULL << 20;
  std::uint64_t max_message = 1ULL << 30;       ///< Largest message, either way.
  std::uint64_t max_shared_bytes = 1ULL << 30;  ///< All segments together.
  std::uint32_t max_connections = 16384;        ///< kdb+ connections of the gateway.
  std::uint32_t client_ring = 64U << 10;
  std::uint32_t servant_ring = 1U << 20;
  std::uint32_t gateway_ring = 4U << 20;
  std::uint32_t gather_max = 256U << 10;
  std::uint32_t retain_max = 256U << 10;
  Nanos stall_timeout = 1'000'000'000;
  Nanos drain_timeout = 10'000'000'000;
  Nanos cool = 100'000'000;  ///< Without a frame for this long a session turns cold.
  bool lock_memory = false;
  bool sandbox = false;                    ///< After the start, see sandbox.hpp.
  std::vector<std::uint32_t> allow_users;  ///< uids beside root and the broker's own.
  std::vector<std::string> allow_groups;   ///< Whose members may, by name or number.
  std::string socket_group;  ///< Its members can reach directory, socket and counters.

  GatewayOptions gateway;  ///< kdb+ clients over TCP and Unix sockets.

  cluster::ClusterOptions cluster;  ///< Other brokers; its process is launched as servants are.

  std::uint32_t servant_count = 0;  ///< Servants to launch.
  std::uint32_t reserve = 0;  ///< Of these, how many are started only for spikes: the last ones.
  Nanos reserve_after = 1'000'000'000;  ///< Once the oldest queued request has waited that long.
  Nanos reserve_idle = 60'000'000'000;  ///< They are stopped after that long without a request.
  std::string servant_command;
  std::vector<std::string> servant_args;
  std::vector<std::string> q_args;  ///< For q, where the command is a q script.
  std::vector<std::string> hosts;   ///< Where a q script runs, in turn; empty: here.
  /// What starts q on one of them, with {host}, {port}, {script} and {command} in it.
  std::string launch = "ssh -tt -o BatchMode=yes {host} {command}";
  int ready_fd = -1;  ///< Gets "ready\n" once all launched servants are attached.
  std::string log_level = "info";
  bool log_json = false;  ///< The log of this process and of what it launches.
  Nanos slow = kForever;  ///< Requests that took this long are logged; kForever: none.
  std::string trace;      ///< File that gets the stamps of each `trace_every`th; empty: none.
  std::uint32_t trace_every = 1000;
  std::uint64_t trace_max = 1ULL << 30;  ///< No more than this is written to it.

  /// Whether what is launched are q processes that load a script.
  [[nodiscard]] bool launches_q() const noexcept {
    return servant_command.size() > 2 && servant_command.ends_with(".q");
  }
  /// Cores of the threads that are pinned to one each.
  [[nodiscard]] CoreList pinned_cores() const;
  /// Whether there will be links to other brokers.
  [[nodiscard]] bool links_come() const noexcept { return cluster.enabled() || of_cluster; }
  /// Whether there are rules of placement, or may be some later.
  [[nodiscard]] bool places() const noexcept { return !placement.empty() || rules_may_come; }
  /// Classes that the Dispatcher has room for: without rules one, and its twin; see ClassTable.
  [[nodiscard]] std::uint32_t classes_max() const noexcept { return places() ? kClassesMax : 2; }
  [[nodiscard]] Options dispatch() const noexcept {
    return {policy, match_wait, route_expire, spill_after};
  }
  /// As in Limits.
  [[nodiscard]] std::uint32_t origin_requests_max() const noexcept {
    return max_queue_client != 0 ? max_queue_client : kNone;
  }
  [[nodiscard]] StampTerms stamps() const noexcept {
    return {slow, trace.empty() ? 0 : trace_every};
  }
  /// Every fault of these options, one line each; empty when there is none.
  [[nodiscard]] std::vector<std::string> validate() const;
  /// The same of those that may change while the broker runs, and the others play no part in.
  void validate_changeable(std::vector<std::string>& faults) const;
  /// Loads the plugins, of valid options. Adds every fault to `faults`. Before any thread.
  void load_plugins(std::vector<std::string>& faults);
};

}  // namespace mserve::broker
