// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "hosts_sim.hpp"

// A host joins, or one leaves, while clients ask for the same routes all the time: what becomes of
// what the others keep warm. On virtual time, as all of `mserve-bench hosts`.
namespace mserve::bench {

/// Hosts that stay, of which four is the number in all tables.
inline constexpr std::uint32_t kHostsThatStay = 4;
/// Routes that are asked for all the time: few enough that the hosts could keep all of them warm.
inline constexpr std::uint32_t kRoutesThatStay = 64;

/// What a host that comes or goes did. The times are those at which requests came.
struct HostsChange {
  std::uint32_t before = 0;  ///< Hosts with servants.
  std::uint32_t after = 0;
  double per_second = 0;  ///< Requests of all clients, which ask at a host without servants.
  std::uint64_t refused = 0;
  Share warm_before{};        ///< Requests that found their route at hand: before,
  Share warm_first_second{};  ///< in the first second after,
  Share warm_moved{};         ///< those of them whose route has another home now,
  Share warm_settled{};       ///< and ten seconds later.
  Share moved{};              ///< Of the routes, those whose home is another host now.
  /// Of those, what moved though neither home is the host that came or went.
  std::uint64_t moved_elsewhere = 0;
};

/// kHostsThatStay hosts and one that joins them, or one that leaves them; several times, with
/// seeds that follow settings.seed and other routes, one for each 5,000 of settings.requests. It
/// leaves in good order. Uses of the settings what one zone needs, and load_percent of what the
/// hosts that stay do when each request is cold. Returns early, with less, when interrupted().
/// @throws std::bad_alloc  each host takes about a megabyte.
[[nodiscard]] HostsChange simulate_joining(const HostsSettings& settings);
[[nodiscard]] HostsChange simulate_leaving(const HostsSettings& settings);

}  // namespace mserve::bench
