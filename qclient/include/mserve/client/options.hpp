// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "mserve/shm/idle.hpp"

namespace mserve {

/// Longest name of a client in bytes.
inline constexpr std::size_t kClientNameBytesMax = 63;

/// How a client reaches its broker and behaves. Aggregate: set what differs from the defaults.
struct ClientOptions {
  /// The broker's --name: 1..64 of [A-Za-z0-9._-]. Empty: $MSERVE_NAME, else "default". A comma or
  /// "://" never occurs in a name: lists of endpoints and other transports will be written with
  /// them, and are refused as `invalid` until then.
  std::string broker;
  /// Rendezvous directory. Empty: $MSERVE_DIR, else $XDG_RUNTIME_DIR/mserve, else /run/mserve for
  /// root, else /tmp/mserve-UID.
  std::string directory;
  /// What the broker's logs call this client: up to 63 of [A-Za-z0-9._-]; may be empty.
  std::string name;
  /// Wanted ring size in bytes, a power of two of 4 KiB..64 MiB; 0: the broker's default.
  std::uint32_t ring_bytes = 0;
  /// What a blocking call does while there is nothing to do.
  shm::IdleStrategy idle = shm::IdleStrategy::automatic;
  /// Whether a lost session is attached again by the next use. If not, only Client::reconnect()
  /// does it.
  bool reconnect = true;
  /// Largest request or answer in bytes, if smaller than the broker's own bound; 0: that bound. It
  /// also bounds the memory that large answers take together while they are still arriving.
  std::uint64_t message_bytes_max = 0;
  /// Most payload bytes of answers kept for a later poll() while the client waits for something
  /// else; beyond it send() and await() return `full`. Greater than 0.
  std::uint64_t unread_bytes_max = 256ULL << 20;
  /// Most requests in flight, 1..2^24; beyond it sending returns `full`.
  std::uint32_t in_flight_max = 1U << 20;
  /// mlock both segments; a refusal is not fatal, see SessionInfo::lock_failed.
  bool lock_memory = false;
  /// Bound on one attach handshake of connect() and reconnect(), in nanoseconds; > 0.
  std::uint64_t attach_ns_max = 5'000'000'000;
  /// The same for an attempt that the next use of a lost session makes by itself, in nanoseconds; >
  /// 0. With no broker there it fails within microseconds; only a broker that is stopped takes all
  /// of it.
  std::uint64_t reattach_ns_max = 50'000'000;
  /// First and longest pause between two such attempts, in nanoseconds; each doubles the last.
  std::uint64_t retry_ns_min = 1'000'000;
  std::uint64_t retry_ns_max = 1'000'000'000;

  /// Every fault at once, one sentence per line; empty when there is none.
  [[nodiscard]] std::string validate() const;
};

}  // namespace mserve
