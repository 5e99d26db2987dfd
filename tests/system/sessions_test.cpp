// SPDX-License-Identifier: Apache-2.0
// Peers come and go while others work, and the broker never forks.
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <filesystem>
#include <set>
#include <sstream>
#include <thread>

#include "mserve/shm/attachment.hpp"
#include "mserve/shm/counters.hpp"
#include "support/requests.hpp"

namespace mserve::test {
namespace {

TEST(Sessions, AHundredAttachAndDetachWhileOthersAreAnswered) {
  BrokerSetup setup;
  setup.servants = 2;
  setup.servant_args = "--rows 0";
  const Broker broker(setup);
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> answered{0};
  std::thread other([&] {
    Client client = broker.client();
    while (!stop.load(std::memory_order_acquire) && !HasFailure()) {
      expect_echo(client, pattern(200));
      answered.fetch_add(1, std::memory_order_relaxed);
    }
  });
  const std::uint64_t before = answered.load(std::memory_order_relaxed);
  for (int round = 0; round < 2; ++round) {
    std::vector<Client> clients;
    for (int i = 0; i < 50; ++i) {
      clients.push_back(broker.client());
    }
    for (Client& client : clients) {
      expect_echo(client, pattern(50));
    }
  }
  EXPECT_GT(answered.load(std::memory_order_relaxed), before);
  stop.store(true, std::memory_order_release);
  other.join();
  broker.wait_for_counter("sessions", 2);
  EXPECT_EQ(broker.counter("attached_total"), 103U);
  EXPECT_EQ(broker.counter("closed_total"), 0U);
  EXPECT_EQ(broker.counter("requests"), broker.counter("replies"));
  EXPECT_EQ(broker.counter("errors"), 0U);
  EXPECT_EQ(broker.counter("discarded"), 0U);
}

// Who hears that a servant is ready may send at once, also when the broker's own threads have not
// all heard of it. Each round has a servant of its own, which is the only one.
TEST(Sessions, ARequestThatIsSentOnceAServantIsReadyIsServed) {
  constexpr std::uint64_t kRounds = 200;
  const Broker broker;
  RawPeer client = raw_client(broker);
  const Bytes payload = pattern(100);
  const auto answer = [&](RawPeer* servant) {
    std::optional<Frame> frame;
    (void)wait_until(
        [&] {
          const auto asked = servant != nullptr ? servant->poll() : std::nullopt;
          EXPECT_TRUE(!asked || servant->reply(asked->header.id, payload));
          frame = client.poll();
          return frame.has_value();
        },
        "an answer");
    return frame ? static_cast<Errc>(shm::unpack_reply(frame->header.aux).status) : Errc::timed_out;
  };
  for (std::uint64_t id = 1; id <= kRounds && !HasFailure(); ++id) {
    RawPeer servant = raw_servant(broker, "late");
    ASSERT_TRUE(client.request(id, payload));
    ASSERT_EQ(answer(&servant), Errc::ok) << "round " << id;
    servant.vanish();
    broker.wait_for_counter("servants", 0);
  }
  // Nobody is waited for any more.
  ASSERT_TRUE(client.request(kRounds + 1, payload));
  EXPECT_EQ(answer(nullptr), Errc::no_servant);
  EXPECT_TRUE(wait_until([&] { return broker.counter("refused") == 1; }, "the refusal to be told"));
}

TEST(Sessions, ThatAreSilentMostOfTheTimeAreHeardAndMayLeave) {
  BrokerSetup setup;
  setup.args = {"--cool", "1ms"};  // shorter than a round of all
  setup.servants = 2;
  setup.servant_args = "--rows 0";
  const Broker broker(setup);
  std::vector<Client> clients;
  for (int i = 0; i < 60; ++i) {
    clients.push_back(broker.client());
  }
  for (std::size_t round = 0; clients.size() > 10; ++round) {
    for (Client& client : clients) {
      expect_echo(client, pattern(50));
    }
    clients.erase(clients.begin() + static_cast<std::ptrdiff_t>(round * 7 % clients.size()));
  }
  broker.wait_for_counter("sessions", 12);
  EXPECT_EQ(broker.counter("closed_total"), 0U);
}

TEST(Sessions, LeaveNoDescriptorBehind) {
  BrokerSetup setup;
  setup.servants = 1;
  setup.servant_args = "--rows 0";
  const Broker broker(setup);
  broker.wait_for_counter("sessions", 1);
  const std::size_t before = broker.descriptors();
  for (int i = 0; i < 30; ++i) {
    Client client = broker.client();
    expect_echo(client, pattern(10));
  }
  EXPECT_TRUE(
      wait_until([&] { return broker.descriptors() == before; }, "the descriptors to be closed"));
}

TEST(Sessions, AreUnmappedWhenTheyEnd) {
  const Broker broker;
  const std::string maps = "/proc/" + std::to_string(broker.pid()) + "/maps";
  const auto mapped = [&] {
    const std::string text = read_file(maps);
    std::size_t count = 0;
    for (std::size_t at = text.find("memfd:mserve"); at != std::string::npos;
         at = text.find("memfd:mserve", at + 1)) {
      ++count;
    }
    return count;
  };
  {
    std::vector<RawPeer> peers;
    for (int i = 0; i < 20; ++i) {
      peers.push_back(raw_client(broker));
    }
    EXPECT_EQ(mapped(), 40U);
  }
  EXPECT_TRUE(wait_until([&] { return mapped() == 0; }, "the segments to be unmapped"));
}

TEST(Sessions, AnObserverLearnsWhereTheCountersAreAndTakesNoSession) {
  const Broker broker;
  shm::AttachOptions options;
  options.broker = broker.name();
  options.directory = broker.directory();
  options.role = shm::Role::observer;
  std::string reason;
  const auto observer = shm::Attachment::open(options, &reason);
  ASSERT_TRUE(observer) << to_string(observer.error().code) << ": " << reason;
  const auto counters = shm::CountersReader::open(observer.value().info().counters_name, geteuid());
  ASSERT_TRUE(counters);
  EXPECT_EQ(counters.value().pid(), broker.pid());
  EXPECT_EQ(counters.value().broker_epoch(), observer.value().info().broker_epoch);
  EXPECT_EQ(broker.counter("attached_total"), 0U);
}

/// Pids that were seen as children of any thread of a process.
std::set<pid_t> children_of_all_threads(pid_t pid) {
  std::set<pid_t> found;
  std::error_code ignored;
  const std::string tasks = "/proc/" + std::to_string(pid) + "/task";
  for (const auto& entry : std::filesystem::directory_iterator(tasks, ignored)) {
    std::istringstream pids(read_file(entry.path().string() + "/children"));
    for (pid_t child = 0; pids >> child;) {
      found.insert(child);
    }
  }
  return found;
}

TEST(Forks, TheBrokersOnlyChildIsTheLauncherEvenWhileServantsAreRestarted) {
  BrokerSetup setup;
  setup.servants = 2;
  setup.servant_args = "--rows 0";
  const Broker broker(setup);
  const std::set<pid_t> at_start = children_of_all_threads(broker.pid());
  ASSERT_EQ(at_start.size(), 1U);
  const pid_t launcher = *at_start.begin();
  // The kernel numbers children too: the n-th process forked anywhere is no proof, the list of
  // children is.
  for (int i = 0; i < 2; ++i) {
    const std::vector<pid_t> servants = children_of(launcher);
    ASSERT_FALSE(servants.empty());
    ASSERT_EQ(::kill(servants[0], SIGKILL), 0);
    const std::size_t wanted = 3 + static_cast<std::size_t>(i);
    EXPECT_TRUE(wait_until(
        [&] {
          EXPECT_EQ(children_of_all_threads(broker.pid()), at_start);
          return broker.log_lines("attached servant=").size() == wanted;
        },
        "a servant to be restarted"));
    EXPECT_EQ(children_of(launcher).size(), 2U);
  }
  EXPECT_EQ(children_of_all_threads(broker.pid()), at_start);
}

TEST(Forks, NoForkingSystemCallIsSeenByATracer) {
  // strace sees even children that lived too short to be found in /proc.
  const TempDir dir;
  if (run_to_end({"strace", "-qq", "-o", dir.file("probe"), "true"}).exit_code != 0) {
    GTEST_SKIP() << "strace is missing or may not trace here";
  }
  BrokerSetup setup;
  setup.servants = 1;
  setup.servant_args = "--rows 0";
  const Broker broker(setup);
  Process tracer(Spawn{.argv = {"strace", "-f", "-e", "trace=fork,vfork,clone,clone3", "-o",
                                dir.file("trace"), "-p", std::to_string(broker.pid())},
                       .stderr_path = dir.file("strace.err")});
  ASSERT_TRUE(wait_until(
      [&] { return read_file(dir.file("strace.err")).find("attached") != std::string::npos; },
      "strace to attach"))
      << read_file(dir.file("strace.err"));
  const std::vector<pid_t> servants = broker.launched();
  ASSERT_EQ(servants.size(), 1U);
  ASSERT_EQ(::kill(servants[0], SIGKILL), 0);
  EXPECT_TRUE(
      wait_until([&] { return broker.log_lines("attached servant=").size() == 2; }, "the restart"));
  {
    Client client = broker.client();
    expect_echo(client, pattern(100));
  }
  tracer.signal(SIGINT);
  (void)tracer.wait();
  const std::string trace = read_file(dir.file("trace"));
  for (const char* const call : {"fork(", "clone(", "clone3("}) {
    EXPECT_EQ(trace.find(call), std::string::npos) << trace;
  }
}

}  // namespace
}  // namespace mserve::test
