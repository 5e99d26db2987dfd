// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "dispatch/node_list.hpp"
#include "dispatch/types.hpp"

// The Dispatcher's nodes. They live in arrays that are filled at construction and name each other
// by index. A queued request is reachable from three sides: its origin (fairness), its route
// (affinity) and, while it waits for a busy holder, the order of arrival (match_wait).
namespace mserve::broker {

/// Where a request is. Which lists it is in follows from this and from its flags.
enum class RequestState : std::uint8_t {
  vacant,   ///< Slot not in use; chained through order.next.
  pending,  ///< Just submitted; Dispatcher::pending_ names it, no list does.
  queued,   ///< In its lane if it has a route; kOpen and kAged say what else.
  retry,    ///< Its servant left: in the Dispatcher's and its origin's retry lists.
  doomed,   ///< Cancelled while queued: its discard decision is due.
  running,  ///< In its servant's running list.
};

/// One cache line, because a decision on a deep queue costs what it loads.
struct alignas(64) Request {
  static constexpr std::uint8_t kOpen = 1;   ///< In its origin's open list.
  static constexpr std::uint8_t kAged = 2;   ///< In the list by arrival: may still have to wait.
  static constexpr std::uint8_t kBegan = 4;  ///< Its answer began.
  static constexpr std::uint8_t kCancelled = 8;  ///< Nobody wants its answer.
  static constexpr std::uint8_t kAgain = 16;     ///< It was sent before.
  static constexpr std::uint8_t kArrived = 32;   ///< In the list by arrival that tier 1 needs.
  static constexpr std::uint8_t kTimed = 64;     ///< It has a Term, and perhaps a timer.
  static constexpr std::uint8_t kOverran = 128;  ///< Runs longer than it may; its origin knows.

  Links order;  ///< Origin's open or waiting list, retry, doomed, servant's running list, vacant.
  Links lane;   ///< The lane's requests; for a retry the origin's retry list.
  union {
    Links age;         ///< queued with kAged
    Nanos dispatched;  ///< running
  };
  Nanos submitted;
  std::uint64_t bytes;   ///< As counted while queued: 0 for a flow.
  std::uint32_t origin;  ///< Node, not the caller's index.
  std::uint32_t place;   ///< queued: its lane; else its route; kNone: it has no route.
  union {
    std::uint32_t sequence;  ///< open: its number in the origin's open list
    std::uint32_t servant;   ///< running
  };
  std::uint32_t generation;
  std::uint32_t backlog;
  RequestState state;
  std::uint8_t flags;
  std::uint8_t retries;  ///< Left.
};
static_assert(sizeof(Request) == 64);

/// The queued requests, retries too, in the order in which they were queued. Apart from the
/// requests themselves, since it is kept only while there are servants of tier 1.
struct Arrival {
  Links by_arrival;
};

/// How long a request may wait and run. Apart from the requests, since most have no such limit.
struct Term {
  Nanos queue_timeout;
  Nanos run_timeout;
};

/// The queued requests of one origin that have one route, first come first served. Exists while it
/// has any.
struct alignas(32) Lane {
  List requests;   ///< By Request::lane.
  Links of_route;  ///< Route::lanes, vacant chain.
  std::uint32_t route;
  std::uint32_t origin;
};

/// A route that somebody holds, queues for or runs. Exists while `refs` says so.
struct Route {
  std::uint64_t key;      ///< The hash that the client sent.
  std::uint32_t refs;     ///< Servants that hold it, lanes, and requests whose place it is.
  std::uint32_t holders;  ///< Servants that hold it and are not barred.
  List free_holders;  ///< Those free now, the one that became free last last, by Warmth::of_route.
  List lanes;         ///< Queued requests, one lane per origin, in turn.
  std::uint32_t lane_count;
  std::uint32_t sweep_left;  ///< While in the released list: lanes still to look at.
  Links listed;              ///< The ready list or the released list.
  bool ready;                ///< In the ready list: has free holders and lanes.
  bool released;             ///< In the released list: lost its last holder while it had lanes.
};

/// Somebody who asks. A node of its own per opening, so that what an earlier user of the same index
/// left running is never taken for the new one's.
struct alignas(64) Origin {
  enum class State : std::uint8_t { vacant, open, closing, closed };

  List open;                ///< Requests that any servant may run, oldest first, by Request::order.
  List waiting;             ///< Queued requests that are not open, by Request::order.
  List retry;               ///< By Request::lane.
  Links ring;               ///< The ring of turns; while closing, the closing list; vacant chain.
  std::uint32_t index;      ///< The caller's.
  std::uint32_t live;       ///< Requests not over yet.
  std::uint32_t entered;    ///< Numbers given to open requests; see Dispatcher::overtaken().
  std::uint32_t left;       ///< How many of these have left.
  std::uint32_t ring_turn;  ///< The number of its turn in the ring.
  State state;
  bool in_ring;
};

struct Servant {
  enum class State : std::uint8_t { vacant, attached, leaving };

  List running;          ///< By Request::order, oldest first.
  Links use;             ///< Free ones of tier 1 by last use; while leaving, that list.
  std::uint32_t routes;  ///< How many routes it holds.
  std::uint32_t credit;
  std::uint32_t outstanding;
  std::uint32_t overruns;  ///< How many of these run longer than they may.
  std::uint16_t weight;
  State state;
  bool suspended;
  bool remote;  ///< Of tier 1: when free, in Dispatcher::spares_ and unknown to the policy.
  bool free;    ///< attached, not barred, outstanding < credit: the policy may choose it.

  /// Gets nothing new, and nobody waits for it.
  [[nodiscard]] bool barred() const noexcept { return suspended || overruns != 0; }
};

/// A place for a route that a servant holds: its data is warm there. Each servant has
/// Limits::routes_per_servant of them, side by side.
struct Warmth {
  std::uint32_t route = kNone;  ///< kNone: vacant.
  std::uint32_t servant = kNone;
  Nanos used = 0;  ///< When the servant was last sent or last finished a request of it.
  Links of_route;  ///< Route::free_holders, while the servant is free.
};

}  // namespace mserve::broker
