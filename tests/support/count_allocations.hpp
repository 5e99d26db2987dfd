// SPDX-License-Identifier: Apache-2.0
// Replaces operator new of the whole executable by one that counts. To be included by exactly one
// source file of an executable.
#pragma once

#include <sys/prctl.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>

#include "support/sanitized.hpp"

namespace mserve::test {

inline std::atomic<std::uint64_t> allocation_count{0};
/// Name of the only threads that are counted; null: all are.
inline std::atomic<const char*> allocating_thread{nullptr};

inline void count_allocation() noexcept {
  if (const char* const wanted = allocating_thread.load(std::memory_order_acquire)) {
    char name[16] = {};
    if (::prctl(PR_GET_NAME, name) != 0 || std::strcmp(name, wanted) != 0) {
      return;
    }
  }
  allocation_count.fetch_add(1, std::memory_order_relaxed);  // a count, as below
}

/// False under a sanitizer: skip the test and say so.
inline constexpr bool kCountsAllocations = !kSanitized;

/// Calls of operator new since the start, in the threads that are counted.
inline std::uint64_t allocations() {
  return allocation_count.load(std::memory_order_relaxed);  // a count, nothing is published with it
}

}  // namespace mserve::test

// Sanitizers replace operator new themselves, and must go on seeing every allocation.
#if !MSERVE_TEST_SANITIZED
// Never inlined: g++ would see free() behind a new that it did not inline, and warn of a mismatch.
[[gnu::noinline]] void* operator new(std::size_t bytes) {
  mserve::test::count_allocation();
  if (void* p = std::malloc(bytes != 0 ? bytes : 1)) {
    return p;
  }
  throw std::bad_alloc();
}
[[gnu::noinline]] void* operator new(std::size_t bytes, std::align_val_t alignment) {
  mserve::test::count_allocation();
  const auto align = static_cast<std::size_t>(alignment);
  if (void* p = std::aligned_alloc(align, (bytes + align - 1) / align * align)) {
    return p;
  }
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* p, std::align_val_t) noexcept {
  std::free(p);
}
[[gnu::noinline]] void operator delete(void* p, std::size_t, std::align_val_t) noexcept {
  std::free(p);
}
[[gnu::noinline]] void operator delete(void* p) noexcept {
  std::free(p);
}
[[gnu::noinline]] void operator delete(void* p, std::size_t) noexcept {
  std::free(p);
}
#endif
