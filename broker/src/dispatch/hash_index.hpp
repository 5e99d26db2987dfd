// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>

#include "dispatch/large_array.hpp"
#include "dispatch/types.hpp"

namespace mserve::broker {

/// Finds the node that has a 64-bit key. Open addressing with linear probing, at most half full,
/// removal by shifting back (no tombstones, so it never degrades). A probe looks at no more than
/// kProbeMax slots, eight to a cache line: keys come from clients, and a crowd that somebody
/// arranged is refused instead of searched. The nodes live elsewhere and keep their keys; the
/// caller lends a way to read them.
class HashIndex {
 public:
  static constexpr std::uint32_t kProbeMax = 128;

  HashIndex(std::uint32_t nodes_max, std::uint64_t seed)
      : seed_(seed),
        mask_(std::bit_ceil(std::max(nodes_max, std::uint32_t{64})) * 2 - 1),
        slots_(std::size_t{mask_} + 1, Slot{0, kNone}) {}

  /// The node whose key is `key`, or kNone. `key_of(node)` reads a node's key.
  template <class KeyOf>
  [[nodiscard]] std::uint32_t find(std::uint64_t key, const KeyOf& key_of) const noexcept {
    const std::uint32_t tag = tag_of(key);
    for (std::uint32_t probe = 0; probe < kProbeMax; ++probe) {
      const Slot slot = slots_[(tag + probe) & mask_];
      if (slot.node == kNone) {
        return kNone;
      }
      if (slot.tag == tag && key_of(slot.node) == key) {
        return slot.node;
      }
    }
    return kNone;
  }

  /// Asks for the cache line where a search for `key` begins. Always inline: see node_list.hpp.
  [[gnu::always_inline]] void prefetch(std::uint64_t key) const noexcept {
    __builtin_prefetch(&slots_[home_of(key)], 1);
  }

  /// False if the neighbourhood is crowded; nothing was inserted then. `key` must not be present.
  [[nodiscard]] bool insert(std::uint64_t key, std::uint32_t node) noexcept {
    const std::uint32_t tag = tag_of(key);
    for (std::uint32_t probe = 0; probe < kProbeMax; ++probe) {
      Slot& slot = slots_[(tag + probe) & mask_];
      if (slot.node == kNone) {
        slot = {tag, node};
        return true;
      }
    }
    return false;
  }

  /// Both must be as inserted.
  void erase(std::uint64_t key, std::uint32_t node) noexcept {
    std::uint32_t hole = tag_of(key) & mask_;
    while (slots_[hole].node != node) {
      hole = (hole + 1) & mask_;
    }
    // Whatever sits further from its home than the hole is from it moves into the hole. Nothing
    // lies kProbeMax from home, so the search for the next one to move ends there at the latest.
    for (std::uint32_t distance = 1; distance < kProbeMax; ++distance) {
      const Slot slot = slots_[(hole + distance) & mask_];
      if (slot.node == kNone) {
        break;
      }
      const std::uint32_t displaced = (hole + distance - slot.tag) & mask_;
      if (displaced >= distance) {
        slots_[hole] = slot;
        hole = (hole + distance) & mask_;
        distance = 0;
      }
    }
    slots_[hole].node = kNone;
  }

  /// Where `key` would like to be; exposed so that tests can arrange a crowd.
  [[nodiscard]] std::uint32_t home_of(std::uint64_t key) const noexcept {
    return tag_of(key) & mask_;
  }

 private:
  struct Slot {
    std::uint32_t tag;
    std::uint32_t node;
  };

  [[nodiscard]] std::uint32_t tag_of(std::uint64_t key) const noexcept {
    std::uint64_t mixed = key + seed_;
    mixed = (mixed ^ (mixed >> 31)) * 0xd6e8feb86659fd93;
    mixed = (mixed ^ (mixed >> 29) ^ seed_) * 0xa0761d6478bd642f;
    return static_cast<std::uint32_t>(mixed >> 32);
  }

  std::uint64_t seed_;
  std::uint32_t mask_;
  LargeArray<Slot> slots_;
};

}  // namespace mserve::broker
