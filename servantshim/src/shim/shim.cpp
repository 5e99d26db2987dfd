// SPDX-License-Identifier: Apache-2.0
// Coming and going: q first, then the broker, and back.
#include "shim/shim.hpp"

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>

#include "mserve/shm/clock.hpp"
#include "mserve/shm/parking.hpp"
#include "sdk/leaving.hpp"

namespace mserve::shim {

namespace {

/// A q that accepts and then keeps quiet for this long is worth a line: it may just be busy.
constexpr std::uint64_t kQuietNs = 5'000'000'000;
/// How long q may take to come back while the session waits for it.
constexpr std::uint64_t kReconnectNs = 1'000'000'000;
constexpr std::uint64_t kAttachNs = 5'000'000'000;
/// How long the broker may take to read what was committed before q went.
constexpr std::uint64_t kLastReadNs = 1'000'000'000;
constexpr std::uint64_t kReadNapNs = 20'000;

void nap(std::uint64_t ns) {
  std::this_thread::sleep_for(std::chrono::nanoseconds(ns));
}

/// Failures that another attempt would only repeat.
bool hopeless(Errc code) noexcept {
  return code == Errc::invalid || code == Errc::access || code == Errc::version_mismatch ||
         code == Errc::unsafe_directory;
}

/// What lasted for a while starts with the shortest pause again; what ends as soon as it began does
/// not.
void failed_after(Backoff& backoff, std::uint64_t began_ns, std::uint64_t lasting_ns) {
  const std::uint64_t now = shm::steady_now();
  if (now - began_ns >= lasting_ns) {
    backoff.succeeded();
  }
  backoff.failed(now);
}

const char* name_of(Form form) noexcept {
  return form == Form::lbt ? "lbt" : "plain";
}

}  // namespace

Shim::Shim(ShimOptions options, LogFunction log)
    : options_(std::move(options)),
      log_(std::move(log)),
      exchange_([this](std::string_view line) { log_.warning(line, shm::steady_now()); },
                options_.peer),
      q_backoff_(options_.retry_ns_min, options_.retry_ns_max),
      broker_backoff_(options_.retry_ns_min, options_.retry_ns_max),
      idler_(options_.idle),
      room_idler_(options_.idle),
      patience_(options_.heartbeat_ns) {}

Error Shim::run() {
  while (!stopping()) {
    if (!q_.connected()) {
      connect_q();
    } else if (attachment_) {
      serve();
    } else if (!exchange_.idle()) {
      serve_without_broker(shm::kSleepNsMax);  // what q owes to an earlier session
    } else if (const std::uint64_t wait = broker_backoff_.wait_ns(shm::steady_now()); wait > 0) {
      serve_without_broker(wait);
    } else if (const Errc code = attach(); hopeless(code)) {
      return {code, 0, "attach"};
    }
  }
  finish();
  return {};
}

void Shim::connect_q() {
  const std::uint64_t wait = q_backoff_.wait_ns(shm::steady_now());
  if (wait > 0) {
    nap(std::min(wait, kStopLookNs));
    return;
  }
  std::string why;
  if (try_connect(UINT64_MAX, why)) {
    return;
  }
  if (!stopping()) {
    log_.failure("no q", why);
    q_backoff_.failed(shm::steady_now());
  }
}

/// One attempt: connection, handshake, form. @param patience_ns  for q's answers.
bool Shim::try_connect(std::uint64_t patience_ns, std::string& why) {
  SocketOptions socket;
  socket.user_timeout_ns = options_.user_timeout_ns;
  socket.connect_ns_max = std::min(socket.connect_ns_max, patience_ns);
  if (!q_.connect(options_.q, socket, stopping_, why)) {
    return false;
  }
  const std::uint64_t began = shm::steady_now();
  const auto wait = [&](bool writable) {
    const std::uint64_t spent = shm::steady_now() - began;
    if (spent >= patience_ns) {
      return false;
    }
    if (patience_ns <= kQuietNs) {
      return q_.wait(writable, patience_ns - spent, stopping_);
    }
    if (q_.wait(writable, kQuietNs, stopping_)) {
      return true;
    }
    log_.failure("silent q",
                 "q at " + options_.q.text() +
                     " accepted the connection but says nothing; if it is busy, that ends");
    return q_.wait(writable, patience_ns, stopping_);
  };
  Identity identity;
  bool takes_cancels = false;
  const bool ask_process = ask_process_ && !options_.peer;
  if (!introduce(q_, options_.credentials, options_.protocol, ask_process, wait, identity, why) ||
      (options_.peer &&
       !ask_for_beats(q_, options_.heartbeat_ns / 1'000'000, wait, takes_cancels, why))) {
    ask_process_ = !identity.hung_up_on_process;
    why = options_.q.text() + ": " + why;
    q_.close();
    return false;
  }
  exchange_.connect(identity.form, identity.capability, takes_cancels);
  ask_process_ = true;
  q_says_process_ = identity.process;
  q_process_ = {};
  q_process_sought_ = false;
  log_.recovered();
  log_.event("connected", "q at " + options_.q.text() + ", capability " +
                              std::to_string(identity.capability) + ", servant protocol " +
                              name_of(identity.form));
  connected_ns_ = active_ns_ = shm::steady_now();
  patience_.begin();
  look_at_q_ = true;
  return true;
}

/// q is of no use any more: the session ends as well, so that the broker looks for another servant.
void Shim::q_gone(const std::string& why) {
  log_.trouble("q lost", why);
  q_.close();
  let_broker_read();
  leave_session();
  failed_after(q_backoff_, connected_ns_, options_.retry_ns_max);
}

/// Replies that were complete before q went count, also those whose client reads slowly: what lies
/// in the ring when the session ends is lost.
void Shim::let_broker_read() {
  const std::uint64_t until = shm::steady_now() + kLastReadNs;
  while (attachment_ && !attachment_->outgoing().drained() && attachment_->check() == Errc::ok &&
         shm::steady_now() < until) {
    nap(kReadNapNs);
  }
}

/// This connection is of no more use, but all that q had is answered, and the next request may wait
/// in the ring already, which is not to suffer: it waits for the next connection, if that is quick.
void Shim::reconnect_in_session() {
  log_.trouble("connecting to q again", exchange_.fault_text());
  std::string why;
  if (!try_connect(kReconnectNs, why)) {
    q_gone(why);
  }
}

Errc Shim::attach() {
  shm::AttachOptions wanted;
  wanted.broker = options_.broker;
  wanted.directory = options_.directory;
  wanted.role = shm::Role::servant;
  wanted.name = options_.name;
  wanted.tags = options_.tags;
  wanted.tier = options_.tier.value_or(q_.elsewhere() ? 1 : 0);
  wanted.credit = options_.credit;
  wanted.timeout_ns = kAttachNs;
  std::string reason;
  Result<shm::Attachment> opened = shm::Attachment::open(wanted, &reason);
  if (!opened) {
    const Errc code = opened.error().code;
    std::string text = reason.empty() ? advice(code) : reason;
    std::replace(text.begin(), text.end(), '\n', ' ');
    log_.failure("no session", std::string(to_string(code)) + ": " + text);
    broker_backoff_.failed(shm::steady_now());
    return code;
  }
  attachment_.emplace(std::move(opened).value());
  const shm::SessionInfo& info = attachment_->info();
  const std::uint32_t credit = std::clamp<std::uint32_t>(info.credit, 1, options_.credit);
  exchange_.attach({.servant = info.servant,
                    .credit = credit,
                    .out_ring_bytes = info.out_ring_bytes,
                    .message_bytes_max = info.message_bytes_max,
                    .max_gathered = options_.max_gathered});
  log_.recovered();
  log_.event("attached", "broker " + options_.broker + ", pid " + std::to_string(info.broker_pid) +
                             ", servant " + std::to_string(info.servant) + ", credit " +
                             std::to_string(credit));
  attached_ns_ = active_ns_ = looked_ns_ = shm::steady_now();
  idler_.reset();
  return Errc::ok;
}

/// The broker went, or sent us away.
void Shim::session_over(Errc code, std::string_view text) {
  // Put together first: `text` may lie in the attachment.
  const bool retired = attachment_->closing_code() == Errc::retired;
  code = retired ? Errc::retired : code;
  const std::string line =
      to_string(code) + std::string(text.empty() ? "" : ": ") + std::string(text);
  leave_session();
  log_.event("detached", line);
  failed_after(broker_backoff_, attached_ns_, options_.retry_ns_max);
  if (retired) {
    stop();  // an operator wants no more of it
  }
}

void Shim::leave_session() {
  if (!attachment_) {
    return;
  }
  const bool usable = exchange_.detach();
  attachment_.reset();
  if (!usable && q_.connected()) {
    q_.close();  // it waits for bytes that went with the session
    log_.trouble("q is left in the middle of a request");
  }
}

/// The broker sends nothing new, and what it has sent is finished.
void Shim::finish() {
  servant::Leaving leaving;
  if (attachment_) {
    leaving.begin(options_.broker, options_.directory, attachment_->info().servant,
                  options_.stop_ns_max);
  }
  const std::uint64_t until = shm::steady_now() + options_.stop_ns_max;
  while (attachment_ && shm::steady_now() < until) {
    const bool more = leaving.pending();
    if (!more && exchange_.idle() && attachment_->outgoing().drained()) {
      break;
    }
    exchange_.take_requests(more);
    serve();
  }
  leave_session();
  q_.close();
  log_.event("stopped");
}

}  // namespace mserve::shim
