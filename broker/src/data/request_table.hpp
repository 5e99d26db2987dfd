// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "data/payload_store.hpp"
#include "dispatch/types.hpp"
#include "mserve/shm/frame.hpp"

namespace mserve::broker {

/// What the data thread knows of a request beside the Dispatcher's view; found by the slot of its
/// RequestId. Two cache lines; the first is what a request in one frame needs on its way.
struct alignas(64) RequestRecord {
  RequestId id = {};  ///< Zero: this record is not in use.
  std::uint64_t client_id = 0;
  std::uint64_t route = 0;
  PayloadStore::Block block = {};  ///< Payload while it waits in the broker, or a copy while a
                                   ///< link has it, if there was room for one.
  std::uint32_t origin = 0;        ///< Number of who asked, and which of its lives.
  std::uint32_t origin_life = 0;
  std::uint32_t servant_session = kNone;  ///< Where it runs.
  std::uint32_t flow = kNone;             ///< It streams through this RequestFlow.
  std::uint32_t next = kNone;             ///< List of its origin's unanswered requests.
  std::uint32_t previous = kNone;
  std::uint8_t flags = 0;    ///< Frame flags of the request.
  bool repeatable = false;   ///< May be sent again; its payload is kept until it is answered.
  bool kept = false;         ///< Payload is still readable at kept_pos; never of a link.
  bool abandoned = false;    ///< The client needs no answer any more.
  bool interrupted = false;  ///< Its servant was, or is to be, told that nobody wants it.
  bool warm = false;         ///< The servant that it was sent to held its route.
  bool reply_begun = false;  ///< Fragments of its answer were taken from the servant.
  bool counted = false;      ///< In errors or discarded, though it is not over yet.

  std::uint32_t running_at = 0;  ///< While it runs: its place in Session::running.
  std::uint32_t backlog = 0;     ///< Requests queued or running when it arrived.
  Nanos submitted_at = 0;
  Nanos dispatched_at = 0;
  std::uint64_t bytes = 0;        ///< Payload.
  std::uint64_t kept_pos = 0;     ///< Its frame in the servant's ring, while kept.
  std::uint64_t reply_bytes = 0;  ///< Fragment bytes taken from the servant so far.
  std::uint64_t reply_total = 0;
  Nanos reply_moved_at = 0;  ///< When its last fragment was taken.

  /// Its flags as servants are told them.
  [[nodiscard]] std::uint8_t told_flags() const noexcept {
    return static_cast<std::uint8_t>(flags & ~unsigned{shm::kFlagVouched});
  }
};
static_assert(sizeof(RequestRecord) == 128);

/// Requests that one client may have arriving in fragments at once. A gateway's origin has one: a
/// connection is a stream.
inline constexpr std::uint32_t kFlowsPerClient = 16;

/// A request that arrives in fragments.
struct RequestFlow {
  enum class State : std::uint8_t {
    free,
    gathering,   ///< Fragments are collected; dispatched whole at the end.
    waiting,     ///< No servant yet. The first fragment is still in the client's ring, or, of a
                 ///< gateway, in the store.
    streaming,   ///< Fragments go on to the servant as they come.
    discarding,  ///< The request is over; the rest of its fragments is read and dropped.
  };
  State state = State::free;
  std::uint8_t flags = 0;
  std::uint32_t origin = kNone;
  std::uint32_t next = kNone;  ///< List of its origin's flows, or of free nodes.
  std::uint64_t client_id = 0;
  std::uint64_t route = 0;
  std::uint64_t total_bytes = 0;
  std::uint64_t offset = 0;      ///< Bytes taken from the client's ring.
  std::uint64_t granted = 0;     ///< A gateway may send up to here.
  std::uint64_t front_done = 0;  ///< Of the fragment that goes to the servant now: bytes that went.
  shm::RequestTerms terms;
  PayloadStore::Block block;
  RequestId request;
  Nanos moved_at = 0;
};

/// Fixed pool of nodes linked by index; take() gives kNone when it is used up.
template <class Node>
class Pool {
 public:
  explicit Pool(std::uint32_t count) : nodes_(count) {
    for (std::uint32_t i = count; i > 0; --i) {
      nodes_[i - 1].next = free_;
      free_ = i - 1;
    }
  }
  [[nodiscard]] std::uint32_t take() noexcept {
    const std::uint32_t index = free_;
    if (index != kNone) {
      free_ = nodes_[index].next;
      nodes_[index] = Node{};
    }
    return index;
  }
  void give_back(std::uint32_t index) noexcept {
    nodes_[index] = Node{};
    nodes_[index].next = free_;
    free_ = index;
  }
  [[nodiscard]] Node& operator[](std::uint32_t index) noexcept { return nodes_[index]; }

 private:
  std::vector<Node> nodes_;
  std::uint32_t free_ = kNone;
};

}  // namespace mserve::broker
