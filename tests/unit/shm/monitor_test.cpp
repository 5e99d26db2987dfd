// SPDX-License-Identifier: Apache-2.0
#include "mserve/shm/monitor.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <thread>

#include "mserve/shm/unique_fd.hpp"

namespace mserve::shm {
namespace {

class Monitor : public ::testing::Test {
 protected:
  static constexpr std::uint32_t kSessions = 16;

  void SetUp() override {
    const std::string broker = "mon-" + std::to_string(::getpid()) + "-" +
                               ::testing::UnitTest::GetInstance()->current_test_info()->name();
    auto counters = CountersWriter::create(
        {.broker = broker.substr(0, 60), .broker_epoch = 9, .group = std::nullopt});
    ASSERT_TRUE(counters);
    counters_.emplace(std::move(counters).value());
  }
  [[nodiscard]] Result<MonitorSegment> create() const {
    return MonitorSegment::create(
        {.counters_name = counters_->name(), .broker_epoch = 9, .sessions = kSessions});
  }
  [[nodiscard]] Result<MonitorReader> open() const {
    return MonitorReader::open(counters_->name(), ::geteuid());
  }
  static std::string file(const std::string& name) { return "/dev/shm/" + name; }

  std::optional<CountersWriter> counters_;
};

void fill(MonitorRow& row, const MonitorIdentity& identity) {
  row.version.begin_change();
  row.identity.put(identity);
  row.version.end_change();
}

TEST(MonitorBuckets, CoverAllTimesWithoutGaps) {
  for (std::uint32_t i = 0; i < kMonitorBuckets; ++i) {
    const std::uint64_t begin = monitor_bucket_begin(i);
    const std::uint64_t end = monitor_bucket_begin(i + 1);
    ASSERT_LT(begin, end);
    EXPECT_EQ(monitor_bucket_of(begin), i);
    EXPECT_EQ(monitor_bucket_of(end - 1), i);
    EXPECT_LE(end - begin, std::max<std::uint64_t>(1, begin / 4)) << "a quarter of its values";
  }
  EXPECT_EQ(monitor_bucket_of(UINT64_MAX), kMonitorBuckets - 1);
}

TEST(MonitorHistogram, TellsPercentilesWithinAQuarter) {
  MonitorHistogram histogram;
  EXPECT_EQ(histogram.percentile_ns(50), 0);
  EXPECT_EQ(histogram.max_ns(), 0U);
  ++histogram.counts[0];
  EXPECT_EQ(histogram.max_ns(), 0U) << "all took nothing: not 1 ns";
  histogram = {};
  for (std::uint64_t ns = 1; ns <= 10'000; ++ns) {
    ++histogram.counts[monitor_bucket_of(ns)];
    histogram.sum_ns += ns;
  }
  EXPECT_EQ(histogram.count(), 10'000U);
  EXPECT_DOUBLE_EQ(histogram.mean_ns(), 5000.5);
  EXPECT_NEAR(histogram.percentile_ns(50), 5000, 100) << "evenly spread within a bucket";
  EXPECT_NEAR(histogram.percentile_ns(99), 9900, 400);
  EXPECT_GE(histogram.percentile_ns(100), 10'000);
  EXPECT_EQ(histogram.percentile_ns(200), histogram.percentile_ns(100));
  EXPECT_EQ(histogram.percentile_ns(std::numeric_limits<double>::quiet_NaN()),
            histogram.percentile_ns(0));
  MonitorHistogram later = histogram;
  later.counts[monitor_bucket_of(50)] += 3;
  later.sum_ns += 150;
  EXPECT_EQ(later.since(histogram).count(), 3U);
  EXPECT_EQ(later.since(histogram).sum_ns, 150U);
  EXPECT_EQ(histogram.since(later).count(), 0U) << "after a restart nothing is negative";
}

TEST_F(Monitor, IsSeenByAReaderAndGoneWithItsWriter) {
  EXPECT_EQ(open().error().code, Errc::no_broker) << "not told yet";
  std::string name;
  {
    auto segment = create();
    ASSERT_TRUE(segment) << segment.error().where;
    name = segment.value().name();
    counters_->tell_monitor(segment.value().suffix());
    struct stat status {};
    ASSERT_EQ(::stat(file(name).c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777U, 0600U);
    MonitorIdentity servant{.number = 3,
                            .role = static_cast<std::uint32_t>(Role::servant),
                            .pid = 77,
                            .credit = 2,
                            .book = 1};
    std::strcpy(servant.name, "hdb\x01");
    fill(segment.value().rows()[2], servant);
    segment.value().rows()[2].held.store(kMonitorPaused, std::memory_order_relaxed);
    segment.value().rows()[2].busy.hits.add(4);
    segment.value().rows()[2].now.put({.running = 2, .in_bytes = 64});
    segment.value().books()[1].whole.record(1000);
    segment.value().books()[0].whole.record(5000);
    segment.value().broker().in.record(60);
    segment.value().broker().totals.put({.told_at = 5, .queued = 6, .worked = 7});

    const auto opened = open();
    ASSERT_TRUE(opened) << opened.error().where;
    const MonitorReader& reader = opened.value();
    EXPECT_EQ(reader.broker_epoch(), 9U);
    EXPECT_EQ(reader.pid(), ::getpid());
    const MonitorSnapshot seen = reader.snapshot();
    ASSERT_EQ(seen.sessions.size(), 1U);
    const MonitorSession& session = seen.sessions.front();
    EXPECT_EQ(session.name(), "hdb?") << "nothing that would act on a terminal";
    EXPECT_TRUE(session.is(Role::servant));
    EXPECT_EQ(session.identity.pid, 77);
    EXPECT_EQ(session.held, kMonitorPaused);
    EXPECT_EQ(session.busy.hits, 4U);
    EXPECT_EQ(session.now.in_bytes, 64U);
    ASSERT_TRUE(session.latency.has_value());
    EXPECT_EQ(session.latency->whole.count(), 1U);
    EXPECT_EQ(seen.latency.whole.count(), 2U) << "with those that have left";
    EXPECT_EQ(seen.latency.whole.sum_ns, 6000U);
    EXPECT_EQ(seen.broker.in.count(), 1U);
    EXPECT_EQ(seen.totals.queued, 6U);
    EXPECT_EQ(seen.totals.worked, 7U);
    EXPECT_TRUE(reader.current());
    segment.value().rows()[2].version.begin_change();
    EXPECT_TRUE(reader.sessions().empty()) << "a row that is being changed is left out";
  }
  EXPECT_FALSE(std::filesystem::exists(file(name)));
}

TEST_F(Monitor, ReaderKnowsWhenItsBrokerIsNotTheCurrentOne) {
  auto first = create();
  ASSERT_TRUE(first);
  counters_->tell_monitor(first.value().suffix());
  const auto reader = open();
  ASSERT_TRUE(reader);
  { const MonitorSegment over = std::move(first).value(); }
  EXPECT_FALSE(reader.value().current());
  EXPECT_TRUE(reader.value().sessions().empty()) << "what it mapped is still there";
  const auto second = MonitorSegment::create(
      {.counters_name = counters_->name(), .broker_epoch = 10, .sessions = kSessions});
  ASSERT_TRUE(second);
  EXPECT_FALSE(reader.value().current());
}

TEST_F(Monitor, WhatAKilledBrokerLeftIsReplacedAndAStrangersNameIsAvoided) {
  for (const std::string& left :
       {monitor_name(counters_->name(), 0), monitor_name(counters_->name() + ".2", 0)}) {
    const UniqueFd fd(::shm_open(left.c_str(), O_RDWR | O_CREAT | O_EXCL, 0600));
    ASSERT_TRUE(static_cast<bool>(fd));
  }
  {
    const auto segment = create();
    ASSERT_TRUE(segment);
    EXPECT_EQ(segment.value().suffix(), 0U);
    EXPECT_FALSE(std::filesystem::exists(file(monitor_name(counters_->name() + ".2", 0))));
  }
  const std::string squatted = file(monitor_name(counters_->name(), 0));
  ASSERT_EQ(::symlink("/nonexistent", squatted.c_str()), 0);
  const auto segment = create();
  ::unlink(squatted.c_str());
  ASSERT_TRUE(segment);
  EXPECT_EQ(segment.value().suffix(), 1U);
  counters_->tell_monitor(1);
  EXPECT_TRUE(open());
}

TEST_F(Monitor, AReaderSurvivesNonsenseOfEveryKind) {
  auto segment = create();
  ASSERT_TRUE(segment);
  counters_->tell_monitor(0);
  const UniqueFd fd(::shm_open(segment.value().name().c_str(), O_RDWR, 0600));
  ASSERT_TRUE(static_cast<bool>(fd));
  const std::uint64_t bytes = std::filesystem::file_size(file(segment.value().name()));
  const auto opened = open();
  ASSERT_TRUE(opened);
  for (const char junk : {'\xff', '\x7e', '\x01', '\x02'}) {
    const std::string all(bytes - sizeof(MonitorHeader), junk);
    ASSERT_EQ(::pwrite(fd.get(), all.data(), all.size(), sizeof(MonitorHeader)),
              static_cast<ssize_t>(all.size()));
    const MonitorSnapshot seen = opened.value().snapshot();
    EXPECT_LE(seen.sessions.size(), kSessions);
    for (const MonitorSession& session : seen.sessions) {
      EXPECT_LT(session.name().size(), sizeof(MonitorIdentity::name) + 1);
      EXPECT_EQ(session.name().find_first_of("\x01\x02\xff"), std::string::npos);
    }
    EXPECT_LE(seen.routes.size(), std::size_t{kMonitorRouteSets} * kMonitorWays);
    for (const MonitorRoute& route : seen.routes) {
      EXPECT_LE(route.error, route.answered);
      EXPECT_LE(route.hits, route.answered);
    }
    (void)seen.latency.whole.percentile_ns(99.9);
    EXPECT_LE(opened.value().events().size(), kMonitorEvents);
    (void)opened.value().events(UINT64_MAX);
  }
  const auto store = [&](std::size_t at, std::uint32_t value) {
    ASSERT_EQ(::pwrite(fd.get(), &value, sizeof(value), static_cast<off_t>(at)), 4);
  };
  for (const std::uint32_t sessions : {0U, kSessions + 1, UINT32_MAX}) {
    store(offsetof(MonitorHeader, sessions), sessions);
    EXPECT_EQ(open().error().code, Errc::bad_segment) << sessions;
  }
  store(offsetof(MonitorHeader, sessions), kSessions);
  EXPECT_TRUE(open());
  store(0, std::uint32_t{kMonitorMajor + 1U} << 16);
  EXPECT_EQ(open().error().code, Errc::version_mismatch);
  store(4, 1);
  EXPECT_EQ(open().error().code, Errc::bad_segment);
  ASSERT_EQ(::ftruncate(fd.get(), 100), 0);
  EXPECT_EQ(open().error().code, Errc::bad_segment);
}

TEST_F(Monitor, NoReaderSeesHalfAChange) {
  auto segment = create();
  ASSERT_TRUE(segment);
  counters_->tell_monitor(0);
  const auto reader = open();
  ASSERT_TRUE(reader);
  std::atomic<bool> over{false};
  std::thread writer([&] {
    for (std::uint32_t i = 1; !over.load(std::memory_order_relaxed); ++i) {
      MonitorIdentity who{
          .number = 1, .generation = i, .uid = i, .credit = i, .attached_at = std::int64_t{i}};
      std::memset(who.tags, 'a' + static_cast<int>(i % 26), sizeof(who.tags) - 1);
      fill(segment.value().rows()[0], who);
      MonitorEvent& event = segment.value().events()[i % kMonitorEvents];
      event.version.begin_change();
      event.words.put({.at = i, .session = i, .code = i});
      event.version.end_change();
    }
  });
  segment.value().broker().events.store(kMonitorEvents, std::memory_order_relaxed);
  for (int seen = 0, looks = 0; seen < 500 && looks < 1'000'000; ++looks) {
    for (const MonitorSession& session : reader.value().sessions()) {
      const MonitorIdentity& who = session.identity;
      EXPECT_EQ(who.uid, who.generation);
      EXPECT_EQ(who.credit, who.generation);
      EXPECT_EQ(who.attached_at, who.generation);
      EXPECT_EQ(session.tags(), std::string(sizeof(who.tags) - 1, session.tags().front()));
      ++seen;
    }
    for (const MonitorHappening& event : reader.value().events()) {
      EXPECT_EQ(event.at, event.session);
    }
    if (::testing::Test::HasFailure()) {
      break;
    }
  }
  over.store(true, std::memory_order_relaxed);
  writer.join();
}

}  // namespace
}  // namespace mserve::shm
