// SPDX-License-Identifier: Apache-2.0
// Random clients, servants and deaths for a while; afterwards every account must balance.
#include <gtest/gtest.h>

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <iostream>
#include <optional>
#include <random>
#include <stdexcept>
#include <thread>
#include <unordered_map>

#include "mserve/shm/clock.hpp"
#include "support/requests.hpp"
#include "support/seed.hpp"

namespace mserve::test {
namespace {

/// Seconds of one soak: MSERVE_SOAK_SECONDS, else 15.
std::uint64_t soak_ns() {
  const char* const given = std::getenv("MSERVE_SOAK_SECONDS");
  const std::uint64_t seconds = given != nullptr ? std::strtoull(given, nullptr, 10) : 15;
  return seconds * 1'000'000'000;
}

/// What all clients saw together.
struct Totals {
  std::atomic<std::uint64_t> submitted{0};
  std::atomic<std::uint64_t> completed{0};
  std::atomic<std::uint64_t> ok{0};
  std::atomic<std::uint64_t> died{0};
  std::atomic<std::uint64_t> other{0};
};

std::size_t random_size(std::mt19937_64& random) {
  switch (random() % 16) {
    case 0:
      return random() % 2'000'000;
    case 1:
    case 2:
      return random() % 300'000;
    case 3:
    case 4:
      return random() % 20'000;
    default:
      return random() % 200;
  }
}

/// Sends and receives at random until the time is over, then waits for the rest.
void run_client(const Broker& broker, std::uint64_t seed, std::uint64_t until, Totals& totals) {
  std::mt19937_64 random(seed);
  Client client = broker.client();
  std::unordered_map<std::uint64_t, Bytes> in_flight;
  const auto take = [&](const Reply& reply) {
    const auto found = in_flight.find(reply.id);
    ASSERT_NE(found, in_flight.end()) << "answered twice, or never asked: " << reply.id;
    if (reply.status == Errc::ok) {
      EXPECT_TRUE(std::equal(reply.payload.begin(), reply.payload.end(), found->second.begin(),
                             found->second.end()));
      totals.ok.fetch_add(1, std::memory_order_relaxed);
    } else if (reply.status == Errc::servant_died || reply.status == Errc::no_servant) {
      totals.died.fetch_add(1, std::memory_order_relaxed);
    } else {
      ADD_FAILURE() << to_string(reply.status);
      totals.other.fetch_add(1, std::memory_order_relaxed);
    }
    in_flight.erase(found);
    totals.completed.fetch_add(1, std::memory_order_relaxed);
  };
  while (!::testing::Test::HasFailure() && (shm::steady_now() < until || !in_flight.empty())) {
    if (shm::steady_now() < until && in_flight.size() < 8 && random() % 3 != 0) {
      Bytes payload = pattern(random_size(random), static_cast<std::uint32_t>(random()));
      SendOptions options;
      options.opaque = true;
      options.route = random() % 5;
      options.repeatable = random() % 2 == 0;
      options.want_info = random() % 2 == 0;
      const auto id = client.send(payload, options, watchdog());
      ASSERT_TRUE(id) << to_string(id.error().code) << " " << client.last_failure();
      totals.submitted.fetch_add(1, std::memory_order_relaxed);
      ASSERT_TRUE(in_flight.emplace(id.value(), std::move(payload)).second);
    } else if (!in_flight.empty()) {
      ASSERT_EQ(client.wait(watchdog()), Errc::ok);
    }
    client.poll_each(take);
  }
  EXPECT_EQ(client.in_flight(), 0U);
}

/// Clients that attach, ask and go away without waiting for anything.
void run_deserters(const Broker& broker, std::uint64_t seed, std::uint64_t until) {
  std::mt19937_64 random(seed);
  while (!::testing::Test::HasFailure() && shm::steady_now() < until) {
    std::optional<RawPeer> attached;
    try {
      attached.emplace(raw_client(broker));
    } catch (const std::runtime_error&) {
      let_pass(1'000'000);  // every session is taken: the broker has not yet buried the last ones
      continue;
    }
    RawPeer& peer = *attached;
    const std::uint64_t requests = random() % 20;
    for (std::uint64_t id = 1; id <= requests; ++id) {
      shm::FrameHeader request;
      request.id = id;
      request.flags = shm::kFlagOpaque;
      const Bytes payload = pattern(1 + random() % 4000);
      if (random() % 4 == 0) {
        (void)peer.fragment(request, 0, payload.size() + 1 + random() % 1'000'000, payload);
      } else {
        (void)peer.send(request, {}, payload);
      }
    }
    let_pass(random() % 3'000'000);
    peer.vanish();
  }
}

TEST(Soak, EveryRequestCompletesOnceWhileRandomPeersDie) {
  std::mt19937_64 random(seed());
  BrokerSetup setup;
  setup.args = {"--policy",
                random() % 2 == 0 ? "match" : "even",
                "--stall-timeout",
                "20s",
                "--max-pending-bytes",
                "64m",
                "--max-queue-bytes",
                "64m"};
  setup.servants = 3;
  setup.servant_args = "--rows 0";
  const Broker broker(setup);
  broker.wait_for_counter("sessions", 3);
  const std::size_t descriptors = broker.descriptors();
  const std::uint64_t until = shm::steady_now() + soak_ns();
  Totals totals;
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&, seed = random()] { run_client(broker, seed, until, totals); });
  }
  threads.emplace_back([&, seed = random()] { run_deserters(broker, seed, until); });
  while (shm::steady_now() < until && !HasFailure()) {
    let_pass(100'000'000 + random() % 300'000'000);
    const std::vector<pid_t> servants = broker.launched();
    if (!servants.empty()) {
      const pid_t victim = servants[random() % servants.size()];
      (void)::kill(victim, random() % 3 == 0 ? SIGTERM : SIGKILL);
    }
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  std::cout << "submitted " << totals.submitted << " ok " << totals.ok << " died " << totals.died
            << '\n';
  EXPECT_EQ(totals.submitted, totals.completed);
  EXPECT_GT(totals.ok, 0U);
  broker.wait_for_counter("queued", 0);
  broker.wait_for_counter("running", 0);
  broker.wait_for_counter("sessions", broker.counter("servants").value_or(0));
  broker.wait_for_counter("servants", 3);
  EXPECT_TRUE(wait_until([&] { return broker.descriptors() == descriptors; },
                         "descriptors to be as at the start"))
      << descriptors << " then, " << broker.descriptors() << " now";
  for (const std::string& line : broker.log_lines("closed ")) {
    ADD_FAILURE() << line;
  }
  Client client = broker.client();
  expect_echo(client, pattern(2'000'000));
}

}  // namespace
}  // namespace mserve::test
