// SPDX-License-Identifier: Apache-2.0
// Every line of a broker's log, and of what it launched, is a JSON object where that was asked for.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <csignal>
#include <cstdio>
#include <set>
#include <sstream>

#include "standin/raw_client.hpp"
#include "support/raw_peer.hpp"
#include "support/requests.hpp"
#include "support/temp_dir.hpp"

namespace mserve::test {
namespace {

std::vector<boost::json::object> objects_of(const std::string& log) {
  std::vector<boost::json::object> found;
  std::istringstream lines(log);
  for (std::string line; std::getline(lines, line);) {
    boost::system::error_code error;
    const boost::json::value value = boost::json::parse(line, error);
    EXPECT_TRUE(!error && value.is_object()) << line;
    if (!error && value.is_object()) {
      found.push_back(value.as_object());
    }
  }
  return found;
}

TEST(LogFormat, EveryLineOfABusyBrokerIsAnObject) {
  std::set<std::string> events;
  std::set<std::string> clients;
  std::string log;
  {
    Broker broker({.args = {"--log-format", "json"}, .servants = 2, .gateway = true});
    for (int i = 0; i < 15; ++i) {
      Client client = broker.client();
      expect_echo(client, pattern(100));
    }
    for (int i = 0; i < 30; ++i) {  // more than the limiter lets through
      EXPECT_ANY_THROW(RawPeer(broker, {.role = shm::Role::servant, .tags = "weight=\"\\"}));
    }
    const std::string gateway = broker.wait_for_log("\"event\":\"gateway\"");
    const std::int64_t port = objects_of(gateway).at(0).at("port").as_int64();
    RawClient odd = RawClient::tcp(static_cast<std::uint16_t>(port));
    ASSERT_TRUE(odd.handshake("a\"b\\c\n\xff\x1b:secret"));
    ASSERT_TRUE(odd.send(kdb::Value::long_atom(1), kdb::MessageKind::response));
    (void)broker.wait_for_log("\"gateway_ignored\"");
    const std::vector<pid_t> servants = broker.launched();
    ASSERT_EQ(servants.size(), 2U);
    ASSERT_EQ(::kill(servants[0], SIGKILL), 0);
    (void)broker.wait_for_log("\"servant_ended\"");
    broker.wait_for_counter("servants", 2);
    ASSERT_EQ(::kill(broker.pid(), SIGHUP), 0);
    (void)broker.wait_for_log("\"reloaded\"");
    broker.stop();
    log = broker.log();
  }
  for (const boost::json::object& line : objects_of(log)) {
    for (const char* const key : {"time", "level", "event"}) {
      ASSERT_TRUE(line.contains(key)) << key;
      EXPECT_TRUE(line.at(key).is_string()) << key;
    }
    const std::string event(line.at("event").as_string());
    events.insert(event);
    if (event == "attached" && line.contains("pid")) {
      EXPECT_TRUE(line.at("pid").is_int64());
      EXPECT_TRUE(line.at("session").is_int64());
    }
    if (event == "gateway_ignored") {
      clients.emplace(line.at("client").as_string());
    }
  }
  for (const char* const event :
       {"start", "gateway", "servant_started", "serves", "ready", "attached", "detached", "refused",
        "servant_ended", "reloaded", "draining", "drained", "stopped"}) {
    EXPECT_TRUE(events.contains(event)) << event << '\n' << log;
  }
  EXPECT_TRUE(clients.contains("a?b\\c???")) << log;
}

TEST(LogFormat, ASecondBrokerSaysInJsonWhyItCannotStart) {
  const Broker broker({.args = {}, .env = {{"MSERVE_LOG_FORMAT", "json"}}});
  const Output second =
      run_to_end({program("mserve-broker"), "--log-format", "json"}, broker.env());
  EXPECT_EQ(second.exit_code, 1);
  const auto lines = objects_of(second.err);
  ASSERT_FALSE(lines.empty()) << second.err;
  EXPECT_EQ(lines.back().at("event"), "cannot_start");
  EXPECT_EQ(objects_of(broker.log()).front().at("event"), "start") << "the environment says it too";
}

TEST(LogFormat, InTheJournalEachLineHasItsPriorityAndTextNoTime) {
  const TempDir dir;
  const std::string path = dir.file("journal");
  std::fclose(std::fopen(path.c_str(), "we"));
  struct stat is {};
  ASSERT_EQ(::stat(path.c_str(), &is), 0);
  const std::string stream = std::to_string(is.st_dev) + ":" + std::to_string(is.st_ino);
  Process broker(Spawn{.argv = {program("mserve-broker"), "--name", "journal", "--dir", dir.path(),
                                "1", program("mserve-servant"), "--servant-args", "--rows 10"},
                       .env = {{"JOURNAL_STREAM", stream}, {"MSERVE_LOG_FORMAT", "text"}},
                       .stderr_path = path});
  ASSERT_TRUE(wait_until([&] { return read_file(path).find(" ready ") != std::string::npos; },
                         "the broker to be ready"));
  broker.signal(SIGTERM);
  EXPECT_EQ(broker.wait(), 0);
  std::istringstream lines(read_file(path));
  bool started = false;
  bool serves = false;
  for (std::string line; std::getline(lines, line);) {
    EXPECT_TRUE(line.starts_with("<6>") || line.starts_with("<4>")) << line;
    started = started || line.starts_with("<6>info start name=journal ");
    serves = serves || line.starts_with("<6>mserve-servant-1: serves: ");
  }
  EXPECT_TRUE(started);
  EXPECT_TRUE(serves);
}

}  // namespace
}  // namespace mserve::test
