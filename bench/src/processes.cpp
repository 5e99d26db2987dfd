// SPDX-License-Identifier: Apache-2.0
#include "processes.hpp"

#include <sched.h>

#include <algorithm>
#include <filesystem>
#include <sstream>
#include <string>
#include <system_error>

#include "child.hpp"

namespace mserve::bench {
namespace {

struct Stat {
  char state = 'X';           ///< As of proc(5); X: there is no such process.
  std::uint64_t started = 0;  ///< 0: there is none.
};

Stat stat_of(pid_t pid) {
  const std::string stat = contents_of("/proc/" + std::to_string(pid) + "/stat");
  // The name, in parentheses, may hold anything; the start is the 20th word behind it.
  std::istringstream words(stat.substr(std::min(stat.size(), stat.rfind(')') + 1)));
  Stat found;
  words >> found.state;
  std::string word;
  for (int i = 0; i < 18 && words >> word; ++i) {
  }
  words >> found.started;
  return found;
}

}  // namespace

std::vector<Process> children_of(pid_t pid) {
  const std::string name = std::to_string(pid);
  std::istringstream pids(contents_of("/proc/" + name + "/task/" + name + "/children"));
  std::vector<Process> children;
  for (pid_t child = 0; pids >> child;) {
    if (const std::uint64_t started = stat_of(child).started; started != 0) {
      children.push_back({child, started});
    }
  }
  return children;
}

std::vector<Process> descendants_of(pid_t pid) {
  std::vector<Process> all = children_of(pid);
  for (std::size_t at = 0; at < all.size(); ++at) {
    for (const Process& child : children_of(all[at].pid)) {
      all.push_back(child);
    }
  }
  return all;
}

void keep_on(pid_t pid, int core) {
  cpu_set_t cores;
  CPU_ZERO(&cores);
  CPU_SET(static_cast<std::size_t>(core), &cores);
  std::error_code error;
  const std::string tasks = "/proc/" + std::to_string(pid) + "/task";
  for (const auto& task : std::filesystem::directory_iterator(tasks, error)) {
    const std::string name = task.path().filename();
    (void)sched_setaffinity(static_cast<pid_t>(std::stol(name)), sizeof(cores), &cores);
  }
}

bool runs(const Process& process) {
  const Stat now = stat_of(process.pid);
  return now.started == process.started && now.state != 'Z' && now.state != 'X';
}

}  // namespace mserve::bench
