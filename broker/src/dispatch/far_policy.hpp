// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>

#include "dispatch/bitmap.hpp"
#include "dispatch/large_array.hpp"
#include "dispatch/node_list.hpp"
#include "dispatch/types.hpp"

// Which of several free servants that are not on this host gets a request, whatever the policy for
// those that are. There are few of them, a peer broker each as a rule, so they are looked at one by
// one.
namespace mserve::broker {

/// How much a route belongs to a home: that with the highest rank is the route's own. Adding a home
/// to n moves one route in n + 1, to it; taking one away moves its own. Every broker of a cluster,
/// of whatever version, has to say the same, so this never changes.
/// @param route  as the client hashed it
/// @param home   ServantJoined::home
[[nodiscard]] constexpr std::uint64_t home_rank(std::uint64_t route, std::uint64_t home) noexcept {
  std::uint64_t word = route + home * 0x9E3779B97F4A7C15;
  word = (word ^ word >> 30) * 0xBF58476D1CE4E5B9;
  word = (word ^ word >> 27) * 0x94D049BB133111EB;
  return word ^ word >> 31;
}

/// A free servant of tier 1 or more.
struct FarServant {
  std::uint32_t index = 0;
  std::uint32_t tier = 1;         ///< 1 to kTiers - 1.
  std::uint32_t outstanding = 0;  ///< What we have it run already.
  std::uint64_t home = 0;         ///< ServantJoined::home; 0: none.
  friend bool operator==(const FarServant&, const FarServant&) noexcept = default;
};

/// Of the nearest tier that has anybody free. There first those without a home, each a process that
/// serves nobody else: the one that has been free for longest. Then of two with a home: for a
/// request with a route the two whose homes have the highest rank for it, and the first of them
/// (its home) unless that has at least twice as much outstanding as the other and two more; else
/// two that `draw` picks, and the one with less outstanding.
class FarPolicy final {
 public:
  /// Of each tier so many servants with a home are looked at, those with the lowest indices.
  static constexpr std::uint32_t kHomesSeenMax = 256;

  /// Over servants below `servants_max`. @throws std::bad_alloc
  explicit FarPolicy(std::uint32_t servants_max);

  /// It may be chosen from now on. Never told twice without leave() in between.
  void enter(const FarServant& servant) noexcept;
  /// It may not be chosen any more; it entered before.
  void leave(std::uint32_t servant) noexcept;
  /// One that entered and did not leave; kNone if there is none. O(kHomesSeenMax).
  /// @param route  as the client hashed it; 0: none
  /// @param draw   any word, another one each time
  [[nodiscard]] std::uint32_t choose(std::uint64_t route, std::uint64_t draw) const noexcept;
  /// As it entered; tier 0 if it may not be chosen. For tests.
  [[nodiscard]] FarServant seen(std::uint32_t servant) const noexcept;

 private:
  struct Node {
    Links order;
    std::uint64_t home = 0;
    std::uint32_t outstanding = 0;
    std::uint32_t tier = 0;  // 0: did not enter.
  };
  struct Tier {
    explicit Tier(std::uint32_t servants_max) : homes(servants_max) {}
    List alone;               // Those without a home, the one that became free first first.
    Bitmap homes;             // Those with one.
    std::uint32_t count = 0;  // Of these.
  };

  [[nodiscard]] std::uint32_t of_route(const Tier& tier, std::uint64_t route) const noexcept;
  [[nodiscard]] std::uint32_t of_two(const Tier& tier, std::uint64_t draw) const noexcept;

  std::array<Tier, kTiers - 1> tiers_;
  LargeArray<Node> nodes_;
};

}  // namespace mserve::broker
