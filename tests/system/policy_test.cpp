// SPDX-License-Identifier: Apache-2.0
// Who runs what, counted from the info dictionaries of real answers.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "support/requests.hpp"

namespace mserve::test {
namespace {

const std::vector<std::string> kSymbols{"GS", "AAPL", "BA", "VOD", "MSFT", "GOOG", "IBM", "UBS"};

/// How many requests of each symbol each servant ran.
using Tally = std::map<std::string, std::map<std::string, int>>;  // servant -> symbol -> count

/// The servant that an answer's info dictionary names.
std::string qsvr_of(const Answer& answer) {
  const auto qsvr = answer.info.find("qsvr");
  EXPECT_TRUE(qsvr.has_value());
  return qsvr ? std::string(qsvr->text_view().value_or("")) : std::string();
}

/// Sends `count` requests, symbols in turn, at most `at_once` in flight.
Tally run_requests(const Broker& broker, int count, std::size_t at_once) {
  Tally tally;
  Client client = broker.client();
  std::map<std::uint64_t, std::string> symbol_of;
  int sent = 0;
  int answered = 0;
  const auto take = [&](const mserve::Reply& reply) {
    const std::string symbol = symbol_of[reply.id];
    const auto answer = answer_of(reply, symbol);
    ASSERT_TRUE(answer) << to_string(answer.error().code);
    EXPECT_FALSE(answer.value().is_error());
    ++tally[qsvr_of(answer.value())][symbol];
    ++answered;
  };
  while (answered < count && !::testing::Test::HasFailure()) {
    while (sent < count && client.in_flight() < at_once) {
      const std::string symbol = kSymbols[static_cast<std::size_t>(sent) % kSymbols.size()];
      const auto id = send_query(client, make_query("proc1 `" + symbol, client), {}, watchdog());
      EXPECT_TRUE(id);
      symbol_of[id.value()] = symbol;
      ++sent;
    }
    // All of a batch before the next: then every servant is free when it begins.
    while (client.in_flight() > 0 && !::testing::Test::HasFailure()) {
      EXPECT_EQ(client.wait(watchdog()), Errc::ok);
      client.poll_each(take);
    }
  }
  EXPECT_EQ(answered, count);
  return tally;
}

BrokerSetup eight_servants(std::vector<std::string> args) {
  BrokerSetup setup;
  setup.args = std::move(args);
  setup.servants = 8;
  return setup;
}

TEST(Policy, MatchThatWaitsForEverRunsEachSymbolOnOneServant) {
  const Broker broker(eight_servants({"--policy", "match", "--match-wait", "inf"}));
  const Tally tally = run_requests(broker, 400, 400);
  std::map<std::string, std::set<std::string>> servants_of;
  for (const auto& [servant, symbols] : tally) {
    for (const auto& [symbol, count] : symbols) {
      servants_of[symbol].insert(servant);
    }
  }
  EXPECT_EQ(servants_of.size(), kSymbols.size());
  for (const auto& [symbol, servants] : servants_of) {
    EXPECT_EQ(servants.size(), 1U) << symbol;
  }
}

TEST(Policy, MatchThatNeverWaitsStillAnswersEverything) {
  const Broker broker(eight_servants({"--policy", "match", "--match-wait", "0"}));
  int total = 0;
  for (const auto& [servant, symbols] : run_requests(broker, 400, 400)) {
    for (const auto& [symbol, count] : symbols) {
      total += count;
    }
  }
  EXPECT_EQ(total, 400);
}

TEST(Policy, EvenSpreadsWithinOneRequestOfEqual) {
  // Eight at a time: every servant is free when a batch begins, so that only the order decides.
  const Broker broker(eight_servants({"--policy", "even"}));
  const Tally tally = run_requests(broker, 400, 8);
  ASSERT_EQ(tally.size(), 8U);
  for (const auto& [servant, symbols] : tally) {
    int count = 0;
    for (const auto& [symbol, n] : symbols) {
      count += n;
    }
    EXPECT_NEAR(count, 50, 1) << servant;
  }
}

TEST(Policy, EvenUsesEveryServantWhenAllIsInFlightAtOnce) {
  const Broker broker(eight_servants({"--policy", "even"}));
  EXPECT_EQ(run_requests(broker, 400, 400).size(), 8U);
}

TEST(Policy, OrigRunsOneAfterTheOtherOnTheFirstServant) {
  const Broker broker(eight_servants({"--policy", "orig"}));
  EXPECT_EQ(run_requests(broker, 400, 1).size(), 1U);
}

TEST(Policy, OrigUsesTheFirstThatIsFree) {
  BrokerSetup setup;
  setup.args = {"--policy", "orig"};
  const Broker broker(setup);
  RawPeer first = raw_servant(broker, "first");
  RawPeer second = raw_servant(broker, "second");
  broker.wait_for_counter("servants", 2);
  Client client = broker.client();
  const Bytes payload = bytes_of("x");
  const std::uint64_t one = send_opaque(client, payload, {.want_info = true});
  const auto held = first.take();
  ASSERT_TRUE(held);
  const std::uint64_t two = send_opaque(client, payload, {.want_info = true});
  const auto next = second.take();  // the first is busy
  ASSERT_TRUE(next);
  EXPECT_TRUE(first.reply(held->header.id, payload));
  EXPECT_EQ(servant_of(await(client, one)), "first");
  const std::uint64_t three = send_opaque(client, payload, {.want_info = true});
  const auto again = first.take();
  ASSERT_TRUE(again);
  EXPECT_TRUE(first.reply(again->header.id, payload));
  EXPECT_TRUE(second.reply(next->header.id, payload));
  EXPECT_EQ(servant_of(await(client, three)), "first");
  EXPECT_EQ(servant_of(await(client, two)), "second");
}

}  // namespace
}  // namespace mserve::test
