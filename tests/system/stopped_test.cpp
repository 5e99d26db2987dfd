// SPDX-License-Identifier: Apache-2.0
// A stopped servant (SIGSTOP) is suspect: it gets nothing, loses nothing, and is welcome back.
#include <gtest/gtest.h>

#include <csignal>

#include "support/requests.hpp"

namespace mserve::test {
namespace {

TEST(StoppedServant, GetsNothingUntilItGoesOn) {
  BrokerSetup setup;
  setup.args = {"--policy", "orig"};
  const Broker broker(setup);
  Process first = broker.spawn_servant("first", {"--rows", "0"});
  broker.wait_for_counter("servants", 1);
  const Process second = broker.spawn_servant("second", {"--rows", "0"});
  broker.wait_for_counter("servants", 2);
  Client client = broker.client();
  const auto who = [&] {
    return servant_of(await(client, send_opaque(client, pattern(10), {.want_info = true})));
  };
  EXPECT_EQ(who(), "first");
  first.signal(SIGSTOP);
  (void)broker.wait_for_log("suspect servant=first");
  // The command to the data thread is on its way: from some request on it is never "first" again.
  EXPECT_TRUE(wait_until(
      [&] {
        const auto id = send_opaque(client, pattern(10), {.want_info = true});
        Reply reply;
        return client.await(id, reply, deadline_after(std::chrono::milliseconds(20))) == Errc::ok &&
               servant_of(reply) == "second";
      },
      "the second servant to be chosen"));
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(who(), "second");
  }
  first.signal(SIGCONT);
  (void)broker.wait_for_log("resumed servant=first");
  EXPECT_TRUE(wait_until([&] { return who() == "first"; }, "the first servant to be chosen again"));
  EXPECT_EQ(broker.counter("closed_total"), 0U);
}

TEST(StoppedServant, WorkThatIsQueuedForItsRouteGoesElsewhere) {
  // With --match-wait inf only the holder of a route runs it; a stopped holder must not keep it for
  // ever.
  BrokerSetup setup;
  setup.args = {"--policy", "match", "--match-wait", "inf"};
  const Broker broker(setup);
  Process first = broker.spawn_servant("first", {"--rows", "0"});
  broker.wait_for_counter("servants", 1);
  Client client = broker.client();
  const auto ask = [&] {
    return send_opaque(client, pattern(10), {.route = 77, .want_info = true});
  };
  EXPECT_EQ(servant_of(await(client, ask())), "first");
  const Process second = broker.spawn_servant("second", {"--rows", "0"});
  broker.wait_for_counter("servants", 2);
  EXPECT_EQ(servant_of(await(client, ask())), "first");
  first.signal(SIGSTOP);
  const std::uint64_t held = ask();  // goes to the stopped servant, which answers when it goes on
  broker.wait_for_counter("running", 1);
  const std::uint64_t queued = ask();  // waits for the holder of its route
  (void)broker.wait_for_log("suspect servant=first");
  EXPECT_EQ(servant_of(await(client, queued)), "second");
  first.signal(SIGCONT);
  EXPECT_EQ(servant_of(await(client, held)), "first");
}

TEST(StoppedServant, CanBeKilledWhileItIsStopped) {
  const Broker broker;
  Process victim = broker.spawn_servant("victim", {"--rows", "0"});
  broker.wait_for_counter("servants", 1);
  victim.signal(SIGSTOP);
  (void)broker.wait_for_log("suspect servant=victim");
  Client client = broker.client();
  const std::uint64_t id = send_opaque(client, pattern(10), {.repeatable = true});
  broker.wait_for_counter("queued", 1);
  const Process other = broker.spawn_servant("other", {"--rows", "0"});
  EXPECT_EQ(await(client, id).status, Errc::ok);
  victim.end();
  broker.wait_for_counter("servants", 1);
  expect_echo(client, pattern(10));
}

}  // namespace
}  // namespace mserve::test
