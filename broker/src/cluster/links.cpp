// SPDX-License-Identifier: Apache-2.0
#include "cluster/links.hpp"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <optional>
#include <string_view>
#include <utility>

#include "mserve/shm/clock.hpp"

extern char** environ;  // NOLINT(readability-redundant-declaration): POSIX has no header for it

namespace mserve::cluster {

using broker::LogLevel;
using broker::LogText;
using broker::LogValue;

namespace {

constexpr std::uint64_t kMs = 1'000'000;
constexpr std::uint64_t kBackoffMin = 100 * kMs;
constexpr std::uint64_t kBackoffMax = 10'000 * kMs;
constexpr std::uint64_t kLivedLong = 10'000 * kMs;
/// Processes that ask for a link to be retired, at the same time.
constexpr std::size_t kRetiringMax = 8;
/// Longer than what runs may take; what has nobody to answer to any more ends by itself.
constexpr const char* kStopSeconds = "3600";
constexpr std::size_t kServantNameMax = 31;

/// Secrets of others, and what only a servant that the broker started should have.
constexpr std::string_view kNotForLinks[] = {"MSERVE_CLUSTER_PASSWORD=", "MSERVE_SERVANT="};

std::vector<std::string> environment_of(const LinkSetup& setup) {
  std::vector<std::string> all;
  for (char** at = environ; at != nullptr && *at != nullptr; ++at) {
    const std::string_view entry(*at);
    const bool withheld =
        std::any_of(std::begin(kNotForLinks), std::end(kNotForLinks),
                    [entry](std::string_view name) { return entry.starts_with(name); }) ||
        (!setup.login.empty() && entry.starts_with("MSERVE_Q_USER="));
    if (!withheld) {
      all.emplace_back(entry);
    }
  }
  if (!setup.login.empty()) {
    all.push_back("MSERVE_Q_USER=" + setup.login);
  }
  return all;
}

std::vector<char*> pointers_to(std::vector<std::string>& texts) {
  std::vector<char*> result;
  for (std::string& text : texts) {
    result.push_back(text.data());
  }
  result.push_back(nullptr);
  return result;
}

/// In the child: only calls that are safe after a fork.
[[noreturn]] void become(char* const* argv, char* const* environment, pid_t parent,
                         const sigset_t& mask) {
  // Ends with us, even if we are killed; the check closes the gap before the prctl.
  (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != parent) {
    _exit(1);
  }
  for (const int number : {SIGPIPE, SIGTERM, SIGINT, SIGHUP, SIGCHLD}) {
    (void)signal(number, SIG_DFL);
  }
  (void)sigprocmask(SIG_SETMASK, &mask, nullptr);
  // Sockets of Asio's are not closed by themselves.
  (void)close_range(STDERR_FILENO + 1, ~0U, 0);
  if (const int nothing = open("/dev/null", O_RDWR); nothing > 0) {
    (void)dup2(nothing, STDIN_FILENO);
    (void)dup2(nothing, STDOUT_FILENO);  // a log goes to stderr
    (void)close(nothing);
  }
  environ = const_cast<char**>(environment);
  (void)execvp(argv[0], argv);
  _exit(127);
}

/// @return the pid; -1 with errno.
pid_t started(std::vector<std::string> words, std::vector<std::string>& environment) {
  const std::vector<char*> argv = pointers_to(words);
  const std::vector<char*> variables = pointers_to(environment);
  const pid_t parent = getpid();
  // Until it has handlers of its own a signal to the child would be told to us, by Asio's pipe.
  sigset_t all;
  sigset_t before;
  (void)sigfillset(&all);
  (void)sigprocmask(SIG_SETMASK, &all, &before);
  const pid_t pid = fork();
  if (pid == 0) {
    become(argv.data(), variables.data(), parent, before);
  }
  const int fault = errno;
  (void)sigprocmask(SIG_SETMASK, &before, nullptr);
  errno = fault;
  return pid;
}

}  // namespace

std::vector<std::string> link_command(const LinkSetup& setup, const std::string& id,
                                      const LinkSpec& spec) {
  return {setup.shim,
          "--peer",
          "--broker",
          setup.broker,
          "--dir",
          setup.directory,
          "--q",
          spec.address,
          "--servant-protocol",
          "lbt",
          "--credit",
          std::to_string(spec.credit),
          "--tier",
          std::to_string(static_cast<int>(spec.tier)),
          "--name",
          ("peer-" + id).substr(0, kServantNameMax),
          "--tags",
          spec.tags,
          "--stop-timeout",
          kStopSeconds};
}

Links::Links(LinkSetup setup, std::function<void()> changed, NumberOf number_of)
    : setup_(std::move(setup)),
      changed_(std::move(changed)),
      number_of_(std::move(number_of)),
      environment_(environment_of(setup_)) {}

Links::~Links() {
  stop_all(shm::steady_now());
}

void Links::start(const std::string& id, Link& link, std::uint64_t now) {
  const bool again = link.backoff_ns > kBackoffMin;
  link.started_at = now;
  link.retired = false;
  const pid_t pid = started(link_command(setup_, id, link.spec), environment_);
  if (pid < 0) {
    link.backoff_ns = std::min(link.backoff_ns * 2, kBackoffMax);
    link.start_at = now + link.backoff_ns;
    restarts_.log("link_not_started", LogLevel::error, now, "link_not_started",
                  {{"peer", id}, {"error", LogText{std::strerror(errno)}}});
  } else {
    link.pid = pid;
    broker::KindLimiter& limiter = again ? restarts_ : orders_;
    limiter.log("link_started", LogLevel::info, now, "link_started",
                {{"peer", id},
                 {"pid", pid},
                 {"address", link.spec.address},
                 {"tier", static_cast<int>(link.spec.tier)},
                 {"tags", LogText{link.spec.tags}}});
  }
  changed_();
}

bool Links::retire(pid_t link) {
  if (retiring_.size() >= kRetiringMax) {
    to_retire_.push_back(link);
    return true;
  }
  return ask_to_retire(link);
}

bool Links::ask_to_retire(pid_t link) {
  const std::uint32_t number = number_of_ ? number_of_(link) : 0;
  if (number == 0) {
    return false;
  }
  const pid_t pid = started({setup_.stat, "--name", setup_.broker, "--dir", setup_.directory, "ctl",
                             "retire", std::to_string(number)},
                            environment_);
  if (pid > 0) {
    retiring_.emplace(pid, link);
  }
  return pid > 0;
}

void Links::let_go(const std::string& id, Link& link, const char* why, bool gently,
                   std::uint64_t now) {
  if (link.pid > 0) {
    orders_.log("link_ending", LogLevel::info, now, "link_ending",
                {{"peer", id}, {"pid", link.pid}, {"reason", LogText{why}}});
    if (!gently || !retire(link.pid)) {
      (void)kill(link.pid, SIGTERM);
    }
    ending_.emplace(link.pid, id);
    link.pid = 0;
  }
  changed_();
}

void Links::carry_out(const LinkAction& action, std::uint64_t now) {
  if (action.kind == LinkAction::Kind::stop) {
    if (const auto found = links_.find(action.id); found != links_.end()) {
      let_go(action.id, found->second, "the peer is gone or drains", /*gently=*/true, now);
      links_.erase(found);
    }
    return;
  }
  Link& link = links_[action.id];
  if (action.kind == LinkAction::Kind::replace) {
    let_go(action.id, link, "it is replaced: the peer has another address or other servants",
           /*gently=*/true, now);
    link.retired = false;
  }
  link.retired = link.retired && link.epoch == action.epoch;
  link.spec = action.spec;
  link.epoch = action.epoch;
  if (link.pid == 0 && !link.retired) {
    link.backoff_ns = kBackoffMin;
    start(action.id, link, now);
  }
}

void Links::ended(const std::string& id, Link& link, int status, std::uint64_t now) {
  const bool killed = WIFSIGNALED(status);
  link.retired = !killed && WEXITSTATUS(status) == 0;
  if (now - link.started_at >= kLivedLong) {
    link.backoff_ns = kBackoffMin;
  }
  link.start_at = now + link.backoff_ns;
  const LogValue nothing = std::nullopt;
  restarts_.log(
      "link_ended", link.retired ? LogLevel::info : LogLevel::warning, now, "link_ended",
      {{"peer", id},
       {"pid", link.pid},
       {"signal", killed ? LogValue(WTERMSIG(status)) : nothing},
       {"exit", killed ? nothing : LogValue(WEXITSTATUS(status))},
       {"restart_ms", link.retired ? nothing : LogValue(link.backoff_ns / kMs)},
       {"note", link.retired ? LogValue(LogText{"it was retired; it comes back when its peer is "
                                                "started anew"})
                             : nothing}});
  link.backoff_ns = std::min(link.backoff_ns * 2, kBackoffMax);
  link.pid = 0;
}

void Links::reap(std::uint64_t now) {
  int status = 0;
  pid_t pid = 0;
  while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
    if (const auto asked = retiring_.find(pid); asked != retiring_.end()) {
      if (status != 0 && ending_.contains(asked->second)) {
        (void)kill(asked->second, SIGTERM);
      }
      retiring_.erase(asked);
      retire_next();
    } else if (const auto former = ending_.find(pid); former != ending_.end()) {
      orders_.log("link_over", LogLevel::info, now, "link_over",
                  {{"peer", former->second}, {"pid", pid}});
      ending_.erase(former);
    } else {
      const auto found = std::find_if(links_.begin(), links_.end(),
                                      [pid](const auto& link) { return link.second.pid == pid; });
      if (found != links_.end()) {
        ended(found->first, found->second, status, now);
      }
    }
    changed_();
  }
}

/// Of those that wait for it the first one that is still there.
void Links::retire_next() {
  while (!to_retire_.empty() && retiring_.size() < kRetiringMax) {
    const pid_t link = to_retire_.front();
    to_retire_.pop_front();
    if (ending_.contains(link) && !ask_to_retire(link)) {
      (void)kill(link, SIGTERM);
    }
  }
}

void Links::tick(std::uint64_t now) {
  restarts_.tell_swallowed(now);
  orders_.tell_swallowed(now);
  for (auto& [id, link] : links_) {
    if (link.pid == 0 && !link.retired && now >= link.start_at) {
      start(id, link, now);
    }
  }
}

LinkView Links::view(const std::string& id) const {
  LinkView view{.pid = 0, .state = "none"};
  if (const auto found = links_.find(id); found != links_.end()) {
    view.pid = found->second.pid;
    view.state = view.pid != 0 ? "running" : found->second.retired ? "retired" : "waiting";
  }
  view.ending = ending(id);
  return view;
}

bool Links::down(const std::string& id) const {
  const auto found = links_.find(id);
  return found == links_.end() || found->second.pid == 0 ||
         (number_of_ && number_of_(found->second.pid) == 0);
}

std::uint32_t Links::ending(const std::string& id) const {
  return static_cast<std::uint32_t>(std::count_if(
      ending_.begin(), ending_.end(), [&id](const auto& one) { return one.second == id; }));
}

std::uint32_t Links::ending() const noexcept {
  return static_cast<std::uint32_t>(ending_.size());
}

void Links::stop_all(std::uint64_t now) {
  for (auto& [id, link] : links_) {
    let_go(id, link, "mserve-cluster ends", /*gently=*/false, now);
  }
  links_.clear();
}

bool Links::any() const noexcept {
  return !ending_.empty() || std::any_of(links_.begin(), links_.end(),
                                         [](const auto& link) { return link.second.pid > 0; });
}

}  // namespace mserve::cluster
