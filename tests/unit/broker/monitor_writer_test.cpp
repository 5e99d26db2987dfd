// SPDX-License-Identifier: Apache-2.0
// What the data thread and the control thread show, as a reader sees it.
#include "data/monitor_writer.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <optional>

#include "control/monitor_board.hpp"
#include "mserve/shm/monitor.hpp"

namespace mserve::broker {
namespace {

constexpr std::uint32_t kSessions = 300;  // more than there are books

class MonitorWriting : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string name = "writing-" + std::to_string(::getpid());
    auto counters =
        shm::CountersWriter::create({.broker = name, .broker_epoch = 1, .group = std::nullopt});
    ASSERT_TRUE(counters);
    counters_.emplace(std::move(counters).value());
    auto segment = shm::MonitorSegment::create(
        {.counters_name = counters_->name(), .broker_epoch = 1, .sessions = kSessions});
    ASSERT_TRUE(segment);
    segment_.emplace(std::move(segment).value());
    counters_->tell_monitor(segment_->suffix());
    board_.emplace(*segment_);
    writer_.emplace(*segment_, kSessions, 0);
    auto reader = shm::MonitorReader::open(counters_->name(), ::geteuid());
    ASSERT_TRUE(reader);
    reader_.emplace(std::move(reader).value());
  }
  std::unique_ptr<Session> attach(std::uint32_t number, shm::Role role, const std::string& name) {
    auto session = std::make_unique<Session>();
    session->number = number;
    session->generation = number + 1;
    session->role = role;
    session->name = name;
    board_->attach(*session);
    writer_->attached(*session);
    return session;
  }
  /// A request that waited for `queued` and ran for `ran`.
  void serve(const Session& servant, std::uint64_t route, Nanos queued, Nanos ran, bool hit = false,
             bool failed = false) {
    RequestRecord record;
    record.route = route;
    record.submitted_at = 1000;
    record.dispatched_at = 1000 + queued;
    hits_ += hit ? 1 : 0;
    writer_->dispatched(servant.number, record, hits_);
    EXPECT_EQ(record.warm, hit);
    writer_->answered(servant.number, record, 1000 + queued + ran, failed);
  }

  std::optional<shm::CountersWriter> counters_;
  std::optional<shm::MonitorSegment> segment_;
  std::optional<MonitorBoard> board_;
  std::optional<MonitorWriter> writer_;
  std::optional<shm::MonitorReader> reader_;
  std::uint64_t hits_ = 0;
};

TEST_F(MonitorWriting, CountsPerServantAndInTotalAndForgetsNothingWhenOneLeaves) {
  const auto first = attach(4, shm::Role::servant, "first");
  const auto second = attach(5, shm::Role::servant, "second");
  const auto client = attach(6, shm::Role::client, "desk");
  writer_->admitted(6);
  writer_->replied(6);
  serve(*first, 7, 0, 100, true);
  serve(*first, 7, 50, 200, false, true);
  serve(*second, 0, 10, 3000);
  auto seen = reader_->snapshot();
  ASSERT_EQ(seen.sessions.size(), 3U);
  const shm::MonitorSession& one = seen.sessions[0];
  EXPECT_EQ(one.identity.number, 5U);
  EXPECT_EQ(one.busy.requests, 2U);
  EXPECT_EQ(one.busy.answered, 2U);
  EXPECT_EQ(one.busy.hits, 1U);
  EXPECT_EQ(one.busy.errors, 1U);
  EXPECT_EQ(one.latency->execution.sum_ns, 300U);
  EXPECT_EQ(one.latency->queue.sum_ns, 50U);
  EXPECT_EQ(one.latency->whole.sum_ns, 350U);
  // Whether or not it waited, each request is in all three.
  EXPECT_EQ(one.latency->queue.count(), 2U);
  EXPECT_EQ(one.latency->queue.counts[0], 1U);
  EXPECT_EQ(one.latency->execution.count(), 2U);
  EXPECT_EQ(one.latency->whole.counts[shm::monitor_bucket_of(100)], 1U);
  EXPECT_EQ(one.latency->whole.counts[shm::monitor_bucket_of(250)], 1U);
  EXPECT_FALSE(seen.sessions[2].latency.has_value()) << "clients run nothing";
  EXPECT_EQ(seen.sessions[2].busy.requests, 1U);
  EXPECT_EQ(seen.latency.execution.count(), 3U);

  writer_->lost(4, 1);
  writer_->closing(*first, Errc::bad_frame);
  EXPECT_EQ(reader_->latency().execution.count(), 3U) << "as long as the row is there";
  EXPECT_EQ(reader_->sessions()[0].now.flags, shm::kMonitorClosed);
  board_->detach(*first);
  seen = reader_->snapshot();
  EXPECT_EQ(seen.sessions.size(), 2U);
  EXPECT_EQ(seen.latency.execution.count(), 3U);
  EXPECT_EQ(seen.latency.execution.sum_ns, 3300U);
  // Its row and its book are somebody else's now, who starts with nothing.
  const auto third = attach(4, shm::Role::servant, "third");
  EXPECT_EQ(third->book, first->book);
  seen = reader_->snapshot();
  EXPECT_EQ(seen.sessions[0].busy.requests, 0U);
  EXPECT_EQ(seen.sessions[0].latency->execution.count(), 0U);
  shm::MonitorTotals totals;
  writer_->publish(totals, 5);
  EXPECT_EQ(reader_->totals().poisoned, 1U);
  EXPECT_EQ(reader_->totals().told_at, 5U);
}

TEST_F(MonitorWriting, ServantsBeyondTheLastBookShareOne) {
  std::vector<std::unique_ptr<Session>> servants;
  for (std::uint32_t i = 0; i < kSessions; ++i) {
    servants.push_back(attach(i, shm::Role::servant, "s"));
    serve(*servants.back(), 0, 1, 2);
  }
  const auto seen = reader_->snapshot();
  std::size_t with_latency = 0;
  for (const shm::MonitorSession& session : seen.sessions) {
    with_latency += session.latency ? 1 : 0;
    EXPECT_EQ(session.busy.answered, 1U);
  }
  EXPECT_EQ(with_latency, shm::kMonitorBooksMax - 1);
  EXPECT_EQ(seen.latency.whole.count(), kSessions);
  for (const auto& servant : servants) {
    writer_->closing(*servant, Errc::disconnected);
    board_->detach(*servant);
  }
  EXPECT_EQ(reader_->latency().whole.count(), kSessions);
  EXPECT_EQ(attach(0, shm::Role::servant, "again")->book != 0, true);
}

TEST_F(MonitorWriting, RoutesUsedMostStayAndTheirCountsAreBoundedByTheError) {
  const auto servant = attach(0, shm::Role::servant, "s");
  constexpr std::uint64_t kHot = 1'000'003;
  // Many more routes than places, and one hot one in between.
  for (std::uint64_t i = 1; i <= 20'000; ++i) {
    serve(*servant, i * 0x9e3779b97f4a7c15ULL, 0, 10);
    if (i % 4 == 0) {
      serve(*servant, kHot, 0, 100, i % 8 == 0);
    }
  }
  const auto routes = reader_->routes();
  ASSERT_FALSE(routes.empty());
  EXPECT_LE(routes.size(), std::size_t{shm::kMonitorRouteSets} * shm::kMonitorWays);
  EXPECT_EQ(routes.front().hash, kHot);
  EXPECT_GE(routes.front().answered, 5000U) << "never too few";
  EXPECT_LE(routes.front().answered - routes.front().error, 5000U);
  EXPECT_EQ(routes.front().execution_ns, 100 * (routes.front().answered - routes.front().error));
  EXPECT_EQ(routes.front().name, "");
}

TEST_F(MonitorWriting, AgeOfTheQueueIsThatOfTheOldestThatStillWaits) {
  std::vector<RequestRecord> records(8);
  const auto queue = [&](std::uint32_t slot, Nanos at) {
    records[slot].id = {slot, 1};
    records[slot].submitted_at = at;
    writer_->queued(records[slot], at);
  };
  constexpr Nanos kMs = 1'000'000;
  queue(0, 1 * kMs);
  queue(1, 1 * kMs + 1);  // within the same millisecond: not remembered
  queue(2, 3 * kMs);
  EXPECT_EQ(writer_->queue_age(records, 10 * kMs), 9 * kMs);
  records[0].servant_session = 5;  // sent
  EXPECT_EQ(writer_->queue_age(records, 10 * kMs), 7 * kMs);
  records[2].id = {2, 2};  // over, and its slot used again
  EXPECT_EQ(writer_->queue_age(records, 10 * kMs), 0U);
}

TEST_F(MonitorWriting, EventsAreBoundedAndCanBeFollowed) {
  for (int i = 1; i <= 300; ++i) {
    board_->tell(shm::MonitorEventKind::order, "pause " + std::to_string(i) + std::string(200, 'x'),
                 nullptr, Errc::busy);
  }
  auto events = reader_->events();
  ASSERT_EQ(events.size(), shm::kMonitorEvents);
  EXPECT_EQ(events.front().number, 45U);
  EXPECT_EQ(events.back().number, 300U);
  EXPECT_EQ(events.back().text.substr(0, 11), "pause 300xx");
  EXPECT_EQ(events.back().text.size(), 95U);
  EXPECT_EQ(events.back().code, Errc::busy);
  EXPECT_GT(events.back().at, 0);
  EXPECT_TRUE(reader_->events(300).empty());
  board_->tell(shm::MonitorEventKind::draining, "an\x1b[31mescape");
  events = reader_->events(300);
  ASSERT_EQ(events.size(), 1U);
  EXPECT_EQ(events[0].text, "an?[31mescape");
  EXPECT_STREQ(to_string(events[0].kind), "draining");
}

TEST_F(MonitorWriting, OneOf64IsMeasured) {
  shm::TscClock clock(0);
  for (int i = 0; i < 640; ++i) {
    writer_->begin_in(clock);
    writer_->end_in(clock);
    writer_->begin_out(clock);  // and dropped
  }
  writer_->end_out(clock);
  EXPECT_EQ(reader_->broker_times().in.count(), 10U);
  EXPECT_EQ(reader_->broker_times().out.count(), 1U);
}

}  // namespace
}  // namespace mserve::broker
