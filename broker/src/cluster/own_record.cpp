// SPDX-License-Identifier: Apache-2.0
#include "cluster/own_record.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <string>

#include "control/servant_tags.hpp"

namespace mserve::cluster {

namespace {

/// What is shown of tags is cut to fit there, maybe in the middle of a word.
std::string whole_tags(const shm::MonitorSession& session) {
  std::string tags = session.tags();
  if (tags.size() + 1 >= sizeof(session.identity.tags)) {
    tags.erase(std::min(tags.find_last_of(' '), tags.size()));
  }
  return tags;
}

/// The load is what changes all the time: two digits are as much as anybody looks at.
double rounded(double load) {
  constexpr double kHundred = 100;
  return std::round(load * kHundred) / kHundred;
}

}  // namespace

void count_servants(const shm::MonitorSnapshot& seen, BrokerRecord& record) {
  std::map<std::string, ServantGroup> groups;
  std::uint64_t running = 0;
  std::uint64_t credit = 0;
  for (const shm::MonitorSession& session : seen.sessions) {
    const std::string tags = whole_tags(session);
    if (!session.is(shm::Role::servant) || !session.attached() || session.held != 0 ||
        broker::is_link(tags)) {
      continue;
    }
    const std::string words = servant_tags(tags);
    if (!groups.contains(words) && groups.size() >= kServantGroupsMax) {
      continue;
    }
    ServantGroup& group = groups[words];
    group.tags = words;
    const std::uint64_t most = std::max(session.identity.credit, 1U);
    ++(session.now.running < most ? group.free : group.busy);
    running += std::min(session.now.running, most);
    credit += most;
  }
  record.servants.clear();
  for (auto& [words, group] : groups) {
    record.servants.push_back(std::move(group));
  }
  constexpr std::uint64_t kNsPerMs = 1'000'000;
  record.queued = seen.totals.queued;
  record.queue_age_ms = seen.totals.queue_age_ns / kNsPerMs;
  record.load =
      credit > 0 ? rounded(static_cast<double>(running) / static_cast<double>(credit)) : 0;
}

bool PublishPacer::due(const BrokerRecord& record, std::uint64_t now) {
  if (last_ &&
      (record == *last_ || (record.epoch == last_->epoch && record.draining == last_->draining &&
                            record.document == last_->document && now < at_ + kEveryNs))) {
    return false;
  }
  last_ = record;
  at_ = now;
  return true;
}

}  // namespace mserve::cluster
