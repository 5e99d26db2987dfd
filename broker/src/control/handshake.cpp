// SPDX-License-Identifier: Apache-2.0
// The control plane's side of shm/README.md section 1: strangers in, sessions out.
#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <new>
#include <utility>

#include "control/control_plane.hpp"
#include "gateway/query_log.hpp"
#include "mserve/shm/clock.hpp"

namespace mserve::broker {

namespace {

constexpr std::uint64_t kHandshakeNs = 5'000'000'000;
constexpr std::size_t kHandshakesMax = 256;
constexpr int kAcceptsPerRound = 64;

/// Without its pidfd a peer that a forked child outlives would never be seen to die. A kernel that
/// has none, or forbids it, leaves the socket alone to tell.
Error watch_process(Session& session) {
  auto pidfd = shm::open_pidfd(session.pid);
  if (pidfd) {
    session.pidfd = std::move(pidfd).value();
    return {};
  }
  const int why = pidfd.error().os_errno;
  const bool exhausted = why == EMFILE || why == ENFILE || why == ENOMEM;
  return exhausted ? Error{Errc::no_memory, why, "pidfd_open"} : Error{};
}

}  // namespace

void ControlPlane::accept_all() {
  for (int i = 0; i < kAcceptsPerRound; ++i) {
    auto accepted = shm::accept_from(listener_.get());
    if (accepted) {
      admit(std::move(accepted).value());
      continue;
    }
    Error error = accepted.error();
    if (error.os_errno == EMFILE) {
      error = turn_away();
    }
    if (error.code == Errc::ok) {
      continue;
    }
    if (error.code != Errc::empty) {
      // Readable all the time, and nothing to be done before the next tick.
      unwatch(listener_.get());
      listener_rests_ = true;
      refusals_.log("accept_failed", LogLevel::warning, shm::steady_now(), "accept_failed",
                    {{"reason", LogText{SessionMaker::why(error)}}});
    }
    return;
  }
}

/// Out of descriptors: whoever waits is told, instead of waiting until its own patience ends.
/// @return `empty` when nobody waits after all: the kernel looks for a descriptor first.
Error ControlPlane::turn_away() {
  const Error none{Errc::no_memory, EMFILE, "accept"};
  if (!spare_.give_up()) {
    return none;
  }
  auto accepted = shm::accept_from(listener_.get());
  if (accepted) {
    const int socket = accepted.value().get();
    const auto who = shm::peer_credentials(socket);
    refuse(socket, {none.code, SessionMaker::why(none)}, who ? who.value() : shm::Credentials{});
    accepted.value().reset();
  }
  spare_.take_back();
  return accepted ? Error{} : accepted.error();
}

void ControlPlane::admit(shm::UniqueFd socket) {
  const auto who = shm::peer_credentials(socket.get());
  if (!who) {
    refuse(socket.get(),
           {Errc::access, "your process cannot be seen from here: another PID namespace"}, {});
    return;
  }
  if (const auto reason = ring_access_.refuse(socket.get(), who.value())) {
    refuse(socket.get(), {Errc::access, *reason}, who.value());
    return;
  }
  make_room_for_handshake();
  const std::uint32_t key = next_handshake_++;
  watch(socket.get(), Tag::handshake, key, EPOLLIN);
  Handshake& handshake = handshakes_[key];
  handshake.socket = std::move(socket);
  handshake.who = who.value();
  handshake.deadline = shm::steady_now() + kHandshakeNs;
}

/// With too many at once the oldest goes, not whoever comes: a peer speaks as soon as it is
/// connected, so those that were silent for the longest mean nothing, or no good.
void ControlPlane::make_room_for_handshake() {
  if (handshakes_.size() < kHandshakesMax) {
    return;
  }
  const auto oldest =
      std::min_element(handshakes_.begin(), handshakes_.end(), [](const auto& a, const auto& b) {
        return std::pair(static_cast<bool>(a.second.draft.session), a.first) <
               std::pair(static_cast<bool>(b.second.draft.session), b.first);
      });
  const std::uint32_t key = oldest->first;
  if (!oldest->second.draft.session) {  // else its Welcome is on the way already
    refuse(oldest->second.fd(), {Errc::busy, "too many handshakes at once; try again"},
           oldest->second.who);
  }
  drop_handshake(key);
}

void ControlPlane::read_handshake(std::uint32_t key) {
  const auto found = handshakes_.find(key);
  if (found == handshakes_.end()) {
    return;
  }
  try {
    read_message(key, found->second);
  } catch (const std::bad_alloc&) {
    fail_handshake(key, {Errc::no_memory, ENOMEM, "handshake"});
  }
}

void ControlPlane::read_message(std::uint32_t key, Handshake& handshake) {
  std::array<std::byte, shm::kWireBytesMax> buffer;
  auto received = shm::receive_message(handshake.fd(), buffer, 0, 0);
  if (!received) {
    if (received.error().code == Errc::timed_out) {
      return;  // nothing there after all
    }
    if (received.error().code == Errc::protocol) {
      refuse(handshake.fd(), {Errc::protocol, "not a message of this protocol"}, handshake.who);
    }
    drop_handshake(key);
    return;
  }
  const auto bytes = std::span<const std::byte>(buffer).first(received.value().bytes);
  if (handshake.draft.session) {
    take_mapped(key, bytes);
  } else if (!take_hello(handshake, bytes)) {
    drop_handshake(key);
  }
}

bool ControlPlane::take_hello(Handshake& handshake, std::span<const std::byte> bytes) {
  if (const auto type = shm::parse_wire_header(bytes);
      type && type.value() == shm::WireType::control) {
    take_control(handshake, bytes);
    return false;  // answered, or moved to where it waits for its answer
  }
  const auto hello = shm::parse_hello(bytes);
  if (!hello) {
    const bool version = hello.error().code == Errc::version_mismatch;
    refuse(handshake.fd(),
           {hello.error().code, version
                                    ? "this broker speaks protocol 1 and layout 1; upgrade one side"
                                    : "hello does not follow the protocol"},
           handshake.who);
    return false;
  }
  if (hello.value().role == shm::Role::observer) {
    maker_.welcome_observer(handshake.fd());
    return false;  // that is all an observer gets
  }
  SessionMaker::Refusal refusal;
  if (!serves()) {
    refusal = {Errc::shutdown, "the broker is shutting down"};
  } else if (hello.value().role == shm::Role::servant && was_retired(handshake.who.pid)) {
    // `access`, because servants of older versions take no other word for the last one.
    refusal = {Errc::access, "an operator retired this servant; start its program anew"};
  } else if (welcome(hello.value(), handshake, refusal)) {
    handshake.draft.session->bars_options = !RingAccess::is_trusted(handshake.who.uid);
    if (handshake.draft.define) {
      Command define;
      define.kind = Command::Kind::pool_defined;
      define.pool = *handshake.draft.define;
      tell(*links_.commands, links_.command_fd, define);
    }
    return true;
  }
  refuse(handshake.fd(), refusal, handshake.who);
  return false;
}

bool ControlPlane::welcome(const shm::Hello& hello, Handshake& handshake,
                           SessionMaker::Refusal& refusal) {
  if (!maker_.fits(hello)) {
    bury();  // whose bytes still count
  }
  const bool welcome =
      maker_.welcome(hello, handshake.who, handshake.socket, handshake.draft, refusal);
  if (auto change = maker_.take_change()) {
    tell_classes(*std::move(change));
  }
  return welcome;
}

void ControlPlane::take_mapped(std::uint32_t key, std::span<const std::byte> bytes) {
  Session& session = *handshakes_.find(key)->second.draft.session;
  const auto mapped = shm::parse_mapped(bytes, SessionMaker::wire_number(session));
  Error error = mapped ? maker_.complete(handshakes_.find(key)->second.draft) : mapped.error();
  if (error.code == Errc::ok) {
    error = watch_process(session);
  }
  bool leaving = false;
  if (error.code == Errc::ok) {
    error = begin_session(key, leaving);
  }
  if (error.code != Errc::ok) {
    look_at_expected();
    fail_handshake(key, error);
    return;
  }
  log(LogLevel::info, "attached",
      {{session.is_servant() ? "servant" : "client", session.name},
       {"session", session.number + 1},
       {"pid", session.pid},
       {"tier", session.tier != 0 ? LogValue(session.tier) : LogValue(std::nullopt)}});
  links_.monitor->tell(shm::MonitorEventKind::attached, session.name, &session);
  if (leaving) {
    hold(session, ServantHold::Reason::spare, true);
  }
  if (session.is_servant()) {
    take_launch_events();  // who was started may have attached already
    note_launched(session);
    ++servants_attached_;
    links_attached_ += session.link ? 1U : 0U;
    look_at_expected();
    tell_ready();
  }
}

/// From Ready to the attach command nobody can look at the board: whoever heard that a servant is
/// ready, and broadcasts, finds it there, and its attach on its way before any request to it.
/// @param leaving  set: it is of the reserve, and to leave at once.
Error ControlPlane::begin_session(std::uint32_t key, bool& leaving) {
  const SessionBoard::Lock lock = links_.board->lock();
  Handshake& handshake = handshakes_.find(key)->second;
  Session& session = *handshake.draft.session;
  if (const Error error = send_ready(session); error.code != Errc::ok) {
    return error;
  }
  const std::uint32_t number = session.number;
  unwatch(session.socket.get());
  sessions_[number] = std::move(handshake.draft.session);
  handshakes_.erase(key);
  watch(session.socket.get(), Tag::socket, number, EPOLLRDHUP);
  if (session.pidfd) {
    watch(session.pidfd.get(), Tag::pidfd, number, EPOLLIN);
  }
  epoll_event event{};
  event.events = EPOLLIN | EPOLLET;
  event.data.u64 = number;
  (void)epoll_ctl(links_.data_epoll_fd, EPOLL_CTL_ADD, session.socket.get(), &event);
  links_.monitor->attach(session);
  if (!session.is_gateway()) {
    links_.board->attached({.number = number + 1,
                            .servant = session.is_servant(),
                            .tier = session.tier,
                            .credit = session.credit,
                            .pid = session.pid,
                            .uid = session.uid,
                            .since = timestamp_now(),
                            .name = session.name,
                            .tags = session.tags},
                           lock);
  }
  leaving = session.is_servant() && join_reserve(session);
  session.suspended = leaving;  // from the first moment: nothing may be sent to it any more
  command(Command::Kind::attach, &session);
  return {};
}

/// Who hears that a servant is ready may ask at once, before its attach has reached the data
/// thread: that servant is expected until then. The attach cannot come first, as a wake would
/// overtake Ready.
Error ControlPlane::send_ready(const Session& session) {
  if (session.is_servant()) {
    joining_classes_ = maker_.classes().classes_of(session.tags);
    look_at_expected();
    joining_classes_ = 0;  // the next look, behind the attach, takes it back
  }
  const shm::Ready ready{.session = SessionMaker::wire_number(session)};
  // The socket after the pidfd: while it still takes bytes, the pid was not reused in between.
  return shm::send_message(session.socket.get(), shm::wire_bytes(ready), {}, 0);
}

void ControlPlane::refuse(int socket, const SessionMaker::Refusal& refusal,
                          const shm::Credentials& who) {
  const std::string code = to_string(refusal.code);
  const std::string reason = code + ": " + refusal.reason;
  refusals_.log("refused: " + code, LogLevel::warning, shm::steady_now(), "refused",
                {{"pid", who.pid}, {"uid", who.uid}, {"reason", LogText{reason}}});
  maker_.refuse(socket, refusal);
}

/// After Welcome there is only one word for a session that does not come to be.
void ControlPlane::fail_handshake(std::uint32_t key, const Error& error) {
  const auto found = handshakes_.find(key);
  if (found == handshakes_.end()) {
    return;
  }
  const std::string reason = SessionMaker::why(error);
  const std::string told = std::string(to_string(error.code)) + ": " + reason;
  refusals_.log("handshake_failed", LogLevel::warning, shm::steady_now(), "handshake_failed",
                {{"pid", found->second.who.pid}, {"reason", LogText{told}}});
  shm::Closing closing;
  closing.status = error.code;
  shm::set_reason(closing.reason, reason);
  (void)shm::send_message(found->second.fd(), shm::wire_bytes(closing), {}, 0);
  drop_handshake(key);
}

void ControlPlane::drop_handshake(std::uint32_t key) {
  const auto found = handshakes_.find(key);
  if (found->second.draft.session) {
    maker_.release(*found->second.draft.session);
  }
  handshakes_.erase(found);  // closing the socket takes it out of epoll
}

void ControlPlane::expire_handshakes() {
  const std::uint64_t now = shm::steady_now();
  for (auto it = handshakes_.begin(); it != handshakes_.end();) {
    const std::uint32_t key = it->first;
    const bool late = it->second.deadline <= now;
    ++it;
    if (late) {
      refusals_.log("handshake_timeout", LogLevel::warning, now, "handshake_timeout");
      drop_handshake(key);
    }
  }
}

}  // namespace mserve::broker
