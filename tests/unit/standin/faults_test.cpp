// SPDX-License-Identifier: Apache-2.0
// Bytes in unusual shapes, and the faults that other tests order from the stand-in.
#include <gtest/gtest.h>

#include "mserve/shm/clock.hpp"
#include "standin/raw_client.hpp"
#include "standin/standin.hpp"
#include "standin/wire.hpp"
#include "support/wait.hpp"

namespace mserve::test {
namespace {

using kdb::MessageKind;
using kdb::Value;

struct Started : Standin {
  explicit Started(StandinOptions options = {}) : Standin(std::move(options)) { start(); }
  [[nodiscard]] RawClient connect(std::uint8_t capability = 6) const {
    RawClient client = RawClient::tcp(port());
    EXPECT_TRUE(client.handshake("test:secret", capability).has_value());
    return client;
  }
};

TEST(StandinReply, BigEndianIsMarkedAndReadsTheSame) {
  const Started standin({.reply = Reply::big_endian});
  RawClient client = standin.connect();
  EXPECT_EQ(client.query("echo 1 2 3"), Value::longs({1, 2, 3}));
  EXPECT_EQ(client.last_bytes()[0], std::byte{0});
}

// Short messages, on which q would not waste its time, included.
TEST(StandinReply, CompressedIsAlwaysCompressed) {
  const Started standin({.reply = Reply::compressed});
  RawClient client = standin.connect();
  for (const char* query : {"echo 1", "echo `a`b`c", "big 100000"}) {
    const std::optional<Value> answer = client.query(query);
    ASSERT_TRUE(answer.has_value());
    EXPECT_EQ(client.last_bytes()[2], std::byte{1}) << query;
  }
  EXPECT_LT(client.last_bytes().size(), 50000u);
  EXPECT_EQ(client.query("fail \"x\""), Value::error("x"));
}

TEST(StandinReply, NothingIsCompressedForAPeerThatCannot) {
  const Started standin({.reply = Reply::compressed});
  RawClient client = standin.connect(0);
  EXPECT_EQ(client.query("echo 1"), Value::long_atom(1));
  EXPECT_EQ(client.last_bytes()[2], std::byte{0});
}

TEST(StandinReply, DribbledIsComplete) {
  const Started standin({.reply = Reply::dribble});
  RawClient client = standin.connect();
  const std::optional<Value> answer = client.query("big 5000");
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(answer->count(), 5000u);
}

TEST(StandinRequest, MayBeBigEndianCompressedAndInPieces) {
  const Started standin;
  RawClient client = standin.connect();
  const Value query = Value::chars("echo `abc");
  client.send(query, MessageKind::sync, kdb::ByteOrder::big);
  EXPECT_EQ(client.receive()->value, Value::symbol("abc"));

  const std::vector<std::byte> plain = kdb::encode_message(query, MessageKind::sync);
  client.send_bytes(compress_always(plain));
  EXPECT_EQ(client.receive()->value, Value::symbol("abc"));

  for (const std::byte& byte : plain) {
    client.send_bytes({&byte, 1});
  }
  EXPECT_EQ(client.receive()->value, Value::symbol("abc"));
}

TEST(StandinRequest, ThatIsMalformedClosesThatConnectionOnly) {
  const Started standin;
  RawClient good = standin.connect();
  RawClient bad = standin.connect();
  std::vector<std::byte> message = kdb::encode_message(Value::chars("echo 1"), MessageKind::sync);
  message[8] = std::byte{3};  // no such type
  bad.send_bytes(message);
  EXPECT_TRUE(bad.closed_by_peer());
  EXPECT_EQ(good.query("echo 1"), Value::long_atom(1));
}

TEST(StandinRequest, ResponsesAndErrorsAreIgnored) {
  const Started standin;
  RawClient client = standin.connect();
  client.send(Value::chars("echo 1"), MessageKind::response);
  client.send(Value::error("stop"), MessageKind::async);
  EXPECT_EQ(client.query("echo 2"), Value::long_atom(2));
  EXPECT_EQ(standin.queries(), 1u);
}

TEST(StandinRequest, AHalfClosedPeerStillGetsItsAnswers) {
  const Started standin({.reply = Reply::dribble});
  RawClient client = standin.connect();
  client.send(Value::chars("echo 1"), MessageKind::sync);
  client.send(Value::chars("big 1000"), MessageKind::sync);
  client.half_close();
  EXPECT_EQ(client.receive()->value, Value::long_atom(1));
  EXPECT_EQ(client.receive()->value.count(), 1000u);
  EXPECT_TRUE(client.closed_by_peer());
}

TEST(StandinReply, TooLongForThePeerIsTheErrorLimit) {
  // Many times the same vector: as long on the wire as many different ones, but not in memory.
  const Value part = Value::bytes(std::vector<std::uint8_t>(std::size_t{1} << 24));
  const Value huge = Value::list(std::vector<Value>(128, part));
  const std::vector<std::byte> message = encode_reply(huge, MessageKind::response, Reply::plain, 3);
  EXPECT_EQ(kdb::decode_message(message)->value, Value::error("limit"));
}

// For the deaths: the stand-in is to die on its second occasion; the first goes well.
struct Doomed : Started {
  explicit Doomed(Die die, Dies dies = Dies::connection)
      : Started({.die = die, .die_after = 1, .dies = dies}) {}
};

TEST(StandinDeath, InTheHandshake) {
  Doomed standin(Die::handshake);
  EXPECT_TRUE(RawClient::tcp(standin.port()).handshake().has_value());
  EXPECT_EQ(RawClient::tcp(standin.port()).handshake(), std::nullopt);
}

TEST(StandinDeath, OnAQueryNothingIsAnswered) {
  Doomed standin(Die::on_query);
  RawClient client = standin.connect();
  EXPECT_EQ(client.query("echo 1"), Value::long_atom(1));
  EXPECT_TRUE(client.query("").has_value());  // no occasion
  client.send(Value::chars("echo 2"), MessageKind::sync);
  EXPECT_TRUE(client.closed_by_peer());
}

TEST(StandinDeath, InTheMiddleOfAReply) {
  Doomed standin(Die::mid_reply);
  RawClient client = standin.connect();
  const std::size_t whole =
      kdb::encode_message(*client.query("big 1000"), MessageKind::sync).size();
  client.send(Value::chars("big 1000"), MessageKind::sync);
  EXPECT_EQ(client.receive_bytes(whole).size(), whole / 2);
  EXPECT_EQ(standin.answers(), 1u);
}

TEST(StandinDeath, AfterAReply) {
  Doomed standin(Die::after_reply);
  RawClient client = standin.connect();
  EXPECT_TRUE(client.query("echo 1").has_value());
  EXPECT_EQ(client.query("echo 2"), Value::long_atom(2));
  EXPECT_TRUE(client.closed_by_peer());
  EXPECT_EQ(standin.answers(), 2u);
}

TEST(StandinDeath, OfTheConnectionLetsTheOthersLive) {
  Doomed standin(Die::after_reply);
  RawClient other = standin.connect();
  RawClient client = standin.connect();
  EXPECT_TRUE(client.query("echo 1").has_value());
  EXPECT_TRUE(client.query("echo 1").has_value());
  EXPECT_TRUE(client.closed_by_peer());
  EXPECT_FALSE(other.query("").value().is_error());
  EXPECT_TRUE(wait_until([&] { return standin.open() == 1; }, "the dead one is gone"));
}

TEST(StandinDeath, OfTheStandinClosesEverything) {
  Doomed standin(Die::after_reply, Dies::standin);
  RawClient other = standin.connect();
  RawClient client = standin.connect();
  EXPECT_TRUE(client.query("echo 1").has_value());
  EXPECT_TRUE(client.query("echo 1").has_value());
  EXPECT_TRUE(other.closed_by_peer());
  EXPECT_TRUE(wait_until([&] { return !standin.running(); }, "the stand-in ends"));
}

TEST(StandinControl, AHeldQueryWaitsForItsRelease) {
  Started standin;
  RawClient client = standin.connect();
  standin.hold();
  client.send(Value::chars("echo 1"), MessageKind::sync);
  EXPECT_TRUE(wait_until([&] { return standin.queries() == 1; }, "the query began"));
  EXPECT_EQ(standin.answers(), 0u);
  standin.release();
  EXPECT_EQ(client.receive()->value, Value::long_atom(1));
}

TEST(StandinControl, DroppingGivesUpWhatRunsAndWelcomesTheNext) {
  Started standin;
  RawClient client = standin.connect();
  client.send(Value::chars("sleep 3600000"), MessageKind::sync);
  EXPECT_TRUE(wait_until([&] { return standin.queries() == 1; }, "the query began"));
  standin.drop_connections();
  EXPECT_TRUE(client.closed_by_peer());
  RawClient next = standin.connect();
  EXPECT_EQ(next.query("echo 1"), Value::long_atom(1));
}

TEST(StandinControl, StoppingGivesUpWhatRunsAndFreesThePort) {
  Started standin;
  RawClient client = standin.connect();
  client.send(Value::chars("sleep 3600000"), MessageKind::sync);
  EXPECT_TRUE(wait_until([&] { return standin.queries() == 1; }, "the query began"));
  standin.stop();
  EXPECT_TRUE(client.closed_by_peer());
  EXPECT_FALSE(standin.running());
  const Started again({.port = standin.port()});
  EXPECT_EQ(again.connect().query("echo 1"), Value::long_atom(1));
}

// One thread, one message at a time: while one runs, nobody else is answered.
TEST(StandinControl, ServesOneConnectionAtATime) {
  Started standin;
  RawClient first = standin.connect();
  RawClient second = standin.connect();
  standin.hold();
  first.send(Value::chars("echo 1"), MessageKind::sync);
  EXPECT_TRUE(wait_until([&] { return standin.queries() == 1; }, "the query began"));
  second.send(Value::chars("echo 2"), MessageKind::sync);
  standin.release();
  EXPECT_EQ(first.receive()->value, Value::long_atom(1));
  EXPECT_EQ(second.receive()->value, Value::long_atom(2));
}

TEST(StandinControl, IsSlowWhenAskedTo) {
  const Started standin({.slow_ms = 30});
  RawClient client = standin.connect();
  const std::uint64_t begin = shm::steady_now();
  EXPECT_TRUE(client.query("echo 1").has_value());
  EXPECT_GE(shm::steady_now() - begin, 30'000'000u);
}

}  // namespace
}  // namespace mserve::test
