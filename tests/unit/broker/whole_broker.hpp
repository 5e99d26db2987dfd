// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <string>
#include <thread>

#include "control/broker.hpp"
#include "control/launcher.hpp"
#include "control/log.hpp"
#include "support/temp_dir.hpp"

namespace mserve::test {

/// A whole broker with all its threads in this process, for what only the broker's own process may
/// do or see. It ends by SIGTERM, so there is one at a time, and the test's process has no other
/// use for that signal.
class WholeBroker {
 public:
  WholeBroker() {
    options_.name = "whole";
    options_.directory = dir_.path();
    options_.max_queue_bytes = options_.max_pending_bytes = 1U << 20;
    options_.servant_ring = 64U << 10;
    options_.client_ring = options_.gather_max = options_.retain_max = 16U << 10;
    options_.gateway_ring = 256U << 10;
    options_.max_connections = 4;
    (void)broker::set_log_level("error");
  }
  ~WholeBroker() {
    if (thread_.joinable()) {
      ::kill(::getpid(), SIGTERM);
      thread_.join();
    }
  }
  WholeBroker(const WholeBroker&) = delete;
  WholeBroker& operator=(const WholeBroker&) = delete;

  /// To be changed before start().
  [[nodiscard]] broker::BrokerOptions& options() noexcept { return options_; }

  /// Returns once it can be reached.
  void start() {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &set, nullptr);  // the broker's signalfd takes it
    std::array<int, 2> ends{};
    ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
    options_.ready_fd = ends[1];
    thread_ = std::thread([this] {
      std::string reason;
      EXPECT_EQ(broker::run_broker(options_, broker::Launcher{}, {}, reason).code, Errc::ok)
          << reason;
    });
    // Its socket has a name a moment before anybody can connect to it.
    std::array<char, 6> said{};
    EXPECT_EQ(::read(ends[0], said.data(), said.size()), 6) << "a broker that is ready";
    ::close(ends[0]);
  }

 private:
  TempDir dir_;
  broker::BrokerOptions options_;
  std::thread thread_;
};

}  // namespace mserve::test
