// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "dispatch/large_array.hpp"
#include "dispatch/node_list.hpp"
#include "dispatch/types.hpp"

namespace mserve::broker {

/// One timer for each of a fixed number of slots; setting, stopping and expiring cost the same
/// however many are set. Hierarchical: the wheels have 64 places each, a place of the first is one
/// tick wide, one of the next as wide as the whole wheel below. A timer stands where its time first
/// differs from the present, and moves down as that time comes near, at most once per wheel.
///
/// Timers expire at the first tick that is not before their time: never early, at most a tick late.
/// Allocates at construction only.
class TimerWheel {
 public:
  /// @param slots  how many timers. @param tick_bits  a tick is 2^tick_bits nanoseconds.
  TimerWheel(std::uint32_t slots, std::uint32_t tick_bits) : tick_bits_(tick_bits), nodes_(slots) {}

  /// Sets the slot's timer, whether it was set or not. A time in the last tick before kForever
  /// never comes.
  void set(std::uint32_t slot, Nanos due) noexcept {
    stop(slot);
    const std::uint64_t tick = (due >> tick_bits_) + ((due & tick_mask()) != 0 ? 1 : 0);
    nodes_[slot].tick = tick;
    place(slot);
  }

  /// Stops the slot's timer if it is set.
  void stop(std::uint32_t slot) noexcept {
    Node& node = nodes_[slot];
    if (node.place == kUnset) {
      return;
    }
    if (node.place == kDue) {
      remove<&Node::order>(nodes_, due_, slot);
    } else {
      take_out(slot);
    }
    node.place = kUnset;
  }

  [[nodiscard]] bool is_set(std::uint32_t slot) const noexcept {
    return nodes_[slot].place != kUnset;
  }

  /// A slot whose time has come, not set any more; kNone if none has, or if only a step towards one
  /// could be made: then next_due() is still not after `now`.
  std::uint32_t expire(Nanos now) noexcept {
    if (due_.empty()) {
      advance(now >> tick_bits_);
    }
    const std::uint32_t slot = due_.first;
    if (slot != kNone) {
      remove<&Node::order>(nodes_, due_, slot);
      nodes_[slot].place = kUnset;
    }
    return slot;
  }

  /// Nothing expires before this time, which may be early but is not before any earlier call of
  /// expire(). kForever: no timer is set.
  [[nodiscard]] Nanos next_due() const noexcept {
    if (!due_.empty()) {
      return 0;
    }
    if (moving_ != kUnset) {
      return present_ << tick_bits_;
    }
    const std::uint32_t wheel = lowest();
    if (wheel == kWheels || start_of(wheel) > kForever >> tick_bits_) {
      return kForever;
    }
    return start_of(wheel) << tick_bits_;
  }

 private:
  static constexpr std::uint32_t kBits = 6;
  static constexpr std::uint32_t kPlaces = 1U << kBits;
  static constexpr std::uint32_t kWheels = (64 + kBits - 1) / kBits;
  static constexpr std::uint16_t kUnset = 0xffff;
  static constexpr std::uint16_t kDue = 0xfffe;

  struct Node {
    Links order;
    std::uint64_t tick = 0;
    std::uint16_t place = kUnset;  // wheel * kPlaces + place, or one of the above.
  };

  [[nodiscard]] std::uint64_t tick_mask() const noexcept {
    return (std::uint64_t{1} << tick_bits_) - 1;
  }
  [[nodiscard]] std::uint32_t lowest() const noexcept {
    std::uint32_t wheel = 0;
    while (wheel < kWheels && occupied_[wheel] == 0) {
      ++wheel;
    }
    return wheel;
  }
  // The tick at which the first occupied place of this wheel begins. All that stands in a wheel has
  // the same upper digits as the present, so no place before the present one is occupied.
  [[nodiscard]] std::uint64_t start_of(std::uint32_t wheel) const noexcept {
    const auto place = static_cast<std::uint64_t>(std::countr_zero(occupied_[wheel]));
    const std::uint32_t shift = wheel * kBits;
    const std::uint64_t above =
        shift + kBits < 64 ? present_ >> (shift + kBits) << (shift + kBits) : 0;
    return above | place << shift;
  }

  void place(std::uint32_t slot) noexcept {
    Node& node = nodes_[slot];
    if (node.tick <= present_) {
      node.place = kDue;
      append<&Node::order>(nodes_, due_, slot);
      return;
    }
    const auto digit = static_cast<std::uint32_t>(63 - std::countl_zero(node.tick ^ present_));
    const std::uint32_t wheel = digit / kBits;
    const auto at = static_cast<std::uint32_t>(node.tick >> (wheel * kBits)) % kPlaces;
    node.place = static_cast<std::uint16_t>(wheel * kPlaces + at);
    append<&Node::order>(nodes_, places_[node.place], slot);
    occupied_[wheel] |= std::uint64_t{1} << at;
  }

  void take_out(std::uint32_t slot) noexcept {
    const std::uint16_t place = nodes_[slot].place;
    remove<&Node::order>(nodes_, places_[place], slot);
    if (places_[place].empty()) {
      occupied_[place / kPlaces] &= ~(std::uint64_t{1} << (place % kPlaces));
      moving_ = place == moving_ ? kUnset : moving_;
    }
  }

  // One step towards `tick`: the present moves to the first occupied place, without one until there
  // to `tick`; and one timer of that place moves down.
  void advance(std::uint64_t tick) noexcept {
    if (moving_ == kUnset) {
      const std::uint32_t wheel = lowest();
      if (wheel == kWheels || start_of(wheel) > tick) {
        present_ = tick > present_ ? tick : present_;
        return;
      }
      present_ = start_of(wheel);
      moving_ = static_cast<std::uint16_t>(
          wheel * kPlaces + static_cast<std::uint32_t>(std::countr_zero(occupied_[wheel])));
    }
    const std::uint32_t slot = places_[moving_].first;
    take_out(slot);
    place(slot);
  }

  std::uint32_t tick_bits_;
  std::uint64_t present_ = 0;  // In ticks.
  LargeArray<Node> nodes_;     // By slot.
  List due_;
  std::array<List, std::size_t{kWheels} * kPlaces> places_;
  std::array<std::uint64_t, kWheels> occupied_{};
  std::uint16_t moving_ = kUnset;  // The place whose time began: first of all it is emptied.
};

}  // namespace mserve::broker
