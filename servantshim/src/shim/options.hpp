// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "mserve/shm/idle.hpp"
#include "shim/q_endpoint.hpp"
#include "shim/q_handshake.hpp"

namespace mserve::shim {

/// Everything a user can set. Bytes are bytes, times nanoseconds.
struct ShimOptions {
  QEndpoint q;
  ServantProtocol protocol = ServantProtocol::automatic;
  /// q is another broker's gateway: requests go there with `hop`, it sends signs of life, and the
  /// protocol is lbt.
  bool peer = false;
  /// How often a peer sends one. After three that did not come, nor anything else, it is given up;
  /// in the middle of a message after 25.
  std::uint64_t heartbeat_ns = 200'000'000;
  std::string credentials;  ///< `user:password` for q.

  std::string broker = "default";  ///< The broker's --name.
  std::string directory;           ///< Empty: the rule of shm/directory.hpp.
  std::string name;                ///< What the broker calls this servant, at most 31 characters.
  std::string tags;
  /// Attach as this tier, 0 to shm::kTierMax; nothing: 1 if q's address is another host's, else 0.
  std::optional<std::uint32_t> tier;
  /// Requests that may be at q at once, 1..4096. q runs them one after the other, so more than 1
  /// hides the way there and back.
  std::uint32_t credit = 1;
  shm::IdleStrategy idle = shm::IdleStrategy::automatic;

  std::uint64_t probe_ns = 5'000'000'000;  ///< Idle for this long, q is asked; 0: never.
  std::uint64_t probe_timeout_ns = 5'000'000'000;
  std::uint64_t retry_ns_min = 10'000'000;         ///< Pauses between attempts double from here ...
  std::uint64_t retry_ns_max = 1'000'000'000;      ///< ... up to here; for q and broker each.
  std::uint64_t user_timeout_ns = 30'000'000'000;  ///< TCP_USER_TIMEOUT, other hosts only.
  std::uint64_t stop_ns_max = 5'000'000'000;       ///< After SIGTERM, for what runs.

  std::uint64_t max_gathered = 64ULL << 20;  ///< Largest message that must be whole in memory.

  /// Every fault at once, one sentence per line; empty when there is none.
  [[nodiscard]] std::string validate() const;
};

/// What this user calls itself to q unless told otherwise: the login name, and an empty password.
[[nodiscard]] std::string default_credentials();

/// `mserve-qshim-N` in a process that the broker started as its Nth, else the endpoint with dashes
/// for what no name may hold, such as `127.0.0.1-5001`.
/// @param servant  $MSERVE_SERVANT; may be nullptr.
[[nodiscard]] std::string default_name(const QEndpoint& q, const char* servant);

}  // namespace mserve::shim
