// SPDX-License-Identifier: Apache-2.0
// Queries of clients, answered by a q process behind mserve-qshim.
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <thread>
#include <vector>

#include "mserve/kdb/codec.hpp"
#include "mserve/kdb/skip.hpp"
#include "standin/standin.hpp"
#include "support/requests.hpp"
#include "support/shim_process.hpp"

namespace mserve::test {
namespace {

using kdb::Value;

/// A stand-in that runs from the start.
class Q {
 public:
  explicit Q(StandinOptions options = {}) : standin_(std::move(options)) { standin_.start(); }
  Standin* operator->() { return &standin_; }
  [[nodiscard]] std::uint16_t port() const { return standin_.port(); }

 private:
  Standin standin_;
};

Value ask(Client& client, const std::string& text, const QueryOptions& options = {}) {
  const auto answer = query(client, text, options, watchdog());
  if (!answer) {
    return Value::error(std::string("status ") + to_string(answer.error().code));
  }
  return answer.value().result;
}

std::string first_info(Client& client, const std::string& text, const std::string& key) {
  const auto answer = query(client, text, {}, watchdog());
  EXPECT_TRUE(answer);
  const auto value = answer ? answer.value().info.find(key) : std::nullopt;
  return value ? std::string(value->text_view().value_or("")) : "";
}

TEST(Shim, EveryFormIsFoundOutAndServed) {
  struct Case {
    Form form;
    const char* protocol;
    const char* spoken;
  };
  for (const Case& c : {Case{Form::plain, "auto", "plain"}, Case{Form::plain, "plain", "plain"},
                        Case{Form::lbt, "auto", "lbt"}, Case{Form::lbt, "lbt", "lbt"},
                        Case{Form::qsvr, "auto", "lbt"}}) {
    Q q({.form = c.form});
    const Broker broker;
    const ShimProcess shim(broker, q.port(), {"--servant-protocol", c.protocol});
    broker.wait_for_counter("servants", 1);
    EXPECT_EQ(shim.count(std::string("servant protocol ") + c.spoken), 1U) << shim.log();
    Client client = broker.client();
    EXPECT_EQ(ask(client, "echo 42"), Value::long_atom(42));
    EXPECT_TRUE(ask(client, "proc1 `IBM`GS").is_keyed_table() ||
                ask(client, "proc1 `IBM").is_table())
        << c.spoken;
    const Value failure = ask(client, "fail `oops");
    if (c.form == Form::plain) {
      EXPECT_EQ(failure, Value::error("oops"));
    } else {
      EXPECT_EQ(failure, Value::chars("Error: fail oops"));
    }
    EXPECT_EQ(q->connections(), 1U);
  }
}

TEST(Shim, AnswersHoweverTheyTravelAreTheSame) {
  for (const Form form : {Form::plain, Form::lbt}) {
    for (const auto reply : {Reply::compressed, Reply::big_endian, Reply::dribble}) {
      Q q({.form = form, .reply = reply});
      const Broker broker;
      const ShimProcess shim(broker, q.port());
      Client client = broker.client();
      broker.wait_for_counter("servants", 1);
      EXPECT_EQ(ask(client, "echo `a`b`c"), Value::symbols({"a", "b", "c"}));
      EXPECT_EQ(ask(client, "big 10000").count(), 10'000U);
    }
  }
}

TEST(Shim, ServesByQsUnixSocketToo) {
  const TempDir dir;
  Q q({.uds = true, .uds_dir = dir.path()});
  const Broker broker;
  const ShimProcess shim(broker, {"--q-socket", std::to_string(q.port())},
                         {{"QUDSPATH", dir.path()}});
  broker.wait_for_counter("servants", 1);
  Client client = broker.client();
  EXPECT_EQ(ask(client, "echo 42"), Value::long_atom(42));
  EXPECT_EQ(first_info(client, "echo 1", "qsvr"), "kx." + std::to_string(q.port()));
}

TEST(Shim, SaysWhoItIsAndTellsWhenThatIsRefused) {
  Q q({.user = "bob:secret"});
  const Broker broker;
  {
    const ShimProcess shim(broker, q.port(), {"--user", "bob:wrong"});
    shim.wait_for_log("user 'bob'");
    EXPECT_EQ(shim.log().find("wrong"), std::string::npos);
    (void)wait_until([&] { return q->refused() >= 3; }, "further attempts");
    EXPECT_EQ(shim.count("no q:"), 1U);  // told once, not once per attempt
    EXPECT_EQ(broker.counter("servants"), 0U);
  }
  const ShimProcess shim(broker, {"--q", ":" + std::to_string(q.port())},
                         {{"MSERVE_Q_USER", "bob:secret"}});
  broker.wait_for_counter("servants", 1);
  Client client = broker.client();
  EXPECT_EQ(ask(client, "user[]"), Value::symbol("bob"));
}

TEST(Shim, OptionsAndInfoOfLbtServantsPassThroughTheBroker) {
  Q q({.form = Form::lbt, .info = true});
  const Broker broker;
  const ShimProcess shim(broker, q.port());
  broker.wait_for_counter("servants", 1);
  RawPeer client = raw_client(broker);
  const Value options = Value::dict(Value::symbols({"deadline"}), Value::longs({7}));
  Bytes payload = kdb::encode(Value::chars("options[]"));
  const Bytes behind = kdb::encode(options);
  payload.insert(payload.end(), behind.begin(), behind.end());
  ASSERT_TRUE(client.request(1, payload, shm::kFlagPair));
  const auto reply = client.take();
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->header.flags, shm::kFlagPair);
  const std::span<const std::byte> bytes(reply->payload);
  const auto result_bytes = kdb::skip(bytes);
  ASSERT_TRUE(result_bytes);
  EXPECT_EQ(kdb::decode(bytes.first(*result_bytes)).value(), options);
  const auto info = kdb::decode(bytes.subspan(*result_bytes));
  ASSERT_TRUE(info);
  EXPECT_EQ(info.value().find("route"), Value::symbol("standin"));
}

TEST(Shim, OpaqueRequestsAreRefused) {
  Q q;
  const Broker broker;
  const ShimProcess shim(broker, q.port());
  broker.wait_for_counter("servants", 1);
  Client client = broker.client();
  const auto reply = call_opaque(client, pattern(100));
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply.value()->status, Errc::failed);
  EXPECT_EQ(kdb::decode(reply.value()->payload).value(),
            Value::error("opaque requests are not served by q"));
}

TEST(Shim, MoreCreditKeepsQBusyAndMixesNothingUp) {
  for (const Form form : {Form::plain, Form::lbt}) {
    Q q({.form = form});
    const Broker broker;
    const ShimProcess shim(broker, q.port(), {"--credit", "4"});
    broker.wait_for_counter("servants", 1);
    std::vector<std::thread> clients;
    for (int c = 0; c < 4; ++c) {
      clients.emplace_back([&broker, c] {
        Client client = broker.client();
        for (int n = 0; n < 50; ++n) {
          const int value = c * 1000 + n;
          EXPECT_EQ(ask(client, "echo " + std::to_string(value)), Value::long_atom(value));
        }
      });
    }
    for (std::thread& client : clients) {
      client.join();
    }
  }
}

TEST(Shim, OfServantsThatAcceptOneConnectionOnlyNeedsNoMore) {
  // LBT's servants look at Q_SERVANTOF and end when their connection closes: a trial connection, or
  // a second one, would be their end.
  Q q({.form = Form::lbt, .exit_on_close = true, .servant_of = "127.0.0.1"});
  const Broker broker;
  const ShimProcess shim(broker, q.port());
  broker.wait_for_counter("servants", 1);
  Client client = broker.client();
  EXPECT_EQ(ask(client, "echo 42"), Value::long_atom(42));
  EXPECT_EQ(q->connections(), 1U);
  EXPECT_EQ(q->refused(), 0U);
  EXPECT_TRUE(q->running());
}

TEST(Shim, LaunchedByTheBrokerItHasANumberForAName) {
  Q q;
  BrokerSetup setup;
  setup.args = {"--servant-args", "--q :" + std::to_string(q.port()), "2", program("mserve-qshim")};
  const Broker broker(setup);
  EXPECT_EQ(broker.log_lines("attached servant=mserve-qshim-1 ").size(), 1U) << broker.log();
  EXPECT_EQ(broker.log_lines("attached servant=mserve-qshim-2 ").size(), 1U);
  Client client = broker.client();
  EXPECT_EQ(ask(client, "echo 42"), Value::long_atom(42));
}

TEST(Shim, TermFinishesWhatRuns) {
  Q q;
  const Broker broker;
  ShimProcess shim(broker, q.port());
  broker.wait_for_counter("servants", 1);
  q->hold();
  const std::uint64_t before = q->messages();
  Client client = broker.client();
  const Query made = make_query("echo 42", "");
  const auto id = client.send(made.object, {}, watchdog());
  ASSERT_TRUE(id);
  (void)wait_until([&] { return q->messages() > before; }, "q to have the query");
  shim.process().signal(SIGTERM);
  q->release();
  const mserve::Reply reply = await(client, id.value());
  EXPECT_EQ(reply.status, Errc::ok);
  EXPECT_EQ(kdb::decode(reply.payload).value(), Value::long_atom(42));
  EXPECT_EQ(shim.process().wait(), 0);
  EXPECT_EQ(shim.count("stopped"), 1U);
}

// As a link to another broker ends, when whoever keeps it is killed.
TEST(Shim, TermUnderLoadLosesNothing) {
  const Broker broker(BrokerSetup{.args = {"--policy", "even"}});
  Q near;
  Q far;
  const ShimProcess stays(broker, near.port(), {"--credit", "8"});
  broker.wait_for_counter("servants", 1);
  std::atomic<bool> over{false};
  std::atomic<std::uint64_t> answered{0};
  std::vector<std::thread> askers;
  for (int i = 0; i < 4; ++i) {
    askers.emplace_back([&] {
      Client client = broker.client();
      while (!over.load(std::memory_order_acquire)) {
        EXPECT_EQ(ask(client, "echo 42", {.repeatable = false}), Value::long_atom(42));
        answered.fetch_add(1, std::memory_order_release);
      }
    });
  }
  for (int i = 0; i < 5; ++i) {
    ShimProcess goes(broker, far.port(), {"--credit", "8"});
    broker.wait_for_counter("servants", 2);
    const std::uint64_t before = answered.load(std::memory_order_acquire);
    EXPECT_TRUE(wait_until([&] { return answered.load(std::memory_order_acquire) >= before + 200; },
                           "answers"));
    goes.process().signal(SIGTERM);
    EXPECT_EQ(goes.process().wait(), 0);
    broker.wait_for_counter("servants", 1);
  }
  over.store(true, std::memory_order_release);
  for (std::thread& asker : askers) {
    asker.join();
  }
  EXPECT_EQ(broker.counter("errors"), 0U);
}

TEST(Shim, TermEndsItWhileItWaitsToo) {
  const Broker broker;
  {
    ShimProcess shim(broker, 1);  // nobody listens there
    shim.wait_for_log("no q: cannot connect");
    shim.process().signal(SIGTERM);
    EXPECT_EQ(shim.process().wait(), 0);
  }
  Q q;
  q->hold();  // accepts, and says no more
  {
    ShimProcess shim(broker, q.port());
    (void)wait_until([&] { return q->connections() == 1; }, "a connection");
    shim.process().signal(SIGTERM);
    EXPECT_EQ(shim.process().wait(), 0);
  }
  q->release();
  ShimProcess shim(broker, q.port(), {"--stop-timeout", "0"});
  broker.wait_for_counter("servants", 1);
  q->hold();
  const std::uint64_t before = q->messages();
  Client client = broker.client();
  const Query made = make_query("echo 42", "");
  ASSERT_TRUE(client.send(made.object, {}, watchdog()));
  (void)wait_until([&] { return q->messages() > before; }, "q to have the query");
  shim.process().signal(SIGTERM);
  EXPECT_EQ(shim.process().wait(), 0);
}

TEST(Shim, WrongUsageIsToldWithItsWayOut) {
  const Output none = run_to_end({program("mserve-qshim")});
  EXPECT_EQ(none.exit_code, 2);
  EXPECT_NE(none.err.find("--q HOST:PORT"), std::string::npos) << none.err;
  const Output both = run_to_end({program("mserve-qshim"), "--q", ":1", "--q-socket", "1"});
  EXPECT_EQ(both.exit_code, 2);
  const Output bad = run_to_end({program("mserve-qshim"), "--q", "nonsense"});
  EXPECT_EQ(bad.exit_code, 2);
  EXPECT_NE(bad.err.find("'nonsense' is not HOST:PORT"), std::string::npos) << bad.err;
  const Output help = run_to_end({program("mserve-qshim"), "--help"});
  EXPECT_EQ(help.exit_code, 0);
  for (const char* word : {"--servant-protocol", "MSERVE_Q_USER", "Exit status"}) {
    EXPECT_NE(help.out.find(word), std::string::npos) << word;
  }
}

}  // namespace
}  // namespace mserve::test
