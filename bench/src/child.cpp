// SPDX-License-Identifier: Apache-2.0
#include "child.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string_view>
#include <system_error>

#include "interrupt.hpp"
#include "mserve/shm/clock.hpp"

namespace mserve::bench {
namespace {

constexpr std::uint64_t kStopNsMax = 5'000'000'000;

void nap() noexcept {
  const timespec ms{0, 1'000'000};
  (void)nanosleep(&ms, nullptr);
}

/// Signals that ask to end. Held back while a child is started: until it is another program it has
/// our handlers, which would swallow them.
class HeldBack {
 public:
  HeldBack() noexcept {
    sigset_t set;
    (void)sigemptyset(&set);
    for (const int number : kNumbers) {
      (void)sigaddset(&set, number);
    }
    (void)sigprocmask(SIG_BLOCK, &set, &before_);
  }
  ~HeldBack() { let_through(); }
  HeldBack(const HeldBack&) = delete;
  HeldBack& operator=(const HeldBack&) = delete;

  void let_through() const noexcept { (void)sigprocmask(SIG_SETMASK, &before_, nullptr); }
  /// In the child.
  void forget_handlers() const noexcept {
    for (const int number : kNumbers) {
      (void)signal(number, SIG_DFL);
    }
  }

 private:
  static constexpr std::array<int, 3> kNumbers = {SIGINT, SIGTERM, SIGHUP};
  sigset_t before_{};
};

/// The child's side, between fork and exec: nothing but system calls.
[[noreturn]] void become(char* const* argv, pid_t parent, int log, int ready,
                         const HeldBack& signals) noexcept {
  (void)setpgid(0, 0);
  signals.forget_handlers();
  signals.let_through();
  (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
  const bool orphaned = getppid() != parent;  // the parent died before the line above
  if (!orphaned && dup2(log, STDOUT_FILENO) >= 0 && dup2(log, STDERR_FILENO) >= 0 &&
      fcntl(ready, F_SETFD, 0) == 0) {
    (void)signal(SIGPIPE, SIG_DFL);
    (void)execvp(argv[0], argv);
    constexpr std::string_view kText = "no such program, or it cannot be executed\n";
    (void)!write(STDERR_FILENO, kText.data(), kText.size());
  }
  _exit(127);
}

}  // namespace

std::string contents_of(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

TempDir::TempDir() {
  const char* const base = std::getenv("TMPDIR");
  path_ = std::string(base != nullptr && *base != '\0' ? base : "/tmp") + "/mserve-bench.XXXXXX";
  if (mkdtemp(path_.data()) == nullptr) {
    throw std::system_error(errno, std::generic_category(), "cannot create " + path_);
  }
}

TempDir::~TempDir() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

Child::Child(std::vector<std::string> command, const std::string& log, Ready how)
    : name_(std::filesystem::path(command.at(0)).filename()) {
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) {
    throw std::system_error(errno, std::generic_category(), "pipe");
  }
  shm::UniqueFd ready(ends[0]);
  shm::UniqueFd ready_write(ends[1]);
  const shm::UniqueFd log_file(open(log.c_str(), O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600));
  if (!log_file) {
    throw std::system_error(errno, std::generic_category(), "cannot write " + log);
  }
  if (how == Ready::by_descriptor) {
    command.insert(command.end(), {"--ready-fd", std::to_string(ready_write.get())});
  }
  std::vector<char*> argv;
  argv.reserve(command.size() + 1);
  for (std::string& word : command) {
    argv.push_back(word.data());
  }
  argv.push_back(nullptr);
  const pid_t parent = getpid();
  {
    const HeldBack signals;
    pid_ = fork();
    if (pid_ == 0) {
      become(argv.data(), parent, log_file.get(), ready_write.get(), signals);
    }
  }
  if (pid_ < 0) {
    throw std::system_error(errno, std::generic_category(), "fork");
  }
  if (how == Ready::not_at_all) {
    return;
  }
  try {
    // The write end has to be closed here, or the end of the child would go unnoticed.
    ready_write.reset();
    wait_until_ready(std::move(ready), log);
  } catch (...) {
    (void)stop();
    throw;
  }
}

void Child::wait_until_ready(shm::UniqueFd ready, const std::string& log) {
  const std::uint64_t deadline = shm::steady_now() + kReadyNsMax;
  while (shm::steady_now() < deadline && !interrupted()) {
    pollfd entry{ready.get(), POLLIN, 0};
    if (poll(&entry, 1, 100) <= 0) {
      continue;
    }
    char byte = 0;
    if (read(ready.get(), &byte, 1) == 1) {
      return;
    }
    throw std::runtime_error("'" + name_ + "' ended before it was ready; it said:\n" +
                             contents_of(log));
  }
  if (!interrupted()) {
    throw std::runtime_error("'" + name_ + "' was not ready after 30 s; it said:\n" +
                             contents_of(log));
  }
}

bool Child::stop() noexcept {
  if (pid_ <= 0) {
    return true;
  }
  (void)kill(pid_, SIGTERM);
  const std::uint64_t deadline = shm::steady_now() + kStopNsMax;
  int status = 0;
  pid_t ended = 0;
  while ((ended = waitpid(pid_, &status, WNOHANG)) == 0 && shm::steady_now() < deadline) {
    nap();
  }
  if (ended == 0) {
    (void)kill(pid_, SIGKILL);
    (void)waitpid(pid_, &status, 0);
  }
  pid_ = -1;
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

Child::~Child() {
  (void)stop();
}

bool has_ended(pid_t pid) noexcept {
  siginfo_t info{};
  return waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOHANG | WNOWAIT) != 0 ||
         info.si_pid != 0;
}

std::string own_path() {
  std::error_code failed;
  return std::filesystem::read_symlink("/proc/self/exe", failed).string();
}

std::string find_tool(const std::string& name) {
  const std::filesystem::path beside = std::filesystem::path(own_path()).parent_path() / name;
  return access(beside.c_str(), X_OK) == 0 ? beside.string() : name;
}

}  // namespace mserve::bench
