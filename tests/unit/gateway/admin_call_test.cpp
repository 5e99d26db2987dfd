// SPDX-License-Identifier: Apache-2.0
#include "gateway/admin_call.hpp"

#include <gtest/gtest.h>

#include <string>

#include "mserve/kdb/codec.hpp"

namespace mserve::broker {
namespace {

using kdb::encode;
using kdb::Value;
using Name = AdminCall::Name;

std::optional<AdminCall> admin_call_of(const Value& query) {
  const auto object = encode(query);
  const auto call = parse_admin_call(object);
  EXPECT_TRUE(!call || may_be_admin_call(object)) << "the quick look must not miss a call";
  return call;
}
std::optional<AdminCall> admin_call_of(const std::string& text) {
  return admin_call_of(Value::chars(text));
}

TEST(AdminCall, KnowsTheFourNamesAsText) {
  EXPECT_EQ(admin_call_of(".mserve.servants[]")->name, Name::servants);
  EXPECT_EQ(admin_call_of(".mserve.clients[]")->name, Name::clients);
  EXPECT_EQ(admin_call_of(".mserve.queries[]")->name, Name::queries);
  EXPECT_EQ(admin_call_of(".mserve.stats[]")->name, Name::stats);
  for (const char* text : {".mserve.stats", " .mserve.stats []", ".mserve.stats[::]"}) {
    const auto call = admin_call_of(text);
    ASSERT_TRUE(call.has_value()) << text;
    EXPECT_EQ(call->fault, "") << text;
    EXPECT_FALSE(call->argument.has_value());
  }
}

TEST(AdminCall, ReadsTheCountInEveryForm) {
  EXPECT_EQ(admin_call_of(".mserve.queries[20]")->argument, 20);
  EXPECT_EQ(admin_call_of(".mserve.queries 20")->argument, 20);
  const Value name = Value::symbol(".mserve.queries");
  for (const Value& count :
       {Value::byte(20), Value::short_atom(20), Value::int_atom(20), Value::long_atom(20)}) {
    EXPECT_EQ(admin_call_of(Value::list({name, count}))->argument, 20);
    EXPECT_EQ(admin_call_of(Value::list({Value::chars(".mserve.queries"), count}))->argument, 20);
  }
  EXPECT_FALSE(admin_call_of(Value::list({name, Value::null()}))->argument.has_value());
  EXPECT_EQ(admin_call_of(name)->name, Name::queries);
  EXPECT_EQ(admin_call_of(Value::symbols({".mserve.stats"}))->name, Name::stats);
}

TEST(AdminCall, BeatsHaveAnInterval) {
  EXPECT_EQ(admin_call_of(".mserve.beat 200")->name, Name::beat);
  EXPECT_EQ(admin_call_of(".mserve.beat[200]")->argument, 200);
  EXPECT_EQ(admin_call_of(".mserve.beat[]")->fault, "rank");
  EXPECT_EQ(admin_call_of(".mserve.beat")->fault, "rank");
  EXPECT_EQ(admin_call_of(".mserve.beat[-1]")->fault, "domain");
}

TEST(AdminCall, CancelsNameARequest) {
  EXPECT_EQ(admin_call_of(".mserve.cancel 17")->name, Name::cancel);
  EXPECT_EQ(admin_call_of(".mserve.cancel 9223372036854775807")->argument, INT64_MAX);
  EXPECT_EQ(admin_call_of(".mserve.cancel[]")->fault, "rank");
  EXPECT_EQ(admin_call_of(".mserve.cancel[1;2]")->fault, "rank");
  EXPECT_EQ(admin_call_of(".mserve.cancel `a")->fault, "type");
}

TEST(AdminCall, AnswersWrongArgumentsAsQWould) {
  EXPECT_EQ(admin_call_of(".mserve.queries[1;2]")->fault, "rank");
  EXPECT_EQ(admin_call_of(".mserve.stats[1]")->fault, "rank");
  EXPECT_EQ(admin_call_of(".mserve.queries[`a]")->fault, "type");
  EXPECT_EQ(admin_call_of(".mserve.queries[1.5]")->fault, "type");
  EXPECT_EQ(admin_call_of(".mserve.queries[1b]")->fault, "type");
  EXPECT_EQ(admin_call_of(".mserve.queries[-1]")->fault, "domain");
  EXPECT_EQ(admin_call_of(".mserve.queries[0N]")->fault, "domain");
  EXPECT_EQ(admin_call_of(Value::symbols({".mserve.queries", "a"}))->fault, "type");
  EXPECT_EQ(admin_call_of(".mserve.queries[x]")->fault, "literal arguments only");
  EXPECT_EQ(admin_call_of(".mserve.queries[1],1")->fault, "literal arguments only");
}

TEST(AdminCall, LeavesEverythingElseToTheServants) {
  for (const char* text :
       {"", "  ", "proc1 `IBM", "count .mserve.stats[]", ".mserve.other[]", ".mserve.", ".mserve",
        ".mserve.statsx[]", "mserve.stats[]", "x:.mserve.stats[]"}) {
    EXPECT_FALSE(admin_call_of(text).has_value()) << text;
  }
  EXPECT_FALSE(admin_call_of(Value::list({})).has_value());
  EXPECT_FALSE(admin_call_of(Value::list({Value::long_atom(1), Value::symbol(".mserve.stats")})));
  EXPECT_FALSE(admin_call_of(Value::symbols({})).has_value());
  EXPECT_FALSE(admin_call_of(Value::null()).has_value());
  EXPECT_FALSE(admin_call_of(".mserve.queries[" + std::string(5000, ' ') + "1]").has_value());
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
}  // namespace mserve::broker
