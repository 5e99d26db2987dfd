// SPDX-License-Identifier: Apache-2.0
#include "kdb_peer.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "interrupt.hpp"
#include "mserve/kdb/message.hpp"
#include "mserve/shm/clock.hpp"

namespace mserve::bench {
namespace {

constexpr std::uint64_t kWaitNs = 20'000'000'000;
constexpr int kAnswerSeconds = 10;

sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

void send_all(int fd, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) {
      throw std::runtime_error("kdb+ peer: the connection is lost while sending");
    }
    bytes = bytes.subspan(static_cast<std::size_t>(sent));
  }
}

void receive_all(int fd, std::span<std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t got = ::recv(fd, bytes.data(), bytes.size(), 0);
    if (got <= 0) {
      throw std::runtime_error("kdb+ peer: no answer, or the connection is lost");
    }
    bytes = bytes.subspan(static_cast<std::size_t>(got));
  }
}

}  // namespace

KdbPeer::KdbPeer(std::uint16_t port, std::size_t payload_bytes)
    : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  const int on = 1;
  const timeval limit{kAnswerSeconds, 0};
  (void)::setsockopt(socket_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  (void)::setsockopt(socket_.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
  const sockaddr_in address = loopback(port);
  if (::connect(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    throw std::runtime_error("kdb+ peer: nobody listens on port " + std::to_string(port));
  }
  const std::byte hello[] = {std::byte{'b'}, std::byte{3}, std::byte{0}};
  std::byte capability{};
  send_all(socket_.get(), hello);
  receive_all(socket_.get(), {&capability, 1});
  const kdb::Value text = kdb::Value::chars(std::string(payload_bytes, 'x'));
  question_ = kdb::encode_message(kdb::Value::list({kdb::Value::symbol("echo"), text}),
                                  kdb::MessageKind::sync);
  expected_ = kdb::encode_message(text, kdb::MessageKind::response);
  answer_.resize(expected_.size());
}

void KdbPeer::ask() {
  send_all(socket_.get(), question_);
  receive_all(socket_.get(), answer_);
}

void KdbPeer::measure(const Timer& timer, std::uint64_t duration_ns, shm::Histogram& samples) {
  const std::uint64_t until = shm::steady_now() + duration_ns;
  while (shm::steady_now() < until && !interrupted()) {
    const std::uint64_t before = timer.read();
    ask();
    samples.record(timer.to_ns(timer.read() - before));
    if (answer_ != expected_) {
      throw std::runtime_error("kdb+ peer: the answer is not what echo was given");
    }
  }
}

std::uint16_t free_port() {
  const shm::UniqueFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address = loopback(0);
  socklen_t length = sizeof(address);
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0 ||
      ::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address), &length) != 0) {
    throw std::runtime_error("no free TCP port on 127.0.0.1");
  }
  return ntohs(address.sin_port);
}

void wait_for_answer(std::uint16_t port, const std::string& what) {
  const std::uint64_t until = shm::steady_now() + kWaitNs;
  for (;;) {
    try {
      const Timer timer;
      shm::Histogram one;
      KdbPeer(port, 1).measure(timer, 1, one);
      return;
    } catch (const std::runtime_error& e) {
      if (shm::steady_now() > until || interrupted()) {
        throw std::runtime_error(what + " does not answer: " + e.what());
      }
    }
    (void)::usleep(20'000);
  }
}

}  // namespace mserve::bench
