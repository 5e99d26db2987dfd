// SPDX-License-Identifier: Apache-2.0
#include "control/launcher.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <utility>

#include "control/log.hpp"
#include "mserve/shm/clock.hpp"

namespace mserve::broker {

namespace {

constexpr std::uint64_t kBackoffMin = 100 * kMillisecond;
constexpr std::uint64_t kBackoffMax = 10'000 * kMillisecond;
constexpr std::uint64_t kLivedLong = 10'000 * kMillisecond;
constexpr std::uint64_t kTermGrace = 2'000 * kMillisecond;

/// What the broker orders, one datagram each. A hang-up orders the end.
struct LaunchOrder {
  enum class Kind : std::uint32_t { begin = 1, retire = 2, start = 3, rest = 4 };
  Kind kind = Kind::begin;
  std::uint32_t servant = 0;  ///< All but begin: Program::servant.
};

struct Child {
  pid_t pid = -1;
  std::uint64_t started_at = 0;
  std::uint64_t start_again_at = 0;
  std::uint64_t backoff = kBackoffMin;
  bool retired = false;       ///< It is not started again.
  bool rests = false;         ///< It is not started until it is ordered.
  std::uint64_t kill_at = 0;  ///< Told to end and still there then: SIGKILL. 0: not to be killed.

  [[nodiscard]] bool wanted() const noexcept { return !retired && !rests; }
};

/// The launcher process. Single-threaded; its only input are the socket and SIGCHLD.
class Supervisor {
 public:
  Supervisor(const LaunchOptions& options, int socket)
      : options_(options), socket_(socket), children_(options.programs.size()) {
    for (std::size_t i = 0; i < children_.size(); ++i) {
      children_[i].rests = options.programs[i].servant > options.started;
    }
  }

  void run() {
    if (!options_.control_cores.empty()) {
      (void)stay_on(options_.control_cores);
    }
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_SETMASK, &set, &inherited_mask_);
    const shm::UniqueFd signals(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
    if (wait_for_start()) {
      while (!broker_gone_) {
        start_due();
        std::array<pollfd, 2> fds{{{socket_, POLLIN, 0}, {signals.get(), POLLIN, 0}}};
        (void)poll(fds.data(), fds.size(), next_timeout_ms());
        take_orders();  // whatever woke us: who is retired by now is not started again below
        signalfd_siginfo info;
        while (read(signals.get(), &info, sizeof(info)) > 0) {
        }
        reap();
        kill_overdue();
      }
    }
    end_all(signals.get());
  }

 private:
  bool wait_for_start() const {
    LaunchOrder order;
    ssize_t got = 0;
    do {
      got = recv(socket_, &order, sizeof(order), 0);
    } while (got < 0 && errno == EINTR);
    return got == static_cast<ssize_t>(sizeof(order)) && order.kind == LaunchOrder::Kind::begin;
  }

  void take_orders() {
    LaunchOrder order;
    ssize_t got = 0;
    while ((got = recv(socket_, &order, sizeof(order), MSG_DONTWAIT)) ==
           static_cast<ssize_t>(sizeof(order))) {
      for (std::size_t i = 0; i < children_.size(); ++i) {
        if (options_.programs[i].servant == order.servant && !children_[i].retired) {
          carry_out(order.kind, children_[i]);
        }
      }
    }
    broker_gone_ = got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR);
  }

  void carry_out(LaunchOrder::Kind order, Child& child) {
    if (order == LaunchOrder::Kind::start) {
      child.rests = false;
      child.backoff = kBackoffMin;
      child.start_again_at = 0;
      return;
    }
    child.retired = order == LaunchOrder::Kind::retire;
    child.rests = true;
    if (child.pid > 0 && child.kill_at == 0) {
      (void)kill(child.pid, SIGTERM);
      child.kill_at = shm::add_capped(shm::steady_now(), options_.retire_grace_ns);
    }
  }

  void kill_overdue() {
    const std::uint64_t now = shm::steady_now();
    for (Child& child : children_) {
      if (child.pid > 0 && child.kill_at != 0 && child.kill_at <= now) {
        (void)kill(child.pid, SIGKILL);
        child.kill_at = 0;
      }
    }
  }

  void start_due() {
    const std::uint64_t now = shm::steady_now();
    for (std::size_t i = 0; i < children_.size(); ++i) {
      if (children_[i].pid < 0 && children_[i].wanted() && children_[i].start_again_at <= now) {
        start_child(i);
      }
    }
  }

  void start_child(std::size_t index) {
    Child& child = children_[index];
    child.started_at = shm::steady_now();
    const pid_t parent = getpid();
    const pid_t pid = fork();
    if (pid == 0) {
      become_program(options_.programs[index], parent);
    }
    LaunchEvent event{LaunchEvent::Kind::started, static_cast<std::uint32_t>(index), pid, 0, 0};
    if (pid < 0) {
      event.kind = LaunchEvent::Kind::failed;
      event.status = errno;
      event.restart_ms = plan_restart(child);
    }
    child.pid = pid;
    tell(event);
  }

  void place(const Program& program) const {
    if (program.cores.empty()) {
      if (!options_.control_cores.empty() || open_cores_ != inherited_cores_) {
        (void)stay_on(open_cores_);  // the launcher's own are not its servants'
      }
    } else if (!stay_on(program.cores)) {
      // Serving matters more than where: one whose core has gone offline runs elsewhere.
      log(LogLevel::warning, "core_refused",
          {{"launched", program.servant},
           {"cores", cores_text(program.cores)},
           {"reason", LogText{"not all to be had; it runs where there are others"}}});
    }
  }

  [[noreturn]] void become_program(const Program& program, pid_t parent) {
    // Ends with the launcher, even if that is killed; the check closes the gap before the prctl.
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) {
      _exit(1);
    }
    sigprocmask(SIG_SETMASK, &inherited_mask_, nullptr);
    place(program);
    // They are the broker's: a servant that answered for it would hide that it is stuck.
    for (const char* const ours : {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"}) {
      unsetenv(ours);
    }
    setenv("MSERVE_DIR", options_.directory.c_str(), 1);
    setenv("MSERVE_NAME", options_.broker_name.c_str(), 1);
    if (program.servant != 0) {
      setenv("MSERVE_SERVANT", std::to_string(program.servant).c_str(), 1);
      unsetenv("MSERVE_CLUSTER_PASSWORD");  // etcd's is none of theirs
    } else {
      unsetenv("MSERVE_SERVANT");
    }
    setenv("MSERVE_LOG_FORMAT", log_form().json ? "json" : "text", 1);
    for (const auto& [variable, value] : program.env) {
      setenv(variable.c_str(), value.c_str(), 1);
    }
    // Nobody types to a servant: q would take a terminal's lines for commands, and ssh its keys.
    if (const int nothing = open("/dev/null", O_RDONLY); nothing > 0) {
      (void)dup2(nothing, STDIN_FILENO);
      (void)close(nothing);
    }
    std::vector<char*> argv;
    for (const std::string& arg : program.argv) {
      argv.push_back(const_cast<char*>(arg.c_str()));
    }
    argv.push_back(nullptr);
    execvp(argv[0], argv.data());
    _exit(127);
  }

  static std::uint32_t plan_restart(Child& child) {
    const std::uint64_t now = shm::steady_now();
    if (now - child.started_at >= kLivedLong) {
      child.backoff = kBackoffMin;
    }
    child.start_again_at = now + child.backoff;
    const auto wait_ms = static_cast<std::uint32_t>(child.backoff / kMillisecond);
    child.backoff = std::min(child.backoff * 2, kBackoffMax);
    return wait_ms;
  }

  void reap() {
    int status = 0;
    pid_t pid = 0;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
      for (std::size_t i = 0; i < children_.size(); ++i) {
        if (children_[i].pid == pid) {
          children_[i].pid = -1;
          children_[i].kill_at = 0;  // it was for that process; the next one is wanted
          tell({LaunchEvent::Kind::ended, static_cast<std::uint32_t>(i), pid, status,
                broker_gone_ || !children_[i].wanted() ? 0 : plan_restart(children_[i])});
        }
      }
    }
  }

  [[nodiscard]] int next_timeout_ms() const {
    const std::uint64_t now = shm::steady_now();
    std::uint64_t wait = 1'000 * kMillisecond;
    for (const Child& child : children_) {
      std::uint64_t due = 0;
      if (child.pid < 0) {
        due = child.wanted() ? child.start_again_at : UINT64_MAX;
      } else {
        due = child.kill_at != 0 ? child.kill_at : UINT64_MAX;
      }
      wait = std::min(wait, due > now ? due - now : 0);
    }
    return static_cast<int>((wait + kMillisecond - 1) / kMillisecond);
  }

  void end_all(int signals) {
    for (const int signal : {SIGTERM, SIGKILL}) {
      for (const Child& child : children_) {
        if (child.pid > 0) {
          kill(child.pid, signal);
        }
      }
      const std::uint64_t deadline = shm::steady_now() + kTermGrace;
      while (any_alive() && shm::steady_now() < deadline) {
        pollfd fd{signals, POLLIN, 0};
        (void)poll(&fd, 1, 50);
        signalfd_siginfo info;
        while (read(signals, &info, sizeof(info)) > 0) {
        }
        reap();
      }
    }
  }

  [[nodiscard]] bool any_alive() const {
    return std::any_of(children_.begin(), children_.end(),
                       [](const Child& c) { return c.pid > 0; });
  }

  void tell(const LaunchEvent& event) const {
    (void)!send(socket_, &event, sizeof(event), MSG_NOSIGNAL | MSG_DONTWAIT);
  }

  const LaunchOptions& options_;
  int socket_;
  std::vector<Child> children_;
  sigset_t inherited_mask_{};
  CoreList inherited_cores_ = allowed_cores();
  CoreList open_cores_ = avoiding(inherited_cores_, options_.avoid);
  bool broker_gone_ = false;
};

/// Waits for a child. @return false: it has not ended after so long.
bool ended_within(pid_t pid, std::uint64_t patience_ns) noexcept {
  constexpr int kLookMs = 5;
  const std::uint64_t deadline = shm::steady_now() + patience_ns;
  for (;;) {
    const pid_t done = waitpid(pid, nullptr, WNOHANG);
    if (done != 0 && !(done < 0 && errno == EINTR)) {
      return true;
    }
    if (shm::steady_now() >= deadline) {
      return false;
    }
    (void)poll(nullptr, 0, kLookMs);
  }
}

void order(int socket, const LaunchOrder& what) noexcept {
  (void)!send(socket, &what, sizeof(what), MSG_NOSIGNAL);
}

}  // namespace

Result<Launcher> Launcher::fork_off(const LaunchOptions& options) {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
    return os_error("launcher socketpair");
  }
  shm::UniqueFd ours(pair[0]);
  shm::UniqueFd theirs(pair[1]);
  const pid_t pid = fork();
  if (pid < 0) {
    return os_error("launcher fork");
  }
  if (pid == 0) {
    ours.reset();
    setsid();
    prctl(PR_SET_NAME, "mserve-launcher");
    Supervisor(options, theirs.get()).run();
    _exit(0);
  }
  fcntl(ours.get(), F_SETFL, O_NONBLOCK);
  Launcher launcher;
  launcher.programs_ = options.programs;
  launcher.socket_ = std::move(ours);
  launcher.pid_ = pid;
  return launcher;
}

Launcher::Launcher(Launcher&& other) noexcept
    : programs_(std::move(other.programs_)),
      socket_(std::move(other.socket_)),
      pid_(std::exchange(other.pid_, -1)) {}

Launcher& Launcher::operator=(Launcher&& other) noexcept {
  if (this != &other) {
    stop();
    programs_ = std::move(other.programs_);
    socket_ = std::move(other.socket_);
    pid_ = std::exchange(other.pid_, -1);
  }
  return *this;
}

void Launcher::start() noexcept {
  order(socket_.get(), {});
}

void Launcher::start(std::uint32_t servant) noexcept {
  order(socket_.get(), {LaunchOrder::Kind::start, servant});
}

void Launcher::rest(std::uint32_t servant) noexcept {
  order(socket_.get(), {LaunchOrder::Kind::rest, servant});
}

void Launcher::retire(std::uint32_t servant) noexcept {
  order(socket_.get(), {LaunchOrder::Kind::retire, servant});
}

bool Launcher::next(LaunchEvent& event) noexcept {
  return recv(socket_.get(), &event, sizeof(event), MSG_DONTWAIT) ==
         static_cast<ssize_t>(sizeof(event));
}

void Launcher::stop() noexcept {
  if (pid_ < 0) {
    return;
  }
  socket_.reset();  // the hang-up is the order to end
  // It ends by itself within two graces, unless somebody stopped it: then it is killed, which the
  // kernel tells what it launched. Where --sandbox lets nobody signal it, it is left behind.
  if (!ended_within(pid_, 2 * kTermGrace + kTermGrace / 2) && kill(pid_, SIGKILL) == 0) {
    (void)ended_within(pid_, kTermGrace);
  }
  pid_ = -1;
}

}  // namespace mserve::broker
