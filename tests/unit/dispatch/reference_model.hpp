// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "dispatch/dispatcher.hpp"

// The Dispatcher's rules once more, slow and obvious: plain records, searched from end to end. It
// is told every event and every decision, and says what is wrong with a decision. It does not
// predict which of several right decisions comes.
namespace mserve::broker::test {

class ReferenceModel {
 public:
  // With fallbacks the model does not know which requests have moved to theirs already, nor, with
  // sticky origins and several classes, which are ordinary ones, so it checks less about the order
  // and about who is chosen.
  ReferenceModel(const Limits& limits, const Options& options, bool always_same_options,
                 bool with_fallbacks)
      : limits_(limits),
        options_(options),
        same_options_(always_same_options),
        fallbacks_(with_fallbacks),
        servants_(limits.servants_max),
        origin_of_(limits.origins_max, -1) {
    pools_[0] = 1;
  }

  // "" or the first thing that was wrong.
  [[nodiscard]] const std::string& fault() const { return fault_; }

  void defined(const PoolDefined& event) { pools_[event.pool] = event.classes; }
  void defined(const ClassDefined& event);
  void submit(const Submit& event, const Submitted& answer, Nanos now);
  void done(const Done& event, const Completion& answer, Nanos now);
  void reply_began(const ReplyBegan& event, bool answer);
  void cancel(RequestId id, Cancelled answer);
  void joined(const ServantJoined& event, bool answer, Nanos now);
  void left(std::uint32_t servant, bool answer, Nanos now);
  void suspended(const ServantSuspended& event, bool answer);
  void resumed(std::uint32_t servant, bool answer);
  void expected(std::uint64_t classes) { expected_ = classes; }
  void opened(const OriginOpened& event, bool answer);
  void closed(std::uint32_t origin, bool answer);
  void drain_began() { draining_ = true; }
  void drain_expired() { draining_ = expired_ = true; }
  void set_options(const Options& options);

  // `counters` as they were before and are after this call of next().
  void decided(const Decision& decision, Nanos now, const Counters& before, const Counters& after);
  void observe(const Dispatcher& dispatcher);
  void quiet(const Dispatcher& dispatcher, Nanos now);  // next() said none

  // For the generator of random events.
  [[nodiscard]] std::vector<RequestId> live_ids() const;
  [[nodiscard]] std::vector<Done> running() const;
  [[nodiscard]] const std::vector<RequestId>& past_ids() const { return past_; }
  [[nodiscard]] bool attached(std::uint32_t servant) const {
    return servant < servants_.size() && servants_[servant].attached;
  }
  [[nodiscard]] std::size_t live() const { return live_.size(); }

 private:
  struct Asked {
    RequestId id;
    Submit submit;
    std::uint64_t classes = 1;         // Those that it may belong to now; one without fallbacks.
    bool broadcast = false;            // A part of the present broadcast, for `servant`.
    bool doomed_with_servant = false;  // Sticky, and a servant left that may have been its own.
    int origin = 0;                    // Number of the opening, not the index.
    Nanos submitted = 0;
    Nanos dispatched = 0;
    std::uint32_t backlog = 0;
    bool running = false;
    std::uint32_t servant = 0;
    std::uint32_t sent = 0;
    bool listed = false;  // Its arrival is known: always, or another tier was there when it came.
    std::uint32_t overtaken = 0;
    bool began = false;
    bool cancelled = false;
    bool overran = false;  // Its origin was told so; it still runs, and bars its servant.
    Nanos end = kForever;  // When it is over, whatever it does.
    // When its waiting or running ends: not before `due`, at `late` at the latest.
    Nanos due = kForever;
    Nanos late = kForever;
    bool limbo = false;  // Its servant left, and nothing was said about it yet.
  };
  struct Server {
    bool attached = false;
    bool suspended = false;
    bool held = false;  // By the present broadcast.
    std::uint32_t tier = 0;
    std::uint64_t home = 0;
    std::uint32_t credit = 0;
    std::uint32_t outstanding = 0;
    std::uint32_t overruns = 0;
    std::uint32_t weight = 1;
    std::uint32_t pool = 0;
    bool ends_overruns = false;
    std::map<std::uint64_t, Nanos> routes;  // What it holds, and when it was used last.
    std::uint64_t used = 0;                 // Stamp of the last change of its being free or busy.
  };
  struct Opening {
    std::uint32_t index = 0;
    bool open = true;
    bool sticky = false;
    std::uint32_t servant = kNone;  // sticky: the one that it is known to be bound to.
  };
  // What one origin has in one class at one priority. Since its last turn, or since it had
  // something that must have a turn:
  struct Turns {
    bool backlogged = false;
    std::size_t turns_ahead = 0;
    std::size_t dispatched_by_others = 0;
  };
  using TurnKey = std::pair<int, std::uint32_t>;  // Origin, class and priority.

  [[nodiscard]] static std::vector<Asked>::iterator find_in(std::vector<Asked>& list,
                                                            RequestId id) {
    return std::find_if(list.begin(), list.end(),
                        [&](const Asked& asked) { return asked.id == id; });
  }
  void check(bool holds, const char* what) {
    if (!holds && fault_.empty()) {
      fault_ = what;
    }
  }
  [[nodiscard]] bool unwanted(const Asked& asked) const {
    return asked.cancelled || !openings_[static_cast<std::size_t>(asked.origin)].open;
  }
  [[nodiscard]] static bool first_time(const Asked& asked) {
    return !asked.running && asked.sent == 0;
  }
  [[nodiscard]] static bool barred(const Server& server) {
    return server.suspended || server.held || server.overruns != 0;
  }
  [[nodiscard]] static bool free(const Server& server) {
    return server.attached && !barred(server) && server.outstanding < server.credit;
  }
  [[nodiscard]] static bool free_local(const Server& server) {
    return free(server) && server.tier == 0;
  }
  [[nodiscard]] bool may_run(const Server& server, std::uint32_t number) const {
    return (pools_[server.pool] >> number & 1) != 0;
  }
  // The class of a request, where there are no fallbacks.
  [[nodiscard]] static std::uint32_t class_of(const Asked& asked) {
    return static_cast<std::uint32_t>(std::countr_zero(asked.classes));
  }
  [[nodiscard]] static std::uint32_t queue_of(const Asked& asked) {
    return class_of(asked) * kPriorities + asked.submit.priority;
  }
  [[nodiscard]] std::uint32_t effective_class(std::uint32_t number) const;
  [[nodiscard]] bool hopeless(std::uint32_t number) const;
  void widen_classes();
  // It waits for one servant.
  [[nodiscard]] bool sticky(const Asked& asked) const {
    return asked.broadcast || openings_[static_cast<std::size_t>(asked.origin)].sticky;
  }
  // Routes of different classes have nothing to do with each other.
  [[nodiscard]] static std::uint64_t route_of(const Asked& asked) {
    return asked.submit.route == 0 ? 0 : asked.submit.route * kClassesMax + class_of(asked);
  }
  [[nodiscard]] bool anybody(std::uint32_t number, bool (*is)(const Server&)) const {
    return std::any_of(servants_.begin(), servants_.end(),
                       [&](const Server& server) { return may_run(server, number) && is(server); });
  }
  [[nodiscard]] bool anybody_for(const Asked& asked, bool (*is)(const Server&)) const {
    return anybody(class_of(asked), is);
  }
  void unbarred(Server& server);
  void ended_running(const Asked& asked);
  // When a servant of another tier may run something, if no request is being sent again.
  [[nodiscard]] Nanos remote_due(std::uint32_t number) const;
  [[nodiscard]] bool out_of_date(const Server& server, Nanos used, Nanos now) const {
    return server.outstanding == 0 && options_.route_expire != kForever &&
           now - used >= options_.route_expire;
  }
  [[nodiscard]] std::size_t routes_in_date(const Server& server, Nanos now) const {
    return static_cast<std::size_t>(
        std::count_if(server.routes.begin(), server.routes.end(),
                      [&](const auto& route) { return !out_of_date(server, route.second, now); }));
  }
  [[nodiscard]] bool holds(const Server& server, std::uint64_t route, Nanos now) const {
    const auto held = server.routes.find(route);
    return held != server.routes.end() && server.attached && !barred(server) &&
           !out_of_date(server, held->second, now);
  }
  [[nodiscard]] Nanos wait() const {
    return options_.policy == Policy::match ? options_.match_wait : 0;
  }
  [[nodiscard]] bool overdue(const Asked& asked, Nanos now) const {
    return wait() != kForever && now - asked.submitted >= wait();
  }
  // It is certain to have a turn in the ring: whether the others have depends on who holds what.
  [[nodiscard]] bool sure_of_turn(const Asked& asked) const {
    return first_time(asked) && !unwanted(asked) && !sticky(asked) && !fallbacks_ &&
           (asked.submit.route == 0 || (same_options_ && wait() == 0));
  }
  [[nodiscard]] bool waits_for_busy_holder(const Asked& asked, Nanos now) const;
  [[nodiscard]] bool pair_ready(std::uint32_t queue, Nanos now) const;
  [[nodiscard]] std::uint64_t queued_bytes() const;
  void dispatched(Asked& asked, const Decision& decision, Nanos now, bool forced, bool bound);
  void check_bound(Asked& asked, std::uint32_t chosen);
  [[nodiscard]] Refusal refusal_of_part(const Submit& event);
  void check_part(Asked& asked, std::uint32_t chosen);
  void end_part();
  void quiet_sticky(const Asked& asked);
  void check_oldest(const Dispatcher& dispatcher);
  void check_servant(const Asked& asked, std::uint32_t chosen, Nanos now);
  void check_remote(const Asked& asked, std::uint32_t chosen, Nanos now);
  void check_home(std::uint64_t route, const Server& server,
                  const std::vector<const Server*>& with);
  void check_match(const Asked& asked, std::uint32_t chosen, Nanos now);
  void check_least(const Asked& asked, std::uint32_t chosen);
  void check_overrun(Asked& asked, const Decision& decision, Nanos now);
  static void limit(Asked& asked, Nanos timeout, Nanos now) {
    asked.due = asked.late =
        std::min(timeout == kForever ? kForever : now + timeout, std::max(asked.end, now));
  }
  void take_route(Server& server, std::uint64_t route, Nanos now);
  void count_overtaking(const Asked& sent);
  void update_turns(const Asked* turn_of);
  void over(RequestId id);

  Limits limits_;
  Options options_;
  bool same_options_;
  bool fallbacks_;
  bool timed_ = false;  // Some request had a limit.
  std::uint64_t expected_ = kEveryClass;
  bool draining_ = false;
  bool expired_ = false;
  std::uint64_t stamp_ = 0;
  std::vector<std::uint32_t> last_used_ =
      std::vector<std::uint32_t>(kClassesMax, kNone);  // By class, while the policy was even.
  std::vector<Nanos> remote_since_ = std::vector<Nanos>(kClassesMax, 0);
  std::uint64_t barrier_left_ = 0;    // Parts of the present broadcast that are not over.
  std::uint64_t barrier_unsent_ = 0;  // Of these, not submitted yet.
  int barrier_origin_ = -1;
  std::vector<std::uint32_t> held_;  // In the order in which they came to be.
  bool counted_ = false;             // The last part counts, even if it was refused.
  std::vector<std::uint64_t> pools_ = std::vector<std::uint64_t>(kPoolsMax, 0);  // Their classes.
  std::vector<std::uint32_t> class_fallback_ = {kNone};  // Of those that are defined.
  std::map<TurnKey, Turns> turns_;
  std::map<std::uint32_t, std::uint32_t>
      passed_by_;  // Class and priority: turns of other priorities.
  std::vector<Server> servants_;
  std::vector<int> origin_of_;
  std::vector<Opening> openings_;
  std::vector<Asked> live_;  // In order of submission.
  std::vector<RequestId> past_;
  std::set<std::uint64_t> ids_;
  std::string fault_;
};

}  // namespace mserve::broker::test
