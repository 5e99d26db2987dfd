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

TEST(GatewayOpening, IsRefusedWhileUsersAreRequiredAndThereAreNone) {
  LineSetup setup = unopened();
  setup.settings.users_required = true;
  setup.settings.admin_uids = {7};
  setup.peer.uid = 8;
  Line other(setup);
  other.write(Line::bytes(std::string_view("bob:pw\3\0", 8)));
  EXPECT_FALSE(other.alive());
  EXPECT_TRUE(other.read_raw().empty());
  EXPECT_EQ(other.context->counters.denied->get(), 1U);
  setup.peer.uid = 7;
  Line admin(setup);
  admin.write(Line::bytes(std::string_view("bob:pw\3\0", 8)));
  EXPECT_EQ(admin.read_raw(), Bytes{std::byte{3}});
  admin.expect_works();
  setup.peer.kind = broker::Peer::Kind::tcp4;
  Line tcp(setup);
  tcp.write(Line::bytes(std::string_view("bob:pw\3\0", 8)));
  EXPECT_FALSE(tcp.alive()) << "the kernel names nobody there";
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

/// A gateway with --users; what they say is up to the test.
LineSetup guarded() {
  LineSetup setup = unopened();
  setup.access = std::make_shared<broker::AccessRules>();
  return setup;
}

std::shared_ptr<const broker::Role> anything() {
  auto role = std::make_shared<broker::Role>();
  role->unrestricted = true;
  return role;
}

/// Whether `what` is anywhere in these bytes.
bool holds(std::span<const std::byte> bytes, std::string_view what) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  return text.find(what) != std::string_view::npos;
}

/// Whether a request begins with this text; who asks follows it.
bool asks(const FakeDataPlane::Request& request, std::string_view query) {
  const Bytes wanted = kdb::encode(text(query));
  return request.payload.size() > wanted.size() &&
         std::equal(wanted.begin(), wanted.end(), request.payload.begin());
}

TEST(GatewayLogin, WaitsForTheAnswerAndThenWorks) {
  Line line(guarded());
  Bytes bytes = Line::bytes(std::string_view("bob:open:sesame\3\0", 17));
  const Bytes query = kdb::encode_message(text("echo 1"), MessageKind::sync);
  bytes.insert(bytes.end(), query.begin(), query.end());
  line.write(bytes);
  ASSERT_EQ(line.logins, std::vector<std::string>{"bob:open:sesame"});
  EXPECT_TRUE(line.read_raw().empty());
  EXPECT_TRUE(line.connection->opening());
  EXPECT_FALSE(line.connection->wants_read());
  EXPECT_EQ(line.connection->row().user, "");  // not known yet
  EXPECT_FALSE(holds(line.context->scratch, "sesame"));
  line.answer_login(anything());
  EXPECT_EQ(line.read_raw(), Bytes{std::byte{3}});
  EXPECT_EQ(line.connection->row().user, "bob");
  EXPECT_TRUE(asks(line.plane.take(), "echo 1"));
  EXPECT_TRUE(line.connection->wants_read());
}

TEST(GatewayLogin, MayComeInPieces) {
  Line line(guarded());
  for (const char c : std::string("al:sesame\6\0", 11)) {
    line.write(Line::bytes({&c, 1}));
  }
  ASSERT_EQ(line.logins, std::vector<std::string>{"al:sesame"});
  line.answer_login(anything());
  EXPECT_EQ(line.read_raw(), Bytes{std::byte{6}});
  line.expect_works();
}

TEST(GatewayLogin, RefusedIsClosedWithoutAByte) {
  for (const std::string_view opening :
       {std::string_view("ken:wrong\3\0", 11), std::string_view("ken\3\0", 5),
        std::string_view("ken:wrong\0proc1 `IBM\0", 21)}) {
    Line line(guarded());
    line.write(Line::bytes(opening));
    ASSERT_EQ(line.logins.size(), 1U);
    line.answer_login(nullptr);
    EXPECT_FALSE(line.alive());
    EXPECT_TRUE(line.read_raw().empty());
    EXPECT_TRUE(line.saw_end);
    EXPECT_EQ(line.context->counters.denied->get(), 1U);
    EXPECT_EQ(line.plane.take().head.id, 0U);
  }
}

TEST(GatewayLogin, WithoutANameOrWithTooManyUnderWayIsRefusedAtOnce) {
  for (const std::string_view opening : {std::string_view(":secret\3\0", 9),
                                         std::string_view("\3\0", 2), std::string_view("\0", 1)}) {
    Line line(guarded());
    line.write(Line::bytes(opening));
    EXPECT_TRUE(line.logins.empty());
    EXPECT_FALSE(line.alive());
    EXPECT_TRUE(line.read_raw().empty());
  }
  Line line(guarded());
  line.logins_full = true;
  line.write(Line::bytes(std::string_view("ken:ken\3\0", 9)));
  EXPECT_FALSE(line.alive());
  EXPECT_TRUE(line.read_raw().empty());
  EXPECT_EQ(line.context->counters.denied->get(), 1U);
}

TEST(GatewayLogin, OfAConsoleIsAskedForTheSame) {
  Line line(guarded());
  line.write(Line::bytes(std::string_view("ken:ken\0proc1 `IBM\0", 19)));
  ASSERT_EQ(line.logins, std::vector<std::string>{"ken:ken"});
  EXPECT_EQ(line.plane.take().head.id, 0U);
  line.answer_login(anything());
  EXPECT_TRUE(asks(line.plane.take(), "proc1 `IBM"));
}

TEST(GatewayLogin, IsForgottenWhenItsClientGoes) {
  Line line(guarded());
  line.write(Line::bytes(std::string_view("ken:ken\3\0", 9)));
  line.connection->drain();
  EXPECT_TRUE(line.connection->closed());
  line.answer_login(anything());
  EXPECT_FALSE(line.alive());
  EXPECT_TRUE(line.read_raw().empty());
}

TEST(GatewayLogin, IsNotAskedForByThePage) {
  Line line(guarded());
  line.write(Line::bytes("GET / HTTP/1.1\r\n\r\n"));
  EXPECT_FALSE(line.read_raw().empty());
  EXPECT_TRUE(line.logins.empty());
}

}  // namespace
}  // namespace mserve::test
