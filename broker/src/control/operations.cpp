// SPDX-License-Identifier: Apache-2.0
// What operators ask for through the rendezvous socket: pause, resume, drain, retire, tables.
#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <tuple>
#include <utility>

#include "control/control_plane.hpp"
#include "control/operator_protocol.hpp"
#include "control/servant_target.hpp"
#include "gateway/gateway.hpp"
#include "mserve/shm/clock.hpp"

namespace mserve::broker {

namespace {

constexpr std::size_t kOperationsMax = 64;

const char* name_of(shm::Verb verb) noexcept {
  switch (verb) {
    case shm::Verb::pause:
      return "pause";
    case shm::Verb::resume:
      return "resume";
    case shm::Verb::drain:
      return "drain";
    case shm::Verb::retire:
      return "retire";
    case shm::Verb::servants:
      return "servants";
    case shm::Verb::queries:
      return "queries";
  }
  return "unknown";
}

/// What has happened to servants of which the verb is done.
const char* outcome_of(shm::Verb verb) noexcept {
  switch (verb) {
    case shm::Verb::resume:
      return "resumed";
    case shm::Verb::drain:
      return "drained";
    case shm::Verb::retire:
      return "retired";
    default:
      return "paused";
  }
}

std::string servants_text(std::uint64_t count) {
  return std::to_string(count) + (count == 1 ? " servant" : " servants");
}

}  // namespace

/// Answers at once, or moves the socket to where it waits for its answer.
void ControlPlane::take_control(Handshake& handshake, std::span<const std::byte> bytes) {
  const int socket = handshake.fd();
  const auto refuse_it = [&](Errc code, const std::string& reason) {
    refusals_.log(LogLevel::warning, shm::steady_now(),
                  "control_refused pid=" + std::to_string(handshake.who.pid) +
                      " uid=" + std::to_string(handshake.who.uid) + " reason=\"" + to_string(code) +
                      ": " + reason + "\"");
    reply_to_operator(socket, code, 0, reason);
  };
  const auto control = shm::parse_control(bytes);
  if (!control) {
    refuse_it(control.error().code, control.error().where);
    return;
  }
  if (const Error e = check_operator(handshake.who.uid, geteuid()); e.code != Errc::ok) {
    refuse_it(e.code, e.where);
    return;
  }
  switch (control.value().verb) {
    case shm::Verb::pause:
    case shm::Verb::resume:
    case shm::Verb::drain:
    case shm::Verb::retire:
      operate(handshake, control.value());
      return;
    case shm::Verb::servants:
      reply_with_table(socket, servant_states());
      return;
    case shm::Verb::queries:
      if (links_.gateway != nullptr) {
        unwatch(socket);
        links_.gateway->show_queries(std::move(handshake.socket), control.value().count);
      } else {
        reply_to_operator(socket, Errc::invalid, 0,
                          "this broker has no gateway (-p), whose queries these are");
      }
      return;
  }
  refuse_it(Errc::invalid, "this broker does not know that request; upgrade it");
}

void ControlPlane::operate(Handshake& handshake, const shm::Control& control) {
  const int socket = handshake.fd();
  const std::string text(shm::text_of(control.target));
  if (state_ != State::serving) {
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
        target->matches(session->number + 1, session->tags)) {
      parts.push_back({.number = session->number, .generation = session->generation});
      numbers += (numbers.empty() ? "" : ",") + std::to_string(session->number + 1);
    }
  }
  if (parts.empty()) {
    reply_to_operator(socket, Errc::no_servant, 0, "no attached servant is '" + text + "'");
    return;
  }
  if (operations_.size() >= kOperationsMax) {
    reply_to_operator(socket, Errc::busy, 0, "too many drains wait; end one of them");
    return;
  }
  log(LogLevel::info, std::string("control ") + name_of(control.verb) + " target=\"" + text +
                          "\" sessions=" + numbers + " uid=" + std::to_string(handshake.who.uid) +
                          " pid=" + std::to_string(handshake.who.pid));
  for (const Operation::Part& part : parts) {
    hold(*sessions_[part.number], ServantHold::Reason::paused, control.verb != shm::Verb::resume);
  }
  begin_operation(handshake, control, std::move(parts));
}

void ControlPlane::begin_operation(Handshake& handshake, const shm::Control& control,
                                   std::vector<Operation::Part> parts) {
  Operation operation;
  operation.verb = control.verb;
  operation.deadline = shm::add_capped(shm::steady_now(), control.timeout_ns);
  operation.parts = std::move(parts);
  if (control.verb == shm::Verb::retire) {
    take_launch_events();  // who was started may have attached already
    for (Operation::Part& part : operation.parts) {
      part.launched = launched_servant_of(sessions_[part.number]->pid);
      servants_[part.number].launched = part.launched;
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
    it = advance(it->second, now) ? operations_.erase(it) : std::next(it);
  }
}

/// @return true once it is answered.
bool ControlPlane::advance(Operation& operation, std::uint64_t now) {
  const bool retires = operation.verb == shm::Verb::retire;
  const bool drains = retires || operation.verb == shm::Verb::drain;
  std::size_t done = 0;
  bool called_off = false;
  for (Operation::Part& part : operation.parts) {
    const Session* const session = session_of(part);
    if (session == nullptr) {
      ++done;  // gone, by our hand or by its own
      retire_launched(retires ? part.launched : 0);
      continue;
    }
    const ServantHold& hold = servants_[part.number].hold;
    called_off = called_off || (drains && !part.told && !hold.has(ServantHold::Reason::paused));
    // Only the two halves of this one word have to agree.
    const std::uint64_t load = session->load.load(std::memory_order_relaxed);
    if (drains ? !hold.dry(load) : !hold.obeyed(load)) {
      continue;
    }
    if (!retires) {
      ++done;
    } else if (!part.told) {
      part.told = true;
      command(Command::Kind::retire, sessions_[part.number].get());
    }
  }
  const std::size_t count = operation.parts.size();
  if (done == count) {
    reply_to_operator(operation.socket.get(), Errc::ok, count,
                      servants_text(count) + " " + outcome_of(operation.verb));
  } else if (called_off) {
    reply_to_operator(operation.socket.get(), Errc::cancelled, done,
                      "resumed meanwhile, so this was called off");
  } else if (now >= operation.deadline) {
    reply_to_operator(operation.socket.get(), Errc::timed_out, done,
                      std::to_string(count - done) + " of " + servants_text(count) +
                          " not done yet; they stay paused");
  } else {
    return false;
  }
  return true;
}

void ControlPlane::call_off_operations() {
  for (const auto& [key, operation] : operations_) {
    reply_to_operator(operation.socket.get(), Errc::shutdown, 0, "the broker is shutting down");
  }
  operations_.clear();
}

/// A reason not to dispatch to it appeared or went.
void ControlPlane::hold(const Session& servant, ServantHold::Reason reason, bool there) {
  ServantHold& hold = servants_[servant.number].hold;
  const auto suspended = hold.set(reason, there);
  links_.board->held(servant.number + 1, hold.has(ServantHold::Reason::stopped),
                     hold.has(ServantHold::Reason::paused));
  if (suspended) {
    command(*suspended ? Command::Kind::suspend : Command::Kind::resume,
            sessions_[servant.number].get(), /*flag=*/reason == ServantHold::Reason::paused);
  }
}

Session* ControlPlane::session_of(const Operation::Part& part) const noexcept {
  Session* const session = sessions_[part.number].get();
  const bool is_it = session != nullptr && session->generation == part.generation;
  return is_it && !detaching_[part.number] ? session : nullptr;
}

std::string ControlPlane::state_of(const Session& servant) const {
  const ServantHold& hold = servants_[servant.number].hold;
  const bool paused = hold.has(ServantHold::Reason::paused);
  const bool drains = std::any_of(operations_.begin(), operations_.end(), [&](const auto& each) {
    const auto& [verb, parts] = std::tie(each.second.verb, each.second.parts);
    const bool waits = verb == shm::Verb::drain || verb == shm::Verb::retire;
    return waits && std::any_of(parts.begin(), parts.end(), [&](const Operation::Part& part) {
             return part.number == servant.number && part.generation == servant.generation;
           });
  });
  std::string state = hold.has(ServantHold::Reason::stopped) ? "stopped" : "";
  if (paused) {
    state += state.empty() ? "" : "+";
    state += drains ? "draining" : "paused";
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
    constexpr std::uint64_t kRunningMask = UINT32_MAX;
    numbers.push_back(row.number);
    names.push_back(row.name);
    pids.push_back(row.pid);
    uids.push_back(row.uid);
    tags.push_back(row.tags);
    tiers.push_back(row.remote ? 1 : 0);
    credits.push_back(row.credit);
    states.push_back(state_of(*session));
    running.push_back(static_cast<std::int64_t>(session->load.load(std::memory_order_relaxed) &
                                                kRunningMask));  // a number to look at
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
