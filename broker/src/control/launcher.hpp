// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "control/launch_plan.hpp"
#include "mserve/shm/errc.hpp"
#include "mserve/shm/unique_fd.hpp"

namespace mserve::broker {

// A process of its own that starts and watches the servants (of a q process, its shim too), forked
// before the broker has any thread: a fork of the broker itself would copy its page tables under
// the data thread.
//
// It restarts a servant that ends, after a back-off that doubles from 100 ms to 10 s and starts
// over once a servant has lived for 10 s, unless the broker retired that one or lets it rest. It
// ends all of them, SIGTERM first and SIGKILL after two seconds, when the broker tells it to or is
// gone, however it went. It runs in a session of its own, so that Ctrl-C reaches the broker alone,
// which then drains.

struct LaunchOptions {
  std::vector<Program> programs;
  std::string broker_name;   ///< Passed on as MSERVE_NAME.
  std::string directory;     ///< Passed on as MSERVE_DIR.
  CoreList control_cores{};  ///< Where the launcher itself stays; empty: where it was.
  /// Cores of pinned threads, which programs without cores of their own leave alone, unless there
  /// are no others.
  CoreList avoid{};
  /// Programs of servants above this number rest until start(servant).
  std::uint32_t started = UINT32_MAX;
  /// How long a retired program may take to end after SIGTERM; UINT64_MAX: as long as it likes.
  std::uint64_t retire_grace_ns = 10'000'000'000;
};

/// What the launcher tells, one datagram each.
struct LaunchEvent {
  enum class Kind : std::uint32_t { started = 1, ended = 2, failed = 3 };
  Kind kind = Kind::started;
  std::uint32_t program = 0;  ///< Index in LaunchOptions::programs.
  std::int32_t pid = 0;
  std::int32_t status = 0;       ///< ended: as waitpid() gives it; failed: errno.
  std::uint32_t restart_ms = 0;  ///< ended and failed: when it is started again; 0 for never.
};

/// The broker's end of the launcher.
class Launcher {
 public:
  /// Forks the launcher; it waits for start(). To be called before any thread exists.
  [[nodiscard]] static Result<Launcher> fork_off(const LaunchOptions& options);

  /// Starts all programs but those that rest.
  void start() noexcept;
  /// Starts the programs of one servant that rest, from here on again and again as any others. One
  /// that is ending starts once it has ended. @param servant  Program::servant.
  void start(std::uint32_t servant) noexcept;
  /// Ends the programs of one servant as retire() does; start() may start them again.
  void rest(std::uint32_t servant) noexcept;
  /// Ends the programs of one servant, SIGTERM first and SIGKILL after retire_grace_ns, and starts
  /// them no more. @param servant  Program::servant.
  void retire(std::uint32_t servant) noexcept;
  /// What is launched; empty without a launcher.
  [[nodiscard]] const std::vector<Program>& programs() const noexcept { return programs_; }
  /// Takes the next event; never blocks. @return false when there is none.
  [[nodiscard]] bool next(LaunchEvent& event) noexcept;
  /// Readable when there are events, or the launcher is gone (hang-up).
  [[nodiscard]] int fd() const noexcept { return socket_.get(); }
  /// Ends all servants and waits for the launcher, at most some seven seconds.
  void stop() noexcept;

  Launcher() noexcept = default;
  Launcher(Launcher&& other) noexcept;
  Launcher& operator=(Launcher&& other) noexcept;
  ~Launcher() { stop(); }

 private:
  std::vector<Program> programs_;
  shm::UniqueFd socket_;
  pid_t pid_ = -1;
};

}  // namespace mserve::broker
