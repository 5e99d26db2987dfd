// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "support/broker_process.hpp"
#include "support/process.hpp"
#include "support/temp_dir.hpp"

namespace mserve::test {

/// A mserve-qshim beside a broker. Fails the test when a sanitizer complained.
class ShimProcess {
 public:
  /// Starts it; returns at once. @param args  beside those that name the broker.
  ShimProcess(const Broker& broker, std::vector<std::string> args,
              std::map<std::string, std::string> env = {});
  /// The same for the q on this port of 127.0.0.1.
  ShimProcess(const Broker& broker, std::uint16_t port, std::vector<std::string> args = {});
  ~ShimProcess();
  ShimProcess(const ShimProcess&) = delete;
  ShimProcess& operator=(const ShimProcess&) = delete;

  [[nodiscard]] Process& process() noexcept { return process_; }
  [[nodiscard]] pid_t pid() const noexcept { return process_.pid(); }
  [[nodiscard]] std::string log() const;
  /// Lines of the log that contain `text`.
  [[nodiscard]] std::size_t count(const std::string& text) const;
  /// Waits until the log has `times` lines that contain `text`.
  void wait_for_log(const std::string& text, std::size_t times = 1) const;
  /// The most memory that it ever had resident, in bytes.
  [[nodiscard]] std::uint64_t peak_bytes() const;

 private:
  TempDir dir_;
  Process process_;
};

/// The stand-in for q as a process of its own, to be killed or stopped.
class StandinProcess {
 public:
  /// Starts it and waits until it listens. @param args  beside --port.
  explicit StandinProcess(std::vector<std::string> args = {}, std::uint16_t port = 0);

  [[nodiscard]] Process& process() noexcept { return process_; }
  [[nodiscard]] std::uint16_t port() const noexcept { return port_; }

 private:
  TempDir dir_;
  Process process_;
  std::uint16_t port_ = 0;
};

}  // namespace mserve::test
