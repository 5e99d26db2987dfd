// SPDX-License-Identifier: Apache-2.0
// The control plane and what the launcher started.
#include <sys/wait.h>

#include <algorithm>
#include <cstring>

#include "control/control_plane.hpp"
#include "control/process_stat.hpp"

namespace mserve::broker {

namespace {

/// A back-off this long tells of several quick ends in a row.
constexpr std::uint32_t kKeepsEndingMs = 1'600;
/// Scripts that start scripts: as deep as a servant is looked for below a launched program.
constexpr int kAncestorsMax = 16;

/// A program as one types it, cut to fit a line of the log.
std::string typed(const Program& program) {
  constexpr std::size_t kBytesMax = 300;
  std::string text;
  for (const std::string& word : program.argv) {
    text += (text.empty() ? "" : " ") + word;
  }
  return text.size() <= kBytesMax ? text : text.substr(0, kBytesMax) + "...";
}

/// What to do about a program that keeps ending. @param status  as waitpid() gives it.
const char* advice_on(int status) noexcept {
  constexpr int kUsage = 2;
  constexpr int kNoProgram = 127;  // as of shells, and of the launcher
  const int code = WIFEXITED(status) ? WEXITSTATUS(status) : 0;
  return code == kUsage ? "it does not take these arguments: correct --servant-args or --q-args"
         : code == kNoProgram ? "there is no such program: correct the command of the servants"
                              : "see what it wrote to stderr, or run it by hand";
}

}  // namespace

void ControlPlane::take_launch_events() {
  LaunchEvent event;
  while (launcher_.next(event)) {
    if (event.program >= launcher_.programs().size()) {
      continue;
    }
    launched_pids_[event.program] = event.kind == LaunchEvent::Kind::started ? event.pid : 0;
    tell_launch_event(event);
    if (event.kind == LaunchEvent::Kind::started) {
      find_reserve_sessions();
    }
    const std::uint32_t launched = launcher_.programs()[event.program].servant;
    if (launched == 0) {
      continue;  // no servant
    }
    if (event.restart_ms >= kKeepsEndingMs && !serves_for(launched, nullptr)) {
      if (launched_failing_.insert(launched).second) {
        tell_keeps_ending(event);
      }
      look_at_expected();
      if (servants_attached_ == 0 && expected_classes_ == 0) {
        log(LogLevel::error, "no_servants",
            {{"reason",
              LogText{"those launched keep ending: requests are refused until one attaches"}}});
      }
    }
  }
}

/// The classes of the launched servants that run or will, of one that never attached every class;
/// and those of the one that attaches now.
std::uint64_t ControlPlane::expected_classes() const {
  std::uint64_t classes = joining_classes_;
  for (std::uint32_t launched = 1; launcher_lives_ && launched <= options_.servant_count;
       ++launched) {
    if (launched_retired_.contains(launched) || launched_failing_.contains(launched)) {
      continue;
    }
    const auto last = launched_last_.find(launched);
    classes |= last != launched_last_.end() ? last->second.classes : kEveryClass;
  }
  return classes;
}

/// Requests of these classes wait, when no servant of theirs is attached.
void ControlPlane::look_at_expected() {
  const std::uint64_t classes = expected_classes();
  if (classes != expected_classes_) {
    expected_classes_ = classes;
    Command tell_data;
    tell_data.kind = Command::Kind::servants_expected;
    tell_data.classes = classes;
    tell(*links_.commands, links_.command_fd, tell_data);
  }
}

void ControlPlane::tell_launch_event(const LaunchEvent& event) {
  const Program& program = launcher_.programs()[event.program];
  const bool wanted = !launched_retired_.contains(program.servant) &&
                      (!reserve_.covers(program.servant) ||
                       reserve_.state(program.servant) != Reserve::State::ending);
  const bool ended = event.kind == LaunchEvent::Kind::ended;
  const bool failed = event.kind == LaunchEvent::Kind::failed;
  const bool killed = ended && WIFSIGNALED(event.status);
  const LogValue none = std::nullopt;
  const LogLevel level = failed            ? LogLevel::error
                         : ended && wanted ? LogLevel::warning
                                           : LogLevel::info;
  const bool servant = program.servant != 0;
  const EventName name =
      failed  ? (servant ? EventName("servant_not_started") : EventName("program_not_started"))
      : ended ? (servant ? EventName("servant_ended") : EventName("program_ended"))
              : (servant ? EventName("servant_started") : EventName("program_started"));
  const LogField fields[] = {
      {"launched", servant ? LogValue(program.servant) : none},
      {"program", program.name},
      {"pid", event.pid},
      {"error", failed ? LogValue(LogText{std::strerror(event.status)}) : none},
      {"signal", killed ? LogValue(WTERMSIG(event.status)) : none},
      {"exit", ended && !killed ? LogValue(WEXITSTATUS(event.status)) : none},
      {"restart_ms", event.restart_ms > 0 ? LogValue(event.restart_ms) : none}};
  log(level, name, fields);
  links_.monitor->tell(shm::MonitorEventKind::launch, event_text(name.text(), fields));
}

/// Once, until it attaches: lines about each end say neither what was run nor what to do.
void ControlPlane::tell_keeps_ending(const LaunchEvent& event) {
  const Program& program = launcher_.programs()[event.program];
  const bool ended = event.kind == LaunchEvent::Kind::ended;
  const bool killed = ended && WIFSIGNALED(event.status);
  const LogValue none = std::nullopt;
  log(LogLevel::error, "servant_keeps_ending",
      {{"launched", program.servant},
       {"program", program.name},
       {"command", LogText{typed(program)}},
       {"signal", killed ? LogValue(WTERMSIG(event.status)) : none},
       {"exit", ended && !killed ? LogValue(WEXITSTATUS(event.status)) : none},
       {"error", ended ? none : LogValue(LogText{std::strerror(event.status)})},
       {"restart_ms", event.restart_ms},
       {"reason", LogText{ended ? advice_on(event.status) : "the system cannot start it"}}});
}

/// Which launched servant a process is, or was started by; 0: none.
std::uint32_t ControlPlane::launched_servant_of(pid_t pid) const noexcept {
  for (int i = 0; i < kAncestorsMax && pid > 1; ++i) {
    const auto found = std::find(launched_pids_.begin(), launched_pids_.end(), pid);
    if (found != launched_pids_.end()) {
      return launcher_.programs()[static_cast<std::size_t>(found - launched_pids_.begin())].servant;
    }
    pid = process_stat(pid).parent;
  }
  return 0;
}

/// Remembers what the launcher started it as, and how it is called, for the time when it is gone.
void ControlPlane::note_launched(const Session& servant) {
  std::uint32_t& launched = servants_[servant.number].launched;
  if (launched == 0) {
    launched = launched_servant_of(servant.pid);
  }
  if (launched != 0) {
    launched_last_[launched] = {servant.number, servant.name, servant.tags,
                                maker_.classes().classes_of(servant.tags)};
    launched_failing_.erase(launched);
  }
}

/// Whether another servant than `self` that is attached was started by the same program.
bool ControlPlane::serves_for(std::uint32_t launched, const Session* self) const noexcept {
  return std::any_of(sessions_.begin(), sessions_.end(), [&](const auto& session) {
    return session != nullptr && session.get() != self && session->is_servant() &&
           !detaching_[session->number] && servants_[session->number].launched == launched;
  });
}

/// Those of the launched servants that a target means and that do not run, or not yet.
std::vector<ControlPlane::Operation::Part> ControlPlane::absent_launched(
    const ServantTarget& target) const {
  std::vector<Operation::Part> parts;
  for (std::uint32_t launched = 1; launched <= options_.servant_count; ++launched) {
    if (launched_retired_.contains(launched) || reserve_.covers(launched) ||
        serves_for(launched, nullptr)) {
      continue;
    }
    const auto found = launched_last_.find(launched);
    if (found == launched_last_.end()) {
      if (target.is_all()) {
        parts.push_back({.name = "launched-" + std::to_string(launched), .launched = launched});
      }
      continue;
    }
    const LastSession& last = found->second;
    const bool number_is_free = sessions_[last.number] == nullptr;
    if (target.matches(number_is_free ? last.number + 1 : 0, last.name, last.tags)) {
      parts.push_back({.name = last.name, .launched = launched});
    }
  }
  return parts;
}

/// Its programs end and are not started again, unless other servants that they started serve.
/// @param launched  Program::servant; 0: none.   @param self  the one that goes; null: none does.
void ControlPlane::retire_launched(std::uint32_t launched, const Session* self) {
  if (launched == 0 || launched_retired_.contains(launched)) {
    return;
  }
  if (serves_for(launched, self)) {
    log(LogLevel::info, "session_retired",
        {{"launched", launched},
         {"reason", LogText{"its program goes on: other servants that it started are attached"}}});
    return;
  }
  launched_retired_.insert(launched);
  launcher_.retire(launched);
  if (reserve_.covers(launched)) {
    reserve_.retire(launched);
  }
  if (launched_retired_.size() == options_.servant_count) {
    launcher_lives_ = false;  // nobody is started any more
  }
  look_at_expected();
}

}  // namespace mserve::broker
