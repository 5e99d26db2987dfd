// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "data/origin.hpp"
#include "data/payload_store.hpp"
#include "dispatch/types.hpp"
#include "mserve/shm/frame.hpp"
#include "mserve/shm/message.hpp"
#include "mserve/shm/rendezvous.hpp"
#include "mserve/shm/ring.hpp"
#include "mserve/shm/segment.hpp"
#include "mserve/shm/unique_fd.hpp"

namespace mserve::broker {

/// An answer (or the rest of one) that waits in the broker because its client's ring had no room.
struct Outbound {
  std::uint32_t next = kNone;
  shm::FrameHeader head;  ///< As it will be sent; frame_bytes is set then.
  PayloadStore::Block block;
  std::uint64_t offset = 0;       ///< Payload bytes sent so far.
  std::uint64_t stored_from = 0;  ///< Offset of the block's first byte.
  std::uint64_t total = 0;        ///< Payload bytes of the whole answer.
  bool as_flow = false;
  bool has_info = false;
  shm::InfoExt info;
};

/// One peer's attachment. The control thread makes it, maps its memory, hands it to the data thread
/// and gets it back to unmap and free it. In between the second half belongs to the data thread
/// alone; the first half never changes.
struct Session {
  // Fixed at attach.
  std::uint32_t number = 0;      ///< Index of the session, and of its servant or origin.
  std::uint32_t generation = 0;  ///< Differs between two sessions of the same number.
  shm::Role role = shm::Role::client;
  std::string name;
  std::string tags;  ///< As the servant gave them.
  shm::UniqueFd socket;
  shm::UniqueFd pidfd;
  pid_t pid = 0;
  uid_t uid = 0;
  /// Of a client that is not trusted: where users are judged it may not send a pair, whose options
  /// name users.
  bool bars_options = false;
  std::uint32_t credit = 1;
  std::uint32_t weight = 1;  ///< Of a servant.
  std::uint32_t tier = 0;    ///< Of a servant: 0 to shm::kTierMax.
  std::uint64_t home = 0;    ///< Of a servant: home_of() its tags.
  bool link = false;         ///< A servant that stands for another broker: a link to it.
  std::uint32_t pool = 0;    ///< Of a servant: ClassTable's number for its tags.
  std::uint32_t book = 0;    ///< Of a servant: which of the MonitorBooks is its; 0: the shared one.
  std::uint64_t shared_bytes = 0;
  shm::Mapping own;   ///< Broker's segment, writable.
  shm::Mapping peer;  ///< Peer's segment, read-only.

  // The data thread's.
  alignas(shm::kCacheStride) shm::RingConsumer in;
  shm::RingProducer out;
  shm::RingConsumer control;
  bool hot = false;
  std::uint32_t cold_at = kNone;  ///< Its place among those that are cold.
  bool attached = false;          ///< Between attach and detach on the data thread.
  bool closing = false;           ///< close() is at work on it.
  bool suspended = false;         ///< Servant: it gets nothing new.
  Nanos wake_until = 0;           ///< A wake that finds nobody is not repeated beyond this.
  bool wake_listed = false;       ///< In this pass's list of peers to wake.
  Nanos active_at = 0;            ///< Last frame from the peer.
  Nanos blocked_since = 0;        ///< The frame at the front cannot move on since then; 0: it can.
  shm::FrameHeader held{};        ///< Of a frame at the front that was looked at and stayed there.

  // Clients and gateways.
  std::uint64_t window_bytes = 0;  ///< Flow window of each of its origins.
  std::vector<std::uint32_t>
      flows;  ///< Requests arriving in fragments (RequestFlow), of all origins.
  bool waits_for_servant = false;  ///< The front frame is a client's flow without a servant yet.
  OriginPlaces origins;            ///< Gateways only; a client's one origin has its number.

  // Servants.
  std::vector<std::uint32_t> running;      ///< Slots sent to it, in any order, credit at most.
  std::vector<std::uint32_t> undelivered;  ///< Of these, slots that its ring had no room for yet.
  std::vector<RequestId> aborts;           ///< Requests whose flow was cut; it must still be told.
  std::vector<RequestId> interrupts;       ///< Requests that it runs for nobody; likewise.
  std::uint64_t front_done = 0;            ///< Payload bytes of the front frame already forwarded.
  std::uint32_t orders = 0;                ///< suspend and resume commands that were carried out.

  /// Orders carried out (high half) and requests that it runs (low half). Stored by the data thread
  /// alone, read by the control thread, which so knows when a servant that it suspended runs dry:
  /// the halves belong together, and nothing else is published with them.
  std::atomic<std::uint64_t> load{0};
  static_assert(std::atomic<std::uint64_t>::is_always_lock_free);

  /// How often `load` was told, so that whoever looks seldom sees that something ran in between.
  std::atomic<std::uint64_t> told{0};

  /// To be called after each change of `orders` or `running`. hot: two stores to a line of ours.
  void tell_load() noexcept {
    told.store(told.load(std::memory_order_relaxed) + 1,
               std::memory_order_relaxed);  // only this thread stores it
    load.store(std::uint64_t{orders} << 32 | running.size(),
               std::memory_order_relaxed);  // one word
  }

  /// Of a link: most payload of a frame beside what tells it the rest of a request's time, and
  /// `ext_bytes` of other extensions. A frame of a client whose ring is as large may have more.
  [[nodiscard]] std::uint64_t payload_beside_terms(std::size_t ext_bytes) const noexcept {
    constexpr std::size_t kTermBytes = shm::ext_bytes_of(sizeof(shm::DeadlineExt));
    return shm::whole_payload_bytes_max(out.capacity(), kTermBytes + ext_bytes);
  }

  /// Whether a frame at the front is another than the one that stayed there: its peer, which can
  /// write to it, has changed it half-way. hot: one word.
  [[nodiscard]] bool is_changed(const shm::FrameHeader& front) const noexcept {
    return held.frame_bytes != 0 && !(front == held);
  }

  [[nodiscard]] bool is_servant() const noexcept { return role == shm::Role::servant; }
  [[nodiscard]] bool is_gateway() const noexcept { return role == shm::Role::gateway; }
};

}  // namespace mserve::broker
