// SPDX-License-Identifier: Apache-2.0
#include "options.hpp"

#include <algorithm>
#include <bit>
#include <cstdlib>

#include "access/ring_access.hpp"
#include "control/servant_tags.hpp"
#include "mserve/shm/directory.hpp"
#include "mserve/shm/layout.hpp"
#include "option_values.hpp"
#include "placement/class_table.hpp"

namespace mserve::broker {

namespace {

bool ring_size_ok(std::uint32_t bytes, std::uint32_t max) {
  return std::has_single_bit(bytes) && bytes >= shm::kRingBytesMin && bytes <= max;
}

/// Isolated ones too, which the mask that init gives leaves out.
const CoreList& usable_cores() {
  static const CoreList kCores = possible_cores();
  return kCores;
}

bool usable(const CoreList& cores) {
  return minus(cores, usable_cores()).empty();
}

void validate_cores(const BrokerOptions& o, std::vector<std::string>& faults) {
  const std::string not_ours =
      ": not a core that this process may use (" + cores_text(usable_cores()) + "; see its cpuset)";
  const auto check = [&faults](bool ok, const std::string& fault) {
    if (!ok) {
      faults.push_back(fault);
    }
  };
  check(o.core == -1 || (o.core >= 0 && usable({o.core})), "--core" + not_ours);
  check(o.control_cores.empty() || o.core >= 0,
        "--control-cores: only with --core, which is to be kept clear of them");
  check(usable(o.control_cores), "--control-cores" + not_ours);
  check(!contains(o.control_cores, o.core),
        "--control-cores: core " + std::to_string(o.core) + " is the data thread's (--core)");
  const int gateway = o.gateway.core;
  check(gateway == -1 || (gateway >= 0 && usable({gateway})), "--gateway-core" + not_ours);
  check(gateway == -1 || gateway != o.core,
        "--gateway-core: core " + std::to_string(o.core) + " is the data thread's (--core)");
  check(gateway == -1 || o.gateway.thread != GatewayThread::data,
        "--gateway-core: not with --gateway-thread data, which has no thread of its own");
  check(o.servant_cores.empty() || o.servant_cores.size() >= o.servant_count,
        "--servant-cores: names cores for " + std::to_string(o.servant_cores.size()) + " of " +
            std::to_string(o.servant_count) + " servants");
  for (std::size_t i = 0; i < o.servant_cores.size(); ++i) {
    const ServantCores& one = o.servant_cores[i];
    const CoreList all = joined(one.cores, one.shim);
    const std::string who = "--servant-cores: servant " + std::to_string(i + 1);
    check(usable(all), who + not_ours);
    check(!contains(all, o.core),
          who + ": core " + std::to_string(o.core) + " is the data thread's (--core)");
    check(one.shim.empty() || o.launches_q() || o.servant_count == 0,
          who + ": only q processes have a shim, whose core stands behind a slash");
  }
}

}  // namespace

void BrokerOptions::validate_changeable(std::vector<std::string>& faults) const {
  const auto check = [&faults](bool ok, const std::string& fault) {
    if (!ok) {
      faults.push_back(fault);
    }
  };
  check(placement.size() <= kRulesMax, "--rule: at most 64 rules");
  ClassTable table(kClassesMax);
  std::string fault;
  if ((links_come() && !table.meet(kLinkTag, fault)) || !table.apply(placement, fault)) {
    faults.push_back("--rule: " + fault);
  }
  check(queue_timeout > 0 && timeout > 0, "--queue-timeout, --timeout: above 0; inf: no limit");
  check(retries <= 255, "--retries: 0 to 255, not " + std::to_string(retries));
}

std::vector<std::string> BrokerOptions::validate() const {
  std::vector<std::string> faults;
  const auto check = [&faults](bool ok, const std::string& fault) {
    if (!ok) {
      faults.push_back(fault);
    }
  };
  check(shm::valid_broker_name(name),
        "--name: 1 to 64 of A-Z a-z 0-9 . _ -, not starting with a dot");
  validate_changeable(faults);
  validate_cores(*this, faults);
  check(ring_size_ok(servant_ring, kServantRingMax),
        "--servant-ring: a power of two from 4k to 4m, not " + shown_size(servant_ring));
  check(ring_size_ok(client_ring, servant_ring),
        "--client-ring: a power of two from 4k to --servant-ring (" + shown_size(servant_ring) +
            "), not " + shown_size(client_ring));
  const std::string quarter =
      ": at most a quarter of --servant-ring (" + shown_size(servant_ring / 4) + "), not ";
  check(gather_max <= servant_ring / 4, "--gather-max" + quarter + shown_size(gather_max));
  check(retain_max <= servant_ring / 4, "--retain-max" + quarter + shown_size(retain_max));
  check(max_sessions >= 2 && max_sessions <= 16384,
        "--max-sessions: 2 to 16384, not " + std::to_string(max_sessions));
  check(max_queue >= 1 && max_queue <= 1U << 24,
        "--max-queue: 1 to 16777216, not " + std::to_string(max_queue));
  check(policy != Policy::plugin || !policy_plugin_file.empty(),
        "--policy plugin: give its file with --policy-plugin");
  check(route_plugin_file.empty() || gateway.enabled,
        "--route-plugin: only with -p, whose clients' requests it routes");
  check(routes_per_servant >= 1 && routes_per_servant <= kRoutesPerServantMax,
        "--routes-per-servant: 1 to 64, not " + std::to_string(routes_per_servant));
  check(max_queue_bytes >= 1U << 20 && max_queue_bytes <= 1ULL << 40,
        "--max-queue-bytes: 1m to 1024g, not " + shown_size(max_queue_bytes));
  check(max_pending_bytes >= 1U << 20 && max_pending_bytes <= 1ULL << 40,
        "--max-pending-bytes: 1m to 1024g, not " + shown_size(max_pending_bytes));
  check(max_message >= 1 && max_message <= 1ULL << 40,
        "--max-message: 1 to 1024g, not " + shown_size(max_message));
  check(servant_count == 0 || !servant_command.empty(),
        "a number of servants needs the command that starts one");
  check(reserve <= servant_count, "--reserve: at most N, the number of servants to launch (" +
                                      std::to_string(servant_count) + "), not " +
                                      std::to_string(reserve));
  check(reserve == 0 || !sticky,
        "--reserve: not with --sticky, whose clients stay with their servant, which so is never "
        "idle for good");
  check(reserve_after > 0 && reserve_after != kForever, "--reserve-after: above 0, and not inf");
  check(reserve_idle > 0, "--reserve-idle: above 0; inf: they stay");
  check(servant_args.empty() || !launches_q(),
        "--servant-args is for programs; a q script's arguments go into --q-args");
  check(q_args.empty() || launches_q(),
        "--q-args is for q scripts; a program's arguments go into --servant-args");
  check(hosts.empty() || launches_q(),
        "hosts behind the command are for q scripts; a program's arguments go into --servant-args");
  check((allow_users.empty() && allow_groups.empty()) || !socket_group.empty(),
        "--allow-user, --allow-group: other users also need --socket-group to reach the socket");
  (void)RingAccess::find_groups(allow_groups, faults);
  (void)RingAccess::socket_group(socket_group, faults);
  check(servant_count < max_sessions, "more servants than --max-sessions");
  check(max_connections >= 1 && max_connections <= 65536,
        "--max-connections: 1 to 65536, not " + std::to_string(max_connections));
  check(ring_size_ok(gateway_ring, shm::kRingBytesMax) && gateway_ring >= 64U << 10,
        "--gateway-ring: a power of two from 64k to 64m, not " + shown_size(gateway_ring));
  gateway.validate(faults);
  cluster.validate(faults);
  check(trace_every >= 1, "--trace-every: 1 or more; 1 is every request");
  check(trace_max >= 64U << 10, "--trace-max: 64k or more, not " + shown_size(trace_max));
  check(gateway.thread != GatewayThread::data || idle != shm::IdleStrategy::spin,
        "--gateway-thread data: not with --idle spin, whose data thread makes no system call");
  check(gateway.max_gathered >= gather_max, "--max-gathered: at least --gather-max (" +
                                                shown_size(gather_max) + "), not " +
                                                shown_size(gateway.max_gathered));
  return faults;
}

CoreList BrokerOptions::pinned_cores() const {
  CoreList cores = core >= 0 ? CoreList{core} : CoreList{};
  return gateway.enabled && gateway.core >= 0 ? joined(cores, {gateway.core}) : cores;
}

void BrokerOptions::load_plugins(std::vector<std::string>& faults) {
  const char* const q_plugins = std::getenv("MSERVE_PLUGINS");
  if (q_plugins != nullptr && *q_plugins != '\0') {
    faults.push_back("MSERVE_PLUGINS='" + std::string(q_plugins) +
                     "': q plugins are not run here; unset it and use --users and --roles instead "
                     "of authent.q, --route-plugin or --policy-plugin instead of others");
  }
  if (!policy_plugin_file.empty()) {
    plugins.policy = load_policy_plugin(policy_plugin_file, max_sessions, faults);
  }
  if (!route_plugin_file.empty()) {
    plugins.route = load_route_plugin(route_plugin_file, faults);
  }
}

}  // namespace mserve::broker
