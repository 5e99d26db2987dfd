// SPDX-License-Identifier: Apache-2.0
// Two brokers and `mserve-qshim --peer` between them: what nobody can run at A is run at B, once,
// and never further.
#include <csignal>
#include <fstream>
#include <set>

#include "mserve/client/query.hpp"
#include "support/requests.hpp"
#include "system/link_setup.hpp"

namespace mserve::test {
namespace {

/// How often signs of life come where one that falls silent is to be noticed. The default of 0.2 s
/// is too short for a machine on which everything else runs as well.
constexpr const char* kSoon = "0.5";

Value options(std::vector<std::string> keys, std::vector<Value> values) {
  return Value::dict(Value::symbols(std::move(keys)), Value::list(std::move(values)));
}

/// The answer to (7; query; with).
Value ask_lbt(RawClient& client, const Value& query, const Value& with) {
  EXPECT_TRUE(client.send(list({Value::long_atom(7), query, with}), MessageKind::async));
  const auto answer = client.receive();
  return answer ? answer->value : Value::error("closed");
}

TEST(Link, WhatNobodyHereCanRunIsRunThereAndAnsweredOnce) {
  Site b({}, StandinOptions{});
  const Broker a(with_gateway({}, 0));
  const ShimProcess link(a, to_peer(b.broker, "B"));
  a.wait_for_counter("servants", 1);
  RawClient client = connect(a);
  const std::uint64_t before = b.q.q.queries();  // it was asked who it is
  for (const Ask each : kEveryAsk) {
    ASSERT_TRUE(client.send_bytes(message_of(each, call("echo", Value::long_atom(42)))));
    EXPECT_EQ(result_in(each, *client.receive()), Value::long_atom(42)) << name_of(each);
    ASSERT_TRUE(client.send_bytes(message_of(each, call("fail", text("boom")))));
    const Value error = result_in(each, *client.receive());
    EXPECT_EQ(error, each == Ask::sync ? Value::error("boom")
                     : each == Ask::aw ? Value::symbol("error")
                                       : text("Error: boom"))
        << name_of(each);
  }
  EXPECT_EQ(client.query(call("echo", text("Error: only a text"))), text("Error: only a text"));
  EXPECT_EQ(client.query(""), Value::null()) << "a second answer came in its place";
  EXPECT_EQ(b.q.q.queries() - before, 9U);
  const Value info = ask_lbt(client, text("echo 1"), options({}, {})).at(2);
  EXPECT_EQ(info.find("qsvr"), Value::symbol("peer-B"));
  EXPECT_EQ(info.find("peer_qsvr"), Value::symbol("127.0.0.1-" + std::to_string(b.q.q.port())));
  Client rings = a.client();
  const auto answer = query(rings, "echo 43", {}, watchdog());
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer.value().result, Value::long_atom(43));
  // Signs of life are no requests.
  b.broker.wait_for_counter("gateway_requests", 11);
}

TEST(Link, LargeMessagesAndManyAtOnce) {
  constexpr std::size_t kLarge = 5U << 20;
  Site b({"--stall-timeout", "60s"});
  const Broker a(with_gateway({"--stall-timeout", "60s"}, 0));
  const ShimProcess link(a, to_peer(b.broker, "B"));
  a.wait_for_counter("servants", 1);
  RawClient client = connect(a);
  EXPECT_EQ(client.query("big " + std::to_string(kLarge))->count(), kLarge);
  const Value large = Value::bytes(std::vector<std::uint8_t>(1U << 20, 7));
  EXPECT_EQ(client.query(call("echo", large)), large);
  const Value answer = ask_lbt(client, call("echo", large), options({"x"}, {Value::long_atom(1)}));
  EXPECT_EQ(answer.at(1), large);
  // 64 are there at once; the others wait here.
  constexpr std::int64_t kMany = 100;
  b.q.q.hold();
  for (std::int64_t id = 0; id < kMany; ++id) {
    ASSERT_TRUE(client.send(list({Value::long_atom(id), call("echo", Value::long_atom(1000 + id))}),
                            MessageKind::async));
  }
  b.broker.wait_for_counter("gateway_requests", 3 + 64);
  a.wait_for_counter("running", 64);
  b.q.q.release();
  std::set<std::int64_t> answered;
  for (std::int64_t i = 0; i < kMany; ++i) {
    const auto one = client.receive();
    ASSERT_TRUE(one);
    const std::int64_t id = one->value.at(0).integer().value_or(-1);
    EXPECT_EQ(one->value.at(1), Value::long_atom(1000 + id));
    EXPECT_TRUE(answered.insert(id).second) << id;
  }
  EXPECT_EQ(client.query(""), Value::null());
}

TEST(Link, WhatCameFromElsewhereGoesNoFurther) {
  const Broker a(with_gateway({}, 0));
  const Broker b(with_gateway({}, 0));
  const ShimProcess there(a, to_peer(b, "B"));
  const ShimProcess back(b, to_peer(a, "A"));
  a.wait_for_counter("servants", 1);
  b.wait_for_counter("servants", 1);
  RawClient client = connect(a);
  EXPECT_EQ(client.query("echo 1"), Value::error("no servant"));
  EXPECT_EQ(ask_lbt(client, text("echo 1"), options({"hop"}, {Value::long_atom(0)})).at(1),
            text("Error: no servant"));
  const Value large = Value::bytes(std::vector<std::uint8_t>(1U << 20, 7));
  EXPECT_EQ(client.query(call("echo", large)), Value::error("no servant"));
  a.wait_for_counter("gateway_requests", 3);
  b.wait_for_counter("gateway_requests", 3);
  there.wait_for_log("the peer did not run a request: no servant");
  EXPECT_EQ(back.count("the peer did not run"), 0U);
}

// Goal: rules and their fallbacks hold for what comes from elsewhere, but links are left out.
TEST(Link, RulesHoldForWhatCameFromElsewhere) {
  const Broker a(with_gateway({}, 0));
  const Broker b(with_gateway({"--rule", "fn=echo,fail -> group=hdb else group=rdb"}, 0));
  const ShimProcess there(a, to_peer(b, "B"));
  const ShimProcess back(b, to_peer(a, "A", "group=hdb"));
  a.wait_for_counter("servants", 1);
  b.wait_for_counter("servants", 1);
  RawClient client = connect(a);
  EXPECT_EQ(client.query("echo 1"), Value::error("no servant"));
  const StandinProcess q;
  const ShimProcess rdb(b, q.port(), {"--group", "rdb"});
  b.wait_for_counter("servants", 2);
  EXPECT_EQ(client.query("echo 42"), Value::long_atom(42));
  // Who asks at B itself finds the link in the group. Its peer has nobody, so B goes on as if there
  // were no such link.
  EXPECT_EQ(connect(b).query("echo 43"), Value::long_atom(43));
  a.wait_for_counter("gateway_requests", 3);
}

/// Goal: a peer ends, or falls silent, with requests on their way. Method: a sync and an LBT query
/// are held at B; then C is there as well.
void expect_failover(Broker& b, ServedQ& q, const std::function<void()>& end, bool comes_back) {
  const Site c;
  const Broker a(with_gateway({}, 0));
  const ShimProcess to_b(a, to_peer(b, "B", "", kSoon));
  a.wait_for_counter("servants", 1);
  RawClient sync = connect(a);
  RawClient async = connect(a);
  EXPECT_EQ(sync.query("echo 1"), Value::long_atom(1));
  q.q.hold();
  ASSERT_TRUE(sync.send(text("echo 2"), MessageKind::sync));
  ASSERT_TRUE(async.send(list({Value::long_atom(7), text("echo 3")}), MessageKind::async));
  b.wait_for_counter("gateway_requests", 3);
  const ShimProcess to_c(a, to_peer(c.broker, "C"));
  a.wait_for_counter("servants", 2);
  end();
  EXPECT_EQ(sync.receive()->value, Value::error("servant died"));
  EXPECT_EQ(async.receive()->value.at(1), Value::long_atom(3));
  a.wait_for_counter("servants", 1);
  EXPECT_EQ(sync.query("echo 4"), Value::long_atom(4));
  if (comes_back) {
    // It goes on: what it answers now is for nobody, and it is attached again.
    ASSERT_EQ(kill(b.pid(), SIGCONT), 0);
    q.q.release();
    a.wait_for_counter("servants", 2);
  }
  EXPECT_EQ(sync.query(""), Value::null());
  EXPECT_EQ(async.query(""), Value::null());
}

TEST(Link, APeerIsKilledWithRequestsOnTheirWay) {
  Site b;
  expect_failover(
      b.broker, b.q, [&] { b.broker.kill(); }, /*comes_back=*/false);
}

TEST(Link, APeerIsStoppedWithRequestsOnTheirWay) {
  Site b;
  expect_failover(
      b.broker, b.q, [&] { ASSERT_EQ(kill(b.broker.pid(), SIGSTOP), 0); },
      /*comes_back=*/true);
}

TEST(Link, AnIdlePeerIsStoppedAndGoesOn) {
  Site b;
  const Broker a(with_gateway({}, 0));
  const ShimProcess link(a, to_peer(b.broker, "B", "", kSoon));
  a.wait_for_counter("servants", 1);
  ASSERT_EQ(kill(b.broker.pid(), SIGSTOP), 0);
  a.wait_for_counter("servants", 0);
  link.wait_for_log("no sign of life");
  ASSERT_EQ(kill(b.broker.pid(), SIGCONT), 0);
  a.wait_for_counter("servants", 1);
  EXPECT_EQ(connect(a).query("echo 42"), Value::long_atom(42));
}

TEST(Link, TimesAndPriorityTravel) {
  Site b;
  const Broker a(with_gateway({"--timeout", "600s", "--queue-timeout", "500s"}, 0));
  const ShimProcess link(a, to_peer(b.broker, "B"));
  a.wait_for_counter("servants", 1);
  RawClient client = connect(a);
  const auto left = [](const Value& told, const char* key) {
    const auto value = told.find(key);
    const bool span = value && value->type() == kdb::Type::timespan;
    return span ? static_cast<double>(*value->integer()) / 1e9 : -1.0;
  };
  const Value of_sync = client.query("options[]").value_or(Value::null());
  EXPECT_EQ(of_sync.find("hop"), Value::long_atom(1));
  EXPECT_EQ(of_sync.find("repeatable"), Value::boolean(false));
  EXPECT_GT(left(of_sync, "timeout"), 400);
  EXPECT_LE(left(of_sync, "timeout"), 600);
  EXPECT_GT(left(of_sync, "queue_timeout"), 300);
  EXPECT_LE(left(of_sync, "queue_timeout"), 500);
  const Value wishes = options({"timeout", "priority", "hop", "user", "x"},
                               {Value::long_atom(300'000), Value::long_atom(3),
                                Value::symbol("none"), Value::symbol("root"), text("kept")});
  const Value of_lbt = ask_lbt(client, text("options[]"), wishes).at(1);
  EXPECT_EQ(of_lbt.find("hop"), Value::long_atom(1));
  EXPECT_EQ(of_lbt.find("priority"), Value::long_atom(3));
  EXPECT_EQ(of_lbt.find("x"), text("kept"));
  EXPECT_FALSE(of_lbt.find("user")) << "nobody vouches for it";
  EXPECT_FALSE(of_lbt.find("repeatable"));
  EXPECT_GT(left(of_lbt, "timeout"), 100);
  EXPECT_LE(left(of_lbt, "timeout"), 300);
  EXPECT_LE(left(of_lbt, "queue_timeout"), left(of_lbt, "timeout"));
  // It ends there as well, not only here.
  b.q.q.hold();
  const Value late = ask_lbt(client, text("echo 1"), options({"timeout"}, {Value::long_atom(100)}));
  EXPECT_EQ(late.at(1), text("Error: timeout"));
  b.broker.wait_for_counter("overruns", 1);
  b.q.q.release();
  EXPECT_EQ(client.query("echo 2"), Value::long_atom(2));
}

// Goal: a request that nobody waits for any more costs a link no other one. Method: the broker sees
// a link with four places, made by hand; one request runs over its time, the client of another one
// hangs up. Without --interrupt.
TEST(Link, OneThatOverrunsOrIsAbandonedIsCancelledAndTheOthersGoOn) {
  const Broker broker(BrokerSetup{});
  RawPeer link(broker,
               {.role = shm::Role::servant, .name = "peer-B", .credit = 4, .tags = "peer=B"});
  broker.wait_for_counter("servants", 1);
  Client client = broker.client();
  const std::uint64_t late = send_opaque(client, pattern(10), {.run_ns_max = 20'000'000});
  const auto overran = link.take();
  ASSERT_TRUE(overran);
  EXPECT_EQ(await(client, late).status, Errc::timed_out);
  const auto told = link.take();
  ASSERT_TRUE(told);
  EXPECT_EQ(told->header.kind, shm::Kind::cancel);
  EXPECT_EQ(told->header.id, overran->header.id);
  std::optional<Frame> left;
  {
    Client other = broker.client();
    (void)send_opaque(other, pattern(20));
    left = link.take();
    ASSERT_TRUE(left) << "it got nothing new";
    EXPECT_EQ(left->payload, pattern(20));
  }
  const auto told_again = link.take();
  ASSERT_TRUE(told_again);
  EXPECT_EQ(told_again->header.kind, shm::Kind::cancel);
  EXPECT_EQ(told_again->header.id, left->header.id);
  // Two places are left, until these are answered.
  std::vector<std::uint64_t> sent;
  std::vector<Frame> running;
  for (int n = 0; n < 3; ++n) {
    sent.push_back(send_opaque(client, pattern(30)));
  }
  for (int n = 0; n < 2; ++n) {
    running.push_back(link.take().value());
  }
  broker.wait_for_counter("queued", 1);
  EXPECT_TRUE(link.reply(overran->header.id, pattern(1), 1));
  running.push_back(link.take().value());
  EXPECT_TRUE(link.reply(left->header.id, pattern(1), 1));
  for (const Frame& frame : running) {
    EXPECT_TRUE(link.reply(frame.header.id, pattern(3)));
  }
  for (const std::uint64_t id : sent) {
    EXPECT_EQ(await(client, id).status, Errc::ok);
  }
  broker.wait_for_counter("interrupts", 2);
  broker.wait_for_counter("stale_replies", 1);
  broker.wait_for_counter("discarded", 1);
}

// Goal: the same of a real link, which has one place. Method: B's first servant never answers; who
// asked hangs up.
TEST(Link, WhoHangsUpLeavesItsPlaceToTheNext) {
  const Broker b(with_gateway({"--policy", "orig"}, 0));
  RawPeer silent = raw_servant(b, "silent");
  b.wait_for_counter("servants", 1);
  const Broker a(with_gateway({}, 0));
  std::vector<std::string> args = to_peer(b, "B");
  args.insert(args.end(), {"--credit", "1"});
  const ShimProcess link(a, args);
  a.wait_for_counter("servants", 1);
  std::optional<Frame> held;
  {
    RawClient client = connect(a);
    ASSERT_TRUE(client.send(text("echo 1"), MessageKind::sync));
    held = silent.take();
    ASSERT_TRUE(held);
    client.reset();
  }
  a.wait_for_counter("discarded", 1);
  const StandinProcess q;
  const ShimProcess served(b, q.port());
  b.wait_for_counter("servants", 2);
  RawClient next = connect(a);
  EXPECT_EQ(next.query("echo 42"), Value::long_atom(42));
  EXPECT_TRUE(answer(silent, held->header.id, kdb::encode(Value::long_atom(1))));
  b.wait_for_counter("stale_replies", 1);
  ASSERT_TRUE(next.send(text("echo 43"), MessageKind::sync));
  const auto later = silent.take();
  ASSERT_TRUE(later);
  EXPECT_TRUE(answer(silent, later->header.id, kdb::encode(Value::long_atom(43))));
  EXPECT_EQ(next.receive()->value, Value::long_atom(43)) << "the late answer went to nobody";
}

// Goal: what nobody here waits for any more is not run there. Method: B's one servant is busy with
// somebody else's request; the client of another one, which waits behind it, hangs up. Then one
// that runs loses its client: its place at B's gateway is free although B's servant goes on.
TEST(Link, WhatNobodyWaitsForVanishesFromThePeersQueue) {
  const Broker b(with_gateway({}, 0));
  RawPeer servant = raw_servant(b, "busy");
  b.wait_for_counter("servants", 1);
  RawClient holder = connect(b);
  ASSERT_TRUE(holder.send(text("echo 1"), MessageKind::sync));
  const auto held = servant.take();
  ASSERT_TRUE(held);
  const Broker a(with_gateway({}, 0));
  const ShimProcess link(a, to_peer(b, "B"));
  a.wait_for_counter("servants", 1);
  {
    RawClient client = connect(a);
    ASSERT_TRUE(client.send(text("echo 2"), MessageKind::sync));
    b.wait_for_counter("queued", 1);
    client.reset();
  }
  b.wait_for_counter("errors", 1);
  b.wait_for_counter("queued", 0);
  EXPECT_TRUE(answer(servant, held->header.id, kdb::encode(Value::long_atom(1))));
  EXPECT_EQ(holder.receive()->value, Value::long_atom(1));
  EXPECT_FALSE(servant.poll()) << "it ran for nobody";
  std::optional<Frame> runs;
  {
    RawClient client = connect(a);
    ASSERT_TRUE(client.send(text("echo 3"), MessageKind::sync));
    runs = servant.take();
    ASSERT_TRUE(runs);
    client.reset();
  }
  b.wait_for_counter("errors", 2);
  b.wait_for_counter("gateway_pending", 0);
  EXPECT_TRUE(answer(servant, runs->header.id, kdb::encode(Value::long_atom(3))));
  b.wait_for_counter("stale_replies", 1);
  RawClient next = connect(a);
  ASSERT_TRUE(next.send(text("echo 4"), MessageKind::sync));
  const auto last = servant.take();
  ASSERT_TRUE(last);
  EXPECT_TRUE(answer(servant, last->header.id, kdb::encode(Value::long_atom(4))));
  EXPECT_EQ(next.receive()->value, Value::long_atom(4));
  EXPECT_EQ(b.counter("discarded"), 0U) << "each is counted once";
  EXPECT_EQ(link.count("the answer is dropped"), 0U) << link.log();
}

// Goal: a servant of the peer that pauses in the middle of a large answer does not cost the link,
// although no sign of life can come then. Method: the answer goes on once another peer, which began
// to keep quiet later, was given up.
TEST(Link, AnAnswerMayPauseForLongerThanSignsOfLifeMay) {
  const Broker b(with_gateway({"--stall-timeout", "60s"}, 0));
  RawPeer servant = raw_servant(b, "one");
  b.wait_for_counter("servants", 1);
  const Broker c(with_gateway({}, 0));
  const Broker a(with_gateway({"--stall-timeout", "60s"}, 0));
  const ShimProcess to_b(a, to_peer(b, "B", "", kSoon));
  a.wait_for_counter("servants", 1);
  RawClient client = connect(a);
  ASSERT_TRUE(client.send(text("echo 1"), MessageKind::sync));
  const auto asked = servant.take();
  ASSERT_TRUE(asked);
  const Value large = Value::bytes(std::vector<std::uint8_t>(600'000, 7));
  const std::vector<std::byte> answer = kdb::encode(large);
  shm::FrameHeader head;
  head.kind = shm::Kind::reply;
  head.id = asked->header.id;
  const auto send = [&](std::size_t from, std::size_t bytes) {
    return servant.fragment(head, from, answer.size(), std::span(answer).subspan(from, bytes));
  };
  constexpr std::size_t kPiece = 50'000;
  ASSERT_TRUE(send(0, kPiece));
  ASSERT_TRUE(
      wait_until([&] { return a.counter("fragments_out").value_or(0) > 0; }, "nothing of it came"));
  const ShimProcess to_c(a, to_peer(c, "C", "", kSoon));
  a.wait_for_counter("servants", 2);
  ASSERT_EQ(kill(c.pid(), SIGSTOP), 0);
  a.wait_for_counter("servants", 1);
  for (std::size_t at = kPiece; at < answer.size(); at += kPiece) {
    ASSERT_TRUE(send(at, std::min(kPiece, answer.size() - at)));
  }
  EXPECT_EQ(client.receive()->value, large);
  EXPECT_EQ(to_b.count("connected"), 1U) << to_b.log();
  ASSERT_EQ(kill(c.pid(), SIGCONT), 0);
}

// Goal: what cannot be helped is noticed and over soon. Method: the servant of the peer stops for
// good in the middle of a large answer; the peer ends the connection, which is made anew.
TEST(Link, AnAnswerThatStallsThereCostsTheConnection) {
  const Broker b(with_gateway({"--stall-timeout", "200ms"}, 0));
  RawPeer servant = raw_servant(b, "one");
  b.wait_for_counter("servants", 1);
  const Broker a(with_gateway({"--stall-timeout", "60s"}, 0));
  const ShimProcess link(a, to_peer(b, "B"));
  a.wait_for_counter("servants", 1);
  RawClient client = connect(a);
  RawClient other = connect(a);
  ASSERT_TRUE(client.send(text("echo 1"), MessageKind::sync));
  const auto asked = servant.take();
  ASSERT_TRUE(asked);
  ASSERT_TRUE(other.send(text("echo 2"), MessageKind::sync));
  b.wait_for_counter("gateway_requests", 2);
  const std::vector<std::byte> answer =
      kdb::encode(Value::bytes(std::vector<std::uint8_t>(600'000, 7)));
  shm::FrameHeader head;
  head.kind = shm::Kind::reply;
  head.id = asked->header.id;
  ASSERT_TRUE(servant.fragment(head, 0, answer.size(), std::span(answer).first(50'000)));
  EXPECT_EQ(other.receive()->value, Value::error("servant died"));
  ASSERT_TRUE(wait_until([&] { return link.count("connected") == 2; }, "it did not come back"));
  a.wait_for_counter("servants", 1);
  EXPECT_EQ(b.counter("gateway_closed"), 1U);
}

// Goal: a client that stops half-way through a large request keeps nobody waiting, and nothing
// happens to the link when it goes. Method: both, while another one asks.
TEST(Link, AClientThatGivesUpHalfWayCostsNobodyAnything) {
  constexpr std::size_t kHalf = 1U << 20;
  const Site b({"--stall-timeout", "60s"});
  const Broker a(with_gateway({"--stall-timeout", "60s"}, 0));
  const ShimProcess link(a, to_peer(b.broker, "B"));
  a.wait_for_counter("servants", 1);
  RawClient other = connect(a);
  {
    RawClient client = connect(a);
    const Value large = Value::bytes(std::vector<std::uint8_t>(2 * kHalf, 7));
    const std::vector<std::byte> message =
        kdb::encode_message(call("echo", large), MessageKind::sync);
    ASSERT_TRUE(client.send_bytes(std::span(message).first(kHalf)));
    ASSERT_TRUE(wait_until([&] { return a.counter("fragments_in").value_or(0) > 0; },
                           "no part of it came to the link"));
    EXPECT_EQ(other.query("echo 42"), Value::long_atom(42));
    client.reset();
  }
  a.wait_for_counter("discarded", 1);
  EXPECT_EQ(other.query("echo 43"), Value::long_atom(43));
  EXPECT_EQ(link.count("connected"), 1U) << link.log();
}

// Goal: what another broker has given up is over here as well, also what still waits. Method: it
// says how long it lets it run, and nothing of waiting; the servant is busy.
TEST(Link, WhatItMayRunForIncludesItsTimeInThePeersQueue) {
  const Broker b(with_gateway({}, 0));
  RawPeer servant = raw_servant(b, "busy");
  b.wait_for_counter("servants", 1);
  RawClient holder = connect(b);
  ASSERT_TRUE(holder.send(text("echo 1"), MessageKind::sync));
  const auto held = servant.take();
  ASSERT_TRUE(held);
  RawClient link = connect(b);
  const Value terms = options({"hop", "timeout"}, {Value::long_atom(1), Value::long_atom(50)});
  EXPECT_EQ(ask_lbt(link, text("echo 2"), terms).at(1), text("Error: queue timeout"));
  EXPECT_TRUE(answer(servant, held->header.id, kdb::encode(Value::long_atom(1))));
  EXPECT_EQ(holder.receive()->value, Value::long_atom(1));
  EXPECT_FALSE(servant.poll()) << "it was never sent";
}

class LinkAccess : public ::testing::Test {
 protected:
  LinkAccess() {
    // The passwords of ken and arthur are their names, that of the link is arthur's.
    write("users.csv",
          "username|password|role\n"
          "ken|470bc578162732ac7f9d387d34c4af4ca6e1b6f7|user\n"
          "arthur|615193f904a227a9cebf5ad3042a37668b81f4c6|poweruser\n");
    write("roles-a.csv", "role|fn\nuser|echo,options\npoweruser|*\n");
    write("users-b.csv",
          "username|password|role\n"
          "link|615193f904a227a9cebf5ad3042a37668b81f4c6|all\n");
    write("roles-b.csv", "role|fn\nuser|options\nall|*\n");
  }
  void write(const std::string& name, const std::string& text) const {
    std::ofstream(dir_.file(name), std::ios::trunc) << text;
  }
  [[nodiscard]] std::vector<std::string> rules_of_b() const {
    return {"--users", dir_.file("users-b.csv"), "--roles", dir_.file("roles-b.csv"), "--peer-user",
            "link"};
  }
  static RawClient login(const Broker& broker, std::string_view credentials) {
    RawClient client = RawClient::tcp(broker.port());
    EXPECT_EQ(client.handshake(credentials), 6);
    return client;
  }

  const std::map<std::string, std::string> link_user_ = {{"MSERVE_Q_USER", "link:arthur"}};
  TempDir dir_;
};

TEST_F(LinkAccess, UserAndRoleTravelAndArePutToThePeersRoles) {
  Site b(rules_of_b());
  const Broker a(
      with_gateway({"--users", dir_.file("users.csv"), "--roles", dir_.file("roles-a.csv")}, 0));
  const ShimProcess link(a, to_peer(b.broker, "B"), link_user_);
  a.wait_for_counter("servants", 1);
  RawClient ken = login(a, "ken:ken");
  const Value told = ken.query("options[]").value_or(Value::null());
  EXPECT_EQ(told.find("user"), Value::symbol("ken"));
  EXPECT_EQ(told.find("role"), Value::symbol("user"));
  const Value as_root = options({"user", "role"}, {Value::symbol("root"), Value::symbol("all")});
  EXPECT_EQ(ask_lbt(ken, text("options[]"), as_root).at(1).find("user"), Value::symbol("ken"));
  // His role lists it here, but not there.
  EXPECT_EQ(ken.query("echo 1"), Value::error("unknown command: `echo"));
  EXPECT_EQ(login(a, "arthur:arthur").query("echo 1"), Value::error("unknown role: `poweruser"));
  b.broker.wait_for_counter("gateway_forbidden", 2);
  EXPECT_EQ(b.q.q.queries(), 2U);
}

TEST_F(LinkAccess, WhatNobodyVouchesForIsAskedByTheLink) {
  Site b(rules_of_b());
  const Broker a(with_gateway({}, 0));
  const ShimProcess link(a, to_peer(b.broker, "B"), link_user_);
  a.wait_for_counter("servants", 1);
  RawClient client = connect(a);
  const Value as_ken = options({"user", "role"}, {Value::symbol("ken"), Value::symbol("user")});
  const Value told = ask_lbt(client, text("options[]"), as_ken).at(1);
  EXPECT_EQ(told.find("user"), Value::symbol("link"));
  EXPECT_EQ(told.find("role"), Value::symbol("all"));
}

TEST_F(LinkAccess, AnyOtherUserIsNoLink) {
  const Broker b(with_gateway({"--users", dir_.file("users.csv")}, 0));
  const Broker a(with_gateway({}, 0));
  const ShimProcess link(a, to_peer(b, "B"), {{"MSERVE_Q_USER", "ken:ken"}});
  link.wait_for_log("it refuses .mserve.beat: Error: access");
  EXPECT_EQ(a.counter("servants"), 0U);
}

}  // namespace
}  // namespace mserve::test
