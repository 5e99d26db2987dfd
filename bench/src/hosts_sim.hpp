// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "statistics.hpp"

// A cluster on paper: a Dispatcher of the broker for each host, on virtual time, with links between
// all of them. Nothing runs but this thread, and the same settings give the same figures.
namespace mserve::bench {

/// Tiers of a link: same zone, same region, elsewhere.
inline constexpr std::size_t kLinkTiers = 3;

/// What `mserve-bench hosts` was asked for, checked.
struct HostsSettings {
  std::vector<std::uint32_t> hosts = {2, 20, 200};  ///< One cluster of each size; 2 to 1000.
  double load_percent = 100;         ///< Of what all servants do when each request is cold.
  double skew = 0.5;                 ///< Host k of n gets requests in proportion to 1 / k^skew.
  std::uint32_t servants = 4;        ///< Of each host.
  std::uint32_t credit = 8;          ///< Of a link: requests that it may have under way.
  std::uint32_t requests = 100'000;  ///< Of clients, before and again after a host is added.
  std::uint64_t spill_ns = 20'000'000;
  std::uint64_t seed = 1;

  std::uint32_t zone_hosts = 10;   ///< So many hosts make a zone,
  std::uint32_t region_zones = 4;  ///< and so many zones a region.
  std::array<std::uint64_t, kLinkTiers> latency_ns = {100'000, 500'000, 20'000'000};  ///< One way.
  std::uint32_t routes = 256;          ///< The same everywhere.
  std::uint32_t first_route = 0;       ///< Number of the first of them: others have other homes.
  double route_exponent = 1;           ///< Route k in proportion to 1 / k^exponent.
  std::uint32_t warm_routes = 8;       ///< That a servant keeps at hand.
  std::uint64_t warm_ns = 5'000'000;   ///< What a request of such a route takes on average,
  std::uint64_t cold_ns = 20'000'000;  ///< and what any other one.
};

/// Of how many of a kind something holds.
struct Share {
  std::uint64_t of = 0;
  std::uint64_t holds = 0;
  void count(bool is) noexcept {
    ++of;
    holds += is ? 1 : 0;
  }
  [[nodiscard]] double percent() const noexcept {
    return of == 0 ? 0 : 100.0 * static_cast<double>(holds) / static_cast<double>(of);
  }
};

/// Before a host is added, for the first kRightAfter forwarded requests after it, and from there
/// on.
enum class HostsPhase : std::uint8_t { warm_up, before, right_after, after };
inline constexpr std::size_t kHostsPhases = 4;
[[nodiscard]] constexpr std::size_t index_of(HostsPhase phase) noexcept {
  return static_cast<std::size_t>(phase);
}
inline constexpr std::uint64_t kRightAfter = 1000;

/// How one cluster did.
struct HostsResult {
  std::uint32_t hosts = 0;
  std::uint32_t zones = 0;
  std::uint32_t regions = 0;
  double per_second = 0;  ///< Requests of clients, of all hosts.
  std::uint64_t refused = 0;
  Quantiles waiting{};  ///< Before: from a client's request to its start at a servant.
  Share forwarded{};    ///< Before: requests that went to a peer,
  std::array<Share, kLinkTiers> of_tier{};    ///< and of those that go to peers meanwhile, by link.
  std::array<Share, kHostsPhases> at_home{};  ///< Forwarded ones that went to their route's home.
  std::array<Share, kHostsPhases> warm{};     ///< Forwarded ones that found their route at hand.
  std::array<Share, kHostsPhases> warm_here{};  ///< Those that were not forwarded, likewise.
  Share moved{};  ///< Homes, at all hosts of its zone and of 10,000 routes, that the new one took.
  std::uint64_t moved_elsewhere = 0;  ///< Homes that changed to another host than that.
};

/// What all servants of so many hosts do when each request is cold, in requests per nanosecond.
[[nodiscard]] double cold_capacity_per_ns(const HostsSettings& settings,
                                          std::uint32_t hosts) noexcept;

/// Runs one cluster of `hosts` hosts. Returns early, with less, when interrupted().
/// @throws std::bad_alloc  each host takes about a megabyte.
[[nodiscard]] HostsResult simulate_hosts(const HostsSettings& settings, std::uint32_t hosts);

}  // namespace mserve::bench
