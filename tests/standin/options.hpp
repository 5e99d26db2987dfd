// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

namespace mserve::test {

/// Which q program the stand-in stands in for.
enum class Form : std::uint8_t {
  plain,  ///< Any q process: a sync message is evaluated and answered, an async one evaluated.
  lbt,    ///< LBT's servant.q: async (id;query;options) -> async (id;result); sync -> "USE ASYNC".
  qsvr,   ///< LBT's qsvr.q: as lbt; always exits on close, never looks at Q_SERVANTOF.
};

/// How answers travel. Whatever the peer's capability does not allow goes plain.
enum class Reply : std::uint8_t {
  plain,
  compressed,  ///< Every answer, also where it does not pay.
  big_endian,
  dribble,  ///< One byte per write.
};

/// When it dies.
enum class Die : std::uint8_t {
  never,
  handshake,    ///< The credentials were read, nothing was answered.
  on_query,     ///< A query was read, nothing was answered.
  mid_reply,    ///< Half of the answer was written.
  after_reply,  ///< The whole answer was written.
};

/// What dies then.
enum class Dies : std::uint8_t {
  connection,  ///< The one in question, by a normal close; the others live on.
  standin,     ///< All connections and listening sockets; running() becomes false.
  process,     ///< By SIGKILL.
};

struct StandinOptions {
  std::uint16_t port = 0;  ///< On 127.0.0.1; 0: any.
  bool uds = false;        ///< Also on the abstract name and the path UDS_DIR/kx.PORT.
  std::string uds_dir = default_uds_dir();
  Form form = Form::plain;
  bool info = false;          ///< lbt: (id;result;info), info being `served`route!(long;`standin).
  std::uint64_t rows = 1000;  ///< Trades that proc1 and proc2 work on.
  Reply reply = Reply::plain;
  Die die = Die::never;
  std::uint64_t die_after = 0;  ///< Occasions that pass well before the one to die at.
  Dies dies = Dies::connection;
  bool exit_on_close = false;  ///< Ends when a connection that was accepted closes.
  /// As servant.q does with a Q_SERVANTOF that is not empty: accepts one connection ever, from this
  /// address, and ends when it closes. A Unix socket counts as 0.0.0.0.
  std::string servant_of{};
  std::uint64_t slow_ms = 0;  ///< Waits so long before it evaluates a query.
  std::string user{};  ///< "name" or "name:password" that must be given; empty: anybody may come.
  std::uint8_t capability = 6;  ///< What it offers in the handshake.
  /// What it answers to .z.i; 0: that it may not be asked. Nobody shall signal a test's own
  /// process.
  std::int32_t process = 0;

  /// $QUDSPATH, else /tmp; q's own rule.
  [[nodiscard]] static std::string default_uds_dir();
};

}  // namespace mserve::test
