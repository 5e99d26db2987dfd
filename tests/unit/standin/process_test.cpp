// SPDX-License-Identifier: Apache-2.0
// The executable: what it says, how it ends.
#include "support/process.hpp"

#include <gtest/gtest.h>

#include <csignal>
#include <cstdlib>

#include "standin/raw_client.hpp"
#include "support/temp_dir.hpp"
#include "support/wait.hpp"

namespace mserve::test {
namespace {

using kdb::MessageKind;
using kdb::Value;

/// mserve-standin with the arguments; its Unix sockets and output are in a folder of its own.
class StandinProcess {
 public:
  explicit StandinProcess(std::vector<std::string> arguments,
                          std::map<std::string, std::string> env = {}) {
    arguments.insert(arguments.begin(), program("mserve-standin"));
    env.emplace("QUDSPATH", dir_.path());
    process = Process({.argv = std::move(arguments),
                       .env = std::move(env),
                       .stdout_path = dir_.file("out"),
                       .stderr_path = dir_.file("err")});
    EXPECT_TRUE(wait_until([this] { return read_file(dir_.file("out")).ends_with('\n'); },
                           "the stand-in listens"));
    const std::string said = read_file(dir_.file("out"));
    EXPECT_TRUE(said.starts_with("listening ")) << said;
    port = static_cast<std::uint16_t>(std::strtoul(said.c_str() + 10, nullptr, 10));
  }

  [[nodiscard]] std::string uds_path() const { return dir_.file("kx." + std::to_string(port)); }

 private:
  TempDir dir_;

 public:
  Process process;
  std::uint16_t port = 0;
};

TEST(StandinProcess, ListensWhereItSaysAndEndsOnSigterm) {
  StandinProcess standin({"--uds"});
  RawClient client = RawClient::tcp(standin.port);
  ASSERT_TRUE(client.handshake().has_value());
  EXPECT_EQ(client.query("echo 1"), Value::long_atom(1));
  EXPECT_TRUE(RawClient::unix_socket(standin.uds_path(), true).handshake().has_value());
  EXPECT_TRUE(RawClient::unix_socket(standin.uds_path(), false).handshake().has_value());
  standin.process.signal(SIGTERM);
  EXPECT_EQ(standin.process.wait(), 0);
  EXPECT_FALSE(RawClient::unix_socket(standin.uds_path(), false).connected());
}

TEST(StandinProcess, DiesByItsOwnHand) {
  for (const char* point : {"handshake", "on-query", "mid-reply", "after-reply"}) {
    StandinProcess standin({"--die", point});
    RawClient client = RawClient::tcp(standin.port);
    if (client.handshake()) {
      client.send(Value::chars("big 1000"), MessageKind::sync);
    }
    EXPECT_EQ(standin.process.wait(), 128 + SIGKILL) << point;
  }
}

TEST(StandinProcess, ExitsWithTheConnectionWhenAskedTo) {
  StandinProcess standin({"--exit-on-close"});
  RawClient client = RawClient::tcp(standin.port);
  ASSERT_TRUE(client.handshake().has_value());
  client.close();
  EXPECT_EQ(standin.process.wait(), 0);
}

TEST(StandinProcess, ServantofComparesWithTheEnvironment) {
  StandinProcess mine({"--form", "lbt", "--servantof"}, {{"Q_SERVANTOF", "127.0.0.1"}});
  EXPECT_TRUE(RawClient::tcp(mine.port).handshake().has_value());
  EXPECT_EQ(mine.process.wait(), 0);
  StandinProcess other({"--form", "lbt", "--servantof"}, {{"Q_SERVANTOF", "192.0.2.1"}});
  EXPECT_EQ(RawClient::tcp(other.port).handshake(), std::nullopt);
  EXPECT_TRUE(other.process.running());
}

TEST(StandinProcess, WrongOptionsAreExitCodeTwo) {
  EXPECT_EQ(run_to_end({program("mserve-standin"), "--form", "q"}).exit_code, 2);
}

}  // namespace
}  // namespace mserve::test
