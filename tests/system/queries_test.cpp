// SPDX-License-Identifier: Apache-2.0
// What is remembered of queries, as operators see it.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "system/ctl_setup.hpp"
#include "system/gateway_setup.hpp"

namespace mserve::test {
namespace {

TEST(Queries, OfTheGatewayAreShownWithLbtsColumns) {
  const Broker broker(with_gateway({}, 1));
  RawClient client = connect(broker);
  send_with_id(client, 17, "echo 42");
  ASSERT_TRUE(client.receive());
  EXPECT_TRUE(client.query(text("echo `IBM")));
  const boost::json::array rows = rows_of(broker, {"queries"});
  ASSERT_EQ(rows.size(), 2U);
  const boost::json::object& first = rows[0].as_object();
  const std::vector<std::string> lbt = {
      "qid",           "query",         "client_qid",   "client_options",
      "client_handle", "time_received", "time_sent",    "time_returned",
      "route",         "backlog",       "slave_handle", "location"};
  std::vector<std::string> columns;
  for (const auto& [column, value] : first) {
    columns.emplace_back(column);
  }
  ASSERT_GE(columns.size(), lbt.size());
  EXPECT_EQ(std::vector<std::string>(columns.begin(), columns.begin() + 12), lbt);
  EXPECT_EQ(first.at("query"), "echo 42");
  EXPECT_EQ(first.at("client_qid"), 17);
  EXPECT_EQ(first.at("route"), "42");
  EXPECT_EQ(first.at("location"), "client");
  EXPECT_EQ(std::to_string(first.at("slave_handle").as_int64()),
            number_of(broker, "mserve-servant-1"));
  EXPECT_LE(text_in(rows[0], "time_received"), text_in(rows[0], "time_sent"));
  EXPECT_LE(text_in(rows[0], "time_sent"), text_in(rows[0], "time_returned"));
  EXPECT_TRUE(rows[1].at("time_sent").is_null()) << "a sync query does not ask for it";
  EXPECT_EQ(rows[1].at("user"), "bob");
  ASSERT_EQ(rows_of(broker, {"queries", "-n", "1"}).size(), 1U);
  EXPECT_EQ(rows_of(broker, {"queries", "-n", "1"})[0].at("qid"), rows[1].at("qid"));
  EXPECT_TRUE(rows_of(broker, {"queries", "-n", "0"}).empty());
  const Output shown = stat(broker, {"queries"});
  EXPECT_EQ(shown.out.rfind("qid query", 0), 0U) << shown.out;
}

TEST(Queries, AreForgottenByNumberAndByAge) {
  const Broker few(with_gateway({"--query-log", "3"}, 1));
  RawClient client = connect(few);
  for (int i = 0; i < 5; ++i) {
    EXPECT_TRUE(client.query(text("echo " + std::to_string(i))));
  }
  const boost::json::array rows = rows_of(few, {"queries"});
  ASSERT_EQ(rows.size(), 3U);
  EXPECT_EQ(rows[0].at("query"), "echo 2");
  const Broker brief(with_gateway({"--purge", "1ms"}, 1));
  RawClient other = connect(brief);
  EXPECT_TRUE(other.query(text("echo 1")));
  EXPECT_TRUE(wait_until([&] { return rows_of(brief, {"queries"}).empty(); }, "it to be purged"));
}

TEST(Queries, AreOfAGatewayAndABrokerWithoutOneSaysSo) {
  const Broker broker;
  const Output output = stat(broker, {"queries"});
  EXPECT_EQ(output.exit_code, 1);
  EXPECT_EQ(output.err,
            "mserve-stat: queries are those of kdb+ connections, and this broker takes none: start "
            "it with -p PORT\n");
}

TEST(Queries, AreShownByAGatewayThreadOfItsOwnAndByTheDataThread) {
  for (const char* const thread : {"own", "data"}) {
    const Broker broker(with_gateway({"--gateway-thread", thread}, 1));
    RawClient client = connect(broker);
    EXPECT_TRUE(client.query(text("echo 1")));
    EXPECT_EQ(rows_of(broker, {"queries"}).size(), 1U) << thread;
  }
}

TEST(Queries, AreShownAThousandAtMostWhereTheirTableMakesRequestsWait) {
  constexpr std::size_t kAsked = 1010;
  for (const char* const thread : {"own", "data"}) {
    const Broker broker(with_gateway({"--gateway-thread", thread, "--query-log", "2000"}, 1));
    RawClient client = connect(broker);
    for (std::size_t i = 0; i < kAsked; ++i) {
      ASSERT_TRUE(client.query(text("echo 1")));
    }
    const bool own = std::string(thread) == "own";
    const Output output = stat(broker, {"queries", "-n", "5000", "--json"});
    EXPECT_EQ(boost::json::parse(output.out).as_array().size(), own ? kAsked : 1000U) << thread;
    EXPECT_EQ(output.err.find("no more than 1000 at once") == std::string::npos, own) << output.err;
    EXPECT_EQ(stat(broker, {"queries", "-n", "1000"}).err, "") << thread;
  }
}

}  // namespace
}  // namespace mserve::test
