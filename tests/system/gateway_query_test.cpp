// SPDX-License-Identifier: Apache-2.0
// kdb+ clients at the real broker with demo servants: every way of asking, and of getting there.
#include <gtest/gtest.h>

#include <thread>

#include "mserve/shm/clock.hpp"
#include "standin/wire.hpp"
#include "system/gateway_setup.hpp"

namespace mserve::test {
namespace {

TEST(GatewayQuery, SyncAsTextAsListAndInError) {
  const Broker broker(with_gateway());
  RawClient client = connect(broker);
  EXPECT_EQ(client.query("echo 42"), Value::long_atom(42));
  EXPECT_EQ(client.query(list({Value::symbol("echo"), Value::ints({1, 2})})), Value::ints({1, 2}));
  const auto table = client.query("proc1 `IBM");
  ASSERT_TRUE(table);
  EXPECT_TRUE(table->is_table());
  EXPECT_EQ(client.query("nosuch 1"), Value::error("unknown command: `nosuch"));
  EXPECT_EQ(client.query("echo[1;2]"), Value::error("rank"));
  EXPECT_TRUE(client.query("")->is_null());
}

TEST(GatewayQuery, LbtWithIdsOfEveryIntegerType) {
  const Broker broker(with_gateway());
  RawClient client = connect(broker);
  for (const Value& id : {Value::byte(200), Value::short_atom(-3), Value::int_atom(7),
                          Value::long_atom(std::int64_t{1} << 40)}) {
    ASSERT_TRUE(client.send(list({id, text("proc1 `IBM")}), MessageKind::async));
    const auto answer = client.receive();
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->header.kind, MessageKind::async);
    ASSERT_EQ(answer->value.count(), 3U);
    EXPECT_EQ(answer->value.at(0), id);
    EXPECT_TRUE(answer->value.at(1).is_table());
    const Value info = answer->value.at(2);
    EXPECT_EQ(info.keys(),
              Value::symbols({"qsvr", "elapsed", "execution", "route", "backlog", "remaining"}));
    EXPECT_EQ(info.find("route"), Value::symbol("IBM"));
    EXPECT_EQ(info.find("qsvr")->text_view()->substr(0, 15), "mserve-servant-");
  }
  const Value options = Value::dict(Value::symbols({"user"}), Value::symbols({"x"}));
  ASSERT_TRUE(client.send(list({Value::int_atom(1), text("echo 5"), options}), MessageKind::async));
  EXPECT_EQ(client.receive()->value.at(1), Value::long_atom(5));
  ASSERT_TRUE(client.send(list({Value::int_atom(2), text("nosuch 5")}), MessageKind::async));
  EXPECT_EQ(client.receive()->value.at(1), text("Error: unknown command: `nosuch"));
}

TEST(GatewayQuery, NpPairsAndBareAsyncQueries) {
  const Broker broker(with_gateway());
  RawClient client = connect(broker);
  const Value query = list({Value::symbol("echo"), Value::long_atom(3)});
  ASSERT_TRUE(client.send(list({query, Value::symbol("cb")}), MessageKind::async));
  EXPECT_EQ(client.receive()->value,
            list({Value::symbol("cb"), Value::long_atom(1), query, Value::long_atom(3)}));
  ASSERT_TRUE(client.send(list({text("nosuch 1"), text("{show x}")}), MessageKind::async));
  EXPECT_EQ(client.receive()->value.at(3), text("Error: unknown command: `nosuch"));
  ASSERT_TRUE(client.send(text("echo 9"), MessageKind::async));
  const auto bare = client.receive();
  EXPECT_EQ(bare->header.kind, MessageKind::async);
  EXPECT_EQ(bare->value, Value::long_atom(9));
  ASSERT_TRUE(client.send(text("nosuch 9"), MessageKind::async));
  EXPECT_EQ(client.receive()->value, Value::symbol("error"));
}

TEST(GatewayQuery, AmbiguousPairsFollowProtocolDefault) {
  const Broker broker(with_gateway({"--protocol-default", "aw"}));
  RawClient client = connect(broker);
  ASSERT_TRUE(client.send(list({text("echo"), Value::symbol("x")}), MessageKind::async));
  EXPECT_EQ(client.receive()->value, Value::symbol("x"));
  EXPECT_FALSE(broker.wait_for_log("gateway_ambiguous").empty());
  broker.wait_for_counter("gateway_ambiguous", 1);
}

TEST(GatewayQuery, PipelinedAsyncQueriesOnDifferentServantsComeBackInOrder) {
  const Broker broker(with_gateway({}, 0));
  RawPeer first = raw_servant(broker, "first");
  RawPeer second = raw_servant(broker, "second");
  broker.wait_for_counter("servants", 2);
  RawClient client = connect(broker);
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(client.send(Value::long_atom(i), MessageKind::async));
  }
  const auto one = first.take();
  const auto two = second.take();
  ASSERT_TRUE(one && two);
  EXPECT_EQ((one->header.flags & shm::kFlagRepeatable), shm::kFlagRepeatable);
  const auto later = one->payload == kdb::encode(Value::long_atom(1)) ? &first : &second;
  const auto earlier = later == &first ? &second : &first;
  const auto& later_frame = later == &first ? *one : *two;
  const auto& earlier_frame = later == &first ? *two : *one;
  ASSERT_TRUE(answer(*later, later_frame.header.id, later_frame.payload));
  broker.wait_for_counter("replies", 1);
  ASSERT_TRUE(answer(*earlier, earlier_frame.header.id, earlier_frame.payload));
  EXPECT_EQ(client.receive()->value, Value::long_atom(0));
  EXPECT_EQ(client.receive()->value, Value::long_atom(1));
}

TEST(GatewayQuery, LbtAnswersOvertakeSlowOnesAndTheFlushWaitsForAll) {
  const Broker broker(with_gateway({}, 0));
  RawPeer first = raw_servant(broker, "first");
  RawPeer second = raw_servant(broker, "second");
  broker.wait_for_counter("servants", 2);
  RawClient client = connect(broker);
  ASSERT_TRUE(client.send(list({Value::int_atom(1), text("slow")}), MessageKind::async));
  ASSERT_TRUE(client.send(list({Value::int_atom(2), text("fast")}), MessageKind::async));
  ASSERT_TRUE(client.send(text(""), MessageKind::sync));
  auto one = first.take();
  auto two = second.take();
  ASSERT_TRUE(one && two);
  const bool first_is_slow = one->payload == kdb::encode(text("slow"));
  RawPeer& slow = first_is_slow ? first : second;
  RawPeer& fast = first_is_slow ? second : first;
  ASSERT_TRUE(
      answer(fast, (first_is_slow ? *two : *one).header.id, kdb::encode(Value::symbol("done"))));
  EXPECT_EQ(client.receive()->value.at(0), Value::int_atom(2));
  ASSERT_TRUE(
      answer(slow, (first_is_slow ? *one : *two).header.id, kdb::encode(Value::symbol("done"))));
  EXPECT_EQ(client.receive()->value.at(0), Value::int_atom(1));
  EXPECT_TRUE(client.receive()->value.is_null());
}

TEST(GatewayQuery, AServantThatDiesIsAnErrorForSyncAndASecondRunForAsync) {
  const Broker broker(with_gateway({}, 0));
  RawClient client = connect(broker);
  {
    RawPeer servant = raw_servant(broker, "dies");
    broker.wait_for_counter("servants", 1);
    ASSERT_TRUE(client.send(text("x"), MessageKind::sync));
    ASSERT_TRUE(servant.take());
  }
  EXPECT_EQ(client.receive()->value, Value::error("servant died"));
  broker.wait_for_counter("servants", 0);
  EXPECT_EQ(client.query("x"), Value::error("no servant"));
  RawPeer heir = raw_servant(broker, "heir");
  {
    RawPeer servant = raw_servant(broker, "dies-too");
    broker.wait_for_counter("servants", 2);
    for (int i = 0; i < 2; ++i) {
      ASSERT_TRUE(client.send(Value::long_atom(i), MessageKind::async));
    }
    ASSERT_TRUE(servant.take());
  }
  for (int i = 0; i < 2; ++i) {
    const auto request = heir.take();
    ASSERT_TRUE(request);
    ASSERT_TRUE(answer(heir, request->header.id, request->payload));
  }
  EXPECT_EQ(client.receive()->value, Value::long_atom(0));
  EXPECT_EQ(client.receive()->value, Value::long_atom(1));
}

TEST(GatewayQuery, BigEndianCompressedAndDribbledRequests) {
  const Broker broker(with_gateway());
  RawClient client = connect(broker);
  const Value query = list({Value::symbol("echo"), Value::longs({1, 256, 65536})});
  ASSERT_TRUE(client.send(query, MessageKind::sync, kdb::ByteOrder::big));
  const auto answer = client.receive();
  EXPECT_EQ(answer->header.order, kdb::ByteOrder::little);
  EXPECT_EQ(answer->value, Value::longs({1, 256, 65536}));
  const Value large =
      list({Value::symbol("echo"), Value::longs(std::vector<std::int64_t>(5000, 7))});
  ASSERT_TRUE(client.send_bytes(compress_always(kdb::encode_message(large, MessageKind::sync))));
  const auto uncompressed = client.receive();
  EXPECT_EQ(uncompressed->header.compression, kdb::Compression::none) << "a local client";
  EXPECT_EQ(uncompressed->value, large.at(1));
  for (const std::byte byte : kdb::encode_message(query, MessageKind::sync)) {
    ASSERT_TRUE(client.send_bytes({&byte, 1}));
  }
  EXPECT_EQ(client.receive()->value, Value::longs({1, 256, 65536}));
}

TEST(GatewayQuery, OldAndNewCapabilitiesAreAnsweredWithTheSmaller) {
  const Broker broker(with_gateway());
  for (const std::uint8_t capability : std::initializer_list<std::uint8_t>{0, 1, 3, 6, 9}) {
    RawClient client = RawClient::tcp(broker.port());
    EXPECT_EQ(client.handshake("bob", capability), std::min<std::uint8_t>(capability, 6));
    EXPECT_EQ(client.query("echo 1"), Value::long_atom(1));
  }
}

TEST(GatewayQuery, AHalfClosedClientGetsItsAnswers) {
  const Broker broker(with_gateway());
  RawClient client = connect(broker);
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(client.send(text("echo " + std::to_string(i)), MessageKind::sync));
  }
  client.half_close();
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(client.receive()->value, Value::long_atom(i));
  }
  EXPECT_TRUE(client.closed_by_peer());
}

TEST(GatewayQuery, UnixSocketsAbstractAndByPath) {
  const Broker broker(with_gateway());
  for (const bool abstract : {true, false}) {
    RawClient client = RawClient::unix_socket(broker.socket_path(), abstract);
    ASSERT_TRUE(client.connected()) << abstract;
    EXPECT_EQ(client.handshake(), 6);
    EXPECT_EQ(client.query("echo 1"), Value::long_atom(1));
  }
}

TEST(GatewayQuery, ConsoleAndBrowserOnTheSamePort) {
  const Broker broker(with_gateway());
  RawClient console = RawClient::tcp(broker.port());
  ASSERT_TRUE(console.send_text(std::string_view("bob:pw\0echo 1 2 3\0", 18)));
  console.half_close();
  const auto shown = console.receive_bytes(1000);
  EXPECT_EQ(shown, bytes_of("1 2 3\n"));

  RawClient browser = RawClient::tcp(broker.port());
  ASSERT_TRUE(browser.send_text("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"));
  const auto page = browser.receive_bytes(100'000);
  const std::string html(reinterpret_cast<const char*>(page.data()), page.size());
  EXPECT_EQ(html.rfind("HTTP/1.1 200 OK\r\n", 0), 0U);
  EXPECT_NE(html.find("text/html"), std::string::npos);
  EXPECT_NE(html.find("Connection: close"), std::string::npos);
  EXPECT_NE(html.find(broker.name()), std::string::npos);

  // Whoever scrapes the wrong port is to notice.
  RawClient scraper = RawClient::tcp(broker.port());
  ASSERT_TRUE(scraper.send_text("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"));
  const auto refused = scraper.receive_bytes(100'000);
  const std::string told(reinterpret_cast<const char*>(refused.data()), refused.size());
  EXPECT_EQ(told.rfind("HTTP/1.1 404 Not Found\r\n", 0), 0U) << told;
  EXPECT_NE(told.find("mserve-stat serve"), std::string::npos) << told;
}

TEST(GatewayQuery, AdminCallsOverTheUnixSocket) {
  const Broker broker(with_gateway());
  // The data thread counts a servant some time after the control thread let it in.
  broker.wait_for_counter("servants", 2);
  RawClient tcp = connect(broker);
  for (const char* const query : {"echo 1", "proc1 `IBM", "nosuch 1"}) {
    ASSERT_TRUE(tcp.query(query));
  }
  EXPECT_EQ(tcp.query(".mserve.stats[]"), Value::error("access"));
  RawClient admin = RawClient::unix_socket(broker.socket_path(), false);
  ASSERT_TRUE(admin.handshake("adam"));

  const auto servants = admin.query(".mserve.servants[]");
  ASSERT_TRUE(servants && servants->is_table());
  EXPECT_EQ(servants->count(), 2U);
  EXPECT_EQ(servants->column("qsvr")->items<std::string>()[0].substr(0, 15), "mserve-servant-");

  const auto clients = admin.query(".mserve.clients[]");
  ASSERT_TRUE(clients && clients->is_table());
  ASSERT_EQ(clients->count(), 2U);
  EXPECT_EQ(clients->column("user")->items<std::string>()[0], "bob");
  EXPECT_EQ(clients->column("user")->items<std::string>()[1], "adam");
  EXPECT_EQ(clients->column("requests")->items<std::int64_t>()[0], 3);

  const auto queries = admin.query(".mserve.queries[2]");
  ASSERT_TRUE(queries && queries->is_table());
  ASSERT_EQ(queries->count(), 2U);
  EXPECT_EQ(queries->column("route")->items<std::string>()[0], "IBM");
  EXPECT_EQ(queries->column("status")->items<std::string>()[0], "ok");
  EXPECT_EQ(queries->column("status")->items<std::string>()[1], "failed");
  EXPECT_EQ(queries->column("query")->at(0), text("proc1 `IBM"));
  EXPECT_GT(queries->column("elapsed")->items<std::int64_t>()[0], 0);
  EXPECT_EQ(admin.query(list({Value::symbol(".mserve.queries"), Value::long_atom(1)}))->count(),
            1U);

  const auto stats = admin.query(".mserve.stats[]");
  ASSERT_TRUE(stats && stats->is_dict());
  EXPECT_EQ(stats->find("gateway_requests"), Value::long_atom(3));
  EXPECT_EQ(stats->find("servants"), Value::long_atom(2));
}

// A request that woke the gateway counted from when that had fallen asleep.
TEST(GatewayQuery, WhatAQueryTookHasNothingOfTheSleepBeforeIt) {
  const Broker broker(with_gateway({"--idle", "park"}));
  RawClient client = connect(broker);
  RawClient admin = RawClient::unix_socket(broker.socket_path(), false);
  ASSERT_TRUE(admin.handshake("adam"));
  for (int i = 0; i < 5; ++i) {
    const std::uint64_t idle_since = shm::steady_now();
    ASSERT_TRUE(wait_until([&] { return shm::steady_now() - idle_since > 30'000'000; }, "a sleep"));
    const std::uint64_t asked = shm::steady_now();
    ASSERT_TRUE(client.query("echo 1"));
    const std::uint64_t took = shm::steady_now() - asked;
    const auto queries = admin.query(".mserve.queries[1]");
    ASSERT_TRUE(queries && queries->is_table() && queries->count() == 1);
    const auto elapsed =
        static_cast<std::uint64_t>(queries->column("elapsed")->items<std::int64_t>()[0]);
    EXPECT_GT(elapsed, 0U);
    EXPECT_LE(elapsed, took);
  }
}

// Where the gateway lends the data thread its own, it read its clock before the answer came.
TEST(GatewayQuery, WhatAQueryTookIsNoLessThanWhatItsServantTook) {
  const Broker broker(with_gateway({"--gateway-thread", "data"}));
  RawClient client = connect(broker);
  constexpr std::size_t kQueries = 40;
  for (std::size_t i = 0; i < kQueries; ++i) {
    ASSERT_TRUE(client.query("proc1 `IBM"));
  }
  RawClient admin = RawClient::unix_socket(broker.socket_path(), false);
  ASSERT_TRUE(admin.handshake("adam"));
  const auto queries = admin.query(".mserve.queries[40]");
  ASSERT_TRUE(queries && queries->is_table() && queries->count() == kQueries);
  for (std::size_t i = 0; i < kQueries; ++i) {
    EXPECT_GE(queries->column("elapsed")->items<std::int64_t>()[i],
              queries->column("execution")->items<std::int64_t>()[i]);
  }
}

TEST(GatewayQuery, AdminUsersMayBeOthersThanTheBrokersOwn) {
  const Broker broker(with_gateway({"--admin-users", "nobody"}));
  RawClient client = RawClient::unix_socket(broker.socket_path(), true);
  ASSERT_TRUE(client.handshake());
  EXPECT_EQ(client.query(".mserve.stats[]"), Value::error("access"));
}

TEST(GatewayQuery, FixedConventionsAndSilence) {
  const Broker lbt(with_gateway({"--protocol", "lbt"}));
  RawClient to_lbt = connect(lbt);
  ASSERT_TRUE(to_lbt.send(text("echo 1"), MessageKind::async));
  EXPECT_EQ(to_lbt.receive()->value.at(1), text("Error: not (id; query) or (id; query; options)"));
  const Broker silent(with_gateway({"--async-reply", "none"}));
  RawClient client = connect(silent);
  ASSERT_TRUE(client.send(text("echo 1"), MessageKind::async));
  EXPECT_TRUE(client.query("")->is_null());
  silent.wait_for_counter("replies", 1);
}

TEST(GatewayQuery, ManyConnectionsAskAtOnce) {
  const Broker broker(with_gateway());
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&broker, t] {
      std::vector<RawClient> clients;
      for (int i = 0; i < 50; ++i) {
        clients.push_back(connect(broker));
      }
      for (int round = 0; round < 5; ++round) {
        for (std::size_t i = 0; i < clients.size(); ++i) {
          const auto number = t * 1000 + round * 100 + static_cast<int>(i);
          ASSERT_TRUE(clients[i].send(text("echo " + std::to_string(number)), MessageKind::sync));
        }
        for (std::size_t i = 0; i < clients.size(); ++i) {
          const auto number = t * 1000 + round * 100 + static_cast<int>(i);
          const auto answer = clients[i].receive();
          ASSERT_TRUE(answer);
          EXPECT_EQ(answer->value, Value::long_atom(number));
        }
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  broker.wait_for_counter("gateway_connections", 0);
  EXPECT_EQ(broker.counter("gateway_pending"), 0U);
  EXPECT_EQ(broker.counter("gateway_answers"), 1000U);
}

}  // namespace
}  // namespace mserve::test
