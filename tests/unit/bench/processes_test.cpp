// SPDX-License-Identifier: Apache-2.0
// What is known of processes that a bench has started, and of theirs.
#include "processes.hpp"

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>

#include "cores.hpp"
#include "support/wait.hpp"

namespace mserve::bench {
namespace {

TEST(Processes, AreFoundBelowTheirParentsUntilTheyEnd) {
  const pid_t pid = fork();
  if (pid == 0) {
    const pid_t below = fork();
    (void)pause();
    _exit(below < 0 ? 1 : 0);
  }
  ASSERT_GT(pid, 0);
  const auto of = [](const std::vector<Process>& all, pid_t wanted) {
    return std::find_if(all.begin(), all.end(),
                        [wanted](const Process& process) { return process.pid == wanted; });
  };
  std::vector<Process> below;
  ASSERT_TRUE(test::wait_until([&] { return !(below = descendants_of(pid)).empty(); },
                               "the child of the child"));
  const std::vector<Process> all = descendants_of(getpid());
  const auto child = of(all, pid);
  const auto grandchild = of(all, below[0].pid);
  ASSERT_NE(child, all.end());
  ASSERT_NE(grandchild, all.end());
  EXPECT_LT(child, grandchild);
  EXPECT_TRUE(runs(*child));
  const std::vector<int> cores = usable_core_list();
  keep_on(pid, cores.back());
  cpu_set_t of_child;
  ASSERT_EQ(sched_getaffinity(pid, sizeof(of_child), &of_child), 0);
  EXPECT_EQ(CPU_COUNT(&of_child), 1);
  EXPECT_TRUE(CPU_ISSET(static_cast<std::size_t>(cores.back()), &of_child));
  EXPECT_FALSE(runs({pid, child->started + 1})) << "another one of that number";
  (void)kill(below[0].pid, SIGKILL);
  (void)kill(pid, SIGKILL);
  siginfo_t info{};
  ASSERT_EQ(waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOWAIT), 0);
  EXPECT_FALSE(runs(*child)) << "it has ended, though nobody has collected it";
  (void)waitpid(pid, nullptr, 0);
  EXPECT_FALSE(runs(*child));
}

}  // namespace
}  // namespace mserve::bench
