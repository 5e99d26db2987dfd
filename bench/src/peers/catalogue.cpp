// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include "peers/kinds.hpp"

namespace mserve::bench {
namespace {

constexpr auto kSpin = Wait::spin;
constexpr auto kYield = Wait::yield;
constexpr auto kBlock = Wait::block;
constexpr auto kApart = PeerPlacement::apart;
constexpr auto kTogether = PeerPlacement::together;
constexpr auto kAnywhere = PeerPlacement::anywhere;

#ifdef MSERVE_BENCH_PEERS
constexpr const char* kNotBuilt = "";
#else
constexpr const char* kNotBuilt =
    "not in this build: run bench/setup.sh, or configure with -DMSERVE_BENCH_PEERS=ON";
#endif

using Settings = std::vector<PeerSetting>;

/// In each table the best first, as measured on a virtual machine with two cores (bench/README.md).
const Settings kSocketPair = {{kSpin, kSpin, kApart},
                              {kSpin, kYield, kApart},
                              {kYield, kYield, kApart},
                              {kBlock, kBlock, kApart}};
const Settings kUnixProcesses = {{kBlock, kSpin, kTogether}, {kBlock, kYield, kTogether},
                                 {kYield, kYield, kApart},   {kBlock, kBlock, kTogether},
                                 {kBlock, kBlock, kApart},   {kBlock, kBlock, kAnywhere}};
const Settings kTcpProcesses = {{kYield, kYield, kApart},   {kBlock, kYield, kTogether},
                                {kBlock, kSpin, kTogether}, {kBlock, kBlock, kTogether},
                                {kBlock, kBlock, kApart},   {kBlock, kBlock, kAnywhere}};
const Settings kQueuePair = {{kYield, kYield, kApart},
                             {kSpin, kYield, kApart},
                             {kYield, kSpin, kApart},
                             {kSpin, kSpin, kApart},
                             {kBlock, kBlock, kApart}};
const Settings kQueueProcesses = {{kYield, kYield, kApart},    {kYield, kYield, kTogether},
                                  {kYield, kYield, kAnywhere}, {kBlock, kYield, kTogether},
                                  {kBlock, kBlock, kTogether}, {kBlock, kBlock, kApart}};
const Settings kZmqPair = {{kBlock, kBlock, kApart},       {kBlock, kYield, kApart},
                           {kYield, kBlock, kApart},       {kSpin, kSpin, kApart},
                           {kBlock, kBlock, kApart, true}, {kYield, kYield, kApart, true}};
const Settings kZmqProcesses = {{kBlock, kYield, kTogether}, {kBlock, kYield, kTogether, true},
                                {kBlock, kBlock, kTogether}, {kYield, kBlock, kTogether},
                                {kBlock, kBlock, kApart},    {kBlock, kYield, kAnywhere}};
const Settings kNngPair = {{kYield, kBlock, kApart, true},
                           {kBlock, kBlock, kApart, true},
                           {kYield, kBlock, kApart},
                           {kYield, kYield, kApart}};
const Settings kNngProcesses = {{kYield, kBlock, kTogether},
                                {kYield, kBlock, kApart, true},
                                {kBlock, kBlock, kTogether},
                                {kBlock, kBlock, kAnywhere}};
const Settings kHaproxyPair = {{kSpin, kSpin, kApart},
                               {kYield, kSpin, kApart},
                               {kSpin, kBlock, kApart},
                               {kBlock, kBlock, kApart}};
const Settings kHaproxyProcesses = {{kYield, kSpin, kApart},
                                    {kBlock, kBlock, kTogether},
                                    {kBlock, kSpin, kTogether},
                                    {kYield, kBlock, kAnywhere},
                                    {kBlock, kBlock, kAnywhere}};
#ifdef MSERVE_BENCH_PEERS
constexpr auto kOpenZmq = open_zmq_peer;
constexpr auto kOpenNng = open_nng_peer;
#else
constexpr auto kOpenZmq = nullptr;
constexpr auto kOpenNng = nullptr;
#endif

std::string haproxy_path() {
  for (const char* const path : {"/usr/sbin/haproxy", "/usr/local/sbin/haproxy"}) {
    if (access(path, X_OK) == 0) {
      return path;
    }
  }
  return "";
}

}  // namespace

const char* to_string(PeerMode mode) noexcept {
  return mode == PeerMode::pair ? "pair" : "processes";
}

std::string describe(const PeerSetting& setting) {
  const auto verb = [](Wait wait) {
    return wait == Wait::spin ? "spin" : wait == Wait::yield ? "yield" : "block";
  };
  std::string text = std::string("ends ") + verb(setting.ends) + ", relay " + verb(setting.relay) +
                     "s, " +
                     (setting.placement == kApart      ? "apart"
                      : setting.placement == kTogether ? "one core"
                                                       : "anywhere");
  return setting.free_threads ? text + ", library threads anywhere" : text;
}

int relay_core(const PeerOptions& options) noexcept {
  switch (options.setting.placement) {
    case PeerPlacement::apart:
      return options.cores.relaying;
    case PeerPlacement::together:
      return options.cores.measuring;
    case PeerPlacement::anywhere:
      break;
  }
  return -1;
}

int ends_core(const PeerOptions& options) noexcept {
  return options.setting.placement == PeerPlacement::anywhere ? -1 : options.cores.measuring;
}

std::vector<PeerKind> peer_catalogue(const std::string& broker_path) {
  const std::string haproxy = haproxy_path();
  return {
      {"mserve",
       "mserve",
       "rings in shared memory, mserve-broker dispatches by route",
       "",
       {{kSpin, kSpin, kApart}},
       {{kBlock, kBlock, kApart}},
       [broker_path](const PeerOptions& o) { return open_mserve_peer(o, broker_path); }},
      {"unix", "Unix socket", "SOCK_SEQPACKET", "", kSocketPair, kUnixProcesses, open_unix_peer},
      {"tcp", "TCP loopback", "TCP_NODELAY", "", kSocketPair, kTcpProcesses, open_tcp_peer},
      {"boost", "Boost.Interprocess", "four message_queue of 64 messages", "", kQueuePair,
       kQueueProcesses, open_boost_queue_peer},
      {"zmq", "ZeroMQ", "DEALER - ROUTER/DEALER - DEALER over ipc, one I/O thread each", kNotBuilt,
       kZmqPair, kZmqProcesses, kOpenZmq},
      {"nng", "nng", "raw req and rep over ipc, device between", kNotBuilt, kNngPair, kNngProcesses,
       kOpenNng},
      {"haproxy", "HAProxy", "mode tcp, nbthread 1, TCP_NODELAY",
       haproxy.empty() ? "there is no /usr/sbin/haproxy: run bench/setup.sh" : "", kHaproxyPair,
       kHaproxyProcesses,
       [haproxy](const PeerOptions& o) { return open_haproxy_peer(o, haproxy); }},
  };
}

}  // namespace mserve::bench
