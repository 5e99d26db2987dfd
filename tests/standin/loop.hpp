// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <poll.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "mserve/kdb/message.hpp"
#include "mserve/shm/unique_fd.hpp"
#include "standin/evaluator.hpp"
#include "standin/options.hpp"

namespace mserve::test {

/// One peer of the stand-in.
struct Connection {
  shm::UniqueFd fd;
  std::string address;    ///< As q's .z.a has it: 0.0.0.0 for a Unix socket.
  bool accepted = false;  ///< The handshake is done.
  std::uint8_t capability = 0;
  std::string user;
  std::vector<std::byte> in;
  std::vector<std::byte> out;
  std::size_t sent = 0;               ///< Bytes of `out` that the kernel has.
  std::uint64_t answers = 0;          ///< In `out`.
  std::optional<std::size_t> die_at;  ///< Dies when so many bytes of `out` are sent.
  bool ended = false;                 ///< The peer sends no more.
  bool closed = false;                ///< To be removed.
};

/// What Standin hides: sockets, connections, and the one thread's poll loop. See there for the
/// calls of the same names.
class Loop {
 public:
  explicit Loop(StandinOptions options);
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;
  ~Loop() { close_all(); }

  void run();

  // --- any thread ---
  void request_stop() noexcept { set(stop_, true); }
  void hold(bool held) noexcept { set(held_, held); }
  void interrupt() noexcept { set(interrupt_, true); }
  void drop_connections() noexcept { set(drop_, true); }
  [[nodiscard]] const StandinOptions& options() const noexcept { return options_; }

  struct Counters {
    std::atomic<std::uint64_t> connections{0}, refused{0}, open{0}, messages{0}, queries{0},
        answers{0};
    std::atomic<bool> running{true};
  };
  [[nodiscard]] const Counters& counters() const noexcept { return counters_; }

 private:
  void set(std::atomic<bool>& flag, bool value) noexcept;
  [[nodiscard]] bool given_up() const noexcept;
  void drain_wake() noexcept;
  void wait(std::uint64_t ms);
  void close_all() noexcept;

  [[nodiscard]] std::vector<pollfd> poll_set() const;
  void accept_from(int listener);
  void read_from(Connection& connection);
  void flush(Connection& connection);
  void remove_closed();

  void serve(Connection& connection);
  std::size_t serve_one(Connection& connection, std::span<const std::byte> bytes);
  std::size_t open_up(Connection& connection, std::span<const std::byte> bytes);
  [[nodiscard]] bool may_enter(const Connection& connection, const std::string& credentials) const;
  void handle(Connection& connection, const kdb::Message& message);
  void handle_plain(Connection& connection, const kdb::Message& message);
  void handle_lbt(Connection& connection, const kdb::Message& message);
  [[nodiscard]] std::optional<Outcome> run_query(Connection& connection, const kdb::Value& query,
                                                 const kdb::Value& options);
  [[nodiscard]] bool occasion(Die point) noexcept;
  void die(Connection& connection);
  enum class MayDie : bool { no, yes };
  void reply(Connection& connection, const kdb::Value& value, kdb::MessageKind kind, MayDie may);

  StandinOptions options_;  // with the port that it got
  shm::UniqueFd wake_;
  std::vector<shm::UniqueFd> listeners_;
  std::string socket_path_;
  std::vector<std::unique_ptr<Connection>> connections_;
  Evaluator evaluator_;
  std::vector<std::byte> buffer_;
  std::uint64_t occasions_ = 0;
  bool finished_ = false;

  std::atomic<bool> stop_{false};
  std::atomic<bool> held_{false};
  std::atomic<bool> drop_{false};
  std::atomic<bool> interrupt_{false};
  Counters counters_;
};

}  // namespace mserve::test
