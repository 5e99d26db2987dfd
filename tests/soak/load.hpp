// SPDX-License-Identifier: Apache-2.0
// Honest clients, which keep account of each request.
#pragma once

#include <atomic>
#include <cstdint>
#include <random>
#include <unordered_map>

#include "mserve/client/client.hpp"
#include "soak/books.hpp"
#include "support/broker_process.hpp"

namespace mserve::test {

/// What a soak's clients share.
struct Load {
  SoakBooks& books;
  std::uint16_t port;             ///< The gateway's.
  std::atomic<bool> stop{false};  ///< Then they send no more and wait for the rest.
};

/// A client that uses the library, over rings or, while there is no local broker, over TCP.
class LibraryClient {
 public:
  LibraryClient(Client client, std::uint64_t seed) : client_(std::move(client)), random_(seed) {}

  /// Until load.stop, and until everything was answered.
  void run(Load& load);
  /// One request of each servant's kind that must succeed, so that the session is whole again.
  void expect_service(const std::string& endpoint);

 private:
  /// Of what was asked, as much as is needed to know its answer.
  struct Wanted {
    std::uint64_t hash = 0;
    std::size_t bytes = 0;
  };
  void send_one(Load& load);
  void take(Load& load, const Reply& reply);

  Client client_;
  std::mt19937_64 random_;
  std::unordered_map<std::uint64_t, Wanted> in_flight_;
};

/// A kdb+ client on one TCP connection after the other, which hangs up now and then.
void run_gateway_client(Load& load, std::uint64_t seed);

}  // namespace mserve::test
