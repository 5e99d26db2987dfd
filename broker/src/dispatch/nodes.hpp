// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <memory>

#include "dispatch/far_policy.hpp"
#include "dispatch/node_list.hpp"
#include "dispatch/policies.hpp"
#include "dispatch/types.hpp"

// The Dispatcher's nodes. They live in arrays that are filled at construction and name each other
// by index. A queued request is reachable from three sides: its origin's desk (fairness), its route
// (affinity) and, while it waits for a busy holder, the order of arrival (match_wait).
namespace mserve::broker {

/// Where a request is. Which lists it is in follows from this and from its flags.
enum class RequestState : std::uint8_t {
  vacant,   ///< Slot not in use; chained through order.next.
  pending,  ///< Just submitted; Dispatcher::pending_ names it, no list does.
  queued,   ///< In its lane if it has a route; kOpen and kAged say what else.
  bound,    ///< Waits for one servant: in the list of its sticky origin, or Servant::broadcast.
  retry,    ///< Its servant left: in its class's and its origin's retry lists.
  refused,  ///< A servant did not run it (NotRun): in Class::refused and its origin's retry list.
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
  static constexpr std::uint8_t kArrived = 32;   ///< In the list by arrival.
  static constexpr std::uint8_t kTimed = 64;     ///< It has a Term, and perhaps a timer.
  static constexpr std::uint8_t kOverran = 128;  ///< Runs longer than it may, and bars its servant.

  /// Desk's open or waiting list, origin's bound list, retry, doomed, servant's running list,
  /// vacant.
  Links order;
  Links lane;  ///< The lane's requests; of a retry or a refused one Origin::retry.
  union {
    Links age;         ///< queued with kAged
    Nanos dispatched;  ///< running
  };
  Nanos submitted;
  std::uint64_t bytes;  ///< As counted while queued: 0 for a flow.
  std::uint32_t owner;  ///< queued: its desk; else its origin, as a node.
  std::uint32_t place;  ///< queued: its lane; else its route; kNone: it has no route.
  union {
    std::uint32_t sequence;  ///< open: its number in the desk's open list
    std::uint32_t servant;   ///< running; of a broadcast from the start
  };
  std::uint32_t generation;
  std::uint32_t backlog;
  RequestState state;
  std::uint8_t flags;
  std::uint8_t retries;  ///< Left.
  std::uint8_t queue;    ///< Class and priority.

  static constexpr std::uint8_t queue_of(std::uint32_t class_number, std::uint32_t priority) {
    return static_cast<std::uint8_t>(class_number * kPriorities + priority);
  }
  [[nodiscard]] std::uint32_t class_number() const noexcept { return queue / kPriorities; }
  [[nodiscard]] std::uint32_t priority() const noexcept { return queue % kPriorities; }
};
static_assert(sizeof(Request) == 64);
static_assert(kClassesMax * kPriorities <= 256);

/// The queued requests, retries too, in the order in which they were queued. Apart from the
/// requests themselves, since it is kept only while there are servants of other tiers, unless
/// Limits::list_arrivals asks for it.
struct Arrival {
  Links by_arrival;
};

/// How long a request may wait and run. Apart from the requests, since most have no such limit.
struct Term {
  Nanos queue_timeout;
  Nanos run_timeout;
  Nanos end;  ///< When it has to be over, wherever it is.
};

/// Who did not run a request, by its slot: it goes to none of them again. Apart from the requests,
/// since it is touched only by those that were refused.
struct Refusals {
  struct By {
    std::uint32_t servant;
    std::uint32_t joined;  ///< Servant::joined: one that comes later with its index is another.
  };
  std::uint32_t generation = 0;  ///< Of the request; another one's have no meaning any more.
  std::uint32_t count = 0;
  std::array<By, kRefusalsMax> by{};
};

/// The queued requests of one desk that have one route, first come first served. Exists while it
/// has any.
struct alignas(32) Lane {
  List requests;   ///< By Request::lane.
  Links of_route;  ///< RouteQueue::lanes, vacant chain.
  std::uint32_t route;
  std::uint32_t desk;
  std::uint64_t key;  ///< In Dispatcher::lane_index_.
};
static_assert(sizeof(Lane) == 32);

/// A route within a class, that somebody holds, queues for or runs. Exists while `refs` says so.
/// Classes share no route, so whoever holds it may run what has it.
struct alignas(32) Route {
  std::uint64_t key;      ///< The hash that the client sent.
  std::uint32_t refs;     ///< Servants that hold it, lanes, and requests whose place it is.
  std::uint32_t holders;  ///< Servants that hold it and are not barred.
  List free_holders;  ///< Those free now, the one that became free last last, by Warmth::of_route.
  std::uint32_t vacant_next;
  std::uint8_t class_number;
  std::uint8_t priorities;  ///< Those with lanes, a bit each.
};

/// What is queued for a route at one priority. One per route and priority.
struct alignas(32) RouteQueue {
  List lanes;  ///< One lane per desk, in turn.
  std::uint32_t lane_count;
  std::uint32_t sweep_left;  ///< While in the released list: lanes still to look at.
  Links listed;              ///< The ready list or the released list.
  bool ready;                ///< In the ready list: has free holders and lanes.
  bool released;             ///< In the released list: lost its last holder while it had lanes.
};

/// What one origin has queued in one class at one priority. Exists while it has any.
struct alignas(64) Desk {
  List open;                ///< Requests that any servant may run, oldest first, by Request::order.
  List waiting;             ///< Queued requests that are not open, by Request::order.
  Links ring;               ///< The ring of turns; vacant chain.
  Links of_origin;          ///< Origin::desks.
  std::uint32_t origin;     ///< Node.
  std::uint32_t entered;    ///< Numbers given to open requests; see Dispatcher::overtaken().
  std::uint32_t left;       ///< How many of these have left.
  std::uint32_t ring_turn;  ///< The number of its turn in the ring.
  std::uint8_t queue;       ///< As Request::queue.
  bool in_ring;
};
static_assert(sizeof(Desk) == 64);

/// The desks of one class and priority.
struct DeskQueue {
  List ring;   ///< Those with open requests, in turn.
  List ready;  ///< Routes (RouteQueue) with a free holder and queued requests, in turn.
  std::uint32_t ring_entered = 0;
  std::uint32_t ring_left = 0;
};

/// Requests that the same servants may run.
struct Class {
  bool defined = false;
  std::uint32_t fallback = kNone;

  // Its servants.
  ServantPolicy* policy = nullptr;    ///< Of `policies` the one of Options::policy.
  std::unique_ptr<FarPolicy> spares;  ///< Free ones of the other tiers.
  std::array<std::unique_ptr<ServantPolicy>, kPolicies> policies;
  std::uint32_t free = 0;      ///< Of tier 0: in `policy`.
  std::uint32_t spare = 0;     ///< Of the other tiers: in `spares`.
  std::uint32_t attached = 0;  ///< Of all tiers.
  std::uint32_t usable = 0;    ///< Attached and not barred, of all tiers.
  std::uint32_t local = 0;     ///< Attached and not barred, of tier 0.
  std::uint32_t remote = 0;    ///< Attached, not of tier 0.

  // What is queued.
  std::uint32_t queued = 0;    ///< In one of the lists below or waiting at a desk; not refused.
  List retry;                  ///< To be sent again, before anything else.
  List aged;                   ///< Those that may still have to wait for a holder, oldest first.
  List arrivals;               ///< Those queued while it was kept, in that order; see Arrival.
  std::uint32_t unlisted = 0;  ///< Queued ones that are not in `arrivals`.
  Nanos unlisted_since = 0;    ///< When the first of another tier joined: they are so old.
  std::uint32_t turn = 0;      ///< Counts turns, for the priorities.
  std::uint64_t served = 0;    ///< Dispatcher::dispatches_ when it was served last.
  std::uint8_t ringed = 0;     ///< Priorities with open requests, a bit each.
  std::uint8_t ready = 0;      ///< Priorities with ready routes.
  DeskQueue queues[kPriorities];

  /// Those that only others than before may run, in the order of refusal. They go before anything
  /// else, and are in no other list and count of the class.
  List refused;
};

/// Somebody who asks. A node of its own per opening, so that what an earlier user of the same index
/// left running is never taken for the new one's.
struct alignas(64) Origin {
  enum class State : std::uint8_t { vacant, open, closing, closed };

  List desks;           ///< By Desk::of_origin, the one used last last.
  List retry;           ///< By Request::lane; of refused ones as well.
  List bound;           ///< sticky: requests that wait for its servant, by Request::order.
  Links links;          ///< The closing list; vacant chain.
  Links of_servant;     ///< sticky, with bound requests: Servant::bound or Dispatcher::unbound_.
  std::uint32_t index;  ///< The caller's.
  std::uint32_t live;   ///< Requests not over yet.
  std::uint32_t servant = kNone;  ///< sticky: the one that it is bound to,
  std::uint32_t joined;           ///< and Servant::joined of it.
  State state;
  bool sticky;
};

/// One cache line: with thousands of servants the next one to finish is not in the nearest cache.
struct alignas(64) Servant {
  enum class State : std::uint8_t { vacant, attached, leaving };

  List running;  ///< By Request::order, oldest first.
  List bound;    ///< Sticky origins with requests that wait for it, by Origin::of_servant.
  union {        ///< In one of these at most: a free one is not held, and one that left is neither.
    Links use{};       ///< While leaving, that list.
    Links ready;       ///< Dispatcher::bound_ready_: free, and with such origins.
    Links of_barrier;  ///< Dispatcher::held_.
  };
  /// The request of the present broadcast that it has to run, until that is over.
  std::uint32_t broadcast = kNone;
  std::uint32_t stuck;  ///< Open sticky origins that are bound to it.
  std::uint32_t
      joined;  ///< Number of the joining, so that an origin knows whether it is still the same.
  std::uint32_t routes;  ///< How many routes it holds.
  std::uint32_t credit;
  std::uint32_t outstanding;
  std::uint32_t overruns;  ///< How many of these have Request::kOverran.
  std::uint16_t weight;
  State state;
  bool suspended;
  bool held;           ///< By the present broadcast: in Dispatcher::held_.
  std::uint8_t tier;   ///< Not 0: when free, in Class::spares and unknown to the policy.
  bool free;           ///< attached, not barred, outstanding < credit: the policy may choose it.
  bool bound_ready;    ///< In Dispatcher::bound_ready_.
  bool bound_turn;     ///< What is bound to it goes next.
  bool ends_overruns;  ///< An overrun does not bar it, and is not counted here.
  std::uint8_t pool;

  /// Gets nothing new, and nobody waits for it.
  [[nodiscard]] bool barred() const noexcept { return suspended || held || overruns != 0; }
};
static_assert(sizeof(Servant) == 64);
static_assert(kPoolsMax - 1 <= std::numeric_limits<decltype(Servant::pool)>::max());

/// A place for a route that a servant holds: its data is warm there. Each servant has
/// Limits::routes_per_servant of them, side by side.
struct alignas(32) Warmth {
  std::uint32_t route = kNone;  ///< kNone: vacant.
  std::uint32_t servant = kNone;
  Nanos used = 0;  ///< When the servant was last sent or last finished a request of it.
  Links of_route;  ///< Route::free_holders, while the servant is free.
};

}  // namespace mserve::broker
