// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>

#include "mserve/shm/attachment.hpp"
#include "mserve/shm/errc.hpp"
#include "mserve/shm/idle.hpp"
#include "shim/backoff.hpp"
#include "shim/exchange.hpp"
#include "shim/interrupt_timer.hpp"
#include "shim/options.hpp"
#include "shim/peer_patience.hpp"
#include "shim/q_process.hpp"
#include "shim/q_socket.hpp"
#include "shim/shim_log.hpp"

namespace mserve::shim {

/// A servant that hands its requests to one q process.
///   Order    first q, then the broker: it is attached only while q is connected and has said who
///            it is, so that nobody's request waits for a q that is away. When q goes, it leaves at
///            once, and the broker decides what becomes of requests that ran
///   Waiting  for q, for the broker, for a q that is busy: always by one real attempt after the
///            other, never by a trial connection, since LBT's servants end when one closes
///   Threads  run() is one thread; stop() may be called from any other, or from a signal handler
class Shim {
 public:
  /// @param options  validated. @param log  must not be empty.
  Shim(ShimOptions options, LogFunction log);
  Shim(const Shim&) = delete;
  Shim& operator=(const Shim&) = delete;

  /// Serves until stop(), then finishes what runs (at most ShimOptions::stop_ns_max) and detaches.
  /// @return code ok after stop(), and after an operator retired it; else why going on is
  /// pointless: `access`, `version_mismatch`,
  ///         `invalid` or `unsafe_directory`, all of them the broker's.
  Error run();

  /// Makes run() return soon; also before run(). Stays in effect.
  void stop() noexcept {
    stopping_.store(true, std::memory_order_relaxed);  // a flag of its own; publishes nothing
  }

 private:
  [[nodiscard]] bool stopping() const noexcept {
    return stopping_.load(std::memory_order_relaxed);  // a flag of its own
  }

  // Coming and going: shim.cpp.
  void connect_q();
  bool try_connect(std::uint64_t patience_ns, std::string& why);
  void q_gone(const std::string& why);
  void let_broker_read();
  void reconnect_in_session();
  Errc attach();
  void session_over(Errc code, std::string_view text);
  void leave_session();
  void finish();

  // Serving: shim_serve.cpp.
  void serve();
  void serve_without_broker(std::uint64_t wait_ns);
  void after(Progress progress);
  void idle();
  void look_after(std::uint64_t now_ns);
  void probe_if_due(std::uint64_t now_ns);
  void note_silence(std::uint64_t spent_ns);
  void sleep_on(bool for_ring, bool for_q_room, std::uint64_t ns);
  void interrupt_if_due(std::uint64_t now_ns);  // shim_interrupt.cpp

  ShimOptions options_;
  ShimLog log_;
  std::atomic<bool> stopping_{false};
  static_assert(std::atomic<bool>::is_always_lock_free, "stop() must be safe in a signal handler");

  QSocket q_;
  bool ask_process_ = true;          ///< Not of a q that hung up when it was asked last.
  std::int64_t q_says_process_ = 0;  ///< Of this connection; 0: it did not say.
  QProcess q_process_;               ///< The same, once it was sought.
  bool q_process_sought_ = false;    ///< Only when there is something to interrupt.
  Exchange exchange_;
  std::optional<shm::Attachment> attachment_;
  Backoff q_backoff_;
  Backoff broker_backoff_;

  shm::Idler idler_;
  shm::Idler room_idler_;
  bool look_at_q_ = false;
  bool worked_ = false;  ///< Since the clock was last read.
  std::uint32_t passes_ = 0;
  std::uint64_t connected_ns_ = 0;
  std::uint64_t attached_ns_ = 0;
  std::uint64_t looked_ns_ = 0;  ///< When sockets were last looked at.
  std::uint64_t active_ns_ = 0;  ///< About when something last went through.
  std::uint64_t probed_ns_ = 0;  ///< When the probe went out, or q last had a reason to keep quiet.
  InterruptTimer interrupt_timer_;
  PeerPatience patience_;
};

}  // namespace mserve::shim
