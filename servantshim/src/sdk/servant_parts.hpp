// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine.hpp"
#include "mserve/servant/servant.hpp"
#include "mserve/shm/attachment.hpp"
#include "mserve/shm/idle.hpp"

namespace mserve::servant {

/// What a Servant is made of. Each public call means what it means in servant.hpp.
struct Servant::Parts {
  explicit Parts(Options given)
      : options(std::move(given)), idler(options.idle), room_idler(options.idle) {}

  Errc attach_if_due();
  Errc attach_failed(Error error, const std::string& reason);
  void attached_now();
  Errc session_ended(Errc code, std::string_view text);
  Errc broker_ended();
  Errc look_after_broker();
  void retry_later(std::uint64_t now_ns);
  void leave();
  void report(Event event, const std::string& text) const;
  Errc idle_or_park(std::uint64_t until_ns = UINT64_MAX);
  Errc wait_after(Errc done, std::uint64_t until_ns = UINT64_MAX);
  void wait_for_room();
  void wait_for_broker(std::uint64_t until_ns = UINT64_MAX) const;

  // servant_receive.cpp
  /// A request that receive() gave out.
  struct Taken {
    std::uint64_t id = 0;
    std::uint64_t session = 0;  ///< Which of ours it came with; a later one knows nothing of it.
    Engine::Held held{};
  };
  Errc receive_once(Request& out);
  void give_out(Engine::Held held, Request& out);
  Errc send_answer(Taken taken, std::span<const std::byte> payload, bool is_opaque, Errc status);
  Errc send_pending();

  Options options;
  Functions functions;
  OpaqueFunction opaque;
  EventFunction events;
  Engine engine{functions, opaque};
  std::optional<shm::Attachment> attachment;
  shm::Idler idler;
  shm::Idler room_idler;
  std::atomic<bool> stopping{false};
  static_assert(std::atomic<bool>::is_always_lock_free, "stop() must be safe in a signal handler");

  Error last_error;          ///< Why poll_once() gave up.
  Errc reported = Errc::ok;  ///< Last failure to attach that was reported; ok after a success.
  std::uint64_t retry_at_ns = 0;
  std::uint64_t retry_wait_ns = 0;
  std::uint64_t checked_at_ns = 0;
  std::uint32_t empty_passes = 0;

  std::vector<Taken> taken;  ///< Not answered yet; at most the credit of each session.
  std::uint64_t last_id = 0;
  std::uint64_t sessions = 0;  ///< Sessions that began.
};

}  // namespace mserve::servant
