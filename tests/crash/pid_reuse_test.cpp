// SPDX-License-Identifier: Apache-2.0
// Another process gets the pid of a dead peer before the broker has looked. A number proves
// nothing; the pidfd tells. All of it happens in a pid namespace, where pids can be chosen.
#include <gtest/gtest.h>
#include <limits.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <fstream>

#include "crash/victim.hpp"
#include "support/requests.hpp"

namespace mserve::test {
namespace {

constexpr const char* kInside = "MSERVE_TEST_IN_PID_NAMESPACE";
constexpr const char* kLastPid = "/proc/sys/kernel/ns_last_pid";

bool choose_next_pid(pid_t pid) {
  std::ofstream last(kLastPid);
  last << pid - 1 << std::flush;
  return last.good();
}

/// This executable, again.
std::string own_path() {
  char path[PATH_MAX] = {};
  const ssize_t length = readlink("/proc/self/exe", path, sizeof(path) - 1);
  return {path, static_cast<std::size_t>(std::max<ssize_t>(length, 0))};
}

/// A peer that attaches, leaves a child behind that keeps the socket open, and says when it is
/// done.
struct PeerWithChild {
  PeerWithChild(const Broker& broker, shm::Role role, int keep_until_closed) {
    process = Process([&] {
      const RawPeer peer(broker, RawSetup{.role = role, .name = "dead"});
      if (fork() == 0) {
        char byte = 0;
        (void)!read(keep_until_closed, &byte, 1);
        _exit(0);
      }
      for (;;) {
        pause();
      }
      return 0;
    });
  }
  Process process;
};

void run_inside() {
  Broker broker;
  Client client = broker.client();
  int ends[2] = {-1, -1};
  ASSERT_EQ(pipe(ends), 0);
  const int writing = ends[1];
  for (const shm::Role role : {shm::Role::client, shm::Role::servant}) {
    PeerWithChild dead(broker, role, ends[0]);
    broker.wait_for_counter("sessions", 2);
    const pid_t pid = dead.process.pid();
    ASSERT_TRUE(wait_until([&] { return !children_of(pid).empty(); }, "its child"));
    broker.process().signal(SIGSTOP);  // so that the pid is taken before it looks
    dead.process.end();
    ASSERT_TRUE(choose_next_pid(pid));
    const Process successor([&broker, role] {
      const RawPeer peer(broker, RawSetup{.role = role, .name = "successor"});
      for (;;) {
        pause();
      }
      return 0;
    });
    ASSERT_EQ(successor.pid(), pid) << "somebody else took that pid";
    broker.process().signal(SIGCONT);
    const char* const kind = role == shm::Role::client ? "client" : "servant";
    (void)broker.wait_for_log(std::string("detached ") + kind + "=dead");
    (void)broker.wait_for_log(std::string("attached ") + kind + "=successor");
    broker.wait_for_counter("sessions", 2);
    EXPECT_EQ(broker.log_lines(std::string("detached ") + kind + "=successor").size(), 0U);
    EXPECT_NE(state_of(pid), '?') << "it was to be left alone";
    EXPECT_EQ(broker.counter("servants"), role == shm::Role::servant ? 1U : 0U);
  }
  close(ends[0]);
  close(writing);
}

TEST(PidReuse, ASuccessorInTheSamePidIsNotTakenForTheDeadPeer) {
  if (std::getenv(kInside) != nullptr) {
    run_inside();
    return;
  }
  const std::vector<std::string> enter = {"unshare", "--user",       "--map-root-user", "--pid",
                                          "--fork",  "--mount-proc", "--kill-child"};
  std::vector<std::string> probe = enter;
  probe.insert(probe.end(), {"sh", "-c", std::string("echo 100 >") + kLastPid});
  const Output probed = run_to_end(probe);
  if (probed.exit_code != 0) {
    GTEST_SKIP() << "no pid namespace here in which pids may be chosen: " << probed.err;
  }
  std::vector<std::string> again = enter;
  again.insert(again.end(), {own_path(), "--gtest_filter=PidReuse.*"});
  const Output inside = run_to_end(again, {{kInside, "1"}});
  EXPECT_EQ(inside.exit_code, 0) << inside.out << inside.err;
  EXPECT_NE(inside.out.find("1 test"), std::string::npos) << inside.out;
}

}  // namespace
}  // namespace mserve::test
