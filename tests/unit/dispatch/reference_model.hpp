// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "dispatch/dispatcher.hpp"

// The Dispatcher's rules once more, slow and obvious: plain records, searched from end to end. It
// is told every event and every decision, and says what is wrong with a decision. It does not
// predict which of several right decisions comes.
namespace mserve::broker::test {

class ReferenceModel {
 public:
  ReferenceModel(const Limits& limits, const Options& options, bool always_same_options)
      : limits_(limits),
        options_(options),
        same_options_(always_same_options),
        servants_(limits.servants_max),
        origin_of_(limits.origins_max, -1) {}

  // "" or the first thing that was wrong.
  [[nodiscard]] const std::string& fault() const { return fault_; }

  void submit(const Submit& event, const Submitted& answer, Nanos now);
  void done(const Done& event, const Completion& answer, Nanos now);
  void reply_began(const ReplyBegan& event, bool answer);
  void cancel(RequestId id, Cancelled answer);
  void joined(const ServantJoined& event, bool answer, Nanos now);
  void left(std::uint32_t servant, bool answer, Nanos now);
  void suspended(std::uint32_t servant, bool answer);
  void resumed(std::uint32_t servant, bool answer);
  void expected(bool expected) { expected_ = expected; }
  void opened(std::uint32_t origin, bool answer);
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
    int origin = 0;  // Number of the opening, not the index.
    Nanos submitted = 0;
    Nanos dispatched = 0;
    std::uint32_t backlog = 0;
    bool running = false;
    std::uint32_t servant = 0;
    std::uint32_t sent = 0;
    bool listed = false;  // A servant of tier 1 was there when it came.
    std::uint32_t overtaken = 0;
    bool began = false;
    bool cancelled = false;
    bool overran = false;  // Its origin was told so; it still runs.
    // When its waiting or running ends: not before `due`, at `late` at the latest.
    Nanos due = kForever;
    Nanos late = kForever;
    bool limbo = false;  // Its servant left, and nothing was said about it yet.
  };
  struct Server {
    bool attached = false;
    bool suspended = false;
    bool remote = false;
    std::uint32_t credit = 0;
    std::uint32_t outstanding = 0;
    std::uint32_t overruns = 0;
    std::uint32_t weight = 1;
    std::map<std::uint64_t, Nanos> routes;  // What it holds, and when it was used last.
    std::uint64_t used = 0;                 // Stamp of the last change of its being free or busy.
  };
  struct Opening {
    std::uint32_t index = 0;
    bool open = true;
    // Since its last turn, or since it had something that must have a turn:
    bool backlogged = false;
    std::size_t turns_ahead = 0;
    std::size_t dispatched_by_others = 0;
  };

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
    return server.suspended || server.overruns != 0;
  }
  [[nodiscard]] static bool free(const Server& server) {
    return server.attached && !barred(server) && server.outstanding < server.credit;
  }
  [[nodiscard]] static bool free_local(const Server& server) {
    return free(server) && !server.remote;
  }
  [[nodiscard]] static bool free_remote(const Server& server) {
    return free(server) && server.remote;
  }
  [[nodiscard]] bool anybody(bool (*is)(const Server&)) const {
    return std::any_of(servants_.begin(), servants_.end(), is);
  }
  void unbarred(Server& server);
  void ended_running(const Asked& asked);
  // When a servant of tier 1 may run something, if no request is being sent again.
  [[nodiscard]] Nanos remote_due() const;
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
    return first_time(asked) && !unwanted(asked) &&
           (asked.submit.route == 0 || (same_options_ && wait() == 0));
  }
  [[nodiscard]] bool waits_for_busy_holder(const Asked& asked, Nanos now) const;
  [[nodiscard]] bool pair_ready(Nanos now) const;
  [[nodiscard]] std::uint64_t queued_bytes() const;
  void dispatched(Asked& asked, const Decision& decision, Nanos now, bool forced);
  void check_servant(const Asked& asked, std::uint32_t chosen, Nanos now);
  void check_remote(std::uint32_t chosen, Nanos now);
  void check_match(const Asked& asked, std::uint32_t chosen, Nanos now);
  void check_least(std::uint32_t chosen);
  void check_overrun(Asked& asked, const Decision& decision, Nanos now);
  static void limit(Asked& asked, Nanos timeout, Nanos now) {
    asked.due = asked.late = timeout == kForever ? kForever : now + timeout;
  }
  void take_route(Server& server, std::uint64_t route, Nanos now);
  void count_overtaking(const Asked& sent);
  void update_turns(int turn_of);
  void over(RequestId id);

  Limits limits_;
  Options options_;
  bool same_options_;
  bool timed_ = false;  // Some request had a limit.
  bool expected_ = true;
  bool draining_ = false;
  bool expired_ = false;
  std::uint64_t stamp_ = 0;
  std::uint32_t last_used_ = kNone;  // While the policy was even.
  Nanos remote_since_ = 0;
  std::vector<Server> servants_;
  std::vector<int> origin_of_;
  std::vector<Opening> openings_;
  std::vector<Asked> live_;  // In order of submission.
  std::vector<RequestId> past_;
  std::set<std::uint64_t> ids_;
  std::string fault_;
};

}  // namespace mserve::broker::test
