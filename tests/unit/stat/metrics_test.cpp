// SPDX-License-Identifier: Apache-2.0
// The text that Prometheus reads, of snapshots that the tests make.
#include "stat/serve/metrics.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <set>
#include <sstream>
#include <string>

namespace mserve::stat {
namespace {

shm::MonitorSession session(std::uint32_t number, shm::Role role, const std::string& name,
                            const std::string& tags = {}) {
  shm::MonitorSession made;
  made.identity.number = number;
  made.identity.role = static_cast<std::uint32_t>(role);
  std::strncpy(made.identity.name, name.c_str(), sizeof made.identity.name - 1);
  std::strncpy(made.identity.tags, tags.c_str(), sizeof made.identity.tags - 1);
  return made;
}

std::string text_of(const shm::MonitorSnapshot& snapshot, Counters counters = {}) {
  return metrics_text({.broker = "desk",
                       .pid = 7,
                       .looks = 3,
                       .snapshot = &snapshot,
                       .counters = std::move(counters)});
}

bool has_line(const std::string& text, const std::string& line) {
  return ("\n" + text).find("\n" + line + "\n") != std::string::npos;
}

TEST(Metrics, WithoutABrokerTellThatAndNothingOfOne) {
  const std::string text = metrics_text({.broker = "desk", .looks = 1});
  EXPECT_TRUE(has_line(text, "mserve_up 0")) << text;
  EXPECT_NE(text.find("mserve_build_info{version=\""), std::string::npos);
  EXPECT_EQ(text.find("mserve_requests"), std::string::npos);
}

TEST(Metrics, AreInSecondsAndCumulative) {
  shm::MonitorSnapshot now;
  now.taken_at = 5'500'000'000;
  now.totals.told_at = 5'000'000'000;
  now.totals.started_at = 500'000'000;
  now.totals.queue_age_ns = 250'000'000;
  now.totals.poisoned = 2;
  for (const std::uint64_t ns : {100U, 127U, 128U, 1000U, 1024U}) {
    ++now.latency.queue.counts[shm::monitor_bucket_of(ns)];
    now.latency.queue.sum_ns += ns;
  }
  ++now.latency.queue.counts[shm::kMonitorBuckets - 1];  // beyond every edge
  const std::string text = text_of(now);
  EXPECT_TRUE(has_line(text, "mserve_up 1"));
  EXPECT_TRUE(has_line(text, "mserve_metrics_asked_total 3"));
  EXPECT_TRUE(has_line(text, "mserve_uptime_seconds 5"));
  EXPECT_TRUE(has_line(text, "mserve_data_thread_silence_seconds 0.5"));
  EXPECT_TRUE(has_line(text, "mserve_queue_age_seconds 0.25"));
  EXPECT_TRUE(has_line(text, "mserve_sessions_closed_total{reason=\"poisoned\"} 2"));
  EXPECT_TRUE(has_line(text, "mserve_queue_time_seconds_bucket{le=\"1.28e-07\"} 2")) << text;
  EXPECT_TRUE(has_line(text, "mserve_queue_time_seconds_bucket{le=\"2.56e-07\"} 3"));
  EXPECT_TRUE(has_line(text, "mserve_queue_time_seconds_bucket{le=\"1.024e-06\"} 4"));
  EXPECT_TRUE(has_line(text, "mserve_queue_time_seconds_bucket{le=\"2.048e-06\"} 5"));
  EXPECT_TRUE(has_line(text, "mserve_queue_time_seconds_bucket{le=\"+Inf\"} 6"));
  EXPECT_TRUE(has_line(text, "mserve_queue_time_seconds_count 6"));
  EXPECT_TRUE(has_line(text, "mserve_queue_time_seconds_sum 2.379e-06"));
}

TEST(Metrics, EscapeWhatOthersChoseAndSayTheGroup) {
  shm::MonitorSnapshot now;
  now.sessions.push_back(session(4, shm::Role::servant, "a\"b\\c\n\xff", "gpu group=hdb zone=x"));
  now.sessions.push_back(session(5, shm::Role::client, "client"));
  now.sessions.front().busy.hits = 9;
  now.routes.push_back({.hash = 0xab, .name = "x\"}y{", .answered = 3});
  const std::string text = text_of(now, {{"gateway_connections", 2}});
  EXPECT_TRUE(has_line(text,
                       "mserve_route_answered_total{route=\"x\\\"}y{\",hash="
                       "\"00000000000000ab\"} 3"))
      << text;
  EXPECT_TRUE(has_line(text,
                       "mserve_client_requests_total{client=\"5\",name=\"client\",role="
                       "\"client\"} 0"));
  EXPECT_TRUE(has_line(text, "mserve_broker_value{name=\"gateway_connections\"} 2"));
  const std::size_t hits = text.find("mserve_servant_hits_total{servant=\"4\",name=\"a\\\"b\\\\c");
  ASSERT_NE(hits, std::string::npos);
  const std::string line = text.substr(hits, text.find('\n', hits) - hits);
  EXPECT_NE(line.find("group=\"hdb\"} 9"), std::string::npos) << line;
  EXPECT_EQ(label_text("\n\x01\x7f\xc3\xa4~"), "?????~");
  EXPECT_EQ(group_of("x,group=a"), "a");
  EXPECT_EQ(group_of("group="), "");
  EXPECT_EQ(group_of("mygroup=a"), "");
}

// Goal: Prometheus takes it: each family once, told before its samples; and it stays small.
TEST(Metrics, AreWellFormedAndBounded) {
  shm::MonitorSnapshot now;
  for (std::uint32_t i = 1; i <= 300; ++i) {
    now.sessions.push_back(session(i, shm::Role::servant, "s"));
    now.sessions.back().latency.emplace();
    now.sessions.push_back(session(1000 + i, shm::Role::client, "c"));
    now.routes.push_back({.hash = i});
  }
  const std::string text = text_of(now, {{"sessions", 2}});
  EXPECT_TRUE(has_line(text, "mserve_left_out{what=\"servants\"} 44"));
  EXPECT_TRUE(has_line(text, "mserve_left_out{what=\"clients\"} 44"));
  EXPECT_TRUE(has_line(text, "mserve_left_out{what=\"routes\"} 200"));
  EXPECT_LT(text.size(), 4U << 20);

  std::set<std::string> families;
  std::set<std::string> samples;
  std::string family;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("# HELP ")) {
      family = line.substr(7, line.find(' ', 7) - 7);
      EXPECT_TRUE(families.insert(family).second) << family << " is told twice";
    } else if (!line.starts_with("# TYPE " + family + " ")) {
      EXPECT_TRUE(line.starts_with(family)) << line << " stands below " << family;
      EXPECT_TRUE(samples.insert(line.substr(0, line.rfind(' '))).second) << line << " is twice";
    }
  }
  EXPECT_GT(families.size(), 50U);
}

}  // namespace
}  // namespace mserve::stat
