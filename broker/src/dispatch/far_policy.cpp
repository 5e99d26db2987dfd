// SPDX-License-Identifier: Apache-2.0
#include "dispatch/far_policy.hpp"

#include <algorithm>

namespace mserve::broker {

static_assert(kTiers == 4, "the constructor makes as many");

FarPolicy::FarPolicy(std::uint32_t servants_max)
    : tiers_{Tier(servants_max), Tier(servants_max), Tier(servants_max)}, nodes_(servants_max) {}

void FarPolicy::enter(const FarServant& servant) noexcept {
  Node& node = nodes_[servant.index];
  node.home = servant.home;
  node.outstanding = servant.outstanding;
  node.tier = servant.tier;
  Tier& tier = tiers_[servant.tier - 1];
  if (servant.home == 0) {
    append<&Node::order>(nodes_, tier.alone, servant.index);
  } else {
    tier.homes.set(servant.index);
    ++tier.count;
  }
}

void FarPolicy::leave(std::uint32_t servant) noexcept {
  Node& node = nodes_[servant];
  Tier& tier = tiers_[node.tier - 1];
  node.tier = 0;
  if (node.home == 0) {
    remove<&Node::order>(nodes_, tier.alone, servant);
  } else {
    tier.homes.clear(servant);
    --tier.count;
  }
}

std::uint32_t FarPolicy::choose(std::uint64_t route, std::uint64_t draw) const noexcept {
  for (const Tier& tier : tiers_) {
    if (!tier.alone.empty()) {
      return tier.alone.first;
    }
    if (tier.count != 0) {
      return route != 0 ? of_route(tier, route) : of_two(tier, draw);
    }
  }
  return kNone;
}

FarServant FarPolicy::seen(std::uint32_t servant) const noexcept {
  const Node& node = nodes_[servant];
  return {servant, node.tier, node.outstanding, node.home};
}

// Of equal ranks the one with the lower index goes first.
std::uint32_t FarPolicy::of_route(const Tier& tier, std::uint64_t route) const noexcept {
  std::uint32_t first = kNone;
  std::uint32_t second = kNone;
  std::uint64_t first_rank = 0;
  std::uint64_t second_rank = 0;
  std::uint32_t at = tier.homes.first();
  for (std::uint32_t count = 0; at != kNone && count < kHomesSeenMax; ++count) {
    const std::uint64_t rank = home_rank(route, nodes_[at].home);
    if (first == kNone || rank > first_rank) {
      second = first;
      second_rank = first_rank;
      first = at;
      first_rank = rank;
    } else if (second == kNone || rank > second_rank) {
      second = at;
      second_rank = rank;
    }
    at = tier.homes.first_above(at);
  }
  const bool overloaded = second != kNone && nodes_[first].outstanding >=
                                                 std::uint64_t{2} * nodes_[second].outstanding + 2;
  return overloaded ? second : first;
}

std::uint32_t FarPolicy::of_two(const Tier& tier, std::uint64_t draw) const noexcept {
  const std::uint64_t count = std::min(tier.count, kHomesSeenMax);
  const std::uint64_t low = (draw & 0xffffffff) * count >> 32;
  const std::uint64_t other = (draw >> 32) * (count - 1) >> 32;
  const std::uint64_t high = other + (other >= low ? 1 : 0);  // Another one, or beyond the last.
  std::uint32_t first = kNone;
  std::uint32_t second = kNone;
  std::uint32_t at = tier.homes.first();
  for (std::uint64_t place = 0; place < count; ++place) {
    first = place == low ? at : first;
    second = place == high ? at : second;
    at = tier.homes.first_above(at);
  }
  return second != kNone && nodes_[second].outstanding < nodes_[first].outstanding ? second : first;
}

}  // namespace mserve::broker
