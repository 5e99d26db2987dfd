// SPDX-License-Identifier: Apache-2.0
// mserve-test-soak: load with random faults for a while, then the balance. Test code, never
// installed; tests/soak.sh builds and starts it.
#include <gtest/gtest.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cstdio>
#include <iomanip>
#include <iostream>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "mserve/shm/clock.hpp"
#include "soak/books.hpp"
#include "soak/load.hpp"
#include "soak/site.hpp"
#include "soak/victims.hpp"
#include "support/sanitized.hpp"
#include "support/test_gateway.hpp"
#include "support/wait.hpp"

namespace mserve::test {
namespace {

constexpr const char* kAbout =
    "Load through a real broker, with launched servants, shims and q stand-ins, while random\n"
    "faults are injected; then a balance of every request and of what was left over.\n"
    "Exit status: 0 when nothing was lost, duplicated, wrong or left over; else 1.";

constexpr std::uint64_t kSecond = 1'000'000'000;
constexpr std::uint64_t kMs = 1'000'000;
constexpr std::uint64_t kTellEveryNs = 5 * kSecond;
constexpr std::size_t kLibraryClients = 4;  // the last of them may fall back to TCP
constexpr std::size_t kGatewayClients = 2;
/// Private memory that a broker may gain from the time when it has settled until the end.
constexpr std::size_t kGrowthMax = 32ULL << 20;

struct Options {
  std::uint64_t seconds = 20;
  std::uint64_t seed = 0;
  std::string victim{};
  VictimOptions where{};
};

/// Broker restarts are rarer than the rest: everything else is about a broker that lives.
Fault random_fault(std::mt19937_64& random, bool restarts) {
  if (restarts && random() % 48 == 0) {
    return random() % 2 == 0 ? Fault::kill_broker : Fault::stop_broker;
  }
  constexpr std::array<Fault, 8> kUsual = {
      Fault::kill_client, Fault::kill_servant, Fault::term_servant,   Fault::kill_shim,
      Fault::kill_q,      Fault::stop_and_go,  Fault::hostile_client, Fault::hostile_servant};
  return kUsual[random() % kUsual.size()];
}

class Soak {
 public:
  explicit Soak(const Options& options)
      : options_(options),
        random_(options.seed),
        site_(unused_port(), random_),
        load_{.books = books_, .port = site_.port()} {
    for (std::size_t i = 0; i < kLibraryClients; ++i) {
      ClientOptions client;
      client.retry_ns_max = 50 * kMs;
      clients_.push_back(std::make_unique<LibraryClient>(
          site_.connect(client, /*also_by_tcp=*/i + 1 == kLibraryClients), random_()));
    }
    whole_again();
    before_ = site_.holdings();
  }

  bool run() {
    std::vector<std::thread> threads;
    for (const auto& client : clients_) {
      threads.emplace_back([&] { client->run(load_); });
    }
    for (std::size_t i = 0; i < kGatewayClients; ++i) {
      threads.emplace_back([&, seed = random_()] { run_gateway_client(load_, seed); });
    }
    torment();
    site_.calm_down();
    load_.stop.store(true, std::memory_order_relaxed);  // seen sooner or later
    for (std::thread& thread : threads) {
      thread.join();
    }
    whole_again();
    return tell();
  }

 private:
  void whole_again() {
    for (const auto& client : clients_) {
      client->expect_service(site_.broker().name());
    }
    site_.wait_until_whole(clients_.size());
  }

  void torment() {
    const std::uint64_t begin = shm::steady_now();
    const std::uint64_t end = begin + options_.seconds * kSecond;
    // From here on the broker lives to the end, so that what it gains shows; settled after a while.
    const std::uint64_t last_restart = begin + options_.seconds * kSecond * 6 / 10;
    const std::uint64_t settled = begin + options_.seconds * kSecond * 7 / 10;
    std::uint64_t told = begin;
    std::vector<Fault> first = every_fault();
    for (std::uint64_t now = begin; now < end && !::testing::Test::HasFailure();
         now = shm::steady_now()) {
      if (!first.empty()) {
        site_.inject(first.back(), books_);
        first.pop_back();
      } else {
        site_.inject(random_fault(random_, now < last_restart), books_);
      }
      const std::uint64_t next =
          shm::steady_now() + (20 + random_() % 150) * kMs * (kSanitized ? 4 : 1);
      while (shm::steady_now() < next) {
        let_pass(10 * kMs);
        site_.tend();
      }
      if (settled_bytes_ == 0 && now >= settled) {
        settled_bytes_ = private_bytes_of(site_.broker().pid());
      }
      if (now - told >= kTellEveryNs) {
        told = now;
        std::cout << "  " << (now - begin) / kSecond << " s: " << books_.faults() << " faults, "
                  << books_.count_sent() << " requests sent, " << books_.count_answered()
                  << " answered, " << books_.count_failed() << " failed\n"
                  << std::flush;
      }
    }
  }

  /// Each kind but the clients' own once, so that even a short soak has them all.
  std::vector<Fault> every_fault() {
    std::vector<Fault> all;
    for (std::size_t i = 0; i < kFaults; ++i) {
      if (static_cast<Fault>(i) != Fault::hang_up) {
        all.push_back(static_cast<Fault>(i));
      }
    }
    std::shuffle(all.begin(), all.end(), random_);
    return all;
  }

  /// Prints the balance. @return whether it is one.
  bool tell() {
    std::size_t differences = 0;
    for (std::size_t i = 0; i < before_.size(); ++i) {
      bool same = false;
      (void)wait_until([&] { return same = site_.holdings()[i] == before_[i]; },
                       i == 0 ? "the broker to hold what it held" : "a shim to hold what it held");
      if (!same) {
        ++differences;
        std::cout << "before: " << before_[i] << "\nafter:  " << site_.holdings()[i] << '\n';
      }
    }
    const std::size_t bytes = private_bytes_of(site_.broker().pid());
    const bool grew = !kSanitized && settled_bytes_ != 0 && bytes > settled_bytes_ + kGrowthMax;
    const std::uint64_t unaccounted = site_.unaccounted();
    site_.broker().stop();
    const std::size_t objects = site_.broker().shared_objects();
    const std::size_t sockets = count_entries(site_.broker().directory(), ".sock");
    std::cout << books_.table() << "  taken by the last broker, and by its counters neither\n"
              << "  answered, failed nor discarded        " << std::setw(12) << unaccounted << '\n'
              << "leaks\n"
              << "  descriptors, segments, sessions of broker and shims: " << differences << '\n'
              << "  shared memory objects, sockets after the end: " << objects << ", " << sockets
              << '\n'
              << "  private memory of the broker: " << (settled_bytes_ >> 10)
              << " KiB when settled, " << (bytes >> 10) << " KiB at the end"
              << (grew ? ": it grows" : "") << '\n'
              << "  private memory of this program: " << (private_bytes_of(getpid()) >> 10)
              << " KiB\n";
    return books_.balanced() && unaccounted == 0 && differences == 0 && !grew && objects == 0 &&
           sockets == 0 && !::testing::Test::HasFailure();
  }

  Options options_;
  std::mt19937_64 random_;
  SoakBooks books_;
  Site site_;
  Load load_;
  std::vector<std::unique_ptr<LibraryClient>> clients_;
  std::vector<Holdings> before_;
  std::size_t settled_bytes_ = 0;
};

bool soak(const Options& options) {
  std::cout << "seed " << options.seed << "; replay: mserve-test-soak --seed " << options.seed
            << " --seconds " << options.seconds << '\n'
            << std::flush;
  const bool balanced = Soak(options).run() && !::testing::Test::HasFailure();
  std::cout << (balanced ? "balanced" : "NOT BALANCED") << ", seed " << options.seed << '\n';
  return balanced;
}

}  // namespace
}  // namespace mserve::test

int main(int argc, char** argv) try {
  ::testing::InitGoogleTest(&argc, argv);  // what checks inside the parts report to
  mserve::test::Options options;
  options.seed = std::random_device{}();
  CLI::App app(mserve::test::kAbout, "mserve-test-soak");
  app.add_option("--seconds", options.seconds, "How long")
      ->check(CLI::Range(1, 7 * 24 * 3600))
      ->capture_default_str();
  app.add_option("--seed", options.seed, "Of everything that is random [a fresh one]");
  app.add_option("--victim", options.victim, "Be a process to be killed; the soak's own")
      ->group("");
  app.add_option("--dir", options.where.directory)->group("");
  app.add_option("--broker", options.where.broker)->group("");
  CLI11_PARSE(app, argc, argv);
  if (!options.victim.empty()) {
    options.where.seed = options.seed;
    return mserve::test::run_victim(options.victim, options.where);
  }
  return mserve::test::soak(options) ? 0 : 1;
} catch (const std::exception& e) {
  std::fprintf(stderr, "mserve-test-soak: %s\n", e.what());
  return 1;
}
