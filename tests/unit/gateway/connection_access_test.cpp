// SPDX-License-Identifier: Apache-2.0
// What a connection of a user with a role sends on: calls that the role lists, encoded anew.
#include <gtest/gtest.h>

#include "line.hpp"
#include "mserve/kdb/print.hpp"
#include "support/hostile_queries.hpp"

namespace mserve::test {
namespace {

LineSetup restricted() {
  auto role = std::make_shared<broker::Role>();
  role->name = "user";
  role->functions = {"proc1"};
  LineSetup setup;
  setup.access = std::make_shared<broker::AccessRules>();
  setup.role = std::move(role);
  return setup;
}

std::vector<Value> hostile_queries() {
  std::vector<Value> queries = hostile_values();
  for (const std::string& each : hostile_texts()) {
    if (!each.empty()) {  // sync: a flush, which asks nothing
      queries.push_back(text(each));
    }
  }
  return queries;
}

/// The client's options and who it is.
Bytes with_options(Bytes query, std::vector<std::string> names = {}, std::vector<Value> values = {},
                   const char* role = "user") {
  names.insert(names.end(), {"user", "role"});
  values.push_back(Value::symbol("bob"));
  values.push_back(Value::symbol(role));
  const Bytes options =
      kdb::encode(Value::dict(Value::symbols(std::move(names)), Value::list(std::move(values))));
  query.insert(query.end(), options.begin(), options.end());
  return query;
}
Bytes call_of_proc1(const Value& argument) {
  return with_options(kdb::encode_call("proc1", std::vector<Value>{argument}));
}

TEST(GatewayRole, LetsNoHostileQueryThroughInAnyConvention) {
  for (const Value& query : hostile_queries()) {
    const std::string shown = kdb::text(query, 80);
    Line line(restricted());
    line.send(query, MessageKind::sync);
    EXPECT_TRUE(line.read_one().value.is_error()) << shown;
    line.async(list({Value::long_atom(7), query}));
    const Got lbt = line.read_one();
    ASSERT_EQ(lbt.value.count(), 3U) << shown;
    if (lbt.value.at(0) == Value::long_atom(7)) {  // else it was aw: its list is no call either
      EXPECT_TRUE(lbt.value.at(1).text_view()->starts_with("Error: ")) << shown;
    }
    const Value options = Value::dict(Value::symbols({"a"}), Value::longs({1}));
    line.async(list({Value::long_atom(8), query, options}));
    EXPECT_EQ(line.read_one().value.count(), 3U) << shown;
    line.async(list({query, Value::symbol("callback")}));
    (void)line.read();
    EXPECT_EQ(line.plane.take().head.id, 0U) << shown;
    EXPECT_GE(line.context->counters.forbidden->get(), 4U) << shown;
    line.send(text("proc1 `IBM"), MessageKind::sync);
    EXPECT_EQ(line.plane.take().payload, call_of_proc1(Value::symbol("IBM"))) << shown;
  }
}

TEST(GatewayRole, LetsNoHostileQueryThroughAsABareAsyncMessage) {
  LineSetup setup = restricted();
  setup.settings.rules.protocol = broker::Protocol::aw;  // else some are pairs of np
  Line line(setup);
  for (const Value& query : hostile_queries()) {
    const std::string shown = kdb::text(query, 80);
    line.async(query);
    EXPECT_EQ(line.read_one().value, Value::symbol("error")) << shown;
    EXPECT_EQ(line.plane.take().head.id, 0U) << shown;
  }
}

TEST(GatewayRole, AnswersInTheFormOfEachConvention) {
  Line line(restricted());
  line.sync("proc2 `IBM");
  Got got = line.read_one();
  EXPECT_EQ(got.kind, MessageKind::response);
  EXPECT_EQ(got.value, Value::error("unknown command: `proc2"));
  line.async(list({Value::int_atom(3), text("proc1 proc2 `IBM")}));
  got = line.read_one();
  EXPECT_EQ(got.kind, MessageKind::async);
  EXPECT_EQ(got.value.at(0), Value::int_atom(3));
  EXPECT_EQ(got.value.at(1), text("Error: nested evaluation"));
  line.async(list({list({Value::symbol("proc2"), Value::symbol("IBM")}), Value::symbol("back")}));
  got = line.read_one();
  ASSERT_EQ(got.value.count(), 4U);
  EXPECT_EQ(got.value.at(0), Value::symbol("back"));
  EXPECT_EQ(got.value.at(3), text("Error: unknown command: `proc2"));
}

TEST(GatewayRole, EncodesWhatIsAllowedAnew) {
  Line line(restricted());
  line.sync(" proc1[ `IBM ] ");
  const auto sync = line.plane.take();
  EXPECT_EQ(sync.payload, call_of_proc1(Value::symbol("IBM")));
  EXPECT_TRUE(line.plane.answer(sync.head.id, kdb::encode(Value::long_atom(1))));
  EXPECT_EQ(line.read_one().value, Value::long_atom(1));
  EXPECT_NE(sync.head.flags & shm::kFlagPair, 0);
  EXPECT_NE(sync.head.flags & shm::kFlagVouched, 0) << "it was asked who it is";
  const Value options = Value::dict(Value::symbols({"role", "timeout"}), Value::longs({1, 5}));
  line.async(list({Value::long_atom(1), text("proc1 `IBM"), options}));
  const auto lbt = line.plane.take();
  EXPECT_EQ(lbt.payload,
            with_options(kdb::encode_call("proc1", std::vector<Value>{Value::symbol("IBM")}),
                         {"timeout"}, {Value::long_atom(5)}));
  EXPECT_NE(lbt.head.flags & shm::kFlagPair, 0);
  line.async(list({text("proc1 `IBM"), Value::symbol("back")}));
  EXPECT_EQ(line.plane.take().payload, call_of_proc1(Value::symbol("IBM")));
}

TEST(GatewayRole, SendsALargeCallInPartsAsItWasEncodedAnew) {
  for (const std::size_t bytes :
       {std::size_t{100'000}, std::size_t{300'000}, std::size_t{1'000'000}}) {
    Line line(restricted());
    const Value argument = Value::chars(std::string(bytes, 'x'));
    line.send(list({Value::chars("proc1"), argument}), MessageKind::sync);
    const Bytes all = line.plane.take_flow(65'536, [&] { (void)line.turn(); });
    EXPECT_EQ(all, call_of_proc1(argument)) << bytes;
  }
}

TEST(GatewayRole, RefusesWhatIsTooLargeToBeLookedAt) {
  Line line(restricted());
  const Value argument = Value::chars(std::string(broker::kJudgedBytesMax, 'x'));
  line.send(list({Value::symbol("proc1"), argument}), MessageKind::sync);
  EXPECT_EQ(line.read_one().value, Value::error("limit"));
  EXPECT_EQ(line.plane.take().head.id, 0U);
  line.sync("proc1 1");
  EXPECT_EQ(line.plane.take().payload, call_of_proc1(Value::long_atom(1)));
}

LineSetup unrestricted() {
  LineSetup setup = restricted();
  auto all = std::make_shared<broker::Role>();
  all->unrestricted = true;
  setup.role = std::move(all);
  return setup;
}

TEST(GatewayRole, ThatIsUnrestrictedSendsQueriesOnUntouched) {
  Line line(unrestricted());
  line.sync("select from trades / all of it");
  const auto request = line.plane.take();
  EXPECT_EQ(request.payload,
            with_options(kdb::encode(text("select from trades / all of it")), {}, {}, ""));
  EXPECT_NE(request.head.flags & shm::kFlagPair, 0);
}

TEST(GatewayRole, ThatIsUnrestrictedCannotPassForAnotherInALargeMessageEither) {
  for (const std::size_t bytes : {std::size_t{100'000}, std::size_t{2'000'000}}) {
    Line line(unrestricted());
    const Value query = list({Value::symbol("upd"), Value::chars(std::string(bytes, 'x'))});
    const Value options = Value::dict(Value::symbols({"role"}), Value::symbols({"root"}));
    line.async(list({Value::long_atom(1), query, options}));
    EXPECT_EQ(line.plane.take_flow(65'536, [&] { (void)line.turn(); }),
              with_options(kdb::encode(query), {}, {}, ""));
    Line plain(unrestricted());
    plain.send(query, MessageKind::sync, kdb::ByteOrder::big);
    EXPECT_EQ(plain.plane.take_flow(65'536, [&] { (void)plain.turn(); }),
              with_options(kdb::encode(query), {}, {}, ""));
  }
}

}  // namespace
}  // namespace mserve::test
