// SPDX-License-Identifier: Apache-2.0
// HAProxy, with the configuration of broker/deploy, in front of two brokers.
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <fstream>
#include <memory>
#include <sstream>

#include "mserve/client/query.hpp"
#include "standin/raw_client.hpp"
#include "support/temp_dir.hpp"
#include "support/test_gateway.hpp"
#include "system/gateway_setup.hpp"

namespace mserve::test {
namespace {

/// Where it is; empty: it is not installed.
std::string haproxy() {
  for (const char* const path : {"/usr/sbin/haproxy", "/usr/local/sbin/haproxy"}) {
    if (::access(path, X_OK) == 0) {
      return path;
    }
  }
  return {};
}

void replace(std::string& text, const std::string& what, const std::string& by) {
  const std::size_t at = text.find(what);
  ASSERT_NE(at, std::string::npos) << what;
  text.replace(at, what.size(), by);
}

/// A broker with a gateway, and a `mserve-stat serve` that answers for it.
class Host {
 public:
  Host()
      : broker_(with_gateway({"--drain-delay", "inf"}, 1)),
        port_(broker_.port()),
        serve_(Spawn{.argv = {program("mserve-stat"), "serve", "--port", "0", "--agent-port", "0"},
                     .env = broker_.env(),
                     .stdout_path = dir_.file("said")}) {
    const std::string lead = "\nagent 127.0.0.1:";
    EXPECT_TRUE(wait_until(
        [&] {
          const std::string said = read_file(dir_.file("said"));
          return said.find(lead) != std::string::npos && said.ends_with("\n");
        },
        "an address"));
    const std::string said = read_file(dir_.file("said"));
    agent_port_ =
        static_cast<std::uint16_t>(std::stoul("0" + said.substr(said.find(lead) + lead.size())));
  }

  [[nodiscard]] Broker& broker() noexcept { return broker_; }
  [[nodiscard]] std::uint16_t port() const noexcept { return port_; }
  [[nodiscard]] std::uint16_t agent_port() const noexcept { return agent_port_; }
  [[nodiscard]] std::string agent() const { return said_at(agent_port_, ""); }
  /// How many requests it has taken.
  [[nodiscard]] std::uint64_t requests() const { return broker_.counter("requests").value_or(0); }

 private:
  TempDir dir_;
  Broker broker_;
  std::uint16_t port_;
  Process serve_;
  std::uint16_t agent_port_ = 0;
};

class Haproxy : public ::testing::Test {
 protected:
  void SetUp() override {
    if (haproxy().empty()) {
      GTEST_SKIP() << "HAProxy is not installed; apt-get install haproxy";
    }
    std::string text = read_file(MSERVE_TEST_SOURCE_DIR "/../broker/deploy/haproxy.cfg");
    write(text);
    check();
    hosts_ = std::make_unique<std::array<Host, 2>>();
    replace(text, "/run/haproxy/admin.sock", dir_.file("admin"));
    replace(text, "bind :5000", "bind 127.0.0.1:" + std::to_string(port_));
    for (std::size_t i = 0; i < hosts_->size(); ++i) {
      const Host& host = hosts_->at(i);
      replace(text, "10.1.0." + std::to_string(i + 1) + ":5000 agent-port 5080",
              "127.0.0.1:" + std::to_string(host.port()) + " agent-port " +
                  std::to_string(host.agent_port()));
    }
    write(text);
    check();
    process_ = Process(Spawn{.argv = {haproxy(), "-db", "-f", dir_.file("haproxy.cfg")},
                             .stderr_path = dir_.file("err")});
    for (const char* const name : {"hostA", "hostB"}) {
      wait_for_status(name, "UP");
    }
  }

  void write(const std::string& text) const { std::ofstream(dir_.file("haproxy.cfg")) << text; }
  void check() const {
    const Output output = run_to_end({haproxy(), "-c", "-f", dir_.file("haproxy.cfg")});
    EXPECT_EQ(output.exit_code, 0) << output.out << output.err;
    EXPECT_EQ(output.err.find("WARNING"), std::string::npos) << output.err;
  }

  /// What HAProxy thinks of a broker: `UP`, `DOWN`, `DRAIN`, ...
  [[nodiscard]] std::string status_of(const std::string& name) const {
    RawClient admin = RawClient::unix_socket(dir_.file("admin"), false);
    if (!admin.connected() || !admin.send_text("show stat\n")) {
      return {};
    }
    constexpr std::size_t kMost = 65536;
    const std::vector<std::byte> said = admin.receive_bytes(kMost);
    std::istringstream lines(std::string(reinterpret_cast<const char*>(said.data()), said.size()));
    for (std::string line; std::getline(lines, line);) {
      if (line.starts_with("mserve," + name + ",")) {
        std::istringstream cells(line);
        std::string cell;
        constexpr int kStatus = 17;
        for (int i = 0; i <= kStatus && std::getline(cells, cell, ','); ++i) {
        }
        return cell;
      }
    }
    return {};
  }
  void wait_for_status(const std::string& name, const std::string& status) const {
    EXPECT_TRUE(
        wait_until([&] { return status_of(name).starts_with(status); }, name + " to be " + status))
        << status_of(name) << '\n'
        << read_file(dir_.file("err"));
  }

  [[nodiscard]] RawClient dial() const {
    RawClient client = RawClient::tcp(port_);
    EXPECT_TRUE(client.handshake("bob:pw", 3)) << "no broker behind it";
    return client;
  }
  [[nodiscard]] Host& host(std::size_t i) { return hosts_->at(i); }

  TempDir dir_;
  std::uint16_t port_ = unused_port();
  std::unique_ptr<std::array<Host, 2>> hosts_;
  Process process_;
};

TEST_F(Haproxy, ClientsOfABrokerThatIsKilledGoOnWithTheOtherAfterAReconnect) {
  ClientOptions options;
  options.broker = "tcp://bob:pw@127.0.0.1:" + std::to_string(port_);
  std::string reason;
  auto made = Client::connect(options, &reason);
  ASSERT_TRUE(made) << reason;
  Client client = std::move(made).value();
  const auto ask = [&client] {
    const auto answer = query(client, "echo 42", {}, watchdog());
    return answer && answer.value().result == Value::long_atom(42);
  };
  ASSERT_TRUE(ask());
  RawClient kdb = dial();
  EXPECT_EQ(kdb.query("echo 7"), Value::long_atom(7));
  // leastconn: each broker has one of the two.
  ASSERT_TRUE(wait_until([&] { return host(0).requests() == 1 && host(1).requests() == 1; },
                         "one request at each"));
  ASSERT_TRUE(ask());
  ASSERT_TRUE(wait_until([&] { return host(0).requests() + host(1).requests() == 3; },
                         "the third request"));
  const std::size_t dying = host(0).requests() == 2 ? 0 : 1;
  host(dying).broker().kill();
  EXPECT_TRUE(wait_until(ask, "the client to be served by the other broker"));
  EXPECT_EQ(kdb.query("echo 8"), Value::long_atom(8)) << "nothing happened to that one";
  EXPECT_EQ(dial().query("echo 9"), Value::long_atom(9));
  wait_for_status(dying == 0 ? "hostA" : "hostB", "DOWN");
  EXPECT_TRUE(wait_until([&] { return host(dying).agent() == "down\n"; }, "its agent to notice"));
  EXPECT_EQ(host(1 - dying).agent(), "ready up\n");
}

TEST_F(Haproxy, ABrokerThatWillShutDownGetsNobodyNewAndServesWhoIsThere) {
  RawClient first = dial();
  EXPECT_EQ(first.query("echo 1"), Value::long_atom(1));
  ASSERT_TRUE(wait_until([&] { return host(0).requests() + host(1).requests() == 1; },
                         "the first request"));
  const std::size_t leaving = host(0).requests() == 1 ? 0 : 1;
  EXPECT_EQ(health_of(host(leaving).port()), "200 ok");
  EXPECT_EQ(host(leaving).agent(), "ready up\n");
  host(leaving).broker().process().signal(SIGTERM);
  (void)host(leaving).broker().wait_for_log("leaving delay_ms=inf");
  EXPECT_TRUE(wait_until([&] { return health_of(host(leaving).port()) == "503 draining"; },
                         "its health to change"));
  EXPECT_TRUE(wait_until([&] { return host(leaving).agent() == "drain\n"; }, "its agent too"));
  const std::string name = leaving == 0 ? "hostA" : "hostB";
  ASSERT_TRUE(wait_until([&] { return !status_of(name).starts_with("UP"); }, name + " to leave"));
  constexpr std::uint64_t kMore = 10;
  std::vector<RawClient> more;
  for (std::uint64_t i = 0; i < kMore; ++i) {
    more.push_back(dial());
    EXPECT_EQ(more.back().query("echo 2"), Value::long_atom(2));
  }
  EXPECT_TRUE(wait_until([&] { return host(1 - leaving).requests() == kMore; },
                         "all of them at the other broker"));
  EXPECT_EQ(first.query("echo 3"), Value::long_atom(3)) << "it goes on meanwhile";
  host(leaving).broker().process().signal(SIGTERM);  // enough of that
  EXPECT_EQ(host(leaving).broker().process().wait(), 0);
  EXPECT_TRUE(first.closed_by_peer());
  EXPECT_TRUE(wait_until([&] { return host(leaving).agent() == "down\n"; }, "its agent to see"));
  EXPECT_EQ(more.front().query("echo 4"), Value::long_atom(4));
}

}  // namespace
}  // namespace mserve::test
