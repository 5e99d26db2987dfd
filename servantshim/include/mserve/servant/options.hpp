// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "mserve/shm/idle.hpp"

namespace mserve::servant {

/// Longest name of a servant in bytes: what a reply's info dictionary has room for.
inline constexpr std::size_t kNameBytesMax = 31;
/// Most requests that a servant may ask to hold at once.
inline constexpr std::uint32_t kCreditMax = 4096;

/// How a servant attaches and behaves. Aggregate: set what differs from the defaults.
struct Options {
  /// The broker's --name: 1..64 of [A-Za-z0-9._-]. Empty: $MSERVE_NAME, else "default".
  std::string broker{};
  /// Rendezvous directory. Empty: $MSERVE_DIR, else $XDG_RUNTIME_DIR/mserve, else /run/mserve for
  /// root, else /tmp/mserve-UID.
  std::string directory{};
  /// What the info dictionary and logs call this servant: up to 31 of [A-Za-z0-9._-]. Empty: the
  /// broker chooses.
  std::string name{};
  /// Words that the broker shows beside the name, such as "gpu version=canary"; printable ASCII, up
  /// to 255. It reads `weight=N` (1 to 1000, else it refuses the servant): see its --policy
  /// weighted.
  std::string tags{};
  /// How far away the work is done, 0..3: on this host, or for somebody in the same zone, in the
  /// same region, or elsewhere. A servant is used only when no nearer one can serve; brokers of
  /// protocol 1.2 or less refuse 2 and 3.
  std::uint32_t tier = 0;
  /// Requests that the broker may hand over at once, 1..4096; it grants 64 at the most. They run
  /// one after the other, so more than 1 hides the way to and from the broker, and costs fairness
  /// when requests differ in length.
  std::uint32_t credit = 1;
  /// What the serving thread does without work.
  shm::IdleStrategy idle = shm::IdleStrategy::automatic;
  /// Whether run() waits for a broker that is not there and attaches again when it comes back.
  bool reconnect = true;
  /// Wanted ring size in bytes, a power of two of 4 KiB..64 MiB; 0: the broker's default.
  std::uint32_t ring_bytes = 0;
  /// Largest request or reply in bytes, if smaller than the broker's own bound; 0: that bound. It
  /// limits the memory that requests which are still arriving can take.
  std::uint64_t message_bytes_max = 0;
  /// mlock both segments; a refusal is reported as an event and is not fatal.
  bool lock_memory = false;
  /// Bound on one attach handshake, in nanoseconds; > 0.
  std::uint64_t attach_ns_max = 5'000'000'000;
  /// First and longest pause between two attempts to attach, in nanoseconds; each doubles the last.
  std::uint64_t retry_ns_min = 10'000'000;
  std::uint64_t retry_ns_max = 1'000'000'000;
  /// How long after stop() a reply may still wait for room towards the broker, in nanoseconds.
  std::uint64_t stop_ns_max = 1'000'000'000;

  /// Every fault at once, one sentence per line; empty when there is none.
  [[nodiscard]] std::string validate() const;
};

/// $MSERVE_NAME, or "default" where that is empty or missing.
[[nodiscard]] std::string default_broker();

}  // namespace mserve::servant
