// SPDX-License-Identifier: Apache-2.0
#include "gateway/pending.hpp"

namespace mserve::broker {

// An id is the node's slot (low bits) and the number of its use (high bits, from 1). A free node
// keeps its last id, to count on from; `owner` tells free from used.

Pending& PendingTable::take() {
  if (free_ == nullptr) {
    const std::uint64_t first_slot = blocks_.size() * kBlockNodes;
    blocks_.push_back(std::make_unique<std::array<Pending, kBlockNodes>>());
    for (std::size_t i = kBlockNodes; i > 0; --i) {
      Pending& node = (*blocks_.back())[i - 1];
      node.id = first_slot + i - 1;
      node.next = free_;
      free_ = &node;
    }
  }
  Pending& taken = *free_;
  free_ = taken.next;
  const std::uint64_t id = taken.id + (std::uint64_t{1} << kSlotBits);
  taken = Pending{};
  taken.id = id;
  ++used_;
  return taken;
}

void PendingTable::give_back(Pending& pending) noexcept {
  pending.owner = nullptr;
  pending.next = free_;
  free_ = &pending;
  --used_;
}

Pending* PendingTable::find(std::uint64_t id) noexcept {
  const std::uint64_t slot = id & ((std::uint64_t{1} << kSlotBits) - 1);
  if (slot >= blocks_.size() * kBlockNodes) {
    return nullptr;
  }
  Pending& node = (*blocks_[slot / kBlockNodes])[slot % kBlockNodes];
  return node.id == id && node.owner != nullptr ? &node : nullptr;
}

void PendingList::add(Pending& pending) noexcept {
  pending.list = this;
  pending.next = nullptr;
  pending.previous = last_;
  (last_ != nullptr ? last_->next : first_) = &pending;
  last_ = &pending;
}

void PendingList::remove(Pending& pending) noexcept {
  (pending.previous != nullptr ? pending.previous->next : first_) = pending.next;
  (pending.next != nullptr ? pending.next->previous : last_) = pending.previous;
  pending.next = pending.previous = nullptr;
  pending.list = nullptr;
}

void PendingList::replace(Pending& pending, Pending& by) noexcept {
  by.list = this;
  by.next = pending.next;
  by.previous = pending.previous;
  (by.previous != nullptr ? by.previous->next : first_) = &by;
  (by.next != nullptr ? by.next->previous : last_) = &by;
  pending.next = pending.previous = nullptr;
  pending.list = nullptr;
}

}  // namespace mserve::broker
