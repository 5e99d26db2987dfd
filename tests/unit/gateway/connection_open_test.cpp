// SPDX-License-Identifier: Apache-2.0
// How a connection begins: handshake, console, HTTP, or not at all.
#include <gtest/gtest.h>

#include "line.hpp"

namespace mserve::test {
namespace {

LineSetup unopened() {
  LineSetup setup;
  setup.handshake = false;
  return setup;
}

TEST(GatewayOpening, IsAnsweredWithExactlyOneByteTheSmallerCapability) {
  for (const auto& [offered, answered] : {std::pair{-1, 0}, {1, 1}, {3, 3}, {6, 6}, {9, 6}}) {
    Line line(unopened());
    Bytes opening = Line::bytes("bob:pw");
    if (offered >= 0) {  // clients of before 2012 offer nothing
      opening.push_back(static_cast<std::byte>(offered));
    }
    opening.push_back(std::byte{0});
    line.write(opening);
    EXPECT_EQ(line.read_raw(), Bytes{static_cast<std::byte>(answered)});
    EXPECT_FALSE(line.saw_end);
    EXPECT_EQ(line.connection->row().user, "bob");
    line.expect_works();
  }
}

TEST(GatewayOpening, MayComeByteByByte) {
  Line line(unopened());
  for (const char c : std::string("al:x\3", 5)) {
    line.write(Line::bytes({&c, 1}));
    EXPECT_TRUE(line.read_raw().empty());
    EXPECT_TRUE(line.connection->opening());
  }
  line.write(Bytes{std::byte{0}});
  EXPECT_EQ(line.read_raw(), Bytes{std::byte{3}});
  EXPECT_FALSE(line.connection->opening());
  line.expect_works();
}

TEST(GatewayOpening, MayHaveTheFirstQueryBehindIt) {
  Line line(unopened());
  Bytes bytes = Line::bytes(std::string_view("bob\3\0", 5));
  const Bytes query = kdb::encode_message(text("echo 1"), MessageKind::sync);
  bytes.insert(bytes.end(), query.begin(), query.end());
  line.write(bytes);
  EXPECT_EQ(line.read_raw(), Bytes{std::byte{3}});
  EXPECT_EQ(line.plane.take().payload, kdb::encode(text("echo 1")));
}

TEST(GatewayOpening, ThatIsTooLongOrEndsEarlyIsClosedWithoutAByte) {
  Line too_long(unopened());
  too_long.write(Bytes(5000, std::byte{'a'}));
  EXPECT_FALSE(too_long.alive());
  EXPECT_TRUE(too_long.read_raw().empty());

  Line ended(unopened());
  ended.write(Line::bytes("bob:p"));
  ended.half_close();
  EXPECT_FALSE(ended.alive());
  EXPECT_TRUE(ended.read_raw().empty());
}

TEST(GatewayOpening, OfAConsoleIsAnsweredWithTextAndClosed) {
  Line line(unopened());
  line.write(Line::bytes(std::string_view("bob:pw\0echo 1 2\0", 16)));
  line.half_close();
  const auto request = line.plane.take();
  EXPECT_EQ(request.payload, kdb::encode(text("echo 1 2")));
  EXPECT_EQ(request.head.flags, 0);
  ASSERT_TRUE(line.plane.answer(request.head.id, kdb::encode(Value::longs({1, 2}))));
  EXPECT_EQ(line.read_raw(), Line::bytes("1 2\n"));
  EXPECT_FALSE(line.alive());
}

TEST(GatewayOpening, OfAConsoleShowsErrorsAsQDoes) {
  Line line(unopened());
  line.write(Line::bytes(std::string_view("bob:pw\0bad\0", 11)));
  line.half_close();
  const auto request = line.plane.take();
  ASSERT_TRUE(line.plane.answer(request.head.id, kdb::encode(Value::error("type")),
                                {.status = Errc::failed}));
  EXPECT_EQ(line.read_raw(), Line::bytes("'type\n"));
  EXPECT_FALSE(line.alive());
}

TEST(GatewayOpening, OfAConsoleGathersALargeAnswerToShowItsBeginning) {
  Line line(unopened());
  line.write(Line::bytes(std::string_view("b:\0big\0", 7)));
  line.half_close();
  const std::uint64_t id = line.plane.take().head.id;
  const Bytes all = kdb::encode(Value::longs(std::vector<std::int64_t>(5000, 7)));
  for (std::size_t at = 0; at < all.size(); at += 10'000) {
    const std::size_t bytes = std::min<std::size_t>(10'000, all.size() - at);
    ASSERT_TRUE(line.plane.fragment(id, at, all.size(), std::span(all).subspan(at, bytes)));
    (void)line.turn();
  }
  const Bytes shown = line.read_raw();
  EXPECT_EQ(Bytes(shown.begin(), shown.begin() + 6), Line::bytes("7 7 7 "));
  EXPECT_LT(shown.size(), 200U);
  EXPECT_FALSE(line.alive());
}

TEST(GatewayOpening, OfHttpIsAnsweredAndClosed) {
  Line line(unopened());
  line.write(Line::bytes("GET / HTTP/1.1\r\nHost: here\r\n\r\n"));
  EXPECT_EQ(line.read_raw(), Line::bytes("HTTP/1.1 200 OK\r\n\r\nGET"));
  EXPECT_FALSE(line.alive());
}

}  // namespace
}  // namespace mserve::test
