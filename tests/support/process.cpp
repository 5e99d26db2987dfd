// SPDX-License-Identifier: Apache-2.0
#include "support/process.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

#include "mserve/shm/clock.hpp"
#include "support/temp_dir.hpp"
#include "support/wait.hpp"

extern char** environ;  // NOLINT(readability-redundant-declaration): POSIX has no header for it

namespace mserve::test {

namespace {

std::vector<std::string> environment_of(const Spawn& spawn) {
  std::vector<std::string> result;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    if (spawn.env.count(text.substr(0, text.find('='))) == 0) {
      result.push_back(text);
    }
  }
  for (const auto& [name, value] : spawn.env) {
    if (!value.empty()) {
      result.push_back(name + "=" + value);
    }
  }
  return result;
}

std::vector<char*> pointers_to(std::vector<std::string>& texts) {
  std::vector<char*> result;
  for (std::string& text : texts) {
    result.push_back(text.data());
  }
  result.push_back(nullptr);
  return result;
}

void redirect(const char* path, int flags, int to) {
  const int fd = open(path, flags, 0600);
  if (fd < 0 || dup2(fd, to) < 0) {
    _exit(126);
  }
  close(fd);
}

/// In the child: only calls that are safe after a fork.
[[noreturn]] void become(const Spawn& spawn, char* const* argv, char* const* env, pid_t parent) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) {
    _exit(125);
  }
  constexpr int kWrite = O_WRONLY | O_CREAT | O_APPEND;
  redirect("/dev/null", O_RDONLY, 0);
  redirect(spawn.stdout_path.empty() ? "/dev/null" : spawn.stdout_path.c_str(), kWrite, 1);
  redirect(spawn.stderr_path.empty() ? "/dev/null" : spawn.stderr_path.c_str(), kWrite, 2);
  if (spawn.inherit_fd >= 0) {
    (void)fcntl(spawn.inherit_fd, F_SETFD, 0);
  }
  if (spawn.core >= 0) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(static_cast<std::size_t>(spawn.core), &set);
    (void)sched_setaffinity(0, sizeof(set), &set);
  }
  if (spawn.prepare) {
    spawn.prepare();
  }
  environ = const_cast<char**>(env);
  execvp(argv[0], argv);
  _exit(127);
}

}  // namespace

std::string program(const std::string& name) {
  return std::string(MSERVE_TEST_BIN_DIR) + "/" + name;
}

Process::Process(const Spawn& spawn) {
  std::vector<std::string> argv = spawn.argv;
  std::vector<std::string> env = environment_of(spawn);
  const std::vector<char*> argv_pointers = pointers_to(argv);
  const std::vector<char*> env_pointers = pointers_to(env);
  const pid_t parent = getpid();
  pid_ = fork();
  if (pid_ == 0) {
    become(spawn, argv_pointers.data(), env_pointers.data(), parent);
  }
  EXPECT_GT(pid_, 0) << "fork: " << std::strerror(errno);
}

Process::Process(const std::function<int()>& body) {
  const pid_t parent = getpid();
  pid_ = fork();
  if (pid_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    _exit(getppid() == parent ? body() : 125);
  }
  EXPECT_GT(pid_, 0) << "fork: " << std::strerror(errno);
}

Process::Process(Process&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)), exit_code_(other.exit_code_) {}

Process& Process::operator=(Process&& other) noexcept {
  if (this != &other) {
    end();
    pid_ = std::exchange(other.pid_, -1);
    exit_code_ = other.exit_code_;
  }
  return *this;
}

void Process::signal(int number) const {
  ASSERT_GT(pid_, 0);
  if (number == SIGSTOP) {
    return stop(pid_);
  }
  EXPECT_EQ(::kill(pid_, number), 0) << std::strerror(errno);
}

void Process::record(int status) noexcept {
  exit_code_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  pid_ = -1;
}

bool Process::ended() {
  int status = 0;
  if (pid_ > 0 && waitpid(pid_, &status, WNOHANG) == pid_) {
    record(status);
  }
  return pid_ <= 0;
}

int Process::wait() {
  const std::string what = "the end of process " + std::to_string(pid_);
  return wait_until([this] { return ended(); }, what) ? exit_code_ : -1;
}

void Process::end() noexcept {
  if (pid_ > 0) {
    int status = 0;
    (void)::kill(pid_, SIGKILL);
    (void)waitpid(pid_, &status, 0);
    record(status);
  }
}

Output run_to_end(std::vector<std::string> argv, std::map<std::string, std::string> env) {
  const TempDir dir;
  Process process(Spawn{.argv = std::move(argv),
                        .env = std::move(env),
                        .stdout_path = dir.file("out"),
                        .stderr_path = dir.file("err")});
  const int code = process.wait();
  return {code, read_file(dir.file("out")), read_file(dir.file("err"))};
}

bool succeeds(const std::string& command) {
  return std::system((command + " >/dev/null 2>&1").c_str()) == 0;
}

std::vector<pid_t> children_of(pid_t pid) {
  std::vector<pid_t> result;
  const std::string tasks = "/proc/" + std::to_string(pid) + "/task";
  // Children are listed with the thread that forked them; every thread counts.
  std::string text = read_file(tasks + "/" + std::to_string(pid) + "/children");
  std::size_t at = 0;
  while (at < text.size()) {
    const std::size_t space = std::min(text.find(' ', at), text.size());
    if (space > at) {
      result.push_back(std::stoi(text.substr(at, space - at)));
    }
    at = space + 1;
  }
  return result;
}

namespace {

/// The state letter of a process or thread, from its stat file; '?' without one.
char state_at(const std::string& path) {
  const std::string stat = read_file(path);
  const std::size_t end = stat.rfind(')');
  return end != std::string::npos && end + 2 < stat.size() ? stat[end + 2] : '?';
}

}  // namespace

char state_of(pid_t pid) {
  return state_at("/proc/" + std::to_string(pid) + "/stat");
}

void stop(pid_t pid) {
  ASSERT_EQ(kill(pid, SIGSTOP), 0);
  const std::string tasks = "/proc/" + std::to_string(pid) + "/task";
  EXPECT_TRUE(wait_until(
      [&] {
        std::error_code error;
        for (const auto& task : std::filesystem::directory_iterator(tasks, error)) {
          const char state = state_at(task.path().string() + "/stat");
          if (state != 'T' && state != '?') {
            return false;
          }
        }
        return true;
      },
      "a process to stop"));
}

bool gone(pid_t pid) {
  const char state = state_of(pid);
  return state == '?' || state == 'Z' || state == 'X';
}

}  // namespace mserve::test
