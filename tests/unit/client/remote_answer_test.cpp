// SPDX-License-Identifier: Apache-2.0
#include "lib/remote_answer.hpp"

#include <gtest/gtest.h>

#include <limits>

#include "payloads.hpp"
#include "support/test_gateway.hpp"

namespace mserve {
namespace {

using kdb::Value;
using test::Bytes;
using test::lbt_info;
using test::pair_of;

RemoteAnswer read_pair(const Bytes& bytes) {
  return read_remote_answer(bytes, true);
}

TEST(RemoteAnswer, ResultAndInfoAreFoundBySkipping) {
  const Bytes bytes = pair_of(Value::symbols({"a", "b"}), lbt_info());
  const RemoteAnswer answer = read_pair(bytes);
  EXPECT_EQ(answer.status, Errc::ok);
  EXPECT_EQ(kdb::decode(answer.result).value(), Value::symbols({"a", "b"}));
  EXPECT_EQ(kdb::decode(answer.info).value(), lbt_info());
  ASSERT_TRUE(answer.figures);
  EXPECT_STREQ(answer.figures->servant, "servant1");
  EXPECT_EQ(answer.figures->elapsed_ns, 3'000'000U);
  EXPECT_EQ(answer.figures->execution_ns, 2'000'000U);
  EXPECT_EQ(answer.figures->backlog, 4U);
  EXPECT_EQ(answer.figures->remaining, 1U);
}

TEST(RemoteAnswer, AnswerWithoutInfoIsTheResultAlone) {
  const Bytes bytes = kdb::encode(Value::long_atom(7));
  const RemoteAnswer answer = read_remote_answer(bytes, false);
  EXPECT_EQ(answer.status, Errc::ok);
  EXPECT_EQ(answer.result.size(), bytes.size());
  EXPECT_FALSE(answer.figures);
}

TEST(RemoteAnswer, ErrorTextOfAServantIsAnErrorAgain) {
  const Bytes bytes = pair_of(Value::chars("Error: nested evaluation"), lbt_info());
  const RemoteAnswer answer = read_pair(bytes);
  EXPECT_EQ(answer.status, Errc::failed);
  EXPECT_EQ(answer.error_text, "nested evaluation");
  EXPECT_TRUE(answer.result.empty());
}

TEST(RemoteAnswer, WithoutAServantItIsTheBrokersStatus) {
  const std::pair<const char*, Errc> statuses[] = {{"busy", Errc::busy},
                                                   {"no servant", Errc::no_servant},
                                                   {"shutdown", Errc::shutdown},
                                                   {"servant died", Errc::servant_died},
                                                   {"stalled", Errc::stalled},
                                                   {"too large", Errc::too_large},
                                                   {"timeout", Errc::timed_out},
                                                   {"limit", Errc::too_large},
                                                   {"slow reader", Errc::slow_reader}};
  for (const auto& [text, status] : statuses) {
    const Bytes bytes = pair_of(Value::chars(std::string("Error: ") + text), lbt_info(""));
    EXPECT_EQ(read_pair(bytes).status, status) << text;
    const Bytes servant = pair_of(Value::chars(std::string("Error: ") + text), lbt_info("s"));
    EXPECT_EQ(read_pair(servant).status, Errc::failed) << "q signals '" << text << " as well";
  }
}

TEST(RemoteAnswer, WhatTheGatewayItselfSaysIsAnErrorWithItsText) {
  const Bytes bytes = pair_of(Value::chars("Error: not (id; query)"), lbt_info(""));
  const RemoteAnswer answer = read_pair(bytes);
  EXPECT_EQ(answer.status, Errc::failed);
  EXPECT_EQ(answer.error_text, "not (id; query)");
  for (const char* text : {"ok", "failed", "unknown error", ""}) {
    const Bytes odd = pair_of(Value::chars(std::string("Error: ") + text), lbt_info(""));
    EXPECT_EQ(read_pair(odd).status, Errc::failed) << text;
  }
}

TEST(RemoteAnswer, OtherTextsAreResults) {
  for (const char* text : {"", "Error", "Error:", "error: x", " Error: x"}) {
    const Bytes bytes = pair_of(Value::chars(text), lbt_info());
    EXPECT_EQ(read_pair(bytes).status, Errc::ok) << text;
  }
  const Bytes symbol = pair_of(Value::symbol("Error: x"), lbt_info());
  EXPECT_EQ(read_pair(symbol).status, Errc::ok);
}

TEST(RemoteAnswer, ErrorTextEndsAtItsFirstZeroByte) {
  const Bytes bytes = pair_of(Value::chars(std::string("Error: a\0b", 10)), lbt_info());
  EXPECT_EQ(read_pair(bytes).error_text, "a");
}

TEST(RemoteAnswer, WhatIsNoPairOfObjectsIsAProtocolError) {
  const Bytes result = kdb::encode(Value::long_atom(1));
  EXPECT_EQ(read_pair({}).status, Errc::protocol);
  EXPECT_EQ(read_pair(result).status, Errc::protocol) << "the info is missing";
  EXPECT_EQ(read_pair(pair_of(Value::long_atom(1), Value::long_atom(2))).status, Errc::protocol);
  EXPECT_EQ(read_pair(pair_of(Value::error("x"), lbt_info())).status, Errc::protocol);
  EXPECT_EQ(read_remote_answer({}, false).status, Errc::protocol);
  Bytes more = pair_of(Value::long_atom(1), lbt_info());
  more.push_back(std::byte{0});
  EXPECT_EQ(read_pair(more).status, Errc::protocol);
  more.resize(more.size() - 3);
  EXPECT_EQ(read_pair(more).status, Errc::protocol);
}

TEST(RemoteAnswer, AnInfoOfAnotherFormIsHandedOnWithoutFigures) {
  const Value infos[] = {
      Value::dict(Value::longs({1}), Value::longs({2})),
      Value::dict(Value::symbols({"a"}), Value::list({Value::long_atom(2)})),
      Value::dict(Value::symbols({"qsvr"}), Value::symbols({"s"})),
      Value::dict(Value::symbols({"qsvr"}), Value::list({Value::long_atom(1)})),
      Value::dict(Value::symbols({}), Value::list({})),
  };
  for (const Value& info : infos) {
    const Bytes bytes = pair_of(Value::long_atom(1), info);
    const RemoteAnswer answer = read_pair(bytes);
    EXPECT_EQ(answer.status, Errc::ok);
    EXPECT_FALSE(answer.figures);
    EXPECT_EQ(kdb::decode(answer.info).value(), info);
  }
}

TEST(RemoteAnswer, FiguresOutOfRangeAreCutOff) {
  constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();
  const Value info = Value::dict(
      Value::symbols({"qsvr", "elapsed", "execution", "backlog", "remaining"}),
      Value::list({Value::symbol(std::string(100, 's')), Value::long_atom(kMost),
                   Value::long_atom(-1), Value::long_atom(kMost), Value::symbol("many")}));
  const Bytes bytes = pair_of(Value::long_atom(1), info);
  const RemoteAnswer answer = read_pair(bytes);
  ASSERT_TRUE(answer.figures);
  EXPECT_EQ(std::string(answer.figures->servant), std::string(31, 's'));
  EXPECT_GT(answer.figures->elapsed_ns, std::uint64_t{1} << 62);
  EXPECT_EQ(answer.figures->execution_ns, 0U);
  EXPECT_EQ(answer.figures->backlog, UINT32_MAX);
  EXPECT_EQ(answer.figures->remaining, 0U);
}

TEST(RemoteRequest, OnlyWhatAGatewayTakesIsSent) {
  const Bytes query = kdb::encode(Value::chars("proc1 `IBM"));
  EXPECT_EQ(fault_of_remote_request(query, false, false), nullptr);
  EXPECT_NE(fault_of_remote_request(query, true, false), nullptr) << "opaque";
  EXPECT_NE(fault_of_remote_request({}, false, false), nullptr);
  EXPECT_NE(fault_of_remote_request(kdb::encode(Value::error("x")), false, false), nullptr);
  EXPECT_NE(fault_of_remote_request(query, false, true), nullptr) << "no options";
  const Bytes pair = pair_of(Value::chars("x"), Value::dict(Value::symbols({}), Value::list({})));
  EXPECT_EQ(fault_of_remote_request(pair, false, true), nullptr);
  EXPECT_NE(fault_of_remote_request(pair, false, false), nullptr);
  const Bytes no_dictionary = pair_of(Value::chars("x"), Value::long_atom(1));
  EXPECT_NE(fault_of_remote_request(no_dictionary, false, true), nullptr);
}

TEST(RemoteRequest, TheListAroundTheQueryIsALevelToo) {
  Value deep = Value::long_atom(1);
  while (deep.depth() < kdb::kDepthMax - 1) {
    deep = Value::list({deep});
  }
  EXPECT_EQ(fault_of_remote_request(kdb::encode(deep), false, false), nullptr);
  EXPECT_NE(fault_of_remote_request(kdb::encode(Value::list({deep})), false, false), nullptr);
}

}  // namespace
}  // namespace mserve
