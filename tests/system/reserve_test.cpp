// SPDX-License-Identifier: Apache-2.0
// Servants of the reserve: started when requests wait for long, stopped when idle, nothing lost.
#include <gtest/gtest.h>

#include <csignal>
#include <string>
#include <vector>

#include "support/requests.hpp"
#include "system/ctl_setup.hpp"

namespace mserve::test {
namespace {

const std::string kFirst = "mserve-servant-1";
const std::string kSecond = "mserve-servant-2";

BrokerSetup with_reserve(int servants, int reserve, const std::string& idle) {
  BrokerSetup setup;
  setup.args = {"--reserve",       std::to_string(reserve),
                "--reserve-after", "20ms",
                "--reserve-idle",  idle,
                "--policy",        "orig"};
  setup.servants = servants;
  setup.servant_args = "--rows 0";
  return setup;
}

void wait_for_lines(const Broker& broker, const std::string& text, std::size_t count) {
  EXPECT_TRUE(wait_until([&] { return broker.log_lines(text).size() >= count; },
                         std::to_string(count) + " lines '" + text + "'"));
}

void expect_nothing_lost(const Broker& broker) {
  broker.wait_for_counter("replies", broker.counter("requests").value_or(0));
  for (const char* const none : {"errors", "retried", "discarded", "refused", "closed_total"}) {
    EXPECT_EQ(broker.counter(none), 0U) << none;
  }
}

/// Requests while a servant can answer none of them, since its process is stopped.
class Spike {
 public:
  Spike(Client& client, pid_t busy) : client_(client), busy_(busy) {
    stop(busy_);
    for (int i = 0; i < kRequests; ++i) {
      ids_.push_back(send_opaque(client_, pattern(10), {.want_info = true}));
    }
  }
  /// All but the first were answered by `servant`; the first may be with the stopped one.
  void expect_answers_of(const std::string& servant) {
    for (std::size_t i = 1; i < ids_.size(); ++i) {
      EXPECT_EQ(servant_of(await(client_, ids_[i])), servant);
    }
  }
  void expect_answers() {
    for (std::size_t i = 1; i < ids_.size(); ++i) {
      EXPECT_NE(servant_of(await(client_, ids_[i])), kFirst);
    }
  }
  /// The servant goes on, and answers what it has.
  void end() {
    EXPECT_EQ(kill(busy_, SIGCONT), 0);
    EXPECT_EQ(await(client_, ids_[0]).status, Errc::ok);
  }

 private:
  static constexpr int kRequests = 4;
  Client& client_;
  pid_t busy_;
  std::vector<std::uint64_t> ids_;
};

pid_t pid_of(const Broker& broker, const std::string& servant) {
  const boost::json::value row = servant_row(broker, servant);
  EXPECT_FALSE(row.is_null()) << servant;
  return row.is_null() ? -1 : static_cast<pid_t>(row.at("pid").as_int64());
}

TEST(ReserveServant, IsStartedByASpikeStoppedWhenIdleAndStartedByTheNext) {
  const Broker broker(with_reserve(2, 1, "100ms"));
  EXPECT_EQ(broker.launched().size(), 1U) << "ready without the reserve";
  broker.wait_for_counter("servants", 1);
  Client client = broker.client();
  expect_echo(client, pattern(10));
  const pid_t busy = pid_of(broker, kFirst);
  for (std::size_t round = 1; round <= 2; ++round) {
    Spike spike(client, busy);
    spike.expect_answers_of(kSecond);
    spike.end();
    wait_for_lines(broker, "reserve_stopped launched=2 ", round);
    wait_for_lines(broker, "servant_ended launched=2 ", round);
    broker.wait_for_counter("servants", 1);
    EXPECT_TRUE(wait_until([&] { return broker.launched() == std::vector<pid_t>{busy}; },
                           "just the first servant to be there"));
    for (const char* const once : {"reserve_started launched=2 ", "servant_started launched=2 ",
                                   "reserve_stopped launched=2 ", "servant_ended launched=2 "}) {
      EXPECT_EQ(broker.log_lines(once).size(), round) << once;
    }
  }
  for (const std::string& line : broker.log_lines("reserve_started ")) {
    EXPECT_GE(std::stoul(field_of(line, "queue_age_ms")), 20U) << line;
  }
  for (const std::string& line : broker.log_lines("reserve_stopped ")) {
    EXPECT_GE(std::stoul(field_of(line, "idle_ms")), 100U) << line;
  }
  for (const std::string& line : broker.log_lines("servant_ended launched=2 ")) {
    EXPECT_EQ(field_of(line, "exit"), "0") << line;
    EXPECT_EQ(line.find("restart_ms"), std::string::npos) << line;
    EXPECT_NE(line.find(" info "), std::string::npos) << "nothing to worry about: " << line;
  }
  expect_nothing_lost(broker);
}

TEST(ReserveServant, IsStoppedWhileRequestsFlowToOthersAndNoneIsLost) {
  const Broker broker(with_reserve(2, 1, "30ms"));
  Client client = broker.client();
  const pid_t busy = pid_of(broker, kFirst);
  for (std::size_t round = 1; round <= 3; ++round) {
    Spike spike(client, busy);
    spike.expect_answers_of(kSecond);
    spike.end();
    EXPECT_TRUE(wait_until(
        [&] {
          expect_echo(client, pattern(10));
          return broker.log_lines("servant_ended launched=2 ").size() >= round;
        },
        "the reserve to be stopped"));
  }
  expect_nothing_lost(broker);
}

TEST(ReserveServant, OneMoreIsStartedWhileTheQueueStaysOld) {
  const Broker broker(with_reserve(3, 2, "inf"));
  Client client = broker.client();
  const pid_t busy = pid_of(broker, kFirst);
  Spike spike(client, busy);
  spike.expect_answers();  // of the second, or of the third if that attached before
  wait_for_state(broker, kSecond, "reserve");
  ctl(broker, "pause", number_of(broker, kSecond));
  Spike more(client, busy);
  more.expect_answers_of("mserve-servant-3");
  wait_for_state(broker, "mserve-servant-3", "reserve");
  more.end();
  spike.end();
  const std::vector<std::string> started = broker.log_lines("reserve_started ");
  ASSERT_EQ(started.size(), 2U);
  EXPECT_EQ(field_of(started[0], "launched"), "2");
  EXPECT_EQ(field_of(started[1], "launched"), "3");
  expect_nothing_lost(broker);
}

TEST(ReserveServant, IsRestartedWhenItDiesAndRetiredForGood) {
  const Broker broker(with_reserve(2, 1, "inf"));
  Client client = broker.client();
  const pid_t busy = pid_of(broker, kFirst);
  Spike spike(client, busy);
  spike.expect_answers_of(kSecond);
  spike.end();
  const pid_t killed = pid_of(broker, kSecond);
  EXPECT_EQ(kill(killed, SIGKILL), 0);
  const std::string end = broker.wait_for_log("servant_ended launched=2 ");
  EXPECT_NE(field_of(end, "restart_ms"), "") << end;
  wait_for_lines(broker, "servant_started launched=2 ", 2);
  EXPECT_TRUE(wait_until(
      [&] {
        const boost::json::value row = servant_row(broker, kSecond);
        return !row.is_null() && row.at("pid").as_int64() != killed;
      },
      "its successor"));
  wait_for_state(broker, kSecond, "reserve");
  EXPECT_EQ(broker.log_lines("reserve_started ").size(), 1U) << "the launcher's business";
  ctl(broker, "retire", "all");
  EXPECT_EQ(status_of(call_opaque(client, pattern(10))), Errc::no_servant)
      << "nobody is on its way, the reserve neither";
}

TEST(ReserveServant, WithNobodyElseRequestsWaitForIt) {
  const Broker broker(with_reserve(1, 1, "30ms"));
  EXPECT_TRUE(broker.launched().empty());
  Client client = broker.client();
  for (std::size_t round = 1; round <= 2; ++round) {
    expect_echo(client, pattern(10));
    wait_for_lines(broker, "servant_ended launched=1 ", round);
    broker.wait_for_counter("servants", 0);
  }
  EXPECT_EQ(broker.log_lines("reserve_started launched=1 ").size(), 2U);
  expect_nothing_lost(broker);
}

TEST(ReserveServant, WhatComesJustWhenItIsStoppedIsAnsweredAllTheSame) {
  // Goal: it is about to be stopped almost all the time, so requests meet every step of that.
  const Broker broker(with_reserve(1, 1, "1ms"));
  Client client = broker.client();
  for (int i = 0; i < 5; ++i) {
    for (int burst = 0; burst < 200; ++burst) {
      expect_echo(client, pattern(10));
    }
    wait_for_lines(broker, "reserve_stopped ", static_cast<std::size_t>(i) + 1);
    expect_echo(client, pattern(10));
  }
  expect_nothing_lost(broker);
}

TEST(ReserveServant, TakesOverFromAllThatAreRetired) {
  const Broker broker(with_reserve(2, 1, "inf"));
  Client client = broker.client();
  ctl(broker, "retire", "all");
  const auto id = send_opaque(client, pattern(10), {.want_info = true});
  EXPECT_EQ(servant_of(await(client, id)), kSecond);
  expect_nothing_lost(broker);
}

TEST(ReserveServant, AnOperatorsPauseKeepsIt) {
  // Goal: whoever is put aside by hand is not stopped. Another one would be; here nothing may.
  const Broker broker(with_reserve(2, 1, "300ms"));
  Client client = broker.client();
  Spike spike(client, pid_of(broker, kFirst));
  spike.expect_answers_of(kSecond);
  const Output paused = stat(broker, {"ctl", "pause", number_of(broker, kSecond)});
  spike.end();
  if (paused.exit_code != 0) {  // on a crawling machine it was stopped before
    wait_for_lines(broker, "reserve_stopped launched=2 ", 1);
    return;
  }
  let_pass(1'000'000'000);
  EXPECT_EQ(state_in(broker, kSecond), "paused");
  EXPECT_TRUE(broker.log_lines("reserve_stopped ").empty());
  ctl(broker, "resume", "all");
  wait_for_lines(broker, "reserve_stopped launched=2 ", 1);
  wait_for_state(broker, kSecond, "gone");
  expect_nothing_lost(broker);
}

TEST(ReserveServant, ABrokerThatEndsTakesItAlong) {
  Broker broker(with_reserve(2, 1, "inf"));
  Client client = broker.client();
  Spike spike(client, pid_of(broker, kFirst));
  spike.expect_answers_of(kSecond);
  spike.end();
  const pid_t pid = pid_of(broker, kSecond);
  broker.stop();
  EXPECT_TRUE(gone(pid));
}

}  // namespace
}  // namespace mserve::test
