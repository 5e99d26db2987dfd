// SPDX-License-Identifier: Apache-2.0
// Which request q may be interrupted for, and whose process is never signalled.
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <string>

#include "mserve/shm/unique_fd.hpp"
#include "shim/q_process.hpp"
#include "unit/shim/desk.hpp"

namespace mserve::shim {
namespace {

using kdb::Value;

bool cancel(Desk& d, std::uint64_t id) {
  return shm::try_send_whole(d.to, Desk::header(id, 0, shm::Kind::cancel), {}, {});
}

TEST(Unwanted, IsWhatQRunsUntilItAnswersOrWasToldOnce) {
  Desk d;
  EXPECT_FALSE(d.exchange.unwanted());
  ASSERT_TRUE(d.send(5, Value::chars("sleep 1")));
  d.run();
  EXPECT_FALSE(d.exchange.unwanted()) << "somebody waits for it";
  ASSERT_TRUE(cancel(d, 4));  // answered long ago
  d.run();
  EXPECT_FALSE(d.exchange.unwanted());
  ASSERT_TRUE(cancel(d, 5));
  d.run();
  EXPECT_EQ(d.exchange.unwanted(), 5U);
  d.exchange.forget_unwanted();
  EXPECT_FALSE(d.exchange.unwanted());
  d.q.respond(Value::error("stop"));
  d.run();
  EXPECT_EQ(Desk::status(d.reply(5)), Errc::failed) << "answered as ever";
  ASSERT_TRUE(d.send(6, Value::chars("1")));
  d.run();
  EXPECT_FALSE(d.exchange.unwanted());
}

TEST(Unwanted, IsNothingThatQHasBegunToAnswer) {
  Desk d;
  ASSERT_TRUE(d.send(5, Value::chars("1")));
  d.run();
  const std::vector<std::byte> answer =
      kdb::encode_message(Value::long_atom(1), kdb::MessageKind::response);
  d.q.say(std::span(answer).first(3));
  ASSERT_TRUE(cancel(d, 5));
  d.run();
  EXPECT_FALSE(d.exchange.unwanted());
}

TEST(Unwanted, IsNothingThatWaitsBehindAnotherRequestUntilItsTurnComes) {
  Desk d({.form = Form::lbt, .credit = 2});
  ASSERT_TRUE(d.send(5, Value::chars("1")));
  ASSERT_TRUE(d.send(6, Value::chars("2")));
  ASSERT_TRUE(cancel(d, 6));
  d.run();
  EXPECT_FALSE(d.exchange.unwanted());
  d.q.answer(1, Value::long_atom(1));
  d.run();
  EXPECT_EQ(d.exchange.unwanted(), 6U);
}

TEST(Unwanted, IsNothingThatQTookOnlyInPart) {
  Desk d;
  d.q.room = 10;
  ASSERT_TRUE(d.send(5, Value::chars("a query")));
  ASSERT_TRUE(cancel(d, 5));
  d.run();
  EXPECT_FALSE(d.exchange.unwanted());
  d.q.room = 1000;
  d.run();
  EXPECT_EQ(d.exchange.unwanted(), 5U);
}

TEST(Unwanted, IsNothingOfAnEarlierSession) {
  Desk d;
  ASSERT_TRUE(d.send(5, Value::chars("1")));
  ASSERT_TRUE(cancel(d, 5));
  d.run();
  ASSERT_TRUE(d.exchange.detach());
  EXPECT_FALSE(d.exchange.unwanted());
}

TEST(Unwanted, OneThatIsStillHeldIsAnsweredWithoutQ) {
  Desk d({.credit = 2});
  const std::vector<std::byte> large = kdb::encode(Value::chars(std::string(100, 'x')));
  ASSERT_TRUE(d.send_fragment(5, 0, large.size(), std::span(large).first(50)));
  ASSERT_TRUE(d.send(6, Value::chars("held")));
  ASSERT_TRUE(cancel(d, 6));
  d.run();
  EXPECT_EQ(d.reply(6).payload, kdb::encode(Value::error("stop")));
  ASSERT_TRUE(d.send_fragment(5, 50, large.size(), std::span(large).subspan(50)));
  d.run();
  ASSERT_TRUE(d.q.next());
  EXPECT_FALSE(d.q.next()) << "q never heard of it";
}

TEST(QProcess, IsNeverThisProcessItself) {
  const shm::UniqueFd listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  auto* const generic = reinterpret_cast<sockaddr*>(&address);
  ASSERT_EQ(bind(listener.get(), generic, size), 0);
  ASSERT_EQ(listen(listener.get(), 1), 0);
  ASSERT_EQ(getsockname(listener.get(), generic, &size), 0);
  const shm::UniqueFd ours(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(connect(ours.get(), generic, size), 0);
  const shm::UniqueFd theirs(accept(listener.get(), nullptr, nullptr));
  ASSERT_TRUE(theirs);
  std::string why;
  const QProcess self = QProcess::find(ours.get(), why);
  EXPECT_FALSE(self.found());
  EXPECT_FALSE(self.interrupt());
  EXPECT_NE(why, "");
}

TEST(QProcess, IsNotFoundBehindASocketThatIsNotConnected) {
  const shm::UniqueFd alone(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  std::string why;
  EXPECT_FALSE(QProcess::find(alone.get(), why).found());
  EXPECT_EQ(why, "it is not connected");
}

}  // namespace
}  // namespace mserve::shim
