// SPDX-License-Identifier: Apache-2.0
// Bytes in: the opening, then messages, one after the other, as far as they can be taken now.
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "gateway/connection.hpp"
#include "mserve/kdb/codec.hpp"

namespace mserve::broker {

namespace {

/// Reads per event: a client that never stops writing shares the thread with the others.
constexpr int kReadsPerEvent = 4;
/// Messages per turn, for the same reason.
constexpr int kMessagesPerTurn = 256;

}  // namespace

// hot: one system call, no copy of a message that came whole.
void Connection::on_readable() {
  if (lingers_) [[unlikely]] {
    forget_received();
    return;
  }
  for (int i = 0; i < kReadsPerEvent && wants_read(); ++i) {
    const std::span<std::byte> buffer = std::span(context_.scratch).first(read_bytes_max());
    const ssize_t got = ::recv(fd_, buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (got > 0) {
      active_ns_ = context_.now_ns;
      take_received(buffer.first(static_cast<std::size_t>(got)));
      if (static_cast<std::size_t>(got) < buffer.size()) {
        break;  // nothing is left: the next bytes make the socket readable again
      }
    } else if (got == 0) {
      take_end();
      break;
    } else if (errno != EINTR) {
      if (errno != EAGAIN && errno != EWOULDBLOCK) {
        close(silence(errno));
      }
      break;
    }
  }
  close_when_done();
}

/// Of a request in fragments no more is read than may go on, so that hardly anything is kept here.
std::size_t Connection::read_bytes_max() const noexcept {
  const std::size_t all = context_.scratch.size();
  return flow_ != nullptr ? std::min(all, std::max<std::size_t>(piece_bytes_max(), 1)) : all;
}

void Connection::take_received(std::span<const std::byte> received) {
  if (mode_ == Mode::opening) {
    take_opening(received);
  } else {
    reader_.feed(received);
    pump();
  }
}

void Connection::take_opening(std::span<const std::byte> received) {
  std::span<const std::byte> bytes = received;
  if (!parked_.empty()) {
    parked_.insert(parked_.end(), received.begin(), received.end());
    bytes = parked_;
  }
  Opening opening = parse_opening(bytes, eof_);
  switch (opening.kind) {
    case Opening::Kind::more:
      if (eof_) {
        context_.counters.refused->add();
        close({});
      } else if (parked_.empty()) {
        parked_ = context_.buffers.take();
        parked_.reserve(kOpeningBytesMax);  // growing would leave copies of a password behind
        parked_.assign(received.begin(), received.end());
      }
      return;
    case Opening::Kind::kdb:
    case Opening::Kind::qcon: {
      Secret password(opening.password);
      const std::span<const std::byte> rest = bytes.subspan(opening.consumed);
      forget_password(opening);
      if (context_.access != nullptr) {
        ask_login(std::move(opening), std::move(password), rest);
      } else if (context_.settings.users_required && !may_administer()) {
        user_ = opening.user;
        deny("no users are known yet, and --require-users");
      } else {
        open(opening, rest);
      }
      return;
    }
    case Opening::Kind::http: {
      mode_ = Mode::http;
      const std::string page = context_.desk.http_answer(opening.method, opening.text);
      send(std::as_bytes(std::span(page)));
      end_input();
      return;
    }
    case Opening::Kind::refused:
      context_.counters.refused->add();
      close(opening.reason);
      return;
  }
}

/// Wherever the opening's bytes lie: what is left of them is what follows it.
void Connection::forget_password(Opening& opening) noexcept {
  ::explicit_bzero(opening.password.data(), opening.password.size());
  opening.password.clear();
  for (std::vector<std::byte>* const bytes : {&parked_, &context_.scratch}) {
    if (!bytes->empty()) {
      ::explicit_bzero(bytes->data(), std::min(bytes->size(), opening.consumed));
    }
  }
}

void Connection::open(const Opening& opening, std::span<const std::byte> rest) {
  if (opening.kind == Opening::Kind::kdb) {
    open_kdb(opening, rest);
  } else {
    open_console(opening);
  }
}

/// Nothing goes on before the answer: what came behind the opening is kept, and no more is read.
void Connection::ask_login(Opening opening, Secret password, std::span<const std::byte> rest) {
  user_ = opening.user;
  if (user_.empty()) {
    deny("no user given");
    return;
  }
  if (!context_.desk.check_login(origin_, user_, std::move(password))) {
    deny("too many passwords are being checked");
    return;
  }
  std::vector<std::byte> kept = context_.buffers.take();
  kept.assign(rest.begin(), rest.end());
  context_.buffers.give_back(parked_);
  parked_ = std::move(kept);
  login_ = std::make_unique<Opening>(std::move(opening));
}

void Connection::on_login(std::shared_ptr<const Role> role) {
  if (closed_ || login_ == nullptr) {
    return;
  }
  const std::unique_ptr<Opening> opening = std::move(login_);
  if (role == nullptr) {
    deny("wrong user or password");
    return;
  }
  role_ = std::move(role);
  open(*opening, parked_);
  close_when_done();
}

/// Closed without a byte, which clients take for the error `access`.
void Connection::deny(std::string_view reason) {
  context_.counters.refused->add();
  context_.counters.denied->add();
  const Described self = describe();
  context_.denials.log(LogLevel::warning, context_.now_ns, "gateway_denied",
                       {self.client(), self.peer(), self.handle(), {"reason", LogText{reason}}});
  close({});
}

void Connection::open_kdb(const Opening& opening, std::span<const std::byte> rest) {
  mode_ = Mode::kdb;
  user_ = opening.user;
  capability_ = answer_capability(opening.capability);
  const std::byte answer{capability_};
  send(std::span(&answer, 1));
  reader_.feed(rest);
  pump();
}

/// A console line is a sync query whose answer is shown as text.
void Connection::open_console(const Opening& opening) {
  mode_ = Mode::console;
  user_ = opening.user;
  parked_ = kdb::encode_message(kdb::Value::chars(opening.text), kdb::MessageKind::sync);
  eof_ = true;
  reader_.feed(parked_);
  pump();
}

/// The peer half-closed.
void Connection::take_end() {
  eof_ = true;
  if (mode_ == Mode::opening) {
    take_opening({});
  } else {
    pump();
  }
}

/// Nothing more will come: what the peer asked is answered, what it began to ask is not.
void Connection::take_last() {
  if (flow_ != nullptr) {
    break_flow("badmsg");
  }
  end_input();
}

/// Takes messages until none is left or one has to wait.
void Connection::pump() {
  pumping_ = true;
  hold_ = Hold::none;
  for (int i = 0; !closed_ && !input_over_; ++i) {
    if (draining_ && flow_ == nullptr && !sends_broadcast_) {
      end_input();
      break;
    }
    if (i == kMessagesPerTurn) {
      hold_ = Hold::turn;
    } else if (flow_ != nullptr && !flow_held_ && piece_bytes_max() == 0) {
      hold_ = Hold::grant;
    }
    MessageReader::Event event;
    if (hold_ == Hold::none) {
      event = held_ ? *held_ : reader_.next(std::max<std::size_t>(piece_bytes_max(), 1));
      if (event.what == MessageReader::What::more) {
        context_.buffers.give_back(parked_);
        if (eof_) {
          take_last();
        }
        break;
      }
      if (take(event) == Step::done) {
        held_.reset();
        continue;
      }
      held_ = event;
    }
    park();
    break;
  }
  pumping_ = false;
}

Connection::Step Connection::take(const MessageReader::Event& event) {
  switch (event.what) {
    case MessageReader::What::whole:
      return take_whole(event);
    case MessageReader::What::begin:
      return take_begin(event);
    case MessageReader::What::piece:
      return take_piece(event);
    case MessageReader::What::failed:
      take_failure(event);
      break;
    case MessageReader::What::more:
      break;
  }
  return Step::done;
}

/// Moves what could not be taken out of the scratch buffer, which others need now.
void Connection::park() {
  const std::span<const std::byte> scratch = context_.scratch;
  const std::byte* const scratch_end = scratch.data() + scratch.size();
  const auto in_scratch = [&](std::span<const std::byte> bytes) {
    return !bytes.empty() && bytes.data() >= scratch.data() && bytes.data() < scratch_end;
  };
  const std::span<const std::byte> unread = reader_.unread();
  const std::span<const std::byte> body = held_ ? held_->bytes : std::span<const std::byte>{};
  const std::byte* from = scratch_end;
  const std::byte* to = scratch.data();
  for (const std::span<const std::byte> bytes : {unread, body}) {
    if (in_scratch(bytes)) {
      from = std::min(from, bytes.data());
      to = std::max(to, bytes.data() + bytes.size());
    }
  }
  if (from >= to) {
    return;  // parked before, or the reader's own
  }
  context_.buffers.give_back(parked_);
  parked_ = context_.buffers.take();
  parked_.assign(from, to);
  const auto moved = [&](std::span<const std::byte> bytes) {
    return std::span<const std::byte>(parked_).subspan(
        static_cast<std::size_t>(bytes.data() - from), bytes.size());
  };
  if (in_scratch(body)) {
    held_->bytes = moved(body);
  }
  if (in_scratch(unread)) {
    reader_.unread_moved(moved(unread));
  }
}

/// Malformed or too large. A sync message gets an error; then the connection ends, as q does it.
void Connection::take_failure(const MessageReader::Event& event) {
  fault_ = std::string(event.reason);
  if (event.code != kdb::Errc::ok) {
    fault_.append(": ").append(kdb::describe(event.code));
  }
  if (event.has_header && event.code == kdb::Errc::too_large) {
    constexpr std::uint64_t kLingerMax = 64U << 20;
    linger_bytes_ = std::min(event.header.message_bytes, kLingerMax);  // it is still being sent
  }
  if (flow_ != nullptr) {
    break_flow(event.reason);
  } else if (event.has_header && event.header.kind == kdb::MessageKind::sync && !swallowing_) {
    answer_error(new_pending(Convention::sync), event.reason);
  }
  end_input();
}

}  // namespace mserve::broker
