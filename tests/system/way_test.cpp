// SPDX-License-Identifier: Apache-2.0
// What the users of mserve.q (AW), mserve_np.q (NP) and LBT's version type, the whole way: gateway,
// rings, mserve-qshim, and a stand-in for each q program that may be behind it.
#include "system/way_setup.hpp"

namespace mserve::test {
namespace {

class Way : public OfEveryForm {
 protected:
  /// What `fail `oops` ends with: an error of a q process; LBT's programs send a text instead.
  [[nodiscard]] static bool sends_errors_as_text() { return GetParam() != Form::plain; }
  [[nodiscard]] static Value text_of_lbt() { return text("Error: fail oops"); }
};

INSTANTIATE_TEST_SUITE_P(Forms, Way, ::testing::Values(Form::plain, Form::lbt, Form::qsvr),
                         form_name);

/// The result of proc1 `IBM, asked at a q itself: all have the same trades.
Value proc1() {
  Standin q;
  q.start();
  RawClient direct = RawClient::tcp(q.port());
  EXPECT_TRUE(direct.handshake());
  return direct.query("proc1 `IBM").value_or(Value::null());
}

// q) h:hopen 5000
// q) (neg h) "proc1 `IBM"; h[]
TEST_P(Way, AwABareQueryIsAnsweredByTheBareResult) {
  TheWay way({q_of_this_form()});
  Handle h = way.open();
  h.neg(text("proc1 `IBM"));
  const Value result = h.next();
  EXPECT_TRUE(result.is_table());
  EXPECT_EQ(result, proc1());
  h.expect_nothing_more();
}

// q) (neg h) "fail `oops"; h[]
// `error
TEST_P(Way, AwAnErrorIsTheSymbolError) {
  TheWay way({q_of_this_form()});
  Handle h = way.open();
  h.neg(text("fail `oops"));
  EXPECT_EQ(h.next(), sends_errors_as_text() ? text_of_lbt() : Value::symbol("error"));
  h.neg(text("echo 42"));
  EXPECT_EQ(h.next(), Value::long_atom(42));
  h.expect_nothing_more();
}

// q) (neg h) each ("echo 0"; "echo 1"; ...); h[]; h[]; ...
TEST_P(Way, AwPipelinedQueriesComeBackInRequestOrderThoughTheFirstIsTheSlowest) {
  TheWay way({q_of_this_form()});
  way.q(0).hold();
  Handle h = way.open();
  h.neg(text("echo 0"));
  way.broker().wait_for_counter("running", 1);
  way.add(q_of_this_form());
  for (int i = 1; i < 6; ++i) {
    h.neg(text("echo " + std::to_string(i)));
  }
  way.broker().wait_for_counter("replies", 5);  // all but the first are back at the broker
  way.q(0).release();
  for (int i = 0; i < 6; ++i) {
    EXPECT_EQ(h.next(), Value::long_atom(i));
  }
  h.expect_nothing_more();
}

// q) callback:{[qid;query;result] ...}
// q) (neg h)("echo 42"; `callback)
TEST_P(Way, NpAPairIsAnsweredByTheCallbackWithQidQueryAndResult) {
  TheWay way({q_of_this_form()});
  Handle h = way.open();
  for (std::int64_t qid = 1; qid <= 3; ++qid) {
    h.neg(list({text("echo 42"), Value::symbol("callback")}));
    EXPECT_EQ(h.next(), list({Value::symbol("callback"), Value::long_atom(qid), text("echo 42"),
                              Value::long_atom(42)}));
  }
  h.neg(list({call("proc1", Value::symbol("IBM")), text("{show z}")}));
  EXPECT_EQ(h.next().at(3), proc1());
  h.expect_nothing_more();
}

// q) (neg h)("fail `oops"; `callback)
TEST_P(Way, NpAnErrorIsATextInPlaceOfTheResult) {
  TheWay way({q_of_this_form()});
  Handle h = way.open();
  h.neg(list({text("fail `oops"), Value::symbol("callback")}));
  const Value answer = h.next();
  ASSERT_EQ(answer.count(), 4U);
  EXPECT_EQ(answer.at(2), text("fail `oops"));
  EXPECT_EQ(answer.at(3), sends_errors_as_text() ? text_of_lbt() : text("Error: oops"));
  h.expect_nothing_more();
}

// q) send:{(neg h)(id+:1; x)}
// q) send "echo 42"
TEST_P(Way, LbtAnIdIsAnsweredWithResultAndInfo) {
  TheWay way({q_of_this_form()});
  Handle h = way.open();
  const Value options = Value::dict(Value::symbols({"user"}), Value::symbols({"bob"}));
  for (const bool with_options : {false, true}) {
    std::vector<Value> request = {Value::int_atom(5), text("proc1 `IBM")};
    if (with_options) {
      request.push_back(options);
    }
    h.neg(list(request));
    const Value answer = h.next();
    ASSERT_EQ(answer.count(), 3U);
    EXPECT_EQ(answer.at(0), Value::int_atom(5));
    EXPECT_EQ(answer.at(1), proc1());
    const Value info = answer.at(2);
    EXPECT_EQ(info.keys(),
              Value::symbols({"qsvr", "elapsed", "execution", "route", "backlog", "remaining"}));
    EXPECT_EQ(info.find("route"), Value::symbol("IBM"));
    EXPECT_EQ(info.find("remaining"), Value::long_atom(0));
  }
  h.expect_nothing_more();
}

TEST_P(Way, LbtTheOptionsReachAServantThatTakesThem) {
  TheWay way({q_of_this_form()});
  Handle h = way.open();
  const Value options =
      Value::dict(Value::symbols({"role", "deadline"}), list({Value::symbol("x"), text("soon")}));
  h.neg(list({Value::long_atom(1), text("options[]"), options}));
  EXPECT_EQ(h.next().at(1), GetParam() == Form::plain ? Value::null() : options);
}

// q) send "fail `oops"
TEST_P(Way, LbtAnErrorIsATextInPlaceOfTheResult) {
  TheWay way({q_of_this_form()});
  Handle h = way.open();
  h.neg(list({Value::long_atom(5), text("fail `oops")}));
  const Value answer = h.next();
  ASSERT_EQ(answer.count(), 3U);
  EXPECT_EQ(answer.at(0), Value::long_atom(5));
  EXPECT_EQ(answer.at(1), sends_errors_as_text() ? text_of_lbt() : text("Error: oops"));
  EXPECT_EQ(answer.at(2).count(), 6U);
  h.expect_nothing_more();
}

TEST_P(Way, LbtAndNpAnswersOvertakeTheSlowOne) {
  TheWay way({q_of_this_form()});
  way.q(0).hold();
  Handle h = way.open();
  h.neg(list({Value::long_atom(1), text("echo 1")}));
  way.broker().wait_for_counter("running", 1);
  way.add(q_of_this_form());
  h.neg(list({Value::long_atom(2), text("echo 2")}));
  EXPECT_EQ(h.next().at(0), Value::long_atom(2));
  h.neg(list({text("echo 3"), Value::symbol("callback")}));
  EXPECT_EQ(h.next().at(3), Value::long_atom(3));
  way.q(0).release();
  EXPECT_EQ(h.next().at(0), Value::long_atom(1));
  h.expect_nothing_more();
}

// q) h "echo 42"
// q) h (`echo; 42)
// q) h ""
TEST_P(Way, SyncAsTextAsListAndFlush) {
  TheWay way({q_of_this_form()});
  Handle h = way.open();
  EXPECT_EQ(h("echo 42"), Value::long_atom(42));
  EXPECT_EQ(h(call("echo", Value::symbols({"a", "b"}))), Value::symbols({"a", "b"}));
  EXPECT_EQ(h(list({text("echo"), text("a text")})), text("a text"));
  EXPECT_EQ(h("proc1 `IBM"), proc1());
  EXPECT_EQ(h(""), Value::null());
}

// q) h "fail `oops"
// 'oops
TEST_P(Way, SyncAnErrorIsAnErrorWithItsText) {
  TheWay way({q_of_this_form()});
  Handle h = way.open();
  EXPECT_EQ(h("fail `oops"), sends_errors_as_text() ? text_of_lbt() : Value::error("oops"));
  EXPECT_EQ(h("nosuch 1"), sends_errors_as_text() ? text("Error: unknown command: nosuch")
                                                  : Value::error("nosuch"));
  EXPECT_EQ(h("echo 42"), Value::long_atom(42));
}

// q) (neg h) "..."; (neg h)(1; "..."); (neg h)("..."; `callback); h ""
TEST_P(Way, AFlushIsAnsweredBehindEveryEarlierRequest) {
  TheWay way({q_of_this_form(), q_of_this_form()});
  Handle h = way.open();
  for (const Ask ask : {Ask::lbt, Ask::aw, Ask::np, Ask::lbt, Ask::np, Ask::aw}) {
    ASSERT_TRUE(h.raw().send_bytes(message_of(ask, call("sleep", Value::long_atom(5)))));
  }
  ASSERT_TRUE(h.raw().send(text(""), MessageKind::sync));
  for (int i = 0; i < 6; ++i) {
    (void)h.next();
  }
  const auto flushed = h.raw().receive();
  ASSERT_TRUE(flushed);
  EXPECT_EQ(flushed->header.kind, MessageKind::response);
  EXPECT_EQ(flushed->value, Value::null());
}

TEST(WayOfLbtServants, TheirOwnInfoIsMergedAndOursWins) {
  for (const Form form : {Form::lbt, Form::qsvr}) {
    TheWay way({{.form = form, .info = true}});
    Handle h = way.open();
    h.neg(list({Value::long_atom(1), text("proc1 `IBM")}));
    const Value answer = h.next();
    ASSERT_EQ(answer.count(), 3U);
    EXPECT_TRUE(answer.at(1).is_table());
    const Value info = answer.at(2);
    EXPECT_EQ(info.keys(), Value::symbols({"qsvr", "elapsed", "execution", "route", "backlog",
                                           "remaining", "served"}));
    EXPECT_EQ(info.find("route"), Value::symbol("IBM")) << "not the servant's word for it";
    EXPECT_EQ(info.find("served"), Value::long_atom(1));
    // Who asks otherwise sees nothing of it.
    EXPECT_EQ(h("echo 42"), Value::long_atom(42));
    h.neg(text("echo 43"));
    EXPECT_EQ(h.next(), Value::long_atom(43));
  }
}

TEST(WayOfLbtServants, LargeResultsWithInfoArriveHoweverTheyAreAskedFor) {
  TheWay way({{.form = Form::lbt, .info = true}});
  RawClient client = connect(way.broker());
  for (const std::int64_t bytes : {100'000, 300'000, 3'000'000}) {
    for (const Ask ask : kEveryAsk) {
      ASSERT_TRUE(client.send_bytes(message_of(ask, call("big", Value::long_atom(bytes)))));
      const auto answer = client.receive();
      ASSERT_TRUE(answer);
      EXPECT_EQ(result_in(ask, *answer).count(), static_cast<std::size_t>(bytes)) << name_of(ask);
      if (ask == Ask::lbt) {
        EXPECT_TRUE(answer->value.at(2).find("served"));
      }
    }
  }
}

TEST(WayOfLbtServants, ThoseThatAnswerSyncWithUseAsyncAreServedToSyncClients) {
  for (const Form form : {Form::lbt, Form::qsvr}) {
    TheWay way({{.form = form}});
    RawClient direct = RawClient::tcp(way.q().port());
    ASSERT_TRUE(direct.handshake());
    EXPECT_EQ(direct.query("echo 42"), text("USE ASYNC"));
    EXPECT_EQ(way.open()("echo 42"), Value::long_atom(42));
  }
}

TEST(WayOfLbtServants, OneThatTakesOneConnectionFromItsMasterServesAndEndsWithIt) {
  for (const Form form : {Form::lbt, Form::qsvr}) {
    StandinOptions options;
    options.form = form;
    options.exit_on_close = true;
    options.servant_of = form == Form::lbt ? "127.0.0.1" : "";  // qsvr.q never looks
    TheWay way({options});
    Handle h = way.open();
    for (const Ask ask : kEveryAsk) {
      ASSERT_TRUE(h.raw().send_bytes(message_of(ask, call("echo", Value::long_atom(42)))));
      const auto answer = h.raw().receive();
      ASSERT_TRUE(answer);
      EXPECT_EQ(result_in(ask, *answer), Value::long_atom(42)) << name_of(ask);
    }
    EXPECT_EQ(way.q().connections(), 1U);
    EXPECT_EQ(way.q().refused(), 0U);
    EXPECT_TRUE(way.q().running());
    way.shim().process().end();
    EXPECT_TRUE(wait_until([&] { return !way.q().running(); }, "q to exit"));
    way.broker().wait_for_counter("servants", 0);
    EXPECT_EQ(h("echo 42"), Value::error("no servant"));
    h.expect_nothing_more();
  }
}

}  // namespace
}  // namespace mserve::test
