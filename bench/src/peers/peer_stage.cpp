// SPDX-License-Identifier: Apache-2.0
#include "peers/peer_stage.hpp"

#include <sched.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "ends.hpp"
#include "interrupt.hpp"
#include "mserve/shm/clock.hpp"

namespace mserve::bench {
namespace {

constexpr int kPeerTripsPerLook = 10;
constexpr std::uint64_t kWaitsPerCheck = 1U << 14;
constexpr std::uint64_t kAnswerNsMax = 30'000'000'000;
constexpr std::size_t kWindow = 64;
constexpr std::size_t kWindowBytesMax = 1U << 16;

/// A servant process.
[[noreturn]] void serve(Endpoint& endpoint, std::size_t payload_bytes, Wait wait) {
  std::vector<std::byte> message(payload_bytes);
  for (;;) {
    while (!(wait == Wait::block ? endpoint.receive(message) : endpoint.try_receive(message))) {
      if (wait == Wait::yield) {
        sched_yield();
      }
    }
    while (!endpoint.try_send(message)) {
      sched_yield();
    }
  }
}

/// As a relay: with free_threads only once it is open.
void pin_ends(const PeerOptions& options, bool now) {
  if (options.setting.free_threads != now && ends_core(options) >= 0) {
    (void)pin_to(ends_core(options));
  }
}

}  // namespace

std::size_t peer_window(std::size_t payload_bytes) noexcept {
  return std::clamp<std::size_t>(kWindowBytesMax / std::max<std::size_t>(payload_bytes, 1), 1,
                                 kWindow);
}

PeerStage::PeerStage(const PeerKind& kind, PeerOptions options)
    : kind_(kind),
      options_(std::move(options)),
      request_(options_.payload_bytes),
      served_(options_.payload_bytes),
      answer_(options_.payload_bytes) {
  options_.directory = directory_.path();
  try {
    open();
  } catch (const Interrupted&) {
    // The caller looks at interrupted() too.
  }
}

// The servant first, and killed: it need not say that everything else goes. The relay last: the
// client may speak with it while it closes.
PeerStage::~PeerStage() {
  servant_process_.reset();
  client_.reset();
  servant_.reset();
  peer_.reset();
  relay_.reset();
}

void PeerStage::open() {
  for (std::size_t i = 0; i < request_.size(); ++i) {
    request_[i] = static_cast<std::byte>(i * 7 + 1);
  }
  peer_ = kind_.open(options_);
  relay_ = peer_->start_relay();
  if (options_.mode == PeerMode::processes && !interrupted()) {
    servant_process_ = std::make_unique<RoleProcess>(
        std::string("servant of ") + kind_.title, [this](const std::function<void()>& ready) {
          pin_ends(options_, true);
          const std::unique_ptr<Endpoint> endpoint = peer_->servant();
          pin_ends(options_, false);
          ready();
          serve(*endpoint, options_.payload_bytes, options_.setting.ends);
        });
  }
  if (interrupted()) {
    return;
  }
  if (ends_core(options_) >= 0 && !options_.setting.free_threads) {
    pinned_ = std::make_unique<Pinned>(ends_core(options_));
  }
  if (options_.mode == PeerMode::pair) {
    servant_ = peer_->servant();
  }
  client_ = peer_->client();
  if (ends_core(options_) >= 0 && options_.setting.free_threads) {
    pinned_ = std::make_unique<Pinned>(ends_core(options_));
  }
  round_trip();
  check_answer(number_);
}

void PeerStage::check_alive() {
  if (interrupted()) {
    throw Interrupted{};
  }
  if (relay_->ended() || (servant_process_ && servant_process_->ended())) {
    throw std::runtime_error(std::string(kind_.title) + ": relay or servant ended");
  }
}

/// After a look that found nothing.
/// @param slept  the look was a sleep, of a setting that blocks. Where one thread plays both ends
/// with many requests under way neither may sleep; it yields then, since threads of a library may
/// share this core.
/// @return whether it was time to see who is alive.
inline bool PeerStage::idle(bool slept) {
  if (!slept && options_.setting.ends != Wait::spin) {
    sched_yield();
  }
  const bool seldom = slept || ++waits_ % kWaitsPerCheck == 0;
  if (seldom) [[unlikely]] {
    check_alive();
  }
  return seldom;
}

inline void PeerStage::receive(Endpoint& endpoint, std::vector<std::byte>& message) {
  const bool block = options_.setting.ends == Wait::block;
  if (block ? endpoint.receive(message) : endpoint.try_receive(message)) {
    return;
  }
  const std::uint64_t until = shm::steady_now() + kAnswerNsMax;
  while (!(block ? endpoint.receive(message) : endpoint.try_receive(message))) {
    if (idle(block) && shm::steady_now() > until) [[unlikely]] {
      throw std::runtime_error(std::string(kind_.title) + ": no answer for 30 s");
    }
  }
}

inline void PeerStage::send(Endpoint& endpoint, const std::vector<std::byte>& message) {
  while (!endpoint.try_send(message))
    [[unlikely]] {
      sched_yield();
      if (++waits_ % kWaitsPerCheck == 0) {
        check_alive();
      }
    }
}

inline void PeerStage::round_trip() {
  number_request();
  send(*client_, request_);
  if (servant_) {
    receive(*servant_, served_);
    send(*servant_, served_);
  }
  receive(*client_, answer_);
}

inline void PeerStage::number_request() noexcept {
  ++number_;
  std::memcpy(request_.data(), &number_, std::min(sizeof(number_), request_.size()));
}

/// The answer to an earlier request differs in its number only.
inline void PeerStage::check_answer(std::uint64_t number) const {
  const std::size_t numbered = std::min(sizeof(number), answer_.size());
  if (std::memcmp(answer_.data(), &number, numbered) != 0 ||
      std::memcmp(answer_.data() + numbered, request_.data() + numbered,
                  answer_.size() - numbered) != 0) [[unlikely]] {
    throw std::runtime_error(std::string(kind_.title) + ": the answer is not what was sent");
  }
}

void PeerStage::measure(const Timer& timer, std::uint64_t duration_ns, shm::Histogram& samples) {
  const std::uint64_t begin_ns = shm::steady_now();
  try {
    while (shm::steady_now() - begin_ns < duration_ns && !interrupted()) {
      for (int i = 0; i < kPeerTripsPerLook && !interrupted(); ++i) {
        const std::uint64_t begin = timer.read();
        round_trip();
        const std::uint64_t end = timer.read();
        samples.record(timer.to_ns(end - begin));
        check_answer(number_);
      }
    }
  } catch (const Interrupted&) {
    // The caller looks at interrupted() too.
  }
}

/// Pair mode: what a servant does between two looks at the client's side.
bool PeerStage::serve_some() {
  bool moved = false;
  for (std::size_t i = 0; i < kWindow; ++i) {
    if (!unanswered_ && !servant_->try_receive(served_)) {
      break;
    }
    unanswered_ = !servant_->try_send(served_);
    if (unanswered_) {
      break;
    }
    moved = true;
  }
  return moved;
}

double PeerStage::throughput(std::uint64_t duration_ns) {
  const std::size_t window = peer_window(options_.payload_bytes);
  const bool asleep = !servant_ && options_.setting.ends == Wait::block;
  const std::uint64_t begin_ns = shm::steady_now();
  const std::uint64_t first = number_ + 1;
  std::uint64_t answered = number_;
  std::uint64_t moved_ns = begin_ns;
  bool more = true;
  try {
    while (more || answered != number_) {
      // One at least, however little time there is.
      more =
          more && (number_ < first || shm::steady_now() - begin_ns < duration_ns) && !interrupted();
      bool moved = false;
      while (more && number_ - answered < window) {
        number_request();
        if (!client_->try_send(request_)) {
          --number_;
          break;
        }
        moved = true;
      }
      if (servant_) {
        moved = serve_some() || moved;
      }
      if (asleep && answered != number_) {
        receive(*client_, answer_);
        check_answer(++answered);
        moved = true;
      }
      while (answered != number_ && client_->try_receive(answer_)) {
        check_answer(++answered);
        moved = true;
      }
      if (moved) {
        moved_ns = shm::steady_now();
      } else if (!asleep && idle(false) && shm::steady_now() - moved_ns > kAnswerNsMax)
          [[unlikely]] {
        throw std::runtime_error(std::string(kind_.title) + ": no answer for 30 s");
      }
    }
  } catch (const Interrupted&) {
    return 0;
  }
  const std::uint64_t took_ns = shm::steady_now() - begin_ns;
  return static_cast<double>(answered + 1 - first) * 1e9 / static_cast<double>(took_ns);
}

}  // namespace mserve::bench
