// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <new>
#include <vector>

namespace mserve::broker {

/// Allocates arrays so that the kernel can back the large ones with huge pages: a decision on a
/// deep queue touches nodes all over them, and with small pages most of these touches would miss
/// the TLB too. Only a hint: where the kernel gives no huge pages (THP is `never`, or memory is too
/// scattered), everything works with small ones.
template <class T>
struct LargeAllocator {
  using value_type = T;

  LargeAllocator() = default;
  template <class U>
  explicit LargeAllocator(const LargeAllocator<U>& /*other*/) noexcept {}

  /// @throws std::bad_alloc
  [[nodiscard]] T* allocate(std::size_t count) {
    const std::size_t bytes = bytes_of(count);
    void* const memory = ::operator new(bytes, alignment_of(bytes));
    if (bytes >= kHugePage) {
      // A refusal changes nothing but speed.
      static_cast<void>(::madvise(memory, bytes, MADV_HUGEPAGE));
    }
    return static_cast<T*>(memory);
  }

  void deallocate(T* memory, std::size_t count) noexcept {
    ::operator delete(memory, alignment_of(bytes_of(count)));
  }

  friend bool operator==(const LargeAllocator& /*a*/, const LargeAllocator& /*b*/) noexcept {
    return true;
  }

 private:
  static constexpr std::size_t kHugePage = std::size_t{2} << 20;
  static constexpr std::size_t kCacheLine = 64;
  static_assert(alignof(T) <= kCacheLine);

  // Whole huge pages: nobody else's memory lies in them, and the end of the array has one too.
  [[nodiscard]] static std::size_t bytes_of(std::size_t count) {
    if (count > (~std::size_t{0} - kHugePage) / sizeof(T)) {
      throw std::bad_array_new_length();
    }
    const std::size_t bytes = count * sizeof(T);
    return bytes < kHugePage ? bytes : (bytes + kHugePage - 1) / kHugePage * kHugePage;
  }
  [[nodiscard]] static std::align_val_t alignment_of(std::size_t bytes) noexcept {
    return std::align_val_t{bytes < kHugePage ? kCacheLine : kHugePage};
  }
};

/// A fixed number of nodes, allocated at construction, that begin at a cache line.
template <class T>
using LargeArray = std::vector<T, LargeAllocator<T>>;

}  // namespace mserve::broker
