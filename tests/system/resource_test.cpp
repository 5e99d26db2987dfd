// SPDX-License-Identifier: Apache-2.0
// What a machine may run out of: newcomers are refused with the reason, and who is there goes on.
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <set>
#include <utility>

#include "mserve/shm/directory.hpp"
#include "mserve/shm/socket.hpp"
#include "support/requests.hpp"
#include "support/sanitized.hpp"
#include "support/wait.hpp"
#include "system/gateway_setup.hpp"

namespace mserve::test {
namespace {

BrokerSetup one_servant(std::vector<std::string> args = {}) {
  BrokerSetup setup = with_gateway(std::move(args), 1);
  setup.servant_args = "--rows 0";
  return setup;
}

/// A soft limit of a process that runs.
void limit(const Broker& broker, __rlimit_resource what, rlim_t value) {
  rlimit both{};
  ASSERT_EQ(::prlimit(broker.pid(), what, nullptr, &both), 0);
  both.rlim_cur = std::min(value, both.rlim_max);
  ASSERT_EQ(::prlimit(broker.pid(), what, &both, nullptr), 0);
}

/// The descriptor numbers that a broker has, and the first `count` that it has not.
std::vector<rlim_t> free_numbers(const Broker& broker, std::size_t count) {
  std::set<rlim_t> used;
  for (const auto& entry :
       std::filesystem::directory_iterator("/proc/" + std::to_string(broker.pid()) + "/fd")) {
    used.insert(std::stoul(entry.path().filename().string()));
  }
  std::vector<rlim_t> free;
  for (rlim_t number = 0; free.size() < count; ++number) {
    if (used.count(number) == 0) {
      free.push_back(number);
    }
  }
  return free;
}

/// Attaches clients until one is refused, `most` at most. @return why, or ok.
Errc attach_until_refused(const Broker& broker, std::vector<Client>& clients, std::size_t most,
                          std::string& reason, std::uint32_t ring_bytes = 0) {
  ClientOptions options;
  options.broker = broker.name();
  options.directory = broker.directory();
  options.ring_bytes = ring_bytes;
  while (clients.size() < most) {
    auto made = Client::connect(options, &reason);
    if (!made) {
      return made.error().code;
    }
    clients.push_back(std::move(made).value());
  }
  return Errc::ok;
}

/// Attaches and leaves, or says why not.
Errc attach(const Broker& broker, std::string& reason, std::uint32_t ring_bytes = 0) {
  std::vector<Client> one;
  return attach_until_refused(broker, one, 1, reason, ring_bytes);
}

TEST(OutOfDescriptors, NewcomersAreToldWhyAndWhoIsThereGoesOn) {
  if (kSanitized) {
    GTEST_SKIP() << "UBSan tries addresses with pipes, for which it needs descriptors";
  }
  const Broker broker(one_servant());
  Client client = broker.client();
  RawClient kdb = connect(broker);
  expect_echo(client, pattern(100));
  const std::uint16_t port = broker.port();
  // What it opened in passing, to look at who came, is closed: the same twice, with work between.
  std::vector<rlim_t> free;
  EXPECT_TRUE(wait_until(
      [&] {
        const std::vector<rlim_t> before = std::exchange(free, free_numbers(broker, 5));
        expect_echo(client, pattern(100));
        return before == free;
      },
      "the broker's descriptors to stay the same"));
  // As many as that are left: none even for the connection, then one, two ... for its segments.
  for (std::size_t left = 0; left < 3; ++left) {
    limit(broker, RLIMIT_NOFILE, free[left]);
    std::string reason;
    EXPECT_EQ(attach(broker, reason), Errc::no_memory) << left;
    EXPECT_NE(reason.find("ulimit -n"), std::string::npos) << left << ": " << reason;
    if (left == 0) {
      EXPECT_FALSE(RawClient::tcp(port).handshake()) << "hung up at once";
    }
    expect_echo(client, pattern(100));
    EXPECT_EQ(kdb.query("echo 1"), Value::long_atom(1));
  }
  EXPECT_FALSE(broker.wait_for_log("gateway_refused peer=").empty());
  EXPECT_TRUE(broker.log_lines("accept_failed").empty());
  limit(broker, RLIMIT_NOFILE, RLIM_INFINITY);
  std::string reason;
  EXPECT_EQ(attach(broker, reason), Errc::ok) << reason;
  EXPECT_EQ(connect(broker).query("echo 1"), Value::long_atom(1));
}

TEST(OutOfDescriptors, AtTheStartIsTheEndOrCostsNothingLater) {
  const TempDir dir;
  for (rlim_t most = 8; most <= 24; ++most) {
    const std::string log = dir.file("log" + std::to_string(most));
    Process broker({.argv = {program("mserve-broker"), "--name", "few", "--dir", dir.path()},
                    .stderr_path = log,
                    .prepare = [most] {
                      const rlimit both{most, most};
                      (void)::setrlimit(RLIMIT_NOFILE, &both);
                    }});
    EXPECT_TRUE(wait_until(
        [&] { return broker.ended() || read_file(log).find(" ready ") != std::string::npos; },
        "a broker to be ready or to end"));
    const bool ready = !broker.ended();
    if (ready) {
      broker.signal(SIGTERM);
    }
    EXPECT_EQ(broker.wait(), ready ? 0 : 1) << most << ": " << read_file(log);
  }
}

/// How often the threads of a process were put to sleep or aside, and the ticks that they ran.
struct Effort {
  std::uint64_t switches = 0;
  std::uint64_t ticks = 0;
};
Effort effort_of(pid_t pid) {
  Effort effort;
  const std::string tasks = "/proc/" + std::to_string(pid) + "/task";
  for (const auto& task : std::filesystem::directory_iterator(tasks)) {
    const std::string status = read_file(task.path().string() + "/status");
    for (const char* const key : {"\nvoluntary_ctxt_switches:", "\nnonvoluntary_ctxt_switches:"}) {
      const std::size_t at = status.find(key);
      effort.switches +=
          at == std::string::npos ? 0 : std::stoul(status.substr(status.find(':', at) + 1));
    }
    std::istringstream stat(read_file(task.path().string() + "/stat"));
    std::string word;
    for (int i = 1; i <= 15 && stat >> word; ++i) {
      effort.ticks += i >= 14 ? std::stoul(word) : 0;
    }
  }
  return effort;
}

TEST(OutOfDescriptors, ConnectionsThatCannotBeTakenWaitAndNobodySpinsForThem) {
  if (kSanitized) {
    GTEST_SKIP() << "UBSan tries addresses with pipes, for which it needs descriptors";
  }
  const Broker broker(one_servant({"--idle", "park"}));
  const std::uint16_t port = broker.port();
  limit(broker, RLIMIT_NOFILE, 3);  // below the one that is kept back
  const auto path = shm::socket_path(broker.directory(), broker.name());
  const auto waits = shm::connect_to(path.value(), watchdog());
  ASSERT_TRUE(waits);
  RawClient kdb = RawClient::tcp(port);
  (void)broker.wait_for_log(" accept_failed reason=");
  (void)broker.wait_for_log("gateway_accept_failed reason=");
  constexpr std::uint64_t kLookNs = 600'000'000;  // six looks of each thread, if all is well
  const Effort before = effort_of(broker.pid());
  let_pass(kLookNs);
  const Effort after = effort_of(broker.pid());
  EXPECT_LT(after.switches - before.switches, 400U);
  EXPECT_LT(after.ticks - before.ticks, 30U);
  limit(broker, RLIMIT_NOFILE, RLIM_INFINITY);
  EXPECT_TRUE(kdb.handshake()) << "taken as soon as there is a descriptor";
  const shm::Hello hello{.role = shm::Role::client};
  EXPECT_EQ(shm::send_message(waits.value().get(), shm::wire_bytes(hello), {}, watchdog()).code,
            Errc::ok);
  std::array<std::byte, shm::kWireBytesMax> buffer;
  EXPECT_TRUE(shm::receive_message(waits.value().get(), buffer, 2, watchdog()));
}

std::uint64_t mapped_bytes(const Broker& broker) {
  std::istringstream statm(read_file("/proc/" + std::to_string(broker.pid()) + "/statm"));
  std::uint64_t pages = 0;
  statm >> pages;
  return pages * 4096;
}

TEST(OutOfMemory, NewcomersAndLargeMessagesAreRefusedAndWhoIsThereGoesOn) {
  if (kSanitized) {
    GTEST_SKIP() << "a sanitizer maps terabytes, and ends the process itself when it gets no more";
  }
  BrokerSetup setup = one_servant({"--max-gathered", "512m"});
  setup.env = {{"MIMALLOC_ARENA_RESERVE", "0"}};  // no address space in advance
  const Broker broker(setup);
  Client client = broker.client();
  RawClient kdb = connect(broker);
  expect_echo(client, pattern(100));
  constexpr std::uint64_t kLeft = 12ULL << 20;
  limit(broker, RLIMIT_AS, mapped_bytes(broker) + kLeft);
  std::string reason;
  std::vector<Client> more;
  EXPECT_EQ(attach_until_refused(broker, more, 200, reason, 1U << 20), Errc::no_memory);
  EXPECT_NE(reason.find("no memory left"), std::string::npos) << reason;
  // Big endian, so it has to be held as a whole.
  RawClient large = connect(broker);
  (void)large.send(text(std::string(100'000'000, 'x')), MessageKind::sync, kdb::ByteOrder::big);
  EXPECT_TRUE(large.closed_by_peer());
  EXPECT_FALSE(broker.wait_for_log("no memory left for it").empty());
  expect_echo(client, pattern(100));
  EXPECT_EQ(kdb.query("echo 1"), Value::long_atom(1));
  limit(broker, RLIMIT_AS, RLIM_INFINITY);
  EXPECT_EQ(attach(broker, reason, 1U << 20), Errc::ok) << reason;
}

TEST(OutOfMemory, SessionsThatCannotBeLockedAreRefusedWithTheLimitsName) {
  if (kSanitized) {
    GTEST_SKIP() << "a sanitizer takes mlock() for done";
  }
  BrokerSetup setup;
  setup.args = {"--lock-memory"};
  setup.prepare = [] {
    (void)::prctl(PR_CAPBSET_DROP, CAP_IPC_LOCK, 0, 0, 0);  // root's, which knows no limit
    const rlimit few{600U << 10, 600U << 10};
    (void)::setrlimit(RLIMIT_MEMLOCK, &few);
  };
  const Broker broker(setup);
  (void)broker.wait_for_log("memlock limit=");
  std::vector<Client> clients;
  std::string reason;
  EXPECT_EQ(attach_until_refused(broker, clients, 20, reason), Errc::no_memory);
  EXPECT_NE(reason.find("ulimit -l"), std::string::npos) << reason;
  ASSERT_FALSE(clients.empty());
  EXPECT_EQ(status_of(call_opaque(clients.front(), pattern(10))), Errc::no_servant);
  clients.pop_back();
  EXPECT_TRUE(wait_until([&] { return attach(broker, reason) == Errc::ok; },
                         "what was locked to be free again"));
}

/// In the child, before the program: a mount namespace of its own with a full disk at `path`.
bool fill_disk(const char* path, const char* options) {
  return ::unshare(CLONE_NEWNS) == 0 &&
         ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
         ::mount("tmpfs", path, "tmpfs", 0, options) == 0;
}

/// Runs a broker where `path` is such a disk, to its end.
Output run_on_full_disk(const TempDir& dir, const std::string& path, const char* options) {
  Process broker(Spawn{.argv = {program("mserve-broker"), "--name", "full", "--dir",
                                dir.file("run"), "--max-queue-bytes", "1m"},
                       .stdout_path = dir.file("out"),
                       .stderr_path = dir.file("err"),
                       .prepare = [&] {
                         if (!fill_disk(path.c_str(), options)) {
                           ::_exit(77);
                         }
                       }});
  const int code = broker.wait();
  return {code, read_file(dir.file("out")), read_file(dir.file("err"))};
}

TEST(OutOfSpace, ABrokerThatFindsNoneAtItsStartSaysWhere) {
  const TempDir dir;
  const Output counters = run_on_full_disk(dir, "/dev/shm", "size=4k");
  if (counters.exit_code == 77) {
    GTEST_SKIP() << "this process may not mount";
  }
  EXPECT_EQ(counters.exit_code, 1) << counters.err;
  EXPECT_NE(counters.err.find("/dev/shm"), std::string::npos) << counters.err;
  EXPECT_NE(counters.err.find("No space left on device"), std::string::npos) << counters.err;
  const Output rendezvous = run_on_full_disk(dir, dir.file("run"), "nr_inodes=1,mode=700");
  EXPECT_EQ(rendezvous.exit_code, 1) << rendezvous.err;
  EXPECT_NE(rendezvous.err.find(dir.file("run")), std::string::npos) << rendezvous.err;
  EXPECT_NE(rendezvous.err.find("No space left on device"), std::string::npos) << rendezvous.err;
}

}  // namespace
}  // namespace mserve::test
