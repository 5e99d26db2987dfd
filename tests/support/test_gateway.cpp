// SPDX-License-Identifier: Apache-2.0
#include "support/test_gateway.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <stdexcept>
#include <utility>

namespace mserve::test {
namespace {

shm::UniqueFd listen_on_loopback(std::uint16_t& port) {
  shm::UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      ::listen(fd.get(), 16) != 0 ||
      ::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    throw std::runtime_error("no listening socket on loopback");
  }
  port = ntohs(address.sin_port);
  return fd;
}

}  // namespace

bool GatewayConnection::read(std::span<std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t got = ::recv(fd_, bytes.data(), bytes.size(), 0);
    if (got <= 0) {
      return false;
    }
    bytes = bytes.subspan(static_cast<std::size_t>(got));
  }
  return true;
}

std::string GatewayConnection::take_opening() {
  std::string opening;
  for (std::byte b{1}; b != std::byte{0};) {
    if (!read({&b, 1})) {
      return {};
    }
    opening += static_cast<char>(b);
  }
  return opening;
}

bool GatewayConnection::welcome(std::uint8_t capability) {
  const auto answer = static_cast<std::byte>(capability);
  return !take_opening().empty() && write({&answer, 1});
}

std::optional<kdb::Message> GatewayConnection::take_message() {
  Bytes message(kdb::kHeaderBytes);
  if (!read(message)) {
    return std::nullopt;
  }
  const auto header = kdb::parse_header(message);
  if (!header) {
    return std::nullopt;
  }
  message.resize(static_cast<std::size_t>(header->message_bytes));
  if (!read(std::span(message).subspan(kdb::kHeaderBytes))) {
    return std::nullopt;
  }
  auto decoded = kdb::decode_message(message);
  return decoded ? std::optional(*std::move(decoded)) : std::nullopt;
}

std::optional<LbtRequest> GatewayConnection::take() {
  const auto decoded = take_message();
  if (!decoded || decoded->header.kind != kdb::MessageKind::async) {
    return std::nullopt;
  }
  const auto items = decoded->value.list_items();
  if ((items.size() != 2 && items.size() != 3) || items[0].type_code() != -7) {
    return std::nullopt;
  }
  return LbtRequest{static_cast<std::uint64_t>(items[0].integer().value_or(0)), items[1],
                    items.size() == 3 ? items[2] : kdb::Value()};
}

void GatewayConnection::drain() {
  Bytes buffer(65536);
  while (::recv(fd_, buffer.data(), buffer.size(), 0) > 0) {
  }
}

bool GatewayConnection::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) {
      return false;
    }
    bytes = bytes.subspan(static_cast<std::size_t>(sent));
  }
  return true;
}

bool GatewayConnection::dribble(std::span<const std::byte> bytes) {
  const int one = 1;
  (void)::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if (!write(bytes.subspan(i, 1))) {
      return false;
    }
  }
  return true;
}

TestGateway::TestGateway(Script script)
    : script_(std::move(script)),
      listener_(listen_on_loopback(port_)),
      stop_(::eventfd(0, EFD_CLOEXEC)),
      thread_([this] { run(); }) {}

TestGateway::~TestGateway() {
  const std::uint64_t one = 1;
  (void)!::write(stop_.get(), &one, sizeof(one));
  // A connection that is being played ends with this; the thread closes it itself.
  if (const int fd = current_.exchange(-1, std::memory_order_acq_rel); fd >= 0) {
    (void)::shutdown(fd, SHUT_RDWR);
    ::close(fd);
  }
  thread_.join();
}

bool TestGateway::stopped() const noexcept {
  pollfd watched{stop_.get(), POLLIN, 0};
  return ::poll(&watched, 1, 0) > 0;
}

void TestGateway::run() {
  while (!stopped()) {
    pollfd watched[2] = {{listener_.get(), POLLIN, 0}, {stop_.get(), POLLIN, 0}};
    (void)::poll(watched, 2, -1);
    const shm::UniqueFd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!fd) {
      continue;
    }
    // The destructor hangs up by its own descriptor of the same socket, so that neither closes the
    // other's.
    current_.store(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 0), std::memory_order_release);
    const int number = connections_.fetch_add(1, std::memory_order_acq_rel);
    GatewayConnection connection(fd.get());
    if (!stopped()) {  // from here on the destructor hangs up
      script_(connection, number);
    }
    if (const int mine = current_.exchange(-1, std::memory_order_acq_rel); mine >= 0) {
      ::close(mine);
    }
  }
}

void echo_requests(GatewayConnection& connection, int /*number*/) {
  if (!connection.welcome()) {
    return;
  }
  while (const auto request = connection.take()) {
    if (!connection.write(lbt_answer(request->id, request->query))) {
      return;
    }
  }
}

std::uint16_t unused_port() {
  std::uint16_t port = 0;
  const shm::UniqueFd fd = listen_on_loopback(port);
  return port;
}

}  // namespace mserve::test
