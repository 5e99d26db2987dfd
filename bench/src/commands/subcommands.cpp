// SPDX-License-Identifier: Apache-2.0
// The table of subcommands.
#include <array>

#include "commands/commands.hpp"

namespace mserve::bench {
namespace {

constexpr const char* kFloorHelp =
    "The floor: round trips through the smallest relay there can be. One thread plays client and\n"
    "servant, one relays; a message is a cache line that carries its own commit word. The line\n"
    "probe before and after (a cache line bounced between the cores) tells whether the host moved\n"
    "the cores meanwhile; such repetitions are marked and left out of the medians.";

constexpr const char* kRttHelp =
    "Round trips of a small request through the real broker, one at a time, beside the floor.\n"
    "\n"
    "  --mode pair       one thread on core A is client and servant, a broker started for the\n"
    "                    purpose spins on core B: what the broker itself costs (the default)\n"
    "  --mode processes  client, broker and servant are three processes on all usable cores\n"
    "  --name NAME       client of a broker that runs already; calls echo of its own servants\n"
    "\n"
    "A broker of ours has a private directory, is started for each repetition and stopped after\n"
    "it; the floor is measured before and after each repetition while it is gone.";

constexpr const char* kThroughputHelp =
    "Requests per second through the broker while a window of them is under way, beside the\n"
    "floor's relay with the same window.";

constexpr const char* kOpenLoopHelp =
    "Latencies at fixed rates: requests are due at random times and are sent then, whether or not\n"
    "earlier ones were answered; latency counts from when a request was due, so that nothing\n"
    "hides how long it had to wait to be sent.";

constexpr const char* kWakeHelp =
    "Round trips while everybody sleeps: a request is sent after a pause in which client, broker\n"
    "and servant fell asleep, beside wake-ups of bare futexes between as many processes. Then "
    "what\n"
    "broker and servant use of a core while nothing is asked of them.";

constexpr const char* kIdleClientsHelp =
    "What clients cost that are attached and silent: round trips of one client alone, then with\n"
    "all others attached, in one repetition; then the first message of each silent one.";

constexpr const char* kManyHelp =
    "N clients, each with one request under way, and M servants that echo; every one is a "
    "process.\n"
    "Latencies, and requests per second of all together.";

constexpr const char* kRestartsHelp =
    "What servants that die and start again cost everybody else: round trips while the broker's\n"
    "launched servants are killed one after the other and its launcher brings them back, and for\n"
    "as long afterwards. The longest sample is the longest that the data thread stood still.\n"
    "A repetition takes as long as it takes, whatever --seconds says.";

constexpr const char* kFailoverHelp =
    "What the loss of a host costs, on loopback: brokers A, B and C are a cluster with an etcd of\n"
    "its own, and a client asks A, which has no servants. Then B is killed, and in turn stopped:\n"
    "silent, while its connections stand. The longest time that a request waited which was there,\n"
    "and the longest without any answer. Exit code 1 when a request is lost or answered twice.\n"
    "B is brought back each time, which comes on top of --seconds.";

constexpr const char* kLargeHelp =
    "Large requests and large answers, in fragments: bytes per second for each of the three "
    "copies\n"
    "that are made, beside one memcpy of as many bytes in the same repetition.";

constexpr const char* kAllHelp =
    "Every subcommand but affinity, failover, hosts and restarts, as one document. --seconds is\n"
    "shared out among them; starting and stopping processes comes on top. What fails or cannot be\n"
    "measured here is a warning.";

constexpr const char* kKdbHelp =
    "Sync queries over kdb+ IPC on loopback: to a stand-in for q directly, through gateway, rings\n"
    "and shim, and through HAProxy in TCP mode if it is installed, in turn; directly also with\n"
    "idle threads that keep the cores awake, since wake-ups decide everything here.";

constexpr const char* kAffinityHelp =
    "What routing gains: servants that keep the data of a few routes at hand and need longer for\n"
    "any other one. Each policy of the broker gets the same requests, at the same times, whether "
    "or\n"
    "not earlier ones were answered; latencies count from when a request was to be sent. Servants\n"
    "sleep while they serve, as a process that waits for its disk does, so few cores are enough.";

constexpr const char* kPeersHelp =
    "The same request through mserve and, in the same run on the same two cores, through the "
    "floor,\n"
    "a relay over Unix sockets, over TCP, over Boost.Interprocess queues, a ZeroMQ proxy, an nng\n"
    "device and HAProxy in TCP mode. Each runs in the setting that measured best, which its row\n"
    "tells; --tune looks for the best on this machine.\n"
    "\n"
    "  --mode pair       one thread on core A is client and servant, the relay has core B\n"
    "  --mode processes  client, relay and servant are three processes\n"
    "\n"
    "bench/setup.sh installs what a build needs for ZeroMQ and nng, and HAProxy; what is missing\n"
    "is said and left out.";

constexpr const char* kHostsHelp =
    "How a cluster grows, on paper: the Dispatchers of as many brokers, with links between all of\n"
    "them, on virtual time. Some hosts are asked for more than others; what waits for long is\n"
    "forwarded. How many requests are, how long all of them wait, whether a route stays with its\n"
    "home when a host is added; and what links, heartbeats and etcd have to carry at most. Then a\n"
    "host that joins four others, and one that leaves: how many requests find their route warm.\n"
    "The same options give the same figures on every machine.";

constexpr std::array<SubcommandEntry, 15> kTable = {{
    {"floor", "the fastest relay that this machine allows", kFloorHelp, make_floor, 1},
    {"rtt", "a small request through the broker, beside the floor", kRttHelp, make_rtt, 2},
    {"throughput", "requests per second with many under way", kThroughputHelp, make_throughput, 1},
    {"open-loop", "latencies at fixed rates, from when a request was due", kOpenLoopHelp,
     make_open_loop, 2},
    {"wake", "a request to a system that sleeps, and what it uses asleep", kWakeHelp, make_wake, 1},
    {"idle-clients", "what attached and silent clients cost", kIdleClientsHelp, make_idle_clients,
     1},
    {"many", "N clients x M servants", kManyHelp, make_many, 2},
    {"restarts", "what servants cost others that are killed and restarted", kRestartsHelp,
     make_restarts, 0},
    {"failover", "what the loss of a host costs those who ask", kFailoverHelp, make_failover, 0},
    {"large", "large messages, beside memcpy", kLargeHelp, make_large, 2},
    {"kdb", "a sync query over kdb+ IPC: directly, through us, through HAProxy", kKdbHelp, make_kdb,
     2},
    {"affinity", "what routing gains, policy by policy", kAffinityHelp, make_affinity, 0},
    {"peers", "the same request through mserve and through other systems", kPeersHelp, make_peers,
     4},
    {"hosts", "how a cluster grows, in a simulation", kHostsHelp, make_hosts, 0},
    {"all", "every one of these, as one document", kAllHelp, make_all, 0},
}};

}  // namespace

std::span<const SubcommandEntry> subcommands() noexcept {
  return kTable;
}

}  // namespace mserve::bench
