// SPDX-License-Identifier: Apache-2.0
// q scripts started by the broker: a q process and a shim each, here and elsewhere. q is a shell
// script that runs the stand-in.
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>

#include <filesystem>
#include <fstream>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "gateway_setup.hpp"
#include "mserve/client/query.hpp"
#include "support/broker_process.hpp"
#include "support/shim_process.hpp"
#include "support/temp_dir.hpp"
#include "system/ctl_setup.hpp"

namespace mserve::test {
namespace {

/// Whether nobody listens on any of `count` ports from `first` on.
bool all_free(std::uint16_t first, int count) {
  for (int at = 0; at < count; ++at) {
    const shm::UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(first + at));
    if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
      return false;
    }
  }
  return true;
}

/// The first of `count` ports in a row, below those that the kernel gives away.
std::uint16_t free_ports(int count) {
  std::random_device random;
  std::uint16_t first = 0;
  do {
    first = static_cast<std::uint16_t>(20'000 + random() % 12'000);
  } while (!all_free(first, count));
  return first;
}

/// A directory with a q and a servant.q in it, and a port with free ones behind it.
class LaunchQ : public ::testing::Test {
 protected:
  LaunchQ() {
    std::ofstream(script_) << "/ what a servant loads\n";
    std::ofstream(q_) << "#!/bin/sh\nfor last; do :; done\nexec '" << program("mserve-standin")
                      << "' --form lbt --servantof --port \"$last\"\n";
    std::filesystem::permissions(q_, std::filesystem::perms::owner_all);
  }
  BrokerSetup setup(std::vector<std::string> args) {
    BrokerSetup setup;
    setup.env = {{"QBIN", q_}};
    setup.args = {"-p", std::to_string(port_)};
    setup.args.insert(setup.args.end(), args.begin(), args.end());
    return setup;
  }
  /// The answer of `client` to `text`, which must be one.
  static Value ask(Client& client, const std::string& text) {
    auto answer = query(client, text, {}, watchdog());
    EXPECT_TRUE(answer) << to_string(answer.error().code);
    return answer ? answer.value().result : Value();
  }

  TempDir dir_;
  std::string script_ = dir_.file("servant.q");
  std::string q_ = dir_.file("q");
  std::uint16_t port_ = free_ports(4);
};

TEST_F(LaunchQ, TwoOfThemServeAndComeBackWhenKilled) {
  const Broker broker(setup({"2", script_}));
  Client client = broker.client();
  EXPECT_EQ(ask(client, "echo 42"), Value::long_atom(42));
  std::set<std::string> endpoints;
  for (const std::string& line : broker.log_lines("connected: q at ")) {
    endpoints.insert(
        line.substr(line.find("q at "), line.find(", capability") - line.find("q at ")));
  }
  EXPECT_EQ(endpoints, (std::set<std::string>{"q at 127.0.0.1:" + std::to_string(port_ + 1),
                                              "q at 127.0.0.1:" + std::to_string(port_ + 2)}));
  for (const pid_t pid : broker.launched()) {
    if (std::filesystem::read_symlink("/proc/" + std::to_string(pid) + "/exe") ==
        program("mserve-standin")) {
      ASSERT_EQ(kill(pid, SIGKILL), 0);
    }
  }
  ASSERT_TRUE(wait_until([&] { return broker.log_lines("connected: q at ").size() >= 4; },
                         "both shims have lost their q and found the next"));
  broker.wait_for_counter("servants", 2);
  EXPECT_EQ(ask(client, "echo 43"), Value::long_atom(43));
}

TEST_F(LaunchQ, AReserveOfQAndItsShimIsStartedStoppedAndStartedAgain) {
  const Broker broker(
      setup({"2", script_, "--reserve", "2", "--reserve-after", "20ms", "--reserve-idle", "50ms"}));
  EXPECT_TRUE(broker.launched().empty());
  Client client = broker.client();
  for (std::int64_t round = 1; round <= 2; ++round) {
    EXPECT_EQ(ask(client, "echo " + std::to_string(round)), Value::long_atom(round));
    EXPECT_TRUE(wait_until([&] { return broker.launched().empty(); }, "all of them to end"));
  }
  EXPECT_FALSE(broker.log_lines("servant_ended ").empty());
  for (const std::string& line : broker.log_lines("servant_ended ")) {
    EXPECT_EQ(line.find("restart_ms"), std::string::npos) << line;
  }
  EXPECT_EQ(broker.counter("errors"), 0U);
}

TEST_F(LaunchQ, ARetiredQAndItsShimEndTogetherAndForGood) {
  const Broker broker(setup({"2", script_}));
  ASSERT_EQ(broker.launched().size(), 4U);
  ctl(broker, "retire", number_of(broker, "mserve-qshim-1"));
  const auto ends = [&] { return broker.log_lines("servant_ended"); };
  ASSERT_TRUE(wait_until([&] { return ends().size() == 2; }, "q and shim to end"));
  const std::vector<std::string> lines = ends();
  EXPECT_EQ(field_of(lines[0], "launched"), field_of(lines[1], "launched"));
  for (const std::string& line : lines) {
    EXPECT_EQ(line.find("restart_ms"), std::string::npos) << line;
  }
  EXPECT_EQ(broker.launched().size(), 2U);
  Client client = broker.client();
  EXPECT_EQ(ask(client, "echo 42"), Value::long_atom(42));
}

TEST_F(LaunchQ, ThoseOfAnotherHostServeWhenNoneIsHere) {
  // The address stands for another host, and a shell for ssh.
  const Broker broker(
      setup({"--spill-after", "inf", "--launch", "sh -c {command}", "1", script_, "127.0.0.1"}));
  EXPECT_EQ(broker.log_lines("tier=1").size(), 1U) << broker.log();
  Client client = broker.client();
  EXPECT_EQ(ask(client, "echo 42"), Value::long_atom(42));
  broker.wait_for_counter("remote", 1);
  RawPeer local = raw_servant(broker, "here");
  broker.wait_for_counter("servants", 2);
  ASSERT_TRUE(send_query(client, make_query("echo 1", ""), {}, watchdog()));
  const auto mine = local.take();
  ASSERT_TRUE(mine);
  ASSERT_TRUE(send_query(client, make_query("echo 2", ""), {}, watchdog()));
  broker.wait_for_counter("queued", 1);
  ASSERT_TRUE(answer(local, mine->header.id, kdb::encode(Value::long_atom(1))));
  const auto next = local.take();
  ASSERT_TRUE(next) << "the servant of tier 1 was idle, but one of tier 0 was there";
  ASSERT_TRUE(answer(local, next->header.id, kdb::encode(Value::long_atom(2))));
  EXPECT_EQ(broker.counter("remote"), 1U);
  local.vanish();
  broker.wait_for_counter("servants", 1);
  for (int at = 0; at < 2; ++at) {
    mserve::Reply reply;
    ASSERT_EQ(client.wait(watchdog()), Errc::ok);
    ASSERT_EQ(client.poll(reply), Errc::ok);
  }
  EXPECT_EQ(ask(client, "echo 43"), Value::long_atom(43));
  broker.wait_for_counter("remote", 2);
}

TEST_F(LaunchQ, OneThatRunsForNobodyIsInterrupted) {
  const Broker broker(setup({"--interrupt", "--timeout", "50ms", "1", script_}));
  Client client = broker.client();
  const auto answer = query(client, "sleep 3600000", {}, watchdog());
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, Errc::timed_out);
  EXPECT_EQ(ask(client, "echo 42"), Value::long_atom(42));
  EXPECT_EQ(broker.log_lines("q is interrupted").size(), 1U) << broker.log();
  EXPECT_EQ(broker.log_lines("connected: q at ").size(), 1U) << "it is the same q";
}

TEST_F(LaunchQ, WhatWaitedTooLongGoesToTier1) {
  const Broker broker(setup({"--spill-after", "1ms"}));
  const StandinProcess q;
  const ShimProcess shim(broker, q.port(), {"--tier", "1"});
  RawPeer local = raw_servant(broker, "busy");
  broker.wait_for_counter("servants", 2);
  Client client = broker.client();
  ASSERT_TRUE(send_query(client, make_query("echo 1", ""), {}, watchdog()));
  ASSERT_TRUE(local.take());
  EXPECT_EQ(ask(client, "echo 2"), Value::long_atom(2));
  broker.wait_for_counter("remote", 1);
}

TEST_F(LaunchQ, ANearerTierServesUntilItIsGone) {
  const Broker broker(setup({}));
  const StandinProcess q;
  const StandinProcess other;
  const ShimProcess far(broker, q.port(), {"--tier", "3", "--name", "far", "--tags", "peer=far"});
  ShimProcess near(broker, other.port(), {"--tier", "2", "--name", "near", "--tags", "peer=near"});
  broker.wait_for_counter("servants", 2);
  EXPECT_EQ(broker.log_lines("tier=3").size(), 1U) << broker.log();
  EXPECT_EQ(servant_row(broker, "near").at("tier").as_int64(), 2);
  const std::string near_number = number_of(broker, "near");
  Client client = broker.client();
  const auto servant = [&] {
    mserve::Reply reply;
    EXPECT_TRUE(send_query(client, make_query("echo 42", ""), {}, watchdog()));
    EXPECT_EQ(client.wait(watchdog()), Errc::ok);
    EXPECT_EQ(client.poll(reply), Errc::ok);
    return std::to_string(reply.servant);
  };
  EXPECT_EQ(servant(), near_number);
  EXPECT_EQ(servant(), near_number);
  near.process().signal(SIGTERM);
  EXPECT_EQ(near.process().wait(), 0);
  broker.wait_for_counter("servants", 1);
  EXPECT_EQ(servant(), number_of(broker, "far"));
  broker.wait_for_counter("remote", 3);
}

}  // namespace
}  // namespace mserve::test
