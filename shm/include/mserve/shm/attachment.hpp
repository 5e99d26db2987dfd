// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "mserve/shm/errc.hpp"
#include "mserve/shm/idle.hpp"
#include "mserve/shm/rendezvous.hpp"
#include "mserve/shm/ring.hpp"
#include "mserve/shm/unique_fd.hpp"

namespace mserve::shm {

/// Connects to a broker's socket, and does no more: attaching, or an order to it, comes next.
/// Blocking mode; `deadline_ns` bounds the wait, see steady_now().
/// @param directory  the rendezvous directory; empty: the rule of directory.hpp.
/// @param reason     gets one sentence for people; may be null.
/// @return what check_directory(), socket_path() and connect_to() return.
[[nodiscard]] Result<UniqueFd> connect_to_broker(const std::string& broker,
                                                 const std::string& directory,
                                                 std::uint64_t deadline_ns, std::string* reason);

/// How to reach a broker, and as what.
struct AttachOptions {
  std::string broker = "default";  ///< The broker's --name.
  std::string directory;           ///< Rendezvous directory; empty: the rule of directory.hpp.
  Role role = Role::client;
  std::string name;  ///< What the broker calls this peer in logs and info; may be empty.
  std::string tags;
  std::uint32_t tier = 0;  ///< Servants: 0 to kTierMax; above 0 used when no nearer one can serve.
  std::uint32_t credit = 1;      ///< Servants: requests it can hold at once.
  std::uint32_t ring_bytes = 0;  ///< Wanted ring size, a power of two; 0: the broker's default.
  std::uint64_t timeout_ns = 5'000'000'000;  ///< Bound on the whole handshake.
  bool lock_memory = false;                  ///< mlock both segments; a refusal is not fatal.
};

/// What the broker granted. Checked copies; they never change during a session.
struct SessionInfo {
  std::uint64_t session = 0;
  std::uint64_t broker_epoch = 0;
  std::uint32_t out_ring_bytes = 0;     ///< Peer to broker.
  std::uint32_t in_ring_bytes = 0;      ///< Broker to peer.
  std::uint32_t frame_bytes_max = 0;    ///< Largest frame to the broker.
  std::uint64_t message_bytes_max = 0;  ///< Largest message, either way.
  std::uint64_t window_bytes = 0;  ///< Clients: flow bytes an origin may be sent before a grant.
  std::uint32_t credit = 0;
  std::uint32_t servant = 0;  ///< Servants: number in info; 0 for clients.
  std::int32_t broker_pid = 0;
  bool placement = false;    ///< The broker has rules: send a PlacementExt with each request.
  bool lock_failed = false;  ///< lock_memory was asked for and refused.
  std::string route_rule;    ///< For qclient/kdb route_of.
  std::string counters_name;
  std::string broker_version;
};

/// How a peer sleeps in Attachment::wait().
enum class SleepOn : std::uint8_t {
  socket,  ///< poll() on fd(): notices at once when the broker goes; fits event loops.
  futex,   ///< Cheaper to wake; notices a dead broker within kSleepNsMax.
};

/// A peer's end of a session: socket, two segments, the rings in them. Threads: one at a time.
/// Never prints, aborts, or installs a signal handler.
class Attachment {
 public:
  /// Does the whole handshake of DESIGN "Rendezvous": hello, descriptors, map, acknowledge, ready.
  /// Blocks up to options.timeout_ns.
  /// @param reason  filled with one sentence when the broker (or this side) refuses; may be null.
  /// @return `no_broker`, `access`, `version_mismatch`, `no_memory`, `bad_segment`, `protocol`,
  ///         `timed_out`, `invalid`, `unsafe_directory` or `os`; errc.hpp says what to do about
  ///         each.
  [[nodiscard]] static Result<Attachment> open(const AttachOptions& options,
                                               std::string* reason = nullptr);

  Attachment(Attachment&&) noexcept;
  Attachment& operator=(Attachment&&) noexcept;
  ~Attachment();  ///< Detaches; what was in flight is lost to this peer.

  /// Ring towards the broker (requests of a client, replies of a servant).
  [[nodiscard]] RingProducer& outgoing() noexcept { return outgoing_; }
  /// Ring from the broker.
  [[nodiscard]] RingConsumer& incoming() noexcept { return incoming_; }
  /// Cancel and window frames; only clients have it.
  [[nodiscard]] RingProducer& control() noexcept { return control_; }
  [[nodiscard]] const SessionInfo& info() const noexcept { return info_; }

  /// To be called after one or more commits: wakes the broker if it sleeps. One relaxed load when
  /// it does not.
  void wake_broker() noexcept {
    if (outgoing_.consumer_polled() != Polled::polling) [[unlikely]] {
      ring_bell();
    }
  }

  /// Sleeps until a frame waits in incoming(), the broker goes, or `deadline_ns` (CLOCK_MONOTONIC,
  /// absolute) passes. May return ok without a frame (spurious).
  /// @return ok, timed_out or disconnected; `invalid` for an observer, which has no rings.
  [[nodiscard]] Errc wait(std::uint64_t deadline_ns, SleepOn how = SleepOn::socket) noexcept;

  /// Tells the broker that fd() will be watched instead of the ring: from now on a commit makes
  /// fd() readable. @return false when a frame waits already: handle it first and do not sleep.
  [[nodiscard]] bool prepare_sleep() noexcept;
  /// Ends what prepare_sleep() began and empties fd(). @return ok or disconnected.
  [[nodiscard]] Errc finish_sleep() noexcept;

  /// Looks at the socket without blocking. @return ok or disconnected (see closing_reason()).
  [[nodiscard]] Errc check() noexcept;
  /// What the broker said when it closed the session; empty if it just went away.
  [[nodiscard]] const std::string& closing_reason() const noexcept;
  [[nodiscard]] Errc closing_code() const noexcept;
  /// The session socket, for an event loop (readable: call finish_sleep()). Stays ours.
  [[nodiscard]] int fd() const noexcept;

 private:
  struct Parts;
  explicit Attachment(std::unique_ptr<Parts> parts) noexcept;
  void bind(const Welcome& welcome) noexcept;
  [[gnu::cold]] void ring_bell() noexcept;
  [[nodiscard]] bool announce_sleep(Polled how) noexcept;

  std::unique_ptr<Parts> parts_;
  RingProducer outgoing_;
  RingConsumer incoming_;
  RingProducer control_;
  SessionInfo info_;
};

}  // namespace mserve::shm
