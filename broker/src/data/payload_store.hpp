// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace mserve::broker {

/// Memory for payloads that wait in the broker: requests in the queue, messages being gathered,
/// answers for a client whose ring is full. One region, taken and touched at construction, handed
/// out in powers of two (a buddy allocator), so that the data thread never asks the system.
///
/// Cost: take() and give_back() are O(log(bytes_max / kBlockBytesMin)). Threads: one.
class PayloadStore {
 public:
  static constexpr std::uint32_t kBlockBytesMin = 256;
  static constexpr std::uint32_t kBlockBytesMax = 1U << 20;

  /// A piece of the region; empty() when there was no room.
  struct Block {
    std::uint32_t index = kNoBlock;  ///< In units of kBlockBytesMin.
    std::uint32_t bytes = 0;         ///< As asked for; the block itself may be larger.
    [[nodiscard]] bool empty() const noexcept { return index == kNoBlock; }
  };

  /// @param bytes  rounded up to a multiple of kBlockBytesMax, at least one of them.
  explicit PayloadStore(std::uint64_t bytes);

  /// Takes a block for `bytes` (0..kBlockBytesMax). Empty when nothing that large is free.
  [[nodiscard]] Block take(std::uint64_t bytes) noexcept;
  /// Gives it back; `block` becomes empty. Giving back an empty one is fine.
  void give_back(Block& block) noexcept {
    if (!block.empty()) [[unlikely]] {
      merge(block);
    }
  }

  [[nodiscard]] std::span<std::byte> bytes_of(const Block& block) noexcept {
    return {region_.get() + std::size_t{block.index} * kBlockBytesMin, block.bytes};
  }
  [[nodiscard]] std::uint64_t used_bytes() const noexcept { return used_bytes_; }
  [[nodiscard]] std::uint64_t capacity() const noexcept {
    return std::uint64_t{units_} * kBlockBytesMin;
  }

 private:
  static constexpr std::uint32_t kNoBlock = 0xffffffff;
  static constexpr unsigned kOrders = 13;  // 256 bytes << 12 = 1 MiB
  static_assert((kBlockBytesMin << (kOrders - 1)) == kBlockBytesMax);

  struct Unit {  // one per kBlockBytesMin of the region
    std::uint32_t previous = kNoBlock;
    std::uint32_t next = kNoBlock;
    std::uint8_t order = 0;
    bool free_head = false;  // first unit of a free block of `order`
  };
  void merge(Block& block) noexcept;
  void push(std::uint32_t index, unsigned order) noexcept;
  void unlink(std::uint32_t index, unsigned order) noexcept;

  std::uint32_t units_ = 0;
  std::uint64_t used_bytes_ = 0;
  std::unique_ptr<std::byte[]> region_;
  std::vector<Unit> unit_;
  std::uint32_t free_[kOrders];
};

}  // namespace mserve::broker
