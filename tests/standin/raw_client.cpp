// SPDX-License-Identifier: Apache-2.0
#include "standin/raw_client.hpp"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <utility>

namespace mserve::test {
namespace {

constexpr time_t kWatchdogSeconds = 60;

shm::UniqueFd connect_to(int family, const void* address, std::size_t size) {
  shm::UniqueFd fd(socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const timeval watchdog{kWatchdogSeconds, 0};
  setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &watchdog, sizeof watchdog);
  setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &watchdog, sizeof watchdog);
  if (connect(fd.get(), static_cast<const sockaddr*>(address), static_cast<socklen_t>(size)) != 0) {
    fd.reset();
  }
  return fd;
}

}  // namespace

RawClient RawClient::tcp(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return RawClient(connect_to(AF_INET, &address, sizeof address));
}

RawClient RawClient::unix_socket(const std::string& name, bool abstract) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::size_t skip = abstract ? 1 : 0;
  if (name.size() + 1 >= sizeof address.sun_path) {
    return RawClient({});
  }
  std::memcpy(address.sun_path + skip, name.data(), name.size());
  return RawClient(
      connect_to(AF_UNIX, &address, offsetof(sockaddr_un, sun_path) + name.size() + 1));
}

std::optional<std::uint8_t> RawClient::handshake(std::string_view credentials,
                                                 std::uint8_t capability) {
  std::string opening(credentials);
  if (capability != 0) {
    opening += static_cast<char>(capability);
  }
  opening += '\0';
  if (!send_text(opening)) {
    return std::nullopt;
  }
  const std::vector<std::byte> answer = receive_bytes(1);
  return answer.empty() ? std::nullopt : std::optional(static_cast<std::uint8_t>(answer.front()));
}

bool RawClient::send_bytes(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) {
      continue;
    }
    if (sent <= 0) {
      EXPECT_NE(errno, EAGAIN) << "the peer takes nothing any more";
      return false;
    }
    bytes = bytes.subspan(static_cast<std::size_t>(sent));
  }
  return true;
}

bool RawClient::send_text(std::string_view bytes) {
  return send_bytes(std::as_bytes(std::span(bytes)));
}

bool RawClient::send(const kdb::Value& value, kdb::MessageKind kind, kdb::ByteOrder order) {
  return send_bytes(kdb::encode_message(value, kind, order));
}

std::vector<std::byte> RawClient::receive_bytes(std::size_t count) {
  std::vector<std::byte> bytes(count);
  std::size_t have = 0;
  while (have < count) {
    const ssize_t got = recv(fd_.get(), bytes.data() + have, count - have, 0);
    if (got < 0 && errno == EINTR) {
      continue;
    }
    if (got <= 0) {
      EXPECT_FALSE(got < 0 && errno == EAGAIN) << "the peer says nothing";
      break;
    }
    have += static_cast<std::size_t>(got);
  }
  bytes.resize(have);
  return bytes;
}

std::optional<kdb::Message> RawClient::receive() {
  message_ = receive_bytes(kdb::kHeaderBytes);
  const kdb::Result<kdb::Header> header = kdb::parse_header(message_);
  if (!header) {
    EXPECT_LT(message_.size(), kdb::kHeaderBytes) << "no kdb+ header";
    return std::nullopt;
  }
  const std::size_t rest = static_cast<std::size_t>(header->message_bytes) - kdb::kHeaderBytes;
  const std::vector<std::byte> object = receive_bytes(rest);
  message_.insert(message_.end(), object.begin(), object.end());
  if (object.size() < rest) {
    return std::nullopt;
  }
  kdb::Result<kdb::Message> message = kdb::decode_message(message_);
  if (!message) {
    ADD_FAILURE() << "no kdb+ message: " << kdb::to_text(message.error());
    return std::nullopt;
  }
  return *std::move(message);
}

std::optional<kdb::Value> RawClient::query(const kdb::Value& value) {
  if (!send(value, kdb::MessageKind::sync)) {
    return std::nullopt;
  }
  std::optional<kdb::Message> answer = receive();
  if (!answer) {
    return std::nullopt;
  }
  EXPECT_EQ(answer->header.kind, kdb::MessageKind::response);
  return std::move(answer->value);
}

std::optional<kdb::Value> RawClient::query(std::string_view text) {
  return query(kdb::Value::chars(std::string(text)));
}

void RawClient::half_close() {
  shutdown(fd_.get(), SHUT_WR);
}

void RawClient::reset() {
  const linger at_once{1, 0};
  setsockopt(fd_.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  fd_.reset();
}

}  // namespace mserve::test
