// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "access/rules.hpp"
#include "access/table_file.hpp"
#include "dispatch/types.hpp"
#include "gateway/conventions.hpp"

namespace mserve::broker {

/// Which thread serves kdb+ connections.
enum class GatewayThread : std::uint8_t {
  automatic,  ///< `data` with --idle auto, no --core and fewer than three cores.
  own,
  data,  ///< The one that runs the data plane as well; see DataLoan.
};

/// What a user can set about the TCP side. Names are those of the flags; bytes are bytes, times
/// nanoseconds, kForever is never.
struct GatewayOptions {
  bool enabled = false;                           ///< -p was given.
  std::uint16_t port = 0;                         ///< 0: any free one (-p 0W).
  std::vector<std::string> bind = {"127.0.0.1"};  ///< Numeric addresses of either family.
  Protocol protocol = Protocol::automatic;
  Convention protocol_default = Convention::np;
  bool async_reply = true;
  std::uint32_t sync_window = 1;
  Nanos handshake_timeout = 5'000'000'000;
  Nanos idle_timeout = kForever;
  Nanos tcp_user_timeout = 10'000'000'000;  ///< 0: the system's rule.
  Nanos tcp_keepalive = 60'000'000'000;  ///< Silent for so long a peer is asked; kForever: never.
  /// After TERM all is served as before for so long, while /healthz says that it will not be.
  Nanos drain_delay = 0;
  GatewayThread thread = GatewayThread::automatic;
  int core = -1;  ///< Of a thread of its own; -1: with the control threads.
  std::uint64_t max_gathered = 64ULL << 20;
  std::uint32_t query_log = 1024;        ///< Answered queries that are remembered.
  Nanos purge = 30ULL * 60'000'000'000;  ///< How long each is.
  std::vector<std::string> admin_users;  ///< Names; empty: the broker's own user.
  std::string users_file;                ///< Empty: everybody may connect.
  std::string roles_file;                ///< Empty: who may connect may call everything.
  std::string peer_user;                 ///< Of users_file: the user of other brokers' links.
  std::string wrap;  ///< Function of the user and the query that servants are asked for; empty: the
                     ///< query itself.
  std::optional<TableText> users_table;  ///< Of the cluster's document; in the file's place.
  std::optional<TableText> roles_table;
  bool users_may_come = false;  ///< There is a cluster, whose document may bring some later.
  bool users_required = false;  ///< While there are none, nobody is let in.
  /// What the two said when these options were read; null without users.
  std::shared_ptr<const AccessRules> access;

  /// Reads users and roles. Adds every fault to `faults`.
  void read_access(std::vector<std::string>& faults);

  /// Adds every fault of these options to `faults`.
  void validate(std::vector<std::string>& faults) const;
};

}  // namespace mserve::broker
