// SPDX-License-Identifier: Apache-2.0
// Operators take servants out of service and back, and no request suffers.
#include <gtest/gtest.h>

#include <atomic>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <set>
#include <thread>

#include "mserve/shm/attachment.hpp"
#include "support/raw_peer.hpp"
#include "support/requests.hpp"
#include "support/temp_dir.hpp"
#include "system/ctl_setup.hpp"
#include "system/held_request.hpp"

namespace mserve::test {
namespace {

const std::string kAllPaused = "; no servant takes requests now: they wait\n";
const std::string kNobodyLeft =
    "; no servant is left: requests end with 'no servant' until one attaches\n";

/// Clients that ask all the time, and count who answers. What is no answer fails the test.
class Load {
 public:
  explicit Load(const Broker& broker) {
    for (int i = 0; i < kClients; ++i) {
      threads_.emplace_back([this, &broker] { ask(broker); });
    }
  }
  ~Load() { stop(); }
  Load(const Load&) = delete;
  Load& operator=(const Load&) = delete;

  void stop() {
    stop_.store(true, std::memory_order_release);
    for (std::thread& thread : threads_) {
      thread.join();
    }
    threads_.clear();
  }
  /// Waits until `count` more were answered.
  void wait_for(std::uint64_t count) {
    const std::uint64_t from = answered();
    EXPECT_TRUE(wait_until([&] { return answered() >= from + count; }, "answers"));
  }
  [[nodiscard]] std::uint64_t answered() const { return answered_.load(std::memory_order_acquire); }

 private:
  static constexpr int kClients = 4;
  static constexpr int kWindow = 8;

  void ask(const Broker& broker) {
    Client client = broker.client();
    while (!stop_.load(std::memory_order_acquire)) {
      std::vector<std::uint64_t> ids;
      for (int i = 0; i < kWindow; ++i) {
        ids.push_back(send_opaque(client, pattern(50), {.want_info = true}));
      }
      for (const std::uint64_t id : ids) {
        const mserve::Reply reply = await(client, id);
        EXPECT_EQ(reply.status, Errc::ok) << to_string(reply.status);
        answered_.fetch_add(1, std::memory_order_release);
      }
    }
  }

  std::atomic<bool> stop_{false};
  std::atomic<std::uint64_t> answered_{0};
  std::vector<std::thread> threads_;
};

/// A broker with two servants that this test started, "first" and "second".
class TwoServants : public ::testing::Test {
 protected:
  TwoServants() : broker_(BrokerSetup{.args = {"--policy", "orig"}}) {
    first_ = start("first", "group=blue version=1");
    broker_.wait_for_counter("servants", 1);
    second_ = start("second", "group=green version=1");
    broker_.wait_for_counter("servants", 2);
    client_.emplace(broker_.client());
  }
  [[nodiscard]] Process start(const std::string& name, const std::string& tags) const {
    return broker_.spawn_servant(name, {"--rows", "0", "--tags", tags});
  }
  [[nodiscard]] std::string who() {
    return servant_of(await(*client_, send_opaque(*client_, pattern(10), {.want_info = true})));
  }
  /// Who answers each of several requests.
  [[nodiscard]] std::set<std::string> servants() {
    std::set<std::string> names;
    for (int i = 0; i < 20; ++i) {
      names.insert(who());
    }
    return names;
  }

  const std::set<std::string> just_first_{"first"};
  const std::set<std::string> just_second_{"second"};
  Broker broker_;
  Process first_;
  Process second_;
  std::optional<Client> client_;
};

TEST_F(TwoServants, PausedUnderLoadItGetsNothingAndThenServesAgain) {
  Load load(broker_);
  load.wait_for(100);
  ctl(broker_, "pause", number_of(broker_, "first"));
  EXPECT_EQ(state_in(broker_, "first"), "paused");
  EXPECT_EQ(state_in(broker_, "second"), "attached");
  load.wait_for(100);
  load.stop();
  EXPECT_EQ(servants(), just_second_);
  ctl(broker_, "resume", number_of(broker_, "first"));
  EXPECT_EQ(state_in(broker_, "first"), "attached");
  EXPECT_EQ(servants(), just_first_) << "the policy prefers it";
  EXPECT_EQ(broker_.counter("errors"), 0U);
  EXPECT_EQ(broker_.counter("requests"), broker_.counter("replies"));
}

TEST_F(TwoServants, WithAllPausedRequestsWaitForTheFirstThatIsResumed) {
  const Output some = stat(broker_, {"ctl", "pause", "name:first"});
  EXPECT_EQ(some.out.find("they wait"), std::string::npos) << some.out;
  const Output last = stat(broker_, {"ctl", "pause", "all"});
  EXPECT_NE(last.out.find("no servant takes requests now: they wait"), std::string::npos)
      << last.out;
  const std::uint64_t id = send_opaque(*client_, pattern(10), {.want_info = true});
  broker_.wait_for_counter("queued", 1);
  ctl(broker_, "resume", "group:green");
  EXPECT_EQ(servant_of(await(*client_, id)), "second");
}

TEST_F(TwoServants, ResumedAreThoseThatWerePaused) {
  ctl(broker_, "pause", "name:first");
  const std::string out = stat(broker_, {"ctl", "resume", "all"}).out;
  const std::string second = "second (number " + number_of(broker_, "second");
  EXPECT_NE(out.find(second + ", was not paused)"), std::string::npos) << out;
  EXPECT_EQ(out.find("was not paused"), out.rfind("was not paused")) << out;
}

TEST_F(TwoServants, AreNamedByTagAndGroup) {
  ctl(broker_, "pause", "group:blue");
  EXPECT_EQ(state_in(broker_, "first"), "paused");
  EXPECT_EQ(state_in(broker_, "second"), "attached");
  ctl(broker_, "pause", "tag:version=1");
  EXPECT_EQ(state_in(broker_, "second"), "paused");
  ctl(broker_, "resume", "tag:group=blue");
  EXPECT_EQ(state_in(broker_, "first"), "attached");
}

TEST_F(TwoServants, StoppedAndPausedDoNotUndoEachOther) {
  ctl(broker_, "pause", "group:blue");
  first_.signal(SIGSTOP);
  wait_for_state(broker_, "first", "stopped+paused");
  first_.signal(SIGCONT);
  wait_for_state(broker_, "first", "paused");
  EXPECT_EQ(servants(), just_second_) << "it goes on, and is paused all the same";
  first_.signal(SIGSTOP);
  wait_for_state(broker_, "first", "stopped+paused");
  ctl(broker_, "resume", "group:blue");
  EXPECT_EQ(state_in(broker_, "first"), "stopped");
  EXPECT_EQ(servants(), just_second_) << "nothing pauses it, but its process is stopped";
  first_.signal(SIGCONT);
  wait_for_state(broker_, "first", "attached");
  EXPECT_TRUE(wait_until([&] { return who() == "first"; }, "the first servant to serve again"));
}

TEST_F(TwoServants, WhatMatchesNobodyIsRefusedWithAWord) {
  for (const char* const target : {"77", "group:red", "tag:blue", "tag:version="}) {
    const Output output = stat(broker_, {"ctl", "pause", target});
    EXPECT_EQ(output.exit_code, 1) << target;
    EXPECT_NE(output.err.find("no attached servant is"), std::string::npos) << output.err;
  }
  EXPECT_EQ(state_in(broker_, "first"), "attached");
  const Output json = stat(broker_, {"ctl", "pause", "77", "--json"});
  EXPECT_EQ(boost::json::parse(json.out).at("status"), "no servant");
}

TEST_F(TwoServants, WrongUsageIsToldWithoutAskingTheBroker) {
  for (const char* const target :
       {"first", "0", "group:", "grp:x", "tag:", "name:", "--", "all of them", "1 "}) {
    const Output output = stat(broker_, {"ctl", "pause", target});
    EXPECT_EQ(output.exit_code, 2) << target;
  }
  for (const char* const verb : {"explode", "1", "2", "3", "4", "5", "Pause"}) {
    EXPECT_EQ(stat(broker_, {"ctl", verb, "all"}).exit_code, 2) << verb;
  }
  for (const char* const timeout : {"nan", "-1", "soon", "1e10", "5x", "s", ""}) {
    EXPECT_EQ(stat(broker_, {"ctl", "drain", "all", "--timeout", timeout}).exit_code, 2) << timeout;
  }
  for (const char* const verb : {"pause", "resume"}) {
    const Output output = stat(broker_, {"ctl", verb, "all", "--timeout", "0"});
    EXPECT_EQ(output.exit_code, 2) << verb;
    EXPECT_NE(output.err.find("for drain and retire"), std::string::npos) << output.err;
  }
  EXPECT_EQ(stat(broker_, {"ctl", "pause", std::string(300, '1')}).exit_code, 2);
  EXPECT_EQ(stat(broker_, {"--name", "nobody-here", "servants"}).exit_code, 3);
  EXPECT_EQ(state_in(broker_, "first"), "attached");
  EXPECT_TRUE(broker_.log_lines("control ").empty());
}

TEST_F(TwoServants, AreNamedByNameAndTheAnswerNamesThem) {
  const Output output = stat(broker_, {"ctl", "pause", "name:second"});
  EXPECT_EQ(output.exit_code, 0) << output.err;
  EXPECT_EQ(output.out, "paused: second (number " + number_of(broker_, "second") + ")\n");
  EXPECT_EQ(state_in(broker_, "second"), "paused");
  EXPECT_EQ(state_in(broker_, "first"), "attached");
}

TEST_F(TwoServants, AreDrainedWithinATimeOfAnyUnit) {
  for (const char* const timeout : {"inf", "2m", "60000ms", "60", "60.5"}) {
    const Output output = stat(broker_, {"ctl", "drain", "all", "--timeout", timeout});
    EXPECT_EQ(output.exit_code, 0) << timeout << ": " << output.err;
  }
}

TEST_F(TwoServants, ABrokerThatDoesNotAnswerIsNotWaitedForBeyondTheTimeout) {
  broker_.process().signal(SIGSTOP);
  const Output output = stat(broker_, {"ctl", "drain", "all", "--timeout", "0"});
  broker_.process().signal(SIGCONT);
  EXPECT_EQ(output.exit_code, 3);
  EXPECT_NE(output.err.find("the broker (pid " + std::to_string(broker_.pid()) +
                            ") does not answer; is it stopped or overloaded?"),
            std::string::npos)
      << output.err;
}

// It was carried out when the broker went on, though nobody waited for it any more.
TEST_F(TwoServants, AnOrderWhoseAskerGaveUpIsNotCarriedOut) {
  stop(broker_.pid());
  EXPECT_EQ(stat(broker_, {"ctl", "pause", "all"}).exit_code, 3);
  ::kill(broker_.pid(), SIGCONT);
  EXPECT_NE(broker_.wait_for_log("control_dropped").find("verb=pause"), std::string::npos);
  EXPECT_EQ(state_in(broker_, "first"), "attached");
  EXPECT_EQ(state_in(broker_, "second"), "attached");
}

TEST_F(HeldRequest, ADrainReturnsWhenItIsAnsweredAndNotBefore) {
  Process drain = begin("drain");
  const boost::json::value row = servant_row(broker_, "held");
  EXPECT_EQ(row.at("running").as_int64(), 1);
  EXPECT_FALSE(drain.ended());
  const std::uint64_t next = send_opaque(client_, pattern(20));
  broker_.wait_for_counter("queued", 1);
  EXPECT_FALSE(drain.ended());
  answer();
  EXPECT_EQ(await(client_, id_).status, Errc::ok);
  EXPECT_EQ(drain.wait(), 0);
  EXPECT_EQ(read_file(dir_.file("out")), "drained: held (number 1)" + kAllPaused);
  EXPECT_EQ(state_in(broker_, "held"), "paused");
  EXPECT_FALSE(servant_.poll()) << "what is queued waits";
  ctl(broker_, "resume", "all");
  const auto frame = servant_.take();
  ASSERT_TRUE(frame);
  EXPECT_TRUE(servant_.reply(frame->header.id, pattern(20)));
  EXPECT_EQ(await(client_, next).status, Errc::ok);
}

TEST_F(HeldRequest, ADrainGivesUpAfterItsTimeoutAndTheServantStaysPaused) {
  for (const char* const timeout : {"0", "1ms", "0.001"}) {
    const Output output = stat(broker_, {"ctl", "drain", "all", "--timeout", timeout});
    EXPECT_EQ(output.exit_code, 4) << timeout;
    EXPECT_NE(output.err.find("1 of 1 servant not drained yet: held"), std::string::npos)
        << output.err;
    const std::string undo = "mserve-stat --name " + broker_.name() + " ctl resume all\n";
    EXPECT_NE(output.err.find(undo), std::string::npos) << output.err;
  }
  EXPECT_EQ(state_in(broker_, "held"), "paused");
  answer();
  EXPECT_EQ(await(client_, id_).status, Errc::ok);
  ctl(broker_, "drain", "all");
}

TEST_F(HeldRequest, AResumeCallsADrainOff) {
  Process retire = begin("retire");
  ctl(broker_, "resume", "all");
  EXPECT_EQ(retire.wait(), 1);
  EXPECT_NE(read_file(dir_.file("err")).find("resumed meanwhile"), std::string::npos);
  answer();
  EXPECT_EQ(await(client_, id_).status, Errc::ok);
  EXPECT_EQ(state_in(broker_, "held"), "attached");
}

TEST_F(HeldRequest, WhoeverAskedMayGoAndTheServantStaysPaused) {
  begin("retire").end();
  wait_for_state(broker_, "held", "paused");
  answer();
  EXPECT_EQ(await(client_, id_).status, Errc::ok);
  EXPECT_EQ(state_in(broker_, "held"), "paused");
  EXPECT_FALSE(servant_.closed());
}

TEST_F(HeldRequest, ADrainEndsWithTheBroker) {
  Process drain = begin("drain");
  broker_.process().signal(SIGTERM);
  EXPECT_EQ(drain.wait(), 1);
  EXPECT_NE(read_file(dir_.file("err")).find("shutting down"), std::string::npos);
  answer();
  EXPECT_EQ(await(client_, id_).status, Errc::ok);
  EXPECT_EQ(broker_.process().wait(), 0);
}

TEST_F(HeldRequest, TheRetiredOneIsToldAndItsProcessMayNotComeBack) {
  Process retire = begin("retire");
  answer();
  EXPECT_EQ(await(client_, id_).status, Errc::ok);
  EXPECT_EQ(servant_.wait_closed().status, Errc::retired);
  EXPECT_EQ(retire.wait(), 0);
  EXPECT_EQ(state_in(broker_, "held"), "gone");
  shm::AttachOptions options;
  options.broker = broker_.name();
  options.directory = broker_.directory();
  options.role = shm::Role::servant;
  std::string reason;
  const auto again = shm::Attachment::open(options, &reason);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, Errc::access);
  EXPECT_NE(reason.find("retired"), std::string::npos) << reason;
  EXPECT_EQ(status_of(call_opaque(client_, pattern(10))), Errc::no_servant)
      << "a client of the same process is welcome";
  EXPECT_EQ(broker_.counter("closed_total"), 0U) << "it did nothing wrong";
}

TEST_F(HeldRequest, OneThatGoesWhileItIsRetiredMayNotComeBackEither) {
  // As a shim does whose q is restarted: it detaches, and attaches again a little later.
  Process retire = begin("retire");
  servant_.vanish();
  EXPECT_EQ(retire.wait(), 0);
  EXPECT_EQ(read_file(dir_.file("out")), "retired: held (number 1)" + kNobodyLeft);
  EXPECT_EQ(await(client_, id_).status, Errc::servant_died);
  shm::AttachOptions options;
  options.broker = broker_.name();
  options.directory = broker_.directory();
  options.role = shm::Role::servant;
  std::string reason;
  const auto again = shm::Attachment::open(options, &reason);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, Errc::access);
  EXPECT_NE(reason.find("retired"), std::string::npos) << reason;
}

TEST_F(HeldRequest, OneThatGoesWhileItIsDrainedIsNotCalledDrained) {
  Process drain = begin("drain");
  servant_.vanish();
  EXPECT_EQ(drain.wait(), 1);
  EXPECT_NE(read_file(dir_.file("err")).find("none drained; 1 gone: held"), std::string::npos);
  EXPECT_EQ(await(client_, id_).status, Errc::servant_died);
}

// What lay in its ring when it left ended as if it had died there.
TEST(EndedServant, OneThatIsToldToEndUnderLoadLosesNothing) {
  const Broker broker(BrokerSetup{.args = {"--policy", "even"}});
  const std::vector<std::string> args{"--rows", "0", "--credit", "8"};
  const Process stays = broker.spawn_servant("stays", args);
  broker.wait_for_counter("servants", 1);
  Load load(broker);
  for (int i = 0; i < 5; ++i) {
    Process goes = broker.spawn_servant("goes", args);
    broker.wait_for_counter("servants", 2);
    load.wait_for(200);
    goes.signal(SIGTERM);
    EXPECT_EQ(goes.wait(), 0);
    broker.wait_for_counter("servants", 1);
  }
  load.stop();
  EXPECT_EQ(broker.counter("errors"), 0U);
}

TEST(RetiredServant, OneOfTwoLaunchedEndsForGoodUnderLoadAndNothingIsLost) {
  BrokerSetup setup;
  setup.servants = 2;
  setup.servant_args = "--rows 0";
  const Broker broker(setup);
  const std::string name = "mserve-servant-1";
  const boost::json::value row = servant_row(broker, name);
  const auto pid = static_cast<pid_t>(row.at("pid").as_int64());
  {
    Load load(broker);
    load.wait_for(100);
    ctl(broker, "retire", number_of(broker, name));
    load.wait_for(100);
  }
  const std::string end = broker.wait_for_log("servant_ended launched=1 ");
  EXPECT_EQ(field_of(end, "exit"), "0") << end;
  EXPECT_EQ(end.find("restart_ms"), std::string::npos) << end;
  EXPECT_TRUE(gone(pid));
  EXPECT_EQ(state_in(broker, name), "gone");
  EXPECT_EQ(broker.launched().size(), 1U);
  EXPECT_EQ(broker.log_lines("servant_started").size(), 2U);
  EXPECT_EQ(broker.counter("errors"), 0U);
  EXPECT_EQ(broker.counter("retried"), 0U);
  ctl(broker, "retire", "all");
  Client client = broker.client();
  EXPECT_EQ(status_of(call_opaque(client, pattern(10))), Errc::no_servant)
      << "nobody is on its way, so nobody waits";
}

TEST(RetiredServant, AStoppedOneIsKilledAfterAWhile) {
  // Goal: what cannot end by itself ends all the same. It runs nothing, so nothing is lost.
  BrokerSetup setup;
  setup.servants = 1;
  setup.servant_args = "--rows 0";
  setup.args = {"--drain-timeout", "100ms"};
  const Broker broker(setup);
  ASSERT_EQ(broker.launched().size(), 1U);
  stop(broker.launched()[0]);
  wait_for_state(broker, "mserve-servant-1", "stopped");
  ctl(broker, "retire", "all");
  const std::string end = broker.wait_for_log("servant_ended launched=1 ");
  EXPECT_EQ(field_of(end, "signal"), "9") << end;
  EXPECT_EQ(end.find("restart_ms"), std::string::npos) << end;
}

TEST(RetiredServant, OneThatDiesWhileItIsDrainedIsNotStartedAgain) {
  BrokerSetup setup;
  setup.servants = 1;
  setup.servant_args = "--rows 1000000";
  const Broker broker(setup);
  ASSERT_EQ(broker.launched().size(), 1U);
  const pid_t pid = broker.launched()[0];
  Client client = broker.client();
  const auto id = send_query(client, make_query("proc2 `GS`AAPL`BA`VOD`MSFT`GOOG`IBM`UBS", ""),
                             {.repeatable = false}, watchdog());
  ASSERT_TRUE(id);
  broker.wait_for_counter("running", 1);
  stop(pid);  // in the middle of it: this takes seconds
  Spawn spawn;
  spawn.argv = {program("mserve-stat"), "ctl", "retire", "all"};
  spawn.env = broker.env();
  Process retire(spawn);
  wait_for_state(broker, "mserve-servant-1", "stopped+draining");
  ASSERT_EQ(kill(pid, SIGKILL), 0);
  EXPECT_EQ(retire.wait(), 0);
  EXPECT_EQ(await(client, id.value()).status, Errc::servant_died);
  const std::string end = broker.wait_for_log("servant_ended launched=1 ");
  EXPECT_TRUE(
      wait_until([&] { return status_of(call_opaque(client, pattern(10))) == Errc::no_servant; },
                 "nobody to be expected any more"));
  EXPECT_EQ(broker.log_lines("servant_started").size(), 1U);
}

TEST(RetiredServant, OneThatWaitsToBeStartedAgainIsNot) {
  BrokerSetup setup;
  setup.servants = 1;
  setup.servant_args = "--rows 0 --tags group=old";
  const Broker broker(setup);
  ASSERT_EQ(broker.launched().size(), 1U);
  const pid_t launcher = broker.launcher();
  stop(launcher);  // so that it is not started again meanwhile
  ASSERT_EQ(kill(broker.launched()[0], SIGKILL), 0);
  wait_for_state(broker, "mserve-servant-1", "gone");
  EXPECT_EQ(stat(broker, {"ctl", "retire", "group:new"}).exit_code, 1);
  const Output output = stat(broker, {"ctl", "retire", "group:old"});
  ASSERT_EQ(kill(launcher, SIGCONT), 0);
  EXPECT_EQ(output.exit_code, 0) << output.err;
  EXPECT_EQ(output.out, "retired: mserve-servant-1 (not attached)" + kNobodyLeft);
  const std::string end = broker.wait_for_log("servant_ended launched=1 ");
  EXPECT_EQ(end.find("restart_ms"), std::string::npos) << end;
  Client client = broker.client();
  EXPECT_EQ(status_of(call_opaque(client, pattern(10))), Errc::no_servant)
      << "nobody is on its way, so nobody waits";
}

TEST(RetiredServant, AProgramThatStartedSeveralEndsWithTheLastOfThem) {
  const TempDir dir;
  const std::string script = dir.file("two.sh");
  {
    std::ofstream file(script);
    file << "#!/bin/sh\n"
         << program("mserve-servant") << " --rows 0 --name one &\n"
         << program("mserve-servant") << " --rows 0 --name two &\n"
         << "trap 'kill $(jobs -p); exit 0' TERM\nwait\n";
  }
  std::filesystem::permissions(script, std::filesystem::perms::owner_all);
  const Broker broker(BrokerSetup{.args = {"1", script}});
  broker.wait_for_counter("servants", 2);
  ctl(broker, "retire", "name:one");
  (void)broker.wait_for_log("session_retired launched=1 ");
  Client client = broker.client();
  expect_echo(client, pattern(10));
  EXPECT_EQ(state_in(broker, "one"), "gone");
  EXPECT_EQ(state_in(broker, "two"), "attached");
  EXPECT_TRUE(broker.log_lines("servant_ended").empty());
  ctl(broker, "retire", "name:two");
  const std::string end = broker.wait_for_log("servant_ended launched=1 ");
  EXPECT_EQ(end.find("restart_ms"), std::string::npos) << end;
  EXPECT_EQ(broker.log_lines("servant_started").size(), 1U);
}

std::map<std::string, std::int64_t> counters_of(const Broker& broker) {
  std::map<std::string, std::int64_t> counters;
  for (const boost::json::value& row : rows_of(broker, {"counters"})) {
    counters[text_in(row, "counter")] = row.at("value").as_int64();
  }
  return counters;
}

/// Where each request that clients sent is found, as the counters tell it.
struct Balance {
  std::int64_t submitted = 0;  ///< By clients, whatever became of it.
  std::int64_t refused = 0;
  std::int64_t replies = 0;
  std::int64_t errors = 0;
  std::int64_t discarded = 0;
  std::int64_t queued = 0;
  std::int64_t running = 0;

  void expect(const Broker& broker, const char* when) const {
    std::map<std::string, std::int64_t> is;
    const auto fits = [&] {
      is = counters_of(broker);
      return is["requests"] == submitted - refused && is["refused"] == refused &&
             is["replies"] == replies && is["errors"] == errors && is["discarded"] == discarded &&
             is["queued"] == queued && is["running"] == running;
    };
    EXPECT_TRUE(wait_until(fits, when))  // some are told once a millisecond
        << is["requests"] << " accepted, " << is["refused"] << " refused, " << is["replies"]
        << " answered, " << is["errors"] << " errors, " << is["discarded"] << " discarded, "
        << is["queued"] << " queued, " << is["running"] << " running";
    EXPECT_EQ(submitted, refused + replies + errors + discarded + queued + running);
  }
};

TEST(Counters, FindEachRequestInOneOfThem) {
  BrokerSetup setup;
  setup.args = {"--max-queue", "4", "--retries", "0"};
  const Broker broker(setup);
  RawPeer client = raw_client(broker);
  const Bytes payload = pattern(100);
  std::uint64_t id = 0;
  const auto ask = [&] { EXPECT_TRUE(client.request(++id, payload)); };
  Balance balance;
  const auto submit = [&](std::int64_t count) {
    for (std::int64_t i = 0; i < count; ++i) {
      ask();
    }
    balance.submitted += count;
  };
  submit(1);
  balance.refused = 1;  // there is no servant
  balance.expect(broker, "one that nobody can serve");

  RawPeer first = raw_servant(broker, "first");
  submit(5);
  const auto asked = first.take();
  ASSERT_TRUE(asked.has_value());
  balance.refused += 1;  // above --max-queue
  balance.running = 1;
  balance.queued = 3;
  balance.expect(broker, "four that are under way");

  EXPECT_TRUE(first.reply(asked->header.id, payload));
  const auto second_asked = first.take();
  ASSERT_TRUE(second_asked.has_value());
  balance.replies = 1;
  balance.queued = 2;
  balance.expect(broker, "an answer");

  // An answer that breaks off is an error, and no answer.
  shm::FrameHeader head;
  head.kind = shm::Kind::reply;
  head.flags = shm::kFlagOpaque;
  head.id = second_asked->header.id;
  head.aux = shm::pack(shm::ReplyAux{1, 0});
  EXPECT_TRUE(first.fragment(head, 0, 1000, payload));
  RawPeer next = raw_servant(broker, "next");
  const auto next_asked = next.take();
  ASSERT_TRUE(next_asked.has_value());
  first.vanish();
  balance.errors = 1;
  balance.queued = 1;
  balance.expect(broker, "an answer that broke off");

  client.vanish();
  balance.discarded = 1;  // what was queued; the other one once its servant is done with it
  balance.queued = 0;
  balance.expect(broker, "a client that went");
  EXPECT_TRUE(next.reply(next_asked->header.id, payload));
  balance.discarded = 2;
  balance.running = 0;
  balance.expect(broker, "the end");
}

TEST(Counters, AreShownWithTheirNamesAndServantsWithWhatWaits) {
  const Broker broker;
  Client client = broker.client();
  EXPECT_EQ(status_of(call_opaque(client, pattern(10))), Errc::no_servant);
  EXPECT_EQ(counters_of(broker).at("refused"), 1);
  EXPECT_NE(stat(broker, {"counters"}).out.find("interrupts"), std::string::npos);
  EXPECT_NE(stat(broker, {"servants"}).out.find("queued 0, running 0, policy "), std::string::npos);
}

}  // namespace
}  // namespace mserve::test
