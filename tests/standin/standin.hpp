// SPDX-License-Identifier: Apache-2.0
// A stand-in for a q process: a small kdb+ IPC server for tests, with the functions of LBT's
// servant.q and some that make trouble. Test code: it trusts its options, and its memory grows with
// what it is sent.
//   echo x         its argument                      proc1 s, proc2 s   as mserve-servant's
//   sleep ms       its argument, so much later       fail text          the error `text`
//   big bytes      a byte vector of that count       user[]             who the connection said it
//   is options[]      the options of an LBT request, `::` without
//   asked u x      its arguments as a list           entitled u x       what the query x gives, the
//                                                    error `access` for the user u `eve`
// Anything else that q would evaluate is the error `nyi`. As in q one thread does everything, one
// message at a time: while a query runs, nobody is served. The empty query "" (flush, probe) is
// answered by every form as q would, and is no occasion to die, to be slow or to be counted as a
// query.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <thread>

#include "standin/options.hpp"

namespace mserve::test {

class Loop;

/// @thread start(), run() and the destructor belong to one thread; all else any thread.
class Standin {
 public:
  /// Listens at once, so that port() is known; throws std::system_error when it cannot.
  explicit Standin(StandinOptions options = {});
  ~Standin();  ///< stop()
  Standin(const Standin&) = delete;
  Standin& operator=(const Standin&) = delete;

  /// Serves in a thread of its own.
  void start();
  /// Serves in this thread, until request_stop() or an end of its own (death, exit on close).
  void run();
  /// Closes everything and waits for the thread. A query that runs is given up.
  void stop();
  /// Makes run() return. Also from a signal handler.
  void request_stop() noexcept;

  [[nodiscard]] std::uint16_t port() const noexcept;
  /// The path of the Unix socket.
  [[nodiscard]] std::string uds_path() const;

  /// Queries that are to run wait from now on, until release(): a q process that is busy.
  void hold() noexcept;
  void release() noexcept;
  /// As SIGINT for q: what it evaluates ends with the error `stop`; evaluating nothing, it ends
  /// itself. Also from a signal handler.
  void interrupt() noexcept;
  /// Closes every connection; a query that runs is given up. New ones are welcome.
  void drop_connections() noexcept;

  /// False after stop(), a death of the stand-in, or an exit on close; then nothing listens any
  /// more.
  [[nodiscard]] bool running() const noexcept;
  [[nodiscard]] std::uint64_t connections() const noexcept;  ///< Handshakes accepted so far.
  [[nodiscard]] std::uint64_t refused() const noexcept;      ///< Handshakes refused so far.
  [[nodiscard]] std::uint64_t open() const noexcept;         ///< Accepted connections now.
  [[nodiscard]] std::uint64_t messages() const noexcept;     ///< Read so far, of any kind.
  [[nodiscard]] std::uint64_t queries() const noexcept;      ///< Begun so far, without empty ones.
  [[nodiscard]] std::uint64_t answers() const noexcept;      ///< Handed to the kernel as a whole.

 private:
  std::unique_ptr<Loop> loop_;
  std::thread thread_;
};

}  // namespace mserve::test
