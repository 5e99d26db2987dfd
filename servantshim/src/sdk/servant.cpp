// SPDX-License-Identifier: Apache-2.0
#include "mserve/servant/servant.hpp"

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>

#include "leaving.hpp"
#include "mserve/shm/clock.hpp"
#include "mserve/shm/parking.hpp"
#include "servant_parts.hpp"

namespace mserve::servant {
namespace {

/// How often a servant that finds nothing to do looks whether its broker still lives.
constexpr std::uint64_t kCheckEveryNs = 1'000'000;
/// Empty passes between two looks at the clock for that purpose.
constexpr std::uint32_t kPassesPerClock = 16;
/// Pause while a reply waits for room: nothing wakes us when the broker reads.
constexpr std::uint64_t kRoomNapNs = 20'000;

void nap(std::uint64_t ns) {
  std::this_thread::sleep_for(std::chrono::nanoseconds(ns));
}

/// Failures that another attempt would only repeat.
bool hopeless(Errc code) noexcept {
  return code == Errc::invalid || code == Errc::access || code == Errc::version_mismatch ||
         code == Errc::unsafe_directory || code == Errc::retired;
}

}  // namespace

std::string_view to_string(Event event) noexcept {
  switch (event) {
    case Event::attached:
      return "attached";
    case Event::detached:
      return "detached";
    case Event::unreachable:
      return "no session";
    case Event::warning:
      return "warning";
  }
  return "unknown";
}

void Servant::Parts::report(Event event, const std::string& text) const {
  if (events) {
    events(event, text);
  }
}

void Servant::Parts::retry_later(std::uint64_t now_ns) {
  retry_wait_ns = std::min(std::max(retry_wait_ns * 2, options.retry_ns_min), options.retry_ns_max);
  retry_at_ns = now_ns + retry_wait_ns;
}

Errc Servant::Parts::attach_if_due() {
  if (const std::string faults = options.validate(); !faults.empty()) {
    return attach_failed({Errc::invalid, 0, "Servant options"}, faults);
  }
  if (shm::steady_now() < retry_at_ns) {
    return Errc::not_attached;
  }
  shm::AttachOptions wanted;
  wanted.broker = options.broker.empty() ? default_broker() : options.broker;
  wanted.directory = options.directory;
  wanted.role = shm::Role::servant;
  wanted.name = options.name;
  wanted.tags = options.tags;
  wanted.tier = options.tier;
  wanted.credit = options.credit;
  wanted.ring_bytes = options.ring_bytes;
  wanted.timeout_ns = options.attach_ns_max;
  wanted.lock_memory = options.lock_memory;
  std::string reason;
  Result<shm::Attachment> opened = shm::Attachment::open(wanted, &reason);
  if (!opened) {
    return attach_failed(opened.error(), reason);
  }
  attachment.emplace(std::move(opened).value());
  attached_now();
  return Errc::ok;
}

Errc Servant::Parts::attach_failed(Error error, const std::string& reason) {
  if (error.code != reported) {
    std::string text = reason.empty() ? advice(error.code) : reason;
    std::replace(text.begin(), text.end(), '\n', ' ');
    report(Event::unreachable, std::string(to_string(error.code)) + ": " + text);
    reported = error.code;
  }
  last_error = error;
  if (hopeless(error.code) || !options.reconnect) {
    return error.code;
  }
  retry_later(shm::steady_now());
  return Errc::not_attached;
}

void Servant::Parts::attached_now() {
  const shm::SessionInfo& info = attachment->info();
  Engine::Bounds bounds;
  bounds.servant = info.servant;
  bounds.credit = std::clamp<std::uint32_t>(info.credit, 1, options.credit);
  bounds.message_bytes_max = options.message_bytes_max == 0
                                 ? info.message_bytes_max
                                 : std::min(options.message_bytes_max, info.message_bytes_max);
  engine.attach(bounds);
  ++sessions;
  reported = Errc::ok;
  empty_passes = 0;
  idler.reset();
  report(Event::attached, "broker " + (options.broker.empty() ? default_broker() : options.broker) +
                              ", pid " + std::to_string(info.broker_pid) + ", servant " +
                              std::to_string(info.servant) + ", credit " +
                              std::to_string(bounds.credit));
  if (info.lock_failed) {
    report(Event::warning, "mlock was refused; check the memlock limit");
  }
}

Errc Servant::Parts::session_ended(Errc code, std::string_view text) {
  // Put together first: `text` may lie in the attachment.
  const std::string line =
      std::string(to_string(code)) + (text.empty() ? "" : ": ") + std::string(text);
  attachment.reset();
  report(Event::detached, line);
  last_error = {code, 0, "session"};
  retry_later(shm::steady_now());
  return options.reconnect && !hopeless(code) ? Errc::not_attached : code;
}

/// The broker is gone, or said why it ended the session.
Errc Servant::Parts::broker_ended() {
  const bool retired = attachment->closing_code() == Errc::retired;
  return session_ended(retired ? Errc::retired : Errc::disconnected, attachment->closing_reason());
}

/// Cheap on most calls; about once a millisecond it asks the socket.
Errc Servant::Parts::look_after_broker() {
  const bool yields = idler.yields() || room_idler.yields();
  if (++empty_passes % kPassesPerClock != 0 && !yields) {
    return Errc::ok;
  }
  const std::uint64_t now_ns = shm::steady_now();
  if (now_ns - checked_at_ns < kCheckEveryNs) {
    return Errc::ok;
  }
  checked_at_ns = now_ns;
  return attachment->check();
}

Servant::Servant(Options options) : parts_(std::make_unique<Parts>(std::move(options))) {}
Servant::~Servant() = default;

bool Servant::add(std::string name, Function function) {
  return parts_->functions.add(std::move(name), std::move(function));
}
void Servant::set_opaque(OpaqueFunction function) {
  parts_->opaque = std::move(function);
}
void Servant::set_events(EventFunction function) {
  parts_->events = std::move(function);
}
void Servant::stop() noexcept {
  parts_->stopping.store(
      true, std::memory_order_relaxed);  // a flag of its own; nothing is published with it
}
bool Servant::attached() const noexcept {
  return parts_->attachment.has_value();
}
std::uint32_t Servant::number() const noexcept {
  return attached() ? parts_->attachment->info().servant : 0;
}
const Functions& Servant::functions() const noexcept {
  return parts_->functions;
}

Errc Servant::poll_once() {
  Parts& p = *parts_;
  if (!p.attachment) {
    return p.attach_if_due();
  }
  const Progress progress = p.engine.step(p.attachment->outgoing(), p.attachment->incoming());
  if (progress == Progress::worked) [[likely]] {
    p.attachment->wake_broker();
    p.retry_wait_ns = 0;  // this broker works: the next time starts with the shortest pause again
    return Errc::ok;
  }
  if (progress == Progress::broken) {
    return p.session_ended(p.engine.fault(), "the broker broke the protocol");
  }
  if (p.look_after_broker() != Errc::ok) {
    return p.broker_ended();
  }
  return progress == Progress::blocked ? Errc::full : Errc::empty;
}

Errc Servant::Parts::idle_or_park(std::uint64_t until_ns) {
  if (idler.idle() == shm::Idler::Step::again) {
    return Errc::ok;
  }
  const Errc woken = attachment->wait(std::min(until_ns, shm::steady_now() + shm::kSleepNsMax),
                                      shm::SleepOn::futex);
  return woken == Errc::disconnected ? broker_ended() : Errc::ok;
}

void Servant::Parts::wait_for_room() {
  if (room_idler.idle() == shm::Idler::Step::park) {
    nap(kRoomNapNs);
  }
}

void Servant::Parts::wait_for_broker(std::uint64_t until_ns) const {
  const std::uint64_t now_ns = shm::steady_now();
  const std::uint64_t end_ns = std::min(retry_at_ns, until_ns);
  if (end_ns > now_ns) {
    nap(std::min(end_ns - now_ns, shm::kSleepNsMax));  // short, so that stop() is noticed
  }
}

/// What follows a pass that came to `done`: the next one at once, or a wait until until_ns at most.
/// @return `ok` to go on, else why there is no going on.
Errc Servant::Parts::wait_after(Errc done, std::uint64_t until_ns) {
  if (done == Errc::empty) {
    done = idle_or_park(until_ns);
  } else if (done == Errc::ok) {
    idler.reset();
    room_idler.reset();
  }
  if (done == Errc::full) {
    wait_for_room();
  } else if (done == Errc::not_attached) {
    wait_for_broker(until_ns);
  } else {
    return done;
  }
  return Errc::ok;
}

Error Servant::run() {
  Parts& p = *parts_;
  while (!p.stopping.load(std::memory_order_relaxed)) {  // a flag of its own
    const Errc code = p.wait_after(poll_once());
    if (code != Errc::ok) {
      return code == Errc::retired ? Error{} : p.last_error;
    }
  }
  p.leave();
  detach();
  return {};
}

/// Has the broker send nothing new, and runs what it has sent.
void Servant::Parts::leave() {
  if (!attachment) {
    return;
  }
  const std::uint64_t until_ns = shm::add_capped(shm::steady_now(), options.stop_ns_max);
  Leaving leaving;
  leaving.begin(options.broker.empty() ? default_broker() : options.broker, options.directory,
                attachment->info().servant, options.stop_ns_max);
  while (attachment && leaving.pending() && shm::steady_now() < until_ns) {
    const Progress progress = engine.step(attachment->outgoing(), attachment->incoming());
    if (progress == Progress::worked) {
      attachment->wake_broker();
    } else if (progress == Progress::broken || attachment->check() != Errc::ok) {
      break;
    } else {
      nap(kRoomNapNs);
    }
  }
}

void Servant::detach() {
  Parts& p = *parts_;
  if (!p.attachment) {
    return;
  }
  const std::uint64_t until_ns = shm::add_capped(shm::steady_now(), p.options.stop_ns_max);
  while (shm::steady_now() < until_ns && p.attachment->check() == Errc::ok) {
    const Progress progress = p.engine.finish(p.attachment->outgoing(), p.attachment->incoming());
    p.attachment->wake_broker();
    const bool gone = progress == Progress::idle && p.attachment->outgoing().drained();
    if (gone || progress == Progress::broken || p.attachment->outgoing().poisoned()) {
      break;
    }
    if (progress != Progress::worked) {
      nap(kRoomNapNs);
    }
  }
  p.attachment.reset();
  p.report(Event::detached, "stopped");
}

}  // namespace mserve::servant
