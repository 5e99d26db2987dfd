// SPDX-License-Identifier: Apache-2.0
#include "mserve/shm/socket.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <vector>

#include "mserve/shm/clock.hpp"
#include "support/open_fds.hpp"

namespace mserve::shm {
namespace {

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span<const char>(text.data(), text.size()));
}

class Sockets : public ::testing::Test {
 protected:
  void SetUp() override {
    char path[] = "/tmp/mserve-test-XXXXXX";
    ASSERT_NE(::mkdtemp(path), nullptr);
    directory_ = path;
    socket_ = directory_ + "/a.sock";
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  void connect_pair() {
    int pair[2] = {-1, -1};
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    a_.reset(pair[0]);
    b_.reset(pair[1]);
  }

  std::string directory_;
  std::string socket_;
  UniqueFd a_;
  UniqueFd b_;
  std::array<std::byte, 256> buffer_{};
};

TEST_F(Sockets, ListenConnectAcceptAndTalk) {
  Result<UniqueFd> listener = listen_at(socket_);
  ASSERT_TRUE(listener) << listener.error().where;
  EXPECT_EQ(accept_from(listener.value().get()).error().code, Errc::empty);
  Result<UniqueFd> peer = connect_to(socket_, kNoDeadline);
  ASSERT_TRUE(peer);
  Result<UniqueFd> accepted = accept_from(listener.value().get());
  ASSERT_TRUE(accepted);
  for (const int fd : {listener.value().get(), peer.value().get(), accepted.value().get()}) {
    EXPECT_EQ(::fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
  }
  ASSERT_EQ(send_message(peer.value().get(), bytes_of("hello"), {}, 0).code, Errc::ok);
  Result<ReceivedMessage> got =
      receive_message(accepted.value().get(), buffer_, 0, steady_now() + 5'000'000'000);
  ASSERT_TRUE(got);
  EXPECT_EQ(got.value().bytes, 5U);
  EXPECT_EQ(std::memcmp(buffer_.data(), "hello", 5), 0);
  Result<Credentials> who = peer_credentials(accepted.value().get());
  ASSERT_TRUE(who);
  EXPECT_EQ(who.value().pid, ::getpid());
  EXPECT_EQ(who.value().uid, ::geteuid());
}

TEST_F(Sockets, SocketFileIsForItsOwnerWhateverTheUmask) {
  const mode_t old = ::umask(0);
  Result<UniqueFd> listener = listen_at(socket_);
  ::umask(old);
  ASSERT_TRUE(listener);
  struct stat status = {};
  ASSERT_EQ(::stat(socket_.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777U, 0600U);
}

TEST_F(Sockets, SocketFileIsForTheGroupWhenAskedFor) {
  Result<UniqueFd> listener = listen_at(socket_, {.group = ::getegid()});
  ASSERT_TRUE(listener);
  struct stat status = {};
  ASSERT_EQ(::stat(socket_.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777U, 0660U);
  EXPECT_EQ(status.st_gid, ::getegid());
}

TEST_F(Sockets, ListenReplacesAStaleSocketButNoOtherFile) {
  { const Result<UniqueFd> dead = listen_at(socket_); }
  EXPECT_EQ(connect_to(socket_, 0).error().code, Errc::no_broker);
  EXPECT_TRUE(listen_at(socket_));
  const std::string file = directory_ + "/file";
  std::ofstream(file) << "precious";
  EXPECT_EQ(listen_at(file).error().os_errno, EADDRINUSE);
  EXPECT_EQ(std::filesystem::file_size(file), 8U);
}

TEST_F(Sockets, ConnectTellsAbsentAndTooLongApart) {
  EXPECT_EQ(connect_to(socket_, 0).error().code, Errc::no_broker);
  EXPECT_EQ(connect_to(directory_ + "/" + std::string(200, 'x'), 0).error().code, Errc::invalid);
  EXPECT_EQ(listen_at(directory_ + "/" + std::string(200, 'x')).error().code, Errc::invalid);
}

TEST_F(Sockets, ConnectGivesUpWhenNobodyAccepts) {
  Result<UniqueFd> listener = listen_at(socket_, {.backlog = 0});
  ASSERT_TRUE(listener);
  std::vector<UniqueFd> waiting;
  Errc last = Errc::ok;
  for (int i = 0; i < 16 && last == Errc::ok; ++i) {
    Result<UniqueFd> peer = connect_to(socket_, steady_now() + 1'000'000);
    last = peer ? Errc::ok : peer.error().code;
    if (peer) {
      waiting.push_back(std::move(peer).value());
    }
  }
  EXPECT_EQ(last, Errc::timed_out);
}

TEST_F(Sockets, DescriptorsTravelAndAreClosedOnExec) {
  connect_pair();
  const UniqueFd x(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  const UniqueFd y(::open("/dev/zero", O_RDONLY | O_CLOEXEC));
  const std::array<int, 2> fds = {x.get(), y.get()};
  ASSERT_EQ(send_message(a_.get(), bytes_of("m"), fds, 0).code, Errc::ok);
  const std::size_t before = test::open_fds();
  {
    Result<ReceivedMessage> got = receive_message(b_.get(), buffer_, 2, 0);
    ASSERT_TRUE(got);
    ASSERT_EQ(got.value().fd_count, 2U);
    EXPECT_EQ(::fcntl(got.value().fds[0].get(), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    char c = 'x';
    EXPECT_EQ(::read(got.value().fds[0].get(), &c, 1), 0);
    EXPECT_EQ(::read(got.value().fds[1].get(), &c, 1), 1);
  }
  EXPECT_EQ(test::open_fds(), before);
}

TEST_F(Sockets, SurplusDescriptorsAreAFaultAndNeverKept) {
  connect_pair();
  const UniqueFd x(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  const std::array<int, 4> fds = {x.get(), x.get(), x.get(), x.get()};
  const std::size_t before = test::open_fds();
  for (std::size_t sent = 1; sent <= 4; ++sent) {
    for (std::size_t wanted = 0; wanted < sent; ++wanted) {
      ASSERT_EQ(send_message(a_.get(), bytes_of("m"), std::span(fds).first(sent), 0).code,
                Errc::ok);
      EXPECT_EQ(receive_message(b_.get(), buffer_, wanted, 0).error().code, Errc::protocol);
      EXPECT_EQ(test::open_fds(), before) << sent << " sent, " << wanted << " wanted";
    }
  }
}

TEST_F(Sockets, ATooLongMessageIsAFaultAndItsDescriptorsAreClosed) {
  connect_pair();
  const UniqueFd x(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  const std::array<int, 1> fds = {x.get()};
  const std::size_t before = test::open_fds();
  ASSERT_EQ(send_message(a_.get(), bytes_of(std::string(257, 'm')), fds, 0).code, Errc::ok);
  EXPECT_EQ(receive_message(b_.get(), buffer_, 1, 0).error().code, Errc::protocol);
  EXPECT_EQ(test::open_fds(), before);
}

TEST_F(Sockets, ReceiveTimesOutAndNoticesTheEnd) {
  connect_pair();
  EXPECT_EQ(receive_message(b_.get(), buffer_, 0, 0).error().code, Errc::timed_out);
  EXPECT_EQ(receive_message(b_.get(), buffer_, 0, steady_now() + 1'000'000).error().code,
            Errc::timed_out);
  EXPECT_EQ(receive_message(b_.get(), {}, 0, 0).error().code, Errc::invalid);
  EXPECT_EQ(receive_message(b_.get(), buffer_, kMessageFdsMax + 1, 0).error().code, Errc::invalid);
  a_.reset();
  EXPECT_EQ(receive_message(b_.get(), buffer_, 0, kNoDeadline).error().code, Errc::disconnected);
  EXPECT_EQ(send_message(b_.get(), bytes_of("m"), {}, kNoDeadline).code, Errc::disconnected);
  EXPECT_EQ(send_byte(b_.get()), Errc::disconnected);
}

TEST_F(Sockets, AnEmptyDatagramCountsAsTheEnd) {
  connect_pair();
  ASSERT_EQ(::send(a_.get(), "", 0, MSG_NOSIGNAL), 0);
  EXPECT_EQ(receive_message(b_.get(), buffer_, 0, 0).error().code, Errc::disconnected);
}

TEST_F(Sockets, SendRefusesWrongSizesAndTimesOutWhenFull) {
  connect_pair();
  const std::array<int, kMessageFdsMax + 1> many{};
  EXPECT_EQ(send_message(a_.get(), {}, {}, 0).code, Errc::invalid);
  EXPECT_EQ(send_message(a_.get(), bytes_of("m"), many, 0).code, Errc::invalid);
  const std::string big(4096, 'm');
  Error error;
  for (int i = 0; i < 100'000 && error.code == Errc::ok; ++i) {
    error = send_message(a_.get(), bytes_of(big), {}, 0);
  }
  EXPECT_EQ(error.code, Errc::timed_out);
}

TEST_F(Sockets, BellsAreDrainedAndAFullSocketCountsAsRung) {
  connect_pair();
  EXPECT_EQ(drain_bytes(b_.get(), buffer_).bells, 0U);
  for (int i = 0; i < 20'000; ++i) {
    ASSERT_EQ(send_byte(a_.get()), Errc::ok);
  }
  Drained drained = drain_bytes(b_.get(), buffer_);
  EXPECT_EQ(drained.bells, 256U);
  EXPECT_TRUE(drained.more);
  while (drained.more) {
    drained = drain_bytes(b_.get(), buffer_);
    ASSERT_EQ(drained.code, Errc::ok);
  }
  EXPECT_EQ(wait_readable(b_.get(), 0), Errc::timed_out);
}

TEST_F(Sockets, DrainHandsOutALongerMessageBetweenBells) {
  connect_pair();
  ASSERT_EQ(send_byte(a_.get()), Errc::ok);
  ASSERT_EQ(send_message(a_.get(), bytes_of("closing"), {}, 0).code, Errc::ok);
  ASSERT_EQ(send_byte(a_.get()), Errc::ok);
  const Drained first = drain_bytes(b_.get(), buffer_);
  EXPECT_EQ(first.bells, 1U);
  EXPECT_EQ(first.message_bytes, 7U);
  EXPECT_EQ(drain_bytes(b_.get(), buffer_).bells, 1U);
  ASSERT_EQ(send_message(a_.get(), bytes_of("long"), {}, 0).code, Errc::ok);
  EXPECT_EQ(drain_bytes(b_.get(), {}).code, Errc::protocol);
  a_.reset();
  EXPECT_EQ(drain_bytes(b_.get(), buffer_).code, Errc::disconnected);
}

TEST_F(Sockets, LastWordsArriveAlthoughThePeerClosedWithBytesUnread) {
  // Closing over unread bytes makes the kernel report a reset ahead of the peer's last message: it
  // used to hide why a session was closed whenever a wake byte was still on its way.
  for (const bool drained : {true, false}) {
    connect_pair();
    ASSERT_EQ(send_byte(b_.get()), Errc::ok);
    ASSERT_EQ(send_message(a_.get(), bytes_of("closing"), {}, 0).code, Errc::ok);
    a_.reset();
    if (drained) {
      EXPECT_EQ(drain_bytes(b_.get(), buffer_).message_bytes, 7U);
      EXPECT_EQ(drain_bytes(b_.get(), buffer_).code, Errc::disconnected);
    } else {
      const auto received = receive_message(b_.get(), buffer_, 0, 0);
      ASSERT_TRUE(received);
      EXPECT_EQ(received.value().bytes, 7U);
      EXPECT_EQ(receive_message(b_.get(), buffer_, 0, 0).error().code, Errc::disconnected);
    }
  }
}

TEST_F(Sockets, DrainKeepsNoDescriptor) {
  connect_pair();
  const UniqueFd x(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  const std::array<int, 1> fds = {x.get()};
  const std::size_t before = test::open_fds();
  ASSERT_EQ(send_message(a_.get(), bytes_of("m"), fds, 0).code, Errc::ok);
  EXPECT_EQ(drain_bytes(b_.get(), buffer_).code, Errc::protocol);
  EXPECT_EQ(test::open_fds(), before);
}

TEST_F(Sockets, WaitAnyTellsWhichOne) {
  connect_pair();
  ASSERT_EQ(send_byte(a_.get()), Errc::ok);
  std::array<pollfd, 2> fds = {pollfd{a_.get(), POLLIN, 0}, pollfd{b_.get(), POLLIN, 0}};
  ASSERT_EQ(wait_any(fds, kNoDeadline), Errc::ok);
  EXPECT_EQ(fds[0].revents, 0);
  EXPECT_EQ(fds[1].revents, POLLIN);
  EXPECT_EQ(wait_writable(a_.get(), 0), Errc::ok);
}

TEST_F(Sockets, PidfdBecomesReadableWhenTheProcessEnds) {
  connect_pair();
  const pid_t child = ::fork();
  if (child == 0) {
    b_.reset();
    (void)wait_readable(a_.get(), kNoDeadline);
    ::_exit(0);
  }
  Result<UniqueFd> pidfd = open_pidfd(child);
  if (!pidfd && pidfd.error().os_errno == ENOSYS) {
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    GTEST_SKIP() << "this kernel has no pidfd_open";
  }
  ASSERT_TRUE(pidfd);
  EXPECT_EQ(wait_readable(pidfd.value().get(), 0), Errc::timed_out);
  ASSERT_EQ(send_byte(b_.get()), Errc::ok);
  EXPECT_EQ(wait_readable(pidfd.value().get(), kNoDeadline), Errc::ok);
  ::waitpid(child, nullptr, 0);
  EXPECT_EQ(open_pidfd(child).error().os_errno, ESRCH);
}

TEST_F(Sockets, CredentialsNeedAConnection) {
  const UniqueFd null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  EXPECT_EQ(peer_credentials(null.get()).error().code, Errc::os);
}

}  // namespace
}  // namespace mserve::shm
