// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

namespace mserve::broker {

/// Byte buffers that are between two uses, so that busy connections share a few and idle ones hold
/// none. Threads: one.
class BufferPool {
 public:
  /// An empty buffer, with memory of an earlier use if there is some.
  [[nodiscard]] std::vector<std::byte> take() noexcept {
    if (free_.empty()) {
      return {};
    }
    std::vector<std::byte> buffer = std::move(free_.back());
    free_.pop_back();
    return buffer;
  }

  /// Leaves `buffer` empty and without memory.
  void give_back(std::vector<std::byte>& buffer) {
    if (buffer.capacity() != 0 && buffer.capacity() <= kBytesMax && free_.size() < kBuffersMax) {
      buffer.clear();
      free_.push_back(std::move(buffer));
    }
    std::vector<std::byte>().swap(buffer);
  }

 private:
  static constexpr std::size_t kBytesMax = std::size_t{256} * 1024;
  static constexpr std::size_t kBuffersMax = 64;

  std::vector<std::vector<std::byte>> free_;
};

}  // namespace mserve::broker
