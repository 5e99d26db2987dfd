// SPDX-License-Identifier: Apache-2.0
// What a service manager hears of the broker: systemd with Type=notify, played by the test.
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "mserve/shm/unique_fd.hpp"
#include "support/broker_process.hpp"
#include "support/requests.hpp"
#include "support/wait.hpp"

namespace mserve::test {
namespace {

class Notify : public ::testing::Test {
 protected:
  Notify() : socket_(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path_.c_str(), sizeof(address.sun_path) - 1);
    EXPECT_EQ(bind(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  }
  BrokerSetup setup(std::map<std::string, std::string> env = {}) const {
    BrokerSetup setup;
    env["NOTIFY_SOCKET"] = path_;
    setup.env = std::move(env);
    return setup;
  }
  /// Whether a datagram with that line arrives before the watchdog; others are dropped.
  bool hears(const std::string& line) {
    return wait_until([&] { return next().find(line + "\n") != std::string::npos; }, line);
  }
  /// The next datagram, with an end of line; "" for none.
  std::string next() {
    std::array<char, 512> text{};
    const ssize_t got = recv(socket_.get(), text.data(), text.size(), 0);
    return got > 0 ? std::string(text.data(), static_cast<std::size_t>(got)) + "\n" : "";
  }
  /// @return true as soon as a datagram is there, which stays; false after that time.
  bool wait_a_while(int ms) const {
    pollfd waiting{socket_.get(), POLLIN, 0};
    return poll(&waiting, 1, ms) > 0;
  }
  /// Until no more datagrams fit.
  void fill() const {
    const shm::UniqueFd other(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path_.c_str(), sizeof(address.sun_path) - 1);
    ASSERT_EQ(::connect(other.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)),
              0);
    while (send(other.get(), "x", 1, 0) == 1) {
    }
    EXPECT_EQ(errno, EAGAIN);
  }
  std::size_t drop_all() {
    std::size_t count = 0;
    while (!next().empty()) {
      ++count;
    }
    return count;
  }

  TempDir dir_;
  std::string path_ = dir_.file("notify");
  shm::UniqueFd socket_;
};

TEST_F(Notify, HearsWhenServantsAreThereAndWhenTheBrokerStops) {
  BrokerSetup with = setup();
  with.servants = 1;
  Broker broker(with);
  const std::string first = next();  // the broker told it before the test's own pipe
  EXPECT_EQ(first, "READY=1\nSTATUS=1 launched servants attached\n");
  EXPECT_EQ(next(), "") << "no watchdog was asked for";
  broker.process().signal(SIGTERM);
  EXPECT_TRUE(hears("STOPPING=1"));
  EXPECT_EQ(broker.process().wait(), 0);
}

TEST_F(Notify, HearsThatTheBrokerLivesWhetherItSpinsOrSleeps) {
  for (const char* const idle : {"spin", "park"}) {
    BrokerSetup with = setup({{"WATCHDOG_USEC", "1000000"}});
    with.args = {"--idle", idle};
    Broker broker(with);
    EXPECT_TRUE(hears("READY=1"));
    for (int i = 0; i < 3; ++i) {
      EXPECT_TRUE(hears("WATCHDOG=1")) << idle;
    }
    broker.stop();
    (void)drop_all();
  }
}

// A manager that is busy, or stuck, reads nothing for a while.
TEST_F(Notify, AManagerThatDoesNotReadHoldsNothingUp) {
  fill();
  Broker broker(setup({{"WATCHDOG_USEC", "1000000"}}));
  {
    const RawPeer attaches = raw_client(broker);
    (void)drop_all();
    EXPECT_TRUE(hears("READY=1")) << "told when there is room";
    EXPECT_TRUE(hears("WATCHDOG=1"));
  }
  fill();
  broker.stop();
}

// The process runs and its control thread does; only the data thread does not come to its work.
TEST_F(Notify, HearsNothingWhileTheDataThreadIsStuck) {
  constexpr int kPatienceMs = 400;
  const std::string file = dir_.file("stuck");
  std::ofstream(file) << "";
  BrokerSetup with =
      setup({{"WATCHDOG_USEC", std::to_string(kPatienceMs * 1000)}, {"STUCK_FILE", file}});
  with.args = {"--policy-plugin", MSERVE_TEST_PLUGIN_DIR "/stuck.so"};
  with.servants = 1;
  const Broker broker(with);
  EXPECT_TRUE(hears("WATCHDOG=1"));
  Client client = broker.client();
  const std::uint64_t id = send_opaque(client, pattern(10));
  EXPECT_NE(broker.wait_for_log("stuck"), "");
  while (wait_a_while(kPatienceMs)) {
    ASSERT_LE(drop_all(), 3U);  // what was told before, and of one beat that had been answered
  }
  EXPECT_FALSE(wait_a_while(2 * kPatienceMs)) << "and this is longer than a manager waits";
  std::filesystem::remove(file);
  EXPECT_TRUE(hears("WATCHDOG=1"));
  EXPECT_EQ(await(client, id).status, Errc::ok);
}

TEST_F(Notify, ServantsDoNotInheritWhatIsTheBrokers) {
  BrokerSetup with = setup({{"WATCHDOG_USEC", "1000000"}});
  with.servants = 1;
  const Broker broker(with);
  ASSERT_EQ(broker.launched().size(), 1U);
  const std::string environment =
      read_file("/proc/" + std::to_string(broker.launched().front()) + "/environ");
  EXPECT_NE(environment.find("MSERVE_SERVANT="), std::string::npos);
  for (const char* const ours : {"NOTIFY_SOCKET=", "WATCHDOG_USEC="}) {
    EXPECT_EQ(environment.find(ours), std::string::npos) << ours;
  }
}

}  // namespace
}  // namespace mserve::test
