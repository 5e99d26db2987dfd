// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <functional>
#include <map>
#include <string>
#include <vector>

namespace mserve::test {

/// Where the executables of this build are.
[[nodiscard]] std::string program(const std::string& name);

/// How a process is started. Its standard input is /dev/null.
struct Spawn {
  std::vector<std::string> argv{};           ///< argv[0] is a path, or a name on PATH.
  std::map<std::string, std::string> env{};  ///< Added to ours; an empty value removes.
  std::string stdout_path{};                 ///< Files that take the output; empty: /dev/null.
  std::string stderr_path{};
  int inherit_fd = -1;  ///< The one descriptor beside 0, 1 and 2 it keeps.
  int core = -1;        ///< The only core it may use; -1: ours.
  /// Run in the child last of all before the program: only calls that are safe after a fork.
  std::function<void()> prepare{};
};

/// A child process, killed by its pid at the latest when this ends; it also dies with the test.
class Process {
 public:
  Process() noexcept = default;
  /// Starts it; a failure to do so fails the test.
  explicit Process(const Spawn& spawn);
  /// A child that runs `body` and exits with what it returns. To be called before this process has
  /// any thread.
  explicit Process(const std::function<int()>& body);
  Process(Process&& other) noexcept;
  Process& operator=(Process&& other) noexcept;
  ~Process() { end(); }

  [[nodiscard]] pid_t pid() const noexcept { return pid_; }
  [[nodiscard]] bool running() const noexcept { return pid_ > 0; }
  /// After SIGSTOP it stands still: see stop().
  void signal(int number) const;
  /// Waits for the end. @return the exit code, or 128 + the signal; -1 when the watchdog ran out.
  int wait();
  /// SIGKILL, and waits.
  void end() noexcept;
  /// Does not wait. @return true once it has ended.
  [[nodiscard]] bool ended();
  [[nodiscard]] int exit_code() const noexcept { return exit_code_; }

 private:
  void record(int status) noexcept;

  pid_t pid_ = -1;
  int exit_code_ = -1;
};

/// Runs a program to its end.
struct Output {
  int exit_code = -1;
  std::string out;
  std::string err;
};
[[nodiscard]] Output run_to_end(std::vector<std::string> argv,
                                std::map<std::string, std::string> env = {});
/// Runs a command line of the shell, silently, in this thread's namespaces. @return whether it
/// succeeded.
[[nodiscard]] bool succeeds(const std::string& command);

/// Processes whose parent is `pid`, by /proc.
[[nodiscard]] std::vector<pid_t> children_of(pid_t pid);
/// The state letter of /proc/PID/stat; '?' when there is no such process.
[[nodiscard]] char state_of(pid_t pid);
/// SIGSTOP, and waits until each of its threads stands still, which takes the kernel a moment.
void stop(pid_t pid);
/// Neither there nor a zombie any more.
[[nodiscard]] bool gone(pid_t pid);

}  // namespace mserve::test
