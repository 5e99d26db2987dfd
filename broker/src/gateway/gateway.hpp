// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "control/log.hpp"
#include "data/data_loan.hpp"
#include "gateway/admin_view.hpp"
#include "gateway/connection_context.hpp"
#include "mserve/shm/errc.hpp"
#include "mserve/shm/unique_fd.hpp"
#include "options.hpp"

namespace mserve::broker {

/// The broker's TCP side: a thread of its own that serves all kdb+ connections of one port and has
/// one session with the data plane, as a peer would. It touches nothing of the data thread's,
/// unless it is lent the data plane.
///   open()   any thread: sockets are bound, so that faults are told before anything runs
///   start()  the thread attaches through the broker's own socket, so the control thread must serve
///   take_leave()  all goes on, but /healthz says draining
///   drain()  no new connections and requests; what runs is answered, then its connection closed
///   stop()   what is answered by now is sent, for a short while, then all is closed
class Gateway {
 public:
  struct Setup {
    BrokerOptions options;
    GatewayCounters counters{};
    const SessionBoard* board = nullptr;         ///< Outlives the gateway.
    std::string counters_name;                   ///< Of this broker, for .mserve.stats[].
    shm::MonitorNameSet* route_names = nullptr;  ///< Outlives the gateway. Null: nobody is told.
    LogQueue* log = nullptr;   ///< Takes its thread's lines, outlives it; null: that writes itself.
    DataLoan* loan = nullptr;  ///< Outlives the gateway. Null: the data thread runs alone.
    int data_epoll_fd = -1;    ///< What the data plane sleeps on, for a borrower.
  };
  /// @param reason  one sentence when it fails.
  [[nodiscard]] static Result<std::unique_ptr<Gateway>> open(Setup setup, std::string& reason);

  Gateway(const Gateway&) = delete;
  Gateway& operator=(const Gateway&) = delete;
  ~Gateway();

  void start();
  /// Any thread.
  void take_leave() noexcept;
  void drain() noexcept;
  void stop() noexcept;
  /// Any thread. Who may connect from now on; null: everybody, where there was nobody at the start.
  /// Connections that were not asked who they are take no more requests once somebody is.
  void set_access(std::shared_ptr<const AccessRules> access);
  /// Any thread. Answers an operator with the newest `count` queries, and closes the socket.
  void show_queries(shm::UniqueFd socket, std::size_t count);

 private:
  class Loop;
  explicit Gateway(std::unique_ptr<Loop> loop) noexcept;
  std::unique_ptr<Loop> loop_;
};

}  // namespace mserve::broker
