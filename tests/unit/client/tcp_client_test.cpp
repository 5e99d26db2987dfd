// SPDX-License-Identifier: Apache-2.0
// The client library against a gateway: the same calls, the same outcomes as through rings.
#include <gtest/gtest.h>
#include <poll.h>

#include <future>
#include <mutex>

#include "mserve/client/query.hpp"
#include "mserve/kdb/compress.hpp"
#include "payloads.hpp"
#include "support/test_gateway.hpp"
#include "support/wait.hpp"

namespace mserve {
namespace {

using kdb::Value;
using test::Bytes;
using test::encoded_text;
using test::GatewayConnection;
using test::lbt_answer;
using test::lbt_info;
using test::TestGateway;
using test::watchdog;

Client connect(const TestGateway& gateway, ClientOptions options = {}) {
  options.broker = gateway.endpoint();
  std::string reason;
  auto client = Client::connect(options, &reason);
  EXPECT_TRUE(client) << reason;
  return std::move(client).value();
}

/// A gateway that answers everything with what `answer` makes of the request.
TestGateway::Script answering(std::function<Bytes(const test::LbtRequest&)> answer) {
  return [answer = std::move(answer)](GatewayConnection& connection, int) {
    if (!connection.welcome()) {
      return;
    }
    while (const auto request = connection.take()) {
      if (!connection.write(answer(*request))) {
        return;
      }
    }
  };
}

TEST(TcpClient, QueriesHaveTheResultAndInfoThatTheGatewaySent) {
  const Value info = Value::dict(
      Value::symbols({"qsvr", "elapsed", "execution", "route", "backlog", "remaining", "rows"}),
      Value::list({Value::symbol("s1"), Value::long_atom(3), Value::long_atom(2),
                   Value::symbol("IBM"), Value::long_atom(4), Value::long_atom(1),
                   Value::long_atom(77)}));
  TestGateway gateway(
      answering([&](const auto& request) { return lbt_answer(request.id, request.query, info); }));
  Client client = connect(gateway);
  EXPECT_EQ(client.endpoint(), gateway.endpoint());
  const auto answer = query(client, "proc1 `IBM", {}, watchdog());
  ASSERT_TRUE(answer) << to_string(answer.error().code);
  EXPECT_FALSE(answer.value().is_error());
  EXPECT_EQ(answer.value().result, Value::chars("proc1 `IBM"));
  EXPECT_EQ(answer.value().info, info);
  const auto plain = query(client, "proc2 `IBM", {.want_info = false}, watchdog());
  ASSERT_TRUE(plain);
  EXPECT_EQ(plain.value().result, Value::chars("proc2 `IBM"));
  EXPECT_TRUE(plain.value().info.is_null()) << "dropped when it was not asked for";
}

TEST(TcpClient, ErrorsOfServantsAndOfTheBrokerAreWhatTheyAreThroughRings) {
  TestGateway gateway(answering([](const auto& request) {
    const bool busy = request.query == Value::chars("busy");
    return lbt_answer(request.id, Value::chars(busy ? "Error: busy" : "Error: nested evaluation"),
                      lbt_info(busy ? "" : "s1"));
  }));
  Client client = connect(gateway);
  const auto failed = client.call(encoded_text("x"), {}, watchdog());
  ASSERT_TRUE(failed);
  EXPECT_EQ(failed.value()->status, Errc::failed);
  EXPECT_EQ(kdb::decode(failed.value()->payload).value(), Value::error("nested evaluation"));
  const auto answer = query(client, "x", {}, watchdog());
  ASSERT_TRUE(answer);
  EXPECT_TRUE(answer.value().is_error());
  EXPECT_EQ(answer.value().result.text_view(), "nested evaluation");
  EXPECT_EQ(answer.value().info, lbt_info("s1"));
  EXPECT_EQ(query(client, "busy", {}, watchdog()).error().code, Errc::busy);
  EXPECT_EQ(client.call(encoded_text("busy"), {}, watchdog()).error().code, Errc::busy);
}

TEST(TcpClient, PollGivesPayloadFiguresAndDictionary) {
  TestGateway gateway(test::echo_requests);
  Client client = connect(gateway);
  const auto id = client.try_send(encoded_text("x"), {.want_info = true});
  ASSERT_TRUE(id);
  ASSERT_EQ(client.wait(watchdog()), Errc::ok);
  Reply reply;
  ASSERT_EQ(client.poll(reply), Errc::ok);
  EXPECT_EQ(reply.id, id.value());
  EXPECT_EQ(reply.status, Errc::ok);
  EXPECT_EQ(Bytes(reply.payload.begin(), reply.payload.end()), encoded_text("x"));
  ASSERT_TRUE(reply.info);
  EXPECT_STREQ(reply.info->servant, "servant1");
  EXPECT_EQ(reply.info->elapsed_ns, 3'000'000U);
  EXPECT_TRUE(reply.info_complete);
  EXPECT_EQ(kdb::decode(reply.info_object).value(), lbt_info());
  const OwnedReply owned(reply);
  EXPECT_EQ(client.poll(reply), Errc::empty);
  EXPECT_EQ(kdb::decode(owned->info_object).value(), lbt_info());
}

TEST(TcpClient, AnswersComeInTheOrderInWhichTheyAreGiven) {
  TestGateway gateway([](GatewayConnection& connection, int) {
    connection.welcome();
    const auto first = connection.take();
    const auto second = connection.take();
    connection.write(lbt_answer(second->id, second->query));
    connection.write(lbt_answer(first->id, first->query));
    connection.drain();
  });
  Client client = connect(gateway);
  const auto first = client.try_send(encoded_text("1"));
  const auto second = client.try_send(encoded_text("2"));
  Reply reply;
  ASSERT_EQ(client.await(first.value(), reply, watchdog()), Errc::ok);
  EXPECT_EQ(kdb::decode(reply.payload).value(), Value::chars("1"));
  ASSERT_EQ(client.poll(reply), Errc::ok);
  EXPECT_EQ(reply.id, second.value());
  EXPECT_EQ(kdb::decode(reply.payload).value(), Value::chars("2")) << "kept meanwhile";
}

TEST(TcpClient, OptionsTravelAsTheThirdItem) {
  std::promise<Value> seen;
  TestGateway gateway([&](GatewayConnection& connection, int) {
    connection.welcome();
    const auto request = connection.take();
    seen.set_value(request->options);
    connection.write(lbt_answer(request->id, request->query));
    connection.drain();
  });
  Client client = connect(gateway);
  const Value options = Value::dict(Value::symbols({"a"}), Value::longs({1}));
  Bytes payload = encoded_text("x");
  const Bytes behind = kdb::encode(options);
  payload.insert(payload.end(), behind.begin(), behind.end());
  EXPECT_TRUE(client.call(payload, {.pair = true}, watchdog()));
  EXPECT_EQ(seen.get_future().get(), options);
}

TEST(TcpClient, LargeMessagesPassBothWays) {
  TestGateway gateway(test::echo_requests);
  Client client = connect(gateway, {.ring_bytes = 65536});
  std::vector<std::int64_t> numbers(1'500'000);
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    numbers[i] = static_cast<std::int64_t>(i * 0x9e3779b97f4a7c15U);
  }
  const Bytes payload = kdb::encode(Value::longs(numbers));
  ASSERT_GT(payload.size(), client.try_payload_bytes_max());
  const auto reply = client.call(payload, {.want_info = true}, watchdog());
  ASSERT_TRUE(reply) << to_string(reply.error().code);
  EXPECT_TRUE(std::ranges::equal(reply.value()->payload, payload));
  ASSERT_TRUE(reply.value()->info);
  EXPECT_STREQ(reply.value()->info->servant, "servant1");
  EXPECT_EQ(kdb::decode(reply.value()->info_object).value(), lbt_info());
}

// Both directions are full: whoever waits to send must go on reading.
TEST(TcpClient, LargeMessagesPassEachOther) {
  const Value large = Value::longs(std::vector<std::int64_t>(2'000'000, 5));
  TestGateway gateway([&](GatewayConnection& connection, int) {
    connection.welcome();
    const auto first = connection.take();
    connection.write(lbt_answer(first->id, large));  // reads nothing before that is through
    while (const auto request = connection.take()) {
      connection.write(lbt_answer(request->id, Value::long_atom(1)));
    }
  });
  Client client = connect(gateway);
  const auto first = client.try_send(encoded_text("first"));
  const auto second = client.send(kdb::encode(large), {}, watchdog());
  ASSERT_TRUE(first && second) << to_string(second.error().code);
  Reply reply;
  ASSERT_EQ(client.await(second.value(), reply, watchdog()), Errc::ok);
  ASSERT_EQ(client.await(first.value(), reply, watchdog()), Errc::ok);
  EXPECT_TRUE(std::ranges::equal(reply.payload, kdb::encode(large)));
}

TEST(TcpClient, CompressedBigEndianAndDribbledAnswersAreTheSame) {
  const Value result = Value::longs(std::vector<std::int64_t>(5000, 9));
  TestGateway gateway([&](GatewayConnection& connection, int) {
    connection.welcome();
    for (int i = 0; const auto request = connection.take(); ++i) {
      const auto order = i % 2 == 0 ? kdb::ByteOrder::big : kdb::ByteOrder::little;
      Bytes answer = lbt_answer(request->id, result, lbt_info(), order);
      if (i >= 2) {
        answer = *kdb::compress(answer);
      }
      connection.dribble(answer);
    }
  });
  Client client = connect(gateway);
  for (int i = 0; i < 4; ++i) {
    const auto answer = query(client, "x", {}, watchdog());
    ASSERT_TRUE(answer) << i << ": " << client.last_failure();
    EXPECT_EQ(answer.value().result, result);
    EXPECT_EQ(answer.value().info, lbt_info());
  }
}

TEST(TcpClient, WhatAGatewayWouldNotTakeIsRefusedHere) {
  TestGateway gateway(test::echo_requests);
  Client client = connect(gateway, {.message_bytes_max = 100'000});
  EXPECT_EQ(client.try_send(encoded_text("x"), {.opaque = true}).error().code, Errc::invalid);
  EXPECT_EQ(client.send({}, {}, 0).error().code, Errc::invalid);
  EXPECT_EQ(client.try_send(Bytes(7, std::byte{3})).error().code, Errc::invalid);
  EXPECT_EQ(client.send(Bytes(90'000, std::byte{3})).error().code, Errc::invalid);
  EXPECT_EQ(client.send(Bytes(100'001)).error().code, Errc::too_large);
  EXPECT_EQ(client.in_flight(), 0U);
  EXPECT_TRUE(query(client, "still fine", {}, watchdog()));
}

TEST(TcpClient, AnOldGatewayIsNotSentWhatItsHeaderCannotSay) {
  TestGateway gateway([](GatewayConnection& connection, int) {
    connection.welcome(3);
    connection.drain();
  });
  const Client client = connect(gateway, {.message_bytes_max = std::uint64_t{1} << 35});
  EXPECT_LT(client.max_payload_bytes(), std::uint64_t{1} << 31);
}

TEST(TcpClient, TheLateAnswerToACancelledRequestIsDropped) {
  std::promise<void> cancelled;
  TestGateway gateway([&](GatewayConnection& connection, int) {
    connection.welcome();
    const auto first = connection.take();
    cancelled.get_future().wait();
    connection.write(lbt_answer(first->id, first->query));
    const auto second = connection.take();
    connection.write(lbt_answer(second->id, second->query));
    connection.drain();
  });
  Client client = connect(gateway);
  const auto first = client.try_send(encoded_text("1"), {.want_info = true});
  EXPECT_TRUE(client.cancel(first.value()));
  cancelled.set_value();
  const auto answer = query(client, "2", {}, watchdog());
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer.value().result, Value::chars("2"));
  EXPECT_EQ(client.late_replies(), 1U);
}

TEST(TcpClient, AnEventLoopIsWokenByAnswersAndByTheEnd) {
  std::promise<void> hang_up;
  TestGateway gateway([&](GatewayConnection& connection, int) {
    connection.welcome();
    for (int i = 0; i < 10; ++i) {
      const auto request = connection.take();
      connection.write(lbt_answer(request->id, request->query));
    }
    hang_up.get_future().wait();
  });
  Client client = connect(gateway, {.reconnect = false});
  const auto sleep = [&client] {
    if (client.prepare_sleep()) {
      pollfd watched{client.fd(), POLLIN, 0};
      EXPECT_EQ(::poll(&watched, 1, 60'000), 1);
    }
    client.finish_sleep();
  };
  Reply reply;
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(client.try_send(encoded_text("x")));
    while (client.poll(reply) == Errc::empty) {
      sleep();
    }
    ASSERT_EQ(reply.status, Errc::ok);
  }
  ASSERT_TRUE(client.try_send(encoded_text("unanswered")));
  hang_up.set_value();
  while (client.poll(reply) == Errc::empty) {
    sleep();
  }
  EXPECT_EQ(reply.status, Errc::disconnected);
  EXPECT_EQ(client.poll(reply), Errc::not_attached);
  EXPECT_EQ(client.fd(), -1);
  EXPECT_NE(client.last_failure().find(gateway.endpoint()), std::string::npos)
      << client.last_failure();
}

// An event loop watches for reading only: what the socket had no room for must go out all the same.
TEST(TcpClient, AnEventLoopIsWokenByRoomToWriteToo) {
  std::promise<void> read_on;
  TestGateway gateway([&](GatewayConnection& connection, int number) {
    if (number != 0 || !connection.welcome()) {
      return;
    }
    read_on.get_future().wait();
    while (const auto request = connection.take()) {
      if (!connection.write(lbt_answer(request->id, Value::long_atom(1)))) {
        return;
      }
    }
  });
  Client client = connect(gateway);
  const Bytes payload = kdb::encode(Value::bytes(std::vector<std::uint8_t>(60'000, 1)));
  std::size_t sent = 0;
  while (client.try_send(payload)) {
    ++sent;
  }
  ASSERT_GT(sent, 4U);
  read_on.set_value();
  std::size_t answered = 0;
  while (answered < sent) {
    Reply reply;
    const Errc code = client.poll(reply);
    ASSERT_TRUE(code == Errc::ok || code == Errc::empty) << to_string(code);
    answered += code == Errc::ok ? 1 : 0;
    if (code == Errc::empty) {
      if (client.prepare_sleep()) {
        pollfd watched{client.fd(), POLLIN, 0};
        ASSERT_EQ(::poll(&watched, 1, 60'000), 1) << answered << " of " << sent;
      }
      client.finish_sleep();
    }
  }
}

TEST(TcpClient, GivingUpALargeRequestHalfWayEndsTheSessionSoThatItNeverRuns) {
  std::promise<bool> ran;
  std::promise<void> read_on;
  TestGateway gateway([&](GatewayConnection& connection, int number) {
    if (number == 0) {
      connection.welcome();
      read_on.get_future().wait();
      ran.set_value(connection.take().has_value());
    } else {
      test::echo_requests(connection, number);
    }
  });
  Client client = connect(gateway);
  const Bytes large = kdb::encode(Value::bytes(std::vector<std::uint8_t>(64U << 20, 1)));
  const auto sent = client.send(large, {}, deadline_after(std::chrono::milliseconds(20)));
  ASSERT_FALSE(sent);
  EXPECT_EQ(sent.error().code, Errc::timed_out);
  EXPECT_EQ(client.in_flight(), 0U);
  read_on.set_value();
  EXPECT_FALSE(ran.get_future().get());
  ASSERT_EQ(client.reconnect(watchdog()), Errc::ok);
  EXPECT_TRUE(query(client, "next", {}, watchdog()));
}

TEST(TcpClient, ALargeRequestThatIsAnsweredEarlyIsSentToItsEnd) {
  TestGateway gateway([](GatewayConnection& connection, int) {
    connection.welcome();
    connection.write(lbt_answer(1, Value::chars("Error: busy"), lbt_info("")));
    while (const auto request = connection.take()) {
      const Bytes answer = lbt_answer(
          request->id, Value::long_atom(static_cast<std::int64_t>(request->query.count())));
      if (request->id != 1 && !connection.write(answer)) {
        return;
      }
    }
  });
  Client client = connect(gateway);
  const Bytes large = kdb::encode(Value::bytes(std::vector<std::uint8_t>(32U << 20, 1)));
  EXPECT_EQ(client.call(large, {}, watchdog()).error().code, Errc::busy);
  EXPECT_TRUE(client.attached());
  const auto next = query(client, "next", {}, watchdog());
  ASSERT_TRUE(next) << client.last_failure();
  EXPECT_EQ(next.value().result, Value::long_atom(4));
}

TEST(TcpClient, ConnectSaysWhatFailedWhere) {
  ClientOptions options;
  options.directory = "/nonexistent-directory-of-this-test";
  const std::string dead = "tcp://127.0.0.1:" + std::to_string(test::unused_port());
  options.broker = "nobody," + dead;
  std::string reason;
  const auto client = Client::connect(options, &reason);
  ASSERT_FALSE(client);
  EXPECT_EQ(client.error().code, Errc::no_broker);
  EXPECT_NE(reason.find("/nonexistent-directory-of-this-test"), std::string::npos) << reason;
  EXPECT_NE(reason.find(dead + ": Connection refused"), std::string::npos) << reason;
}

TEST(TcpClient, EndpointsThatWerePassedOverAreTold) {
  TestGateway gateway(test::echo_requests);
  const std::string dead = "tcp://127.0.0.1:" + std::to_string(test::unused_port());
  ClientOptions options;
  options.directory = "/nonexistent-directory-of-this-test";
  options.broker = "nobody," + dead + "," + gateway.endpoint();
  const auto client = Client::connect(options);
  ASSERT_TRUE(client);
  EXPECT_EQ(client.value().endpoint(), gateway.endpoint());
  const std::string& told = client.value().last_failure();
  EXPECT_NE(told.find("/nonexistent-directory-of-this-test"), std::string::npos) << told;
  EXPECT_NE(told.find(dead + ": Connection refused"), std::string::npos) << told;
  EXPECT_EQ(told.find(gateway.endpoint()), std::string::npos) << told;
}

TEST(TcpClient, RepeatableRequestsGoToTheNextEndpointWhenTheirsDies) {
  TestGateway dying([](GatewayConnection& connection, int number) {
    if (number == 0 && connection.welcome()) {
      (void)connection.take();
    }
  });
  TestGateway next(test::echo_requests);
  ClientOptions options;
  options.broker = dying.endpoint() + "," + next.endpoint();
  auto client = Client::connect(options);
  ASSERT_TRUE(client);
  EXPECT_EQ(client.value().endpoint(), dying.endpoint());
  const auto answer = query(client.value(), "proc1 `IBM", {}, watchdog());
  ASSERT_TRUE(answer) << to_string(answer.error().code);
  EXPECT_EQ(answer.value().result, Value::chars("proc1 `IBM"));
  EXPECT_EQ(client.value().endpoint(), next.endpoint());
}

TEST(TcpClient, AConnectionLostInTheMiddleOfAnAnswerIsDisconnected) {
  for (const std::size_t bytes : {std::size_t{5}, std::size_t{40}, std::size_t{100'000}}) {
    TestGateway gateway([bytes](GatewayConnection& connection, int number) {
      if (number == 0 && connection.welcome()) {
        const auto request = connection.take();
        const Bytes answer =
            lbt_answer(request->id, Value::longs(std::vector<std::int64_t>(50'000)));
        connection.write(std::span(answer).first(bytes));
      }
    });
    Client client = connect(gateway);
    EXPECT_EQ(query(client, "x", {.repeatable = false}, watchdog()).error().code,
              Errc::disconnected);
    EXPECT_EQ(client.in_flight(), 0U);
  }
}

TEST(TcpClient, AnswersThatArrivedBeforeTheEndAreGivenFirst) {
  constexpr int kAnswers = 2000;  // more than the ring holds
  TestGateway gateway([](GatewayConnection& connection, int number) {
    if (number != 0 || !connection.welcome()) {
      return;
    }
    std::vector<test::LbtRequest> requests;
    while (requests.size() <= kAnswers) {
      requests.push_back(*connection.take());
    }
    for (int i = 0; i < kAnswers; ++i) {
      const std::size_t at = static_cast<std::size_t>(i);
      connection.write(lbt_answer(requests[at].id, Value::chars(std::string(500, 'x'))));
    }
  });
  Client client = connect(gateway, {.reconnect = false});
  for (int i = 0; i <= kAnswers; ++i) {
    ASSERT_TRUE(client.send(encoded_text("x"), {}, watchdog()));
  }
  Reply reply;
  for (int i = 0; i < kAnswers; ++i) {
    ASSERT_EQ(client.wait(watchdog()), Errc::ok);
    ASSERT_EQ(client.poll(reply), Errc::ok);
    ASSERT_EQ(reply.status, Errc::ok) << i;
  }
  ASSERT_EQ(client.wait(watchdog()), Errc::ok);
  ASSERT_EQ(client.poll(reply), Errc::ok);
  EXPECT_EQ(reply.status, Errc::disconnected);
  EXPECT_EQ(client.wait(watchdog()), Errc::not_attached);
}

TEST(TcpClient, ARefusalIsAccess) {
  TestGateway gateway([](GatewayConnection& connection, int) { connection.take_opening(); });
  ClientOptions options;
  options.broker = gateway.endpoint();
  options.user = "joe";
  std::string reason;
  const auto client = Client::connect(options, &reason);
  ASSERT_FALSE(client);
  EXPECT_EQ(client.error().code, Errc::access);
  EXPECT_NE(reason.find("joe"), std::string::npos) << reason;
}

TEST(TcpClient, LiesOfAGatewayCostTheSessionOnly) {
  const auto id_of = [](std::int64_t id) {
    return kdb::encode_message(Value::list({Value::long_atom(id), Value::long_atom(1), lbt_info()}),
                               kdb::MessageKind::async);
  };
  const std::pair<const char*, Bytes> lies[] = {
      {"id 0", id_of(0)},
      {"id from the future", id_of(99)},
      {"null id", id_of(kdb::kNullLong)},
      {"unsolicited", kdb::encode_message(Value::symbol("upd"), kdb::MessageKind::async)},
      {"a response", kdb::encode_message(Value::long_atom(1), kdb::MessageKind::response)},
      {"no kdb+ at all", test::Bytes(100, std::byte{'x'})},
  };
  for (const auto& [what, bytes] : lies) {
    TestGateway gateway([&lie = bytes](GatewayConnection& connection, int) {
      connection.welcome();
      (void)connection.take();
      connection.write(lie);
      connection.drain();
    });
    Client client = connect(gateway, {.reconnect = false});
    EXPECT_EQ(query(client, "x", {}, watchdog()).error().code, Errc::disconnected) << what;
    EXPECT_FALSE(client.attached()) << what;
    EXPECT_FALSE(client.last_failure().empty()) << what;
  }
}

TEST(TcpClient, AnAnswerThatIsNoObjectIsAProtocolErrorOfItsRequestAlone) {
  TestGateway gateway([](GatewayConnection& connection, int) {
    connection.welcome();
    const auto first = connection.take();
    Bytes answer = lbt_answer(first->id, Value::long_atom(1));
    answer[23] = std::byte{3};  // no such type
    connection.write(answer);
    const auto second = connection.take();
    connection.write(lbt_answer(second->id, second->query));
    connection.drain();
  });
  Client client = connect(gateway);
  EXPECT_EQ(query(client, "1", {}, watchdog()).error().code, Errc::protocol);
  EXPECT_TRUE(query(client, "2", {}, watchdog()));
}

}  // namespace
}  // namespace mserve
