// SPDX-License-Identifier: Apache-2.0
// The socket to q, against listeners of the kernel's.
#include "shim/q_socket.hpp"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <filesystem>
#include <string>

namespace mserve::shim {
namespace {

constexpr std::uint64_t kLongNs = 60'000'000'000;

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}

class QSocketTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/mserve-qsocket-test-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    directory_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  shm::UniqueFd listen_tcp(std::string& port) {
    shm::UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    EXPECT_EQ(bind(fd.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
    EXPECT_EQ(getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
    EXPECT_EQ(listen(fd.get(), 1), 0);
    port = std::to_string(ntohs(address.sin_port));
    return fd;
  }
  /// @param padded  the abstract name filled up with NULs, as old servers bind it.
  shm::UniqueFd listen_local(const std::string& path, bool abstract, bool padded) {
    shm::UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path + (abstract ? 1 : 0), path.data(), path.size());
    const std::size_t exact = offsetof(sockaddr_un, sun_path) + 1 + path.size();
    EXPECT_EQ(bind(fd.get(), reinterpret_cast<sockaddr*>(&address),
                   static_cast<socklen_t>(padded ? sizeof(address) : exact)),
              0);
    EXPECT_EQ(listen(fd.get(), 1), 0);
    return fd;
  }
  /// Sends a word each way over a connection that was made.
  void expect_talk(QSocket& q, const shm::UniqueFd& listener) {
    const shm::UniqueFd peer(accept(listener.get(), nullptr, nullptr));
    ASSERT_TRUE(peer);
    const std::string first = "he";
    const std::string second = "llo";
    const std::array<Piece, 2> pieces = {bytes_of(first), bytes_of(second)};
    const Transfer sent = q.send(pieces);
    EXPECT_EQ(sent.outcome, Outcome::moved);
    EXPECT_EQ(sent.bytes, 5U);
    char word[5];
    ASSERT_EQ(recv(peer.get(), word, sizeof(word), MSG_WAITALL), 5);
    EXPECT_EQ(std::string(word, 5), "hello");

    std::array<std::byte, 16> into{};
    EXPECT_EQ(q.receive(into).outcome, Outcome::blocked);
    ASSERT_EQ(::send(peer.get(), "yes", 3, 0), 3);
    EXPECT_TRUE(q.wait(/*writable=*/false, kLongNs, stop_));
    const Transfer got = q.receive(into);
    EXPECT_EQ(got.outcome, Outcome::moved);
    EXPECT_EQ(got.bytes, 3U);
  }

  std::string directory_;
  std::atomic<bool> stop_{false};
};

TEST_F(QSocketTest, TalksOverTcpAtOnceAndKeptAlive) {
  std::string port;
  const shm::UniqueFd listener = listen_tcp(port);
  QSocket q;
  std::string why;
  ASSERT_TRUE(q.connect(*parse_endpoint("localhost:" + port), {}, stop_, why)) << why;
  expect_talk(q, listener);
  const auto option = [&](int level, int name) {
    int value = -1;
    socklen_t size = sizeof(value);
    EXPECT_EQ(getsockopt(q.fd(), level, name, &value, &size), 0);
    return value;
  };
  EXPECT_EQ(option(IPPROTO_TCP, TCP_NODELAY), 1);
  EXPECT_EQ(option(SOL_SOCKET, SO_KEEPALIVE), 1);
  // A busy q on this host must never be taken for a dead one.
  EXPECT_EQ(option(IPPROTO_TCP, TCP_USER_TIMEOUT), 0);
}

TEST_F(QSocketTest, FindsALocalQByEachOfItsNames) {
  struct Case {
    bool abstract;
    bool padded;
  };
  for (const Case c : {Case{true, false}, Case{true, true}, Case{false, false}}) {
    const std::string path = directory_ + "/kx.5001";
    const shm::UniqueFd listener = listen_local(path, c.abstract, c.padded);
    QSocket q;
    std::string why;
    ASSERT_TRUE(q.connect(*parse_local_endpoint("5001", directory_.c_str()), {}, stop_, why))
        << why << c.abstract << c.padded;
    expect_talk(q, listener);
    unlink(path.c_str());
  }
}

TEST_F(QSocketTest, NobodyThereIsAFailureWithItsReason) {
  std::string port;
  listen_tcp(port).reset();
  QSocket q;
  std::string why;
  EXPECT_FALSE(q.connect(*parse_endpoint("127.0.0.1:" + port), {}, stop_, why));
  EXPECT_FALSE(q.connected());
  EXPECT_EQ(why, "cannot connect to 127.0.0.1:" + port + ": Connection refused");
  EXPECT_FALSE(q.connect(*parse_local_endpoint(directory_ + "/none", nullptr), {}, stop_, why));
  EXPECT_NE(why.find("No such file"), std::string::npos) << why;
  EXPECT_FALSE(q.connect(*parse_endpoint("no.such.host.invalid:1"), {}, stop_, why));
  EXPECT_NE(why.find("no address of no.such.host.invalid"), std::string::npos) << why;
}

TEST_F(QSocketTest, AHangUpAndAFullSocketAreToldApart) {
  std::string port;
  const shm::UniqueFd listener = listen_tcp(port);
  QSocket q;
  std::string why;
  ASSERT_TRUE(q.connect(*parse_endpoint(":" + port), {}, stop_, why)) << why;
  shm::UniqueFd peer(accept(listener.get(), nullptr, nullptr));
  const std::vector<std::byte> much(1 << 20);
  const std::array<Piece, 1> pieces = {much};
  Transfer sent;
  do {
    sent = q.send(pieces);
  } while (sent.outcome == Outcome::moved);
  EXPECT_EQ(sent.outcome, Outcome::blocked);
  peer.reset();
  EXPECT_TRUE(q.wait(/*writable=*/false, kLongNs, stop_));
  std::array<std::byte, 16> into{};
  EXPECT_EQ(q.receive(into).outcome, Outcome::lost);
  EXPECT_EQ(q.send(pieces).outcome, Outcome::lost);
}

TEST_F(QSocketTest, StopEndsAWait) {
  std::string port;
  const shm::UniqueFd listener = listen_tcp(port);
  QSocket q;
  std::string why;
  ASSERT_TRUE(q.connect(*parse_endpoint(":" + port), {}, stop_, why)) << why;
  EXPECT_FALSE(q.wait(/*writable=*/false, 1, stop_));
  stop_.store(true, std::memory_order_relaxed);  // a flag of its own
  EXPECT_FALSE(q.wait(/*writable=*/false, UINT64_MAX, stop_));
}

}  // namespace
}  // namespace mserve::shim
