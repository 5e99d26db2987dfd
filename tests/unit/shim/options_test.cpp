// SPDX-License-Identifier: Apache-2.0
#include "shim/options.hpp"

#include <gtest/gtest.h>

#include "shim/backoff.hpp"
#include "shim/shim_log.hpp"

namespace mserve::shim {
namespace {

TEST(QEndpoint, HostAndPort) {
  struct Case {
    const char* text;
    const char* host;
    const char* port;
    const char* shown;
  };
  for (const Case& c : {Case{"dbhost:5001", "dbhost", "5001", "dbhost:5001"},
                        Case{":5001", "127.0.0.1", "5001", "127.0.0.1:5001"},
                        Case{"5001", "127.0.0.1", "5001", "127.0.0.1:5001"},
                        Case{"[::1]:5001", "::1", "5001", "[::1]:5001"}}) {
    const auto endpoint = parse_endpoint(c.text);
    ASSERT_TRUE(endpoint) << c.text;
    EXPECT_FALSE(endpoint->local);
    EXPECT_EQ(endpoint->host, c.host);
    EXPECT_EQ(endpoint->port, c.port);
    EXPECT_EQ(endpoint->text(), c.shown);
  }
  for (const char* text : {"", ":", "host", "host:", "host:0", "host:65536", "host:50x", "::1:5001",
                           "host:-1", "host: 5001"}) {
    EXPECT_FALSE(parse_endpoint(text)) << text;
  }
}

TEST(QEndpoint, LocalByPortOrPath) {
  EXPECT_EQ(parse_local_endpoint("5001", nullptr)->path, "/tmp/kx.5001");
  EXPECT_EQ(parse_local_endpoint("5001", "")->path, "/tmp/kx.5001");
  EXPECT_EQ(parse_local_endpoint("5001", "/run/q")->path, "/run/q/kx.5001");
  EXPECT_EQ(parse_local_endpoint("/run/q/sock", "/else")->path, "/run/q/sock");
  EXPECT_TRUE(parse_local_endpoint("5001", nullptr)->local);
  EXPECT_TRUE(parse_local_endpoint(std::string(107, 'x'), nullptr));
  EXPECT_FALSE(parse_local_endpoint(std::string(108, 'x'), nullptr));
  EXPECT_FALSE(parse_local_endpoint("", nullptr));
}

TEST(ShimOptions, NamesComeFromTheBrokerElseFromTheEndpoint) {
  const QEndpoint tcp = *parse_endpoint(":5001");
  EXPECT_EQ(default_name(tcp, "3"), "mserve-qshim-3");
  EXPECT_EQ(default_name(tcp, nullptr), "127.0.0.1-5001");
  EXPECT_EQ(default_name(tcp, ""), "127.0.0.1-5001");
  EXPECT_EQ(default_name(tcp, "3; rm"), "127.0.0.1-5001");
  EXPECT_EQ(default_name(*parse_endpoint("[::1]:5001"), nullptr), "---1--5001");
  EXPECT_EQ(default_name(*parse_local_endpoint("5001", nullptr), nullptr), "kx.5001");
  const std::string host(60, 'h');
  EXPECT_EQ(default_name(*parse_endpoint(host + ":5001"), nullptr), std::string(26, 'h') + "-5001");
}

TEST(ShimOptions, EveryFaultIsToldAtOnce) {
  ShimOptions good;
  good.q = *parse_endpoint(":5001");
  EXPECT_EQ(good.validate(), "");
  ShimOptions bad;
  bad.broker = ".hidden";
  bad.name = "two words";
  bad.tags = std::string(256, 'x');
  bad.credit = 0;
  bad.tier = 4;
  bad.probe_timeout_ns = 0;
  bad.retry_ns_max = 1;
  bad.max_gathered = 1;
  const std::string faults = bad.validate();
  for (const char* option : {"--q ", "--broker", "--name", "--tags", "--tier", "--credit",
                             "--probe-timeout", "--retry-min", "--max-gathered"}) {
    EXPECT_NE(faults.find(option), std::string::npos) << option << " in\n" << faults;
  }
}

TEST(Backoff, PausesDoubleUpToTheirBoundAndStartAgain) {
  Backoff backoff(10, 40);
  EXPECT_EQ(backoff.wait_ns(0), 0U);
  std::uint64_t now = 1000;
  for (const std::uint64_t pause : {10U, 20U, 40U, 40U}) {
    backoff.failed(now);
    EXPECT_EQ(backoff.wait_ns(now), pause);
    EXPECT_EQ(backoff.wait_ns(now + pause - 1), 1U);
    now += pause;
    EXPECT_EQ(backoff.wait_ns(now), 0U);
  }
  backoff.succeeded();
  backoff.failed(now);
  EXPECT_EQ(backoff.wait_ns(now), 10U);
}

/// A log whose lines are kept, as `EVENT: TEXT`.
LogFunction into(std::vector<std::string>& lines) {
  return [&lines](const ServantLogLine& line) {
    lines.push_back(std::string(line.event) + ": " + std::string(line.text));
  };
}

TEST(ShimLog, RepeatedFailuresAreToldOnce) {
  std::vector<std::string> lines;
  ShimLog log(into(lines));
  for (int i = 0; i < 3; ++i) {
    log.failure("no q", "refused");
  }
  log.failure("no q", "other");
  log.failure("no q", "other");
  EXPECT_EQ(lines.size(), 2U);
  log.recovered();
  log.failure("no q", "other");
  EXPECT_EQ(lines.size(), 3U);
}

TEST(ShimLog, WarningsAreCountedWhereTheyAreTooMany) {
  std::vector<std::string> lines;
  ShimLog log(into(lines));
  constexpr std::uint64_t kSecond = 1'000'000'000;
  for (int i = 0; i < 100; ++i) {
    log.warning("again", 10 * kSecond);
  }
  EXPECT_EQ(lines.size(), 5U);
  log.warning("later", 11 * kSecond);
  ASSERT_EQ(lines.size(), 7U);
  EXPECT_EQ(lines[5], "warning: 95 more warnings left out");
  EXPECT_EQ(lines[6], "warning: later");
}

TEST(ShimOptions, APeerHasANameAndSpeaksLbt) {
  ShimOptions o;
  o.q = *parse_endpoint(":5000");
  o.peer = true;
  EXPECT_NE(o.validate().find("--servant-protocol lbt"), std::string::npos);
  o.protocol = ServantProtocol::lbt;
  for (const char* tags : {"", "peer", "peer=", "peer= x", "xpeer=B", "group=peer=B"}) {
    o.tags = tags;
    EXPECT_NE(o.validate().find("peer=ID"), std::string::npos) << tags;
  }
  for (const char* tags : {"peer=B", "group=hdb peer=B", "peer= peer=B"}) {
    o.tags = tags;
    EXPECT_EQ(o.validate(), "") << tags;
  }
  o.heartbeat_ns = 1;
  EXPECT_NE(o.validate().find("--heartbeat"), std::string::npos);
  o.heartbeat_ns = 20'000'000'000;
  EXPECT_NE(o.validate().find("--heartbeat"), std::string::npos);
}

}  // namespace
}  // namespace mserve::shim
