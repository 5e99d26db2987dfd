// SPDX-License-Identifier: Apache-2.0
// Answers in fragments.
#include <gtest/gtest.h>

#include <cstring>

#include "line.hpp"

namespace mserve::test {
namespace {

constexpr std::size_t kPart = 50'000;

shm::InfoExt info_after(std::uint64_t elapsed_ms) {
  shm::InfoExt info;
  info.elapsed_ns = elapsed_ms * 1'000'000;
  std::strcpy(info.servant, "q1");
  return info;
}

/// Sends `object` as fragments from `from` on; the last one carries `info`. @return where it
/// stopped for lack of room.
struct Sender {
  Line& line;
  std::uint64_t id;
  Bytes object;
  std::uint8_t flags = 0;
  std::size_t at = 0;
  const shm::InfoExt* first_info = nullptr;
  const shm::InfoExt* last_info = nullptr;

  bool step() {
    const std::size_t bytes = std::min(kPart, object.size() - at);
    const bool last = at + bytes == object.size();
    const shm::InfoExt* const info = last ? last_info : at == 0 ? first_info : nullptr;
    if (bytes == 0 ||
        !line.plane.fragment(id, at, object.size(), std::span(object).subspan(at, bytes),
                             {.flags = flags, .info = info})) {
      return false;
    }
    at += bytes;
    return true;
  }
  [[nodiscard]] bool done() const { return at == object.size(); }
};

std::uint64_t ask(Line& line, const Value& value, MessageKind kind) {
  line.send(value, kind);
  return line.plane.take().head.id;
}

TEST(GatewayStream, PassesALargeAnswerThroughAndGrantsWhatItTook) {
  Line line;
  const Value value = text(std::string(3 * kMiB, 'a'));
  Sender sender{line, ask(line, text("x"), MessageKind::sync), kdb::encode(value)};
  Bytes raw;
  while (!sender.done()) {
    ASSERT_TRUE(sender.step());
    const Bytes part = line.read_raw();
    EXPECT_FALSE(part.empty()) << "it goes on as it comes";
    raw.insert(raw.end(), part.begin(), part.end());
    EXPECT_LE(line.connection->row().waiting_bytes, kPart);
  }
  const auto message = kdb::decode_message(raw);
  ASSERT_TRUE(message);
  EXPECT_EQ(message->header.kind, MessageKind::response);
  EXPECT_EQ(message->value, value);
  line.plane.read();
  EXPECT_GE(line.plane.granted_bytes(), sender.object.size() - (64U << 10));
  EXPECT_LE(line.plane.granted_bytes(), sender.object.size());
  line.expect_works();
}

TEST(GatewayStream, WrapsLbtAndNpAnswersAndTellsTheFinalFigures) {
  Line line;
  const Value value = text(std::string(kMiB, 'a'));
  const shm::InfoExt first = info_after(5);
  const shm::InfoExt last = info_after(70);
  Sender lbt{line, ask(line, list({Value::int_atom(3), text("x")}), MessageKind::async),
             kdb::encode(value)};
  lbt.first_info = &first;
  lbt.last_info = &last;
  std::vector<Got> got;
  Bytes raw;
  while (lbt.step()) {
    const Bytes part = line.read_raw();
    raw.insert(raw.end(), part.begin(), part.end());
  }
  const auto message = kdb::decode_message(raw);
  ASSERT_TRUE(message);
  EXPECT_EQ(message->value.at(0), Value::int_atom(3));
  EXPECT_EQ(message->value.at(1), value);
  EXPECT_EQ(message->value.at(2).find("elapsed"), Value::long_atom(70));
  EXPECT_EQ(message->value.at(2).find("qsvr"), Value::symbol("q1"));

  const Value pair = list({list({text("q")}), Value::symbol("cb")});
  Sender np{line, ask(line, pair, MessageKind::async), kdb::encode(value)};
  raw.clear();
  while (np.step()) {
    const Bytes part = line.read_raw();
    raw.insert(raw.end(), part.begin(), part.end());
  }
  const auto second = kdb::decode_message(raw);
  ASSERT_TRUE(second);
  EXPECT_EQ(second->value.at(0), Value::symbol("cb"));
  EXPECT_EQ(second->value.at(3), value);
}

TEST(GatewayStream, OnlyOneIsOnTheWireAndOthersFollowWhole) {
  Line line;
  const std::uint64_t id1 = ask(line, list({Value::int_atom(1), text("x")}), MessageKind::async);
  const std::uint64_t id2 = ask(line, list({Value::int_atom(2), text("x")}), MessageKind::async);
  const std::uint64_t id3 = ask(line, list({Value::int_atom(3), text("x")}), MessageKind::async);
  Sender one{line, id1, kdb::encode(text(std::string(400'000, 'a')))};
  Sender two{line, id2, kdb::encode(text(std::string(400'000, 'b')))};
  Bytes raw;
  const auto drain = [&] {
    const Bytes part = line.read_raw();
    raw.insert(raw.end(), part.begin(), part.end());
  };
  ASSERT_TRUE(one.step());
  drain();
  ASSERT_TRUE(line.plane.answer(id3, kdb::encode(Value::long_atom(3))));
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(two.step());
    drain();
  }
  while (one.step()) {
    drain();
  }
  while (two.step()) {
    drain();
  }
  std::vector<Value> ids;
  std::span<const std::byte> rest = raw;
  while (!rest.empty()) {
    const auto header = kdb::parse_header(rest);
    ASSERT_TRUE(header);
    const auto message = kdb::decode_message(rest.first(header->message_bytes));
    ASSERT_TRUE(message);
    ids.push_back(message->value.at(0));
    rest = rest.subspan(header->message_bytes);
  }
  EXPECT_EQ(ids, (std::vector<Value>{Value::int_atom(1), Value::int_atom(3), Value::int_atom(2)}));
  line.plane.read();
  EXPECT_GE(line.plane.granted_bytes() + (64U << 10), 800'000U);
  EXPECT_EQ(line.context->pendings.used(), 0U);
}

TEST(GatewayStream, AnEarlyLargeAnswerWaitsForTheOneBeforeIt) {
  Line line;
  const std::uint64_t first = ask(line, Value::symbol("a"), MessageKind::async);
  const std::uint64_t second = ask(line, Value::symbol("b"), MessageKind::async);
  const Value value = text(std::string(300'000, 'b'));
  Sender sender{line, second, kdb::encode(value)};
  ASSERT_TRUE(sender.step());
  ASSERT_TRUE(sender.step());
  EXPECT_TRUE(line.read_raw().empty());
  ASSERT_TRUE(line.plane.answer(first, kdb::encode(Value::long_atom(1))));
  Bytes raw = line.read_raw();
  EXPECT_GT(raw.size(), 100'000U) << "the first, and what had come of the second";
  while (sender.step()) {
    const Bytes part = line.read_raw();
    raw.insert(raw.end(), part.begin(), part.end());
  }
  const auto header = kdb::parse_header(raw);
  ASSERT_TRUE(header);
  const auto message = kdb::decode_message(std::span(raw).subspan(header->message_bytes));
  ASSERT_TRUE(message);
  EXPECT_EQ(message->value, value);
}

TEST(GatewayStream, OneThatBreaksOffClosesTheConnectionOnlyOnceItsLengthIsOut) {
  Line streaming;
  Sender sender{streaming, ask(streaming, text("x"), MessageKind::sync),
                kdb::encode(text(std::string(kMiB, 'a')))};
  ASSERT_TRUE(sender.step());
  EXPECT_FALSE(streaming.read_raw().empty());
  ASSERT_TRUE(streaming.plane.abort(sender.id, Errc::servant_died));
  (void)streaming.read_raw();
  EXPECT_FALSE(streaming.alive());

  Line gathering;
  const std::uint64_t before = ask(gathering, Value::symbol("a"), MessageKind::async);
  const std::uint64_t second = ask(gathering, text("b"), MessageKind::sync);
  Sender early{gathering, second, kdb::encode(text(std::string(kMiB, 'a')))};
  ASSERT_TRUE(early.step());
  (void)gathering.turn();
  ASSERT_TRUE(gathering.plane.abort(second, Errc::stalled));
  (void)gathering.turn();
  EXPECT_TRUE(gathering.alive());
  ASSERT_TRUE(gathering.plane.answer(before, kdb::encode(Value::long_atom(1))));
  const auto got = gathering.read();
  ASSERT_EQ(got.size(), 2U);
  EXPECT_EQ(got[1].value, Value::error("stalled"));
}

TEST(GatewayStream, APairIsGatheredUpToTheBound) {
  LineSetup setup;
  setup.settings.max_gathered = 200'000;
  Line line(setup);
  const Bytes own = kdb::encode(Value::dict(Value::symbols({"rows"}), Value::longs({9})));
  for (const std::size_t bytes : {std::size_t{150'000}, std::size_t{300'000}}) {
    const Value value = text(std::string(bytes, 'a'));
    Bytes pair = kdb::encode(value);
    pair.insert(pair.end(), own.begin(), own.end());
    Sender sender{line, ask(line, list({Value::int_atom(1), text("x")}), MessageKind::async), pair,
                  shm::kFlagPair};
    const shm::InfoExt info = info_after(1);
    sender.first_info = sender.last_info = &info;
    while (sender.step()) {
      (void)line.turn();
    }
    const Got got = line.read_one();
    EXPECT_EQ(got.value.at(0), Value::int_atom(1));
    if (bytes < setup.settings.max_gathered) {
      EXPECT_EQ(got.value.at(1), value);
      EXPECT_EQ(got.value.at(2).find("rows"), Value::long_atom(9));
    } else {
      EXPECT_EQ(got.value.at(1), text("Error: limit"));
    }
  }
  EXPECT_EQ(line.context->pendings.used(), 0U);
  line.expect_works();
}

TEST(GatewayStream, LargerThanTheCapabilityAllowsIsTheErrorLimit) {
  for (const std::uint8_t capability : {std::uint8_t{3}, std::uint8_t{6}}) {
    LineSetup setup;
    setup.capability = capability;
    Line line(setup);
    line.sync("x");
    const std::uint64_t id = line.plane.take().head.id;
    const std::uint64_t total = std::uint64_t{0x7fffffff} - 7;  // with its header one too many
    ASSERT_TRUE(line.plane.fragment(id, 0, total, pattern(kPart)));
    const Bytes raw = line.read_raw();
    if (capability == 6) {
      const auto header = kdb::parse_header(raw);
      ASSERT_TRUE(header);
      EXPECT_EQ(header->message_bytes, total + 8);
      EXPECT_EQ(raw.size(), kPart + 8);
    } else {
      const auto message = kdb::decode_message(raw);
      ASSERT_TRUE(message);
      EXPECT_EQ(message->value, Value::error("limit"));
      // The rest is swallowed, and its window granted.
      for (std::uint64_t at = kPart; at < 10 * kPart; at += kPart) {
        ASSERT_TRUE(line.plane.fragment(id, at, total, pattern(kPart)));
        EXPECT_TRUE(line.read_raw().empty());
      }
      line.plane.read();
      EXPECT_GT(line.plane.granted_bytes(), 8 * kPart);
      line.expect_works();
    }
  }
}

TEST(GatewayStream, WhatWouldBeCompressedIsGathered) {
  LineSetup setup;
  setup.peer.remote = true;
  Line line(setup);
  const Value value = text(std::string(200'000, 'a'));
  Sender sender{line, ask(line, text("x"), MessageKind::sync), kdb::encode(value)};
  while (!sender.done()) {
    EXPECT_TRUE(line.read_raw().empty());
    ASSERT_TRUE(sender.step());
  }
  const Bytes raw = line.read_raw();
  EXPECT_LT(raw.size(), 20'000U);
  const auto message = kdb::decode_message(raw);
  ASSERT_TRUE(message);
  EXPECT_EQ(message->value, value);

  // Above --gather-max it goes through as it is.
  Sender large{line, ask(line, text("x"), MessageKind::sync),
               kdb::encode(text(std::string(kMiB, 'a')))};
  ASSERT_TRUE(large.step());
  EXPECT_EQ(line.read_raw().size(), kPart + 8);
}

TEST(GatewayStream, AClientThatDoesNotReadIsGrantedNoMoreButForPatience) {
  LineSetup setup;
  setup.settings.max_pending_bytes = 1U << 20;
  setup.send_buffer = 16384;
  setup.plane.ring_bytes = 8U << 20;
  Line line(setup);
  Sender sender{line, ask(line, text("x"), MessageKind::sync),
                kdb::encode(text(std::string(20 * kMiB, 'a')))};
  for (int i = 0; i < 12; ++i) {
    ASSERT_TRUE(sender.step());
    (void)line.turn();
  }
  line.plane.read();
  const std::uint64_t granted = line.plane.granted_bytes();
  EXPECT_TRUE(line.connection->reads_slowly());
  ASSERT_TRUE(sender.step());
  (void)line.turn();
  line.plane.read();
  EXPECT_EQ(line.plane.granted_bytes(), granted);
  line.connection->be_patient();
  (void)line.turn();
  line.plane.read();
  EXPECT_GT(line.plane.granted_bytes(), granted);
  // It ends where --max-pending-bytes does.
  std::uint64_t unread = 0;
  while (line.alive() && unread < 4 * kMiB) {
    unread = line.connection->row().waiting_bytes;
    line.connection->be_patient();
    ASSERT_TRUE(sender.step());
    (void)line.turn();
  }
  EXPECT_FALSE(line.alive());
  EXPECT_GT(unread, kMiB);
  EXPECT_LE(unread,
            kMiB + 2 * kPart);  // the largest part that may wait beside the bound, and one more
}

TEST(GatewayStream, AnOriginThatTheDataPlaneClosedIsClosed) {
  Line line;
  ASSERT_TRUE(line.plane.gone({5, 76}, Errc::slow_reader));  // a life before this one
  (void)line.turn();
  EXPECT_TRUE(line.alive());
  ASSERT_TRUE(line.plane.gone({5, 77}, Errc::slow_reader));
  (void)line.turn();
  EXPECT_FALSE(line.alive());
}

TEST(GatewayStream, SilentAnswersAreSwallowed) {
  LineSetup setup;
  setup.settings.async_reply = false;
  Line line(setup);
  Sender sender{line, ask(line, Value::symbol("a"), MessageKind::async),
                kdb::encode(text(std::string(kMiB, 'a')))};
  line.sync("");
  EXPECT_TRUE(line.read().empty());
  ASSERT_TRUE(sender.step());
  EXPECT_TRUE(line.read_one().value.is_null()) << "answered, as far as anybody is to know";
  while (sender.step()) {
    (void)line.turn();
  }
  EXPECT_TRUE(line.read_raw().empty());
  EXPECT_EQ(line.context->pendings.used(), 0U);
  line.expect_works();
}

}  // namespace
}  // namespace mserve::test
