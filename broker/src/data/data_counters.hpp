// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "mserve/shm/counters.hpp"

namespace mserve::broker {

/// The data thread's counters, in the order in which they are shown. It alone stores to them.
struct DataCounters {
  shm::Counter* requests;   ///< Accepted from clients.
  shm::Counter* refused;    ///< Not accepted: answered at once with busy, no servant or the like.
  shm::Counter* replies;    ///< Whole answers handed to clients' rings or kept for them.
  shm::Counter* errors;     ///< Accepted ones that ended with a status of the broker's.
  shm::Counter* discarded;  ///< Ended when nobody waited for the answer any more.
  shm::Counter* stale;      ///< Replies with an id that is not running there or ran too long.
  shm::Counter* retried;    ///< Sent again because their servant died.
  shm::Counter* queue_timeouts;  ///< Waited too long for a servant.
  shm::Counter* overruns;        ///< Ran too long.
  shm::Counter* interrupts;      ///< Servants told that nobody wants what they run.
  shm::Counter* fragments_in;    ///< Request fragments taken.
  shm::Counter* fragments_out;   ///< Reply fragments sent.
  shm::Counter* kept;            ///< Answers that had to wait for a slow client.
  shm::Counter* sessions;        ///< Attached now.
  shm::Counter* servants;        ///< Attached now.
  shm::Counter* attached;        ///< Sessions since the start.
  shm::Counter* closed;          ///< Sessions that this side closed: poisoned, slow or stalled.
  shm::Counter* queued;          ///< Requests waiting for a servant now.
  shm::Counter* running;         ///< Requests with a servant now.
  shm::Counter* affinity_hits;   ///< Sent to a servant that held the route.
  shm::Counter* remote;          ///< Sent to a servant of tier 1 to 3.
  shm::Counter* policy_faults;   ///< Wrong answers of the policy plugin.
  shm::Counter* wakes;           ///< Peers woken.
  shm::Counter* sleeps;          ///< Times that the data thread slept.
  shm::Counter* stamps_dropped;  ///< Requests that --slow or --trace had no room for.
  shm::Counter* not_repeatable;  ///< Repeatable requests of which no copy was kept for a lost link.
  shm::Counter* sent_elsewhere;  ///< Put back for others, since a link's peer did not run them.

  /// Adds them all to the broker's counters segment.
  static DataCounters add_to(shm::CountersWriter& writer);
};

}  // namespace mserve::broker
