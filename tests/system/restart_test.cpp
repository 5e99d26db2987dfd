// SPDX-License-Identifier: Apache-2.0
// The broker itself dies, is stopped, comes back.
#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <thread>

#include "support/requests.hpp"

namespace mserve::test {
namespace {

TEST(KilledBroker, AClientBlockedInACallGetsDisconnected) {
  Broker broker;
  RawPeer servant = raw_servant(broker, "holds");
  broker.wait_for_counter("servants", 1);
  Client client = broker.client();
  Errc status = Errc::ok;
  std::thread caller([&] { status = status_of(call_opaque(client, pattern(10))); });
  EXPECT_TRUE(servant.take());
  broker.kill();
  caller.join();  // not before the watchdog of the call unless it is told
  EXPECT_EQ(status, Errc::disconnected);
}

TEST(KilledBroker, AClientInTheMiddleOfALargeRequestGetsDisconnected) {
  Broker broker;
  RawPeer servant = raw_servant(broker, "holds");
  broker.wait_for_counter("servants", 1);
  Client client = broker.client();
  Errc status = Errc::ok;
  std::thread caller([&] { status = status_of(call_opaque(client, pattern(16U << 20))); });
  EXPECT_TRUE(servant.take());
  broker.kill();
  caller.join();
  EXPECT_EQ(status, Errc::disconnected);
}

TEST(KilledBroker, TheClientWorksAgainWhenABrokerOfThatNameIsBack) {
  Broker broker(broker_with({}, 1));
  Client client = broker.client();
  expect_echo(client, pattern(100));
  broker.kill();
  const auto lost = call_opaque(client, pattern(100));
  EXPECT_TRUE(status_of(lost) == Errc::disconnected || status_of(lost) == Errc::not_attached)
      << to_string(status_of(lost));
  broker.start();
  EXPECT_EQ(client.reconnect(watchdog()), Errc::ok);
  expect_echo(client, pattern(100));
}

TEST(KilledBroker, TheClientReattachesByItself) {
  Broker broker(broker_with({}, 1));
  Client client = broker.client();
  expect_echo(client, pattern(100));
  broker.kill();
  EXPECT_NE(status_of(call_opaque(client, pattern(1))), Errc::ok);
  broker.start();
  EXPECT_TRUE(wait_until([&] { return status_of(call_opaque(client, pattern(100))) == Errc::ok; },
                         "a call to succeed without reconnect()"));
}

TEST(KilledBroker, ItsServantsEndAndOthersAttachToTheNextOne) {
  Broker broker(broker_with({}, 2));
  const Process servant = broker.spawn_servant("by-hand", {"--rows", "0"});
  broker.wait_for_counter("servants", 3);
  const pid_t launcher = broker.launcher();
  const std::vector<pid_t> servants = broker.launched();
  ASSERT_EQ(servants.size(), 2U);
  broker.kill();
  EXPECT_TRUE(wait_until([&] { return gone(launcher); }, "the launcher to end"));
  for (const pid_t pid : servants) {
    EXPECT_TRUE(wait_until([pid] { return gone(pid); }, "a launched servant to end"));
  }
  broker.start();
  broker.wait_for_counter("servants", 3);
  EXPECT_FALSE(gone(servant.pid()));
  Client client = broker.client();
  expect_echo(client, pattern(100));
}

TEST(KilledBroker, LeavesOnlyItsCountersAndTheNextOneReplacesThem) {
  Broker broker(broker_with({}, 1));
  Client client = broker.client();
  expect_echo(client, pattern(100));
  const std::optional<std::uint64_t> requests = broker.counter("requests");
  EXPECT_EQ(requests, 1U);
  broker.kill();
  EXPECT_EQ(broker.shared_objects(), Broker::kSharedObjects);
  EXPECT_EQ(count_entries(broker.directory(), ".sock"), 1U);
  broker.start();  // replaces the stale socket too
  EXPECT_EQ(broker.shared_objects(), Broker::kSharedObjects);
  EXPECT_EQ(broker.counter("requests"), 0U);
  broker.stop();
  EXPECT_EQ(broker.shared_objects(), 0U);
}

TEST(KilledBroker, AtTheSameTimeAsItsServantIsReplacedByAWorkingOne) {
  Broker broker(broker_with({}, 1));
  for (int i = 0; i < 3; ++i) {
    const std::vector<pid_t> servants = broker.launched();
    ASSERT_EQ(servants.size(), 1U);
    EXPECT_EQ(::kill(servants[0], SIGKILL), 0);
    broker.kill();
    broker.start();
    Client client = broker.client();
    expect_echo(client, pattern(100));
  }
}

TEST(StoppedBroker, LeavesNothingBehind) {
  Broker broker(broker_with({}, 2));
  Client client = broker.client();
  expect_echo(client, pattern(100));
  const pid_t launcher = broker.launcher();
  const std::vector<pid_t> servants = broker.launched();
  broker.stop();
  EXPECT_TRUE(gone(launcher));
  for (const pid_t pid : servants) {
    EXPECT_TRUE(gone(pid));
  }
  EXPECT_EQ(broker.shared_objects(), 0U);
  EXPECT_EQ(count_entries(broker.directory(), broker.name()), 0U) << "socket or lock file left";
}

TEST(StoppedBroker, AnswersWhatRunsAndWhatIsQueuedAndRefusesWhatIsNew) {
  Broker broker;
  RawPeer servant = raw_servant(broker, "slow");
  broker.wait_for_counter("servants", 1);
  Client client = broker.client();
  const std::uint64_t running = send_opaque(client, pattern(11));
  const std::uint64_t queued = send_opaque(client, pattern(12));
  const auto first = servant.take();
  ASSERT_TRUE(first);
  broker.wait_for_counter("queued", 1);
  broker.process().signal(SIGTERM);
  (void)broker.wait_for_log("draining");
  // The data thread drains a moment after the log says so; until then it accepts.
  EXPECT_TRUE(wait_until(
      [&] {
        (void)send_opaque(client, pattern(13));
        return broker.counter("refused").value_or(0) > 0;
      },
      "a new request to be refused"));
  EXPECT_TRUE(servant.reply(first->header.id, first->payload));
  std::map<std::uint64_t, Errc> answers;
  EXPECT_TRUE(wait_until(
      [&] {
        if (const auto next = servant.poll()) {
          EXPECT_TRUE(servant.reply(next->header.id, next->payload));
        }
        client.poll_each([&](const mserve::Reply& reply) { answers[reply.id] = reply.status; });
        return client.in_flight() == 0;
      },
      "every request to be answered"));
  EXPECT_EQ(answers[running], Errc::ok);
  EXPECT_EQ(answers[queued], Errc::ok);
  EXPECT_EQ(answers.rbegin()->second, Errc::shutdown);
  EXPECT_EQ(broker.process().wait(), 0);
  EXPECT_EQ(broker.shared_objects(), 0U);
  EXPECT_EQ(servant.wait_closed().status, Errc::shutdown);
}

TEST(StoppedBroker, GivesUpAfterTheDrainTimeOutAndSaysShutdown) {
  BrokerSetup setup;
  setup.args = {"--drain-timeout", "50ms"};
  Broker broker(setup);
  RawPeer servant = raw_servant(broker, "holds");
  broker.wait_for_counter("servants", 1);
  Client client = broker.client();
  const std::uint64_t running = send_opaque(client, pattern(11));
  const std::uint64_t queued = send_opaque(client, pattern(12));
  ASSERT_TRUE(servant.take());
  broker.stop();
  EXPECT_EQ(await(client, queued).status, Errc::shutdown);
  EXPECT_EQ(await(client, running).status, Errc::shutdown);
  EXPECT_EQ(broker.shared_objects(), 0U);
}

TEST(StoppedBroker, ASecondSignalEndsTheDrain) {
  BrokerSetup setup;
  setup.args = {"--drain-timeout", "inf"};
  Broker broker(setup);
  RawPeer servant = raw_servant(broker, "holds");
  broker.wait_for_counter("servants", 1);
  Client client = broker.client();
  const std::uint64_t running = send_opaque(client, pattern(11));
  ASSERT_TRUE(servant.take());
  broker.process().signal(SIGTERM);
  (void)broker.wait_for_log("draining");
  // "inf" once was added to the present and wrapped, so that the drain ended by itself.
  EXPECT_EQ(client.wait(deadline_after(std::chrono::milliseconds(300))), Errc::timed_out);
  EXPECT_TRUE(broker.log_lines("drain_timeout").empty());
  broker.process().signal(SIGTERM);
  EXPECT_EQ(broker.process().wait(), 0);
  EXPECT_FALSE(broker.log_lines("second_signal").empty());
  EXPECT_EQ(await(client, running).status, Errc::shutdown);
}

TEST(StoppedBroker, ByInterruptLeavesNothingBehindAndAHangUpDoesNotStopIt) {
  Broker broker(broker_with({}, 1));
  broker.process().signal(SIGHUP);
  (void)broker.wait_for_log("reloaded note=\"nothing changed\"");
  Client client = broker.client();
  expect_echo(client, pattern(100));
  broker.process().signal(SIGINT);
  EXPECT_EQ(broker.process().wait(), 0);
  EXPECT_EQ(broker.shared_objects(), 0U);
}

TEST(KilledLauncher, EndsItsServantsAndTheBrokerGoesOnWithOthers) {
  Broker broker(broker_with({}, 1));
  const pid_t launcher = broker.launcher();
  const std::vector<pid_t> servants = broker.launched();
  ASSERT_EQ(servants.size(), 1U);
  ASSERT_EQ(::kill(launcher, SIGKILL), 0);
  (void)broker.wait_for_log("launcher_gone");
  EXPECT_TRUE(wait_until([&] { return gone(servants[0]); }, "its servant to end"));
  broker.wait_for_counter("servants", 0);
  Client client = broker.client();
  EXPECT_EQ(status_of(call_opaque(client, pattern(10))), Errc::no_servant);
  const Process servant = broker.spawn_servant("by-hand", {"--rows", "0"});
  broker.wait_for_counter("servants", 1);
  expect_echo(client, pattern(100));
  broker.stop();
}

TEST(Launcher, BacksOffFromAServantThatKeepsEnding) {
  const TempDir dir;
  Process broker(
      Spawn{.argv = {program("mserve-broker"), "--name",
                     "t" + std::to_string(getpid()) + "-backoff", "--dir", dir.path(),
                     "--max-queue-bytes", "1m", "--max-pending-bytes", "1m", "1", "false"},
            .stderr_path = dir.file("log")});
  for (const char* const pause : {"restart_ms=100", "restart_ms=200", "restart_ms=400"}) {
    EXPECT_TRUE(wait_until(
        [&] { return read_file(dir.file("log")).find(pause) != std::string::npos; }, pause));
  }
  // Nobody can say whether it ever stays up, so nobody shall wait for it.
  ClientOptions options;
  options.broker = "t" + std::to_string(getpid()) + "-backoff";
  options.directory = dir.path();
  auto client = Client::connect(options);
  ASSERT_TRUE(client);
  EXPECT_EQ(status_of(call_opaque(client.value(), pattern(10))), Errc::no_servant);
  broker.signal(SIGTERM);
  EXPECT_EQ(broker.wait(), 0);
}

TEST(SecondBroker, OfTheSameNameIsRefusedAndTheFirstGoesOn) {
  const Broker broker(broker_with({}, 1));
  const Output second = run_to_end(broker.command_line());
  EXPECT_EQ(second.exit_code, 1);
  EXPECT_NE(second.err.find("in use"), std::string::npos) << second.err;
  EXPECT_NE(second.err.find(std::to_string(broker.pid())), std::string::npos) << second.err;
  Client client = broker.client();
  expect_echo(client, pattern(100));
  EXPECT_EQ(broker.shared_objects(), Broker::kSharedObjects);
}

}  // namespace
}  // namespace mserve::test
