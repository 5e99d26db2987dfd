// SPDX-License-Identifier: Apache-2.0
#include "gateway/admin_call.hpp"

#include <gtest/gtest.h>

#include <string>

#include "mserve/kdb/codec.hpp"

namespace {

using mserve::broker::AdminCall;
using mserve::broker::may_be_admin_call;
using mserve::broker::parse_admin_call;
using mserve::kdb::encode;
using mserve::kdb::Value;
using Name = AdminCall::Name;

std::optional<AdminCall> parse(const Value& query) {
  const auto object = encode(query);
  const auto call = parse_admin_call(object);
  EXPECT_TRUE(!call || may_be_admin_call(object)) << "the quick look must not miss a call";
  return call;
}
std::optional<AdminCall> parse(const std::string& text) {
  return parse(Value::chars(text));
}

TEST(AdminCall, KnowsTheFourNamesAsText) {
  EXPECT_EQ(parse(".mserve.servants[]")->name, Name::servants);
  EXPECT_EQ(parse(".mserve.clients[]")->name, Name::clients);
  EXPECT_EQ(parse(".mserve.queries[]")->name, Name::queries);
  EXPECT_EQ(parse(".mserve.stats[]")->name, Name::stats);
  for (const char* text : {".mserve.stats", " .mserve.stats []", ".mserve.stats[::]"}) {
    const auto call = parse(text);
    ASSERT_TRUE(call.has_value()) << text;
    EXPECT_EQ(call->fault, "") << text;
    EXPECT_FALSE(call->argument.has_value());
  }
}

TEST(AdminCall, ReadsTheCountInEveryForm) {
  EXPECT_EQ(parse(".mserve.queries[20]")->argument, 20);
  EXPECT_EQ(parse(".mserve.queries 20")->argument, 20);
  const Value name = Value::symbol(".mserve.queries");
  for (const Value& count :
       {Value::byte(20), Value::short_atom(20), Value::int_atom(20), Value::long_atom(20)}) {
    EXPECT_EQ(parse(Value::list({name, count}))->argument, 20);
    EXPECT_EQ(parse(Value::list({Value::chars(".mserve.queries"), count}))->argument, 20);
  }
  EXPECT_FALSE(parse(Value::list({name, Value::null()}))->argument.has_value());
  EXPECT_EQ(parse(name)->name, Name::queries);
  EXPECT_EQ(parse(Value::symbols({".mserve.stats"}))->name, Name::stats);
}

TEST(AdminCall, BeatsHaveAnInterval) {
  EXPECT_EQ(parse(".mserve.beat 200")->name, Name::beat);
  EXPECT_EQ(parse(".mserve.beat[200]")->argument, 200);
  EXPECT_EQ(parse(".mserve.beat[]")->fault, "rank");
  EXPECT_EQ(parse(".mserve.beat")->fault, "rank");
  EXPECT_EQ(parse(".mserve.beat[-1]")->fault, "domain");
}

TEST(AdminCall, CancelsNameARequest) {
  EXPECT_EQ(parse(".mserve.cancel 17")->name, Name::cancel);
  EXPECT_EQ(parse(".mserve.cancel 9223372036854775807")->argument, INT64_MAX);
  EXPECT_EQ(parse(".mserve.cancel[]")->fault, "rank");
  EXPECT_EQ(parse(".mserve.cancel[1;2]")->fault, "rank");
  EXPECT_EQ(parse(".mserve.cancel `a")->fault, "type");
}

TEST(AdminCall, AnswersWrongArgumentsAsQWould) {
  EXPECT_EQ(parse(".mserve.queries[1;2]")->fault, "rank");
  EXPECT_EQ(parse(".mserve.stats[1]")->fault, "rank");
  EXPECT_EQ(parse(".mserve.queries[`a]")->fault, "type");
  EXPECT_EQ(parse(".mserve.queries[1.5]")->fault, "type");
  EXPECT_EQ(parse(".mserve.queries[1b]")->fault, "type");
  EXPECT_EQ(parse(".mserve.queries[-1]")->fault, "domain");
  EXPECT_EQ(parse(".mserve.queries[0N]")->fault, "domain");
  EXPECT_EQ(parse(Value::symbols({".mserve.queries", "a"}))->fault, "type");
  EXPECT_EQ(parse(".mserve.queries[x]")->fault, "literal arguments only");
  EXPECT_EQ(parse(".mserve.queries[1],1")->fault, "literal arguments only");
}

TEST(AdminCall, LeavesEverythingElseToTheServants) {
  for (const char* text :
       {"", "  ", "proc1 `IBM", "count .mserve.stats[]", ".mserve.other[]", ".mserve.", ".mserve",
        ".mserve.statsx[]", "mserve.stats[]", "x:.mserve.stats[]"}) {
    EXPECT_FALSE(parse(text).has_value()) << text;
  }
  EXPECT_FALSE(parse(Value::list({})).has_value());
  EXPECT_FALSE(parse(Value::list({Value::long_atom(1), Value::symbol(".mserve.stats")})));
  EXPECT_FALSE(parse(Value::symbols({})).has_value());
  EXPECT_FALSE(parse(Value::null()).has_value());
  EXPECT_FALSE(parse(".mserve.queries[" + std::string(5000, ' ') + "1]").has_value());
  EXPECT_FALSE(may_be_admin_call({}));
}

// The quick look runs on every query: whatever the bytes, it stays inside them.
TEST(AdminCall, TheQuickLookTakesEveryTruncation) {
  for (const Value& value : {Value::chars(".mserve.stats[]"), Value::symbol(".mserve.stats"),
                             Value::symbols({".mserve.stats"}),
                             Value::list({Value::symbol(".mserve.stats"), Value::null()})}) {
    const auto object = encode(value);
    EXPECT_TRUE(may_be_admin_call(object));
    for (std::size_t size = 0; size < object.size(); ++size) {
      const std::vector<std::byte> cut(object.begin(),
                                       object.begin() + static_cast<std::ptrdiff_t>(size));
      static_cast<void>(may_be_admin_call(cut));
      EXPECT_FALSE(parse_admin_call(cut).has_value());
    }
  }
}

}  // namespace
