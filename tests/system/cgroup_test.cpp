// SPDX-License-Identifier: Apache-2.0
// A broker in a control group with little memory, as MemoryMax= of its unit makes one. There the
// kernel refuses nothing: it kills. A bound below the limit refuses first.
#include "support/cgroup.hpp"

#include <gtest/gtest.h>

#include <csignal>

#include "support/requests.hpp"
#include "support/sanitized.hpp"

namespace mserve::test {
namespace {

constexpr std::uint64_t kGroupBytes = 64ULL << 20;
constexpr std::uint32_t kClientRing = 1U << 20;
/// Their rings alone are more than kGroupBytes.
constexpr std::size_t kTooMany = kGroupBytes / kClientRing;

class OutOfMemoryInACgroup : public ::testing::Test {
 protected:
  void SetUp() override {
    if (kSanitized) {
      GTEST_SKIP() << "a sanitizer's own memory is more than the limit";
    }
    if (!group_.missing().empty()) {
      GTEST_SKIP() << group_.missing();
    }
  }

  [[nodiscard]] BrokerSetup setup(std::vector<std::string> args, int servants) const {
    BrokerSetup setup = broker_with(std::move(args), servants);
    setup.env = {{"MIMALLOC_ARENA_EAGER_COMMIT", "0"}};  // only what is used counts
    setup.prepare = [this] { group_.enter(); };
    return setup;
  }

  static Result<Client> attach(const Broker& broker, std::string& reason) {
    ClientOptions options;
    options.broker = broker.name();
    options.directory = broker.directory();
    options.ring_bytes = kClientRing;
    return Client::connect(options, &reason);
  }

  SmallCgroup group_{kGroupBytes};
};

TEST_F(OutOfMemoryInACgroup, ABoundBelowItsLimitRefusesNewcomersAndNobodyIsKilled) {
  const Broker broker(setup({"--max-shared-bytes", "24m", "--max-queue-bytes", "4m"}, 1));
  std::vector<Client> clients;
  std::string reason;
  Result<Client> made = attach(broker, reason);
  for (; made && clients.size() < kTooMany; made = attach(broker, reason)) {
    clients.push_back(std::move(made).value());
  }
  EXPECT_EQ(made.error().code, Errc::no_memory) << to_string(made.error().code);
  EXPECT_NE(reason.find("--max-shared-bytes"), std::string::npos) << reason;
  ASSERT_FALSE(clients.empty());
  for (Client& client : clients) {
    expect_echo(client, pattern(kClientRing / 8));
  }
  EXPECT_EQ(group_.events("oom_kill"), 0U);
}

TEST_F(OutOfMemoryInACgroup, WithoutOneTheKernelKillsAndTheNextBrokerServesWhoIsLeft) {
  Broker broker(setup({}, 0));
  Process servant = broker.spawn_servant("outside", {"--rows", "0"});
  (void)broker.wait_for_log("attached servant=outside");
  Client witness = broker.client();
  expect_echo(witness, pattern(100));
  std::vector<Client> clients;
  std::string reason;
  for (Result<Client> made = attach(broker, reason); made && clients.size() < kTooMany;
       made = attach(broker, reason)) {
    clients.push_back(std::move(made).value());
  }
  EXPECT_EQ(broker.process().wait(), 128 + SIGKILL) << broker.log();
  EXPECT_GE(group_.events("oom_kill"), 1U);
  EXPECT_TRUE(broker.log_lines("stopped").empty()) << "it had no time to say anything";
  clients.clear();  // their rings stay in that group until they leave
  broker.start();
  EXPECT_TRUE(wait_until([&] { return status_of(call_opaque(witness, pattern(100))) == Errc::ok; },
                         "servant and client to attach to the next broker"));
  broker.stop();
}

}  // namespace
}  // namespace mserve::test
