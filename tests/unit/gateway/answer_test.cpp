// SPDX-License-Identifier: Apache-2.0
// Goal: wrapping and result together are the message that a client expects. Method: put them
// together, decode, compare with the value built by the codec.
#include "gateway/answer.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <string>

#include "mserve/kdb/codec.hpp"
#include "mserve/kdb/message.hpp"

namespace mserve::broker {
namespace {

using kdb::encode;
using kdb::encode_message;
using kdb::MessageKind;
using kdb::Type;
using kdb::Value;
using shm::InfoExt;
using Bytes = std::vector<std::byte>;

Bytes bytes_of(std::span<const std::byte> span) {
  return {span.begin(), span.end()};
}

Bytes message_of(const Wrapping& wrapping, std::span<const std::byte> result) {
  Bytes message = bytes_of(wrapping.before.span());
  message.insert(message.end(), result.begin(), result.end());
  message.insert(message.end(), wrapping.after.begin(), wrapping.after.end());
  EXPECT_EQ(message.size(), wrapping.message_bytes);
  return message;
}

Value value_of(std::span<const std::byte> object) {
  const auto value = kdb::decode(object);
  EXPECT_TRUE(value.ok());
  return value ? *value : Value::error("no object");
}

InfoExt sample_info() {
  InfoExt info;
  info.elapsed_ns = 1'500'000;
  info.execution_ns = 499'999;
  info.backlog = 3;
  info.remaining = 2;
  std::strcpy(info.servant, "servant.1");
  return info;
}

/// What the client library builds of the same (qclient/src/lib/query.cpp).
Value info_value(std::vector<std::string> more_keys = {}, std::vector<Value> more_values = {}) {
  std::vector<std::string> keys = {"qsvr", "elapsed", "execution", "route", "backlog", "remaining"};
  std::vector<Value> values = {Value::symbol("servant.1"), Value::long_atom(2),
                               Value::long_atom(0),        Value::symbol("IBM"),
                               Value::long_atom(3),        Value::long_atom(2)};
  keys.insert(keys.end(), more_keys.begin(), more_keys.end());
  values.insert(values.end(), more_values.begin(), more_values.end());
  return Value::dict(Value::symbols(keys), Value::list(values));
}

const Value kResult = Value::table({"a"}, {Value::longs({1, 2})});

TEST(Answer, SyncAndAwAreTheBareResult) {
  const Bytes result = encode(kResult);
  EXPECT_EQ(message_of(wrap_sync(result.size()), result),
            encode_message(kResult, MessageKind::response));
  EXPECT_EQ(message_of(wrap_aw(result.size()), result),
            encode_message(kResult, MessageKind::async));
}

TEST(Answer, LbtGivesTheIdBackWithItsType) {
  const Bytes result = encode(kResult);
  const Value info = info_value();
  for (const Value& id : {Value::byte(7), Value::short_atom(-7), Value::int_atom(7),
                          Value::long_atom(kdb::kNullLong)}) {
    const Wrapping wrapping = wrap_lbt(encode(id), encode(info), result.size());
    EXPECT_EQ(message_of(wrapping, result),
              encode_message(Value::list({id, kResult, info}), MessageKind::async));
  }
}

TEST(Answer, NpEchoesCallbackAndQuery) {
  const Bytes result = encode(kResult);
  const Value query = Value::list({Value::chars("proc1"), Value::symbol("IBM")});
  for (const Value& callback : {Value::symbol("show"), Value::chars("{show x}")}) {
    const Wrapping wrapping = wrap_np(encode(callback), 5, encode(query), result.size());
    EXPECT_EQ(message_of(wrapping, result),
              encode_message(Value::list({callback, Value::long_atom(5), query, kResult}),
                             MessageKind::async));
  }
}

TEST(Answer, LengthsTakeFortyBits) {
  constexpr std::uint64_t kResultBytes = std::uint64_t{5} << 32;
  const Wrapping wrapping = wrap_sync(kResultBytes);
  const auto header = kdb::parse_header(wrapping.before.span());
  ASSERT_TRUE(header.ok());
  EXPECT_EQ(header->message_bytes, kResultBytes + 8);
  EXPECT_EQ(wrapping.message_bytes, kResultBytes + 8);
}

TEST(Answer, AWrappingSurvivesCopyAndMove) {
  const Bytes id = encode(Value::long_atom(7));
  Wrapping small = wrap_lbt(id, {}, 1);
  Wrapping large = wrap_np(id, 1, Bytes(1000, std::byte{1}), 1);
  const Bytes small_bytes = bytes_of(small.before.span());
  const Bytes large_bytes = bytes_of(large.before.span());
  const Wrapping copied = small;
  const Wrapping moved = std::move(small);
  const Wrapping moved_large = std::move(large);
  EXPECT_EQ(bytes_of(copied.before.span()), small_bytes);
  EXPECT_EQ(bytes_of(moved.before.span()), small_bytes);
  EXPECT_EQ(bytes_of(moved_large.before.span()), large_bytes);
}

TEST(Answer, FlushIsTheGenericNullAndTheMissingIdALongNull) {
  EXPECT_EQ(bytes_of(flush_answer()), encode_message(Value::null(), MessageKind::response));
  EXPECT_EQ(bytes_of(null_id()), encode(Value::long_atom(kdb::kNullLong)));
}

// --- info ---

TEST(AnswerInfo, IsWhatTheClientLibraryBuilds) {
  EXPECT_EQ(info_object(sample_info(), "IBM", {}), encode(info_value()));
  InfoExt unterminated;
  std::memset(unterminated.servant, 'x', sizeof(unterminated.servant));
  const Value info = value_of(info_object(unterminated, std::string_view("a\0b", 3), {}));
  EXPECT_EQ(info.find("qsvr"), Value::symbol(std::string(sizeof(unterminated.servant), 'x')));
  EXPECT_EQ(info.find("route"), Value::symbol("a"));
}

TEST(AnswerInfo, AppendsWhatTheServantAdds) {
  const Value own = Value::dict(Value::symbols({"host", "elapsed", "rows", "qsvr"}),
                                Value::list({Value::symbol("h"), Value::long_atom(99),
                                             Value::longs({1, 2}), Value::chars("mine")}));
  EXPECT_EQ(info_object(sample_info(), "IBM", encode(own)),
            encode(info_value({"host", "rows"}, {Value::symbol("h"), Value::longs({1, 2})})));
  EXPECT_EQ(info_object(sample_info(), "IBM", encode(Value::sorted_dict(own.keys(), own.values()))),
            encode(info_value({"host", "rows"}, {Value::symbol("h"), Value::longs({1, 2})})));
}

TEST(AnswerInfo, TakesTheItemsOfVectorsAsAtoms) {
  const std::vector<std::string> keys = {"a", "b"};
  const std::vector<std::pair<Value, std::vector<Value>>> cases = {
      {Value::symbols({"x", "y"}), {Value::symbol("x"), Value::symbol("y")}},
      {Value::longs({1, 2}), {Value::long_atom(1), Value::long_atom(2)}},
      {Value::chars("pq"), {Value::char_atom('p'), Value::char_atom('q')}},
      {Value::booleans({1, 0}), {Value::boolean(true), Value::boolean(false)}},
      {Value::guids({{1}, {2}}), {Value::guid({1}), Value::guid({2})}},
  };
  for (const auto& [values, atoms] : cases) {
    EXPECT_EQ(info_object(sample_info(), "IBM", encode(Value::dict(Value::symbols(keys), values))),
              encode(info_value(keys, atoms)));
  }
}

TEST(AnswerInfo, IgnoresWhatIsNoDictionaryFromSymbolsToValues) {
  const Value table = Value::table({"a"}, {Value::longs({1})});
  Value deep = Value::long_atom(1);
  while (deep.depth() < kdb::kDepthMax - 2) {
    deep = Value::list({deep});
  }
  const auto as_info = [](const Value& item) {
    return Value::dict(Value::symbols({"a"}), Value::list({item}));
  };
  std::vector<Bytes> ignored = {encode(Value::dict(Value::longs({1}), Value::longs({1}))),
                                encode(Value::dict(Value::list({}), Value::list({}))),
                                encode(Value::dict(Value::symbols({"a"}), table)),
                                encode(Value::null()),
                                encode(table),
                                encode(Value::error("x")),
                                encode(as_info(deep)),
                                Bytes{std::byte{99}}};
  ignored.push_back(encode(as_info(Value::long_atom(1))));
  ignored.back().push_back(std::byte{0});  // a byte too many
  for (const Bytes& own : ignored) {
    EXPECT_EQ(info_object(sample_info(), "IBM", own), encode(info_value()));
  }
  const Value fits = as_info(deep.at(0));
  EXPECT_EQ(value_of(info_object(sample_info(), "IBM", encode(fits))).count(), 7U);
}

// --- errors ---

TEST(AnswerError, HasTheThreeForms) {
  EXPECT_EQ(error_object("type"), encode(Value::error("type")));
  EXPECT_EQ(error_object(std::string_view("a\0b", 3)), encode(Value::error("a")));
  EXPECT_EQ(error_text_object("no servant"), encode(Value::chars("Error: no servant")));
  EXPECT_EQ(bytes_of(error_symbol_object()), encode(Value::symbol("error")));
}

TEST(AnswerError, TextIsTheServantsOrTheBrokers) {
  EXPECT_EQ(error_text(Errc::failed, encode(Value::error("length"))), "length");
  EXPECT_EQ(error_text(Errc::servant_died, {}), "servant died");
  EXPECT_EQ(error_text(Errc::no_servant, {}), "no servant");
  EXPECT_EQ(error_text(Errc::failed, {}), "protocol violation");
  EXPECT_EQ(error_text(Errc::failed, encode(Value::symbol("x"))), "protocol violation");
  const Bytes unterminated = {std::byte{0x80}, std::byte{'a'}};
  EXPECT_EQ(error_text(Errc::failed, unterminated), "a");
  const std::string huge(2 * kErrorTextBytesMax, 'x');
  EXPECT_EQ(error_text(Errc::failed, encode(Value::error(huge))).size(), kErrorTextBytesMax);
}

TEST(Answer, APairIsExactlyTwoObjects) {
  const Bytes first = encode(Value::error("type"));
  const Bytes second = encode(info_value());
  Bytes both = first;
  both.insert(both.end(), second.begin(), second.end());
  const auto pair = split_pair(both);
  ASSERT_TRUE(pair.has_value());
  EXPECT_EQ(bytes_of(pair->first), first);
  EXPECT_EQ(bytes_of(pair->second), second);
  EXPECT_FALSE(split_pair(first).has_value());
  EXPECT_FALSE(split_pair({}).has_value());
  EXPECT_FALSE(split_pair(std::span(both).first(both.size() - 1)).has_value());
  both.push_back(std::byte{0});
  EXPECT_FALSE(split_pair(both).has_value());
}

}  // namespace
}  // namespace mserve::broker
