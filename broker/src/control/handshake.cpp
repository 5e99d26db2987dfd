// SPDX-License-Identifier: Apache-2.0
// The control plane's side of shm/README.md section 1: strangers in, sessions out.
#include <sys/epoll.h>

#include <array>

#include "control/control_plane.hpp"
#include "gateway/query_log.hpp"
#include "mserve/shm/clock.hpp"

namespace mserve::broker {

namespace {

constexpr std::uint64_t kHandshakeNs = 5'000'000'000;
constexpr std::size_t kHandshakesMax = 256;
constexpr int kAcceptsPerRound = 64;

}  // namespace

void ControlPlane::accept_all() {
  for (int i = 0; i < kAcceptsPerRound; ++i) {
    auto accepted = shm::accept_from(listener_.get());
    if (!accepted) {
      if (accepted.error().code != Errc::empty) {
        unwatch(
            listener_.get());  // readable all the time, and nothing to be done before the next tick
        listener_rests_ = true;
        refusals_.log(
            LogLevel::warning, shm::steady_now(),
            std::string("accept_failed reason=\"") + advice(accepted.error().code) + "\"");
      }
      return;
    }
    shm::UniqueFd socket = std::move(accepted).value();
    const auto who = shm::peer_credentials(socket.get());
    if (!who) {
      refuse(socket.get(),
             {Errc::access, "your process cannot be seen from here: another PID namespace"}, {});
      continue;
    }
    if (const auto reason = ring_access_.refuse(socket.get(), who.value())) {
      refuse(socket.get(), {Errc::access, *reason}, who.value());
    } else if (handshakes_.size() >= kHandshakesMax) {
      refuse(socket.get(), {Errc::busy, "too many handshakes at once; try again"}, who.value());
    } else {
      const std::uint32_t key = next_handshake_++;
      watch(socket.get(), Tag::handshake, key, EPOLLIN);
      Handshake& handshake = handshakes_[key];
      handshake.socket = std::move(socket);
      handshake.who = who.value();
      handshake.deadline = shm::steady_now() + kHandshakeNs;
    }
  }
}

void ControlPlane::read_handshake(std::uint32_t key) {
  const auto found = handshakes_.find(key);
  if (found == handshakes_.end()) {
    return;
  }
  Handshake& handshake = found->second;
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
  if (state_ != State::serving) {
    refusal = {Errc::shutdown, "the broker is shutting down"};
  } else if (hello.value().role == shm::Role::servant && was_retired(handshake.who.pid)) {
    // `access`, because servants of older versions take no other word for the last one.
    refusal = {Errc::access, "an operator retired this servant; start its program anew"};
  } else if (maker_.welcome(hello.value(), handshake.who, handshake.socket, handshake.draft,
                            refusal)) {
    handshake.draft.session->bars_options = ring_access_.bars_options(handshake.who.uid);
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

void ControlPlane::take_mapped(std::uint32_t key, std::span<const std::byte> bytes) {
  Handshake& handshake = handshakes_.find(key)->second;
  Session& session = *handshake.draft.session;
  const std::uint64_t wire = SessionMaker::wire_number(session);
  const auto mapped = shm::parse_mapped(bytes, wire);
  const Error error = mapped ? maker_.complete(handshake.draft) : mapped.error();
  auto pidfd = shm::open_pidfd(session.pid);
  if (pidfd) {
    session.pidfd = std::move(pidfd).value();
  }
  const shm::Ready ready{.session = wire};
  // The socket after the pidfd: while it still takes bytes, the pid was not reused in between.
  if (error.code != Errc::ok ||
      shm::send_message(session.socket.get(), shm::wire_bytes(ready), {}, 0).code != Errc::ok) {
    refusals_.log(LogLevel::warning, shm::steady_now(),
                  "handshake_failed " + std::string(to_string(error.code)) +
                      " pid=" + std::to_string(session.pid));
    drop_handshake(key);
    return;
  }
  std::unique_ptr<Session> owned = std::move(handshake.draft.session);
  unwatch(session.socket.get());
  handshakes_.erase(key);
  const std::uint32_t number = session.number;
  sessions_[number] = std::move(owned);
  watch(session.socket.get(), Tag::socket, number, EPOLLRDHUP);
  if (session.pidfd) {
    watch(session.pidfd.get(), Tag::pidfd, number, EPOLLIN);
  }
  epoll_event event{};
  event.events = EPOLLIN | EPOLLET;
  event.data.u64 = number;
  (void)epoll_ctl(links_.data_epoll_fd, EPOLL_CTL_ADD, session.socket.get(), &event);
  log(LogLevel::info, std::string("attached ") + (session.is_servant() ? "servant=" : "client=") +
                          session.name + " session=" + std::to_string(number + 1) + " pid=" +
                          std::to_string(session.pid) + (session.remote ? " tier=1" : ""));
  if (session.own.lock_errno() != 0 || session.peer.lock_errno() != 0) {
    refusals_.log(
        LogLevel::warning, shm::steady_now(),
        "memory_not_locked session=" + std::to_string(number + 1) + " reason=\"raise ulimit -l\"");
  }
  const bool servant = session.is_servant();
  if (!session.is_gateway()) {
    links_.board->attached({.number = number + 1,
                            .servant = servant,
                            .remote = session.remote,
                            .credit = session.credit,
                            .pid = session.pid,
                            .uid = session.uid,
                            .since = timestamp_now(),
                            .name = session.name,
                            .tags = session.tags});
  }
  const bool leaving = servant && join_reserve(session);
  session.suspended = leaving;  // from the first moment: nothing may be sent to it any more
  command(Command::Kind::attach, &session);
  if (leaving) {
    hold(session, ServantHold::Reason::spare, true);
  }
  if (servant) {
    take_launch_events();  // who was started may have attached already
    note_launched(session);
    ++servants_attached_;
    look_at_expected();
    tell_ready();
  }
}

void ControlPlane::refuse(int socket, const SessionMaker::Refusal& refusal,
                          const shm::Credentials& who) {
  refusals_.log(LogLevel::warning, shm::steady_now(),
                "refused pid=" + std::to_string(who.pid) + " uid=" + std::to_string(who.uid) +
                    " reason=\"" + to_string(refusal.code) + ": " + refusal.reason + "\"");
  maker_.refuse(socket, refusal);
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
      refusals_.log(LogLevel::warning, now, "handshake_timeout");
      drop_handshake(key);
    }
  }
}

}  // namespace mserve::broker
