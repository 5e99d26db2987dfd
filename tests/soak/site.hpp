// SPDX-License-Identifier: Apache-2.0
// What a soak torments: a broker with launched servants, shims with their q processes, and
// processes that attach only to be killed.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "mserve/shm/unique_fd.hpp"
#include "soak/books.hpp"
#include "support/broker_process.hpp"
#include "support/holdings.hpp"
#include "support/shim_process.hpp"

namespace mserve::test {

/// How many there are of each.
inline constexpr int kLaunchedServants = 3;
inline constexpr std::size_t kShims = 2;
inline constexpr std::size_t kVictims = 2;  ///< Clients, and as many servants.

/// @thread all of it belongs to one: processes end with the thread that started them.
class Site {
 public:
  Site(std::uint16_t port, std::mt19937_64& random);

  [[nodiscard]] Broker& broker() noexcept { return *broker_; }
  [[nodiscard]] std::uint16_t port() const noexcept { return port_; }
  /// @param also_by_tcp  falls back to the gateway while there is no local broker.
  [[nodiscard]] Client connect(ClientOptions options, bool also_by_tcp) const;

  /// Does it, once. Fault::hang_up is the gateway clients' own.
  void inject(Fault fault, SoakBooks& books);
  /// Continues what was stopped for long enough, and ends hostile processes that had their time.
  void tend();
  /// Ends every victim, and continues whatever is stopped.
  void calm_down();
  /// Waits until every servant and shim is attached and nobody else but `clients` sessions.
  void wait_until_whole(std::uint64_t clients);

  /// Requests that the present broker took and that its counters know no end of, or more than one.
  /// When all is over.
  [[nodiscard]] std::uint64_t unaccounted() const;
  /// Of the broker, then of each shim.
  [[nodiscard]] std::vector<Holdings> holdings() const;

 private:
  struct Served {
    std::unique_ptr<StandinProcess> q;
    std::unique_ptr<ShimProcess> shim;
  };
  /// A process that attaches by itself; see victims.hpp.
  struct Visitor {
    Process process;
    std::uint64_t until = 0;  ///< When a hostile one is ended.
  };
  struct Stopped {
    shm::UniqueFd pidfd;
    std::uint64_t until = 0;
  };

  [[nodiscard]] Process visit(const char* role);
  void replace(std::vector<Visitor>& visitors, const char* role);
  void stop_somebody();
  void restart_broker(bool kill);
  [[nodiscard]] pid_t some_launched_servant();
  void serve(std::size_t index);

  std::uint16_t port_;
  std::mt19937_64& random_;
  std::unique_ptr<Broker> broker_;
  std::vector<Served> served_;
  std::vector<Visitor> clients_;
  std::vector<Visitor> servants_;
  std::vector<Visitor> hostile_;
  std::vector<Stopped> stopped_;
  std::uint64_t own_sessions_ = 0;  ///< The gateway's.
};

}  // namespace mserve::test
