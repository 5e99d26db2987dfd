// SPDX-License-Identifier: Apache-2.0
// mserve-broker --slow and --trace: which requests are told, with which times, and that no file
// that cannot be written ends a broker.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "support/requests.hpp"
#include "support/temp_dir.hpp"

namespace mserve::test {
namespace {

constexpr std::uint64_t kLong = 2'000'000;  // what a servant of these tests takes, at least

/// The servant takes its next request, and answers after kLong.
void answer_late(RawPeer& servant, std::size_t bytes) {
  const auto request = servant.take();
  ASSERT_TRUE(request);
  let_pass(kLong);
  ASSERT_TRUE(servant.reply(request->header.id, pattern(bytes)));
}

std::uint64_t number_in_line(const std::string& line, const std::string& key) {
  const std::string text = field_of(line, key);
  EXPECT_FALSE(text.empty()) << key << " in " << line;
  return text.empty() ? 0 : std::stoull(text);
}

TEST(Slow, ARequestThatTookLongIsLoggedWithItsTimes) {
  const Broker broker(broker_with({"--slow", "1"}));
  RawPeer servant = raw_servant(broker, "patient-one");
  ClientOptions options;
  options.name = "asker";
  Client client = broker.client(options);
  SendOptions routed;
  routed.route = 0xabc;
  const std::uint64_t first = send_opaque(client, pattern(100), routed);
  const std::uint64_t second = send_opaque(client, pattern(7));
  answer_late(servant, 50);  // the other one waits meanwhile
  answer_late(servant, 0);
  EXPECT_EQ(await(client, first).status, Errc::ok);
  EXPECT_EQ(await(client, second).status, Errc::ok);

  const std::string line =
      broker.wait_for_log("slow_query request=" + std::to_string(first) + " client=asker");
  EXPECT_NE(line.find("servant=patient-one"), std::string::npos) << line;
  EXPECT_EQ(field_of(line, "route"), "0x0000000000000abc");
  EXPECT_EQ(field_of(line, "status"), "ok");
  EXPECT_EQ(field_of(line, "uid"), std::to_string(::getuid()));
  EXPECT_EQ(number_in_line(line, "bytes"), 100U);
  EXPECT_EQ(number_in_line(line, "reply_bytes"), 50U);
  EXPECT_GE(number_in_line(line, "execution_ns"), kLong);
  EXPECT_EQ(number_in_line(line, "whole_ns"),
            number_in_line(line, "queue_ns") + number_in_line(line, "execution_ns"));

  const std::string behind = broker.wait_for_log("slow_query request=" + std::to_string(second));
  EXPECT_GE(number_in_line(behind, "queue_ns"), kLong);
  EXPECT_EQ(behind.find("route="), std::string::npos) << behind;
}

TEST(Slow, SoIsOneThatEndedOtherwise) {
  const Broker broker(broker_with({"--slow", "1"}));
  RawPeer servant = raw_servant(broker, "mortal");
  Client client = broker.client();
  const std::uint64_t lost = send_opaque(client, pattern(10));
  const std::uint64_t unserved = send_opaque(client, pattern(10));
  ASSERT_TRUE(servant.take());
  let_pass(kLong);
  servant.vanish();
  EXPECT_EQ(await(client, lost).status, Errc::servant_died);
  EXPECT_EQ(await(client, unserved).status, Errc::no_servant);
  const std::string line = broker.wait_for_log("slow_query request=" + std::to_string(lost));
  EXPECT_NE(line.find("status=\"servant died\""), std::string::npos) << line;
  const std::string other = broker.wait_for_log("slow_query request=" + std::to_string(unserved));
  EXPECT_EQ(number_in_line(other, "execution_ns"), 0U);
  EXPECT_GE(number_in_line(other, "queue_ns"), kLong);
}

TEST(Slow, SoIsOneWhoseClientHungUpMeanwhileByName) {
  const Broker broker(broker_with({"--slow", "1"}));
  RawPeer servant = raw_servant(broker, "patient-one");
  std::uint64_t left = 0;
  std::uint64_t id = 0;
  {
    ClientOptions options;
    options.name = "hasty";
    Client client = broker.client(options);
    left = send_opaque(client, pattern(10));
    const auto request = servant.take();
    ASSERT_TRUE(request);
    id = request->header.id;
  }
  const std::string gone = broker.wait_for_log("detached client=hasty");
  // Another one in its place is not taken for it.
  Client next = broker.client();
  let_pass(kLong);
  ASSERT_TRUE(servant.reply(id, pattern(10)));
  const std::string line = broker.wait_for_log("slow_query request=" + std::to_string(left));
  EXPECT_EQ(field_of(line, "client"), "hasty");
  EXPECT_EQ(field_of(line, "client_session"), field_of(gone, "session"));
  EXPECT_EQ(field_of(line, "uid"), std::to_string(::getuid()));
  EXPECT_EQ(field_of(line, "status"), "cancelled");
}

TEST(Slow, AHupChangesHowSlow) {
  const TempDir dir;
  const std::string file = dir.file("mserve.toml");
  std::ofstream(file) << "slow = \"1000s\"\n";
  Broker broker(broker_with({"--config", file}, 1));
  Client client = broker.client();
  expect_echo(client, pattern(10));
  std::ofstream(file, std::ios::trunc) << "slow = 0\n";
  broker.process().signal(SIGHUP);
  EXPECT_EQ(field_of(broker.wait_for_log(" reloaded"), "slow"), "0");
  EXPECT_TRUE(wait_until(
      [&] {
        expect_echo(client, pattern(20));
        return !broker.log_lines("slow_query").empty();
      },
      "a request that is slow now"));
  EXPECT_TRUE(broker.log_lines("slow_query request=1 ").empty()) << "the first one was not";
  broker.stop();
}

using Row = std::vector<std::string>;

/// No name of these tests has a comma in it.
std::vector<Row> rows_in_file(const std::string& file) {
  std::vector<Row> rows;
  std::istringstream lines(read_file(file));
  for (std::string line; std::getline(lines, line);) {
    Row& row = rows.emplace_back();
    std::istringstream cells(line + ",");
    for (std::string cell; std::getline(cells, cell, ',');) {
      row.push_back(cell);
    }
  }
  return rows;
}

std::int64_t wall() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

TEST(Trace, ACsvHasARowForEachRequestHoweverItEnded) {
  constexpr std::int64_t kMinute = 60'000'000'000;  // clocks are set now and then
  const TempDir dir;
  const std::string file = dir.file("requests.csv");
  const std::int64_t begun = wall();
  Broker broker(broker_with({"--trace", file, "--trace-every", "1"}));
  {
    RawPeer servant = raw_servant(broker, "late");
    Client client = broker.client();
    const std::uint64_t answered = send_opaque(client, pattern(3));
    const std::uint64_t lost = send_opaque(client, pattern(4));
    answer_late(servant, 5);
    EXPECT_EQ(await(client, answered).status, Errc::ok);
    ASSERT_TRUE(servant.take());
    servant.vanish();
    EXPECT_EQ(await(client, lost).status, Errc::servant_died);
    broker.wait_for_counter("servants", 0);
  }
  {
    Process servant = broker.spawn_servant("real", {"--rows", "0"});
    broker.wait_for_counter("servants", 1);
    Client client = broker.client();
    for (int i = 0; i < 20; ++i) {
      expect_echo(client, pattern(10));
    }
    expect_echo(client, pattern(600'000));  // in fragments, both ways
  }
  {
    RawPeer servant = raw_servant(broker, "last");
    RawPeer client = raw_client(broker);
    ASSERT_TRUE(client.request(1, pattern(6)));
    const auto request = servant.take();
    ASSERT_TRUE(request);
    const std::uint64_t before = broker.counter("discarded").value_or(0);
    client.vanish();
    broker.wait_for_counter("sessions", 1);
    ASSERT_TRUE(servant.reply(request->header.id, pattern(7)));
    broker.wait_for_counter("discarded", before + 1);
  }
  broker.wait_for_counter("requests", 24);
  EXPECT_EQ(broker.counter("stamps_dropped"), 0U);
  broker.stop();

  std::vector<Row> rows = rows_in_file(file);
  ASSERT_EQ(rows.size(), 1U + 24U) << read_file(file);
  ASSERT_EQ(rows.front(), (Row{"submitted_ns", "dispatched_ns", "answered_ns", "status", "request",
                               "client", "client_session", "connection", "uid", "servant",
                               "servant_session", "route", "route_name", "bytes", "reply_bytes"}));
  rows.erase(rows.begin());
  std::map<std::string, int> statuses;
  for (const Row& row : rows) {
    ASSERT_EQ(row.size(), 15U);
    const std::array<std::int64_t, 3> at{std::stoll(row[0]), std::stoll(row[1]),
                                         std::stoll(row[2])};
    EXPECT_TRUE(std::is_sorted(at.begin(), at.end())) << row[0] << " " << row[1] << " " << row[2];
    EXPECT_GT(at.front(), begun - kMinute);
    EXPECT_LT(at.back(), wall() + kMinute);
    ++statuses[row[3]];
  }
  EXPECT_EQ(statuses,
            (std::map<std::string, int>{{"ok", 22}, {"servant died", 1}, {"cancelled", 1}}));
  const Row& first = rows.front();
  EXPECT_EQ(first[9], "late");
  EXPECT_EQ(first[13], "3");
  EXPECT_EQ(first[14], "5");
  EXPECT_GE(std::stoll(first[2]) - std::stoll(first[1]), static_cast<std::int64_t>(kLong));
  EXPECT_EQ(rows[22][14], "600000");
  EXPECT_EQ(rows.back()[5], "raw") << "its client had gone";
  EXPECT_EQ(std::filesystem::status(file).permissions() & std::filesystem::perms::all,
            std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
}

/// The bars in a trace's rows.
std::size_t bars_in(const std::string& json) {
  boost::system::error_code error;
  const boost::json::value events = boost::json::parse(json, error);
  EXPECT_FALSE(error) << error.message() << "\n" << json;
  std::size_t bars = 0;
  for (const boost::json::value& event : error ? boost::json::array() : events.as_array()) {
    if (event.at("ph") == "X") {
      ++bars;
      EXPECT_GE(event.at("ts").to_number<double>(), 0);
      EXPECT_GE(event.at("dur").to_number<double>(), 0);
      EXPECT_EQ(event.at("tid").to_number<int>(), 1);
      EXPECT_EQ(event.at("args").at("status"), "ok");
    }
  }
  return bars;
}

TEST(Trace, AJsonCanBeReadAfterACleanEndAndAfterAKill) {
  const TempDir dir;
  const std::string file = dir.file("trace");
  Broker broker(broker_with({"--trace", file, "--trace-every", "3"}, 1));
  {
    Client client = broker.client();
    for (int i = 0; i < 30; ++i) {
      expect_echo(client, pattern(10));
    }
  }
  broker.stop();
  EXPECT_EQ(bars_in(read_file(file)), 10U) << "of three requests one";

  broker.start();
  Client client = broker.client();
  for (int i = 0; i < 15; ++i) {
    expect_echo(client, pattern(10));
  }
  const auto written = [&] {
    const std::string text = read_file(file) + "]";
    boost::system::error_code error;
    (void)boost::json::parse(text, error);
    return !error && bars_in(text) == 5;
  };
  EXPECT_TRUE(wait_until(written, "what was asked to be in the file"));
  broker.kill();
  EXPECT_TRUE(written()) << "an old file was replaced, and ends in a whole line";
}

TEST(Trace, AFullDiskEndsTheTraceAndNotTheBroker) {
  Broker broker(broker_with({"--trace", "/dev/full", "--trace-every", "1"}, 1));
  const std::string line = broker.wait_for_log("trace_ended");
  EXPECT_NE(line.find("file=/dev/full bytes=0 reason=\"No space left on device\""),
            std::string::npos)
      << line;
  Client client = broker.client();
  for (int i = 0; i < 10; ++i) {
    expect_echo(client, pattern(10));
  }
  broker.stop();
  EXPECT_EQ(broker.log_lines("trace_ended").size(), 1U);
}

TEST(Trace, ItIsNoLargerThanAllowed) {
  constexpr std::uintmax_t kMax = 64U << 10;
  const TempDir dir;
  const std::string file = dir.file("requests.csv");
  Broker broker(broker_with({"--trace", file, "--trace-every", "1", "--trace-max", "64k"}, 1));
  Client client = broker.client();
  EXPECT_TRUE(wait_until(
      [&] {
        for (int i = 0; i < 50; ++i) {
          expect_echo(client, pattern(10));
        }
        return !broker.log_lines("trace_ended").empty();
      },
      "the file to be full"));
  const std::uintmax_t size = std::filesystem::file_size(file);
  EXPECT_LE(size, kMax);
  EXPECT_GT(size, kMax - 1024);
  expect_echo(client, pattern(10));
  broker.stop();
  EXPECT_EQ(std::filesystem::file_size(file), size);
  for (const Row& row : rows_in_file(file)) {
    EXPECT_EQ(row.size(), 15U);
  }
  EXPECT_EQ(broker.log_lines("trace_ended").size(), 1U);
}

TEST(Trace, WhatCannotBeIsRefusedAtTheStart) {
  const TempDir dir;
  const auto start = [&dir](const std::vector<std::string>& args) {
    std::vector<std::string> argv{program("mserve-broker"), "--name", "untraced", "--dir",
                                  dir.path()};
    argv.insert(argv.end(), args.begin(), args.end());
    return run_to_end(argv);
  };
  const Output nowhere = start({"--trace", "/nonexistent/trace.csv"});
  EXPECT_EQ(nowhere.exit_code, 1);
  EXPECT_NE(nowhere.err.find("--trace: cannot write /nonexistent/trace.csv: No such file"),
            std::string::npos)
      << nowhere.err;
  const std::pair<std::vector<std::string>, const char*> faults[] = {
      {{"--trace-every", "0"}, "--trace-every: 1 or more"},
      {{"--trace-max", "1k"}, "--trace-max: 64k or more, not 1k"},
      {{"--slow", "soon"}, "'soon' is not a time such as 500us"}};
  for (const auto& [args, fault] : faults) {
    const Output output = start(args);
    EXPECT_EQ(output.exit_code, 2) << fault;
    EXPECT_NE(output.err.find(fault), std::string::npos) << output.err;
  }
}

/// The block of broker/README.md that begins so.
std::string block_of_readme(const std::string& begin) {
  const std::string text = read_file(std::string(MSERVE_TEST_SOURCE_DIR) + "/../broker/README.md");
  const std::size_t from = text.find("```python\n" + begin);
  EXPECT_NE(from, std::string::npos);
  const std::size_t first = text.find('\n', from) + 1;
  return text.substr(first, text.find("```", first) - first);
}

TEST(Trace, TheExampleOfTheReadmeReadsIt) {
  if (run_to_end({"python3", "-c", ""}).exit_code != 0) {
    GTEST_SKIP() << "there is no python3, which the example is written in";
  }
  const TempDir dir;
  const std::string file = dir.file("requests.csv");
  Broker broker(broker_with({"--trace", file, "--trace-every", "1"}));
  RawPeer servant = raw_servant(broker, "the-one");
  Client client = broker.client();
  const std::uint64_t id = send_opaque(client, pattern(3));
  answer_late(servant, 5);
  EXPECT_EQ(await(client, id).status, Errc::ok);
  broker.stop();
  std::string script = block_of_readme("import csv");
  const std::size_t name = script.find("requests.csv");
  ASSERT_NE(name, std::string::npos);
  const Output output = run_to_end({"python3", "-c", script.replace(name, 12, file)});
  EXPECT_EQ(output.exit_code, 0) << output.err;
  EXPECT_NE(output.out.find("the-one"), std::string::npos) << output.out;
}

}  // namespace
}  // namespace mserve::test
