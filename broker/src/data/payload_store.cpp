// SPDX-License-Identifier: Apache-2.0
#include "data/payload_store.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

namespace mserve::broker {

PayloadStore::PayloadStore(std::uint64_t bytes) {
  constexpr std::uint64_t kLargest = std::uint64_t{0xffffffff - 1} * kBlockBytesMin;
  const std::uint64_t whole = std::max<std::uint64_t>(
      (std::min(bytes, kLargest - kBlockBytesMax) + kBlockBytesMax - 1) / kBlockBytesMax, 1);
  units_ = static_cast<std::uint32_t>(whole * (kBlockBytesMax / kBlockBytesMin));
  // Value-initialised on purpose: touched now, not by the first burst.
  region_ = std::make_unique<std::byte[]>(capacity());
  unit_.resize(units_);
  std::fill(std::begin(free_), std::end(free_), kNoBlock);
  constexpr std::uint32_t kStep = kBlockBytesMax / kBlockBytesMin;
  for (std::uint32_t index = units_; index >= kStep; index -= kStep) {
    push(index - kStep, kOrders - 1);
  }
}

PayloadStore::Block PayloadStore::take(std::uint64_t bytes) noexcept {
  if (bytes > kBlockBytesMax) {
    return {};
  }
  const std::uint64_t wanted_units = (bytes + kBlockBytesMin - 1) / kBlockBytesMin;
  const auto wanted =
      static_cast<unsigned>(std::bit_width(std::max<std::uint64_t>(wanted_units, 1) - 1));
  unsigned order = wanted;
  while (order < kOrders && free_[order] == kNoBlock) {
    ++order;
  }
  if (order == kOrders) {
    return {};
  }
  const std::uint32_t index = free_[order];
  unlink(index, order);
  while (order > wanted) {
    --order;
    push(index + (1U << order), order);
  }
  unit_[index].order = static_cast<std::uint8_t>(wanted);
  used_bytes_ += std::uint64_t{kBlockBytesMin} << wanted;
  return {index, static_cast<std::uint32_t>(bytes)};
}

// Gives a block back, together with whatever is free beside it.
void PayloadStore::merge(Block& block) noexcept {
  std::uint32_t index = block.index;
  unsigned order = unit_[index].order;
  used_bytes_ -= std::uint64_t{kBlockBytesMin} << order;
  while (order + 1 < kOrders) {
    const std::uint32_t buddy = index ^ (1U << order);
    if (!unit_[buddy].free_head || unit_[buddy].order != order) {
      break;
    }
    unlink(buddy, order);
    index = std::min(index, buddy);
    ++order;
  }
  push(index, order);
  block = Block{};
}

void PayloadStore::push(std::uint32_t index, unsigned order) noexcept {
  Unit& unit = unit_[index];
  unit = Unit{kNoBlock, free_[order], static_cast<std::uint8_t>(order), true};
  if (unit.next != kNoBlock) {
    unit_[unit.next].previous = index;
  }
  free_[order] = index;
}

void PayloadStore::unlink(std::uint32_t index, unsigned order) noexcept {
  Unit& unit = unit_[index];
  if (unit.previous != kNoBlock) {
    unit_[unit.previous].next = unit.next;
  } else {
    free_[order] = unit.next;
  }
  if (unit.next != kNoBlock) {
    unit_[unit.next].previous = unit.previous;
  }
  unit.free_head = false;
}

}  // namespace mserve::broker
