// SPDX-License-Identifier: Apache-2.0
// Connections of other brokers' links: who is believed, what stays here, and signs of life.
#include <gtest/gtest.h>

#include <fstream>

#include "line.hpp"
#include "support/request_options.hpp"
#include "support/temp_dir.hpp"

namespace mserve::test {
namespace {

const Value kHop = options({"hop"}, {Value::long_atom(1)});

/// Whoever connects is bob, and has this role; the rules have `user`, `all` and no other.
class Roles {
 public:
  Roles() {
    std::ofstream(dir_.file("users"))
        << "user|password|role\nbob|" << std::string(40, '0') << "|all\n";
    std::ofstream(dir_.file("roles")) << "role|fn\nuser|proc1\nall|*\n";
    std::vector<std::string> faults;
    rules_ = broker::AccessRules::read(dir_.file("users"), dir_.file("roles"), faults);
    EXPECT_EQ(faults.size(), 0U);
  }
  LineSetup setup(const char* role, const char* peer_user) const {
    LineSetup setup;
    setup.access = rules_;
    setup.role = rules_->role_told(role);
    setup.settings.peer_user = peer_user;
    return setup;
  }

 private:
  TempDir dir_;
  std::shared_ptr<const broker::AccessRules> rules_;
};

/// The options that the servant would see.
Value options_of(const FakeDataPlane::Request& request) {
  const auto pair = broker::split_pair(request.payload);
  const auto value = pair ? kdb::decode(pair->second) : kdb::decode(request.payload);
  return value ? *value : Value::null();
}

void ask_with(Line& line, const Value& query, const Value& with) {
  line.async(list({Value::long_atom(7), query, with}));
}

TEST(GatewayPeer, WithoutPasswordsEverybodyMaySayThatItCameFromElsewhere) {
  Line line;
  ask_with(line, text("echo 1"), kHop);
  EXPECT_TRUE(line.plane.take().here);
  ask_with(line, text("echo 1"), options({"hop"}, {Value::symbol("1")}));
  EXPECT_FALSE(line.plane.take().here);
  // Options may be long, and must not hide it.
  ask_with(line, text("echo 1"),
           options({"x", "hop"}, {Value::chars(std::string(60'000, 'x')), Value::long_atom(1)}));
  EXPECT_TRUE(line.plane.take().here);
  line.expect_works();
}

TEST(GatewayPeer, WithPasswordsOnlyThePeerUserIsBelieved) {
  const Roles roles;
  const Value says = options({"hop", "user", "role"},
                             {Value::long_atom(1), Value::symbol("ken"), Value::symbol("user")});
  {
    Line line(roles.setup("all", "somebody"));
    ask_with(line, text("proc2 1"), says);
    const auto request = line.plane.take();
    EXPECT_FALSE(request.here);
    EXPECT_EQ(options_of(request).find("user"), Value::symbol("bob"));
    EXPECT_EQ(options_of(request).find("role"), Value::symbol("all"));
  }
  Line line(roles.setup("all", "bob"));
  ask_with(line, text("proc1 1"), says);
  const auto request = line.plane.take();
  EXPECT_TRUE(request.here);
  EXPECT_EQ(options_of(request).find("user"), Value::symbol("ken"));
  EXPECT_EQ(options_of(request).find("role"), Value::symbol("user"));
  ask_with(line, text("proc2 1"), says);
  EXPECT_EQ(line.read_one().value.at(1), text("Error: unknown command: `proc2"));
  // Of nobody in particular: the link's own role.
  ask_with(line, text("proc2 1"), kHop);
  EXPECT_EQ(options_of(line.plane.take()).find("user"), Value::symbol("bob"));
}

/// The table of users that the cluster's document brought is gone, and the connection still there.
TEST(GatewayPeer, WithoutRulesAnyMoreItIsJudgedAsWhomItCameIn) {
  const Roles roles;
  Line line(roles.setup("all", "bob"));
  EXPECT_FALSE(line.connection->unasked());
  line.context->access = nullptr;
  ask_with(line, text("proc2 1"),
           options({"user", "role"}, {Value::symbol("ken"), Value::symbol("user")}));
  const auto request = line.plane.take();
  EXPECT_EQ(options_of(request).find("user"), Value::symbol("bob"));
  EXPECT_EQ(options_of(request).find("role"), Value::symbol("all"));
  EXPECT_TRUE(Line().connection->unasked());
}

TEST(GatewayPeer, WhatIsToldWrongIsAnErrorAndReachesNobody) {
  const Roles roles;
  Line line(roles.setup("all", "bob"));
  const Value ken = Value::symbol("ken");
  struct {
    Value user;
    Value role;
    std::string error;
  } const kCases[] = {
      {ken, Value::symbol("admin"), "Error: unknown role: `admin"},
      {ken, Value::symbol("no\n\x01such"), "Error: unknown role: `no??such"},
      {ken, Value::symbol(""), "Error: unknown role: `"},
      {Value::chars("ken"), Value::symbol("all"), "Error: user and role: symbols, both of them"},
      {ken, Value::long_atom(1), "Error: user and role: symbols, both of them"},
      {Value::symbol(std::string(10'000, 'u')), Value::symbol("all"), "Error: limit"},
  };
  for (const auto& each : kCases) {
    ask_with(line, text("proc1 1"), options({"user", "role"}, {each.user, each.role}));
    EXPECT_EQ(line.read_one().value.at(1), text(each.error));
  }
  ask_with(line, text("proc1 1"), options({"x"}, {Value::chars(std::string(70'000, 'x'))}));
  EXPECT_EQ(line.read_one().value.at(1), text("Error: limit"));
  EXPECT_EQ(line.plane.take().head.id, 0U);
}

TEST(GatewayPeer, TheToldUserIsTheOneThatIsWrapped) {
  const Roles roles;
  LineSetup setup = roles.setup("all", "bob");
  setup.settings.wrap = ".gw.asked";
  Line line(setup);
  ask_with(line, text("proc1 1"),
           options({"user", "role"}, {Value::symbol("ken"), Value::symbol("all")}));
  const auto request = line.plane.take();
  const auto pair = broker::split_pair(request.payload);
  ASSERT_TRUE(pair);
  EXPECT_EQ(kdb::decode(pair->first)->at(1), Value::symbol("ken"));
}

TEST(GatewayPeer, BeatsAreAnsweredAtOnceAndThenFromTimeToTime) {
  Line line;
  line.async(list({Value::long_atom(0), text(".mserve.beat 200"), kHop}));
  const Value first = line.read_one().value;
  ASSERT_EQ(first.count(), 3U);
  EXPECT_EQ(first.at(0), Value::long_atom(0));
  EXPECT_TRUE(first.at(1).is_null());
  ASSERT_TRUE(line.connection->beats());
  const auto pass = [&line](std::uint64_t ns) {
    line.context->now_ns += ns;
    line.connection->beat();
    return line.read();
  };
  EXPECT_EQ(pass(199'000'000).size(), 0U);
  // Whatever it has asked and not heard of yet.
  ask_with(line, text("slow 1"), kHop);
  const auto beat = pass(2'000'000);
  ASSERT_EQ(beat.size(), 1U);
  EXPECT_EQ(beat[0].kind, MessageKind::async);
  EXPECT_EQ(beat[0].value, list({Value::long_atom(0), Value::null()}));
  EXPECT_EQ(pass(1'000'000).size(), 0U);
  EXPECT_EQ(line.context->counters.requests->get(), 1U);
  // What a link asks stays here, whether it says so or not.
  EXPECT_TRUE(line.plane.take().here);
  line.sync("echo 1");
  EXPECT_TRUE(line.plane.take().here);
}

/// What a link says of its request `qid`, under this id.
void say_cancel(Line& line, std::int64_t qid, std::int64_t id = 0) {
  line.async(list({Value::long_atom(id), text(".mserve.cancel " + std::to_string(qid)), kHop}));
  (void)line.turn();
  line.plane.read();
}

// Goal: what nobody waits for at a link's broker is cancelled here, and answered once all the same.
TEST(GatewayPeer, ALinkCancelsARequestOfItsOwn) {
  Line line;
  line.async(list({Value::long_atom(0), text(".mserve.beat 200"), kHop}));
  EXPECT_EQ(line.read_one().value.at(2).find("mserve_cancel"), Value::boolean(true))
      << "a link says it only to brokers that know it";
  ask_with(line, text("f 1"), kHop);  // its id is 7
  const auto request = line.plane.take();
  line.async(list({Value::long_atom(8), text("f 2"), kHop}));
  const auto other = line.plane.take();
  say_cancel(line, 9);
  EXPECT_TRUE(line.plane.cancels.empty()) << "there is no such request";
  say_cancel(line, 7);
  say_cancel(line, 7);
  EXPECT_EQ(line.plane.cancels, std::vector<std::uint64_t>{request.head.id});
  EXPECT_TRUE(line.read().empty()) << "it is the data plane that answers";
  EXPECT_TRUE(line.plane.answer(request.head.id, {}, {.status = Errc::cancelled}));
  EXPECT_TRUE(line.plane.answer(other.head.id, kdb::encode(Value::long_atom(2))));
  (void)line.turn();
  const auto answers = line.read();
  ASSERT_EQ(answers.size(), 2U);
  EXPECT_EQ(answers[0].value.at(0), Value::long_atom(7));
  EXPECT_EQ(answers[0].value.at(1), text("Error: cancelled"));
  EXPECT_EQ(answers[0].value.at(2).find("mserve_status"),
            Value::long_atom(static_cast<std::int64_t>(Errc::cancelled)));
  EXPECT_EQ(answers[1].value.at(1), Value::long_atom(2));
  EXPECT_EQ(line.context->counters.requests->get(), 2U);
}

TEST(GatewayPeer, NobodyElseCancelsAnything) {
  Line line;
  ask_with(line, text("f 1"), kHop);
  (void)line.plane.take();
  say_cancel(line, 7);  // it is no link
  EXPECT_EQ(line.read_one().value.at(1), text("Error: access"));
  line.async(list({Value::long_atom(0), text(".mserve.beat 200"), kHop}));
  (void)line.read();
  say_cancel(line, 7, /*id=*/3);  // a client of its broker says so
  EXPECT_EQ(line.read_one().value.at(1), text("Error: access"));
  line.sync(".mserve.cancel 7");
  EXPECT_EQ(line.read_one().value, Value::error("access"));
  line.plane.read();
  EXPECT_TRUE(line.plane.cancels.empty());
}

// Users came while it was there, so it has to log in: what its broker sends it is not read any
// more.
TEST(GatewayPeer, OneThatIsSentBackHearsNoBeatsButItsAnswers) {
  Line line;
  line.async(list({Value::long_atom(0), text(".mserve.beat 200"), kHop}));
  ask_with(line, text("slow 1"), kHop);
  (void)line.read();
  const auto slow = line.plane.take();
  line.connection->send_back();
  line.context->now_ns += 10'000'000'000;
  line.connection->beat();
  EXPECT_EQ(line.read().size(), 0U);
  EXPECT_TRUE(line.plane.answer(slow.head.id, kdb::encode(Value::long_atom(3)), {}));
  (void)line.turn();
  EXPECT_EQ(line.read_one().value.at(1), Value::long_atom(3));
}

TEST(GatewayPeer, BeatsThatMakeNoSenseAreErrors) {
  Line line;
  const auto error = [&line](const char* query) {
    line.async(list({Value::long_atom(1), text(query)}));
    return line.read_one().value.at(1);
  };
  EXPECT_EQ(error(".mserve.beat[]"), text("Error: rank"));
  EXPECT_EQ(error(".mserve.beat[1;2]"), text("Error: rank"));
  EXPECT_EQ(error(".mserve.beat `a"), text("Error: type"));
  EXPECT_EQ(error(".mserve.beat 49"), text("Error: domain"));
  EXPECT_EQ(error(".mserve.beat 10001"), text("Error: domain"));
  EXPECT_EQ(error(".mserve.beat -1"), text("Error: domain"));
  line.sync(".mserve.beat 200");
  EXPECT_TRUE(line.read_one().value.is_error());
  EXPECT_FALSE(line.connection->beats());
  const Roles roles;
  Line other(roles.setup("all", "somebody"));
  other.async(list({Value::long_atom(1), text(".mserve.beat 200")}));
  EXPECT_EQ(other.read_one().value.at(1), text("Error: access"));
  EXPECT_FALSE(other.connection->beats());
}

// A client of its broker may ask anything by the link's connection, but not as that broker.
TEST(GatewayPeer, ClientsOfALinkNeitherChangeItsBeatsNorSeeWhatItMay) {
  Line line;
  line.async(list({Value::long_atom(0), text(".mserve.beat 200"), kHop}));
  (void)line.read();
  for (const char* const query : {".mserve.beat 10000", ".mserve.queries[]", ".mserve.stats[]"}) {
    line.async(list({Value::long_atom(7), text(query), kHop}));
    const Value answer = line.read_one().value;
    EXPECT_EQ(answer.at(0), Value::long_atom(7)) << query;
    EXPECT_EQ(answer.at(1), text("Error: access")) << query;
  }
  line.context->now_ns += 200'000'000;
  line.connection->beat();
  EXPECT_EQ(line.read_one().value, list({Value::long_atom(0), Value::null()}));
}

TEST(GatewayPeer, AnswersSayWhetherTheyAreErrorsAndLargeOnesStream) {
  Line line;
  line.async(list({Value::long_atom(0), text(".mserve.beat 200"), kHop}));
  (void)line.read();
  const auto answered = [&line](Errc status, const Value& result) {
    ask_with(line, text("f 1"), kHop);
    const auto request = line.plane.take();
    EXPECT_TRUE(line.plane.answer(request.head.id, kdb::encode(result), {.status = status}));
    (void)line.turn();
    return line.read_one().value;
  };
  const auto status_in = [](const Value& answer) { return answer.at(2).find("mserve_status"); };
  const Value good = answered(Errc::ok, text("Error: just a text"));
  EXPECT_EQ(status_in(good), Value::long_atom(0));
  const Value bad = answered(Errc::failed, Value::error("type"));
  EXPECT_EQ(bad.at(1), text("Error: type"));
  EXPECT_EQ(status_in(bad), Value::long_atom(static_cast<std::int64_t>(Errc::failed)));
  const Value none = answered(Errc::no_servant, Value::null());
  EXPECT_EQ(none.at(1), text("Error: no servant"));
  EXPECT_EQ(status_in(none), Value::long_atom(static_cast<std::int64_t>(Errc::no_servant)));
  const Value large = answered(Errc::ok, Value::chars(std::string(200'000, 'x')));
  EXPECT_EQ(large.count(), 2U) << "a link cannot stream what has an info behind it";
}

// A link goes elsewhere with what never ran, and a broker that goes down also ends what runs.
TEST(GatewayPeer, WhatIsCutShortByAShutdownMayHaveRun) {
  Line line;
  line.async(list({Value::long_atom(0), text(".mserve.beat 200"), kHop}));
  (void)line.read();
  for (const std::uint32_t servant : {0U, 3U}) {
    ask_with(line, text("f 1"), kHop);
    const auto request = line.plane.take();
    EXPECT_TRUE(
        line.plane.answer(request.head.id, {}, {.status = Errc::shutdown, .servant = servant}));
    (void)line.turn();
    const Value answer = line.read_one().value;
    EXPECT_EQ(answer.at(1), text("Error: shutdown"));
    const Errc told = servant == 0 ? Errc::shutdown : Errc::servant_died;
    EXPECT_EQ(answer.at(2).find("mserve_status"),
              Value::long_atom(static_cast<std::int64_t>(told)));
  }
}

TEST(GatewayPeer, OthersAreToldNoStatus) {
  Line line;
  ask_with(line, text("f 1"), kHop);
  EXPECT_TRUE(line.plane.answer(line.plane.take().head.id, kdb::encode(Value::long_atom(1))));
  (void)line.turn();
  EXPECT_FALSE(line.read_one().value.at(2).find("mserve_status"));
}

// Its options come last, so that it is known to be from elsewhere only by its connection.
TEST(GatewayPeer, ALargeRequestOfALinkStaysHere) {
  LineSetup setup;
  setup.settings.reader.gather_bytes_max = 10'000;
  Line line(setup);
  line.async(list({Value::long_atom(0), text(".mserve.beat 200"), kHop}));
  (void)line.read();
  ask_with(line, text(std::string(100'000, 'x')), kHop);
  const auto request = line.plane.take();
  EXPECT_TRUE(request.fragment);
  EXPECT_TRUE(request.here);
  // It waits for a servant, and nothing that follows it is read; the link hears that we live.
  EXPECT_FALSE(line.connection->wants_read());
  line.context->now_ns += 200'000'000;
  line.connection->beat();
  EXPECT_EQ(line.read_one().value, list({Value::long_atom(0), Value::null()}));
}

}  // namespace
}  // namespace mserve::test
