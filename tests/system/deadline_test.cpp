// SPDX-License-Identifier: Apache-2.0
// How long a request waits and runs: by flag, by the client's own wish, through rings and gateway.
#include <gtest/gtest.h>

#include <algorithm>

#include "support/requests.hpp"
#include "system/gateway_setup.hpp"

namespace mserve::test {
namespace {

constexpr std::uint64_t kShortRun = 20'000'000;  // ns

/// What a servant does with a request that its broker aborts on the way.
void take_aborted(RawPeer& servant) {
  for (;;) {
    const auto frame = servant.take();
    ASSERT_TRUE(frame);
    if (frame->header.kind == shm::Kind::abort) {
      shm::FrameHeader head;
      head.kind = shm::Kind::abort;
      head.id = frame->header.id;
      ASSERT_TRUE(shm::try_send_whole(servant.out(), head, {}, {}));
      servant.wake_broker();
      return;
    }
  }
}

TEST(Deadline, ARequestThatNoServantTakesFailsWithQueueTimeout) {
  BrokerSetup setup;
  setup.args = {"--queue-timeout", "20ms"};
  const Broker broker(setup);
  RawPeer servant = raw_servant(broker, "busy");
  broker.wait_for_counter("servants", 1);
  Client client = broker.client();
  const std::uint64_t runs = send_opaque(client, pattern(10));
  const auto held = servant.take();
  ASSERT_TRUE(held);
  const std::uint64_t waits = send_opaque(client, pattern(10));
  EXPECT_EQ(await(client, waits).status, Errc::queue_timeout);
  EXPECT_TRUE(servant.reply(held->header.id, pattern(10)));
  EXPECT_EQ(await(client, runs).status, Errc::ok) << "running is not limited";
  broker.wait_for_counter("queue_timeouts", 1);
  EXPECT_FALSE(servant.poll()) << "it was never sent";
}

TEST(Deadline, ARequestThatRunsTooLongFailsAndItsServantGetsNothingUntilItAnswers) {
  BrokerSetup setup;
  setup.args = {"--timeout", "20ms", "--policy", "orig"};
  const Broker broker(setup);
  RawPeer slow = raw_servant(broker, "slow", 4);
  broker.wait_for_counter("servants", 1);
  Client client = broker.client();
  const std::uint64_t first = send_opaque(client, pattern(10));
  const auto held = slow.take();
  ASSERT_TRUE(held);
  EXPECT_EQ(await(client, first).status, Errc::timed_out);
  RawPeer other = raw_servant(broker, "other");
  broker.wait_for_counter("servants", 2);
  const std::uint64_t second = send_opaque(client, pattern(20), {.want_info = true});
  const auto next = other.take();  // the first one has credit left, but overran
  ASSERT_TRUE(next);
  EXPECT_TRUE(other.reply(next->header.id, pattern(20)));
  EXPECT_EQ(servant_of(await(client, second)), "other");
  broker.wait_for_counter("overruns", 1);
  EXPECT_TRUE(slow.reply(held->header.id, pattern(10)));  // late
  broker.wait_for_counter("stale_replies", 1);
  EXPECT_EQ(broker.counter("discarded"), 0U) << "it is among the errors";
  const std::uint64_t third = send_opaque(client, pattern(30), {.want_info = true});
  const auto again = slow.take();
  ASSERT_TRUE(again) << "welcome back";
  EXPECT_TRUE(slow.reply(again->header.id, pattern(30)));
  const auto reply = await(client, third);
  EXPECT_EQ(servant_of(reply), "slow");
  EXPECT_EQ(reply.status, Errc::ok);
}

TEST(Deadline, AClientMayAskForLessThanTheBrokerAllowsButNotForMore) {
  BrokerSetup setup;
  setup.args = {"--queue-timeout", "20ms"};
  const Broker broker(setup);
  RawPeer servant = raw_servant(broker, "busy");
  broker.wait_for_counter("servants", 1);
  Client client = broker.client();
  const std::uint64_t runs = send_opaque(client, pattern(10), {.run_ns_max = kShortRun});
  const auto held = servant.take();
  ASSERT_TRUE(held);
  EXPECT_EQ(await(client, runs).status, Errc::timed_out);
  constexpr std::uint64_t kHour = 3'600'000'000'000;
  const std::uint64_t waits = send_opaque(client, pattern(10), {.queue_ns_max = kHour});
  EXPECT_EQ(await(client, waits).status, Errc::queue_timeout);
}

TEST(Deadline, ALargeRequestThatIsStillOnItsWayIsCutAndItsServantToldSo) {
  BrokerSetup setup;
  setup.args = {"--stall-timeout", "60s"};
  const Broker broker(setup);
  RawPeer servant = raw_servant(broker, "one");
  broker.wait_for_counter("servants", 1);
  Client client = broker.client();
  // More than both rings hold, and the servant does not read.
  const Bytes large = pattern(8'000'000);
  SendOptions options{.run_ns_max = kShortRun};
  options.opaque = true;
  const auto reply = client.call(large, options, watchdog());
  EXPECT_EQ(status_of(reply), Errc::timed_out);
  take_aborted(servant);
  const std::uint64_t next = send_opaque(client, pattern(10));
  const auto held = servant.take();
  ASSERT_TRUE(held);
  EXPECT_TRUE(servant.reply(held->header.id, pattern(10)));
  EXPECT_EQ(await(client, next).status, Errc::ok);
}

TEST(Deadline, OptionsOfALbtQueryLimitItAndErrorsAreWords) {
  const Broker broker(with_gateway({"--stall-timeout", "60s"}, 0));
  RawPeer servant = raw_servant(broker, "one");
  broker.wait_for_counter("servants", 1);
  RawClient client = connect(broker);
  const auto ask = [&](int id, const char* key, Value value) {
    const Value options = Value::dict(Value::symbols({key}), list({std::move(value)}));
    EXPECT_TRUE(
        client.send(list({Value::int_atom(id), text("slow"), options}), MessageKind::async));
  };
  ask(1, "timeout", Value::long_atom(20));
  const auto held = servant.take();
  ASSERT_TRUE(held);
  EXPECT_EQ(client.receive()->value.at(1), text("Error: timeout"));
  ask(2, "queue_timeout", Value::timespan(20'000'000));
  EXPECT_EQ(client.receive()->value.at(1), text("Error: queue timeout"));
}

TEST(Deadline, AConnectionGoesOnAfterALargeRequestOfItsThatWasCut) {
  const Broker broker(with_gateway({"--stall-timeout", "60s", "--timeout", "20ms"}, 0));
  RawPeer servant = raw_servant(broker, "one");
  broker.wait_for_counter("servants", 1);
  RawClient client = connect(broker);
  RawClient other = connect(broker);
  const std::string large(6'000'000, 'x');
  for (int id = 1; id <= 3; ++id) {
    ASSERT_TRUE(client.send(list({Value::int_atom(id), list({Value::symbol("f"), text(large)})}),
                            MessageKind::async));
    EXPECT_EQ(client.receive()->value.at(1), text("Error: timeout"));
    take_aborted(servant);
  }
  ASSERT_TRUE(other.send(list({Value::int_atom(9), text("f 1")}), MessageKind::async));
  const auto held = servant.take();
  ASSERT_TRUE(held);
  const Bytes result = kdb::encode(Value::long_atom(5));
  EXPECT_TRUE(answer(servant, held->header.id, result));
  EXPECT_EQ(other.receive()->value.at(1), Value::long_atom(5)) << "the gateway is still there";
}

TEST(Deadline, ARequestThatFillsItsFrameGoesWithItsLimitsToo) {
  BrokerSetup setup;
  setup.servants = 1;
  setup.servant_args = "--rows 0";
  const Broker broker(setup);
  Client client = broker.client();
  const std::size_t most = client.try_payload_bytes_max();
  for (const std::size_t bytes : {most - 25, most - 24, most - 23, most, most + 1}) {
    constexpr std::uint64_t kHour = 3'600'000'000'000;
    SendOptions options{.queue_ns_max = kHour, .run_ns_max = kHour};
    const auto reply = call_opaque(client, pattern(bytes), options);
    EXPECT_EQ(status_of(reply), Errc::ok) << bytes;
  }
}

TEST(Deadline, OneClientCannotFillTheQueue) {
  BrokerSetup setup;
  setup.args = {"--max-queue-client", "2"};
  const Broker broker(setup);
  RawPeer servant = raw_servant(broker, "busy");
  broker.wait_for_counter("servants", 1);
  Client greedy = broker.client();
  Client other = broker.client();
  (void)send_opaque(greedy, pattern(10));
  (void)send_opaque(greedy, pattern(10));
  const std::uint64_t third = send_opaque(greedy, pattern(10));
  EXPECT_EQ(await(greedy, third).status, Errc::busy);
  (void)send_opaque(other, pattern(10));
  broker.wait_for_counter("requests", 3);
}

TEST(Weighted, RequestsFollowTheTagsOfTheServants) {
  BrokerSetup setup;
  setup.args = {"--policy", "weighted"};
  const Broker broker(setup);
  Process light = broker.spawn_servant("light", {"--rows", "0", "--tags", "weight=1"});
  Process heavy = broker.spawn_servant("heavy", {"--rows", "0", "--tags", "gpu weight=3"});
  broker.wait_for_counter("servants", 2);
  Client client = broker.client();
  std::map<std::string, int> shares;
  for (int count = 0; count < 80; ++count) {
    const std::uint64_t id = send_opaque(client, pattern(10), {.want_info = true});
    ++shares[servant_of(await(client, id))];
  }
  EXPECT_NEAR(shares["light"], 20, 1);
  EXPECT_NEAR(shares["heavy"], 60, 1);
}

TEST(Weighted, AWeightThatIsNoneIsRefusedWithAReason) {
  const Broker broker;
  EXPECT_ANY_THROW(RawPeer(broker, {.role = shm::Role::servant, .tags = "weight=none"}));
  EXPECT_NE(broker.wait_for_log("tag weight: a whole number from 1 to 1000"), "");
}

TEST(Weighted, AServantLooksAtItsWeightBeforeItAttaches) {
  // Nobody listens: with a fine one they would wait for a broker.
  for (const std::vector<std::string>& argv :
       {std::vector<std::string>{program("mserve-servant"), "--tags", "gpu,weight=none"},
        std::vector<std::string>{program("mserve-qshim"), "--q", ":1", "--tags", "weight=0"}}) {
    const Output told = run_to_end(argv);
    EXPECT_EQ(told.exit_code, 2);
    EXPECT_NE(told.err.find("weight= takes a whole number"), std::string::npos) << told.err;
  }
}

}  // namespace
}  // namespace mserve::test
