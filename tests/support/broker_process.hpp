// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "mserve/client/client.hpp"
#include "support/process.hpp"
#include "support/temp_dir.hpp"

namespace mserve::test {

/// How a broker under test runs.
struct BrokerSetup {
  std::vector<std::string> args;  ///< Options of mserve-broker beside name, directory and memory.
  int servants = 0;               ///< mserve-servants to launch.
  std::string servant_args = "--rows 1000";
  int core = -1;  ///< The only core it may use, its servants too; -1: all.
  std::map<std::string, std::string> env{};  ///< Beside the test's own.
  bool gateway = false;  ///< Listens for kdb+ clients at a free port, and in its directory.
  std::function<void()> prepare{};  ///< Spawn::prepare of it.
};

/// Of a broker whose options matter, and its servants' data do not.
[[nodiscard]] inline BrokerSetup broker_with(std::vector<std::string> args, int servants = 0) {
  BrokerSetup setup;
  setup.args = std::move(args);
  setup.servants = servants;
  setup.servant_args = "--rows 0";
  return setup;
}

/// A real mserve-broker in a directory and under a name of its own, so that tests may run side by
/// side. Fails the test when a sanitizer complained. Leaves no process and nothing in /dev/shm.
class Broker {
 public:
  /// Starts it and waits until its servants are attached.
  explicit Broker(BrokerSetup setup = {});
  ~Broker();
  Broker(const Broker&) = delete;
  Broker& operator=(const Broker&) = delete;

  /// Starts it again, after stop() or kill().
  void start();
  /// SIGTERM; waits for the end and expects it to be a clean one.
  void stop();
  /// SIGKILL; waits for the end.
  void kill();

  [[nodiscard]] Process& process() noexcept { return process_; }
  [[nodiscard]] pid_t pid() const noexcept { return process_.pid(); }
  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  [[nodiscard]] const std::string& directory() const noexcept { return dir_.path(); }
  /// With a gateway: its port since the last start, and the path (and abstract name) of its Unix
  /// socket.
  [[nodiscard]] std::uint16_t port() const;
  [[nodiscard]] std::string socket_path() const;
  /// MSERVE_DIR and MSERVE_NAME for processes that shall find it.
  [[nodiscard]] std::map<std::string, std::string> env() const;
  /// mserve-broker with the arguments that this one was started with.
  [[nodiscard]] std::vector<std::string> command_line() const;
  /// A mserve-servant that this test starts itself; returns at once.
  [[nodiscard]] Process spawn_servant(const std::string& servant,
                                      std::vector<std::string> args) const;

  [[nodiscard]] std::string log() const;
  /// Waits for a line that contains `text`. @return that line; empty after the watchdog.
  std::string wait_for_log(const std::string& text) const;
  /// Log lines that contain `text`.
  [[nodiscard]] std::vector<std::string> log_lines(const std::string& text) const;
  /// A counter now; nothing without a broker.
  [[nodiscard]] std::optional<std::uint64_t> counter(const std::string& counter) const;
  void wait_for_counter(const std::string& counter, std::uint64_t value) const;
  /// The launcher's pid, and those of the launched servants that live.
  [[nodiscard]] pid_t launcher() const;
  [[nodiscard]] std::vector<pid_t> launched() const;
  /// Objects of this broker in /dev/shm: counters and monitor while it runs.
  static constexpr std::size_t kSharedObjects = 2;
  [[nodiscard]] std::size_t shared_objects() const;
  /// Descriptors that it has open.
  [[nodiscard]] std::size_t descriptors() const;

  /// A client of it; a failure fails the test and throws.
  [[nodiscard]] Client client(ClientOptions options = {}) const;

 private:
  BrokerSetup setup_;
  TempDir dir_;
  std::string name_;
  Process process_;
};

/// The value of `key=` in a log line, up to the next space.
[[nodiscard]] std::string field_of(const std::string& line, const std::string& key);

}  // namespace mserve::test
