// SPDX-License-Identifier: Apache-2.0
// Clients on another host that are gone without a word: the broker notices within its bounds.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>

#include "mserve/shm/unique_fd.hpp"
#include "support/requests.hpp"
#include "system/gateway_setup.hpp"

namespace mserve::test {
namespace {

constexpr const char* kBrokersAddress = "10.77.0.1";

/// A network of two hosts, each a namespace: this thread's, in which brokers are started, and that
/// of the client's process, made after it. Gone with this.
class TwoHosts : public ::testing::Test {
 protected:
  void SetUp() override {
    home_.reset(::open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
    if (::unshare(CLONE_NEWNET) != 0) {
      home_.reset();
      GTEST_SKIP() << "this process may not make a network namespace";
    }
    if (!succeeds("ip link set lo up") || !succeeds("ip link add here type veth peer name there") ||
        !succeeds("ip address add 10.77.0.1/24 dev here") || !succeeds("ip link set here up")) {
      GTEST_SKIP() << "no `ip`, or it may not make a pair of interfaces";
    }
  }
  void TearDown() override {
    if (home_) {
      EXPECT_EQ(::setns(home_.get(), CLONE_NEWNET), 0);
    }
  }

  /// Connects `count` clients from the other host, lets `ask` bytes be sent by each, and says
  /// "connected"; then its interface is taken down when it gets SIGUSR1, and it stays.
  static int other_host(std::uint16_t port, int count, std::span<const std::byte> ask, int told) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    (void)sigprocmask(SIG_BLOCK, &set, nullptr);
    if (::unshare(CLONE_NEWNET) != 0 || ::write(told, "n", 1) != 1) {
      return 1;
    }
    int signal = 0;
    (void)sigwait(&set, &signal);  // the interface is here
    if (!succeeds("ip address add 10.77.0.2/24 dev there") || !succeeds("ip link set there up")) {
      return 2;
    }
    for (int i = 0; i < count; ++i) {
      const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      sockaddr_in address{};
      address.sin_family = AF_INET;
      address.sin_port = htons(port);
      address.sin_addr.s_addr = htonl(0x0a4d0001);
      char answered = 0;
      if (::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0 ||
          ::send(fd, "bob\3\0", 5, MSG_NOSIGNAL) != 5 || ::recv(fd, &answered, 1, 0) != 1 ||
          (!ask.empty() &&
           ::send(fd, ask.data(), ask.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(ask.size()))) {
        return 3;
      }
    }
    if (::write(told, "c", 1) != 1) {
      return 4;
    }
    (void)sigwait(&set, &signal);
    const bool down = succeeds("ip link set there down");
    if (::write(told, down ? "d" : "x", 1) != 1) {
      return 5;
    }
    (void)sigwait(&set, &signal);
    return 0;
  }

  /// Such a process, step by step.
  class Other {
   public:
    Other(std::uint16_t port, int count, std::span<const std::byte> ask) {
      int ends[2] = {-1, -1};
      EXPECT_EQ(::pipe2(ends, O_CLOEXEC), 0);
      reading_.reset(ends[0]);
      const shm::UniqueFd writing(ends[1]);
      process_ = Process([&] { return other_host(port, count, ask, ends[1]); });
      EXPECT_EQ(told(), 'n');
      EXPECT_TRUE(succeeds("ip link set there netns " + std::to_string(process_.pid())));
      process_.signal(SIGUSR1);
      EXPECT_EQ(told(), 'c');
    }
    void go_down() {
      process_.signal(SIGUSR1);
      EXPECT_EQ(told(), 'd');
    }

   private:
    char told() const {
      char word = 0;
      return ::read(reading_.get(), &word, 1) == 1 ? word : '?';
    }
    shm::UniqueFd reading_;
    Process process_;
  };

  shm::UniqueFd home_;
};

TEST_F(TwoHosts, AClientWhoseHostIsGoneIsNoticedWhetherItIsIdleOrWaits) {
  const Broker broker(with_gateway({"--bind", std::string("127.0.0.1,") + kBrokersAddress,
                                    "--tcp-keepalive", "1s", "--tcp-user-timeout", "1s"},
                                   0));
  RawPeer servant = raw_servant(broker, "byhand", 2);
  broker.wait_for_counter("servants", 1);
  RawClient here = connect(broker);
  {
    Other idle(broker.port(), 2, {});
    broker.wait_for_counter("gateway_connections", 3);
    idle.go_down();
    broker.wait_for_counter("gateway_connections", 1);  // keep-alive
    EXPECT_TRUE(wait_until(
        [&] { return broker.log_lines("acknowledged nothing for too long").size() == 2; },
        "its reason"));
  }
  ASSERT_TRUE(here.send(text("x"), MessageKind::sync));
  auto request = servant.take();
  ASSERT_TRUE(request);
  EXPECT_TRUE(answer(servant, request->header.id, kdb::encode(Value::long_atom(1))));
  EXPECT_EQ(here.receive()->value, Value::long_atom(1));
  EXPECT_TRUE(succeeds("ip link add here2 type veth peer name there") &&
              succeeds("ip link del here; ip address add 10.77.0.1/24 dev here2") &&
              succeeds("ip link set here2 up"));
  {
    const Bytes ask = kdb::encode_message(text("x"), MessageKind::sync);
    Other waits(broker.port(), 1, ask);
    request = servant.take();
    ASSERT_TRUE(request);
    waits.go_down();
    EXPECT_TRUE(answer(servant, request->header.id, kdb::encode(text(std::string(1000, 'x')))));
    broker.wait_for_counter("gateway_connections", 1);  // the user time-out
    EXPECT_TRUE(wait_until(
        [&] { return broker.log_lines("acknowledged nothing for too long").size() == 3; },
        "its reason"));
  }
  broker.wait_for_counter("running", 0);
}

}  // namespace
}  // namespace mserve::test
