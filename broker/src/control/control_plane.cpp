// SPDX-License-Identifier: Apache-2.0
#include "control/control_plane.hpp"

#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>

#include "control/process_stat.hpp"
#include "control/servant_tags.hpp"
#include "gateway/gateway.hpp"
#include "mserve/shm/clock.hpp"

namespace mserve::broker {

namespace {

constexpr std::uint64_t kTick = kSecond / 10;
constexpr std::uint64_t kGiveUp = 2 * kSecond;  // for the last answers after the drain time-out

std::uint64_t mark_of(std::uint32_t tag, std::uint32_t number) {
  return std::uint64_t{tag} << 32 | number;
}

RingAccess ring_access_of(const BrokerOptions& options) {
  std::vector<std::string> told_before;
  return {options.allow_users, RingAccess::find_groups(options.allow_groups, told_before),
          options.gateway.access, options.gateway.users_required};
}

void tell(LogLevel level, EventName event, const Session& s, LogValue reason = std::nullopt) {
  log(level, event,
      {{s.is_servant() ? "servant" : "client", s.name},
       {"session", s.number + 1},
       {"pid", s.pid},
       {"reason", reason}});
}

}  // namespace

ControlPlane::ControlPlane(const BrokerOptions& options, const Links& links, SessionMaker maker,
                           shm::UniqueFd listener, Launcher launcher, Reload reload)
    : options_(options),
      links_(links),
      maker_(std::move(maker)),
      listener_(std::move(listener)),
      launcher_(std::move(launcher)),
      reload_(std::move(reload)),
      ring_access_(ring_access_of(options)),
      sessions_(options.max_sessions),
      detaching_(options.max_sessions),
      servants_(options.max_sessions),
      launched_pids_(launcher_.programs().size()),
      reserve_({.first = options.servant_count - options.reserve + 1,
                .count = options.reserve,
                .after = options.reserve_after,
                .idle = options.reserve_idle}) {
  watch(listener_.get(), Tag::listener, 0, EPOLLIN);
  watch(links_.signal_fd, Tag::signals, 0, EPOLLIN);
  watch(links_.report_fd, Tag::reports, 0, EPOLLIN);
  if (!launcher_.programs().empty()) {
    watch(launcher_.fd(), Tag::launcher, 0, EPOLLIN);
    launcher_.start();
  }
  launcher_lives_ = options_.servant_count > 0;
  options_now_ = options_command(options_);
  look_at_expected();
  std::string fault;
  if (options_.links_come()) {  // what leaves no room for them is to fail now
    if (auto change = maker_.classes().meet(kLinkTag, fault)) {
      tell_classes(*std::move(change));
    }
  }
  if (!apply_rules(options_.placement, fault)) {
    log(LogLevel::error, "rules_refused", {{"reason", LogText{fault}}});
  }
  tell_ready();
}

void ControlPlane::run() {
  while (state_ != State::done) {
    std::array<epoll_event, 64> events;
    constexpr std::uint64_t kLook = kSecond / 200;  // how late an operator learns of a dry servant
    const std::uint64_t wait =
        std::min({kTick, reserve_look_ns(), operations_.empty() ? kTick : kLook,
                  links_.requests->patience_ns()});
    const int count =
        epoll_wait(links_.control_epoll_fd, events.data(), static_cast<int>(events.size()),
                   static_cast<int>(wait / 1'000'000));
    for (int i = 0; i < count; ++i) {
      const epoll_event& event = events[static_cast<std::size_t>(i)];
      handle(event.data.u64, event.events);
    }
    take_stamps();
    links_.gateway_log->write_out();
    if (shm::steady_now() >= tick_at_) {
      tick();
    }
    advance_operations();
    if (state_ == State::leaving && shm::steady_now() >= deadline_) {
      begin_drain();
    }
    if (serves()) {
      advance_reserve();
    } else {
      advance_shutdown();
    }
  }
  if (links_.gateway != nullptr) {
    links_.gateway->stop();  // its last answers are in its ring by now
  }
  command(Command::Kind::stop);
}

void ControlPlane::handle(std::uint64_t mark, std::uint32_t events) {
  const auto number = static_cast<std::uint32_t>(mark);
  switch (static_cast<Tag>(mark >> 32)) {
    case Tag::listener:
      accept_all();
      break;
    case Tag::signals:
      take_signals();
      break;
    case Tag::reports:
      take_reports();
      break;
    case Tag::launcher:
      take_launch_events();
      if ((events & (EPOLLHUP | EPOLLERR)) != 0) {
        unwatch(launcher_.fd());
        log(LogLevel::error, "launcher_gone",
            {{"note", LogText{"servants are not restarted any more; restart the broker"}}});
        launcher_lives_ = false;
        call_off_reserve();
        look_at_expected();
      }
      break;
    case Tag::handshake:
      read_handshake(number);
      break;
    case Tag::socket:
    case Tag::pidfd:
      peer_gone(number);
      break;
    case Tag::operation:
      end_operation(number);
      break;
  }
}

void ControlPlane::watch(int fd, Tag tag, std::uint32_t number, std::uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.u64 = mark_of(static_cast<std::uint32_t>(tag), number);
  (void)epoll_ctl(links_.control_epoll_fd, EPOLL_CTL_ADD, fd, &event);
}

void ControlPlane::unwatch(int fd) {
  (void)epoll_ctl(links_.control_epoll_fd, EPOLL_CTL_DEL, fd, nullptr);
}

void ControlPlane::command(Command::Kind kind, Session* session, bool flag) {
  Command command;
  command.kind = kind;
  command.flag = flag;
  if (kind == Command::Kind::attach) {
    command.session = session;
  } else if (session != nullptr) {
    command.number = session->number;
    command.generation = session->generation;
  }
  tell(*links_.commands, links_.command_fd, command);
}

void ControlPlane::peer_gone(std::uint32_t number) {
  Session* const session = sessions_[number].get();
  if (session == nullptr || detaching_[number]) {
    return;
  }
  detaching_[number] = true;
  unwatch(session->socket.get());
  if (session->pidfd) {
    unwatch(session->pidfd.get());
  }
  if (is_retiring(*session)) {
    end_for_good(*session);  // before it is seen to be gone, and before it can be back
  }
  command(Command::Kind::detach, session);
}

void ControlPlane::take_reports() {
  std::uint64_t ignored = 0;
  (void)!read(links_.report_fd, &ignored, sizeof(ignored));
  Report report;
  while (links_.reports->try_dequeue(report)) {
    if (report.kind == Report::Kind::drained) {
      drained_ = true;
    } else {
      take_stamps();  // told before this report, and of this session
      end_session(report.session, report.code, report.where);
    }
  }
}

void ControlPlane::end_session(Session* session, Errc code, const char* where) {
  const std::uint32_t number = session->number;
  if (code == Errc::retired || is_retiring(*session)) {
    end_for_good(*session);  // before it is told, for it ends then
  }
  links_.requests->remember(*session);
  if (code == Errc::disconnected) {
    tell(LogLevel::info, "detached", *session);
    links_.monitor->tell(shm::MonitorEventKind::detached, session->name, session);
  } else {
    const std::string reason = std::string(to_string(code)) + ": " + where;
    tell(code == Errc::retired ? LogLevel::info : LogLevel::warning, "closed", *session,
         LogText{reason});
    links_.monitor->tell(shm::MonitorEventKind::closed, session->name + ": " + where, session,
                         code);
    shm::Closing closing;
    closing.status = code;
    shm::set_reason(closing.reason, where);
    (void)shm::send_message(session->socket.get(), shm::wire_bytes(closing), {}, 0);
  }
  if (session->is_servant()) {
    --servants_attached_;
    links_attached_ -= session->link ? 1U : 0U;
  }
  links_.board->detached(number + 1);
  links_.monitor->detach(*session);
  detaching_[number] = false;
  servants_[number] = {};
  session->socket.reset();
  session->pidfd.reset();
  maker_.release_place(*session);
  // Unmapping interrupts every core that runs one of our threads: several at once, and later; till
  // then its bytes count.
  graveyard_.push_back(std::move(sessions_[number]));
}

void ControlPlane::bury() {
  for (const auto& session : graveyard_) {
    maker_.release_bytes(*session);
  }
  graveyard_.clear();
}

void ControlPlane::take_signals() {
  signalfd_siginfo info;
  while (read(links_.signal_fd, &info, sizeof(info)) == static_cast<ssize_t>(sizeof(info))) {
    if (info.ssi_signo == SIGHUP) {
      read_configuration_again();
    } else if (state_ == State::serving) {
      take_leave();
    } else if (state_ == State::leaving) {
      begin_drain();  // somebody is in a hurry
    } else {
      log(LogLevel::warning, "second_signal", {{"note", LogText{"not waiting for the rest"}}});
      deadline_ = 0;
    }
  }
}

/// False: they need too many classes, and those that held before still hold.
bool ControlPlane::apply_rules(std::span<const Rule> rules, std::string& fault) {
  auto change = maker_.classes().apply(rules, fault);
  if (!change) {
    return false;
  }
  tell_classes(*std::move(change));
  return true;
}

void ControlPlane::tell_classes(ClassTable::Change change) {
  for (const ClassDefined& defined : change.classes) {
    Command define;
    define.kind = Command::Kind::class_defined;
    define.defined = defined;
    tell(*links_.commands, links_.command_fd, define);
  }
  for (auto& [launched, last] : launched_last_) {
    last.classes = maker_.classes().classes_of(last.tags);
  }
  look_at_expected();
  Command hold;
  hold.kind = Command::Kind::placement;
  hold.placement = std::move(change.placement);
  tell(*links_.commands, links_.command_fd, hold);
}

/// All of what changed is applied, or nothing. @return what was read; Reloaded::refused() says
/// which.
Reloaded ControlPlane::read_configuration_again() {
  Reloaded read = reload_();
  for (const std::string& fault : read.faults) {
    log(LogLevel::error, "reload_refused", {{"reason", LogText{fault}}});
  }
  for (const Setting& setting : read.fixed) {
    log(LogLevel::error, "reload_refused",
        {{"key", setting.key},
         {"value", LogToml{setting.value}},
         {"reason", LogText{kNeedsRestart}}});
  }
  if (read.refused()) {
    return read;
  }
  if (std::string fault; !apply_rules(read.options.placement, fault)) {
    log(LogLevel::error, "reload_refused", {{"key", "rule"}, {"reason", LogText{fault}}});
    read.faults.push_back("rule: " + fault);
    return read;
  }
  apply(read);
  return read;
}

/// What is left of it once its rules hold.
void ControlPlane::apply(const Reloaded& read) {
  read.applied();
  std::vector<LogField> fields;
  for (const Setting& setting : read.changed) {
    fields.push_back({setting.key, LogToml{setting.value}});
  }
  if (fields.empty()) {
    fields.push_back({"note", LogText{"nothing changed"}});
  }
  if (const auto& access = read.options.gateway.access) {
    fields.push_back({"users", access->user_count()});
    fields.push_back({"roles", access->role_count()});
  }
  log(LogLevel::info, "reloaded", fields);
  links_.monitor->tell(shm::MonitorEventKind::reloaded, event_text("reloaded", fields));
  const auto changes = [&read](std::string_view key) {
    return std::any_of(read.changed.begin(), read.changed.end(),
                       [key](const Setting& setting) { return setting.key == key; });
  };
  // What an operator has ordered since holds on, unless it is this that changes.
  if (changes("log-level")) {
    (void)set_log_level(read.options.log_level);
  }
  const Policy policy = options_now_.dispatch.policy;
  options_now_ = options_command(read.options);
  if (!changes("policy")) {
    options_now_.dispatch.policy = policy;
  }
  options_now_.stamps.every = links_.requests->trace_every();
  tell(*links_.commands, links_.command_fd, options_now_);
  // None now, and none before, is no change.
  ring_access_.set_access(read.options.gateway.access);
  if (links_.gateway != nullptr) {
    links_.gateway->set_access(read.options.gateway.access);
  }
}

Command ControlPlane::options_command(const BrokerOptions& options) {
  Command change;
  change.kind = Command::Kind::options;
  change.dispatch = options.dispatch();
  change.number = options.retries;
  change.origin_requests_max = options.origin_requests_max();
  change.deadline = {options.queue_timeout, options.timeout};
  change.stamps = options.stamps();
  change.flag = options.gateway.access != nullptr;
  return change;
}

void ControlPlane::tick() {
  const std::uint64_t now = shm::steady_now();
  tick_at_ = now + kTick;
  expire_handshakes();
  refusals_.tell_swallowed(now);
  spare_.take_back();
  if (listener_rests_ && listener_) {
    listener_rests_ = false;
    watch(listener_.get(), Tag::listener, 0, EPOLLIN);
  }
  look_for_stopped();
  look_for_policy_faults();
  look_for_refused_calls();
  links_.requests->tick(now);
  manager_.repeat();
  tell_alive(now);
  bury();
  std::erase_if(retired_, [this](const Retired& one) { return !was_retired(one.pid); });
  if (now >= clock_sync_at_) {
    links_.data->sync_clock();
    clock_sync_at_ = now + kSecond;
  }
}

/// The data thread never logs; it counts.
void ControlPlane::look_for_policy_faults() {
  const std::uint64_t faults = links_.data->policy_faults();
  if (faults != policy_faults_told_) {
    log(LogLevel::error, "policy_plugin_fault",
        {{"name", options_.plugins.policy->name},
         {"count", faults - policy_faults_told_},
         {"reason", LogText{"chose a servant that is not free; the first free one was taken"}}});
    policy_faults_told_ = faults;
  }
}

void ControlPlane::look_for_refused_calls() {
  if (links_.refused_calls != nullptr) {
    refused_calls_.look(*links_.refused_calls);
  }
}

/// Of requests that ended. Once the trace has ended the data thread tells of no more for it.
void ControlPlane::take_stamps() {
  links_.requests->take(sessions_);
  if (options_now_.stamps.every != links_.requests->trace_every()) {
    options_now_.stamps.every = links_.requests->trace_every();
    tell(*links_.commands, links_.command_fd, options_now_);
  }
}

void ControlPlane::look_for_stopped() {
  for (const auto& session : sessions_) {
    if (session == nullptr || !session->is_servant() || detaching_[session->number]) {
      continue;
    }
    const char letter = process_stat(session->pid).state;
    const bool stopped = letter == 'T' || letter == 't';
    if (stopped != servants_[session->number].hold.has(ServantHold::Reason::stopped)) {
      tell(stopped ? LogLevel::warning : LogLevel::info,
           stopped ? EventName("suspect") : EventName("resumed"), *session);
      links_.monitor->tell(
          stopped ? shm::MonitorEventKind::stopped : shm::MonitorEventKind::resumed, session->name,
          session.get());
      hold(*session, ServantHold::Reason::stopped, stopped);
    }
  }
}

void ControlPlane::tell_ready() {
  if (ready_told_ || servants_attached_ - links_attached_ + launched_retired_.size() <
                         options_.servant_count - options_.reserve) {
    return;
  }
  ready_told_ = true;
  log(LogLevel::info, "ready", {{"name", options_.name}, {"servants", servants_attached_}});
  manager_.ready(std::to_string(servants_attached_) + " launched servants attached");
  if (options_.ready_fd >= 0) {
    (void)!write(options_.ready_fd, "ready\n", 6);
    close(options_.ready_fd);
  }
}

/// The service manager hears that the broker lives only once the data thread has answered: a
/// control thread that goes on alone is no broker.
void ControlPlane::tell_alive(Nanos now) {
  if (manager_.patience_ns() == 0 || now < beat_at_ || links_.data->beats() != beats_sent_) {
    return;
  }
  if (beats_sent_ > 0) {
    manager_.alive();
  }
  beat_at_ = now + manager_.patience_ns() / 4;
  Command beat;
  beat.kind = Command::Kind::beat;
  beat.number = ++beats_sent_;
  tell(*links_.commands, links_.command_fd, beat);
}

/// Who spreads connections over brokers is told to spread them elsewhere, and has time to see it.
void ControlPlane::take_leave() {
  const Nanos delay = options_.gateway.drain_delay;
  manager_.stopping();
  if (links_.gateway == nullptr || delay == 0) {
    begin_drain();
    return;
  }
  log(LogLevel::info, "leaving",
      {{"delay_ms", delay == kForever ? LogValue("inf") : LogValue(delay / 1'000'000)}});
  links_.monitor->tell(shm::MonitorEventKind::draining, "the broker will shut down");
  links_.gateway->take_leave();
  state_ = State::leaving;
  deadline_ = shm::add_capped(shm::steady_now(), delay);
}

void ControlPlane::begin_drain() {
  const bool patient = options_.drain_timeout == kForever;
  log(LogLevel::info, "draining",
      {{"timeout_ms", patient ? LogValue("inf") : LogValue(options_.drain_timeout / 1'000'000)}});
  links_.monitor->tell(shm::MonitorEventKind::draining, "the broker is shutting down");
  state_ = State::draining;
  call_off_operations();
  call_off_reserve();
  deadline_ = shm::add_capped(shm::steady_now(), options_.drain_timeout);
  unwatch(listener_.get());
  listener_.reset();
  if (links_.gateway != nullptr) {
    links_.gateway->drain();
  }
  command(Command::Kind::drain);
}

void ControlPlane::advance_shutdown() {
  const std::uint64_t now = shm::steady_now();
  if (drained_) {
    log(LogLevel::info, "drained");
    close_all();
    state_ = State::done;
  } else if (state_ == State::draining && now >= deadline_) {
    log(LogLevel::warning, "drain_timeout",
        {{"note", LogText{"what is left is answered with shutdown"}}});
    state_ = State::giving_up;
    deadline_ = now + kGiveUp;
    command(Command::Kind::drain_expired);
  } else if (state_ == State::giving_up && now >= deadline_) {
    close_all();
    state_ = State::done;
  }
}

void ControlPlane::close_all() {
  shm::Closing closing;
  closing.status = Errc::shutdown;
  shm::set_reason(closing.reason, "the broker is shutting down");
  for (const auto& session : sessions_) {
    if (session != nullptr) {
      (void)shm::send_message(session->socket.get(), shm::wire_bytes(closing), {}, 0);
    }
  }
}

void ControlPlane::finish() {
  take_reports();
  take_stamps();
  links_.gateway_log->write_out();
  launcher_.stop();
  look_for_refused_calls();
  log(LogLevel::info, "stopped");
}

}  // namespace mserve::broker
