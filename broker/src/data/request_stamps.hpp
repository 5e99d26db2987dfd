// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "dispatch/types.hpp"
#include "mserve/shm/counters.hpp"
#include "mserve/shm/errc.hpp"
#include "spsc_queue.hpp"

namespace mserve::broker {

/// What the data thread knows of a request that has just ended, for --slow and --trace. Sessions
/// are named by number and generation, as in exchange.hpp.
struct RequestStamps {
  std::uint64_t client_id = 0;    ///< What its client calls it.
  std::uint64_t route = 0;        ///< 0: none.
  std::uint64_t bytes = 0;        ///< Payload of the request,
  std::uint64_t reply_bytes = 0;  ///< and of the answer, as far as it came.
  Nanos submitted_at = 0;         ///< Seen by the data thread; its clock, read once a pass.
  Nanos dispatched_at = 0;        ///< Given to a servant the last time; 0: never.
  Nanos ended_at = 0;             ///< Answer or error passed on, or nobody waited any more.
  /// Session, which may be gone; kNone: another one has come and gone in its place since.
  std::uint32_t client = kNone;
  std::uint32_t client_generation = 0;
  std::uint32_t connection = kNone;  ///< Of a gateway: whose request it is.
  std::uint32_t servant = kNone;     ///< Session; kNone: it ran on none, or on one that is gone.
  std::uint32_t servant_generation = 0;
  Errc status = Errc::ok;
  bool slow = false;    ///< It is to be logged,
  bool traced = false;  ///< and to be written to the trace.
};

/// Which requests are told.
struct StampTerms {
  Nanos slow = kForever;    ///< Those that took this long; kForever: none.
  std::uint32_t every = 0;  ///< And each so-manieth; 0: none.
};

/// The data thread's end of what it tells the control thread of requests. It rings no bell: the
/// control thread looks several times a second. Threads: the data thread's.
class StampsWriter {
 public:
  /// @param queue  outlives it, as `dropped`; null: nothing is ever told.
  StampsWriter(SpscQueue<RequestStamps>* queue, shm::Counter& dropped) noexcept
      : queue_(queue), dropped_(dropped) {}

  void set(const StampTerms& terms) noexcept {
    terms_ = terms;
    left_ = terms.every;
    on_ = queue_ != nullptr && (terms.slow != kForever || terms.every != 0);
  }
  /// hot: all that a request costs when nobody asked.
  [[nodiscard]] bool on() const noexcept { return on_; }
  /// Of each request that ended, once. @return whether it is to be told; sets slow and traced.
  [[nodiscard]] bool wants(RequestStamps& stamps, Nanos whole) noexcept {
    stamps.slow = terms_.slow != kForever && whole >= terms_.slow;
    stamps.traced = terms_.every != 0 && --left_ == 0;
    if (stamps.traced) {
      left_ = terms_.every;
    }
    return stamps.slow || stamps.traced;
  }
  void tell(const RequestStamps& stamps) noexcept {
    if (!queue_->try_put(stamps)) [[unlikely]] {
      dropped_.add();
    }
  }

 private:
  SpscQueue<RequestStamps>* queue_;
  shm::Counter& dropped_;
  StampTerms terms_;
  std::uint32_t left_ = 0;
  bool on_ = false;
};

}  // namespace mserve::broker
