// SPDX-License-Identifier: Apache-2.0
// Replaces operator new of the whole executable by one that counts. To be included by exactly one
// source file of an executable.
#pragma once

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <new>

// Sanitizers replace operator new themselves, and must go on seeing every allocation.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define MSERVE_COUNTS_ALLOCATIONS 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define MSERVE_COUNTS_ALLOCATIONS 0
#endif
#endif
#ifndef MSERVE_COUNTS_ALLOCATIONS
#define MSERVE_COUNTS_ALLOCATIONS 1
#endif

namespace mserve::test {

inline std::atomic<std::uint64_t> allocation_count{0};

/// False under a sanitizer: skip the test and say so.
inline constexpr bool kCountsAllocations = MSERVE_COUNTS_ALLOCATIONS != 0;

/// Calls of operator new since the start, in all threads.
inline std::uint64_t allocations() {
  return allocation_count.load(std::memory_order_relaxed);  // a count, nothing is published with it
}

}  // namespace mserve::test

#if MSERVE_COUNTS_ALLOCATIONS
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
