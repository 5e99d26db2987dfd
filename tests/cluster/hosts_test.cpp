// SPDX-License-Identifier: Apache-2.0
// Goal: five hosts, three of them with etcd, brokers in two zones and a second region. Whatever is
// taken away, each
//   request is answered once or failed once with a reason, others go on, and a drain loses nothing.
// Method: each host is a network namespace at one switch. Clients ask without a pause while a
// broker, a link, an etcd
//   node, the majority of etcd and a zone go, one after the other.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <csignal>
#include <cstdlib>
#include <iostream>
#include <map>
#include <memory>
#include <mutex>
#include <thread>

#include "cluster/etcd_process.hpp"
#include "mserve/client/query.hpp"
#include "mserve/shm/clock.hpp"
#include "mserve/shm/unique_fd.hpp"
#include "support/broker_process.hpp"
#include "support/sanitized.hpp"
#include "support/wait.hpp"

namespace mserve::test {
namespace {

struct Place {
  const char* zone;
  const char* region;
  int servants;
};
constexpr std::array<Place, 5> kPlaces = {{{"a", "north", 0},
                                           {"a", "north", 2},
                                           {"b", "north", 1},
                                           {"b", "north", 1},
                                           {"c", "south", 1}}};
constexpr std::size_t kHosts = kPlaces.size();
constexpr std::size_t kEtcdNodes = 3;

std::string address_of(std::size_t host) {
  return "10.78.0." + std::to_string(host + 1);
}

/// Hosts at a switch; the thread that makes it is at the switch until this ends.
class Network {
 public:
  Network() {
    home_ = here();
    for (shm::UniqueFd& host : hosts_) {
      made_ = ::unshare(CLONE_NEWNET) == 0 && succeeds("ip link set lo up");
      if (!made_) {
        return;
      }
      host = here();
    }
    made_ = ::unshare(CLONE_NEWNET) == 0 && succeeds("ip link add switch type bridge") &&
            succeeds("ip link set switch up");
    const shm::UniqueFd middle = here();
    for (std::size_t i = 0; made_ && i < kHosts; ++i) {
      const std::string port = port_of(i);
      made_ = succeeds("ip link add " + port + " type veth peer name eth0 netns /proc/" +
                       std::to_string(::getpid()) + "/fd/" + std::to_string(hosts_[i].get())) &&
              succeeds("ip link set " + port + " master switch up");
      enter(hosts_[i].get());
      made_ = made_ && succeeds("ip address add " + address_of(i) + "/24 dev eth0") &&
              succeeds("ip link set eth0 up");
      enter(middle.get());
    }
  }
  ~Network() { enter(home_.get()); }
  Network(const Network&) = delete;
  Network& operator=(const Network&) = delete;

  [[nodiscard]] bool made() const noexcept { return made_; }
  /// For Spawn::prepare: what is started is on that host.
  [[nodiscard]] std::function<void()> on(std::size_t host) const {
    return [fd = hosts_[host].get()] { enter(fd); };
  }
  void plug(std::size_t host, bool in) const {
    EXPECT_TRUE(succeeds("ip link set " + port_of(host) + (in ? " up" : " down")));
  }

 private:
  static shm::UniqueFd here() {
    return shm::UniqueFd(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
  }
  static void enter(int ns) {
    if (ns >= 0 && ::setns(ns, CLONE_NEWNET) != 0) {
      std::abort();
    }
  }
  static std::string port_of(std::size_t host) { return "port" + std::to_string(host); }

  shm::UniqueFd home_;
  std::array<shm::UniqueFd, kHosts> hosts_;
  bool made_ = false;
};

/// A member of an etcd cluster of three, on a host.
class Node {
 public:
  Node(const Network& network, std::size_t host) : host_(host), network_(network) { start(); }
  void start() {
    std::string all;
    for (std::size_t i = 0; i < kEtcdNodes; ++i) {
      all += (i == 0 ? "n" : ",n") + std::to_string(i) + "=http://" + address_of(i) + ":2380";
    }
    const std::string clients = "http://" + address_of(host_) + ":2379";
    const std::string peers = "http://" + address_of(host_) + ":2380";
    process_ = Process(Spawn{
        .argv = {"etcd", "--name", "n" + std::to_string(host_), "--data-dir", dir_.file("data"),
                 "--listen-client-urls", clients, "--advertise-client-urls", clients,
                 "--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers,
                 "--initial-cluster", all, "--initial-cluster-token", "hosts", "--logger", "zap"},
        .stderr_path = dir_.file("log"),
        .prepare = network_.on(host_)});
  }
  void kill() { process_.end(); }

 private:
  TempDir dir_;
  std::size_t host_;
  const Network& network_;
  Process process_;
};

/// A client that asks without a pause, and what became of each request.
class Asker {
 public:
  Asker(const Broker& broker, bool repeatable)
      : repeatable_(repeatable), client_(broker.client()), thread_([this] { ask(); }) {}
  ~Asker() { finish(); }
  Asker(const Asker&) = delete;
  Asker& operator=(const Asker&) = delete;

  /// Asks no more, and waits for every answer.
  void finish() {
    stop_.store(true, std::memory_order_relaxed);
    if (thread_.joinable()) {
      thread_.join();
    }
  }
  [[nodiscard]] std::uint64_t answered() const { return get(answered_); }
  /// Waits for so many more answers.
  void goes_on(std::uint64_t count = 100) const {
    const std::uint64_t before = answered();
    EXPECT_TRUE(wait_until([&] { return answered() >= before + count; }, "more answers"))
        << reasons();
  }
  [[nodiscard]] std::uint64_t failed() const {
    const std::lock_guard lock(mutex_);
    std::uint64_t all = 0;
    for (const auto& [why, count] : failed_) {
      all += count;
    }
    return all;
  }
  [[nodiscard]] std::string reasons() const {
    const std::lock_guard lock(mutex_);
    std::string text;
    for (const auto& [why, count] : failed_) {
      text += (text.empty() ? "" : ", ") + why + " " + std::to_string(count);
    }
    return text;
  }
  /// The longest time without an answer since this was asked before, in milliseconds.
  [[nodiscard]] std::uint64_t longest_ms() {
    return longest_.exchange(0, std::memory_order_relaxed) / 1'000'000;
  }
  /// After finish().
  void check_books() const {
    EXPECT_EQ(get(sent_), answered() + failed());
    EXPECT_EQ(get(strange_), 0U);
    EXPECT_EQ(get(wrong_), 0U);
    EXPECT_EQ(get(lost_), 0U);
  }

 private:
  static constexpr std::size_t kWindow = 4;
  static std::uint64_t get(const std::atomic<std::uint64_t>& count) {
    return count.load(std::memory_order_relaxed);
  }

  void ask() {
    std::int64_t number = 0;
    std::uint64_t last = shm::steady_now();
    while (!stop_.load(std::memory_order_relaxed)) {
      while (under_way_.size() < kWindow) {
        const Query made = make_query("echo " + std::to_string(++number), client_);
        const auto id = send_query(client_, made, {.want_info = false, .repeatable = repeatable_},
                                   shm::steady_now() + 10'000'000);
        if (!id) {
          break;  // Its broker is away.
        }
        ++sent_;
        under_way_.emplace(id.value(), number);
      }
      (void)client_.wait(shm::steady_now() + 10'000'000);
      if (take()) {
        last = shm::steady_now();
      }
      longest_.store(std::max(longest_.load(std::memory_order_relaxed), shm::steady_now() - last),
                     std::memory_order_relaxed);
    }
    const std::uint64_t end = watchdog();
    while (!under_way_.empty() && shm::steady_now() < end) {
      (void)client_.wait(shm::steady_now() + 10'000'000);
      (void)take();
    }
    lost_ += under_way_.size();
  }
  /// Whether there was an answer.
  bool take() {
    bool any = false;
    client_.poll_each([&](const Reply& reply) {
      const auto asked = under_way_.find(reply.id);
      if (asked == under_way_.end()) {
        ++strange_;
        return;
      }
      const auto answer = answer_of(reply);
      if (!answer) {
        fail(to_string(answer.error().code));
      } else if (answer.value().is_error()) {
        fail("'" + std::string(answer.value().result.text_view().value_or("?")));
      } else {
        wrong_ += answer.value().result == kdb::Value::long_atom(asked->second) ? 0U : 1U;
        ++answered_;
        any = true;
      }
      under_way_.erase(asked);
    });
    return any;
  }
  void fail(const std::string& why) {
    const std::lock_guard lock(mutex_);
    ++failed_[why];
  }

  bool repeatable_;
  Client client_;
  std::map<std::uint64_t, std::int64_t> under_way_;
  std::atomic<bool> stop_{false};
  std::atomic<std::uint64_t> sent_{0}, answered_{0}, wrong_{0}, strange_{0}, lost_{0}, longest_{0};
  mutable std::mutex mutex_;
  std::map<std::string, std::uint64_t> failed_;
  std::thread thread_;
};

BrokerSetup broker_on(const Network& network, std::size_t host) {
  std::string endpoints;
  for (std::size_t i = 0; i < kEtcdNodes; ++i) {
    endpoints += (i == 0 ? "http://" : ",http://") + address_of(i) + ":2379";
  }
  BrokerSetup setup;
  setup.args = {"-p",
                "5000",
                "--bind",
                address_of(host),
                "--cluster",
                endpoints,
                "--cluster-id",
                "h" + std::to_string(host),
                "--zone",
                kPlaces[host].zone,
                "--region",
                kPlaces[host].region,
                "--advertise",
                address_of(host) + ":5000",
                "--spill-after",
                "100ms"};
  setup.servants = kPlaces[host].servants;
  setup.prepare = network.on(host);
  return setup;
}

TEST(FiveHosts, WhateverGoesEachRequestIsAnsweredOnceOrFailsOnceAndADrainLosesNothing) {
  if (kSanitized) {
    GTEST_SKIP() << "some fifty processes are too much for a sanitizer on two cores; the parts are "
                    "tested one by one";
  }
  if (!etcd_is_here()) {
    GTEST_SKIP() << "no etcd here: apt-get install etcd-server etcd-client";
  }
  const Network network;
  if (!network.made()) {
    GTEST_SKIP() << "this process may not make network namespaces, or there is no `ip`";
  }
  std::vector<std::unique_ptr<Node>> etcd;
  for (std::size_t i = 0; i < kEtcdNodes; ++i) {
    etcd.push_back(std::make_unique<Node>(network, i));
  }
  std::vector<std::unique_ptr<Broker>> brokers;
  for (std::size_t i = 0; i < kHosts; ++i) {
    brokers.push_back(std::make_unique<Broker>(broker_on(network, i)));
  }
  // To every other host but the first, which has no servants.
  const auto all_linked = [&](std::size_t host) {
    const std::size_t peers = kHosts - (host == 0 ? 1 : 2);
    brokers[host]->wait_for_counter("servants",
                                    peers + static_cast<std::size_t>(kPlaces[host].servants));
  };
  for (std::size_t i = 0; i < kHosts; ++i) {
    all_linked(i);
  }
  Asker elsewhere(*brokers[0], true);  // Nobody serves there: each request travels.
  Asker once(*brokers[0], false);      // The same, never sent twice.
  Asker at_home(*brokers[4], true);    // Served on its own host.
  const std::array<Asker*, 3> askers = {&elsewhere, &once, &at_home};
  const auto all_go_on = [&](const char* after) {
    for (const Asker* asker : askers) {
      asker->goes_on();
    }
    std::cout << "after " << after << ": longest silence " << elsewhere.longest_ms() << " ms, "
              << once.longest_ms() << " ms; failed so far: " << elsewhere.reasons() << "; "
              << once.reasons() << std::endl;
  };
  all_go_on("the start");
  EXPECT_EQ(elsewhere.failed() + once.failed() + at_home.failed(), 0U);

  // A drain: the nearest broker with servants goes away in good order.
  brokers[1]->stop();
  all_go_on("the drain of the nearest broker");
  EXPECT_EQ(elsewhere.failed() + once.failed() + at_home.failed(), 0U)
      << elsewhere.reasons() << "; " << once.reasons();
  brokers[1]->start();
  all_linked(0);

  brokers[1]->kill();
  all_go_on("kill -9 of the nearest broker");
  brokers[1]->start();
  all_linked(0);

  network.plug(1, false);
  all_go_on("the link to the nearest broker");
  network.plug(1, true);
  all_linked(0);

  etcd[0]->kill();
  all_go_on("one etcd node");
  etcd[0]->start();

  etcd[1]->kill();
  etcd[2]->kill();
  brokers[3]->kill();  // Nobody is told by etcd.
  all_go_on("the majority of etcd and a broker");
  etcd[1]->start();
  etcd[2]->start();
  brokers[3]->start();
  for (std::size_t i = 0; i < kHosts; ++i) {
    all_linked(i);  // Known again, from whoever is there.
  }

  brokers[2]->kill();
  brokers[3]->kill();
  network.plug(2, false);
  network.plug(3, false);
  all_go_on("zone b, with its etcd node");

  for (Asker* asker : askers) {
    asker->finish();
    asker->check_books();
    EXPECT_EQ(asker->reasons().find("disconnected"), std::string::npos);
  }
  EXPECT_EQ(at_home.failed(), 0U) << at_home.reasons();
  EXPECT_EQ(elsewhere.reasons().find("servant died"), std::string::npos)
      << "what may be sent again was: " << elsewhere.reasons();
}

}  // namespace
}  // namespace mserve::test
