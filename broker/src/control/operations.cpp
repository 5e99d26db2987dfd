// SPDX-License-Identifier: Apache-2.0
// What operators ask for through the rendezvous socket: pause, resume, drain, retire, reload,
// tables.
#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <utility>

#include "control/control_plane.hpp"
#include "control/operation_text.hpp"
#include "control/operator_protocol.hpp"
#include "control/reload_answer.hpp"
#include "control/servant_target.hpp"
#include "gateway/gateway.hpp"
#include "mserve/shm/clock.hpp"

namespace mserve::broker {

namespace {

constexpr std::size_t kOperationsMax = 64;

/// Whoever asked does not wait for the answer any more.
bool asker_gone(int socket) noexcept {
  pollfd end{socket, POLLRDHUP, 0};
  return poll(&end, 1, 0) > 0;
}

}  // namespace

/// A servant that is about to end may drain itself, whoever it is.
bool ControlPlane::of_itself(const shm::Credentials& who, const shm::Control& control) const {
  const auto target = ServantTarget::parse(shm::text_of(control.target));
  return control.verb == shm::Verb::drain && target && target->number() != 0 &&
         std::any_of(sessions_.begin(), sessions_.end(), [&](const auto& session) {
           return session != nullptr && session->number + 1 == target->number() &&
                  session->is_servant() && session->pid == who.pid && session->uid == who.uid;
         });
}

/// Answers at once, or moves the socket to where it waits for its answer.
void ControlPlane::take_control(Handshake& handshake, std::span<const std::byte> bytes) {
  const int socket = handshake.fd();
  const auto refuse_it = [&](Errc code, const std::string& reason) {
    const std::string told = std::string(to_string(code)) + ": " + reason;
    refusals_.log(
        "control_refused", LogLevel::warning, shm::steady_now(), "control_refused",
        {{"pid", handshake.who.pid}, {"uid", handshake.who.uid}, {"reason", LogText{told}}});
    reply_to_operator(socket, code, 0, reason);
  };
  const auto control = shm::parse_control(bytes);
  if (!control) {
    refuse_it(control.error().code, control.error().where);
    return;
  }
  const Error e = check_operator(handshake.who.uid, geteuid());
  const bool own = e.code != Errc::ok && of_itself(handshake.who, control.value());
  if (e.code != Errc::ok && !own) {
    refuse_it(e.code, e.where);
    return;
  }
  if (asker_gone(socket)) {
    // Asked while this process was stopped, say: nobody expects it to happen now.
    log(LogLevel::info, "control_dropped",
        {{"verb", std::string_view(name_of(control.value().verb))},
         {"uid", handshake.who.uid},
         {"pid", handshake.who.pid},
         {"reason", "whoever asked hung up before this was read"}});
    return;
  }
  switch (control.value().verb) {
    case shm::Verb::pause:
    case shm::Verb::resume:
    case shm::Verb::drain:
    case shm::Verb::retire:
      operate(handshake, control.value(), own);
      return;
    case shm::Verb::policy:
      set_policy(handshake, std::string(shm::text_of(control.value().target)));
      return;
    case shm::Verb::log_level:
      change_log_level(handshake, std::string(shm::text_of(control.value().target)));
      return;
    case shm::Verb::reload:
      reload_for(handshake);
      return;
    case shm::Verb::servants:
      reply_with_table(socket, servant_states());
      return;
    case shm::Verb::queries:
      if (links_.gateway != nullptr) {
        unwatch(socket);
        links_.gateway->show_queries(std::move(handshake.socket), control.value().count);
      } else {
        reply_to_operator(
            socket, Errc::invalid, 0,
            "queries are those of kdb+ connections, and this broker takes none: start it "
            "with -p PORT");
      }
      return;
  }
  refuse_it(Errc::invalid, "this broker does not know that request; upgrade it");
}

void ControlPlane::operate(Handshake& handshake, const shm::Control& control, bool own) {
  const int socket = handshake.fd();
  const std::string text(shm::text_of(control.target));
  if (!serves()) {
    reply_to_operator(socket, Errc::shutdown, 0, "the broker is shutting down");
    return;
  }
  const auto target = ServantTarget::parse(text);
  if (!target) {
    reply_to_operator(socket, Errc::invalid, 0,
                      "'" + text + "' is none of " + std::string(kTargetForms));
    return;
  }
  std::vector<Operation::Part> parts;
  std::string numbers;
  for (const auto& session : sessions_) {
    if (session != nullptr && session->is_servant() && !detaching_[session->number] &&
        target->matches(session->number + 1, session->name, session->tags)) {
      parts.push_back(
          {.number = session->number,
           .generation = session->generation,
           .name = session->name,
           .was_paused = servants_[session->number].hold.has(ServantHold::Reason::paused)});
      numbers += (numbers.empty() ? "" : ",") + std::to_string(session->number + 1);
    }
  }
  if (control.verb == shm::Verb::retire) {
    take_launch_events();
    for (Operation::Part& part : absent_launched(*target)) {
      numbers += (numbers.empty() ? "launched-" : ",launched-") + std::to_string(part.launched);
      parts.push_back(std::move(part));
    }
  }
  if (parts.empty()) {
    const std::uint32_t number = target->number();
    const bool client = number != 0 && number <= sessions_.size() && sessions_[number - 1] &&
                        !sessions_[number - 1]->is_servant();
    reply_to_operator(
        socket, Errc::no_servant, 0,
        target->is_all() ? "no servant is attached"
        : client         ? text + " is a client; mserve-stat servants lists servants"
                 : "no attached servant is '" + text + "'; mserve-stat servants lists them");
    return;
  }
  // Servants that drain themselves, one order each, take no operator's place.
  const auto waiting = std::count_if(operations_.begin(), operations_.end(), [&](const auto& each) {
    const Operation& one = each.second;
    return own ? one.own && one.parts.front().number == parts.front().number : !one.own;
  });
  if (static_cast<std::size_t>(waiting) >= (own ? 1 : kOperationsMax)) {
    reply_to_operator(socket, Errc::busy, 0,
                      own ? "it drains itself already" : "too many drains wait; end one of them");
    return;
  }
  tell_order(handshake, name_of(control.verb), text, numbers);
  for (const Operation::Part& part : parts) {
    if (part.launched != 0) {
      retire_launched(part.launched, nullptr);
    } else {
      hold(*sessions_[part.number], ServantHold::Reason::paused, control.verb != shm::Verb::resume);
    }
  }
  begin_operation(handshake, control, std::move(parts), own);
}

/// In the log, and among the events.
void ControlPlane::tell_order(const Handshake& handshake, std::string_view verb,
                              const std::string& target, LogValue sessions) {
  log(LogLevel::info, "control",
      {{"verb", verb},
       {"target", LogText{target}},
       {"sessions", sessions},
       {"uid", handshake.who.uid},
       {"pid", handshake.who.pid}});
  links_.monitor->tell(shm::MonitorEventKind::order,
                       std::string(verb) + (target.empty() ? "" : " ") + target + " by uid " +
                           std::to_string(handshake.who.uid));
}

/// Holds until the next order, or a reload that changes the key.
void ControlPlane::set_policy(const Handshake& handshake, const std::string& name) {
  constexpr std::array<std::pair<const char*, Policy>, kPolicies> kNames{
      {{"orig", Policy::orig},
       {"even", Policy::even},
       {"match", Policy::match},
       {"least", Policy::least},
       {"weighted", Policy::weighted},
       {"plugin", Policy::plugin}}};
  const auto* const found = std::find_if(kNames.begin(), kNames.end(),
                                         [&](const auto& one) { return name == one.first; });
  if (found == kNames.end()) {
    reply_to_operator(handshake.fd(), Errc::invalid, 0,
                      "'" + name + "' is none of orig, even, match, least, weighted, plugin");
    return;
  }
  if (found->second == Policy::plugin && options_.plugins.policy == nullptr) {
    reply_to_operator(handshake.fd(), Errc::invalid, 0,
                      "there is no plugin: the broker was started without --policy-plugin");
    return;
  }
  options_now_.dispatch.policy = found->second;
  tell(*links_.commands, links_.command_fd, options_now_);
  tell_order(handshake, "policy", name, std::nullopt);
  reply_to_operator(handshake.fd(), Errc::ok, 0, "policy: " + name);
}

/// The same for the log.
void ControlPlane::change_log_level(const Handshake& handshake, const std::string& level) {
  if (!set_log_level(level)) {
    reply_to_operator(handshake.fd(), Errc::invalid, 0,
                      "'" + level + "' is none of info, warning, error");
    return;
  }
  tell_order(handshake, "log-level", level, std::nullopt);
  reply_to_operator(handshake.fd(), Errc::ok, 0, "log level: " + level);
}

/// What HUP does, for somebody who waits for what comes of it.
void ControlPlane::reload_for(const Handshake& handshake) {
  if (!serves()) {
    reply_to_operator(handshake.fd(), Errc::shutdown, 0, "the broker is shutting down");
    return;
  }
  tell_order(handshake, name_of(shm::Verb::reload), "", std::nullopt);
  const ReloadAnswer answer = answer_of(read_configuration_again());
  reply_with_table(handshake.fd(), answer.table, answer.text, answer.status);
}

void ControlPlane::begin_operation(Handshake& handshake, const shm::Control& control,
                                   std::vector<Operation::Part> parts, bool own) {
  Operation operation;
  operation.own = own;
  operation.verb = control.verb;
  operation.deadline = shm::add_capped(shm::steady_now(), control.timeout_ns);
  operation.parts = std::move(parts);
  if (operation.drains()) {
    for (const Operation::Part& part : operation.parts) {
      if (part.launched == 0) {
        ++servants_[part.number].drains;
        show_held(part.number);
      }
    }
  }
  unwatch(handshake.socket.get());
  const std::uint32_t key = next_operation_++;
  operation.socket = std::move(handshake.socket);
  // Whatever comes of it, a hang-up or a second message, ends the wait.
  watch(operation.socket.get(), Tag::operation, key, EPOLLIN | EPOLLRDHUP);
  operations_.emplace(key, std::move(operation));
}

void ControlPlane::advance_operations() {
  if (operations_.empty()) {
    return;
  }
  const std::uint64_t now = shm::steady_now();
  for (auto it = operations_.begin(); it != operations_.end();) {
    const auto each = it++;
    if (advance(each->second, now)) {
      end_operation(each->first);
    }
  }
}

/// @return true once it is answered.
bool ControlPlane::advance(Operation& operation, std::uint64_t now) {
  const bool retires = operation.verb == shm::Verb::retire;
  const bool drains = operation.drains();
  OperationProgress progress;
  for (Operation::Part& part : operation.parts) {
    Session* const session = session_of(part);
    if (session == nullptr) {
      // Whoever goes while it is retired is retired, see end_for_good().
      (retires ? progress.done : progress.gone)
          .add(part.name, part.launched == 0 ? part.number + 1 : 0);
      continue;
    }
    const ServantHold& hold = servants_[part.number].hold;
    progress.called_off |= drains && !part.told && !hold.has(ServantHold::Reason::paused);
    // Only the two halves of this one word have to agree.
    const std::uint64_t load = session->load.load(std::memory_order_relaxed);
    const bool obeyed = drains ? hold.dry(load) : hold.obeyed(load);
    const bool idle = operation.verb == shm::Verb::resume && !part.was_paused;
    (obeyed && !retires ? progress.done : progress.waiting)
        .add(part.name, part.number + 1, idle ? "was not paused" : "");
    if (obeyed && retires && !part.told) {
      part.told = true;
      command(Command::Kind::retire, session);
    }
  }
  const auto answer = answer_of(operation.verb, progress, now >= operation.deadline);
  if (answer) {
    const bool stops = answer->status == Errc::ok && operation.verb != shm::Verb::resume;
    reply_to_operator(operation.socket.get(), answer->status, answer->count,
                      answer->text + (stops ? without_servants() : ""));
  }
  return answer.has_value();
}

/// What becomes of requests, if operators let no servant serve; empty: there is one.
const char* ControlPlane::without_servants() const {
  bool paused = false;
  for (const auto& session : sessions_) {
    if (session == nullptr || !session->is_servant() || detaching_[session->number]) {
      continue;
    }
    if (!servants_[session->number].hold.has(ServantHold::Reason::paused)) {
      return "";
    }
    paused = true;
  }
  return paused ? "; no servant takes requests now: they wait"
                : "; no servant is left: requests end with 'no servant' until one attaches";
}

/// Nobody waits for it any more; what was paused stays so.
void ControlPlane::end_operation(std::uint32_t key) {
  const auto found = operations_.find(key);
  if (found == operations_.end()) {
    return;
  }
  if (found->second.drains()) {
    for (const Operation::Part& part : found->second.parts) {
      if (is_of(part, sessions_[part.number].get())) {
        --servants_[part.number].drains;
        show_held(part.number);
      }
    }
  }
  operations_.erase(found);
}

void ControlPlane::call_off_operations() {
  for (const auto& [key, operation] : operations_) {
    reply_to_operator(operation.socket.get(), Errc::shutdown, 0, "the broker is shutting down");
  }
  while (!operations_.empty()) {
    end_operation(operations_.begin()->first);
  }
}

/// A reason not to dispatch to it appeared or went.
void ControlPlane::hold(const Session& servant, ServantHold::Reason reason, bool there) {
  ServantHold& hold = servants_[servant.number].hold;
  const auto suspended = hold.set(reason, there);
  links_.board->held(servant.number + 1, hold.has(ServantHold::Reason::stopped),
                     hold.has(ServantHold::Reason::paused));
  show_held(servant.number);
  if (suspended) {
    command(*suspended ? Command::Kind::suspend : Command::Kind::resume,
            sessions_[servant.number].get(), /*flag=*/reason == ServantHold::Reason::paused);
  }
}

/// Why a servant gets nothing, as whoever looks at the broker sees it.
void ControlPlane::show_held(std::uint32_t number) {
  const auto& [hold, launched, told, drains] = servants_[number];
  const bool paused = hold.has(ServantHold::Reason::paused);
  links_.monitor->held(number, (hold.has(ServantHold::Reason::stopped) ? shm::kMonitorStopped : 0) |
                                   (paused ? shm::kMonitorPaused : 0) |
                                   (paused && drains > 0 ? shm::kMonitorDraining : 0) |
                                   (hold.has(ServantHold::Reason::spare) ? shm::kMonitorSpare : 0));
}

bool ControlPlane::is_of(const Operation::Part& part, const Session* session) noexcept {
  return session != nullptr && session->number == part.number &&
         session->generation == part.generation;
}

Session* ControlPlane::session_of(const Operation::Part& part) const noexcept {
  Session* const session = sessions_[part.number].get();
  return is_of(part, session) && !detaching_[part.number] ? session : nullptr;
}

/// Whether an operator waits for its retirement.
bool ControlPlane::is_retiring(const Session& servant) const noexcept {
  return std::any_of(operations_.begin(), operations_.end(), [&](const auto& each) {
    const auto& parts = each.second.parts;
    return each.second.verb == shm::Verb::retire &&
           std::any_of(parts.begin(), parts.end(),
                       [&](const Operation::Part& part) { return is_of(part, &servant); });
  });
}

std::string ControlPlane::state_of(const Session& servant) const {
  const auto& [hold, launched, told, drains] = servants_[servant.number];
  std::string state = hold.has(ServantHold::Reason::stopped) ? "stopped" : "";
  if (hold.has(ServantHold::Reason::paused)) {
    state += state.empty() ? "" : "+";
    state += drains > 0 ? "draining" : "paused";
  }
  if (hold.has(ServantHold::Reason::spare)) {
    state += state.empty() ? "ending" : "+ending";
  }
  const bool spare = reserve_.covers(servants_[servant.number].launched);
  return state.empty() ? (spare ? "reserve" : "attached") : state;
}

/// number name pid state running credit tier tags uid since: one row per attached servant.
kdb::Value ControlPlane::servant_states() const {
  std::vector<std::int64_t> numbers, uids, tiers, credits, running, since;
  std::vector<std::int32_t> pids;
  std::vector<std::string> names, tags, states;
  std::vector<SessionRow> rows = links_.board->rows();
  std::sort(rows.begin(), rows.end(),
            [](const SessionRow& a, const SessionRow& b) { return a.number < b.number; });
  for (const SessionRow& row : rows) {
    const Session* const session = sessions_[row.number - 1].get();
    if (!row.servant || session == nullptr) {
      continue;
    }
    constexpr std::uint64_t kListedRunningMax = UINT32_MAX;
    numbers.push_back(row.number);
    names.push_back(row.name);
    pids.push_back(row.pid);
    uids.push_back(row.uid);
    tags.push_back(row.tags);
    tiers.push_back(row.tier);
    credits.push_back(row.credit);
    states.push_back(state_of(*session));
    running.push_back(static_cast<std::int64_t>(session->load.load(std::memory_order_relaxed) &
                                                kListedRunningMax));  // a number to look at
    since.push_back(row.since);
  }
  using kdb::Value;
  return Value::table(
      {"number", "name", "pid", "state", "running", "credit", "tier", "tags", "uid", "since"},
      {Value::longs(std::move(numbers)), Value::symbols(std::move(names)),
       Value::ints(std::move(pids)), Value::symbols(std::move(states)),
       Value::longs(std::move(running)), Value::longs(std::move(credits)),
       Value::longs(std::move(tiers)), Value::symbols(std::move(tags)),
       Value::longs(std::move(uids)), Value::timestamps(std::move(since))});
}

/// It is retired, whether we ended its session or it went while an operator waited for that.
void ControlPlane::end_for_good(Session& servant) {
  retire_launched(std::exchange(servants_[servant.number].launched, 0), &servant);
  remember_retired(servant);
}

/// Its process is not to come back. Takes its pidfd, by which a successor in that pid is told from
/// it; without one, on old kernels, its library alone knows better.
void ControlPlane::remember_retired(Session& session) {
  if (session.pidfd) {
    unwatch(session.pidfd.get());
    retired_.push_back({session.pid, std::move(session.pidfd)});
  }
}

bool ControlPlane::was_retired(pid_t pid) const noexcept {
  return std::any_of(retired_.begin(), retired_.end(), [pid](const Retired& one) {
    pollfd end{one.pidfd.get(), POLLIN, 0};
    return one.pid == pid && poll(&end, 1, 0) == 0;
  });
}

}  // namespace mserve::broker
