// SPDX-License-Identifier: Apache-2.0
// LBT's servants: (qid; query; options) there, (qid; result) or (qid; result; info) back.
#include <gtest/gtest.h>

#include "mserve/kdb/compress.hpp"
#include "unit/shim/desk.hpp"

namespace mserve::shim {
namespace {

using kdb::MessageKind;
using kdb::Value;

const Value kNoOptions = Value::dict(Value::list({}), Value::list({}));
const Value kInfo = Value::dict(Value::symbols({"mem"}), Value::list({Value::long_atom(99)}));

/// Takes what the shim sent, which must be a request in LBT's form. @return its qid.
std::int64_t expect_lbt_request(Desk& d, const Value& query, const Value& options = kNoOptions) {
  const auto message = d.q.next();
  if (!message) {
    ADD_FAILURE() << "q got nothing";
    return -1;
  }
  EXPECT_EQ(message->header.kind, MessageKind::async);
  const std::span<const Value> items = message->value.list_items();
  EXPECT_EQ(items.size(), 3U);
  if (items.size() != 3) {
    return -1;
  }
  EXPECT_EQ(items[1], query);
  EXPECT_EQ(items[2], options);
  const std::int64_t* const qid = items[0].as<std::int64_t>();
  EXPECT_NE(qid, nullptr);
  return qid != nullptr ? *qid : -1;
}

std::int64_t ask(Desk& d, std::uint64_t id, const Value& query) {
  EXPECT_TRUE(d.send(id, query));
  d.run();
  return expect_lbt_request(d, query);
}

TEST(ExchangeLbt, TwoItemReplyIsTheResult) {
  Desk d({.form = Form::lbt});
  const std::int64_t qid = ask(d, 5, text("proc1 `IBM"));
  const Value result = Value::table({"a"}, {Value::longs({1, 2})});
  d.q.answer(qid, result);
  EXPECT_EQ(d.run(), Progress::idle);
  EXPECT_EQ(d.reply(5).value(), result);
  EXPECT_EQ(d.reply(5).flags, 0);
  EXPECT_EQ(Desk::status(d.reply(5)), Errc::ok);
}

TEST(ExchangeLbt, OptionsOfAClientReachTheServant) {
  Desk d({.form = Form::lbt});
  const Value options = Value::dict(Value::symbols({"user"}), Value::symbols({"bob"}));
  ASSERT_TRUE(d.send_pair(5, text("f 1"), options));
  d.run();
  EXPECT_GT(expect_lbt_request(d, text("f 1"), options), 0);
}

TEST(ExchangeLbt, ThreeItemReplyIsAPair) {
  Desk d({.form = Form::lbt});
  const std::int64_t qid = ask(d, 5, text("x"));
  d.q.answer(qid, text("result"), kInfo);
  EXPECT_EQ(d.run(), Progress::idle);
  EXPECT_EQ(d.reply(5).flags, shm::kFlagPair);
  EXPECT_EQ(d.reply(5).payload, Desk::pair(text("result"), kInfo));
}

TEST(ExchangeLbt, LongResultThatQJoinedWithTheQidIsTakenApart) {
  // q makes one vector of (5;42): no type byte stands before the 42.
  Desk d({.form = Form::lbt});
  const std::int64_t qid = ask(d, 5, text("x"));
  d.q.say(Value::longs({qid, 42}), MessageKind::async);
  EXPECT_EQ(d.run(), Progress::idle);
  EXPECT_EQ(d.reply(5).value(), Value::long_atom(42));
  EXPECT_TRUE(d.exchange.idle());
}

TEST(ExchangeLbt, AnswersMayComeInAnyOrder) {
  Desk d({.form = Form::lbt, .credit = 3});
  std::int64_t qids[3] = {};
  for (std::uint64_t id = 0; id < 3; ++id) {
    qids[id] = ask(d, id, Value::long_atom(static_cast<std::int64_t>(id)));
  }
  for (const std::uint64_t id : {2U, 0U, 1U}) {
    d.q.answer(qids[id], Value::symbol(std::to_string(id)));
  }
  EXPECT_EQ(d.run(), Progress::idle);
  for (std::uint64_t id = 0; id < 3; ++id) {
    EXPECT_EQ(d.reply(id).value(), Value::symbol(std::to_string(id)));
  }
}

TEST(ExchangeLbt, AnswersToNobodyAreDroppedWithAWord) {
  Desk d({.form = Form::lbt});
  const std::int64_t qid = ask(d, 5, text("x"));
  d.q.answer(qid + 1, text("whose?"));
  d.q.say(Value::symbol("hello"), MessageKind::async);
  d.q.say(Value::list({Value::int_atom(3), text("an int is no qid of ours")}), MessageKind::async);
  d.q.respond(text("nobody asked"));
  EXPECT_EQ(d.run(), Progress::idle);
  EXPECT_EQ(d.warnings.size(), 4U);
  EXPECT_TRUE(d.replies.empty());
  d.q.answer(qid, text("mine"));
  d.q.answer(qid, text("twice"));
  EXPECT_EQ(d.run(), Progress::idle);
  EXPECT_EQ(d.reply(5).value(), text("mine"));
  EXPECT_EQ(d.warnings.size(), 5U);
}

TEST(ExchangeLbt, ListsThatAreNoReplyAreAnErrorOfThatRequest) {
  const auto shapes = [](std::int64_t qid) {
    return std::vector<Value>{
        Value::longs({qid}),
        Value::longs({qid, 1, 2}),
        Value::list({Value::long_atom(qid)}),
        Value::list({Value::long_atom(qid), text("r"), text("no dictionary")}),
        Value::list({Value::long_atom(qid), text("r"), kInfo, kInfo}),
    };
  };
  for (std::size_t i = 0; i < shapes(0).size(); ++i) {
    Desk d({.form = Form::lbt});
    const std::int64_t qid = ask(d, 5, text("x"));
    d.q.say(shapes(qid)[i], MessageKind::async);
    EXPECT_EQ(d.run(), Progress::idle);
    EXPECT_EQ(d.reply(5).error_text(), "the reply is not (qid; result) or (qid; result; info)")
        << i;
    EXPECT_TRUE(d.exchange.idle());
  }
}

TEST(ExchangeLbt, MalformedRepliesAreAnErrorAndTheEndOfTheConnection) {
  Desk d({.form = Form::lbt});
  const std::int64_t qid = ask(d, 5, text("x"));
  std::vector<std::byte> message =
      kdb::encode_message(Value::list({Value::long_atom(qid), text("r")}), MessageKind::async);
  message[8 + kLbtPrefixBytes] = std::byte{0x80};  // an error inside a list
  d.q.say(message);
  EXPECT_EQ(d.run(), Progress::q_cut);
  EXPECT_EQ(d.reply(5).error_text(), "badmsg");
}

TEST(ExchangeLbt, BigEndianCompressedAndDribbledRepliesAreUnderstood) {
  const Value result = Value::longs(std::vector<std::int64_t>(10'000, 7));
  for (const std::size_t chunk : {std::size_t{1} << 20, std::size_t{1}}) {
    for (const bool info : {false, true}) {
      for (const bool packed : {false, true}) {
        for (const kdb::ByteOrder order : {kdb::ByteOrder::little, kdb::ByteOrder::big}) {
          Desk d({.form = Form::lbt});
          d.q.bytes_per_receive = chunk;
          const std::int64_t qid = ask(d, 5, text("x"));
          std::vector<Value> items = {Value::long_atom(qid), result};
          if (info) {
            items.push_back(kInfo);
          }
          auto message =
              kdb::encode_message(Value::list(std::move(items)), MessageKind::async, order);
          d.q.say(packed ? *kdb::compress(message) : message);
          EXPECT_EQ(d.run(), Progress::idle);
          EXPECT_EQ(d.reply(5).payload, info ? Desk::pair(result, kInfo) : kdb::encode(result));
          EXPECT_EQ(d.reply(5).flags, info ? shm::kFlagPair : 0);
          EXPECT_TRUE(d.exchange.idle());
        }
      }
    }
  }
}

TEST(ExchangeLbt, CompressedReplyTooLargeToUnpackIsTheOnlyRequestsLimit) {
  Desk d({.form = Form::lbt, .credit = 2, .max_gathered = 100'000});
  const Value zeros = Value::longs(std::vector<std::int64_t>(100'000, 0));
  const std::int64_t qid = ask(d, 1, text("x"));
  const auto packed = *kdb::compress(
      kdb::encode_message(Value::list({Value::long_atom(qid), zeros}), MessageKind::async));
  d.q.say(packed);
  EXPECT_EQ(d.run(), Progress::idle);
  EXPECT_EQ(d.reply(1).error_text(), "limit");
  // With several it could be anybody's: no guess is made.
  (void)ask(d, 2, text("x"));
  (void)ask(d, 3, text("x"));
  d.q.say(packed);
  EXPECT_EQ(d.run(), Progress::q_lost);
  EXPECT_EQ(d.replies.size(), 1U);
}

TEST(ExchangeLbt, ThreeItemReplyIsGatheredUpToMaxGathered) {
  Desk d({.form = Form::lbt, .max_gathered = 800'000});
  std::int64_t qid = ask(d, 1, text("x"));
  d.q.answer(qid, blob(700'000), kInfo);  // larger than the buffer and than a frame
  EXPECT_EQ(d.run(), Progress::idle);
  EXPECT_EQ(d.reply(1).payload, Desk::pair(blob(700'000), kInfo));
  EXPECT_EQ(d.reply(1).flags, shm::kFlagPair);
  EXPECT_GT(d.fragments, 1);
  qid = ask(d, 2, text("x"));
  d.q.answer(qid, blob(900'000), kInfo);
  EXPECT_EQ(d.run(), Progress::idle);
  EXPECT_EQ(d.reply(2).error_text(), "limit");
  qid = ask(d, 3, text("x"));
  d.q.answer(qid, blob(900'000));
  EXPECT_EQ(d.run(), Progress::idle);
  EXPECT_EQ(d.reply(3).value(), blob(900'000));
}

TEST(ExchangeLbt, RequestsOneLevelTooDeepForTheListAreLimit) {
  Value query = Value::long_atom(1);
  for (std::size_t i = 1; i < kdb::kDepthMax - 1; ++i) {
    query = Value::list({query});
  }
  Desk d({.form = Form::lbt});
  const std::int64_t qid = ask(d, 1, query);
  d.q.answer(qid, Value());
  d.run();
  ASSERT_TRUE(d.send(2, Value::list({query})));
  d.run();
  EXPECT_EQ(d.reply(2).error_text(), "limit");
}

}  // namespace
}  // namespace mserve::shim
