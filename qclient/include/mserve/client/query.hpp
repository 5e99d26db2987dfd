// SPDX-License-Identifier: Apache-2.0
// Queries as q text, answers as kdb+ values: a convenience on top of client.hpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "mserve/client/client.hpp"
#include "mserve/kdb/value.hpp"

namespace mserve {

/// How a query is sent.
struct QueryOptions {
  bool want_info = true;   ///< Ask for the info dictionary.
  bool repeatable = true;  ///< It may be run again if its servant dies, as the q scripts did.
  /// Over rings: the route, instead of what the broker's rule says; the same text is the same route
  /// as that argument gives under `arg:N`. Empty: by the rule. A gateway goes by its rule.
  std::string_view route{};
  std::uint8_t priority = 1;  ///< As SendOptions::priority.
};

/// What came back for a query.
struct Answer {
  std::uint64_t id = 0;
  kdb::Value result;  ///< The result; or an error value (result.is_error()) when the servant
                      ///< answered with one.
  /// qsvr (symbol), elapsed, execution (longs, milliseconds), route (symbol), backlog, remaining
  /// (longs), in this order, and behind them what the servant adds under other keys; `::` when it
  /// was not asked for.
  kdb::Value info;

  /// True when the servant answered with an error: its text is result.text_view().
  [[nodiscard]] bool is_error() const noexcept { return result.is_error(); }
};

/// A query ready to be sent: the encoded char vector, and its route by the broker's rule.
struct Query {
  std::vector<std::byte> object;
  std::uint64_t route_hash = 0;
  std::string route_text;  ///< For the info dictionary; empty when the query has no route.
  /// As SendOptions::function and user; 0 unless made for a client whose broker has rules.
  std::uint64_t function_hash = 0;
  std::uint64_t user_hash = 0;
};

/// Encodes q text and computes its route as `route_rule` (SessionInfo::route_rule) says; an unknown
/// rule gives no route (`plugin`, where the broker has a plugin for it: set QueryOptions::route),
/// nor does `option:KEY`, as text has no options. Nothing is evaluated or checked: what may run is
/// decided where it runs.
/// @param user  for the rule `user` (Client::user()).
[[nodiscard]] Query make_query(std::string_view q_text, std::string_view route_rule,
                               std::string_view user = {});

/// The same by the rule that the client's broker told when it attached, for the client's user.
[[nodiscard]] Query make_query(std::string_view q_text, const Client& client);

/// `options` with what the broker's rules read from a query that is encoded already: the route, and
/// where the broker has rules of placement, function and user. What is set in `options` stays.
/// Costs nothing over TCP, where the gateway does it.
/// @param object  what will be sent: one kdb+ object, or two with SendOptions::pair. Malformed ones
///                have no route; who runs them refuses them.
[[nodiscard]] SendOptions placed(std::span<const std::byte> object, const Client& client,
                                 SendOptions options = {});

/// Sends a query and returns its id; what call() is to query(). Errors as from Client::send().
[[nodiscard]] Result<std::uint64_t> send_query(Client& client, const Query& query,
                                               const QueryOptions& options = {},
                                               std::uint64_t deadline_ns = 0);

/// The answer that a reply carries. Copies what it needs.
/// @param route_text  of the request, for the info dictionary.
/// @return the answer; the reply's status when that is neither `ok` nor `failed`; `protocol` when
/// the payload
///   is no kdb+ object: the servant is broken, look at its log.
[[nodiscard]] Result<Answer> answer_of(const Reply& reply, std::string_view route_text = {});

/// Sends q text, waits for the answer. Other answers that arrive meanwhile are kept for
/// Client::poll().
///
///   auto answer = mserve::query(client, "proc1 `IBM", {},
///   mserve::deadline_after(std::chrono::seconds(5))); if (answer && !answer.value().is_error()) {
///   ... answer.value().result ... }
///
/// @param deadline_ns  absolute, CLOCK_MONOTONIC; 0: none.
/// @return the answer, or an error as from Client::call() and answer_of(). A servant's error is an
/// Answer.
[[nodiscard]] Result<Answer> query(Client& client, std::string_view q_text,
                                   const QueryOptions& options = {}, std::uint64_t deadline_ns = 0);

}  // namespace mserve
