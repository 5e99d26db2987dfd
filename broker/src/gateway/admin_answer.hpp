// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>

#include "gateway/admin_view.hpp"
#include "gateway/query_log.hpp"
#include "mserve/kdb/value.hpp"

namespace mserve::broker {

// The answers to .mserve.NAME[] as q values.

/// qsvr session pid uid credit suspended paused tier tags since: a table, one row per attached
/// servant.
[[nodiscard]] kdb::Value servants_table(std::span<const SessionRow> sessions);

/// user address handle since requests pending sent waiting: a table, kdb+ connections first, then
/// clients that are attached through rings (whose handle is 0N).
[[nodiscard]] kdb::Value clients_table(std::span<const ClientRow> connections,
                                       std::span<const SessionRow> sessions);

/// LBT's columns, qid query client_qid client_options client_handle time_received time_sent
/// time_returned route backlog slave_handle location, and behind them user protocol qsvr status
/// elapsed execution request answer: a table, oldest first. time_sent, backlog and execution are
/// null but for lbt queries, which ask for it; slave_handle is the servant's number, null when the
/// broker answered; location is always `client, because unanswered queries are not listed.
/// @param sessions  to name the servants that are still there.
[[nodiscard]] kdb::Value queries_table(std::span<const QueryRecord> records,
                                       std::span<const SessionRow> sessions);

/// A dictionary from the counters' names to longs.
[[nodiscard]] kdb::Value stats_dict(std::span<const CounterRow> counters);

}  // namespace mserve::broker
