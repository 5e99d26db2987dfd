// SPDX-License-Identifier: Apache-2.0
#include <time.h>

#include <algorithm>
#include <utility>

#include "lib/core.hpp"
#include "lib/failures.hpp"
#include "mserve/shm/clock.hpp"

namespace mserve {
namespace {

/// Empty passes between two looks at the socket: a system call every 10 to 100 microseconds of
/// spinning.
constexpr std::uint32_t kPassesPerCheck = 256;
/// Where passes take longer the clock says when to look.
constexpr std::uint64_t kCheckEveryNs = 1'000'000;

/// Passes between two looks at the clock while neither sleeping nor yielding.
constexpr std::uint32_t kPassesPerClock = 16;

/// Shortest time an attempt gets when its deadline is near or past.
constexpr std::uint64_t kAttachNsMin = 1'000'000;

void sleep_for(std::uint64_t ns) noexcept {
  const timespec span{static_cast<time_t>(ns / 1'000'000'000),
                      static_cast<long>(ns % 1'000'000'000)};
  (void)clock_nanosleep(CLOCK_MONOTONIC, 0, &span, nullptr);
}

}  // namespace

ClientCore::ClientCore(ClientOptions options, LinkSource source)
    : options_(std::move(options)),
      source_(std::move(source)),
      idler_(options_.idle),
      retry_pause_ns_(options_.retry_ns_min) {}

Error ClientCore::attach(std::uint64_t attach_ns, std::string* reason) {
  if (link_ != nullptr) {
    return {};
  }
  std::string text;
  auto link = source_.any(attach_ns, &text);
  if (!link) {
    last_failure_ = text.empty() ? to_string(link.error().code) : text;
    if (reason != nullptr) {
      *reason = last_failure_;
    }
    return link.error();
  }
  use(std::move(link).value());
  if (!text.empty()) {
    last_failure_ = std::move(text);
  }
  if (!again_.empty()) {
    flush_pending();
  }
  return {};
}

/// Begins a session.
void ClientCore::use(std::unique_ptr<Link> link) {
  link_ = std::move(link);
  remote_ = link_->remote();
  endpoint_ = link_->endpoint();
  info_ = link_->info();
  message_bytes_max_ = options_.message_bytes_max == 0
                           ? info_.message_bytes_max
                           : std::min(options_.message_bytes_max, info_.message_bytes_max);
  whole_bytes_max_ =
      std::min(message_bytes_max_, shm::whole_payload_bytes_max(link_->outgoing().capacity()));
  assembler_ = shm::Assembler(message_bytes_max_);
  retry_pause_ns_ = options_.retry_ns_min;
  retry_at_ns_ = 0;
  checked_at_ns_ = shm::steady_now();
  home_at_ns_ =
      remote_ && source_.home ? shm::add_capped(shm::steady_now(), options_.return_ns) : 0;
}

bool ClientCore::ensure_attached_slow() {
  if (!options_.reconnect) {
    return false;
  }
  Errc code = Errc::ok;
  if (shm::steady_now() >= retry_at_ns_) {
    code = attach(options_.reattach_ns_max, nullptr).code;
    if (code == Errc::ok) {
      return link_ != nullptr;
    }
    retry_at_ns_ = shm::steady_now() + retry_pause_ns_;
    retry_pause_ns_ = std::min(retry_pause_ns_ * 2, options_.retry_ns_max);
  }
  if (!again_.empty() && (permanent(code) || shm::steady_now() >= again_until_ns_)) {
    give_up_again(Errc::disconnected);
  }
  return false;
}

/// To be called after a pass without work; looks at the socket now and then, or every time where
/// that is how answers come.
void ClientCore::look_after_session() {
  if (link_ != nullptr && (remote_ || check_is_due()) && link_->check() != Errc::ok) [[unlikely]] {
    lose(Errc::disconnected);
  }
}

/// On a core that many others want too, a yield takes milliseconds.
bool ClientCore::check_is_due() noexcept {
  ++empty_passes_;
  bool due = empty_passes_ % kPassesPerCheck == 0;
  if (idler_.yields() || empty_passes_ % kPassesPerClock == 0) {
    const std::uint64_t now = shm::steady_now();
    due = due || now - checked_at_ns_ >= kCheckEveryNs;
    checked_at_ns_ = due ? now : checked_at_ns_;
  }
  return due;
}

/// Ends the use of link_. A reply on loan stays readable until take_back().
void ClientCore::leave_link() {
  if (std::exchange(frame_lent_, false)) {
    retired_ = std::move(link_);
  }
  link_.reset();
  assembler_.clear();
  cancels_.clear();
  abort_id_ = 0;
  ungranted_bytes_ = 0;
  pending_ = false;
}

void ClientCore::complete(std::uint64_t id, Errc status) {
  Reply reply;
  reply.id = id;
  reply.status = status;
  kept_.emplace_back(reply);
  kept_bytes_ += sizeof(OwnedReply);
}

/// Ends the session: answers that had arrived are kept, what may be sent again waits for the next
/// session, everything else in flight is completed with `disconnected`.
void ClientCore::lose(Errc why) {
  if (link_ == nullptr) {
    return;
  }
  last_failure_ = link_->closing_reason();
  if (last_failure_.empty()) {
    last_failure_ = why == Errc::disconnected
                        ? "the broker closed the session or is gone"
                        : std::string("the broker broke the protocol: ") + to_string(why);
  }
  if (frame_lent_) {
    link_->incoming().release();
  }
  if (why == Errc::disconnected) {
    keep_what_arrived();
  }
  again_.clear();
  if (flow_again_) {
    const std::uint64_t id = flow_again_->id();
    flow_again_.reset();
    if (!in_flight_.contains(id)) {
      forget(id);
    }
  }
  for (const std::uint64_t id : in_flight_.take_all()) {
    if (goes_again(id)) {
      in_flight_.insert(id);
      again_.push_back(id);
    } else {
      forget(id);
      complete(id, Errc::disconnected);
    }
  }
  leave_link();
  retry_at_ns_ = 0;
  again_until_ns_ = shm::add_capped(shm::steady_now(), options_.resend_ns_max);
}

/// Bounded by the ring: the broker that could add frames is gone, and one that is not gets no
/// second lap.
void ClientCore::keep_what_arrived() {
  OwnedReply on_loan = std::move(lent_);
  shm::RingConsumer& ring = link_->incoming();
  const std::uint64_t begin = ring.position();
  shm::FrameView frame;
  while (ring.position() - begin < ring.capacity() && ring.front(frame) == Errc::ok) {
    Reply reply;
    const Taken taken = take(frame, reply);
    if (taken == Taken::violation) {
      break;
    }
    if (taken != Taken::nothing) {
      kept_bytes_ += size_of(reply);
      const bool owned = taken == Taken::reply && !reply.payload.empty();
      kept_.push_back(owned ? std::move(lent_) : OwnedReply(reply));
    }
    ring.release();
  }
  lent_ = std::move(on_loan);
}

/// One step of waiting: spins, yields or sleeps, whatever the idle strategy says by now.
/// @return false when the deadline has passed.
bool ClientCore::pause(std::uint64_t deadline_ns, std::uint64_t sleep_ns_max) {
  if (link_ == nullptr) {
    return pause_without_session(deadline_ns);
  }
  if (worked_) {
    worked_ = false;
    idler_.reset();
  }
  if (idler_.idle() == shm::Idler::Step::again) {
    return deadline_ns == 0 || ++pauses_ % kPassesPerClock != 0 || shm::steady_now() < deadline_ns;
  }
  const std::uint64_t now = shm::steady_now();
  if (deadline_ns != 0 && now >= deadline_ns) {
    return false;
  }
  // Who makes room for what is pending does not ring, so that is tried again after a nap.
  const std::uint64_t latest = shm::add_capped(
      now, pending_ && !remote_ ? std::min(sleep_ns_max, kRoomNapNs) : sleep_ns_max);
  const std::uint64_t until = deadline_ns != 0 ? std::min(deadline_ns, latest) : latest;
  if (link_->wait(until) == Errc::disconnected) {
    lose(Errc::disconnected);
  }
  return true;  // when the time is up, the next step says so
}

/// The same while requests wait for the next session.
bool ClientCore::pause_without_session(std::uint64_t deadline_ns) {
  const std::uint64_t now = shm::steady_now();
  if (deadline_ns != 0 && now >= deadline_ns) {
    return false;
  }
  const std::uint64_t next = std::min(std::max(retry_at_ns_, now + 1), again_until_ns_);
  const std::uint64_t until = deadline_ns != 0 ? std::min(deadline_ns, next) : next;
  sleep_for(until - std::min(until, now));
  return true;
}

Errc ClientCore::reconnect(std::uint64_t deadline_ns, std::string* reason) {
  keep_next();
  take_back();
  if (link_ != nullptr && link_->check() != Errc::ok) {
    lose(Errc::disconnected);
  }
  std::uint64_t pause_ns = options_.retry_ns_min;
  for (;;) {
    const std::uint64_t now = shm::steady_now();
    const std::uint64_t left =
        deadline_ns == 0 ? UINT64_MAX : deadline_ns - std::min(deadline_ns, now);
    const Error failure =
        attach(std::min(options_.attach_ns_max, std::max(left, kAttachNsMin)), reason);
    if (failure.code == Errc::ok || permanent(failure.code)) {
      return failure.code;
    }
    if (left <= pause_ns) {
      return failure.code;
    }
    sleep_for(pause_ns);
    pause_ns = std::min(pause_ns * 2, options_.retry_ns_max);
  }
}

}  // namespace mserve
