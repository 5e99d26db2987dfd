// SPDX-License-Identifier: Apache-2.0
// A broker with a crowd around it is killed and comes back: everybody attaches again unasked.
#include <gtest/gtest.h>

#include <csignal>

#include "support/requests.hpp"
#include "support/test_gateway.hpp"

namespace mserve::test {
namespace {

constexpr std::size_t kClients = 100;
constexpr std::size_t kServants = 10;

TEST(BrokerBack, AHundredClientsAndTenServantsAttachAgainAndEachRequestEndsOnce) {
  const std::string port = std::to_string(unused_port());
  BrokerSetup setup;
  setup.args = {"-p", port, "--retries", "1"};
  Broker broker(setup);
  std::vector<Process> servants;
  for (std::size_t i = 0; i < kServants; ++i) {
    servants.push_back(broker.spawn_servant("s" + std::to_string(i), {"--rows", "0"}));
  }
  (void)broker.wait_for_log(" gateway port=");
  broker.wait_for_counter("servants", kServants);
  const std::uint64_t others = *broker.counter("sessions") - kServants;  // the gateway's
  std::vector<Client> clients;
  for (std::size_t i = 0; i < kClients; ++i) {
    ClientOptions options;
    options.retry_ns_max = 50'000'000;
    clients.push_back(broker.client(options));
    expect_echo(clients.back(), pattern(50));
  }
  // Those with a gateway among their endpoints keep what is repeatable, to send it again.
  std::vector<Client> keeping;
  for (std::size_t i = 0; i < 5; ++i) {
    auto made = Client::connect(
        ClientOptions{.broker = "tcp://bob:pw@127.0.0.1:" + port, .retry_ns_max = 50'000'000});
    ASSERT_TRUE(made) << to_string(made.error().code);
    keeping.push_back(std::move(made).value());
  }

  broker.process().signal(SIGSTOP);  // so that requests of everybody are on their way
  std::vector<std::uint64_t> ids;
  for (Client& client : clients) {
    ids.push_back(send_opaque(client, pattern(60), {.repeatable = ids.size() % 2 == 0}));
  }
  const Bytes query = make_query("echo 42", keeping.front()).object;
  std::vector<std::uint64_t> kept_ids;
  for (Client& client : keeping) {
    const auto id = client.send(query, {.repeatable = kept_ids.size() % 2 == 0}, watchdog());
    ASSERT_TRUE(id);
    kept_ids.push_back(id.value());
  }
  broker.kill();
  broker.start();
  // Clients attach when they are used next. Before any servant is back they would be told so.
  broker.wait_for_counter("servants", kServants);
  for (std::size_t i = 0; i < kClients; ++i) {
    EXPECT_EQ(await(clients[i], ids[i]).status, Errc::disconnected) << i;
  }
  for (std::size_t i = 0; i < keeping.size(); ++i) {
    const auto reply = await(keeping[i], kept_ids[i]);
    EXPECT_EQ(reply.status, i % 2 == 0 ? Errc::ok : Errc::disconnected)
        << i << ": " << to_string(reply.status);
  }
  for (Client& client : clients) {
    EXPECT_TRUE(wait_until([&] { return status_of(call_opaque(client, pattern(70))) == Errc::ok; },
                           "a client to attach by itself"));
    EXPECT_EQ(client.in_flight() + client.unread(), 0U);
  }
  broker.wait_for_counter("sessions", others + kServants + kClients);
  EXPECT_EQ(broker.counter("closed_total"), 0U);
  EXPECT_EQ(broker.counter("errors"), 0U);
  for (Process& servant : servants) {
    EXPECT_FALSE(servant.ended()) << "it was to attach again, not to end";
  }
}

}  // namespace
}  // namespace mserve::test
