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

/// qid time user handle protocol route qsvr request answer status elapsed execution: a table,
/// oldest first. @param sessions  to name the servants that are still there.
[[nodiscard]] kdb::Value queries_table(std::span<const QueryRecord> records,
                                       std::span<const SessionRow> sessions);

/// A dictionary from the counters' names to longs.
[[nodiscard]] kdb::Value stats_dict(std::span<const CounterRow> counters);

}  // namespace mserve::broker
