// SPDX-License-Identifier: Apache-2.0
// LBT's example 04dispatch, and the check of its results: who ran what.
#include <gtest/gtest.h>

#include <array>
#include <iostream>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "system/ctl_setup.hpp"
#include "system/gateway_setup.hpp"

namespace mserve::test {
namespace {

/// Whether the client's timer asks on while the query before runs.
enum class Timer { quick, slow };

/// Runs LBT's example: eight servants, and a client whose timer asks for one of eight symbols in
/// turn. @return routes and their counts by servant: select count i by slave_handle, route from
/// queries.
std::map<std::int64_t, std::map<std::string, int>> dispatch_example(
    const std::vector<std::string>& args, int rounds, Timer timer) {
  constexpr std::array kSymbols = {"GS", "AAPL", "BA", "VOD", "MSFT", "GOOG", "IBM", "UBS"};
  const Broker broker(with_gateway(args, static_cast<int>(kSymbols.size())));
  broker.wait_for_counter("servants", kSymbols.size());
  RawClient client = connect(broker);
  int id = 0;
  for (int round = 0; round < rounds; ++round) {
    for (const char* const symbol : kSymbols) {
      send_with_id(client, ++id, "proc1 `" + std::string(symbol));
      EXPECT_TRUE(timer == Timer::quick || client.receive());
    }
  }
  for (int answer = 0; timer == Timer::quick && answer < id; ++answer) {
    EXPECT_TRUE(client.receive());
  }
  std::map<std::int64_t, std::map<std::string, int>> table;
  for (const boost::json::value& row : rows_of(broker, {"queries", "-n", std::to_string(2 * id)})) {
    EXPECT_EQ(row.at("status"), "ok");
    ++table[row.at("slave_handle").as_int64()][text_in(row, "route")];
  }
  std::cout << "slave_handle| route x count\n------------| -------------\n";
  for (const auto& [servant, routes] : table) {
    std::cout << servant << "\t    |";
    for (const auto& [route, count] : routes) {
      std::cout << " `" << route << " x " << count;
    }
    std::cout << '\n';
  }
  return table;
}

class DispatchExample : public ::testing::TestWithParam<Timer> {};

TEST_P(DispatchExample, UnderMatchEachSymbolStaysOnOneServant) {
  constexpr int kRounds = 8;
  const auto table = dispatch_example(
      {"--policy", "match", "--match-wait", "inf", "--route-expire", "inf"}, kRounds, GetParam());
  ASSERT_EQ(table.size(), 8U) << "as many servants as symbols, so nobody idles";
  std::set<std::string> seen;
  for (const auto& [servant, routes] : table) {
    ASSERT_EQ(routes.size(), 1U) << "servant " << servant;
    EXPECT_EQ(routes.begin()->second, kRounds);
    seen.insert(routes.begin()->first);
  }
  EXPECT_EQ(seen.size(), 8U);
}

INSTANTIATE_TEST_SUITE_P(Each, DispatchExample, ::testing::Values(Timer::quick, Timer::slow),
                         [](const auto& timer) {
                           return timer.param == Timer::quick ? "Quick" : "Slow";
                         });

TEST(DispatchExampleCompared, UnderOrigAllSymbolsMeetOnTheFirstServant) {
  // The check above can fail: this is what it looks like where the policy ignores routes.
  const auto table = dispatch_example({"--policy", "orig"}, 2, Timer::slow);
  ASSERT_EQ(table.size(), 1U);
  EXPECT_EQ(table.begin()->second.size(), 8U);
}

}  // namespace
}  // namespace mserve::test
