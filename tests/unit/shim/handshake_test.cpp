// SPDX-License-Identifier: Apache-2.0
// Who are you, and which form do you speak?
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <utility>

#include "shim/q_handshake.hpp"
#include "unit/shim/desk.hpp"

namespace mserve::shim {
namespace {

using kdb::MessageKind;
using kdb::Value;

/// Runs introduce() against a q whose next words are said whenever it is waited for.
class Talk {
 public:
  explicit Talk(std::vector<std::function<void(FakeQ&)>> words) : words_(std::move(words)) {}

  bool run(ServantProtocol protocol, bool ask_process = false) {
    const auto wait = [this](bool /*writable*/) {
      if (at_ == words_.size()) {
        return false;  // stopped
      }
      words_[at_++](q);
      return true;
    };
    return introduce(q, "bob:secret", protocol, ask_process, wait, identity, why);
  }

  FakeQ q;
  Identity identity;
  std::string why;

 private:
  std::vector<std::function<void(FakeQ&)>> words_;
  std::size_t at_ = 0;
};

void let_in(FakeQ& q) {
  q.say(std::vector<std::byte>{std::byte{3}});
}
void hang_up(FakeQ& q) {
  q.hung_up = true;
}

TEST(Handshake, SaysUserPasswordAndCapability) {
  Talk talk({let_in});
  ASSERT_TRUE(talk.run(ServantProtocol::plain)) << talk.why;
  const std::string said(reinterpret_cast<const char*>(talk.q.received.data()),
                         talk.q.received.size());
  EXPECT_EQ(said, std::string("bob:secret\x06\0", 12));
  EXPECT_EQ(talk.identity.capability, 3);
  EXPECT_EQ(talk.identity.form, Form::plain);
}

TEST(Handshake, AFixedProtocolAsksNothing) {
  Talk talk({let_in});
  ASSERT_TRUE(talk.run(ServantProtocol::lbt)) << talk.why;
  EXPECT_EQ(talk.identity.form, Form::lbt);
  EXPECT_EQ(talk.q.received.size(), 12U);
}

TEST(Handshake, AHangUpNamesUserAndTheWayOn) {
  Talk talk({hang_up});
  EXPECT_FALSE(talk.run(ServantProtocol::automatic));
  EXPECT_NE(talk.why.find("user 'bob'"), std::string::npos) << talk.why;
  EXPECT_NE(talk.why.find("--user"), std::string::npos) << talk.why;
  EXPECT_EQ(talk.why.find("secret"), std::string::npos) << talk.why;
}

TEST(Handshake, WhatIsNoQIsToldSo) {
  Talk talk({[](FakeQ& q) { q.say(std::vector<std::byte>(20, std::byte{'S'})); }});
  EXPECT_FALSE(talk.run(ServantProtocol::automatic));
  EXPECT_NE(talk.why.find("no kdb+ process"), std::string::npos) << talk.why;
}

TEST(Handshake, AutoTakesAnAnswerToTheSyncHalfOnlyForPlain) {
  for (const Value& answer : {Value(), text(""), Value::error("type")}) {
    Talk talk({let_in, [&](FakeQ& q) { q.respond(answer); }});
    ASSERT_TRUE(talk.run(ServantProtocol::automatic)) << talk.why;
    EXPECT_EQ(talk.identity.form, Form::plain);
    talk.q.received.erase(talk.q.received.begin(), talk.q.received.begin() + 12);
    const auto lbt = talk.q.next();
    ASSERT_TRUE(lbt);
    EXPECT_EQ(lbt->header.kind, MessageKind::async);
    ASSERT_EQ(lbt->value.list_items().size(), 3U);
    EXPECT_EQ(lbt->value.list_items()[0], Value::long_atom(0));
    const auto sync = talk.q.next();
    ASSERT_TRUE(sync);
    EXPECT_EQ(sync->header.kind, MessageKind::sync);
    EXPECT_EQ(sync->value, text(""));
    EXPECT_TRUE(talk.q.received.empty());
  }
}

TEST(Handshake, AutoTakesAnAsyncAnswerForLbtAndWaitsForTheOtherHalf) {
  for (const Value& second : {text("USE ASYNC"), Value::error("USE ASYNC")}) {
    Talk talk({let_in, [](FakeQ& q) { q.answer(0, text("Error: unknown command: ")); },
               [&](FakeQ& q) {
                 q.respond(second);
                 q.answer(1, text("not ours to read"));
               }});
    ASSERT_TRUE(talk.run(ServantProtocol::automatic)) << talk.why;
    EXPECT_EQ(talk.identity.form, Form::lbt);
    EXPECT_FALSE(talk.q.heard());  // nothing beyond the response was taken
  }
}

TEST(Handshake, AGreetingIsNoAnswerAndAFloodOfThemNoServant) {
  const auto greet = [](FakeQ& q) {
    for (const Value& value :
         {text("welcome"), Value::list({Value::symbol("upd"), text("x")}),
          Value::list({Value::long_atom(1), text("x")}), Value::longs({7, 0})}) {
      q.say(value, MessageKind::async);
    }
  };
  Talk talk({let_in, greet, [](FakeQ& q) { q.respond(Value()); }});
  ASSERT_TRUE(talk.run(ServantProtocol::automatic)) << talk.why;
  EXPECT_EQ(talk.identity.form, Form::plain);
  Talk pair({let_in, greet, [](FakeQ& q) {
               q.say(Value::longs({0, 42}), MessageKind::async);
               q.respond(Value());
             }});
  ASSERT_TRUE(pair.run(ServantProtocol::automatic)) << pair.why;
  EXPECT_EQ(pair.identity.form, Form::lbt);
  Talk flood({let_in, [&](FakeQ& q) {
                for (int i = 0; i < 1000; ++i) {
                  q.say(text("news"), MessageKind::async);
                }
              }});
  EXPECT_FALSE(flood.run(ServantProtocol::automatic));
  EXPECT_NE(flood.why.find("--servant-protocol"), std::string::npos) << flood.why;
}

TEST(Handshake, AnswersMayBeLargeAndComeByteByByte) {
  Talk talk({let_in, [](FakeQ& q) {
               q.bytes_per_receive = 1;
               q.respond(blob(20'000));
             }});
  ASSERT_TRUE(talk.run(ServantProtocol::automatic)) << talk.why;
  EXPECT_EQ(talk.identity.form, Form::plain);
  EXPECT_TRUE(talk.q.heard());
}

TEST(Handshake, SyncMessagesOfQAreAnsweredMeanwhile) {
  Talk talk({let_in, [](FakeQ& q) { q.say(text("who are you?"), MessageKind::sync); },
             [](FakeQ& q) { q.respond(Value()); }});
  ASSERT_TRUE(talk.run(ServantProtocol::automatic)) << talk.why;
  talk.q.received.erase(talk.q.received.begin(), talk.q.received.begin() + 12);
  EXPECT_TRUE(talk.q.next());
  EXPECT_TRUE(talk.q.next());
  const auto nyi = talk.q.next();
  ASSERT_TRUE(nyi);
  EXPECT_EQ(nyi->header.kind, MessageKind::response);
  EXPECT_EQ(nyi->value, Value::error("nyi"));
}

TEST(Handshake, DeathAndNonsenseWhileItIsAskedAreFailures) {
  const std::vector<std::function<void(FakeQ&)>> ends = {
      hang_up,
      [](FakeQ& q) { q.say(std::vector<std::byte>(9, std::byte{0xff})); },
      [](FakeQ& q) {
        const auto message = kdb::encode_message(blob(100), MessageKind::response);
        q.say(std::span(message).first(50));
        q.hung_up = true;
      },
  };
  for (const auto& end : ends) {
    Talk talk({let_in, end});
    EXPECT_FALSE(talk.run(ServantProtocol::automatic));
    EXPECT_FALSE(talk.why.empty());
  }
  Talk stopped({let_in});
  EXPECT_FALSE(stopped.run(ServantProtocol::automatic));
  EXPECT_FALSE(stopped.why.empty());
}

TEST(Handshake, APlainQSaysWhichProcessItIsOrItDoesNot) {
  const std::vector<std::pair<Value, std::int64_t>> answers = {{Value::int_atom(4711), 4711},
                                                               {Value::long_atom(4711), 4711},
                                                               {Value::int_atom(-3), 0},
                                                               {Value::error("access"), 0},
                                                               {text("USE ASYNC"), 0},
                                                               {Value(), 0},
                                                               {blob(20'000), 0}};
  for (const auto& [answer, process] : answers) {
    Talk talk({let_in, [&answer = answer](FakeQ& q) {
                 q.say(Value::int_atom(99), MessageKind::async);  // nobody asked for that
                 q.respond(answer);
               }});
    ASSERT_TRUE(talk.run(ServantProtocol::plain, true)) << talk.why;
    EXPECT_EQ(talk.identity.process, process);
    talk.q.received.erase(talk.q.received.begin(), talk.q.received.begin() + 12);
    const auto asked = talk.q.next();
    ASSERT_TRUE(asked);
    EXPECT_EQ(asked->header.kind, MessageKind::sync);
    EXPECT_EQ(asked->value, text(".z.i"));
    EXPECT_TRUE(talk.q.received.empty());
  }
}

TEST(Handshake, AnLbtServantSaysItByTheAsyncHalfIfAtAll) {
  const std::vector<std::pair<Value, std::int64_t>> answers = {
      {Value::list({Value::long_atom(0), Value::int_atom(4711)}), 4711},
      {Value::list({Value::long_atom(0), Value::int_atom(4711), Value()}), 4711},
      {Value::list({Value::long_atom(7), Value::int_atom(4711)}), 0},
      {Value::list({Value::long_atom(0), text("Error: unknown command: .z.i")}), 0},
      {Value::int_atom(4711), 0}};
  for (const auto& [answer, process] : answers) {
    Talk talk({let_in, [&answer = answer](FakeQ& q) {
                 q.say(answer, MessageKind::async);
                 q.respond(Value::int_atom(12));  // what answers this half may be a wrapper
               }});
    ASSERT_TRUE(talk.run(ServantProtocol::lbt, true)) << talk.why;
    EXPECT_EQ(talk.identity.process, process);
    talk.q.received.erase(talk.q.received.begin(), talk.q.received.begin() + 12);
    const auto asked = talk.q.next();
    ASSERT_TRUE(asked);
    EXPECT_EQ(asked->header.kind, MessageKind::async);
    ASSERT_EQ(asked->value.list_items().size(), 3U);
    EXPECT_EQ(asked->value.list_items()[1], text(".z.i"));
    const auto sync = talk.q.next();
    ASSERT_TRUE(sync);
    EXPECT_EQ(sync->value, text(""));
    EXPECT_TRUE(talk.q.received.empty());
  }
}

TEST(Handshake, OneThatHangsUpOnThatQuestionIsNotAskedAgain) {
  Talk talk({let_in, hang_up});
  EXPECT_FALSE(talk.run(ServantProtocol::plain, true));
  EXPECT_TRUE(talk.identity.hung_up_on_process);
  Talk before({hang_up});
  EXPECT_FALSE(before.run(ServantProtocol::plain, true));
  EXPECT_FALSE(before.identity.hung_up_on_process);
  Talk stopped({let_in});
  EXPECT_FALSE(stopped.run(ServantProtocol::plain, true));
  EXPECT_FALSE(stopped.identity.hung_up_on_process);
}

/// Runs ask_for_beats() against a peer that says one thing.
std::string ask_peer(const std::function<void(FakeQ&)>& word, FakeQ& q,
                     bool* takes_cancels = nullptr) {
  int asked = 0;
  std::string why;
  bool takes = false;
  const bool agreed = ask_for_beats(
      q, 200,
      [&](bool /*writable*/) {
        if (asked++ == 0 && word) {
          word(q);
          return true;
        }
        return false;
      },
      takes, why);
  EXPECT_EQ(agreed, why.empty());
  if (takes_cancels != nullptr) {
    *takes_cancels = takes;
  }
  return why;
}

TEST(Handshake, APeerIsAskedForSignsOfLife) {
  const Value info = Value::dict(Value::symbols({"qsvr"}), Value::list({Value::symbol("")}));
  FakeQ q;
  EXPECT_EQ(ask_peer([&](FakeQ& peer) { peer.answer(0, Value::null(), info); }, q), "");
  const auto asked = q.next();
  ASSERT_TRUE(asked);
  EXPECT_EQ(asked->header.kind, MessageKind::async);
  EXPECT_EQ(asked->value, Value::list({Value::long_atom(0), text(".mserve.beat 200"),
                                       Value::dict(Value::symbols({"hop"}), Value::longs({1}))}));
}

TEST(Handshake, APeerSaysWhetherItTakesCancels) {
  for (const bool known : {false, true}) {
    const Value info =
        Value::dict(Value::symbols({"qsvr", known ? "mserve_cancel" : "mserve_status"}),
                    Value::list({Value::symbol(""), Value::boolean(true)}));
    FakeQ q;
    bool takes = !known;
    EXPECT_EQ(ask_peer([&](FakeQ& peer) { peer.answer(0, Value::null(), info); }, q, &takes), "");
    EXPECT_EQ(takes, known);
  }
}

TEST(Handshake, WhatIsNoPeerIsToldSo) {
  const Value info = Value::dict(Value::symbols({"qsvr"}), Value::list({Value::symbol("")}));
  FakeQ refusing;
  EXPECT_EQ(ask_peer([&](FakeQ& peer) { peer.answer(0, text("Error: access"), info); }, refusing),
            "it refuses .mserve.beat: Error: access");
  for (const auto& word : std::vector<std::function<void(FakeQ&)>>{
           [](FakeQ& q) { q.answer(0, Value::null()); },
           [&](FakeQ& q) { q.answer(1, Value::null(), info); },
           [](FakeQ& q) { q.respond(Value::null()); },
           [](FakeQ& q) { q.say(text("hello"), MessageKind::async); }}) {
    FakeQ q;
    EXPECT_NE(ask_peer(word, q).find("no gateway"), std::string::npos);
  }
  FakeQ silent;
  EXPECT_NE(ask_peer(nullptr, silent), "");
  FakeQ gone;
  EXPECT_NE(ask_peer(hang_up, gone), "");
}

}  // namespace
}  // namespace mserve::shim
