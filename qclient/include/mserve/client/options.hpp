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
  /// Where the broker is:
  ///   `NAME`  on this host, by its --name: 1..64 of [A-Za-z0-9._-];
  ///   `tcp://[user[:password]@]host:port[,host2:port2...]`  gateways (mserve-broker -p PORT), on
  ///           any host, at most 16, tried in this order;
  ///   `NAME,tcp://...`  the local broker, and gateways while there is none.
  /// Empty: $MSERVE_NAME, which may be any of these, else "default". Credentials hold for their
  /// endpoint and those behind it; %XX in them stands for a byte; an IPv6 address is put in
  /// brackets. Looking up a host's *name* may block for as long as the system's resolver does,
  /// beyond every bound below; numeric addresses do not.
  std::string broker{};
  /// Of TCP endpoints that name none, and for the routing rule `user` over rings, where it is only
  /// a hint. Empty: the name the system knows this user by.
  std::string user{};
  std::string password{};
  /// Rendezvous directory. Empty: $MSERVE_DIR, else $XDG_RUNTIME_DIR/mserve, else /run/mserve for
  /// root, else /tmp/mserve-UID.
  std::string directory{};
  /// What the broker's logs call this client: up to 63 of [A-Za-z0-9._-]; may be empty.
  std::string name{};
  /// Wanted ring size in bytes, a power of two of 4 KiB..64 MiB; 0: the broker's default.
  std::uint32_t ring_bytes = 0;
  /// What a blocking call does while there is nothing to do.
  shm::IdleStrategy idle = shm::IdleStrategy::automatic;
  /// Whether a lost session is attached again by the next use. If not, only Client::reconnect()
  /// does it.
  bool reconnect = true;
  /// Largest request or answer in bytes, if smaller than the broker's own bound; 0: that bound, or
  /// 1 GiB over TCP, where it is not known. It also bounds the memory that large answers take
  /// together while they are still arriving.
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
  /// 0. With no broker there it fails within microseconds; only a broker that is stopped, or a TCP
  /// endpoint that is far away, takes all of it.
  std::uint64_t reattach_ns_max = 50'000'000;
  /// First and longest pause between two such attempts, in nanoseconds; each doubles the last.
  std::uint64_t retry_ns_min = 1'000'000;
  std::uint64_t retry_ns_max = 1'000'000'000;
  /// Bound on one TCP endpoint, connecting and handshake, before the next one is tried, in
  /// nanoseconds; > 0. An attempt goes on over several calls, so it may exceed reattach_ns_max.
  std::uint64_t connect_ns_max = 2'000'000'000;
  /// With `NAME,tcp://...`: pause between two looks for the local broker while the session goes
  /// over TCP, in nanoseconds; > 0. It is looked for by calls that find nothing in flight, for at
  /// most reattach_ns_max; requests in flight are never moved.
  std::uint64_t return_ns = 1'000'000'000;
  /// With TCP endpoints: most bytes (payloads, and about 100 for each) of copies that are kept of
  /// repeatable requests in flight. When a session is lost these are sent again, once, on the next
  /// one. Requests beyond it, and those whose answer had begun to arrive, complete with
  /// `disconnected` instead. 0: keep none. A client of `NAME` alone keeps none either.
  std::uint64_t resend_bytes_max = 64ULL << 20;
  /// How long such requests wait for the next session before they complete with `disconnected`, in
  /// nanoseconds; > 0.
  std::uint64_t resend_ns_max = 10'000'000'000;

  /// Every fault at once, one sentence per line; empty when there is none.
  [[nodiscard]] std::string validate() const;
};

}  // namespace mserve
