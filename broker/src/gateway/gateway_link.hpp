// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <span>

#include "gateway/gateway_session.hpp"
#include "mserve/shm/frame.hpp"
#include "mserve/shm/message.hpp"

namespace mserve::broker {

/// One kdb+ connection as the data plane knows it. A request with a new generation opens the
/// origin; its frames end with gone().
struct OriginId {
  std::uint32_t index = 0;
  std::uint64_t generation = 0;  ///< 1 or more; grows with each connection that has the index.
};

/// What every frame of one request carries.
struct RequestHead {
  std::uint64_t id = 0;  ///< Above 0, unique within the session.
  std::uint64_t route = 0;
  std::uint8_t flags = 0;
  OriginId origin;
  shm::RequestTerms terms{};  ///< Go with the first frame.
};

/// What the data plane tells the gateway, one frame each.
struct LinkEvent {
  enum class Kind : std::uint8_t {
    reply,     ///< The whole answer to request `id`: `status`, `payload`.
    fragment,  ///< A part of it, at `flow`; the first and the last may carry `info`.
    aborted,   ///< The rest of it will not come: `status` says why.
    window,    ///< `granted` more payload bytes of request `id` may be sent.
    gone,      ///< The data plane closed `origin`: `status` says why.
  };
  Kind kind = Kind::reply;
  std::uint8_t flags = 0;
  Errc status = Errc::ok;
  bool has_info = false;
  std::uint32_t servant = 0;  ///< Number of the session that answered; 0: the broker itself.
  std::uint64_t id = 0;
  std::uint64_t granted = 0;
  OriginId origin;
  shm::FlowExt flow;
  shm::InfoExt info;
  std::span<const std::byte> payload;  ///< In the ring; valid until release().
};

/// The gateway's session with the data plane: requests of many origins one way, answers by id the
/// other way. Never blocks, logs nothing, knows no connection. Threads: one at a time.
///
/// Payloads that it hands out lie in the broker's own memory, which no peer can change; what is in
/// them is still what some servant wrote.
class GatewayLink {
 public:
  explicit GatewayLink(std::unique_ptr<GatewaySession> session) noexcept;

  /// Longest payload that try_send() takes; a longer one goes in fragments.
  [[nodiscard]] std::uint64_t whole_bytes_max() const noexcept { return whole_bytes_max_; }
  /// Longest payload that try_fragment() takes.
  [[nodiscard]] std::uint64_t fragment_bytes_max() const noexcept { return fragment_bytes_max_; }
  [[nodiscard]] const shm::SessionInfo& info() const noexcept { return session_->info(); }

  /// Sends a request that fits one frame.
  /// @return false when there is no room now; nothing was sent.
  [[nodiscard]] bool try_send(const RequestHead& head, std::span<const std::byte> payload) noexcept;
  /// Sends the next fragment of a larger one. The first goes out at once, later ones only within
  /// what window events granted.
  [[nodiscard]] bool try_fragment(const RequestHead& head, const shm::FlowExt& flow,
                                  std::span<const std::byte> payload) noexcept;
  /// Ends a request that was sent in part. Waits here while there is no room, and then no request
  /// is taken either, so that it comes before whatever its connection sends next.
  void abort(std::uint64_t id, OriginId origin);
  /// The connection is no more: what it asked for is dropped. Waits here until the data plane has
  /// read all that was sent before, since it goes another way and would otherwise overtake it.
  void gone(OriginId origin);
  /// Nobody waits for request `id` any more, all of which was sent. It is answered with
  /// `cancelled`, or as ever if its answer has begun, or if the data plane does not find it among
  /// many. Waits as gone() does.
  void cancel(std::uint64_t id, OriginId origin);
  /// Whether a gone() of that origin waits here still.
  [[nodiscard]] bool gone_waits(OriginId origin) const noexcept;
  /// `bytes` of answers in fragments have found their place. Waits here while there is no room.
  void grant(OriginId origin, std::uint64_t bytes);
  /// Sends what had no room before, and wakes the data thread if it sleeps and something was sent
  /// since. To be called once per pass. @return false when something still waits.
  bool flush();

  /// Something has no room yet.
  [[nodiscard]] bool waiting() const noexcept {
    return !aborts_.empty() || !grants_.empty() || !followers_.empty();
  }

  /// The next frame of the data plane. @return ok; empty; bad_frame: the session can only be
  /// closed. After ok call release() before the next call.
  [[nodiscard]] Errc next(LinkEvent& event) noexcept;
  void release() noexcept { session_->incoming().release(); }

  [[nodiscard]] GatewaySession& session() noexcept { return *session_; }
  /// A ring cursor of the other side was impossible; the session can only be closed.
  [[nodiscard]] bool poisoned() noexcept {
    return session_->outgoing().poisoned() || session_->control().poisoned();
  }

 private:
  struct Waiting {
    OriginId origin;
    std::uint64_t value = 0;  ///< Abort: the id; grant: bytes.
  };
  /// What may not overtake the requests in front of it.
  struct Follower {
    shm::Kind kind;  ///< gone or cancel
    OriginId origin;
    std::uint64_t id = 0;      ///< cancel
    std::uint64_t cursor = 0;  ///< Of the request ring: all before it is to be read first.
  };

  [[nodiscard]] bool send_request(const RequestHead& head, std::span<const std::byte> extensions,
                                  std::span<const std::byte> payload) noexcept;
  [[nodiscard]] bool try_put(shm::RingProducer& ring, shm::Kind kind, OriginId origin,
                             std::uint64_t id, std::uint64_t aux) noexcept;
  void flush_followers() noexcept;

  std::unique_ptr<GatewaySession> session_;
  std::uint64_t whole_bytes_max_;
  std::uint64_t fragment_bytes_max_;
  std::deque<Waiting> aborts_;
  std::deque<Waiting> grants_;
  std::deque<Follower> followers_;  // by cursor
  bool sent_ = false;
};

}  // namespace mserve::broker
