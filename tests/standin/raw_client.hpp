// SPDX-License-Identifier: Apache-2.0
// A kdb+ client made of one blocking socket, for tests that decide every byte. Each call fails the
// running test and gives nothing when the peer does not answer before the watchdog.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "mserve/kdb/message.hpp"
#include "mserve/shm/unique_fd.hpp"

namespace mserve::test {

class RawClient {
 public:
  /// Connects, no more. @param port  on 127.0.0.1
  [[nodiscard]] static RawClient tcp(std::uint16_t port);
  /// @param name  a path, or an abstract name without its NUL.
  [[nodiscard]] static RawClient unix_socket(const std::string& name, bool abstract);

  /// Whether there is a socket: false when nobody listened, or after close().
  [[nodiscard]] bool connected() const noexcept { return static_cast<bool>(fd_); }
  /// Credentials, capability (0: left out), NUL. @return the byte that accepted it; nothing when
  /// the peer closed.
  std::optional<std::uint8_t> handshake(std::string_view credentials = "test:secret",
                                        std::uint8_t capability = 6);
  /// @return false when the peer is gone.
  bool send_bytes(std::span<const std::byte> bytes);
  bool send_text(std::string_view bytes);
  bool send(const kdb::Value& value, kdb::MessageKind kind,
            kdb::ByteOrder order = kdb::ByteOrder::little);

  /// The next message, its header and bytes as they came; nothing when the peer closed before its
  /// end.
  [[nodiscard]] std::optional<kdb::Message> receive();
  /// The bytes of the message that receive() gave last.
  [[nodiscard]] std::span<const std::byte> last_bytes() const noexcept { return message_; }
  /// A sync query and the value of its response.
  [[nodiscard]] std::optional<kdb::Value> query(const kdb::Value& value);
  [[nodiscard]] std::optional<kdb::Value> query(std::string_view text);

  /// Up to `count` bytes; fewer when the peer closed.
  [[nodiscard]] std::vector<std::byte> receive_bytes(std::size_t count);
  /// Whether the peer closes without another byte.
  [[nodiscard]] bool closed_by_peer() { return receive_bytes(1).empty(); }
  /// Says that nothing more will be sent.
  void half_close();
  void close() { fd_.reset(); }
  /// Closes a TCP connection as the kernel does for a process that died with bytes unread: the peer
  /// learns that nobody reads any more, which a mere close() does not say.
  void reset();

 private:
  explicit RawClient(shm::UniqueFd fd) noexcept : fd_(std::move(fd)) {}

  shm::UniqueFd fd_;
  std::vector<std::byte> message_;
};

}  // namespace mserve::test
