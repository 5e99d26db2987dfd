// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "mserve/shm/attachment.hpp"
#include "mserve/shm/histogram.hpp"
#include "mserve/shm/idle.hpp"
#include "timer.hpp"

namespace mserve::bench {

/// What a broker is called that was started to be measured.
inline constexpr const char* kBrokerName = "bench";

/// Where the broker is, and what to send.
struct TripOptions {
  std::string broker;     ///< Its --name.
  std::string directory;  ///< Its rendezvous directory; empty: the usual rule.
  std::size_t payload_bytes = 40;
  shm::IdleStrategy idle = shm::IdleStrategy::automatic;
  int core = -1;                 ///< serve_echo(): where to run; -1: anywhere.
  std::uint64_t pause_ns = 0;    ///< attach_client(): sleep before each request.
  std::uint32_t credit = 1;      ///< Servants: requests that one holds at once.
  std::uint32_t ring_bytes = 0;  ///< Wanted; 0: the broker's default.
  bool want_info = false;        ///< Clients of opaque payload ask for the broker's stamps.
};

/// Attaches to that broker in a role. Throws std::runtime_error with advice when it is refused, or
/// when the payload does not fit one frame.
[[nodiscard]] shm::Attachment attach(const TripOptions& options, shm::Role role);

/// Something that makes round trips through a broker. What goes wrong is thrown as
/// std::runtime_error: a refusal, a broker that went away, an answer that is not the one expected.
class Trips {
 public:
  virtual ~Trips() = default;
  Trips(const Trips&) = delete;
  Trips& operator=(const Trips&) = delete;

  /// One round trip after the other for `duration_ns`; returns early when interrupted().
  /// A sample goes from before the request is claimed in the client's ring until the answer was
  /// checked and copied out and its frame released.
  virtual void measure(const Timer& timer, std::uint64_t duration_ns, shm::Histogram& samples) = 0;

  /// Process of the broker, as the broker said.
  [[nodiscard]] virtual int broker_pid() const noexcept = 0;

 protected:
  Trips() = default;
};

/// Client and servant are this thread, which polls both its rings without ever yielding. Opaque
/// payload; the servant copies it from ring to ring.
[[nodiscard]] std::unique_ptr<Trips> attach_pair(const TripOptions& options);

/// This thread is the client; the servant is a process of its own (serve_echo). Opaque payload.
[[nodiscard]] std::unique_ptr<Trips> attach_client(const TripOptions& options);

/// As attach_client(), with servants that speak kdb+: calls ``(`echo;chars)``, payload_bytes long
/// when encoded, at least kEchoCallBytesMin.
[[nodiscard]] std::unique_ptr<Trips> attach_kdb_client(const TripOptions& options);

/// ``(`echo;"")``, encoded.
inline constexpr std::size_t kEchoCallBytesMin = 18;

/// Attaches as a servant that answers everything with its own payload until the broker goes or
/// interrupted(). Writes "ready\n" to `ready_fd` once attached.
void serve_echo(const TripOptions& options, int ready_fd);

}  // namespace mserve::bench
