// SPDX-License-Identifier: Apache-2.0
// How a connection begins, ends, and what keeps it open in between. The rest is in
// connection_*.cpp.
#include "gateway/connection.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "mserve/shm/clock.hpp"

namespace mserve::broker {

namespace {

/// Names go into logs and tables: printable ASCII, not too long.
std::string printable(std::string_view text) {
  constexpr std::size_t kShownMax = 32;
  std::string shown(text.substr(0, kShownMax));
  for (char& c : shown) {
    c = c > ' ' && c <= '~' && c != '"' && c != '=' ? c : '?';
  }
  return shown;
}

}  // namespace

GatewayCounters GatewayCounters::add_to(shm::CountersWriter& w) {
  return {
      &w.add("gateway_connections"), &w.add("gateway_accepted_total"), &w.add("gateway_refused"),
      &w.add("gateway_closed"),      &w.add("gateway_messages"),       &w.add("gateway_requests"),
      &w.add("gateway_answers"),     &w.add("gateway_ambiguous"),      &w.add("gateway_ignored"),
      &w.add("gateway_pending"),     &w.add("gateway_denied"),         &w.add("gateway_forbidden"),
      &w.add("gateway_route_faults")};
}

Connection::Connection(ConnectionContext& context, int fd, const Peer& peer, OriginId origin)
    : context_(context),
      fd_(fd),
      peer_(peer),
      origin_(origin),
      output_(fd, context.buffers),
      reader_(context.settings.reader),
      active_ns_(context.now_ns),
      since_(timestamp_now()) {
  context_.counters.connections->add();
  context_.counters.accepted->add();
}

Connection::~Connection() {
  if (known_) {
    context_.link->gone(origin_);
  }
  drop_broadcast();
  if (wire_ != nullptr && wire_->list == nullptr) {
    release(*wire_);
  }
  for (PendingList* list : {&ordered_, &unordered_, &ready_, &dropped_}) {
    while (Pending* const pending = list->first()) {
      release(*pending);
    }
  }
  context_.buffers.give_back(parked_);
  context_.counters.connections->set(context_.counters.connections->get() - 1);
}

void Connection::close(std::string_view reason) {
  if (closed_) {
    return;
  }
  closed_ = true;  // the rest is the destructor's: whoever called this may still be at work
  tell_closing(reason);
}

void Connection::tell_closing(std::string_view reason) {
  if (!reason.empty()) {
    context_.counters.closed->add();
    const Described self = describe();
    context_.closings.log(reason, LogLevel::warning, context_.now_ns, "gateway_closed",
                          {self.client(), self.peer(), self.handle(), {"reason", LogText{reason}}});
  }
}

void Connection::drain() {
  draining_ = true;
  if (mode_ == Mode::opening) {
    close({});
    return;
  }
  pump();
  close_when_done();
}

void Connection::abandon() {
  known_ = false;
  if (pending_count_ != 0) {
    close("the broker went before it answered");
  } else {
    end_input();
    close_when_done();
  }
}

/// No more messages; what was received but not taken is forgotten.
void Connection::end_input() noexcept {
  input_over_ = true;
  hold_ = Hold::none;
  held_.reset();
}

void Connection::on_hang_up() {
  int error = 0;
  socklen_t bytes = sizeof(error);
  (void)::getsockopt(fd_, SOL_SOCKET, SO_ERROR, &error, &bytes);
  close(silence(error));
}

/// Without a route to it the kernel tells of that instead of the time-out.
std::string_view Connection::silence(int error) noexcept {
  return error == ETIMEDOUT || error == EHOSTUNREACH || error == ENETUNREACH
             ? "it acknowledged nothing for too long"
             : "";
}

void Connection::on_writable() {
  active_ns_ = context_.now_ns;
  output_.flush();
  if (output_.broken()) {
    close({});
    return;
  }
  grant();
  settle();
}

void Connection::resume() {
  settle();
}

void Connection::send(std::span<const std::byte> first, std::span<const std::byte> second,
                      std::span<const std::byte> third) {
  // One answer may be larger than the bound, and was allowed to be.
  const std::size_t bytes = first.size() + second.size() + third.size();
  if (output_.waiting() == 0) {
    largest_sent_ = 0;
  }
  if (output_.waiting() > context_.settings.max_pending_bytes + largest_sent_) {
    close("slow reader: more than --max-pending-bytes of answers unread");
    return;
  }
  largest_sent_ = std::max(largest_sent_, bytes);
  output_.send(first, second, third);
  if (output_.broken()) {
    close({});
  }
}

/// After every event: messages that were held may go on now, and it may be time to close.
void Connection::settle() {
  if (hold_ != Hold::none && !pumping_) {
    pump();
  }
  close_when_done();
}

void Connection::close_when_done() {
  if (closed_ || pumping_ || !input_over_ || pending_count_ != 0 || output_.waiting() != 0) {
    return;
  }
  if (lingers_) {
    if (draining_) {
      close({});
    }
    return;
  }
  // Unread bytes would make the kernel reset the connection, and the peer lose what it was sent.
  (void)::shutdown(fd_, SHUT_WR);
  if (linger_bytes_ != 0 && !draining_) {
    lingers_ = true;
    tell_closing(fault_);
  }
  forget_received();
  if (!lingers_ && !closed_) {
    close(fault_);
  }
}

/// Its client hears that this is over and hangs up, or has sent it all.
void Connection::forget_received() {
  constexpr int kRounds = 16;
  for (int i = 0; i < kRounds; ++i) {
    const ssize_t got = ::recv(fd_, context_.scratch.data(), context_.scratch.size(), MSG_DONTWAIT);
    const bool later = got < 0 && (errno == EAGAIN || errno == EINTR);
    linger_bytes_ -=
        std::min<std::uint64_t>(linger_bytes_, got > 0 ? static_cast<std::uint64_t>(got) : 0);
    if (lingers_ && (linger_bytes_ == 0 || (got <= 0 && !later))) {
      close({});
    }
    if (got <= 0 || closed_) {
      return;
    }
  }
}

ClientRow Connection::row() const {
  ClientRow row;
  row.handle = origin_.index;
  row.since = since_;
  row.requests = request_count_;
  row.pending = pending_count_;
  row.sent_bytes = output_.sent_bytes();
  row.waiting_bytes = output_.waiting();
  row.user = mode_ == Mode::opening ? "" : printable(user_);  // it may not be who it says
  row.address = peer_.text();
  return row;
}

Connection::Described Connection::describe() const {
  return {user_.empty() ? "-" : printable(user_), peer_.text(), origin_.index};
}

}  // namespace mserve::broker
