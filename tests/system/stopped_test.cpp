// SPDX-License-Identifier: Apache-2.0
// A stopped servant (SIGSTOP) is suspect: it gets nothing, loses nothing, and is welcome back.
#include <gtest/gtest.h>
#include <unistd.h>

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
        mserve::Reply reply;
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

/// A servant, as a process, that has its first request in hand and answers it only when it is told
/// to; all later ones at once.
class HesitantServant {
 public:
  HesitantServant(const Broker& broker, const std::string& name) {
    int told[2] = {-1, -1};
    int heard[2] = {-1, -1};
    EXPECT_EQ(pipe(told), 0);
    EXPECT_EQ(pipe(heard), 0);
    process_ = Process([&] {
      RawPeer peer = raw_servant(broker, name);
      char byte = 0;
      for (bool first = true;; first = false) {
        const auto request = peer.take();
        if (!request || (first && (write(heard[1], "h", 1) != 1 || read(told[0], &byte, 1) != 1))) {
          return 1;
        }
        (void)peer.reply(request->header.id, request->payload);
      }
    });
    close(told[0]);
    close(heard[1]);
    tell_ = shm::UniqueFd(told[1]);
    hear_ = shm::UniqueFd(heard[0]);
  }
  void wait_until_held() {
    char byte = 0;
    EXPECT_EQ(read(hear_.get(), &byte, 1), 1);
  }
  void let_answer() { EXPECT_EQ(write(tell_.get(), "g", 1), 1); }
  [[nodiscard]] Process& process() noexcept { return process_; }

 private:
  Process process_;
  shm::UniqueFd tell_;
  shm::UniqueFd hear_;
};

TEST(StoppedServant, ForLongerThanEveryTimeOutCostsOneRequestAndItsLateAnswerIsDropped) {
  BrokerSetup setup;
  setup.args = {"--policy", "orig"};
  const Broker broker(setup);
  HesitantServant first(broker, "first");
  broker.wait_for_counter("servants", 1);
  Client client = broker.client();
  constexpr std::uint64_t kShort = 50'000'000;
  const std::uint64_t runs =
      send_opaque(client, pattern(10), {.repeatable = true, .run_ns_max = kShort});
  first.wait_until_held();
  first.process().signal(SIGSTOP);
  const std::uint64_t waits = send_opaque(client, pattern(10), {.queue_ns_max = kShort});
  EXPECT_EQ(await(client, runs).status, Errc::timed_out);
  EXPECT_EQ(await(client, waits).status, Errc::queue_timeout);
  (void)broker.wait_for_log("suspect servant=first");
  const Process second = broker.spawn_servant("second", {"--rows", "0"});
  broker.wait_for_counter("servants", 2);
  const auto who = [&] {
    return servant_of(await(client, send_opaque(client, pattern(10), {.want_info = true})));
  };
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(who(), "second");
  }
  EXPECT_EQ(broker.counter("stale_replies"), 0U);
  first.let_answer();
  first.process().signal(SIGCONT);
  broker.wait_for_counter("stale_replies", 1);
  EXPECT_EQ(broker.counter("discarded"), 0U) << "it is among the errors";
  EXPECT_TRUE(wait_until([&] { return who() == "first"; }, "the first one to be welcome back"));
  EXPECT_EQ(client.in_flight() + client.unread(), 0U) << "the late answer went to the client";
  EXPECT_EQ(broker.counter("overruns"), 1U);
  EXPECT_EQ(broker.counter("queue_timeouts"), 1U);
  EXPECT_EQ(broker.counter("retried"), 0U) << "a time-out is an end, not a retry";
  EXPECT_EQ(broker.counter("closed_total"), 0U);
}

TEST(StoppedServant, ThatIsKilledLeavesItsRequestToAnotherOnce) {
  const Broker broker;
  HesitantServant first(broker, "first");
  broker.wait_for_counter("servants", 1);
  Client client = broker.client();
  const std::uint64_t id =
      send_opaque(client, pattern(10), {.want_info = true, .repeatable = true});
  first.wait_until_held();
  first.process().signal(SIGSTOP);
  (void)broker.wait_for_log("suspect servant=first");
  const Process second = broker.spawn_servant("second", {"--rows", "0"});
  broker.wait_for_counter("servants", 2);
  first.process().end();
  const mserve::Reply reply = await(client, id);
  EXPECT_EQ(reply.status, Errc::ok);
  EXPECT_EQ(servant_of(reply), "second");
  broker.wait_for_counter("retried", 1);
}

}  // namespace
}  // namespace mserve::test
