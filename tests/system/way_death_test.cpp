// SPDX-License-Identifier: Apache-2.0
// q is killed at every point of a request that came through the gateway, by clients that ask in
// every way. Each gets one answer, or one error, or, only when its answer had begun to stream, a
// closed connection: never nothing, never two.
#include <csignal>
#include <thread>

#include "system/way_setup.hpp"

namespace mserve::test {
namespace {

/// The end of a query, as its client sees it.
std::string fate(Ask ask, RawClient& client) {
  const auto answer = client.receive();
  if (!answer) {
    return client.last_bytes().size() >= kdb::kHeaderBytes ? "broke off" : "closed";
  }
  const Value result = result_in(ask, *answer);
  if (result.is_error()) {
    return "error: " + std::string(*result.text_view());
  }
  if (const auto number = result.integer()) {
    return std::to_string(*number);
  }
  return std::string(result.text_view().value_or("something else"));
}

/// How an error of the broker's reads, asked so.
std::string failure(Ask ask, const std::string& sync_text, const std::string& async_text) {
  switch (ask) {
    case Ask::sync:
      return "error: " + sync_text;
    case Ask::aw:
      return "error";
    case Ask::np:
    case Ask::lbt:
      break;
  }
  return "Error: " + async_text;
}

/// A q that will be killed, or will kill itself, and the shim in front of it.
struct DoomedQ {
  DoomedQ(const Broker& broker, std::vector<std::string> args)
      : q(std::move(args)), shim(broker, q.port(), {"--servant-protocol", "auto"}) {}

  StandinProcess q;
  ShimProcess shim;
};

void send_as(Ask ask, RawClient& client, const Value& query) {
  ASSERT_TRUE(client.send_bytes(message_of(ask, query)));
}

/// What the broker has left is to be nothing; a flush shows that nothing more came; and the same
/// connection is served by the next q.
void expect_service_resumes(const Broker& broker, RawClient& client) {
  broker.wait_for_counter("servants", 0);
  EXPECT_EQ(client.query(""), Value::null()) << "a second answer came in its place";
  const ServedQ next(broker, {});
  broker.wait_for_counter("servants", 1);
  EXPECT_EQ(client.query("echo 43"), Value::long_atom(43));
}

class WayDeath : public OfEveryForm {
 protected:
  WayDeath() : broker_(with_gateway({"--stall-timeout", "60s"}, 0)) {}

  [[nodiscard]] static std::vector<std::string> args(std::vector<std::string> more) {
    more.insert(more.begin(), {"--form", name_of(GetParam())});
    return more;
  }

  Broker broker_;
};

INSTANTIATE_TEST_SUITE_P(Forms, WayDeath, ::testing::Values(Form::plain, Form::lbt, Form::qsvr),
                         form_name);

TEST_P(WayDeath, OnAQueryIsOneError) {
  // A plain q takes half of the question that `auto` asks for a query.
  const char* const pass = GetParam() == Form::plain ? "1" : "0";
  for (const Ask ask : kEveryAsk) {
    RawClient client = connect(broker_);
    {
      const DoomedQ doomed(broker_, args({"--die", "on-query", "--die-after", pass}));
      broker_.wait_for_counter("servants", 1);
      send_as(ask, client, call("echo", Value::long_atom(42)));
      EXPECT_EQ(fate(ask, client), failure(ask, "servant died", "no servant")) << name_of(ask);
    }
    expect_service_resumes(broker_, client);
    broker_.wait_for_counter("servants", 0);
  }
}

TEST_P(WayDeath, InTheMiddleOfASmallReplyIsOneError) {
  for (const Ask ask : kEveryAsk) {
    RawClient client = connect(broker_);
    {
      const DoomedQ doomed(broker_, args({"--die", "mid-reply"}));
      broker_.wait_for_counter("servants", 1);
      send_as(ask, client, call("echo", Value::long_atom(42)));
      EXPECT_EQ(fate(ask, client), failure(ask, "servant died", "no servant")) << name_of(ask);
    }
    expect_service_resumes(broker_, client);
    broker_.wait_for_counter("servants", 0);
  }
}

TEST_P(WayDeath, InTheMiddleOfAReplyThatStreamsIsAClosedConnection) {
  for (const Ask ask : kEveryAsk) {
    RawClient client = connect(broker_);
    RawClient bystander = connect(broker_);
    {
      const DoomedQ doomed(broker_, args({"--die", "mid-reply"}));
      broker_.wait_for_counter("servants", 1);
      send_as(ask, client, call("big", Value::long_atom(20'000'000)));
      EXPECT_EQ(fate(ask, client), "broke off") << name_of(ask);
      EXPECT_TRUE(client.closed_by_peer());
    }
    expect_service_resumes(broker_, bystander);
    broker_.wait_for_counter("servants", 0);
    broker_.wait_for_counter("gateway_connections", 1);
  }
}

TEST_P(WayDeath, RightBehindAReplyLeavesTheReplyWhole) {
  for (const Ask ask : kEveryAsk) {
    RawClient client = connect(broker_);
    {
      const DoomedQ doomed(broker_, args({"--die", "after-reply"}));
      broker_.wait_for_counter("servants", 1);
      send_as(ask, client, call("big", Value::long_atom(3'000'000)));
      const auto answer = client.receive();
      ASSERT_TRUE(answer) << name_of(ask);
      EXPECT_EQ(result_in(ask, *answer).count(), 3'000'000U) << name_of(ask);
    }
    expect_service_resumes(broker_, client);
    broker_.wait_for_counter("servants", 0);
  }
}

TEST_P(WayDeath, BetweenRequestsIsAnErrorForTheNext) {
  for (const Ask ask : kEveryAsk) {
    RawClient client = connect(broker_);
    {
      DoomedQ doomed(broker_, args({}));
      broker_.wait_for_counter("servants", 1);
      send_as(ask, client, call("echo", Value::long_atom(42)));
      EXPECT_EQ(fate(ask, client), "42") << name_of(ask);
      doomed.q.process().end();
      broker_.wait_for_counter("servants", 0);
      send_as(ask, client, call("echo", Value::long_atom(42)));
      EXPECT_EQ(fate(ask, client), failure(ask, "no servant", "no servant")) << name_of(ask);
    }
    expect_service_resumes(broker_, client);
    broker_.wait_for_counter("servants", 0);
  }
}

TEST_P(WayDeath, InTheMiddleOfTheHandshakeIsAnErrorAndNoServant) {
  for (const Ask ask : kEveryAsk) {
    RawClient client = connect(broker_);
    {
      const DoomedQ doomed(broker_, args({"--die", "handshake"}));
      doomed.shim.wait_for_log("no q:");
      EXPECT_EQ(broker_.counter("servants"), 0U);
      send_as(ask, client, call("echo", Value::long_atom(42)));
      EXPECT_EQ(fate(ask, client), failure(ask, "no servant", "no servant")) << name_of(ask);
    }
    expect_service_resumes(broker_, client);
    broker_.wait_for_counter("servants", 0);
  }
}

TEST_P(WayDeath, OfOneOfTwoAnAsyncQueryIsAnsweredByTheOther) {
  const char* const pass = GetParam() == Form::plain ? "1" : "0";
  for (const Ask ask : {Ask::aw, Ask::np, Ask::lbt}) {
    RawClient client = connect(broker_);
    const DoomedQ doomed(broker_, args({"--die", "on-query", "--die-after", pass}));
    broker_.wait_for_counter("servants", 1);
    ServedQ other(broker_, q_of_this_form());
    broker_.wait_for_counter("servants", 2);
    other.q.hold();  // so that each q has one of the two
    send_as(ask, client, call("echo", Value::long_atom(42)));
    send_as(ask, client, call("echo", Value::long_atom(42)));
    broker_.wait_for_counter("servants", 1);
    other.q.release();
    EXPECT_EQ(fate(ask, client), "42") << name_of(ask);
    EXPECT_EQ(fate(ask, client), "42") << name_of(ask);
    EXPECT_EQ(client.query(""), Value::null());
    EXPECT_EQ(client.query("echo 43"), Value::long_atom(43));
  }
}

TEST_P(WayDeath, AmidPipelinedRequestsOfEveryKindEndsEachOnce) {
  RawClient client = connect(broker_);
  const DoomedQ doomed(broker_, args({"--die", "mid-reply", "--die-after", "7"}));
  broker_.wait_for_counter("servants", 1);
  ServedQ other(broker_, q_of_this_form());
  broker_.wait_for_counter("servants", 2);
  other.q.hold();  // the doomed one gets all the others, until it dies
  constexpr int kRounds = 20;
  for (int i = 0; i < kRounds; ++i) {
    ASSERT_TRUE(client.send(call("echo", Value::long_atom(i)), MessageKind::sync));
    ASSERT_TRUE(client.send(call("echo", Value::long_atom(i)), MessageKind::async));
    ASSERT_TRUE(client.send(list({Value::int_atom(i), call("echo", Value::long_atom(i))}),
                            MessageKind::async));
  }
  ASSERT_TRUE(client.send(text(""), MessageKind::sync));
  broker_.wait_for_counter("servants", 1);
  other.q.release();
  std::vector<int> lbt(kRounds, 0);
  int ordered = 0;  // sync and AW, in turn
  for (int n = 0; n < 3 * kRounds; ++n) {
    const auto answer = client.receive();
    ASSERT_TRUE(answer);
    if (answer->value.is_list()) {
      const auto id = static_cast<std::size_t>(answer->value.at(0).integer().value());
      EXPECT_EQ(answer->value.at(1).integer(), static_cast<std::int64_t>(id));
      ++lbt.at(id);
      continue;
    }
    const bool sync = ordered % 2 == 0;
    EXPECT_EQ(answer->header.kind, sync ? MessageKind::response : MessageKind::async);
    if (!sync || answer->value != Value::error("servant died")) {
      EXPECT_EQ(answer->value.integer(), ordered / 2);
    }
    ++ordered;
  }
  EXPECT_EQ(lbt, std::vector<int>(kRounds, 1));
  EXPECT_EQ(ordered, 2 * kRounds);
  const auto flushed = client.receive();
  ASSERT_TRUE(flushed);
  EXPECT_EQ(flushed->value, Value::null());
}

TEST(WayDeathOfLbtServants, InTheMiddleOfALargeReplyWithInfoIsOneError) {
  // It must be whole before its first byte goes on, so nothing had begun.
  const Broker broker(with_gateway({"--stall-timeout", "60s"}, 0));
  for (const Ask ask : kEveryAsk) {
    RawClient client = connect(broker);
    {
      const DoomedQ doomed(broker, {"--form", "lbt", "--info", "--die", "mid-reply"});
      broker.wait_for_counter("servants", 1);
      send_as(ask, client, call("big", Value::long_atom(3'000'000)));
      EXPECT_EQ(fate(ask, client), failure(ask, "servant died", "no servant")) << name_of(ask);
    }
    expect_service_resumes(broker, client);
    broker.wait_for_counter("servants", 0);
  }
}

TEST_P(WayDeath, WhileALargeRequestStreamsToItIsOneError) {
  for (const Ask ask : kEveryAsk) {
    RawClient client = connect(broker_);
    {
      DoomedQ doomed(broker_, args({}));
      broker_.wait_for_counter("servants", 1);
      doomed.q.process().signal(SIGSTOP);
      const std::uint64_t before = broker_.counter("fragments_in").value_or(0);
      const Bytes message = message_of(ask, call("echo", text(std::string(16'000'000, 'x'))));
      std::thread sender([&] { EXPECT_TRUE(client.send_bytes(message)); });
      // More of it has gone on than is kept to be repeated, and less than all: q does not read.
      EXPECT_TRUE(wait_until([&] { return broker_.counter("fragments_in") >= before + 8; },
                             "the request to stream"));
      doomed.q.process().end();
      EXPECT_EQ(fate(ask, client), failure(ask, "servant died", "servant died")) << name_of(ask);
      sender.join();  // what was left of it has been taken, and dropped
    }
    expect_service_resumes(broker_, client);
    broker_.wait_for_counter("servants", 0);
  }
}

}  // namespace
}  // namespace mserve::test
