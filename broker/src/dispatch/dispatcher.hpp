// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <span>
#include <string>

#include "dispatch/hash_index.hpp"
#include "dispatch/large_array.hpp"
#include "dispatch/node_list.hpp"
#include "dispatch/nodes.hpp"
#include "dispatch/policies.hpp"
#include "dispatch/timer_wheel.hpp"
#include "dispatch/types.hpp"

namespace mserve::broker {

/// Decides which servant runs which request, and what becomes of each request. A deterministic
/// state machine: no I/O, clock, thread or global; the same calls give the same decisions.
///
/// Events are told with on(), which records in O(1); what follows from them comes out of next(),
/// one decision at a time, O(1) amortised each in queued requests, servants and origins (it is
/// proportional to the classes that a servant belongs to, and a sticky origin that looks for a
/// servant looks at all of them; one for another tier looks at the servants there, 256 at most):
///
///     dispatcher.on(Submit{...}, now);
///     for (int n = 0; n < decisions_per_pass; ++n) {
///       const Decision decision = dispatcher.next(now);
///       if (decision.kind == Decision::Kind::none) break;
///       carry_out(decision);
///     }
///
/// Calling next() after each Submit while servants are free is the cheapest: such a request never
/// enters the queue. Nothing is lost if a pass stops early; the next one goes on where it stopped.
///
/// Every accepted request ends in exactly one of: a valid Done, a `fail`, a `discard`. It is
/// dispatched at most 1 + retries times, not counting those that its servant refused (NotRun, at
/// most kRefusalsMax), and only to servants of its class. Requests of one origin, class, priority
/// and route are dispatched first in the order of submission, unless the class falls back to
/// another one meanwhile.
///
/// Threads: one at a time. Allocates in the constructor only. The order in which requests are
/// chosen is told in dispatcher_pick.cpp, the shape of the queue in dispatcher_queue.cpp, who may
/// run what in dispatcher_classes.cpp, which of several free servants is taken in policies.hpp and
/// far_policy.hpp, what becomes of refused ones in dispatcher_elsewhere.cpp.
class Dispatcher {
 public:
  explicit Dispatcher(const Limits& limits, const Options& options = {});
  Dispatcher(const Dispatcher&) = delete;
  Dispatcher& operator=(const Dispatcher&) = delete;
  ~Dispatcher() = default;

  // ---- The life of a request.

  /// Accepts or refuses a request; a refused one leaves no trace but a counter.
  Submitted on(const Submit& event, Nanos now) noexcept;
  /// Ends a request and returns the servant's credit. Ids and servant are checked: see Completion.
  Completion on(const Done& event, Nanos now) noexcept;
  /// False: not believed (stale, forged, or not this servant's request); nothing changed.
  bool on(const ReplyBegan& event, Nanos now) noexcept;
  Cancelled on(const Cancel& event, Nanos now) noexcept;
  /// Puts the request back for a servant of its class that has not refused it. Its time to wait is
  /// still that since it was submitted.
  /// @return false: it stays where it is, and its servant's answer ends it as any other: not
  ///         believed, nobody else is there or expected, kRefusalsMax were tried, its time is over,
  ///         nobody wants it, its answer has begun, it is for this servant alone (sticky or
  ///         broadcast), or nothing is dispatched any more.
  bool on(const NotRun& event, Nanos now) noexcept;

  // ---- Servants and origins.

  /// False: index out of range, attached already, or the requests of the servant that had this
  /// index before are not cleared away yet (call next() until none, then try again).
  bool on(const ServantJoined& event, Nanos now) noexcept;
  bool on(const ServantLeft& event, Nanos now) noexcept;       ///< False: not attached.
  bool on(const ServantSuspended& event, Nanos now) noexcept;  ///< False: not attached.
  bool on(const ServantResumed& event, Nanos now) noexcept;    ///< False: not attached.
  void on(const ServantsExpected& event, Nanos now) noexcept;
  /// False: number out of range, or the pool has servants. O(servants).
  bool on(const PoolDefined& event, Nanos now) noexcept;
  /// False: number or fallback out of range. O(servants) for a class that is new.
  bool on(const ClassDefined& event, Nanos now) noexcept;
  bool on(const OriginOpened& event, Nanos now) noexcept;  ///< False: out of range or open already.
  bool on(const OriginClosed& event, Nanos now) noexcept;  ///< False: not open.

  // ---- The broker itself.

  void on(const DrainBegan& event, Nanos now) noexcept;
  void on(const DrainExpired& event, Nanos now) noexcept;
  /// Takes effect at once. Requests that were free to go anywhere stay so; with a shorter wait
  /// those that waited are let go, oldest first, a bounded number per next(). A policy that takes
  /// over starts from the free servants in the order of their indices: O(servants).
  void set_options(const Options& options, Nanos now) noexcept;
  /// Limits::origin_requests_max from now on. What one with more has already stays.
  void set_origin_requests_max(std::uint32_t count) noexcept {
    limits_.origin_requests_max = count;
  }

  // ---- Decisions.

  /// One decision, or kind none. Kind more asks for nothing but another call, in this pass or
  /// later.
  Decision next(Nanos now) noexcept {
    return queued_ == 0 && !chores_ && now < timer_due_ ? Decision{} : next_of_some(now);
  }

  /// Asks the memory for what the Done of this request will touch: with thousands of servants none
  /// of it is near. To be called when the answer is seen, before it is passed on. Decides nothing,
  /// and takes any values.
  [[gnu::always_inline]] void prefetch_done(RequestId request,
                                            std::uint32_t servant) const noexcept {
    if (request.slot < requests_.size() && servant < servants_.size()) {
      prefetch(requests_, request.slot);
      prefetch(servants_, servant);
      prefetch(warmths_, servant * limits_.routes_per_servant);
    }
  }

  // ---- Observers.

  [[nodiscard]] const Options& options() const noexcept { return options_; }
  /// Accepted, not running, not over.
  [[nodiscard]] std::uint32_t queued() const noexcept { return queued_; }
  [[nodiscard]] std::uint32_t running() const noexcept { return running_; }
  [[nodiscard]] std::uint64_t queued_bytes() const noexcept { return queued_bytes_; }
  /// When the oldest of the queued requests was submitted; kForever: none is queued. Those that
  /// wait for the servant of their sticky origin do not count, as nobody else may run them. One
  /// that is sent again counts from its submission once it is the first of its class. Needs
  /// Limits::list_arrivals. O(classes with something queued).
  [[nodiscard]] Nanos oldest_submitted() const noexcept;
  /// Attached, suspended ones included.
  [[nodiscard]] std::uint32_t servants() const noexcept { return attached_; }
  /// Servants of tier 0 that could be given a request now.
  [[nodiscard]] std::uint32_t free_servants() const noexcept { return free_servants_; }
  /// The earliest time at which next() can have something new without an event: `now` if it has
  /// not said none yet, kForever if only an event can bring something.
  [[nodiscard]] Nanos next_wakeup(Nanos now) const noexcept;
  [[nodiscard]] const Counters& counters() const noexcept { return counters_; }
  /// Walks everything and returns the first broken invariant, "" if there is none. For tests: slow.
  [[nodiscard]] std::string audit() const;

 private:
  friend class DispatcherAudit;
  // What next() may do without a decision before it answers `more`.
  static constexpr std::uint32_t kStepsMax = 32;
  // Fewer requests than this are in the caches, and to ask for them costs more than it brings.
  static constexpr std::uint32_t kDeep = 4096;
  // How many holders may turn out to be out of date before a request goes to any free servant.
  static constexpr std::uint32_t kHoldersTriedMax = 8;

  [[nodiscard]] bool attached(std::uint32_t servant) const noexcept {
    return servant < servants_.size() && servants_[servant].state == Servant::State::attached;
  }
  [[nodiscard]] bool names_request(RequestId id) const noexcept {
    return id.slot < requests_.size() && requests_[id.slot].generation == id.generation &&
           requests_[id.slot].state != RequestState::vacant;
  }
  // The servant is attached and this request runs on it.
  [[nodiscard]] bool runs(RequestId id, std::uint32_t servant) const noexcept {
    return names_request(id) && requests_[id.slot].state == RequestState::running &&
           requests_[id.slot].servant == servant && attached(servant);
  }

  Submitted accept(const Submit& event, Nanos now) noexcept;

  // dispatcher_broadcast.cpp: one query to many servants behind a barrier.
  Submitted accept_broadcast(const Submit& event, Nanos now) noexcept;
  [[nodiscard]] bool is_broadcast(std::uint32_t slot) const noexcept {
    const std::uint32_t servant = requests_[slot].servant;
    return barrier_left_ != 0 && servant < servants_.size() && servants_[servant].broadcast == slot;
  }
  void hold_back(std::uint32_t servant) noexcept;
  void let_go(std::uint32_t servant) noexcept;
  void end_broadcast_part() noexcept;
  void end_broadcast_of(std::uint32_t origin) noexcept;
  [[nodiscard]] std::uint32_t next_broadcast_part(bool idle_only) const noexcept;

  // dispatcher_elsewhere.cpp: what a servant did not run is for another one.
  [[nodiscard]] bool refused_by(const Refusals::By& by) const noexcept {
    return attached(by.servant) && servants_[by.servant].joined == by.joined;
  }
  [[nodiscard]] std::span<const Refusals::By> refusals_of(std::uint32_t slot) const noexcept;
  [[nodiscard]] bool note_refusal(std::uint32_t slot, std::uint32_t servant) noexcept;
  [[nodiscard]] bool waited_out(std::uint32_t slot, Nanos now) const noexcept;
  [[nodiscard]] std::uint32_t usable_others(std::uint32_t slot,
                                            std::uint32_t number) const noexcept;
  [[nodiscard]] std::uint32_t class_elsewhere(std::uint32_t slot) const noexcept;
  void enter_refused(std::uint32_t slot) noexcept;
  void leave_refused(std::uint32_t slot) noexcept;
  [[nodiscard]] bool refused_ready(std::uint32_t number) const noexcept;
  Decision pick_refused(std::uint32_t number, Nanos now) noexcept;
  [[nodiscard]] std::uint32_t lost_refused() const noexcept;
  Decision clear_refused(std::uint32_t slot) noexcept;

  // dispatcher_queue.cpp: requests in and out of the queue.
  [[nodiscard]] std::uint32_t origin_of(const Request& request) const noexcept {
    return request.state == RequestState::queued ? desks_[request.owner].origin : request.owner;
  }
  [[nodiscard]] Class& class_of(const Request& request) noexcept {
    return classes_[request.class_number()];
  }
  [[nodiscard]] DeskQueue& queue_of(std::uint8_t queue) noexcept {
    return classes_[queue / kPriorities].queues[queue % kPriorities];
  }
  void settle() noexcept;
  void place(std::uint32_t slot, bool moved = false) noexcept;
  void age(std::uint32_t slot) noexcept;
  void leave_aged(std::uint32_t slot) noexcept;
  void open(std::uint32_t slot) noexcept;
  void open_waiting(std::uint32_t slot) noexcept;
  void leave_open(std::uint32_t slot) noexcept;
  void take_turn(std::uint32_t slot) noexcept;
  void unqueue(std::uint32_t slot) noexcept;
  void put_back(std::uint32_t slot) noexcept;
  void finish(std::uint32_t slot) noexcept;
  void free_origin(std::uint32_t node) noexcept;
  std::uint32_t desk_for(std::uint32_t origin, std::uint8_t queue) noexcept;
  void leave_desk(std::uint32_t node) noexcept;
  void enter_ring(std::uint32_t node) noexcept;
  void leave_ring(std::uint32_t node) noexcept;
  std::uint32_t lane_for(std::uint32_t desk, std::uint32_t route) noexcept;
  void leave_lane(std::uint32_t slot) noexcept;
  void offer(std::uint32_t lane) noexcept;
  void note_queued(std::uint32_t slot) noexcept;
  void forget_queued(std::uint32_t slot) noexcept;
  [[nodiscard]] std::uint32_t next_in_turn(const Class& in) const noexcept;

  // dispatcher_classes.cpp: which servants may run what; origins bound to a servant.
  template <class Do>
  void for_classes_of(std::uint32_t servant, const Do& act) noexcept {
    for (std::uint64_t left = pools_[servants_[servant].pool]; left != 0; left &= left - 1) {
      const auto number = static_cast<std::uint32_t>(std::countr_zero(left));
      act(classes_[number], number);
    }
  }
  [[nodiscard]] bool may_run(std::uint32_t servant, std::uint32_t class_number) const noexcept {
    return (pools_[servants_[servant].pool] >> class_number & 1) != 0;
  }
  // The class that requests of this one belong to at present; kNone: there is no such class.
  [[nodiscard]] std::uint32_t effective_class(std::uint32_t number) const noexcept {
    return number < classes_.size() && classes_[number].usable != 0 ? number : class_behind(number);
  }
  [[nodiscard]] std::uint32_t class_behind(std::uint32_t number) const noexcept;
  [[nodiscard]] bool hopeless(std::uint32_t number) const noexcept;
  void count_servant(std::uint32_t servant, bool attached, Nanos now) noexcept;
  void count_usable(std::uint32_t servant, bool usable) noexcept;
  [[nodiscard]] std::uint32_t lost_class() const noexcept;
  Decision clear_class(std::uint32_t number) noexcept;
  void change_class(std::uint32_t slot, std::uint32_t to) noexcept;
  void look_at_unbound() noexcept;
  void enter_bound(std::uint32_t origin) noexcept;
  Decision sweep_unbound() noexcept;
  void vacate(std::uint32_t servant) noexcept;
  void bind(std::uint32_t origin, std::uint32_t class_number) noexcept;
  void release_sticky(std::uint32_t servant) noexcept;
  [[nodiscard]] bool is_bound(const Origin& origin) const noexcept;
  void place_bound(std::uint32_t slot) noexcept;
  void leave_bound(std::uint32_t slot) noexcept;
  void update_bound_ready(std::uint32_t servant) noexcept;
  Decision pick_bound(Nanos now) noexcept;

  // dispatcher_routes.cpp: routes and who holds them.
  [[nodiscard]] std::span<Warmth> warmths(std::uint32_t servant) noexcept {
    return {&warmths_[std::size_t{servant} * limits_.routes_per_servant],
            limits_.routes_per_servant};
  }
  [[nodiscard]] std::uint32_t index_of(const Warmth& warmth) const noexcept {
    return static_cast<std::uint32_t>(&warmth - warmths_.data());
  }
  // Its place for the route; null if it does not hold it. Plain loops, here and below: there is one
  // place as a rule.
  [[nodiscard]] Warmth* warmth_of(std::uint32_t servant, std::uint32_t route) noexcept {
    for (Warmth& warmth : warmths(servant)) {
      if (warmth.route == route) {
        return &warmth;
      }
    }
    return nullptr;
  }
  [[nodiscard]] bool holds(std::uint32_t servant, std::uint32_t route) noexcept {
    return warmth_of(servant, route) != nullptr;
  }
  // Each class has keys of its own. Which they are nobody outside knows, or one could make a route
  // of one class look like one of another.
  [[nodiscard]] std::uint64_t index_key(std::uint32_t route) const noexcept {
    return index_key(routes_[route].key, routes_[route].class_number);
  }
  [[nodiscard]] std::uint64_t index_key(std::uint64_t key,
                                        std::uint32_t class_number) const noexcept {
    return key ^ class_number * (limits_.hash_seed * 0x9E3779B97F4A7C15 | 1);
  }
  // Of the key that a client sent and not of the node that it has here, so that the search can
  // begin, by a prefetch, before that node is known. Two lanes have the same one only by chance.
  [[nodiscard]] std::uint64_t lane_key(std::uint32_t desk, std::uint64_t route_key) const noexcept {
    return route_key ^ desk * (limits_.hash_seed * 0xD6E8FEB86659FD93 | 1);
  }
  // The node of what is queued for a route at one priority.
  [[nodiscard]] static std::uint32_t queue_node(std::uint32_t route,
                                                std::uint32_t priority) noexcept {
    return route * kPriorities + priority;
  }
  [[nodiscard]] static std::uint32_t route_of_node(std::uint32_t node) noexcept {
    return node / kPriorities;
  }
  static void set_bit(std::uint8_t& bits, std::uint32_t bit, bool to) noexcept {
    bits = static_cast<std::uint8_t>((bits & ~(1U << bit)) | std::uint32_t{to} << bit);
  }
  std::uint32_t acquire_route(std::uint64_t key, std::uint32_t class_number) noexcept;
  void release_route(std::uint32_t route) noexcept;
  void update_ready(std::uint32_t node) noexcept;
  void update_all_ready(std::uint32_t route) noexcept;
  void hold(std::uint32_t servant, std::uint32_t route, Nanos now) noexcept;
  void unhold(std::uint32_t servant) noexcept;
  void give_up_route(Warmth& warmth) noexcept;
  void count_holder(std::uint32_t route) noexcept;
  void uncount_holder(std::uint32_t route) noexcept;
  void enter_free(std::uint32_t servant) noexcept;
  void leave_free(std::uint32_t servant, bool sent = false) noexcept;
  void stay_free(std::uint32_t servant, bool sent) noexcept;
  [[gnu::cold]] void enter_far(std::uint32_t servant) noexcept;
  [[gnu::cold]] void leave_far(std::uint32_t servant) noexcept;
  [[nodiscard]] FreeServant seen_free(std::uint32_t servant) const noexcept;
  [[nodiscard]] FarServant seen_far(std::uint32_t servant) const noexcept;
  // Nothing waits for it or for what it holds, so nobody needs to know of each of its changes.
  [[nodiscard]] bool unawaited(const Servant& servant) const noexcept {
    return queued_ == (pending_ != kNone ? 1U : 0U) && servant.bound.empty();
  }
  void bar(std::uint32_t servant) noexcept;
  void unbar(std::uint32_t servant) noexcept;
  [[nodiscard]] bool expired(const Warmth& warmth, Nanos now) const noexcept {
    return warmth.route != kNone && now - warmth.used >= options_.route_expire;
  }
  // A free servant that runs nothing and has not used a route for long does not hold it any more.
  void forget_expired(std::uint32_t index, Nanos now) noexcept {
    const Servant& servant = servants_[index];
    if (servant.routes == 0 || servant.outstanding != 0 || options_.route_expire == kForever) {
      return;
    }
    for (const Warmth& warmth : warmths(index)) {
      if (expired(warmth, now)) [[unlikely]] {
        give_up_expired(index, now);
        return;
      }
    }
  }
  void give_up_expired(std::uint32_t servant, Nanos now) noexcept;

  // dispatcher_pick.cpp: who runs what next.
  [[nodiscard]] std::uint32_t route_of(const Request& request) const noexcept;
  [[nodiscard]] Nanos wait() const noexcept;
  [[nodiscard]] bool overdue(const Request& request, Nanos now) const noexcept;
  [[nodiscard]] bool must_wait(const Request& request, Nanos now) const noexcept;
  [[nodiscard]] std::uint32_t overtaken(const Desk& desk) const noexcept;
  [[nodiscard]] bool ring_overtaken(const DeskQueue& queue) const noexcept;
  std::uint32_t servant_for(const Request& request, Nanos now) noexcept;
  std::uint32_t free_holder(std::uint32_t route, Nanos now) noexcept;
  void note_affinity(const Request& request, std::uint32_t route, std::uint32_t servant,
                     bool held) noexcept;
  [[nodiscard]] bool deep() const noexcept { return queued_ + running_ >= kDeep; }
  void prefetch_ahead(const DeskQueue& queue) const noexcept;
  void prefetch_lanes(const RouteQueue& queue) const noexcept;
  Decision send(std::uint32_t slot, std::uint32_t servant, Nanos now) noexcept;
  Decision next_of_some(Nanos now) noexcept;
  Decision next_slow(Nanos now) noexcept;
  Decision pick(Nanos now) noexcept;
  Decision pick_class(std::uint32_t number, Nanos now) noexcept;
  Decision pick_ready(DeskQueue& queue, Nanos now) noexcept;
  Decision pick_fair(std::uint32_t desk, Nanos now) noexcept;
  Decision pick_remote(const Class& in, Nanos now) noexcept;
  [[nodiscard]] std::uint32_t far_servant_for(const Class& in, std::uint32_t slot) noexcept;
  [[nodiscard]] std::uint32_t priority_in_turn(const Class& in) const noexcept;
  [[nodiscard]] std::uint32_t class_in_turn(std::uint64_t among, Nanos now) const noexcept;
  [[nodiscard]] Nanos remote_due(const Class& in) const noexcept;

  // dispatcher_chores.cpp: what remains to be done after deaths, closings and shutdown.
  bool let_go_overdue(Nanos now) noexcept;
  Decision chore(Nanos now) noexcept;
  Decision time_out(Nanos now) noexcept;
  Decision clear_servant(Nanos now) noexcept;
  Decision clear_origin() noexcept;
  Decision clear_slots() noexcept;
  void sweep_released() noexcept;
  Decision fail(std::uint32_t slot, FailReason reason) noexcept;
  Decision discard(std::uint32_t slot) noexcept;
  Decision give_up(std::uint32_t slot, FailReason reason) noexcept;
  void end(std::uint32_t slot) noexcept;
  void stop_running(std::uint32_t slot) noexcept;
  void set_timer(std::uint32_t slot, Nanos timeout, Nanos now) noexcept;
  void stop_timer(std::uint32_t slot) noexcept;
  [[nodiscard]] bool unwanted(const Request& request) const noexcept;

  Limits limits_;
  Options options_;

  // What the shortest path touches stands together.
  std::uint32_t pending_ = kNone;  // Submitted and not placed: goes out directly if it can.
  std::uint32_t queued_ = 0;
  std::uint32_t running_ = 0;
  std::uint32_t free_servants_ = 0;
  std::uint32_t attached_ = 0;
  std::uint32_t vacant_ = 0;  // Chain of vacant request slots.
  std::uint64_t expected_ = kEveryClass;
  bool draining_ = false;
  bool expired_ = false;     // DrainExpired was seen: nothing is dispatched any more.
  bool chores_ = false;      // One of the lists below the line may have something.
  bool chore_turn_ = false;  // Chores and dispatches take turns.
  std::uint64_t queued_bytes_ = 0;
  Nanos timer_due_ = kForever;      // No timer expires before this.
  std::uint64_t busy_classes_ = 0;  // Those with something queued, a bit each.
  std::uint64_t free_classes_ = 0;  // Those with a free servant of any tier.
  std::uint64_t aged_classes_ = 0;  // Those with something in Class::aged.
  std::uint64_t dispatches_ = 0;    // Of classes.

  LargeArray<Class> classes_;
  std::array<std::uint64_t, kPoolsMax> pools_ = {};  // The classes of each.
  LargeArray<Request> requests_;
  LargeArray<Arrival> arrived_;    // By slot.
  LargeArray<Term> terms_;         // By slot; of those with kTimed.
  LargeArray<Refusals> refusals_;  // By slot.
  TimerWheel timers_;              // By slot: while queued for waiting, while running for running.
  LargeArray<Servant> servants_;
  LargeArray<std::uint64_t> homes_;  // By servant: ServantJoined::home.
  LargeArray<Warmth> warmths_;       // By servant, Limits::routes_per_servant of each.
  LargeArray<Route> routes_;
  LargeArray<RouteQueue> route_queues_;  // See queue_node().
  LargeArray<Desk> desks_;
  LargeArray<Origin> origins_;
  LargeArray<std::uint32_t> origin_of_;  // The caller's index -> node.
  LargeArray<Lane> lanes_;
  HashIndex route_index_;
  HashIndex lane_index_;  // See lane_key().
  std::uint32_t vacant_route_ = 0;
  std::uint32_t vacant_lane_ = 0;
  std::uint32_t vacant_desk_ = 0;
  std::uint32_t vacant_origin_ = 0;

  List doomed_;    // Cancelled while queued.
  List leaving_;   // Servants that left while something was running.
  List closing_;   // Origins that went away.
  List released_;  // Route queues that lost their last holder while requests were waiting for it.
  List unbound_;   // Sticky origins whose requests wait for a servant to be bound to.
  List bound_ready_;                 // Free servants that bound requests wait for, in turn.
  std::uint32_t refused_count_ = 0;  // In Class::refused of all classes.
  std::uint32_t unbound_count_ = 0;
  std::uint32_t unbound_left_ = 0;        // How many of these are still to be looked at.
  std::uint32_t joinings_ = 0;            // Numbers given to servants that joined.
  List held_;                             // Servants of the present broadcast.
  std::uint32_t barrier_left_ = 0;        // Its requests that are not over; 0: there is none.
  std::uint32_t barrier_unsent_ = 0;      // How many of these were not submitted yet.
  std::uint32_t barrier_origin_ = kNone;  // Node.
  bool barrier_ready_ = false;            // One of them may be for a servant that runs nothing.
  std::uint32_t clear_cursor_ = 0;        // DrainExpired: slots below this are cleared.
  std::uint64_t draws_ = 0;               // Of two servants of another tier.

  Counters counters_;
};

}  // namespace mserve::broker
