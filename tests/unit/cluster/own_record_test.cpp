// SPDX-License-Identifier: Apache-2.0
#include "cluster/own_record.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <string>

#include "mserve/shm/rendezvous.hpp"

namespace mserve::cluster {
namespace {

shm::MonitorSession session(shm::Role role, const std::string& tags, std::uint64_t running = 0,
                            std::uint32_t credit = 1) {
  shm::MonitorSession one;
  one.identity.number = 1;
  one.identity.role = static_cast<std::uint32_t>(role);
  one.identity.credit = credit;
  std::strncpy(one.identity.tags, tags.c_str(), sizeof(one.identity.tags) - 1);
  one.now.running = running;
  return one;
}

TEST(OwnRecord, CountsServantsByTheirTags) {
  shm::MonitorSnapshot seen;
  seen.totals.queued = 3;
  seen.totals.queue_age_ns = 12'999'999;
  seen.sessions = {session(shm::Role::servant, "group=hdb weight=3", 1),
                   session(shm::Role::servant, "weight=7 group=hdb"),
                   session(shm::Role::servant, "group=rdb", 2, 4),
                   session(shm::Role::servant, "", 9, 4),  // it runs longer than it may
                   session(shm::Role::client, "group=hdb")};
  BrokerRecord record{.id = "x"};
  count_servants(seen, record);
  EXPECT_EQ(record.servants, (std::vector<ServantGroup>{{.tags = "", .busy = 1},
                                                        {.tags = "group=hdb", .free = 1, .busy = 1},
                                                        {.tags = "group=rdb", .free = 1}}));
  EXPECT_EQ(record.queued, 3U);
  EXPECT_EQ(record.queue_age_ms, 12U);
  EXPECT_DOUBLE_EQ(record.load, 0.7);
  EXPECT_EQ(record.id, "x");
  count_servants({}, record);
  EXPECT_TRUE(record.servants.empty());
  EXPECT_EQ(record.load, 0);
}

TEST(OwnRecord, LeavesOutLinksAndWhoTakesNothing) {
  shm::MonitorSnapshot seen;
  seen.sessions = {session(shm::Role::servant, "peer=b group=hdb"),
                   session(shm::Role::servant, "a=1 peer=b"), session(shm::Role::servant, "a"),
                   session(shm::Role::servant, "b"), session(shm::Role::servant, "apeer=c")};
  seen.sessions[2].held = shm::kMonitorPaused;
  seen.sessions[3].now.flags = shm::kMonitorClosed;
  BrokerRecord record;
  count_servants(seen, record);
  EXPECT_EQ(record.servants, (std::vector<ServantGroup>{{.tags = "apeer=c", .free = 1}}));
}

TEST(OwnRecord, TagsThatWereCutLoseTheirLastWord) {
  shm::MonitorSnapshot seen;
  seen.sessions = {session(shm::Role::servant, "a " + std::string(200, 'b'))};
  BrokerRecord record;
  count_servants(seen, record);
  ASSERT_EQ(record.servants.size(), 1U);
  EXPECT_EQ(record.servants[0].tags, "a");
}

TEST(PublishPacer, WritesOnChangeAndAtMostOnceASecond) {
  PublishPacer pacer;
  BrokerRecord record{.id = "x", .epoch = 1};
  constexpr std::uint64_t kMs = 1'000'000;
  std::uint64_t now = 5'000 * kMs;
  EXPECT_TRUE(pacer.due(record, now));
  EXPECT_FALSE(pacer.due(record, now + 60'000 * kMs)) << "nothing new";
  record.load = 0.5;
  EXPECT_FALSE(pacer.due(record, now + 999 * kMs));
  EXPECT_TRUE(pacer.due(record, now + 1'000 * kMs));
  now += 1'000 * kMs;
  record.draining = true;
  EXPECT_TRUE(pacer.due(record, now)) << "at once";
  record.epoch = 2;
  EXPECT_TRUE(pacer.due(record, now)) << "at once";
  record.document = {.version = 7};
  EXPECT_TRUE(pacer.due(record, now)) << "at once";
  EXPECT_FALSE(pacer.due(record, now + 1'000 * kMs));
  pacer.forget();
  EXPECT_TRUE(pacer.due(record, now));
}

}  // namespace
}  // namespace mserve::cluster
