// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "mserve/shm/unique_fd.hpp"

namespace mserve::bench {

/// A directory of our own below $TMPDIR or /tmp, removed with everything in it.
class TempDir {
 public:
  TempDir();  ///< Throws std::system_error.
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  [[nodiscard]] const std::string& path() const noexcept { return path_; }

 private:
  std::string path_;
};

/// The longest that a process may take until it says that it is ready.
inline constexpr std::uint64_t kReadyNsMax = 30'000'000'000;

/// A process that ends with this one: it gets SIGTERM when we die, however we die. It has a process
/// group of its own, so that Ctrl-C reaches us alone and we stop it in order.
class Child {
 public:
  /// How it tells that it is ready.
  enum class Ready : std::uint8_t {
    by_descriptor,  ///< See the constructor.
    not_at_all,     ///< The caller finds out; nothing is appended to the command.
  };
  /// Starts `command` (a path first) and waits until it writes to the descriptor whose number is
  /// appended to the command as "--ready-fd N". What it prints goes to the file `log`.
  /// Throws std::runtime_error, with the log in the text, when it ends or takes longer than 30 s.
  Child(std::vector<std::string> command, const std::string& log, Ready how = Ready::by_descriptor);
  ~Child();  ///< stop(), whatever it returns.
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  /// Asks it to end with SIGTERM, kills it after five seconds, and waits for it.
  /// @return false when it had to be killed or did not end with 0.
  bool stop() noexcept;
  [[nodiscard]] pid_t pid() const noexcept { return pid_; }

 private:
  void wait_until_ready(shm::UniqueFd ready, const std::string& log);

  std::string name_;
  pid_t pid_ = -1;
};

/// What a file holds, such as a child's log; empty when it cannot be read.
[[nodiscard]] std::string contents_of(const std::string& path);

/// Whether a process that this one started has ended. Looks only: whoever started it collects it.
[[nodiscard]] bool has_ended(pid_t pid) noexcept;

/// The path of this executable; empty when the kernel does not tell.
[[nodiscard]] std::string own_path();
/// Path of an executable of ours: beside this one if it lies there, else its bare name on PATH.
[[nodiscard]] std::string find_tool(const std::string& name);

}  // namespace mserve::bench
