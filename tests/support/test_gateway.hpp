// SPDX-License-Identifier: Apache-2.0
// A gateway for tests of the client library: a listening socket and a thread that plays one
// connection after the other as the test says.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "mserve/kdb/codec.hpp"
#include "mserve/kdb/message.hpp"
#include "mserve/kdb/value.hpp"
#include "mserve/shm/unique_fd.hpp"

namespace mserve::test {

using Bytes = std::vector<std::byte>;

/// What a gateway says of a request.
inline kdb::Value lbt_info(std::string_view servant = "servant1", std::int64_t elapsed = 3,
                           std::int64_t execution = 2, std::string_view route = "IBM") {
  using kdb::Value;
  return Value::dict(
      Value::symbols({"qsvr", "elapsed", "execution", "route", "backlog", "remaining"}),
      Value::list({Value::symbol(servant), Value::long_atom(elapsed), Value::long_atom(execution),
                   Value::symbol(route), Value::long_atom(4), Value::long_atom(1)}));
}

/// Async `(id; result; info)`.
inline Bytes lbt_answer(std::uint64_t id, const kdb::Value& result,
                        const kdb::Value& info = lbt_info(),
                        kdb::ByteOrder order = kdb::ByteOrder::little) {
  const auto id_atom = kdb::Value::long_atom(static_cast<std::int64_t>(id));
  return kdb::encode_message(kdb::Value::list({id_atom, result, info}), kdb::MessageKind::async,
                             order);
}

/// A request as it arrived.
struct LbtRequest {
  std::uint64_t id = 0;
  kdb::Value query;
  kdb::Value options;  ///< `::` when there were none.
};

/// One connection, on the gateway's thread. Reading ends when the client or the test hangs up.
class GatewayConnection {
 public:
  explicit GatewayConnection(int fd) noexcept : fd_(fd) {}

  /// The client's `user:password`, capability byte and zero byte; empty when it hung up.
  std::string take_opening();
  /// Takes the opening and accepts it.
  bool welcome(std::uint8_t capability = 6);
  /// The next message, whatever it is; nothing when the client hung up, or sent none.
  std::optional<kdb::Message> take_message();
  /// The next request; nothing when the client hung up, or sent something that is none.
  std::optional<LbtRequest> take();
  /// Reads and drops bytes until the client hangs up.
  void drain();

  /// @return false when the client hung up.
  bool write(std::span<const std::byte> bytes);
  /// Byte by byte.
  bool dribble(std::span<const std::byte> bytes);

 private:
  bool read(std::span<std::byte> bytes);

  int fd_;
};

class TestGateway {
 public:
  using Script = std::function<void(GatewayConnection&, int number)>;

  /// Plays `script` for each connection in turn; it is closed when the script returns.
  explicit TestGateway(Script script);
  /// Hangs up and waits for the script to end.
  ~TestGateway();
  TestGateway(const TestGateway&) = delete;
  TestGateway& operator=(const TestGateway&) = delete;

  [[nodiscard]] std::uint16_t port() const noexcept { return port_; }
  [[nodiscard]] std::string endpoint() const { return "tcp://127.0.0.1:" + std::to_string(port_); }
  /// Connections taken so far.
  [[nodiscard]] int connections() const noexcept {
    return connections_.load(std::memory_order_acquire);
  }

 private:
  void run();

  [[nodiscard]] bool stopped() const noexcept;

  Script script_;
  std::uint16_t port_ = 0;
  shm::UniqueFd listener_;
  shm::UniqueFd stop_;  ///< Readable once the test ends.
  std::atomic<int> connections_{0};
  std::atomic<int> current_{-1};
  std::thread thread_;
};

/// Answers each request with its own query.
void echo_requests(GatewayConnection& connection, int number);

/// A port of this host that nobody listens on.
[[nodiscard]] std::uint16_t unused_port();

}  // namespace mserve::test
