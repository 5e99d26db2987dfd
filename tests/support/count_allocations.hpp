// SPDX-License-Identifier: Apache-2.0
// Replaces operator new of the whole executable by one that counts. To be included by exactly one
// source file of an executable.
#pragma once

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <new>

#include "support/sanitized.hpp"

namespace mserve::test {

inline std::atomic<std::uint64_t> allocation_count{0};

/// False under a sanitizer: skip the test and say so.
inline constexpr bool kCountsAllocations = !kSanitized;

/// Calls of operator new since the start, in all threads.
inline std::uint64_t allocations() {
  return allocation_count.load(std::memory_order_relaxed);  // a count, nothing is published with it
}

}  // namespace mserve::test

// Sanitizers replace operator new themselves, and must go on seeing every allocation.
#if !MSERVE_TEST_SANITIZED
// Never inlined: g++ would see free() behind a new that it did not inline, and warn of a mismatch.
[[gnu::noinline]] void* operator new(std::size_t bytes) {
  mserve::test::allocation_count.fetch_add(1, std::memory_order_relaxed);  // as above
  if (void* p = std::malloc(bytes != 0 ? bytes : 1)) {
    return p;
  }
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* p) noexcept {
  std::free(p);
}
[[gnu::noinline]] void operator delete(void* p, std::size_t) noexcept {
  std::free(p);
}
#endif
