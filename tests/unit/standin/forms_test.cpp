// SPDX-License-Identifier: Apache-2.0
// What the stand-in answers, form by form; what goes wrong on purpose is in faults_test.cpp.
#include <gtest/gtest.h>

#include "standin/raw_client.hpp"
#include "standin/standin.hpp"
#include "support/temp_dir.hpp"
#include "support/wait.hpp"

namespace mserve::test {
namespace {

using kdb::MessageKind;
using kdb::Value;

/// A connected client of a stand-in on a thread.
struct Pair {
  explicit Pair(StandinOptions options = {})
      : standin(std::move(options)), client(RawClient::tcp(standin.port())) {
    standin.start();
  }
  void open(std::string_view credentials = "test:secret") {
    ASSERT_TRUE(client.handshake(credentials).has_value());
  }
  /// What comes back for an async (id;query;options).
  std::optional<Value> lbt(std::vector<Value> request) {
    client.send(Value::list(std::move(request)), MessageKind::async);
    std::optional<kdb::Message> answer = client.receive();
    if (!answer) {
      return std::nullopt;
    }
    EXPECT_EQ(answer->header.kind, MessageKind::async);
    return answer->value;
  }

  Standin standin;
  RawClient client;
};

Value text(const char* value) {
  return Value::chars(value);
}

TEST(StandinHandshake, AnswersOneByteTheSmallerCapability) {
  Pair low, high({.capability = 3});
  EXPECT_EQ(low.client.handshake("a:b", 1), 1);
  EXPECT_EQ(high.client.handshake("a:b", 6), 3);
}

TEST(StandinHandshake, TakesACredentialWithoutCapabilityAsCapabilityZero) {
  Pair pair;
  pair.client.send_text(std::string_view("user:password\0", 14));
  EXPECT_EQ(pair.client.receive_bytes(1), std::vector{std::byte{0}});
  EXPECT_EQ(pair.client.query("user[]"), Value::symbol("user"));
}

TEST(StandinHandshake, TakesNoCredentialsAtAll) {
  Pair pair;
  pair.open("");
  EXPECT_EQ(pair.client.query("user[]"), Value::symbol(""));
}

TEST(StandinHandshake, RefusesAnotherUserByClosing) {
  Pair pair({.user = "ken:secret"});
  EXPECT_EQ(pair.client.handshake("ken:wrong"), std::nullopt);
  RawClient right = RawClient::tcp(pair.standin.port());
  EXPECT_EQ(right.handshake("ken:secret"), 6);
  EXPECT_EQ(pair.standin.refused(), 1u);
  EXPECT_EQ(pair.standin.connections(), 1u);
}

TEST(StandinPlain, AnswersTextAndListsWithTheResult) {
  Pair pair;
  pair.open();
  EXPECT_EQ(pair.client.query("echo 1 2 3"), Value::longs({1, 2, 3}));
  EXPECT_EQ(pair.client.query(Value::list({Value::symbol("echo"), Value::date(1)})),
            Value::date(1));
  EXPECT_EQ(pair.client.query(Value::symbols({"echo", "x"})), Value::symbol("x"));
  EXPECT_EQ(pair.client.query("big 3"), Value::bytes({0, 1, 2}));
  const std::optional<Value> table = pair.client.query("proc1 `IBM`GS");
  ASSERT_TRUE(table && table->is_table());
  EXPECT_EQ(table->columns()[0], Value::symbols({"GS", "IBM"}));
}

TEST(StandinPlain, AnswersWithTheErrorThatQWouldSignal) {
  Pair pair;
  pair.open();
  EXPECT_EQ(pair.client.query("nosuch 1"), Value::error("nosuch"));
  EXPECT_EQ(pair.client.query("fail \"out of luck\""), Value::error("out of luck"));
  EXPECT_EQ(pair.client.query("proc1 1"), Value::error("type"));
  EXPECT_EQ(pair.client.query("echo[1;2]"), Value::error("rank"));
  EXPECT_EQ(pair.client.query("1+1"), Value::error("nyi"));
  EXPECT_EQ(pair.client.query("echo til 3"), Value::error("nyi"));
}

TEST(StandinPlain, EvaluatesAnAsyncMessageWithoutAnswer) {
  Pair pair;
  pair.open();
  pair.client.send(text("echo 1"), MessageKind::async);
  pair.client.send(text("nosuch 1"), MessageKind::async);
  EXPECT_EQ(pair.client.query("echo 2"), Value::long_atom(2));  // the first to come back
  EXPECT_EQ(pair.standin.queries(), 3u);
}

TEST(StandinPlain, AnswersTheEmptyQueryInOrderAndDoesNotCountIt) {
  Pair pair;
  pair.open();
  pair.client.send(text("echo 1"), MessageKind::sync);
  pair.client.send(text(""), MessageKind::sync);
  EXPECT_EQ(pair.client.receive()->value, Value::long_atom(1));
  EXPECT_TRUE(pair.client.receive()->value.is_null());
  EXPECT_EQ(pair.standin.queries(), 1u);
  EXPECT_EQ(pair.standin.messages(), 2u);
}

TEST(StandinLbt, AnswersAsyncWithTheIdAsItCame) {
  Pair pair({.form = Form::lbt});
  pair.open();
  for (const Value& id : {Value::byte(7), Value::short_atom(7), Value::int_atom(7),
                          Value::long_atom(7), Value::symbol("seven")}) {
    EXPECT_EQ(pair.lbt({id, text("echo 1")}), Value::list({id, Value::long_atom(1)}));
  }
}

TEST(StandinLbt, SendsErrorsAsText) {
  Pair pair({.form = Form::lbt});
  pair.open();
  const Value id = Value::int_atom(1);
  EXPECT_EQ(pair.lbt({id, text("nosuch 1")}),
            Value::list({id, text("Error: unknown command: nosuch")}));
  EXPECT_EQ(pair.lbt({id, text("proc1 1")}), Value::list({id, text("Error: proc1 type")}));
  EXPECT_EQ(pair.lbt({id, text("echo til 3")}),
            Value::list({id, text("Error: nested evaluation")}));
}

TEST(StandinLbt, HandsOptionsToTheQueryAndInfoBack) {
  Pair pair({.form = Form::lbt, .info = true});
  pair.open();
  const Value options = Value::dict(Value::symbols({"role"}), Value::symbols({"user"}));
  const std::optional<Value> answer = pair.lbt({Value::int_atom(1), text("options[]"), options});
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(answer->at(1), options);
  EXPECT_EQ(answer->at(2).find("served"), Value::long_atom(1));
  EXPECT_EQ(answer->at(2).find("route"), Value::symbol("standin"));
}

// What a probe sees: an async answer to the request, and the text as the response.
TEST(StandinLbt, AnswersEverySyncMessageWithUseAsync) {
  Pair pair({.form = Form::lbt});
  pair.open();
  EXPECT_EQ(
      pair.lbt({Value::long_atom(0), text(""), Value::dict(Value::list({}), Value::list({}))}),
      Value::list({Value::long_atom(0), text("Error: unknown command: ")}));
  EXPECT_EQ(pair.client.query(""), text("USE ASYNC"));
  EXPECT_EQ(pair.client.query("echo 1"), text("USE ASYNC"));
  EXPECT_EQ(pair.standin.queries(), 0u);
}

TEST(StandinLbt, StaysWhenAConnectionCloses) {
  Pair pair({.form = Form::lbt});
  pair.open();
  pair.client.close();
  EXPECT_TRUE(wait_until([&] { return pair.standin.open() == 0; }, "the close is seen"));
  EXPECT_TRUE(RawClient::tcp(pair.standin.port()).handshake().has_value());
}

TEST(StandinQsvr, EndsWhenAnAcceptedConnectionCloses) {
  Pair pair({.form = Form::qsvr});
  RawClient::tcp(pair.standin.port()).close();  // a trial connection without a handshake
  pair.open();
  EXPECT_EQ(pair.client.query(""), text("USE ASYNC"));
  pair.client.close();
  EXPECT_TRUE(wait_until([&] { return !pair.standin.running(); }, "the stand-in ends"));
  EXPECT_FALSE(RawClient::tcp(pair.standin.port()).connected());
}

TEST(StandinServantOf, AcceptsOneConnectionFromThatAddressAndEndsWithIt) {
  const TempDir dir;
  Pair pair({.uds = true, .uds_dir = dir.path(), .form = Form::lbt, .servant_of = "127.0.0.1"});
  RawClient local = RawClient::unix_socket(pair.standin.uds_path(), false);
  EXPECT_EQ(local.handshake(), std::nullopt);
  pair.open();
  EXPECT_EQ(RawClient::tcp(pair.standin.port()).handshake(), std::nullopt);
  EXPECT_EQ(pair.standin.refused(), 2u);
  pair.client.close();
  EXPECT_TRUE(wait_until([&] { return !pair.standin.running(); }, "the stand-in ends"));
}

TEST(StandinServantOf, RefusesAnotherAddress) {
  Pair pair({.form = Form::lbt, .servant_of = "192.0.2.1"});
  EXPECT_EQ(pair.client.handshake(), std::nullopt);
}

TEST(StandinUds, IsReachedByAbstractNameAndByPathUntilItStops) {
  const TempDir dir;
  Pair pair({.uds = true, .uds_dir = dir.path()});
  for (const bool abstract : {true, false}) {
    RawClient client = RawClient::unix_socket(pair.standin.uds_path(), abstract);
    ASSERT_TRUE(client.handshake().has_value());
    EXPECT_EQ(client.query("echo 1"), Value::long_atom(1));
  }
  EXPECT_EQ(pair.standin.uds_path(), dir.file("kx." + std::to_string(pair.standin.port())));
  pair.standin.stop();
  EXPECT_EQ(count_entries(dir.path()), 0u);
}

}  // namespace
}  // namespace mserve::test
