// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>

#include "mserve/shm/layout.hpp"
#include "mserve/shm/membarrier.hpp"
#include "mserve/shm/ring.hpp"

namespace mserve::shm {

// How a consumer goes to sleep without losing a wake-up.
//
//   producer                              consumer
//   P1 store commit word  (release)       C1 store polled = sleeping  (relaxed)
//   P2 load polled        (relaxed)       C2 membarrier(GLOBAL_EXPEDITED)
//   P3 if not polling: wake               C3 load commit word         (acquire)
//                                         C4 if zero: sleep, else store polled = polling and go on
//
// The wake-up would be lost if P2 read "polling" and C3 read zero: each side's load would have
// passed its own store. The membarrier C2 makes every registered thread execute a full barrier
// somewhere between C1 and C3. Seen from the producer that barrier falls either after P1 (then P1
// is visible to C3, and the consumer does not sleep) or before P1, hence before P2 (then C1 is
// visible to P2, and the producer wakes). There is no third place, because P1 and P2 stay in
// program order around it; the signal fence in RingProducer keeps the compiler to that order.
//
// A wake that arrives between C3 and the sleep: bytes on a socket stay there until the sleeper
// reads them. A futex wake is lost if the sleeper is not in the kernel yet, and the waker cannot
// change the word, because it lies in the sleeper's segment; so the waker repeats a futex wake that
// woke nobody until `polled` says polling. Every sleep also ends after kSleepNsMax.
//
// Without membarrier both sides pay: P1, P2, C1, C3 are seq_cst (marked `fallback:`).
// tests/model/parking.pml is this protocol for a model checker; tests/unit/shm/parking_test.cpp
// drives the code.

/// Longest single sleep; whoever sleeps looks at everything again after it. Nothing waits for that
/// unless a wake-up was lost, so it is as long as a person does not notice: a look costs 30 to 45
/// us of a core on a virtual machine (shm/README.md).
inline constexpr std::uint64_t kSleepNsMax = 25'000'000;

/// The store of C1 or of "awake again". With `seq_cst_wakes` it is also half of the fallback.
template <template <class> class Atom>
void store_polled(Atom<std::uint32_t>& polled, Polled value, bool seq_cst_wakes) noexcept {
  if (seq_cst_wakes) {
    polled.store(static_cast<std::uint32_t>(value), std::memory_order_seq_cst);  // fallback: C1
  } else {
    polled.store(static_cast<std::uint32_t>(value),
                 std::memory_order_relaxed);  // parking: C2 orders it
  }
}

/// C2: to be called once after any number of C1 stores and before the C3 looks. One system call.
inline void parking_barrier(bool seq_cst_wakes) noexcept {
  if (!seq_cst_wakes) {
    membarrier_global_expedited();
  }
}

}  // namespace mserve::shm
