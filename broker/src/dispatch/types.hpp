// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <bitset>
#include <cstdint>
#include <limits>

// What goes into the Dispatcher and what comes out of it. Everything here is a plain value: ids,
// counts, hashes and times, never a payload, a pointer (but Limits::plugin) or a descriptor.
namespace mserve::broker {

class PolicySource;

/// A point in time or a span, in nanoseconds. The Dispatcher never reads a clock: whoever calls it
/// passes `now`, which must not go backwards.
using Nanos = std::uint64_t;
inline constexpr Nanos kMillisecond = 1'000'000;
inline constexpr Nanos kSecond = 1'000 * kMillisecond;

/// "No bound", for Options::match_wait and Options::route_expire, and "no such time".
inline constexpr Nanos kForever = std::numeric_limits<Nanos>::max();

/// "No such servant, origin or request slot".
inline constexpr std::uint32_t kNone = std::numeric_limits<std::uint32_t>::max();

/// Highest weight of a servant.
inline constexpr std::uint32_t kWeightMax = 1000;
/// Most routes that a servant may hold at once: a decision looks at each of them.
inline constexpr std::uint32_t kRoutesPerServantMax = 64;

/// Tiers are 0 to kTiers - 1, the nearest first: this host, its zone, its region, elsewhere.
inline constexpr std::uint32_t kTiers = 4;
/// Servants alike in group and tags form a pool; most pools at a time.
inline constexpr std::uint32_t kPoolsMax = 256;
/// A bit per pool.
using PoolSet = std::bitset<kPoolsMax>;
/// Most classes of requests; see ClassDefined.
inline constexpr std::uint32_t kClassesMax = 64;
/// Priorities are 0 to kPriorities - 1, the highest goes first most often.
inline constexpr std::uint32_t kPriorities = 4;
/// Once so many servants have refused a request (NotRun), no other one is asked.
inline constexpr std::uint32_t kRefusalsMax = 4;
/// Priority of a request that asks for none: one is below it, two above.
inline constexpr std::uint8_t kPriorityNormal = 1;

/// Names one request until it completes. The slot is below Limits::requests_max, so a caller can
/// keep its own data about a request in an array indexed by slot; the generation changes each time
/// the slot is used again, so that a late answer never hits a new request.
struct RequestId {
  std::uint32_t slot = 0;
  std::uint32_t generation = 0;  ///< Never 0 for a request: a zeroed id names none.

  /// One word for the wire; 0 names no request.
  [[nodiscard]] constexpr std::uint64_t packed() const noexcept {
    return std::uint64_t{generation} << 32 | slot;
  }
  /// The inverse of packed(); any value is accepted, the Dispatcher checks the id where it is used.
  [[nodiscard]] static constexpr RequestId unpack(std::uint64_t word) noexcept {
    return {static_cast<std::uint32_t>(word), static_cast<std::uint32_t>(word >> 32)};
  }
  friend constexpr bool operator==(const RequestId&, const RequestId&) noexcept = default;
  explicit constexpr operator bool() const noexcept { return generation != 0; }
};

/// Sizes, fixed at construction: every node is allocated then, and none later. Zero counts as one;
/// the three counts are cut at 2^30.
struct Limits {
  std::uint32_t servants_max = 1024;   ///< Servant indices are below this.
  std::uint32_t origins_max = 16384;   ///< Origin indices are below this.
  std::uint32_t requests_max = 65536;  ///< Requests queued or running; the next one is `busy`.
  /// The same for each origin.
  std::uint32_t origin_requests_max = kNone;
  /// Bytes of queued requests (flows not counted); the request that would exceed it is `busy`.
  std::uint64_t queued_bytes_max = std::uint64_t{256} << 20;
  /// How often a request may be overtaken for the sake of affinity before it goes next: by later
  /// requests of its own origin, and (an origin's turn) by later turns of other origins.
  std::uint32_t overtake_max = 64;
  /// How many routes a servant holds at once, at most kRoutesPerServantMax; another one displaces
  /// its least recently used one.
  std::uint32_t routes_per_servant = 1;
  /// Classes are numbered below this, at most kClassesMax. Class 0 is there from the start; each of
  /// the others has to be defined.
  std::uint32_t classes_max = 1;
  /// Deadlines are kept to 2^tick_bits nanoseconds: never early, at most that much late. At
  /// most 32.
  std::uint32_t tick_bits = 16;
  /// Whether the order of arrival is kept all the time, for oldest_submitted(), and not just while
  /// there are servants of tier 1 and above.
  bool list_arrivals = false;
  /// Scatters the route hashes, which clients choose, over the tables. Give it a random value in
  /// production so that nobody can aim at one slot, and a fixed one in tests.
  std::uint64_t hash_seed = 0x6d73657276650001;
  /// What makes Policy::plugin; outlives the Dispatcher. Null: there is none, and that policy
  /// chooses as `orig` does.
  const PolicySource* plugin = nullptr;
};

/// What chooses the servant.
enum class Policy : std::uint8_t {
  orig,      ///< The first free servant from the top.
  even,      ///< The next free servant after the last one used, wrapping.
  match,     ///< A servant that holds the request's route; see Options.
  least,     ///< The one that runs least; of several the least recently used.
  weighted,  ///< In proportion to the servants' weights.
  plugin,    ///< What Limits::plugin says.
};
inline constexpr std::uint32_t kPolicies = 6;

/// What may change while the broker runs.
struct Options {
  Policy policy = Policy::match;
  /// How long a request waits for a busy servant that holds its route before any free servant may
  /// take it. 0: takes any free servant at once. kForever: only a holder runs it while one lives.
  Nanos match_wait = 0;
  /// A servant that has not run its route for this long no longer holds it. kForever: holds it
  /// until another route takes its place.
  Nanos route_expire = 12'000'000'000;
  /// How long a request waits for a servant of tier 0 before one of another tier may run it.
  /// kForever: only while no servant of tier 0 is there. Requests that were queued when the first
  /// servant of another tier joined count as submitted then, but with Limits::list_arrivals.
  Nanos spill_after = 100'000'000;
};

/// A servant attached. The caller chooses the index. Credit 0 counts as 1.
struct ServantJoined {
  std::uint32_t servant;
  std::uint32_t credit = 1;
  /// Below kTiers, else cut to that. Above 0 it is on another host: idle as long as tier 0 serves,
  /// see Options::spill_after, and as long as one of a nearer tier is free. It holds no routes, and
  /// whoever is next in turn goes to it, or to another one of its tier as far_policy.hpp says.
  std::uint32_t tier = 0;
  std::uint32_t weight = 1;  ///< For Policy::weighted; cut to 1 .. kWeightMax.
  std::uint32_t pool = 0;    ///< Below kPoolsMax.
  /// Above tier 0: a hash of whatever it stands for that keeps routes warm, the same at each broker
  /// that knows it. 0: it stands for itself.
  std::uint64_t home = 0;
  /// It ends a request that overran as soon as it is told, and the others that it runs are nothing
  /// to that one: an overrun does not keep it out of dispatch.
  bool ends_overruns = false;
};
/// Says which classes a pool belongs to: its servants may run their requests. Only while it has no
/// servant, so before the first of them joins. Pool 0 belongs to class 0 from the start, all others
/// to none.
struct PoolDefined {
  std::uint32_t pool;
  std::uint64_t classes = 1;  ///< A bit per class; those that are not defined do not count.
};
/// A class of requests: those that the same servants may run. Once it is defined its pools change
/// by PoolDefined only; `fallback` may be told again at any time.
struct ClassDefined {
  std::uint32_t number;  ///< Below Limits::classes_max.
  PoolSet pools{};       ///< Ignored if the class is defined already.
  /// While no servant of this class can run anything (none attached, or all of them barred), its
  /// requests belong to that class. kNone: they wait, or fail with `no_servant`.
  std::uint32_t fallback = kNone;
};
/// A servant died or detached. What it was running is retried, failed or discarded through next().
struct ServantLeft {
  std::uint32_t servant;
};
/// Give this servant nothing new (stopped process, drain); what it runs goes on.
struct ServantSuspended {
  std::uint32_t servant;
  /// Its sticky origins choose anew, and what they have waiting goes there. Else they wait for it.
  bool release_sticky = false;
};
/// The suspended servant may be given requests again.
struct ServantResumed {
  std::uint32_t servant;
};
/// Of which classes servants are on their way (launching, re-attaching): requests then wait for
/// them even when none is attached. All at construction.
struct ServantsExpected {
  std::uint64_t classes;  ///< Bit n: of class n.
};
inline constexpr std::uint64_t kEveryClass = ~std::uint64_t{0};
/// Somebody who asks appeared. The caller chooses the index, which may be one used before, as soon
/// as that one was closed.
struct OriginOpened {
  std::uint32_t origin;
  /// All its requests go to one servant, which is chosen when the first of them is submitted: the
  /// one with the fewest such origins. They are run in order and never elsewhere, nor twice. If
  /// that servant leaves, they fail with `servant_died`, and the next request chooses anew. A
  /// request whose class that servant does not belong to is an ordinary one.
  bool sticky = false;
};
/// It went away: its queued requests vanish (as `discard` decisions), what it has running is let
/// finish and its answer is not delivered.
struct OriginClosed {
  std::uint32_t origin;
};
/// A request arrived.
struct Submit {
  std::uint32_t origin;
  std::uint64_t route = 0;   ///< Hash of the routing symbol; 0 = none. A hint, never trusted.
  std::uint64_t bytes = 0;   ///< Payload bytes, counted against Limits::queued_bytes_max.
  std::uint8_t retries = 0;  ///< How often it may be sent again if its servant dies.
  std::uint8_t priority = kPriorityNormal;  ///< Cut to kPriorities - 1.
  std::uint32_t class_number = 0;           ///< Which servants may run it. Undefined: `no_servant`.
  /// Its payload stays with its sender until a servant is chosen, then streams through: the bytes
  /// are not counted, and it is never sent again, whatever `retries` says.
  bool flow = false;
  /// How long it may wait for a servant; after that it fails with `queue_timeout`. If its servant
  /// leaves and it is to be sent again, the time starts anew, and it fails with `servant_died`.
  /// Half of kForever and more: no limit.
  Nanos queue_timeout = kForever;
  /// How long it may run until its answer begins; after that an `overrun` decision says so.
  Nanos run_timeout = kForever;
  /// How long it may wait and run together, however often it is sent: cuts the other two short, and
  /// counts only beside one of them.
  Nanos whole_timeout = kForever;
  /// Above 0: it is one of so many requests that make a broadcast, for the servant `target`, which
  /// is sent it once it runs nothing. From then on until all of them are over (answered, failed,
  /// discarded or refused) none of their servants is sent anything else. There is one broadcast at
  /// a time: requests of another origin are `busy` meanwhile, and so is a second one for a servant.
  /// A target that is not attached or suspended is refused with `no_servant`. Never sent again.
  std::uint32_t broadcast = 0;
  std::uint32_t target = kNone;
};
/// Its origin no longer wants this request.
struct Cancel {
  RequestId request;
};
/// The first bytes of its answer came: from here on it is never sent again.
struct ReplyBegan {
  RequestId request;
  std::uint32_t servant;  ///< Who says so; believed only of the servant that runs it.
};
/// A servant says that it finished this request. Checked like any input.
struct Done {
  RequestId request;
  std::uint32_t servant;
};
/// A servant says that it did not run this request, and will not: it stands for others, and none of
/// them could. Another one may, however often that was tried: see Dispatcher.
struct NotRun {
  RequestId request;
  std::uint32_t servant;  ///< Who says so; believed only of the servant that runs it.
};
/// Shutting down: refuse what is new, finish what is there.
struct DrainBegan {};
/// Shutting down, out of patience: everything left fails with `shutdown`, nothing more is sent.
struct DrainExpired {};

/// Why a request was not accepted.
enum class Refusal : std::uint8_t {
  none,  ///< Accepted.
  /// Limits::requests_max, origin_requests_max or queued_bytes_max reached, or there is another
  /// broadcast: try later.
  busy,
  no_servant,      ///< None of its class attached and none expected.
  shutting_down,   ///< DrainBegan was seen.
  unknown_origin,  ///< Index out of range or not open: the caller's mistake.
};

struct Submitted {
  RequestId id;  ///< Names none if refused.
  Refusal refusal = Refusal::none;
  std::uint32_t backlog = 0;  ///< Requests queued or running when it arrived.
};

/// What Cancel did.
enum class Cancelled : std::uint8_t {
  unknown,  ///< No such request (any more): nothing happened.
  queued,   ///< It will not be sent; its `discard` decision follows.
  running,  ///< Too late to stop it: its answer will come back with deliver = false.
};

/// What Done did. If not valid (stale, forged, or not this servant's) nothing changed and the other
/// fields say nothing.
struct Completion {
  bool valid = false;
  bool deliver = false;      ///< False: cancelled, or its origin is gone; drop the answer.
  std::uint32_t origin = 0;  ///< As submitted.
  std::uint64_t route = 0;   ///< As submitted.
  Nanos submitted = 0;
  Nanos dispatched = 0;         ///< The last time it was sent.
  std::uint32_t backlog = 0;    ///< As told at submit.
  std::uint32_t remaining = 0;  ///< Requests still queued or running now.
};

/// Why a request failed without an answer.
enum class FailReason : std::uint8_t {
  servant_died,   ///< Its servant left, and it may not be sent again or nobody was free for it.
  no_servant,     ///< Queued, the last servant of its class left, and none is expected.
  shutdown,       ///< DrainExpired.
  queue_timeout,  ///< Submit::queue_timeout passed before a servant was free for it.
};

/// One thing to do. The request is over after `fail` and `discard`: its id names nothing any more.
struct Decision {
  enum class Kind : std::uint8_t {
    none,      ///< Nothing to do until the next event or next_wakeup().
    dispatch,  ///< Send `request` to `servant`.
    fail,      ///< Tell its origin that it failed, for `reason`; free what it holds.
    discard,   ///< Free what it holds; nobody is told.
    /// Tell its origin that it ran too long, unless `deliver` is false. It is still with `servant`,
    /// which gets nothing new until it answers, unless it is one that ends_overruns; then Done says
    /// deliver = false (if it leaves instead, a `discard` follows).
    overrun,
    more,  ///< A bounded piece of bookkeeping was done; call next() again.
  };
  Kind kind = Kind::none;
  FailReason reason = FailReason::servant_died;
  bool again = false;   ///< dispatch: it was sent before, to a servant that left.
  bool deliver = true;  ///< overrun: false: it was cancelled, or its origin is gone.
  RequestId request;
  std::uint32_t servant = kNone;
};

/// Counts since construction. At any time
///   submitted == completed + orphaned + failed_* + discarded + queued() + running(),
///   dispatched == hits + claims + steals + spills + unrouted + remote + bound.
struct Counters {
  std::uint64_t submitted = 0;    ///< Accepted.
  std::uint64_t refused = 0;      ///< Answered with a Refusal.
  std::uint64_t dispatched = 0;   ///< `dispatch` decisions, repeats included.
  std::uint64_t retried = 0;      ///< Put back because the servant left.
  std::uint64_t elsewhere = 0;    ///< Put back because the servant did not run it, for another one.
  std::uint64_t completed = 0;    ///< Done and delivered.
  std::uint64_t orphaned = 0;     ///< Done, answer dropped: cancelled, overrun or origin gone.
  std::uint64_t overruns = 0;     ///< `overrun` decisions.
  std::uint64_t invalid = 0;      ///< Done, ReplyBegan or NotRun that was not believed.
  std::uint64_t discarded = 0;    ///< `discard` decisions.
  std::uint64_t failed_died = 0;  ///< `fail` with servant_died.
  std::uint64_t failed_none = 0;  ///< `fail` with no_servant.
  std::uint64_t failed_shutdown = 0;
  std::uint64_t failed_queued = 0;  ///< `fail` with queue_timeout.
  std::uint64_t hits = 0;           ///< Sent to a servant that held the route.
  std::uint64_t claims = 0;         ///< No holder: sent to a servant with room for one more route.
  std::uint64_t steals = 0;         ///< No holder: sent to a servant of which it displaced a route.
  std::uint64_t spills = 0;         ///< A holder lives, but it went to another servant.
  std::uint64_t unrouted = 0;       ///< Sent without regard to any route: it has none.
  std::uint64_t remote = 0;         ///< Sent to a servant of tier 1 or above.
  std::uint64_t overtakes = 0;  ///< Dispatches that went ahead of an older request of their origin.
  std::uint64_t forced = 0;     ///< Affinity refused because somebody was overtaken often enough.
  std::uint64_t bound = 0;      ///< Sent to the servant of their sticky origin, or of a broadcast.
  std::uint64_t fallbacks =
      0;  ///< Requests that changed to, or began in, the fallback of their class.
  std::uint64_t routes_dropped = 0;  ///< Route table crowded: a request was queued without route.
};

}  // namespace mserve::broker
