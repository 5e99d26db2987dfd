// SPDX-License-Identifier: Apache-2.0
#include "cluster/links.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "mserve/shm/clock.hpp"
#include "support/process.hpp"
#include "support/temp_dir.hpp"
#include "support/wait.hpp"

namespace mserve::cluster {
namespace {

std::size_t times(const std::string& text, const std::string& log) {
  std::size_t found = 0;
  for (std::size_t at = log.find(text); at != std::string::npos; at = log.find(text, at + 1)) {
    ++found;
  }
  return found;
}

class LinkProcesses : public ::testing::Test {
 protected:
  /// A program for links, whose lines these are.
  std::string script(const std::string& lines) const {
    std::ofstream(path_) << "#!/bin/sh\n" << lines << "\n";
    std::filesystem::permissions(path_, std::filesystem::perms::owner_all);
    return path_;
  }
  static LinkAction order(LinkAction::Kind kind, std::uint64_t epoch = 1) {
    return {.kind = kind,
            .id = "b",
            .spec = {.address = "b:1", .tier = Nearness::zone, .tags = "peer=b"},
            .epoch = epoch};
  }
  static void wait_for(Links& links, const std::string& state) {
    EXPECT_TRUE(test::wait_until(
        [&] {
          links.reap(shm::steady_now());
          return links.view("b").state == state;
        },
        "the link to be " + state));
  }
  static void wait_for_end(Links& links) {
    links.stop_all(shm::steady_now());
    EXPECT_TRUE(test::wait_until(
        [&] {
          links.reap(shm::steady_now());
          return !links.any();
        },
        "the links to end"));
  }

  test::TempDir dir_;
  std::string path_ = dir_.file("shim");
  int changes_ = 0;
};

TEST_F(LinkProcesses, OneThatFailsIsStartedAgainAfterLongerAndLonger) {
  Links links({.shim = script("exit 3")}, [this] { ++changes_; });
  std::uint64_t now = shm::steady_now();
  links.carry_out(order(LinkAction::Kind::start), now);
  constexpr std::uint64_t kMs = 1'000'000;
  for (const std::uint64_t pause : {100 * kMs, 200 * kMs, 400 * kMs}) {
    EXPECT_TRUE(test::wait_until(
        [&] {
          links.reap(now);
          return links.view("b").pid == 0;
        },
        "the link to end"));
    EXPECT_STREQ(links.view("b").state, "waiting");
    links.tick(now + pause - 1);
    EXPECT_EQ(links.view("b").pid, 0) << pause;
    now += pause;
    links.tick(now);
    EXPECT_GT(links.view("b").pid, 0) << pause;
  }
  EXPECT_GE(changes_, 6);
  wait_for_end(links);
}

TEST_F(LinkProcesses, OneThatAnOperatorRetiredStaysAwayUntilItsBrokerIsAnother) {
  Links links({.shim = script("exit 0")}, [] {});
  const std::uint64_t now = shm::steady_now();
  links.carry_out(order(LinkAction::Kind::start, 1), now);
  wait_for(links, "retired");
  links.tick(now + 3'600'000'000'000);
  links.carry_out(order(LinkAction::Kind::start, 1), now);
  EXPECT_EQ(links.view("b").pid, 0);
  links.carry_out(order(LinkAction::Kind::start, 2), now);
  EXPECT_GT(links.view("b").pid, 0);
  wait_for(links, "retired");
  links.carry_out(order(LinkAction::Kind::replace, 2), now);
  EXPECT_GT(links.view("b").pid, 0);
  wait_for_end(links);
}

TEST_F(LinkProcesses, TheOneBeforeFinishesWhatItRunsWhileTheNextServes) {
  const std::string go_on = dir_.file("go-on");
  // What runs is finished although it was told to end.
  Links links({.shim = script("trap '' TERM\n: >'" + dir_.file("started") + "'\nwhile [ ! -e '" +
                              go_on + "' ]; do sleep 0.01; done")},
              [] {});
  links.carry_out(order(LinkAction::Kind::start), shm::steady_now());
  const pid_t first = links.view("b").pid;
  EXPECT_TRUE(test::wait_until([&] { return std::filesystem::exists(dir_.file("started")); },
                               "the link to run"));
  links.carry_out(order(LinkAction::Kind::replace), shm::steady_now());
  EXPECT_NE(links.view("b").pid, first);
  EXPECT_EQ(links.view("b").ending, 1U);
  links.carry_out(order(LinkAction::Kind::stop), shm::steady_now());
  EXPECT_STREQ(links.view("b").state, "none");
  EXPECT_FALSE(test::gone(first));
  std::ofstream(go_on) << "x";
  wait_for_end(links);
  EXPECT_TRUE(test::gone(first));
}

TEST_F(LinkProcesses, TheyGetTheLoginAndNoOtherSecret) {
  const std::string seen = dir_.file("seen");
  setenv("MSERVE_CLUSTER_PASSWORD", "s3cret", 1);
  setenv("MSERVE_Q_USER", "other:x", 1);
  Links links({.shim = script("env >'" + seen + "'\nreadlink /proc/$$/fd/* >>'" + seen +
                              "'\necho over >>'" + seen + "'"),
               .login = "desk:pw"},
              [] {});
  unsetenv("MSERVE_CLUSTER_PASSWORD");
  unsetenv("MSERVE_Q_USER");
  const std::ofstream open_here(dir_.file("open-here"));
  links.carry_out(order(LinkAction::Kind::start), shm::steady_now());
  EXPECT_TRUE(
      test::wait_until([&] { return test::read_file(seen).ends_with("over\n"); }, "the link"));
  const std::string text = test::read_file(seen);
  EXPECT_NE(text.find("MSERVE_Q_USER=desk:pw\n"), std::string::npos);
  for (const char* const secret : {"s3cret", "other:x", "open-here"}) {
    EXPECT_EQ(text.find(secret), std::string::npos) << secret;
  }
  wait_for_end(links);
}

// Goal: many links that end at the same time, as when a switch is gone, do not flood the log.
TEST_F(LinkProcesses, RestartsOfManyAreAFewLines) {
  Links links({.shim = script("exit 3")}, [] {});
  const std::uint64_t now = shm::steady_now();
  constexpr int kLinks = 30;
  for (int i = 0; i < kLinks; ++i) {
    LinkAction action = order(LinkAction::Kind::start);
    action.id = "b" + std::to_string(i);
    links.carry_out(action, now);
  }
  testing::internal::CaptureStderr();
  EXPECT_TRUE(test::wait_until(
      [&] {
        links.reap(now);
        return !links.any();
      },
      "the links to end"));
  constexpr std::uint64_t kLogPause = 1'000'000'000;
  links.tick(now + kLogPause);
  wait_for_end(links);
  const std::string log = testing::internal::GetCapturedStderr();
  EXPECT_EQ(times("link_ended", log), 10U + 1U) << "the last one says how many there were: " << log;
  EXPECT_NE(log.find(R"(kind="link_ended" lines=20)"), std::string::npos) << log;
  EXPECT_EQ(times("link_started", log), 10U) << log;
}

// When 200 peers were gone at once 200 processes asked for it.
TEST_F(LinkProcesses, FewAreRetiredAtTheSameTime) {
  constexpr std::size_t kLinks = 20;
  constexpr std::size_t kAtOnce = 8;
  const std::string go_on = dir_.file("go");
  const std::string stat = dir_.file("stat");
  std::ofstream(stat) << "#!/bin/sh\nwhile [ ! -e '" << go_on << "' ]; do sleep 0.01; done\n"
                      << "kill $7\n";  // after --name X --dir Y ctl retire
  std::filesystem::permissions(stat, std::filesystem::perms::owner_all);
  Links links(
      {.shim = script("exec sleep 1000"), .broker = "x", .directory = "y", .stat = stat}, [] {},
      [](pid_t pid) { return static_cast<std::uint32_t>(pid); });
  const std::uint64_t now = shm::steady_now();
  std::vector<LinkAction> orders(kLinks, order(LinkAction::Kind::start));
  for (std::size_t i = 0; i < kLinks; ++i) {
    orders[i].id += std::to_string(i);
    links.carry_out(orders[i], now);
  }
  for (LinkAction& one : orders) {
    one.kind = LinkAction::Kind::stop;
    links.carry_out(one, now);
  }
  EXPECT_EQ(test::children_of(getpid()).size(), kLinks + kAtOnce);
  std::ofstream(go_on) << "";
  EXPECT_TRUE(test::wait_until(
      [&] {
        links.reap(now);
        return !links.any();
      },
      "all to be retired"));
}

// A peer that came and went all the time filled the log.
TEST_F(LinkProcesses, OrdersDoNotFillTheLog) {
  Links links({.shim = script("exit 0")}, [] {});
  const std::uint64_t now = shm::steady_now();
  testing::internal::CaptureStderr();
  for (std::size_t i = 0; i < kPeersMax + 10; ++i) {
    links.carry_out(order(LinkAction::Kind::start), now);
    links.carry_out(order(LinkAction::Kind::stop), now);
    links.reap(now);
  }
  EXPECT_TRUE(test::wait_until(
      [&] {
        links.reap(now);
        return !links.any();
      },
      "the links to end"));
  const std::string log = testing::internal::GetCapturedStderr();
  EXPECT_EQ(times("info link_started ", log), kPeersMax);
  EXPECT_EQ(times("info link_ending ", log), kPeersMax);
  EXPECT_EQ(times("info link_over ", log), kPeersMax);
}

TEST_F(LinkProcesses, AProgramThatIsNotThereIsTriedAgain) {
  Links links({.shim = dir_.file("none")}, [] {});
  links.carry_out(order(LinkAction::Kind::start), shm::steady_now());
  wait_for(links, "waiting");
}

}  // namespace
}  // namespace mserve::cluster
