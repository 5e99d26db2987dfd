// SPDX-License-Identifier: Apache-2.0
// Which request q may be interrupted for, and whose process is never signalled.
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <string>
#include <vector>

#include "mserve/shm/unique_fd.hpp"
#include "shim/interrupt_timer.hpp"
#include "shim/q_process.hpp"
#include "unit/shim/desk.hpp"

namespace mserve::shim {
namespace {

using kdb::Value;

TEST(Unwanted, IsWhatQRunsUntilItAnswersOrWasToldOnce) {
  Desk d;
  EXPECT_FALSE(d.exchange.unwanted());
  ASSERT_TRUE(d.send(5, Value::chars("sleep 1")));
  d.run();
  EXPECT_FALSE(d.exchange.unwanted()) << "somebody waits for it";
  ASSERT_TRUE(d.send_cancel(4));  // answered long ago
  d.run();
  EXPECT_FALSE(d.exchange.unwanted());
  ASSERT_TRUE(d.send_cancel(5));
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
  ASSERT_TRUE(d.send_cancel(5));
  d.run();
  EXPECT_FALSE(d.exchange.unwanted());
}

TEST(Unwanted, IsNothingThatWaitsBehindAnotherRequestUntilItsTurnComes) {
  Desk d({.form = Form::lbt, .credit = 2});
  ASSERT_TRUE(d.send(5, Value::chars("1")));
  ASSERT_TRUE(d.send(6, Value::chars("2")));
  ASSERT_TRUE(d.send_cancel(6));
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
  ASSERT_TRUE(d.send_cancel(5));
  d.run();
  EXPECT_FALSE(d.exchange.unwanted());
  d.q.room = 1000;
  d.run();
  EXPECT_EQ(d.exchange.unwanted(), 5U);
}

TEST(Unwanted, IsNothingOfAnEarlierSession) {
  Desk d;
  ASSERT_TRUE(d.send(5, Value::chars("1")));
  ASSERT_TRUE(d.send_cancel(5));
  d.run();
  ASSERT_TRUE(d.exchange.detach());
  EXPECT_FALSE(d.exchange.unwanted());
}

TEST(Unwanted, OneThatIsStillHeldIsAnsweredWithoutQ) {
  Desk d({.credit = 2});
  const std::vector<std::byte> large = kdb::encode(Value::chars(std::string(100, 'x')));
  ASSERT_TRUE(d.send_fragment(5, 0, large.size(), std::span(large).first(50)));
  ASSERT_TRUE(d.send(6, Value::chars("held")));
  ASSERT_TRUE(d.send_cancel(6));
  d.run();
  EXPECT_EQ(d.reply(6).payload, kdb::encode(Value::error("stop")));
  ASSERT_TRUE(d.send_fragment(5, 50, large.size(), std::span(large).subspan(50)));
  d.run();
  ASSERT_TRUE(d.q.next());
  EXPECT_FALSE(d.q.next()) << "q never heard of it";
}

TEST(InterruptTimer, IsDueAfterTheGraceAndThenEverMoreSeldom) {
  constexpr std::uint64_t kMs = 1'000'000;
  InterruptTimer timer;
  std::vector<std::uint64_t> looks;
  for (std::uint64_t ms = 0; ms < 5'000; ++ms) {
    if (timer.due(7, true, ms * kMs)) {
      looks.push_back(ms);
      timer.not_begun(ms * kMs);
    }
  }
  EXPECT_EQ(looks, (std::vector<std::uint64_t>{20, 40, 80, 160, 320, 640, 1280, 2280, 3280, 4280}));
  EXPECT_FALSE(timer.due(8, true, 5'000 * kMs)) << "another one has its own grace";
  EXPECT_TRUE(timer.due(8, true, 5'020 * kMs));
  EXPECT_FALSE(timer.due(std::nullopt, true, 5'030 * kMs));
}

TEST(InterruptTimer, IsNeverDueWhileQWasAskedSomethingElse) {
  Desk d({.form = Form::lbt, .credit = 4});
  InterruptTimer timer;
  ASSERT_TRUE(d.send(5, Value::chars("1")));
  ASSERT_TRUE(d.send(6, Value::chars("2")));
  ASSERT_TRUE(d.send_cancel(5));
  ASSERT_TRUE(d.send_cancel(6));
  d.run();
  const auto due = [&](std::uint64_t now_ns) {
    return timer.due(d.exchange.unwanted(), d.exchange.asked_one(), now_ns);
  };
  ASSERT_EQ(d.exchange.unwanted(), 5U);
  for (const std::uint64_t now : {1ULL, 1'000'000'000ULL, 60'000'000'000ULL}) {
    EXPECT_FALSE(due(now));
  }
  d.q.answer(1, Value::long_atom(1));
  d.run();
  EXPECT_FALSE(due(61'000'000'000));
  EXPECT_TRUE(due(62'000'000'000)) << "6 is alone now";
}

/// A child that does nothing until it is killed.
class Bystander {
 public:
  Bystander() : pid_(fork()) {
    while (pid_ == 0) {
      pause();
    }
  }
  ~Bystander() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  Bystander(const Bystander&) = delete;
  Bystander& operator=(const Bystander&) = delete;
  [[nodiscard]] pid_t pid() const noexcept { return pid_; }

 private:
  pid_t pid_;
};

/// A connection of this process to itself.
struct Line {
  explicit Line(int family) {
    const shm::UniqueFd listener(socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_storage address{};
    address.ss_family = static_cast<sa_family_t>(family);
    // A Unix socket that is bound to no more than its family gets an abstract name.
    socklen_t size = family == AF_UNIX ? sizeof(sa_family_t) : sizeof(sockaddr_in);
    if (family == AF_INET) {
      reinterpret_cast<sockaddr_in&>(address).sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    }
    auto* const generic = reinterpret_cast<sockaddr*>(&address);
    EXPECT_EQ(bind(listener.get(), generic, size), 0);
    EXPECT_EQ(listen(listener.get(), 1), 0);
    size = sizeof(address);
    EXPECT_EQ(getsockname(listener.get(), generic, &size), 0);
    ours = shm::UniqueFd(socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(connect(ours.get(), generic, size), 0);
    theirs = shm::UniqueFd(accept(listener.get(), nullptr, nullptr));
    EXPECT_TRUE(theirs);
  }
  shm::UniqueFd ours;
  shm::UniqueFd theirs;
};

TEST(QProcess, IsNeverThisProcessItself) {
  for (const int family : {AF_INET, AF_UNIX}) {
    const Line line(family);
    std::string why;
    const QProcess self = QProcess::find(line.ours.get(), getpid(), why);
    EXPECT_FALSE(self.found());
    EXPECT_FALSE(self.interrupt());
    EXPECT_NE(why, "");
  }
}

TEST(QProcess, IsNobodyWhoIsNotAtTheOtherEndWhateverQSays) {
  const Bystander before;
  for (const int family : {AF_INET, AF_UNIX}) {
    const Line line(family);
    std::string why;
    EXPECT_FALSE(QProcess::find(line.ours.get(), before.pid(), why).found());
    EXPECT_NE(why.find("something stands between"), std::string::npos) << why;
    for (const std::int64_t said : {std::int64_t{0}, std::int64_t{-5}, std::int64_t{1} << 40}) {
      EXPECT_FALSE(QProcess::find(line.ours.get(), said, why).found());
      EXPECT_NE(why.find("(.z.i)"), std::string::npos) << why;
    }
  }
}

TEST(QProcess, IsFoundWhereItHoldsTheOtherEndAsItSays) {
  const Line line(AF_INET);
  const Bystander holder;  // inherits both ends
  std::string why;
  EXPECT_TRUE(QProcess::find(line.ours.get(), holder.pid(), why).found()) << why;
}

TEST(QProcess, IsNotFoundBehindASocketThatIsNotConnected) {
  const shm::UniqueFd alone(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  std::string why;
  EXPECT_FALSE(QProcess::find(alone.get(), 1234, why).found());
  EXPECT_EQ(why, "it is not connected");
}

}  // namespace
}  // namespace mserve::shim
