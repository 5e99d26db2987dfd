// SPDX-License-Identifier: Apache-2.0
// Clients at the gateway and q behind the shim that write as few do: big-endian, compressed, byte
// by byte; clients that stop writing, and clients that go away at any point.
#include <thread>

#include "standin/wire.hpp"
#include "system/way_setup.hpp"

namespace mserve::test {
namespace {

const Value& some_longs() {
  static const Value longs = Value::longs({1, 256, 65'536, -1, std::int64_t{1} << 40});
  return longs;
}

/// Large enough to be compressed, and to stream.
const Value& many_longs() {
  static const Value longs = [] {
    std::vector<std::int64_t> items(100'000);
    for (std::size_t i = 0; i < items.size(); ++i) {
      items[i] = static_cast<std::int64_t>(i / 3);
    }
    return Value::longs(std::move(items));
  }();
  return longs;
}

/// Sends from a thread of its own: a large message is taken only as its answer is.
Value exchange(RawClient& client, Ask ask, const Bytes& message) {
  std::thread sender([&] { EXPECT_TRUE(client.send_bytes(message)); });
  const auto answer = client.receive();
  sender.join();
  EXPECT_TRUE(answer) << name_of(ask);
  return answer ? result_in(ask, *answer) : Value::null();
}

class WayWire : public OfEveryForm {};

INSTANTIATE_TEST_SUITE_P(Forms, WayWire, ::testing::Values(Form::plain, Form::lbt, Form::qsvr),
                         form_name);

TEST_P(WayWire, BigEndianOnBothSides) {
  StandinOptions options = q_of_this_form();
  options.reply = Reply::big_endian;
  TheWay way({options});
  RawClient client = connect(way.broker());
  for (const Ask ask : kEveryAsk) {
    for (const Value& value : {some_longs(), many_longs()}) {
      const Bytes message = message_of(ask, call("echo", value), kdb::ByteOrder::big);
      EXPECT_EQ(exchange(client, ask, message), value) << name_of(ask) << ' ' << value.count();
    }
  }
}

TEST_P(WayWire, RepliesOfQThatAreCompressedBigEndianOrDribbled) {
  for (const Reply reply : {Reply::compressed, Reply::big_endian, Reply::dribble}) {
    StandinOptions options = q_of_this_form();
    options.reply = reply;
    options.info = true;
    TheWay way({options});
    RawClient client = connect(way.broker());
    const std::int64_t bytes = reply == Reply::dribble ? 10'000 : 1'000'000;
    for (const Ask ask : kEveryAsk) {
      const Bytes small = message_of(ask, call("echo", some_longs()));
      EXPECT_EQ(exchange(client, ask, small), some_longs()) << name_of(ask);
      const Bytes large = message_of(ask, call("big", Value::long_atom(bytes)));
      const Value result = exchange(client, ask, large);
      ASSERT_EQ(result.count(), static_cast<std::size_t>(bytes)) << name_of(ask);
      EXPECT_EQ(result.items<std::uint8_t>()[9'999], 9'999 % 251);
    }
    EXPECT_EQ(way.shim().count("warning"), 0U) << way.shim().log();
  }
}

TEST_P(WayWire, CompressedRequestsFromThisHost) {
  TheWay way({q_of_this_form()});
  RawClient client = connect(way.broker());
  for (const Ask ask : kEveryAsk) {
    for (const Value& value : {some_longs(), many_longs()}) {
      const Bytes message = compress_always(message_of(ask, call("echo", value)));
      EXPECT_EQ(exchange(client, ask, message), value) << name_of(ask) << ' ' << value.count();
    }
  }
}

TEST_P(WayWire, DribbledRequestsAndReplies) {
  StandinOptions options = q_of_this_form();
  options.reply = Reply::dribble;
  TheWay way({options});
  RawClient client = connect(way.broker());
  for (const Ask ask : kEveryAsk) {
    for (const std::byte byte : message_of(ask, call("echo", some_longs()))) {
      ASSERT_TRUE(client.send_bytes({&byte, 1}));
    }
    const auto answer = client.receive();
    ASSERT_TRUE(answer);
    EXPECT_EQ(result_in(ask, *answer), some_longs()) << name_of(ask);
  }
}

TEST_P(WayWire, AHalfClosedClientGetsAllItsAnswersAndThenTheEnd) {
  TheWay way({q_of_this_form()});
  for (const Ask ask : kEveryAsk) {
    RawClient client = connect(way.broker());
    for (int i = 0; i < 3; ++i) {
      ASSERT_TRUE(client.send_bytes(message_of(ask, call("big", Value::long_atom(400'000 + i)))));
    }
    client.half_close();
    for (std::size_t i = 0; i < 3; ++i) {
      const auto answer = client.receive();
      ASSERT_TRUE(answer) << name_of(ask);
      EXPECT_EQ(result_in(ask, *answer).count(), 400'000 + i) << name_of(ask);
    }
    EXPECT_TRUE(client.closed_by_peer());
  }
  way.broker().wait_for_counter("gateway_connections", 0);
}

/// What a client that went away may have left behind.
class Left {
 public:
  explicit Left(TheWay& way) : way_(way) {
    EXPECT_EQ(way.open()("echo 42"), Value::long_atom(42));
    way.broker().wait_for_counter("gateway_connections", 0);
    broker_ = way.broker().descriptors();
    shim_ = of_the_shim();
  }

  void expect_nothing() {
    for (const char* const counter : {"gateway_connections", "gateway_pending", "queued"}) {
      way_.broker().wait_for_counter(counter, 0);
    }
    way_.broker().wait_for_counter("running", 0);
    // Not more: a connection that is counted no longer may be a moment from being closed.
    EXPECT_TRUE(wait_until([&] { return way_.broker().descriptors() <= broker_; },
                           "the broker's descriptors to be closed"));
    EXPECT_TRUE(
        wait_until([&] { return of_the_shim() <= shim_; }, "the shim's descriptors to be closed"));
    way_.broker().wait_for_counter("servants", 1);
    EXPECT_EQ(way_.open()("echo 42"), Value::long_atom(42));
    way_.broker().wait_for_counter("gateway_connections", 0);
  }

 private:
  [[nodiscard]] std::size_t of_the_shim() {
    return count_entries("/proc/" + std::to_string(way_.shim().process().pid()) + "/fd");
  }

  TheWay& way_;
  std::size_t broker_ = 0;
  std::size_t shim_ = 0;
};

class WayHangUp : public OfEveryForm {};

INSTANTIATE_TEST_SUITE_P(Forms, WayHangUp, ::testing::Values(Form::plain, Form::lbt), form_name);

TEST_P(WayHangUp, InTheMiddleOfAMessageLeavesNothing) {
  TheWay way({q_of_this_form()});
  Left left(way);
  for (const Ask ask : kEveryAsk) {
    const Bytes message = message_of(ask, call("echo", text(std::string(3'000'000, 'x'))));
    for (const std::size_t bytes : {std::size_t{1}, std::size_t{8}, std::size_t{9},
                                    std::size_t{100'000}, message.size() - 1}) {
      RawClient client = connect(way.broker());
      ASSERT_TRUE(client.send_bytes(std::span(message).first(bytes)));
      client.close();
    }
    left.expect_nothing();
  }
}

TEST_P(WayHangUp, InTheMiddleOfAReplyLeavesNothing) {
  TheWay way({q_of_this_form()});
  Left left(way);
  for (const Ask ask : kEveryAsk) {
    RawClient client = connect(way.broker());
    ASSERT_TRUE(client.send_bytes(message_of(ask, call("big", Value::long_atom(20'000'000)))));
    EXPECT_EQ(client.receive_bytes(50'000).size(), 50'000U);
    client.close();
    left.expect_nothing();
  }
  EXPECT_EQ(way.q().connections(), 1U);
}

/// Has one request of each kind at the broker, while q is held in the first.
void ask_for_everything(TheWay& way, RawClient& client, std::uint64_t queries_before) {
  for (const Ask ask : kEveryAsk) {
    ASSERT_TRUE(client.send_bytes(message_of(ask, call("echo", Value::long_atom(1)))));
  }
  way.broker().wait_for_counter("queued", 3);
  EXPECT_TRUE(wait_until([&] { return way.q().queries() == queries_before + 1; }, "q to have one"));
}

TEST_P(WayHangUp, WithRequestsRunningLeavesNothingAndNoneOfTheQueuedRuns) {
  for (const bool unix_socket : {true, false}) {
    TheWay way({q_of_this_form()});
    Left left(way);
    const std::uint64_t before = way.q().queries();
    way.q().hold();
    RawClient client = unix_socket ? RawClient::unix_socket(way.broker().socket_path(), true)
                                   : RawClient::tcp(way.broker().port());
    ASSERT_TRUE(client.handshake());
    ask_for_everything(way, client, before);
    unix_socket ? client.close() : client.reset();
    way.broker().wait_for_counter("gateway_connections", 0);
    way.broker().wait_for_counter("queued", 0);
    way.q().release();
    left.expect_nothing();
    EXPECT_EQ(way.q().queries(), before + 2) << "the one that ran, and the one that was asked now";
    EXPECT_EQ(way.q().connections(), 1U);
  }
}

TEST_P(WayHangUp, OverTcpWithoutAResetLeavesNothingInTheEnd) {
  // To the gateway this is a client that half-closed and waits for its answers, until it is sent
  // one.
  TheWay way({q_of_this_form()});
  Left left(way);
  const std::uint64_t before = way.q().queries();
  way.q().hold();
  RawClient client = connect(way.broker());
  ask_for_everything(way, client, before);
  client.close();
  way.q().release();
  left.expect_nothing();
  EXPECT_EQ(way.q().connections(), 1U);
}

TEST_P(WayHangUp, BehindItsRequestsLeavesNothing) {
  TheWay way({q_of_this_form()});
  Left left(way);
  for (int i = 0; i < 20; ++i) {
    RawClient client = connect(way.broker());
    for (const Ask ask : kEveryAsk) {
      ASSERT_TRUE(client.send_bytes(message_of(ask, call("big", Value::long_atom(400'000)))));
    }
  }
  left.expect_nothing();
}

}  // namespace
}  // namespace mserve::test
