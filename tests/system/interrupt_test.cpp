// SPDX-License-Identifier: Apache-2.0
// --interrupt: what runs for nobody any more is stopped. Real broker, shim and stand-in, each a
// process: the signal has to find the right one.
#include <gtest/gtest.h>

#include <csignal>
#include <functional>
#include <string>
#include <vector>

#include "mserve/client/query.hpp"
#include "support/requests.hpp"
#include "support/shim_process.hpp"
#include "system/gateway_setup.hpp"

namespace mserve::test {
namespace {

constexpr const char* kAnHour = "sleep 3600000";
constexpr const char* kSaid = "q is interrupted";

/// A q that serves alone: only an interruption makes it answer anything within the hour.
struct OneQ {
  explicit OneQ(std::vector<std::string> broker_args, std::vector<std::string> q_args = {},
                bool by_socket = false, std::vector<std::string> shim_args = {})
      : broker(with_gateway(std::move(broker_args), 0)), q(std::move(q_args)), shim(broker, [&] {
          const std::string port = std::to_string(q.port());
          shim_args.insert(shim_args.end(),
                           {by_socket ? "--q-socket" : "--q", by_socket ? port : ":" + port});
          return shim_args;
        }()) {
    broker.wait_for_counter("servants", 1);
  }

  /// The next one is answered, so q has come back.
  void expect_back() {
    RawClient next = connect(broker);
    EXPECT_EQ(next.query(text("echo 42")), Value::long_atom(42));
    EXPECT_EQ(shim.count(kSaid), 1U) << shim.log();
    broker.wait_for_counter("interrupts", 1);
    EXPECT_FALSE(q.process().ended());
  }

  Broker broker;
  StandinProcess q;
  ShimProcess shim;
  std::uint64_t sent = 0;  ///< Requests, by whoever counts them.
};

TEST(Interrupt, WhatRunsTooLongIsStoppedAndItsServantComesBack) {
  OneQ one({"--interrupt", "--timeout", "50ms"});
  RawClient client = connect(one.broker);
  EXPECT_EQ(client.query(text(kAnHour)), Value::error("timeout"));
  one.expect_back();
  one.broker.wait_for_counter("overruns", 1);
  one.broker.wait_for_counter("stale_replies", 1);
}

TEST(Interrupt, TheSameOverAUnixSocketAndWithLbtServants) {
  OneQ one({"--interrupt", "--timeout", "50ms"}, {"--uds", "--form", "lbt"}, /*by_socket=*/true);
  RawClient client = connect(one.broker);
  EXPECT_EQ(client.query(text(kAnHour)), Value::error("timeout"));
  one.expect_back();
}

TEST(Interrupt, WhatItsConnectionHungUpOnIsStopped) {
  OneQ one({"--interrupt"});
  {
    RawClient client = RawClient::unix_socket(one.broker.socket_path(), true);
    ASSERT_TRUE(client.handshake());
    ASSERT_TRUE(client.send(text(kAnHour), MessageKind::sync));
    one.broker.wait_for_counter("requests", 1);
  }
  one.expect_back();
}

TEST(Interrupt, WhatAClientOfTheLibraryCancelsOrLeavesIsStopped) {
  for (const bool leaves : {false, true}) {
    OneQ one({"--interrupt"});
    Client client = one.broker.client();
    const auto id = send_query(client, make_query(kAnHour, ""), {}, watchdog());
    ASSERT_TRUE(id);
    one.broker.wait_for_counter("requests", 1);
    if (leaves) {
      client = one.broker.client();
    } else {
      client.cancel(id.value());
    }
    one.expect_back();
  }
}

TEST(Interrupt, AQThatHasNotBegunIsSignalledOnceItHas) {
  for (const bool by_socket : {false, true}) {
    OneQ one({"--interrupt"},
             by_socket ? std::vector<std::string>{"--uds"} : std::vector<std::string>{}, by_socket);
    Client client = one.broker.client();
    one.q.process().signal(SIGSTOP);
    const auto id = send_query(client, make_query(kAnHour, ""), {}, watchdog());
    ASSERT_TRUE(id);
    one.broker.wait_for_counter("requests", 1);
    client.cancel(id.value());
    one.broker.wait_for_counter("interrupts", 1);
    let_pass(100'000'000);
    EXPECT_EQ(one.shim.count(kSaid), 0U) << "the signal would meet a q that evaluates nothing";
    one.q.process().signal(SIGCONT);
    one.expect_back();
  }
}

TEST(Interrupt, WithMoreCreditOnlyWhatIsAloneAtQ) {
  OneQ one({"--interrupt"}, {}, false, {"--credit", "4"});
  Client client = one.broker.client();
  const auto run_and_cancel = [&](int queries) {
    std::vector<std::uint64_t> ids;
    for (int i = 0; i < queries; ++i) {
      const auto id = send_query(client, make_query(kAnHour, ""), {}, watchdog());
      ASSERT_TRUE(id);
      ids.push_back(id.value());
    }
    one.broker.wait_for_counter("requests", one.sent += static_cast<std::uint64_t>(queries));
    client.cancel(ids.front());
  };
  run_and_cancel(1);
  one.shim.wait_for_log(kSaid);  // before anything else goes out
  one.expect_back();
  one.sent += 1;
  one.q.process().signal(SIGSTOP);
  run_and_cancel(2);
  one.broker.wait_for_counter("interrupts", 2);
  let_pass(100'000'000);
  EXPECT_EQ(one.shim.count(kSaid), 1U) << "it has read neither";
  one.q.process().signal(SIGCONT);
  let_pass(100'000'000);
  EXPECT_EQ(one.shim.count(kSaid), 1U) << "the one behind it would be hit if it came late";
}

TEST(Interrupt, AQThatDoesNotSayItsProcessIsNeverSignalled) {
  for (const char* const form : {"plain", "lbt"}) {
    OneQ one({"--interrupt", "--timeout", "50ms"}, {"--process", "0", "--form", form});
    RawClient client = connect(one.broker);
    EXPECT_EQ(client.query(text(kAnHour)), Value::error("timeout"));
    one.shim.wait_for_log("q cannot be interrupted: it does not say which process it is");
    EXPECT_EQ(one.shim.count(kSaid), 0U);
  }
}

TEST(Interrupt, ABrokerThatStandsBeforeQIsNeverSignalled) {
  Broker inner(with_gateway({}, 0));
  StandinProcess q;
  const ShimProcess near(inner, q.port());
  inner.wait_for_counter("servants", 1);
  const Broker outer(with_gateway({"--interrupt", "--timeout", "50ms"}, 0));
  const ShimProcess far(outer, inner.port());
  outer.wait_for_counter("servants", 1);
  RawClient client = connect(outer);
  EXPECT_EQ(client.query(text(kAnHour)), Value::error("timeout"));
  far.wait_for_log("q cannot be interrupted: it says that it is process " +
                   std::to_string(q.process().pid()));
  EXPECT_EQ(far.count(kSaid), 0U);
  EXPECT_FALSE(inner.process().ended());
  EXPECT_FALSE(q.process().ended());
}

TEST(Interrupt, WithoutTheFlagNobodyIsTold) {
  const Broker broker(with_gateway({"--timeout", "20ms"}, 0));
  RawPeer servant = raw_servant(broker, "one");
  broker.wait_for_counter("servants", 1);
  RawClient client = connect(broker);
  EXPECT_EQ(client.query(text(kAnHour)), Value::error("timeout"));
  const auto request = servant.take();
  ASSERT_TRUE(request);
  ASSERT_TRUE(answer(servant, request->header.id, kdb::encode(Value::null())));
  EXPECT_EQ(client.query(text("echo 1")), Value::error("timeout"));
  const auto next = servant.take();
  ASSERT_TRUE(next);
  EXPECT_EQ(next->header.kind, shm::Kind::request) << "and nothing before it";
  EXPECT_EQ(broker.counter("interrupts"), 0U);
}

TEST(Interrupt, AServantIsToldOnceAndOnlyOfWhatItRunsAndHasNotBegunToAnswer) {
  BrokerSetup setup;
  setup.args = {"--interrupt"};
  const Broker broker(setup);
  RawPeer servant = raw_servant(broker, "one", 2);
  broker.wait_for_counter("servants", 1);
  RawPeer client = raw_client(broker);
  for (const std::uint64_t id : {1U, 2U, 3U}) {
    ASSERT_TRUE(client.request(id, pattern(10)));
  }
  const auto first = servant.take();
  const auto second = servant.take();
  ASSERT_TRUE(first && second);
  // Of the first one the answer has begun, the third one waits in the broker.
  shm::FrameHeader head;
  head.kind = shm::Kind::reply;
  head.flags = shm::kFlagOpaque;
  head.id = first->header.id;
  ASSERT_TRUE(servant.fragment(head, 0, 20, pattern(10)));
  ASSERT_TRUE(client.take());
  const auto cancel = [&client](std::uint64_t id) {
    shm::FrameHeader cancelled;
    cancelled.kind = shm::Kind::cancel;
    cancelled.id = id;
    return client.send_control(cancelled);
  };
  for (const std::uint64_t id : {1U, 3U, 2U, 2U}) {
    ASSERT_TRUE(cancel(id));
  }
  const auto told = servant.take();
  ASSERT_TRUE(told);
  EXPECT_EQ(told->header.kind, shm::Kind::cancel);
  EXPECT_EQ(told->header.id, second->header.id);
  client.vanish();
  broker.wait_for_counter("sessions", 1);
  // What it does with that is its own affair: it answers, and goes on.
  ASSERT_TRUE(servant.fragment(head, 10, 20, pattern(10)));
  ASSERT_TRUE(servant.reply(second->header.id, pattern(10)));
  RawPeer other = raw_client(broker);
  ASSERT_TRUE(other.request(7, pattern(10)));
  const auto next = servant.take();
  ASSERT_TRUE(next);
  EXPECT_EQ(next->header.kind, shm::Kind::request);
  EXPECT_EQ(broker.counter("interrupts"), 1U);
}

TEST(Interrupt, AServantOfTheSdkPassesItOver) {
  BrokerSetup setup = with_gateway({"--interrupt", "--timeout", "1ms"}, 1);
  setup.servant_args = "--rows 1000000";
  const Broker broker(setup);
  RawClient client = connect(broker);
  ASSERT_TRUE(wait_until(
      [&] {
        (void)client.query(text("proc1 `IBM"));
        return broker.counter("interrupts").value_or(0) > 1;
      },
      "it was told more than once"));
  EXPECT_EQ(broker.counter("servants"), 1U);
  EXPECT_EQ(broker.counter("closed_total"), 0U);
}

TEST(Interrupt, AQThatEndsByItIsWaitedForAsEver) {
  // The signal that comes too late, made certain: q evaluates nothing when it comes.
  OneQ one({"--interrupt"});
  one.q.process().signal(SIGINT);
  EXPECT_EQ(one.q.process().wait(), 0);
  one.broker.wait_for_counter("servants", 0);
  const StandinProcess again({}, one.q.port());
  one.broker.wait_for_counter("servants", 1);
  RawClient client = connect(one.broker);
  EXPECT_EQ(client.query(text("echo 42")), Value::long_atom(42));
}

}  // namespace
}  // namespace mserve::test
