// SPDX-License-Identifier: Apache-2.0
// Goal: every message of DESIGN section 9 is read as its convention. Method: messages as the
// clients of the three scripts send them, as a table of (message, convention), whole and from their
// beginnings.
#include "gateway/conventions.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "mserve/kdb/codec.hpp"

namespace mserve::broker {
namespace {

using kdb::encode;
using kdb::MessageKind;
using kdb::Type;
using kdb::Value;
using Bytes = std::vector<std::byte>;

bool same(std::span<const std::byte> span, const Bytes& bytes) {
  return std::equal(span.begin(), span.end(), bytes.begin(), bytes.end());
}

Bytes appended(Bytes a, const Bytes& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

/// Classifies an async message of a connection that showed nothing yet.
Classified async(const Bytes& body, Protocol protocol = Protocol::automatic) {
  History history;
  return classify(MessageKind::async, body, {protocol, Convention::np}, history);
}

const Value kText = Value::chars("proc1 `IBM");
const Value kCall = Value::list({Value::chars("proc1"), Value::symbol("IBM")});
const Value kOptions = Value::dict(Value::symbols({"a"}), Value::longs({1}));

// --- sync ---

TEST(Conventions, SyncIsTheBareQuery) {
  History history;
  const Bytes body = encode(Value::list({Value::long_atom(1), kText}));
  const Classified seen = classify(MessageKind::sync, body, {}, history);
  EXPECT_EQ(seen.convention, Convention::sync);
  EXPECT_TRUE(same(seen.payload, body));
  EXPECT_FALSE(history.known);
}

TEST(Conventions, OnlyTheEmptyStringFlushes) {
  History history;
  const auto sync = [&history](const Bytes& body) {
    return classify(MessageKind::sync, body, {Protocol::lbt, Convention::np}, history).convention;
  };
  EXPECT_EQ(sync(encode(Value::chars(""))), Convention::flush);
  Bytes wide(10);
  wide[0] = std::byte{10};
  wide[1] = std::byte{0x80};
  EXPECT_EQ(sync(wide), Convention::flush);
  EXPECT_EQ(sync(encode(Value::chars("abcd"))), Convention::sync) << "ten bytes too";
  EXPECT_EQ(sync(encode(Value::empty(Type::long_int))), Convention::sync);
  EXPECT_EQ(sync(encode(Value::null())), Convention::sync);
}

TEST(Conventions, ResponsesAndErrorsAreNoRequests) {
  History history;
  const Bytes error = encode(Value::error("nyi"));
  EXPECT_EQ(async(error).convention, Convention::ignored);
  EXPECT_EQ(classify(MessageKind::response, encode(kText), {}, history).convention,
            Convention::ignored);
  EXPECT_EQ(classify(MessageKind::response, error, {}, history).convention, Convention::ignored);
  const Classified sync = classify(MessageKind::sync, error, {}, history);
  EXPECT_EQ(sync.convention, Convention::refused);
  EXPECT_EQ(sync.refused_as, Convention::sync);
  EXPECT_EQ(sync.reason, "badmsg");
  EXPECT_TRUE(sync.payload.empty());
}

// --- LBT ---

TEST(Conventions, AnIdOfAnyIntegerTypeFirstIsLbt) {
  for (const Value& id : {Value::byte(7), Value::short_atom(7), Value::int_atom(7),
                          Value::long_atom(-7), Value::long_atom(kdb::kNullLong)}) {
    for (const Value& query : {kText, kCall, Value::symbol("f"), Value::null()}) {
      const Bytes body = encode(Value::list({id, query}));
      const Classified seen = async(body);
      EXPECT_EQ(seen.convention, Convention::lbt);
      EXPECT_TRUE(same(seen.id, encode(id)));
      EXPECT_TRUE(same(seen.query, encode(query)));
      EXPECT_TRUE(same(seen.payload, encode(query)));
      EXPECT_TRUE(seen.options.empty());
    }
  }
}

TEST(Conventions, OptionsLieBehindTheQuery) {
  const Value sorted = Value::sorted_dict(Value::symbols({"a"}), Value::longs({1}));
  for (const Value& options : {kOptions, sorted}) {
    const Bytes body = encode(Value::list({Value::int_atom(1), kCall, options}));
    const Classified seen = async(body);
    EXPECT_EQ(seen.convention, Convention::lbt);
    EXPECT_TRUE(same(seen.query, encode(kCall)));
    EXPECT_TRUE(same(seen.options, encode(options)));
    EXPECT_TRUE(same(seen.payload, appended(encode(kCall), encode(options))));
  }
}

TEST(Conventions, WhatIsNearlyLbtIsAw) {
  const Value id = Value::long_atom(1);
  for (const Value& body :
       {Value::list({id, kText, Value::long_atom(2)}), Value::list({id, kText, kText}),
        Value::list({id}), Value::list({id, kText, kOptions, kOptions}),
        Value::list({Value::float_atom(1), kText}), Value::list({Value::boolean(true), kText}),
        Value::list({Value::timestamp(1), kText}), Value::list({Value::longs({1}), kText}),
        Value::longs({1, 2})}) {
    EXPECT_EQ(async(encode(body)).convention, Convention::aw);
  }
}

// --- NP and AW ---

TEST(Conventions, AListAndACallbackIsNp) {
  for (const Value& callback : {Value::symbol("show"), Value::chars("{show x}")}) {
    const Bytes body = encode(Value::list({kCall, callback}));
    const Classified seen = async(body);
    EXPECT_EQ(seen.convention, Convention::np);
    EXPECT_FALSE(seen.ambiguous);
    EXPECT_TRUE(same(seen.query, encode(kCall)));
    EXPECT_TRUE(same(seen.payload, encode(kCall)));
    EXPECT_TRUE(same(seen.callback, encode(callback)));
  }
}

TEST(Conventions, EverythingElseIsAwAndGoesOnAsItIs) {
  for (const Value& value :
       {kText, Value::chars(""), Value::symbol("f"), Value::symbols({"f", "cb"}), Value::list({}),
        kOptions, Value::list({Value::chars("f"), Value::long_atom(1)}),
        Value::list({Value::chars("f"), kCall}), Value::list({Value::chars("f"), kText, kText}),
        Value::list({Value::symbol("f"), kText}),
        Value::list({Value::chars("f"), Value::char_atom('x')}),
        Value::list({kCall, Value::symbols({"a"})})}) {
    const Bytes body = encode(value);
    const Classified seen = async(body);
    EXPECT_EQ(seen.convention, Convention::aw);
    EXPECT_FALSE(seen.ambiguous);
    EXPECT_TRUE(same(seen.payload, body));
    EXPECT_TRUE(seen.id.empty() && seen.callback.empty() && seen.options.empty());
  }
}

TEST(Conventions, TwoTextsFollowWhatTheConnectionShowed) {
  const Bytes pair = encode(Value::list({kText, Value::symbol("show")}));
  const Bytes strings = encode(Value::list({kText, Value::chars("show")}));
  const Bytes aw = encode(kText);
  const Bytes np = encode(Value::list({kCall, Value::symbol("show")}));
  const Bytes lbt = encode(Value::list({Value::long_atom(1), kText}));
  const ConventionRules aw_by_default{Protocol::automatic, Convention::aw};
  History history;
  const auto next = [&history, &aw_by_default](const Bytes& body) {
    return classify(MessageKind::async, body, aw_by_default, history);
  };
  EXPECT_EQ(async(pair).convention, Convention::np) << "the default's default";
  EXPECT_TRUE(async(pair).ambiguous);
  EXPECT_EQ(next(pair).convention, Convention::aw) << "nothing was shown: the default";
  EXPECT_EQ(next(np).convention, Convention::np);
  EXPECT_EQ(next(pair).convention, Convention::np);
  EXPECT_TRUE(same(next(strings).callback, encode(Value::chars("show"))));
  EXPECT_EQ(next(lbt).convention, Convention::lbt);
  EXPECT_EQ(next(pair).convention, Convention::np) << "LBT says nothing about it";
  EXPECT_EQ(next(aw).convention, Convention::aw);
  const Classified seen = next(strings);
  EXPECT_EQ(seen.convention, Convention::aw);
  EXPECT_TRUE(seen.ambiguous);
  EXPECT_TRUE(same(seen.payload, strings));
  EXPECT_TRUE(seen.callback.empty());
}

// --- --protocol ---

TEST(Conventions, AFixedProtocolTakesWhatFitsAndRefusesTheRest) {
  const Bytes lbt = encode(Value::list({Value::long_atom(1), kText}));
  const Bytes np = encode(Value::list({kText, Value::symbol("show")}));
  const Bytes aw = encode(kText);
  EXPECT_EQ(async(lbt, Protocol::lbt).convention, Convention::lbt);
  EXPECT_EQ(async(np, Protocol::np).convention, Convention::np);
  EXPECT_FALSE(async(np, Protocol::np).ambiguous);
  for (const Bytes& body : {lbt, np, aw}) {
    EXPECT_EQ(async(body, Protocol::aw).convention, Convention::aw);
    EXPECT_TRUE(same(async(body, Protocol::aw).payload, body));
  }
  for (const Bytes& body : {np, aw}) {
    const Classified seen = async(body, Protocol::lbt);
    EXPECT_EQ(seen.convention, Convention::refused);
    EXPECT_EQ(seen.refused_as, Convention::lbt);
    EXPECT_EQ(seen.reason, "not (id; query) or (id; query; options)");
  }
  for (const Bytes& body : {lbt, aw}) {
    const Classified seen = async(body, Protocol::np);
    EXPECT_EQ(seen.convention, Convention::refused);
    EXPECT_EQ(seen.refused_as, Convention::aw);
    EXPECT_EQ(seen.reason, "not (query; callback)");
  }
}

// --- beginnings ---

const Value kLarge = Value::bytes(std::vector<std::uint8_t>(2 * kStreamHeadBytes));

StreamHead head_of(const Value& value, Protocol protocol = Protocol::automatic,
                   MessageKind kind = MessageKind::async) {
  const Bytes body = encode(value);
  History history;
  return classify_head(kind, std::span(body).first(kStreamHeadBytes), {protocol, Convention::np},
                       history);
}

TEST(ConventionsOfAHead, LbtShowsItsPayloadAndWhetherItIsAPair) {
  const Value two = Value::list({Value::int_atom(7), kLarge});
  const Value three = Value::list({Value::long_atom(7), kLarge, kOptions});
  for (const Protocol protocol : {Protocol::automatic, Protocol::lbt}) {
    const Bytes body = encode(two);
    History history;
    const StreamHead head = classify_head(MessageKind::async, std::span(body).first(100),
                                          {protocol, Convention::np}, history);
    EXPECT_EQ(head.convention, Convention::lbt);
    EXPECT_FALSE(head.gather || head.pair);
    EXPECT_EQ(head.payload_offset, 11U);
    EXPECT_TRUE(same(head.id, encode(Value::int_atom(7))));
    EXPECT_TRUE(head_of(three, protocol).pair);
    EXPECT_EQ(head_of(three, protocol).payload_offset, 15U);
  }
}

TEST(ConventionsOfAHead, SyncResponsesAndErrorsAreKnownAtOnce) {
  EXPECT_EQ(head_of(kLarge, Protocol::lbt, MessageKind::sync).convention, Convention::sync);
  EXPECT_EQ(head_of(kLarge, Protocol::lbt, MessageKind::response).convention, Convention::ignored);
  const Value error = Value::error(std::string(2 * kStreamHeadBytes, 'x'));
  EXPECT_EQ(head_of(error).convention, Convention::ignored);
  EXPECT_EQ(head_of(error, Protocol::aw, MessageKind::sync).convention, Convention::refused);
  EXPECT_EQ(head_of(error, Protocol::aw, MessageKind::sync).refused_as, Convention::sync);
}

TEST(ConventionsOfAHead, WhatIsNoPairIsAw) {
  for (const Value& value : {kLarge, Value::list({Value::chars("upd"), kLarge}),
                             Value::list({kCall, kLarge}), Value::list({kLarge, kText}),
                             Value::list({Value::chars("upd"), Value::symbol("t"), kLarge})}) {
    const StreamHead head = head_of(value);
    EXPECT_EQ(head.convention, Convention::aw);
    EXPECT_FALSE(head.gather);
    EXPECT_EQ(head.payload_offset, 0U);
  }
}

// A pair must come out as a pair whatever its size, so it is held until its end shows what it is.
TEST(ConventionsOfAHead, WhatMayBeAPairIsGathered) {
  const Value long_text = Value::chars(std::string(2 * kStreamHeadBytes, 'x'));
  const Value long_call = Value::list({Value::chars("upd"), kLarge});
  for (const Value& value :
       {Value::list({long_call, Value::symbol("show")}), Value::list({long_call, kOptions}),
        Value::list({kCall, long_text}), Value::list({long_text, Value::symbol("show")}),
        Value::list({kText, long_text})}) {
    EXPECT_TRUE(head_of(value).gather);
    EXPECT_TRUE(head_of(value, Protocol::np).gather);
    EXPECT_EQ(head_of(value, Protocol::aw).convention, Convention::aw);
    EXPECT_FALSE(head_of(value, Protocol::aw).gather);
    EXPECT_EQ(head_of(value, Protocol::lbt).convention, Convention::refused);
    EXPECT_EQ(head_of(value, Protocol::lbt).refused_as, Convention::lbt);
  }
  EXPECT_EQ(head_of(kLarge, Protocol::np).convention, Convention::refused);
}

// Goal: a head never contradicts the whole. Method: every beginning of every message above.
TEST(ConventionsOfAHead, AgreesWithTheWholeOrAsksForIt) {
  const Value id = Value::long_atom(1);
  const std::vector<Value> values = {kText,
                                     kCall,
                                     kOptions,
                                     Value::symbols({"f", "cb"}),
                                     Value::list({}),
                                     Value::list({id, kCall}),
                                     Value::list({id, kCall, kOptions}),
                                     Value::list({kText, Value::symbol("show")}),
                                     Value::list({kText, Value::chars("show")}),
                                     Value::list({kCall, Value::symbol("show")}),
                                     Value::list({kCall, kOptions}),
                                     Value::list({kText, Value::long_atom(1)}),
                                     Value::list({Value::float_atom(1), kText})};
  int told = 0;
  for (const Value& value : values) {
    const Bytes body = encode(value);
    for (const Protocol protocol :
         {Protocol::automatic, Protocol::lbt, Protocol::np, Protocol::aw}) {
      const Classified whole = async(body, protocol);
      for (std::size_t size = 0; size < body.size(); ++size) {
        History history;
        const StreamHead head = classify_head(MessageKind::async, std::span(body).first(size),
                                              {protocol, Convention::np}, history);
        told += head.gather ? 0 : 1;
        if (!head.gather) {
          ASSERT_EQ(head.convention, whole.convention) << "first " << size << " bytes";
          ASSERT_EQ(head.refused_as, whole.refused_as);
          ASSERT_EQ(head.reason, whole.reason);
        } else {
          ASSERT_FALSE(history.known);
        }
      }
    }
  }
  EXPECT_GT(told, 100);
}

}  // namespace
}  // namespace mserve::broker
