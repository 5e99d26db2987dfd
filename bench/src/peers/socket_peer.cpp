// SPDX-License-Identifier: Apache-2.0
#include "peers/socket_peer.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <system_error>

#include "mserve/shm/idle.hpp"
#include "peers/relay_both_ways.hpp"
#include "peers/role_process.hpp"

namespace mserve::bench {
namespace {

[[noreturn]] void fail_with_errno(const char* what) {
  throw std::system_error(errno, std::generic_category(), what);
}

bool would_wait() noexcept {
  return errno == EAGAIN || errno == EINTR;
}

/// recv() that blocks comes back now and then, so that its caller sees who has died.
void wait_a_second_at_most(int socket) noexcept {
  const timeval limit{kReceiveMsMax / 1000, 0};
  (void)setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
}

/// One direction of a relay.
class Direction {
 public:
  Direction(int from, int to) : from_(from), to_(to), bytes_(kPeerPayloadBytesMax) {}

  /// Receives and sends what is there. @return whether anything moved.
  bool step() {
    if (begin_ == end_) {
      const ssize_t got = recv(from_, bytes_.data(), bytes_.size(), MSG_DONTWAIT);
      if (got <= 0) {
        check(got);
        return false;
      }
      begin_ = 0;
      end_ = static_cast<std::size_t>(got);
    }
    return forward(MSG_DONTWAIT);
  }

  /// The same for ever, asleep while nothing is there.
  [[noreturn]] void run() noexcept {
    for (;;) {
      const ssize_t got = recv(from_, bytes_.data(), bytes_.size(), 0);
      if (got <= 0) {
        check(got);
        continue;
      }
      begin_ = 0;
      end_ = static_cast<std::size_t>(got);
      while (begin_ < end_) {
        (void)forward(0);
      }
    }
  }

 private:
  bool forward(int flags) {
    const ssize_t sent = ::send(to_, bytes_.data() + begin_, end_ - begin_, flags | MSG_NOSIGNAL);
    if (sent <= 0) {
      check(sent);
      return false;
    }
    begin_ += static_cast<std::size_t>(sent);
    return true;
  }
  /// An end that closes is how a relay of ours ends.
  static void check(ssize_t result) noexcept {
    if (result == 0 || !would_wait()) {
      _exit(0);
    }
  }

  int from_;
  int to_;
  std::vector<std::byte> bytes_;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
};

[[noreturn]] void relay(int client, int servant, Wait wait) {
  Direction requests(client, servant);
  Direction answers(servant, client);
  relay_both_ways(requests, answers, wait);
}

class SocketPeer final : public Peer {
 public:
  SocketPeer(const char* name, const PeerOptions& options, SocketPair client, SocketPair servant)
      : name_(name), options_(options), client_(std::move(client)), servant_(std::move(servant)) {}

  std::unique_ptr<Relay> start_relay() override {
    auto process = fork_relay(
        std::string("relay of ") + name_, options_, [this](const std::function<void()>& ready) {
          client_.near.reset();
          servant_.near.reset();
          ready();
          relay(client_.far.get(), servant_.far.get(), options_.setting.relay);
        });
    // So that its end is seen as the end of the stream.
    client_.far.reset();
    servant_.far.reset();
    return process;
  }
  std::unique_ptr<Endpoint> client() override {
    if (options_.mode == PeerMode::processes) {
      servant_.near.reset();
    }
    return std::make_unique<SocketEndpoint>(std::move(client_.near), options_.payload_bytes);
  }
  std::unique_ptr<Endpoint> servant() override {
    if (options_.mode == PeerMode::processes) {
      client_.near.reset();
    }
    return std::make_unique<SocketEndpoint>(std::move(servant_.near), options_.payload_bytes);
  }

 private:
  const char* name_;
  PeerOptions options_;
  SocketPair client_;
  SocketPair servant_;
};

}  // namespace

std::unique_ptr<Peer> open_socket_peer(const char* name, const PeerOptions& options,
                                       SocketPair client, SocketPair servant) {
  return std::make_unique<SocketPeer>(name, options, std::move(client), std::move(servant));
}

SocketEndpoint::SocketEndpoint(shm::UniqueFd socket, std::size_t payload_bytes, bool listening)
    : socket_(std::move(socket)), listening_(listening), received_(payload_bytes) {
  wait_a_second_at_most(socket_.get());
}

bool SocketEndpoint::accepted(bool wait) {
  pollfd entry{socket_.get(), POLLIN, 0};
  if (poll(&entry, 1, wait ? kReceiveMsMax : 0) <= 0) {
    return false;
  }
  shm::UniqueFd socket(accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC));
  if (!socket) {
    fail_with_errno("accept");
  }
  set_no_delay(socket.get());
  wait_a_second_at_most(socket.get());
  socket_ = std::move(socket);
  listening_ = false;
  return true;
}

bool SocketEndpoint::flush() {
  while (!unsent_.empty()) {
    const ssize_t sent =
        ::send(socket_.get(), unsent_.data(), unsent_.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0 && would_wait()) {
      return false;
    }
    if (sent <= 0) {
      throw std::runtime_error("the relay closed the connection");
    }
    unsent_.erase(unsent_.begin(), unsent_.begin() + sent);
  }
  return true;
}

bool SocketEndpoint::try_send(std::span<const std::byte> message) {
  if ((listening_ && !accepted(false)) || (!unsent_.empty() && !flush())) {
    return false;
  }
  const ssize_t sent =
      ::send(socket_.get(), message.data(), message.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sent < 0) {
    if (!would_wait()) {
      throw std::runtime_error("the relay closed the connection");
    }
    return false;
  }
  const auto rest = message.subspan(static_cast<std::size_t>(sent));
  unsent_.assign(rest.begin(), rest.end());
  return true;
}

bool SocketEndpoint::take(std::span<std::byte> message, int flags) {
  std::byte* const to = received_bytes_ == 0 ? message.data() : received_.data();
  const ssize_t got =
      recv(socket_.get(), to + received_bytes_, message.size() - received_bytes_, flags);
  if (got <= 0) {
    if (got == 0 || !would_wait()) {
      throw std::runtime_error("the relay closed the connection");
    }
    return false;
  }
  const std::size_t before = received_bytes_;
  received_bytes_ += static_cast<std::size_t>(got);
  if (received_bytes_ < message.size()) {
    if (before == 0) {
      std::memcpy(received_.data(), message.data(), received_bytes_);
    }
    return false;
  }
  if (before != 0) {
    std::memcpy(message.data(), received_.data(), message.size());
  }
  received_bytes_ = 0;
  return true;
}

bool SocketEndpoint::try_receive(std::span<std::byte> message) {
  if (listening_ && !accepted(false)) {
    return false;
  }
  if (!unsent_.empty()) {
    (void)flush();
  }
  return take(message, MSG_DONTWAIT);
}

bool SocketEndpoint::receive(std::span<std::byte> message) {
  if (listening_ && !accepted(true)) {
    return false;
  }
  while (!unsent_.empty() && !flush()) {
    pollfd entry{socket_.get(), POLLOUT, 0};
    if (poll(&entry, 1, kReceiveMsMax) <= 0) {
      return false;
    }
  }
  return take(message, 0);
}

shm::UniqueFd listen_on_loopback() {
  shm::UniqueFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (!socket ||
      bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0 ||
      listen(socket.get(), 8) != 0) {
    fail_with_errno("cannot listen on 127.0.0.1");
  }
  return socket;
}

std::uint16_t port_of(int socket) {
  sockaddr_in address{};
  socklen_t length = sizeof(address);
  if (getsockname(socket, reinterpret_cast<sockaddr*>(&address), &length) != 0) {
    fail_with_errno("getsockname");
  }
  return ntohs(address.sin_port);
}

shm::UniqueFd connect_to(std::uint16_t port) {
  shm::UniqueFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (!socket ||
      connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    fail_with_errno("cannot connect on 127.0.0.1");
  }
  set_no_delay(socket.get());
  return socket;
}

void set_no_delay(int socket) noexcept {
  const int on = 1;
  (void)setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

}  // namespace mserve::bench
