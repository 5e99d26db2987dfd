// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "access/rules.hpp"
#include "control/log.hpp"
#include "dispatch/types.hpp"
#include "gateway/admin_call.hpp"
#include "gateway/admin_view.hpp"
#include "gateway/broadcast.hpp"
#include "gateway/buffer_pool.hpp"
#include "gateway/conventions.hpp"
#include "gateway/gateway_link.hpp"
#include "gateway/message_reader.hpp"
#include "gateway/pending.hpp"
#include "gateway/query_log.hpp"
#include "gateway/route_names.hpp"
#include "mserve/kdb/route.hpp"
#include "mserve/kdb/value.hpp"
#include "mserve/plugin.h"
#include "mserve/shm/counters.hpp"

namespace mserve::broker {

/// What is the same for all connections and never changes while they live.
struct ConnectionSettings {
  ConventionRules rules;
  ReaderLimits reader;
  kdb::RouteRule route_rule;
  bool placing = false;                              ///< There may be rules of placement.
  const mserve_route_table* route_plugin = nullptr;  ///< Not null: it takes the rule's place.
  std::string wrap;       ///< Queries go on as (`wrap; `user; query); empty: as they are.
  std::string peer_user;  ///< With --users: whose connections are links of other brokers.
  bool async_reply = true;
  bool users_required = false;  ///< Without users only those of `admin_uids` may connect.
  std::uint32_t sync_window = 1;
  std::uint64_t max_pending_bytes = 16ULL << 20;
  std::uint64_t gather_max = 256U << 10;     ///< Largest answer that is gathered to be compressed.
  std::uint64_t max_gathered = 64ULL << 20;  ///< Largest answer that is gathered because it must.
  std::vector<uid_t> admin_uids;
  std::size_t query_log = 1024;       ///< Answered queries to remember.
  std::uint64_t purge_ns = kForever;  ///< How long each is remembered.
};

/// Shown by mserve-stat and .mserve.stats[]; stored to by the gateway thread alone.
struct GatewayCounters {
  shm::Counter* connections;  ///< Open now.
  shm::Counter* accepted;     ///< Since the start.
  shm::Counter* refused;      ///< Of these, closed at once or before their handshake was done.
  shm::Counter* closed;       ///< Connections that this side closed: malformed, slow, timed out.
  shm::Counter* messages;     ///< Whole messages, and beginnings of larger ones, from clients.
  shm::Counter* requests;     ///< Sent on to the data plane.
  shm::Counter* answers;      ///< Messages to clients.
  shm::Counter* ambiguous;    ///< Messages that could have been np as well as aw.
  shm::Counter* ignored;      ///< Responses and error objects that nobody asked for.
  shm::Counter* pending;      ///< Messages without an answer now.
  shm::Counter* denied;       ///< Of the refused, those without the right password.
  shm::Counter* forbidden;    ///< Messages that their user's role does not allow.
  shm::Counter* misrouted;    ///< Wrong answers of the route plugin.

  static GatewayCounters add_to(shm::CountersWriter& writer);
};

/// What a connection asks of the gateway as a whole.
class GatewayDesk {
 public:
  GatewayDesk() = default;
  GatewayDesk(const GatewayDesk&) = delete;
  GatewayDesk& operator=(const GatewayDesk&) = delete;
  virtual ~GatewayDesk() = default;
  /// The answer to a call of .mserve.NAME[] that is well formed and allowed.
  [[nodiscard]] virtual kdb::Value admin_answer(const AdminCall& call) = 0;
  /// Who is attached now.
  [[nodiscard]] virtual std::vector<SessionRow> sessions() const = 0;
  /// The page that answers an HTTP request: head and body.
  [[nodiscard]] virtual std::string http_answer(std::string_view method,
                                                std::string_view target) = 0;
  /// Has a password checked; Connection::on_login() hears of it later.
  /// @return false: too many are being checked.
  [[nodiscard]] virtual bool check_login(OriginId origin, const std::string& user,
                                         Secret password) = 0;
};

/// What the connections of one gateway share. All of it belongs to the gateway thread.
struct ConnectionContext {
  static constexpr std::size_t kScratchBytes = std::size_t{256} * 1024;

  ConnectionContext(ConnectionSettings connection_settings, const GatewayCounters& gateway_counters,
                    GatewayDesk& gateway_desk)
      : settings(std::move(connection_settings)),
        counters(gateway_counters),
        desk(gateway_desk),
        queries(settings.query_log, settings.purge_ns),
        scratch(kScratchBytes) {}

  ConnectionSettings settings;
  GatewayCounters counters;
  GatewayDesk& desk;
  GatewayLink* link = nullptr;  ///< Not null while there are connections.
  /// Who may connect from now on; null: everybody, see also ConnectionSettings::users_required.
  std::shared_ptr<const AccessRules> access;
  PendingTable pendings;
  BufferPool buffers;
  QueryLog queries;
  RouteNames route_names;
  std::unique_ptr<Broadcast> broadcast;  ///< Null: none is under way.
  OriginId broadcast_left;               ///< Closed in the middle of the last one that had to end.
  std::vector<std::byte> scratch;  ///< Received bytes, until the connection is done with them.
  std::vector<std::byte> message;  ///< A message that is put together to be compressed.
  std::int64_t next_qid = 1;
  std::uint64_t now_ns = 0;  ///< CLOCK_MONOTONIC at the start of this pass.
  KindLimiter closings;
  LogLimiter oddities;
  LogLimiter denials;
  LogLimiter misroutes;

  /// What the log was spared of is told once it is over.
  void tell_swallowed() noexcept {
    closings.tell_swallowed(now_ns);
    oddities.tell_swallowed(now_ns, "gateway_oddity");
    denials.tell_swallowed(now_ns, "gateway_denied");
    misroutes.tell_swallowed(now_ns, "gateway_misrouted");
  }

  /// No other broadcast may begin: the data plane must have heard of the end of the one before.
  [[nodiscard]] bool broadcasts() const noexcept {
    return broadcast != nullptr || link->gone_waits(broadcast_left);
  }
};

}  // namespace mserve::broker
