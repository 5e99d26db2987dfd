// SPDX-License-Identifier: Apache-2.0
// Serving: one thread that looks at the ring and at q's socket by turns, and sleeps on both.
#include <poll.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <thread>

#include "mserve/shm/clock.hpp"
#include "mserve/shm/parking.hpp"
#include "shim/shim.hpp"

namespace mserve::shim {

namespace {

/// How often a shim without work looks whether broker and q still live.
constexpr std::uint64_t kLookEveryNs = 1'000'000;
/// However short --probe-timeout is, a busy host may keep q from going on for so long.
constexpr std::uint64_t kSilenceMinNs = 1'000'000'000;
/// Empty passes between two looks at the clock for that purpose.
constexpr std::uint32_t kPassesPerClock = 16;
/// The same for passes with work.
constexpr std::uint32_t kBusyPassesPerClock = 4096;
/// Pause while a reply waits for room: nothing wakes us when the broker reads.
constexpr std::uint64_t kRoomNapNs = 20'000;

}  // namespace

// hot: beside the exchange's step two flags and one relaxed load; of a peer the clock.
void Shim::serve() {
  const bool look = look_at_q_;
  look_at_q_ = false;
  Rings rings{attachment_->outgoing(), attachment_->incoming()};
  const std::uint64_t now_ns = options_.peer ? shm::steady_now() : 0;
  const Progress progress = exchange_.step(q_, &rings, look, now_ns);
  if (rings.committed) {
    attachment_->wake_broker();
  }
  if (progress == Progress::worked) [[likely]] {
    worked_ = true;
    idler_.reset();
    room_idler_.reset();
    if (++passes_ % kBusyPassesPerClock == 0) [[unlikely]] {
      look_after(shm::steady_now());  // a q that never stops talking hides nobody's death
    }
    return;
  }
  after(progress);
}

void Shim::after(Progress progress) {
  if (progress == Progress::q_lost) {
    q_gone(exchange_.fault_text());
    return;
  }
  if (progress == Progress::q_cut) {
    reconnect_in_session();
    return;
  }
  if (progress == Progress::broker_broken) {
    session_over(exchange_.fault(), "the broker broke the protocol");
    return;
  }
  if (++passes_ % kPassesPerClock == 0 || idler_.yields() || room_idler_.yields()) {
    look_after(shm::steady_now());
    if (!attachment_ || !q_.connected()) {
      return;
    }
  }
  if (progress == Progress::waits_for_ring) {
    worked_ = true;  // whoever reads slowly, it is not q that is silent
    patience_.begin();
    if (room_idler_.idle() == shm::Idler::Step::park) {
      std::this_thread::sleep_for(std::chrono::nanoseconds(kRoomNapNs));
    }
  } else if (idler_.idle() == shm::Idler::Step::park) {
    const bool for_q_room = progress == Progress::waits_for_q;
    sleep_on(!for_q_room && exchange_.takes_requests(), for_q_room, shm::kSleepNsMax);
  }
}

/// Cheap when called too early; about once a millisecond it asks the sockets.
void Shim::look_after(std::uint64_t now_ns) {
  if (worked_) {
    worked_ = false;
    active_ns_ = now_ns;
  }
  if (now_ns - looked_ns_ < kLookEveryNs) {
    return;
  }
  const std::uint64_t spent_ns = now_ns - looked_ns_;
  looked_ns_ = now_ns;
  look_at_q_ = true;
  if (attachment_ && attachment_->check() != Errc::ok) {
    session_over(Errc::disconnected, attachment_->closing_reason());
    return;
  }
  if (options_.peer) {
    note_silence(spent_ns);
    return;
  }
  interrupt_if_due(now_ns);
  probe_if_due(now_ns);
}

void Shim::note_silence(std::uint64_t spent_ns) {
  const bool in_message = exchange_.in_message();
  if (!patience_.ends(spent_ns, exchange_.received_bytes(), in_message)) {
    return;
  }
  q_gone(in_message ? "the peer fell silent in the middle of a message"
                    : "the peer sent no sign of life " + std::to_string(PeerPatience::kMissedMax) +
                          " times");
}

/// Asks an idle q for a sign of life. One that works for us is never suspected, unless it has begun
/// an answer: q sends each in one go.
void Shim::probe_if_due(std::uint64_t now_ns) {
  if (options_.probe_ns != 0 && exchange_.in_message() &&
      now_ns - active_ns_ >= std::max(options_.probe_timeout_ns, kSilenceMinNs)) {
    q_gone("it fell silent in the middle of an answer");
    return;
  }
  if (options_.probe_ns == 0 || exchange_.busy()) {
    probed_ns_ = now_ns;
    return;
  }
  if (!exchange_.probing()) {
    if (now_ns - active_ns_ >= options_.probe_ns) {
      exchange_.probe();
      probed_ns_ = now_ns;
    }
  } else if (now_ns - probed_ns_ >= options_.probe_timeout_ns) {
    q_gone("idle, and it does not answer");
  }
}

/// Sleeps until a request, bytes from q, or room for bytes to q; or until broker or q go.
/// @param for_ring  false: frames wait already, and cannot be taken yet.
void Shim::sleep_on(bool for_ring, bool for_q_room, std::uint64_t ns) {
  if (for_ring && !attachment_->prepare_sleep()) {
    return;
  }
  std::array<pollfd, 2> waiting = {
      pollfd{q_.fd(), static_cast<short>(POLLIN | (for_q_room ? POLLOUT : 0)), 0},
      pollfd{attachment_ ? attachment_->fd() : -1, POLLIN, 0}};
  (void)poll(waiting.data(), waiting.size(),
             static_cast<int>((ns + 999'999) / 1'000'000));  // the same when interrupted
  look_at_q_ = waiting[0].revents != 0;
  const Errc woken = for_ring ? attachment_->finish_sleep() : Errc::ok;
  if (woken == Errc::disconnected) {
    session_over(woken, attachment_->closing_reason());
    return;
  }
  look_after(shm::steady_now());
}

/// Without a session only q is looked at: what it still owes, and whether it lives.
void Shim::serve_without_broker(std::uint64_t wait_ns) {
  const Progress progress = exchange_.step(q_, nullptr, look_at_q_, 0);
  look_at_q_ = false;
  if (progress == Progress::worked) {
    worked_ = true;
    return;
  }
  if (progress == Progress::q_lost || progress == Progress::q_cut) {
    q_gone(exchange_.fault_text());
    return;
  }
  sleep_on(/*for_ring=*/false, progress == Progress::waits_for_q,
           std::min(wait_ns, shm::kSleepNsMax));
}

}  // namespace mserve::shim
