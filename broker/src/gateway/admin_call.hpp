// SPDX-License-Identifier: Apache-2.0
// Queries that the gateway answers itself: .mserve.servants[], .mserve.clients[],
// .mserve.queries[n] and .mserve.stats[], as text or as a list such as (`.mserve.queries;20); and
// .mserve.beat[ms] and .mserve.cancel[qid], with which links of other brokers ask for signs of life
// and say what nobody waits for any more.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace mserve::broker {

struct AdminCall {
  enum class Name : std::uint8_t { servants, clients, queries, stats, beat, cancel };
  Name name = Name::stats;
  /// queries: how many, 0 or more; left out or `::`: empty. beat: milliseconds; cancel: the link's
  /// id of a request; never empty.
  std::optional<std::int64_t> argument;
  std::string_view fault;  ///< Not empty: answer this error instead, such as "rank"; a literal.
};

/// Whether `query` may be such a call: a few bytes are looked at. False is final.
[[nodiscard]] bool may_be_admin_call(std::span<const std::byte> query) noexcept;

/// @param query  one whole encoded little-endian object.
/// @return the call, or nothing when it is none of the six: then it is an ordinary query.
[[nodiscard]] std::optional<AdminCall> parse_admin_call(std::span<const std::byte> query);

}  // namespace mserve::broker
