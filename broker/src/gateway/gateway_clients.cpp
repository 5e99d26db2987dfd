// SPDX-License-Identifier: Apache-2.0
// Connections come and go.
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "gateway/gateway_loop.hpp"
#include "mserve/shm/clock.hpp"
#include "mserve/shm/tcp.hpp"

namespace mserve::broker {

namespace {

constexpr int kAcceptsPerEvent = 64;
constexpr std::size_t kIdleLooksPerTick = 1024;

std::uint64_t key_of(std::uint32_t subject, std::uint32_t index) noexcept {
  return std::uint64_t{subject} << 32 | index;
}

shm::TcpPatience patience_for(const Peer& peer, const GatewayOptions& options) noexcept {
  constexpr int kProbes = 6;
  shm::TcpPatience patience;
  // A shut receive window counts for it too, and a client on this host can only be busy.
  if (peer.remote && options.tcp_user_timeout != kForever) {
    constexpr std::uint64_t kMsMax = 1U << 30;
    patience.user_timeout_ms =
        static_cast<int>(std::min(options.tcp_user_timeout / kMillisecond, kMsMax));
  }
  if (options.tcp_keepalive == kForever) {
    patience.idle_s = 0;
    return patience;
  }
  // Asked several times within the second half, since a question may be lost.
  patience.idle_s = static_cast<int>(options.tcp_keepalive / kSecond);
  patience.every_s = std::max(1, patience.idle_s / kProbes);
  patience.probes = patience.idle_s / patience.every_s;
  return patience;
}

bool hung_up(int fd) noexcept {
  pollfd look{fd, 0, 0};
  return ::poll(&look, 1, 0) == 1 && (look.revents & (POLLHUP | POLLERR)) != 0;
}

}  // namespace

/// The connection first: it still uses the socket that the handle closes.
Gateway::Loop::Client::~Client() = default;

void Gateway::Loop::open_listeners() {
  if (draining_ || !listener_watches_.empty()) {
    return;
  }
  std::uint32_t index = 0;
  for (const shm::UniqueFd& socket : listeners_.sockets()) {
    Readiness::Handle handle = ready_.add_duplicate(
        socket.get(), key_of(static_cast<std::uint32_t>(Subject::listener), index++));
    if (handle != nullptr) {
      ready_.watch(*handle, Readiness::What::readable);
      listener_watches_.push_back(std::move(handle));
    }
  }
}

void Gateway::Loop::close_listeners() {
  listener_watches_.clear();
}

void Gateway::Loop::accept_from(std::uint32_t listener) {
  if (draining_ || lost_ || listener >= listener_watches_.size()) {
    return;
  }
  for (int i = 0; i < kAcceptsPerEvent; ++i) {
    shm::UniqueFd fd;
    int why = accept_one(listener, fd);
    if (fd) {
      if (!admit(std::move(fd))) {
        context_.counters.refused->add();
      }
      continue;
    }
    if (why == EMFILE) {
      why = turn_away(listener);
    }
    if (why == EMFILE || why == ENFILE || why == ENOBUFS || why == ENOMEM) {
      arrivals_.log("gateway_accept_failed", LogLevel::warning, context_.now_ns,
                    "gateway_accept_failed", {{"reason", LogText{std::strerror(why)}}});
      accept_paused_ = true;  // the next tick tries again
      return;
    }
    if (why != 0 && why != EINTR && why != ECONNABORTED) {
      break;
    }
  }
  ready_.watch(*listener_watches_[listener], Readiness::What::readable);
}

/// @return errno when there is none.
int Gateway::Loop::accept_one(std::uint32_t listener, shm::UniqueFd& fd) const noexcept {
  fd.reset(::accept4(listeners_.sockets()[listener].get(), nullptr, nullptr,
                     SOCK_NONBLOCK | SOCK_CLOEXEC));
  return fd ? 0 : errno;
}

/// Out of descriptors: a hang-up at once is kinder than a queue that nobody serves.
/// @return 0 when there was somebody, else errno: EAGAIN when there was nobody after all.
int Gateway::Loop::turn_away(std::uint32_t listener) {
  if (!spare_.give_up()) {
    return EMFILE;
  }
  shm::UniqueFd fd;
  const int why = accept_one(listener, fd);
  if (fd) {
    context_.counters.refused->add();
    arrivals_.log(
        "gateway_refused", LogLevel::warning, context_.now_ns, "gateway_refused",
        {{"peer", Peer::of(fd.get()).text()},
         {"reason", LogText{"no descriptors left; raise ulimit -n (LimitNOFILE in the unit)"}}});
    fd.reset();
  }
  spare_.take_back();
  return why;
}

/// Makes a connection of an accepted socket. @return false: it was closed.
bool Gateway::Loop::admit(shm::UniqueFd accepted) {
  const GatewayOptions& options = setup_.options.gateway;
  const int fd = accepted.get();
  const Peer peer = Peer::of(fd);
  if (client_count_ >= setup_.options.max_connections) {
    const std::string reason =
        "--max-connections (" + std::to_string(setup_.options.max_connections) + ") is reached";
    arrivals_.log("gateway_refused", LogLevel::warning, context_.now_ns, "gateway_refused",
                  {{"peer", peer.text()}, {"reason", LogText{reason}}});
    return false;
  }
  if (peer.kind != Peer::Kind::unix_socket) {
    shm::set_tcp_options(fd, patience_for(peer, options));
  }
  if (free_.empty()) {
    free_.push_back(static_cast<std::uint32_t>(clients_.size()));
    clients_.emplace_back();
  }
  const std::uint32_t index = free_.back();
  Readiness::Handle handle =
      ready_.add(accepted.release(), key_of(static_cast<std::uint32_t>(Subject::client), index));
  if (handle == nullptr) {
    return false;
  }
  free_.pop_back();
  auto client = std::make_unique<Client>(context_, fd, peer, OriginId{index, ++generation_});
  client->handle = std::move(handle);
  clients_[index] = std::move(client);
  ++client_count_;
  openings_.push_back({index, generation_});
  settle(index);
  return true;
}

void Gateway::Loop::client_ready(std::uint32_t index, Readiness::What what) {
  Client* const client = clients_[index].get();
  if (client == nullptr) {
    return;
  }
  Connection& connection = client->connection;
  switch (what) {
    case Readiness::What::readable:
      connection.on_readable();
      break;
    case Readiness::What::writable:
      connection.on_writable();
      break;
    case Readiness::What::hung_up:
      if (hung_up(connection.fd())) {
        connection.on_hang_up();
      }
      client->hush_errors = true;  // urgent data, which nobody reads, would be told for ever
      break;
  }
  settle(index);
}

/// After every event of a connection: is it over, and what does it want to be told of?
void Gateway::Loop::settle(std::uint32_t index) {
  Client& client = *clients_[index];
  Connection& connection = client.connection;
  if (connection.closed()) {
    drop(index);
    return;
  }
  const std::uint64_t held = connection.held_bytes();
  if (held != client.held_bytes) [[unlikely]] {
    held_bytes_ += held - client.held_bytes;
    client.held_bytes = held;
    if (held_bytes_ > held_bytes_max()) {
      close_largest();
      if (clients_[index] == nullptr) {
        return;
      }
    }
  }
  if (connection.wants_read()) [[likely]] {
    ready_.watch(*client.handle, Readiness::What::readable);
  } else if (!client.hush_errors) {
    // Not reading, it would not notice that nobody is there any more.
    ready_.watch(*client.handle, Readiness::What::hung_up);
  }
  if (connection.wants_write()) [[unlikely]] {
    ready_.watch(*client.handle, Readiness::What::writable);
  }
  if (connection.waits_for_turn() && !client.in_turn) [[unlikely]] {
    client.in_turn = true;
    turns_.push_back(index);
  }
  if (connection.reads_slowly() && !client.in_slow) [[unlikely]] {
    client.in_slow = true;
    slow_.push_back(index);
  }
  if (connection.beats() && !client.in_beating) [[unlikely]] {
    client.in_beating = true;
    beating_.push_back(index);
    beat_at_ = std::min(beat_at_, connection.beat_at_ns());
  }
}

/// What all connections together may hold in memory.
std::uint64_t Gateway::Loop::held_bytes_max() const noexcept {
  constexpr std::uint64_t kShares = 4;  // as with the answers that the data thread keeps
  return kShares * (setup_.options.max_pending_bytes + setup_.options.gateway.max_gathered);
}

/// Each connection has its own bounds, but there may be thousands. Who holds the most goes, not
/// whoever comes next.
void Gateway::Loop::close_largest() {
  std::uint32_t largest = 0;
  std::uint64_t most = 0;
  for (std::uint32_t index = 0; index < clients_.size(); ++index) {
    if (clients_[index] != nullptr && clients_[index]->held_bytes > most) {
      most = clients_[index]->held_bytes;
      largest = index;
    }
  }
  if (most != 0) {
    clients_[largest]->connection.close("all connections together hold too much in memory");
    drop(largest);
  }
}

/// Once for each connection of a list; those that still belong there are listed anew by settle().
/// A list keeps the index of who is gone, and the next connection of that index may stand there
/// too.
template <class Act>
void Gateway::Loop::go_through(std::vector<std::uint32_t>& listed, bool Client::*mark, Act act) {
  taken_.swap(listed);
  std::erase_if(taken_, [this, mark](std::uint32_t index) {
    Client* const client = clients_[index].get();
    return client == nullptr || !std::exchange(client->*mark, false);
  });
  for (const std::uint32_t index : taken_) {
    if (Client* const client = clients_[index].get()) {
      act(client->connection);
      settle(index);
    }
  }
  taken_.clear();
}

void Gateway::Loop::run_turns() {
  go_through(turns_, &Client::in_turn, [](Connection& connection) { connection.resume(); });
}

/// The data plane cuts an answer that makes no progress for --stall-timeout. A client that is busy
/// with other things for longer gets more time: as much as its unread bytes allow.
void Gateway::Loop::be_patient() {
  patience_at_ = context_.now_ns + setup_.options.stall_timeout / 4;
  go_through(slow_, &Client::in_slow, [](Connection& connection) { connection.be_patient(); });
}

void Gateway::Loop::beat() {
  beat_at_ = UINT64_MAX;
  go_through(beating_, &Client::in_beating, [](Connection& connection) { connection.beat(); });
}

void Gateway::Loop::begin_drain() {
  draining_ = true;
  close_listeners();
  listeners_.close();
  if (link_ == nullptr) {
    return;
  }
  for (std::uint32_t index = 0; index < clients_.size(); ++index) {
    if (clients_[index] != nullptr) {
      clients_[index]->connection.drain();
      settle(index);
    }
  }
}

/// From now on people are asked who they are: those who were not get their answers, and come back.
void Gateway::Loop::drain_unasked() {
  for (std::uint32_t index = 0; index < clients_.size(); ++index) {
    if (clients_[index] != nullptr && clients_[index]->connection.unasked()) {
      clients_[index]->connection.send_back();
      settle(index);
    }
  }
}

void Gateway::Loop::drop(std::uint32_t index) {
  held_bytes_ -= clients_[index]->held_bytes;
  clients_[index].reset();
  free_.push_back(index);
  --client_count_;
}

void Gateway::Loop::drop_all() {
  for (std::uint32_t index = 0; index < clients_.size(); ++index) {
    if (clients_[index] != nullptr) {
      drop(index);
    }
  }
  openings_.clear();
  turns_.clear();
  slow_.clear();
  beating_.clear();
}

void Gateway::Loop::expire_openings() {
  while (!openings_.empty()) {
    const Opening opening = openings_.front();
    Client* const client = client_at(opening.index, opening.generation);
    const bool open = client != nullptr && client->connection.opening();
    if (open && context_.now_ns - client->accepted_ns < setup_.options.gateway.handshake_timeout) {
      return;
    }
    openings_.pop_front();
    if (open) {
      context_.counters.refused->add();
      client->connection.close("handshake timeout");
      settle(opening.index);
    }
  }
}

/// A share of the connections each time: there may be many.
void Gateway::Loop::expire_idle() {
  const Nanos timeout = setup_.options.gateway.idle_timeout;
  if (timeout == kForever || timeout == 0) {
    return;
  }
  for (std::size_t i = 0; i < std::min(kIdleLooksPerTick, clients_.size()); ++i) {
    idle_cursor_ = idle_cursor_ + 1 < clients_.size() ? idle_cursor_ + 1 : 0;
    const auto index = static_cast<std::uint32_t>(idle_cursor_);
    if (clients_[index] == nullptr) {
      continue;
    }
    Connection& connection = clients_[index]->connection;
    if (connection.idle() && context_.now_ns - connection.active_ns() >= timeout) {
      connection.close("idle timeout");
      settle(index);
    }
  }
}

Gateway::Loop::Client* Gateway::Loop::client_at(std::uint32_t index,
                                                std::uint64_t generation) noexcept {
  Client* const client = index < clients_.size() ? clients_[index].get() : nullptr;
  return client != nullptr && client->generation == generation ? client : nullptr;
}

}  // namespace mserve::broker
