// SPDX-License-Identifier: Apache-2.0
#include "data/data_plane.hpp"

#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <random>

#include "control/wake_peer.hpp"
#include "mserve/shm/parking.hpp"
#include "mserve/shm/socket.hpp"

namespace mserve::broker {

namespace {

constexpr std::uint32_t kCommandsPerPass = 64;
constexpr std::uint32_t kColdPassMask = 7;
// Of a pass that found nothing; a thousand have their turn within microseconds. Each is a load from
// afar, for which whatever comes meanwhile waits, and more of them would make a turn no shorter.
constexpr std::size_t kColdProbes = 4;
constexpr std::size_t kColdProbesWorking = 8;  // of one in kColdPassMask + 1 that did
constexpr std::uint32_t kColdControlPassMask = 7;
constexpr std::uint32_t kTimerPassMask = 63;  // the clock is looked at each 64 passes
constexpr Nanos kTimerInterval = 1'000'000;

Limits limits_of(const BrokerOptions& options, const PolicySource* plugin) {
  Limits limits;
  limits.plugin = plugin;
  limits.servants_max = options.max_sessions;
  limits.origins_max = options.max_sessions + options.max_connections;
  limits.requests_max = options.max_queue;
  limits.origin_requests_max = options.origin_requests_max();
  limits.queued_bytes_max = options.max_queue_bytes;
  limits.routes_per_servant = options.routes_per_servant;
  limits.classes_max = options.classes_max();
  limits.list_arrivals = options.reserve > 0;
  std::random_device random;  // clients choose route hashes; none shall be able to aim at one slot
  limits.hash_seed = std::uint64_t{random()} << 32 | random();
  return limits;
}

}  // namespace

DataCounters DataCounters::add_to(shm::CountersWriter& w) {
  return {&w.add("requests"),       &w.add("refused"),
          &w.add("replies"),        &w.add("errors"),
          &w.add("discarded"),      &w.add("stale_replies"),
          &w.add("retried"),        &w.add("queue_timeouts"),
          &w.add("overruns"),       &w.add("interrupts"),
          &w.add("fragments_in"),   &w.add("fragments_out"),
          &w.add("kept_replies"),   &w.add("sessions"),
          &w.add("servants"),       &w.add("attached_total"),
          &w.add("closed_total"),   &w.add("queued"),
          &w.add("running"),        &w.add("affinity_hits"),
          &w.add("remote"),         &w.add("policy_plugin_faults"),
          &w.add("wakes"),          &w.add("sleeps"),
          &w.add("stamps_dropped"), &w.add("not_repeatable"),
          &w.add("sent_elsewhere")};
}

DataPlane::DataPlane(const BrokerOptions& options, bool seq_cst_wakes, const Links& links,
                     const DataCounters& counters, shm::Idler idler)
    : options_(options),
      judges_users_(options.gateway.access != nullptr),
      links_(links),
      counters_(counters),
      clock_(options.clock),
      idler_(idler),
      plugin_(
          options.plugins.policy != nullptr
              ? std::make_unique<PluginPolicies>(*options.plugins.policy, *counters.policy_faults)
              : nullptr),
      dispatcher_(limits_of(options, plugin_.get()), options.dispatch()),
      monitor_(*links.monitor, options.max_sessions, clock_.now()),
      stamps_(links.stamps, *counters.stamps_dropped),
      store_(options.max_queue_bytes + kept_bytes_max(options)),
      records_(options.max_queue),
      terms_(options.max_queue),
      flows_(options.max_sessions * kFlowsPerClient + options.max_connections),
      outbounds_(options.max_queue),
      origins_(options.max_sessions, options.max_connections),
      seq_cst_wakes_(seq_cst_wakes),
      sessions_(options.max_sessions) {
  if (links.wakes != nullptr) {
    wake_token_.emplace(*links.wakes);
  }
  stamps_.set(options.stamps());
  gather_limit_ = std::min<std::uint64_t>(options.gather_max,
                                          shm::whole_payload_bytes_max(options.servant_ring));
  whole_max_ = std::min(options.max_message, shm::whole_payload_bytes_max(options.servant_ring));
  all_.reserve(options.max_sessions);
  hot_.reserve(options.max_sessions);
  cold_.reserve(options.max_sessions);
  wake_list_.reserve(options.max_sessions);
  outbox_list_.reserve(origins_.count());
  granting_.reserve(options.max_connections);
  joining_.reserve(options.max_sessions);
  closed_.reserve(options.max_sessions);
  // Who looks before the first pass would else see what was told at time 0: a broker that hangs.
  publish();
}

void DataPlane::run() {
  while (!stopping_ && !lending_) {
    if (pass()) {
      idler_.reset();
    } else {
      idle();
    }
  }
  lending_ = false;
}

bool DataPlane::pass() {
  now_read_ = false;
  ++pass_count_;
  bool worked = false;
  // By index: serving may heat further sessions, which are then served in this pass too.
  for (std::size_t i = 0; i < hot_.size(); ++i) {
    worked |= serve(*hot_[i]);
  }
  if (!outbox_list_.empty()) [[unlikely]] {
    for (std::size_t i = outbox_list_.size(); i > 0; --i) {
      // Closing one client may close others, so the list may be shorter than it was.
      worked |= i <= outbox_list_.size() && flush_outbox(*outbox_list_[i - 1]);
    }
  }
  if (decisions_left_) [[unlikely]] {
    worked |= decide();
  }
  if (!granting_.empty()) [[unlikely]] {
    worked |= grant_flows();
  }
  // Some cold sessions per empty pass, and now and then under load: nobody is forgotten.
  if (!worked || (pass_count_ & kColdPassMask) == 0) {
    worked |= probe_cold(worked ? kColdProbesWorking : kColdProbes);
  }
  if ((pass_count_ & kTimerPassMask) == 0) [[unlikely]] {
    upkeep();
  }
  if (!wake_list_.empty()) [[unlikely]] {
    flush_wakes();
  }
  if (!closed_.empty()) [[unlikely]] {
    report_closed();
  }
  monitor_.passed(worked);
  return worked;
}

bool DataPlane::serve(Session& session) {
  return session.is_servant() ? serve_servant(session) : serve_client(session);
}

bool DataPlane::probe_cold(std::size_t most) {
  if (cold_.empty()) {
    return false;
  }
  const std::size_t count = std::min(cold_.size(), most);
  for (std::size_t i = 0; i < count; ++i) {
    cold_cursor_ = cold_cursor_ + 1 < cold_.size() ? cold_cursor_ + 1 : 0;
    const Cold& cold = cold_[cold_cursor_];
    if (cold.next->load(std::memory_order_acquire) != 0) [[unlikely]] {  // E1, as ready() does
      Session& session = *cold.session;
      heat(session);
      return serve(session);
    }
  }
  // What cancels or grants room is in less of a hurry, and costs as much as all of these. But who
  // yields may be away for long between two passes.
  if ((pass_count_ & kColdControlPassMask) != 0 && !idler_.yields()) {
    return false;
  }
  cold_control_cursor_ = cold_control_cursor_ + 1 < cold_.size() ? cold_control_cursor_ + 1 : 0;
  Session& session = *cold_[cold_control_cursor_].session;
  if (session.is_servant() || !session.control.ready()) {
    return false;
  }
  heat(session);
  return serve(session);
}

void DataPlane::enter_hot(Session& session) noexcept {
  if (!session.closing) {
    session.hot = true;
    session.active_at = now();
    leave_cold(session);
    hot_.push_back(&session);
  }
}

void DataPlane::leave_cold(Session& session) noexcept {
  if (session.cold_at != kNone) {
    cold_[session.cold_at] = cold_.back();
    cold_[session.cold_at].session->cold_at = session.cold_at;
    cold_.pop_back();
    session.cold_at = kNone;
  }
}

void DataPlane::cool_sessions() {
  for (std::size_t i = hot_.size(); i > 0; --i) {
    Session& session = *hot_[i - 1];
    if (now() - session.active_at >= options_.cool && session.running.empty() &&
        session.flows.empty() && !session.in.ready()) {
      session.hot = false;
      session.cold_at = static_cast<std::uint32_t>(cold_.size());
      cold_.push_back({&session.in.next_word(), &session});
      hot_[i - 1] = hot_.back();
      hot_.pop_back();
    }
  }
}

void DataPlane::timers() {
  timers_at_ = now() + kTimerInterval;
  (void)clock_.apply();
  cool_sessions();
  cut_stalled();
  if (decisions_left_ || dispatcher_.queued() > 0 || dispatcher_.running() > 0) {
    (void)decide();  // somebody may have waited or run for long enough
  }
  std::erase_if(joining_, [this](Session* session) { return join(*session); });
  counters_.queued->set(dispatcher_.queued());
  counters_.running->set(dispatcher_.running());
  counters_.affinity_hits->set(dispatcher_.counters().hits);
  counters_.remote->set(dispatcher_.counters().remote);
  counters_.retried->set(dispatcher_.counters().retried);
  counters_.sent_elsewhere->set(dispatcher_.counters().elsewhere);
  counters_.queue_timeouts->set(dispatcher_.counters().failed_queued);
  counters_.overruns->set(dispatcher_.counters().overruns);
  tell_oldest();
  publish();
  if (draining_) {
    check_drained();
  }
}

/// For whoever starts the reserve, which there is only if somebody launches it.
void DataPlane::tell_oldest() noexcept {
  if (options_.reserve > 0) {
    oldest_queued_.store(dispatcher_.oldest_submitted(),
                         std::memory_order_relaxed);  // as oldest_queued()
  }
}

void DataPlane::take_commands() {
  Command command;
  for (std::uint32_t i = 0; i < kCommandsPerPass && links_.commands->try_dequeue(command); ++i) {
    switch (command.kind) {
      case Command::Kind::attach:
        attach(*command.session);
        break;
      case Command::Kind::detach:
        if (Session* const session = find(command)) {
          close(*session, Errc::disconnected, "peer is gone");
          (void)decide();
        }
        break;
      case Command::Kind::suspend:
      case Command::Kind::resume:
        if (Session* const session = find(command)) {
          suspend(*session, command.kind == Command::Kind::suspend, command.flag);
        }
        break;
      case Command::Kind::retire:
        if (Session* const session = find(command)) {
          close(*session, Errc::retired, "retired by an operator");
          (void)decide();
        }
        break;
      case Command::Kind::servants_expected:
        dispatcher_.on(ServantsExpected{command.classes}, now());
        (void)decide();
        break;
      case Command::Kind::drain:
        draining_ = true;
        dispatcher_.on(DrainBegan{}, now());
        break;
      case Command::Kind::drain_expired:
        dispatcher_.on(DrainExpired{}, now());
        (void)decide();
        break;
      case Command::Kind::options:
        options_.policy = command.dispatch.policy;
        options_.retries = command.number;
        options_.queue_timeout = command.deadline.queue_ns;
        options_.timeout = command.deadline.run_ns;
        judges_users_ = command.flag;
        dispatcher_.set_options(command.dispatch, now());
        dispatcher_.set_origin_requests_max(command.origin_requests_max);
        stamps_.set(command.stamps);
        (void)decide();
        break;
      case Command::Kind::pool_defined:
        (void)dispatcher_.on(command.pool, now());
        break;
      case Command::Kind::class_defined:
        (void)dispatcher_.on(command.defined, now());
        (void)decide();
        break;
      case Command::Kind::placement:
        placement_ = std::move(command.placement);
        break;
      case Command::Kind::beat:
        beats_.store(command.number, std::memory_order_relaxed);  // nothing comes with it
        break;
      case Command::Kind::lend:
        lending_ = true;
        break;
      case Command::Kind::stop:
        stopping_ = true;
        break;
    }
  }
}

void DataPlane::report_closed() {
  for (const Report& closed : closed_) {
    report(closed);
  }
  closed_.clear();
}

void DataPlane::report(const Report& report) {
  if (links_.wakes != nullptr) {
    // The waker passes it on after every wake of this session that was asked for before.
    links_.wakes->enqueue(*wake_token_, Wake{Wake::Kind::report, report.session, report});
    return;
  }
  links_.reports->enqueue(report);
  const std::uint64_t one = 1;
  (void)!write(links_.report_fd, &one, sizeof(one));
}

void DataPlane::list_wake(Session& session) noexcept {
  if (!session.wake_listed && !session.closing) {
    session.wake_listed = true;
    session.wake_until = now() + shm::kSleepNsMax;
    wake_list_.push_back(&session);
  }
}

void DataPlane::flush_wakes() {
  std::size_t kept = 0;
  for (Session* session : wake_list_) {
    counters_.wakes->add();
    if (links_.wakes != nullptr) {
      // try_enqueue: a full queue means that the waker has enough to do; asked again next pass.
      if (links_.wakes->try_enqueue(*wake_token_, Wake{Wake::Kind::peer, session, {}})) {
        session->wake_listed = false;
        continue;
      }
    } else if (wake_peer(*session) || now() >= session->wake_until) {
      session->wake_listed = false;
      continue;
    }
    wake_list_[kept++] = session;
  }
  wake_list_.resize(kept);
}

void DataPlane::idle() {
  // After a sleep in which nobody rang one look is enough before the next.
  if (idler_.idle() == shm::Idler::Step::park && !(prepare_sleep() && !finish_sleep(sleep_ns()))) {
    idler_.reset();
  }
}

bool DataPlane::anything_ready() {
  const auto ready = std::find_if(all_.begin(), all_.end(), [this](const Session* s) {
    // A frame that waits for a servant moves on by some servant's reply, one that waits for room
    // after a nap: who makes room does not ring.
    return (s->in.ready_before_sleep(seq_cst_wakes_) && !s->waits_for_servant &&
            s->blocked_since == 0) ||
           (!s->is_servant() && s->control.ready_before_sleep(seq_cst_wakes_)) || s->wake_listed;
  });
  if (ready == all_.end()) {
    return false;
  }
  heat(**ready);
  return true;
}

Nanos DataPlane::sleep_ns() {
  // Who makes room in a ring does not ring.
  const bool wants_room = !outbox_list_.empty() || !granting_.empty() ||
                          std::any_of(all_.begin(), all_.end(), [](const Session* s) {
                            return s->blocked_since != 0 || !s->undelivered.empty() ||
                                   !s->aborts.empty() || !s->interrupts.empty() ||
                                   !s->origins.untold.empty();
                          });
  return wants_room || dispatcher_.next_wakeup(now()) != kForever ? kTimerInterval
                                                                  : shm::kSleepNsMax;
}

bool DataPlane::prepare_sleep() {
  take_commands();
  report_closed();
  if (stopping_ || lending_ || decisions_left_ || links_.commands->size_approx() != 0) {
    return false;
  }
  // C1 for every session, one barrier, C3 for every session; see shm/parking.hpp.
  for (Session* session : all_) {
    shm::store_polled(session->own.front()->polled, shm::Polled::sleeping_on_socket,
                      seq_cst_wakes_);
  }
  shm::parking_barrier(seq_cst_wakes_);
  if (anything_ready()) {
    wake_up();
    return false;
  }
  counters_.sleeps->add();
  tell_oldest();  // nothing changes it while this thread sleeps
  monitor_.falls_asleep(now());
  return true;
}

bool DataPlane::finish_sleep(Nanos wait_ns) {
  std::array<epoll_event, 64> events;
  const int count = epoll_wait(links_.epoll_fd, events.data(), static_cast<int>(events.size()),
                               static_cast<int>(wait_ns / 1'000'000));  // it counts milliseconds
  for (int i = 0; i < count; ++i) {
    const std::uint64_t number = events[static_cast<std::size_t>(i)].data.u64;
    if (number == kCommandMark) {
      std::uint64_t ignored = 0;
      (void)!read(links_.command_fd, &ignored, sizeof(ignored));
    } else if (number < sessions_.size() && sessions_[number] != nullptr) {
      (void)shm::drain_bytes(sessions_[number]->socket.get(), {});
      heat(*sessions_[number]);
    }
  }
  now_read_ = false;
  monitor_.wakes_up(now());
  wake_up();
  return count > 0;
}

void DataPlane::wake_up() {
  for (Session* session : all_) {
    shm::store_polled(session->own.front()->polled, shm::Polled::polling, seq_cst_wakes_);
    if (session->in.ready()) {
      heat(*session);  // of the thread that slept for us: it rings for nobody
    }
  }
  upkeep();  // a thread that mostly sleeps makes too few passes
}

void DataPlane::upkeep() {
  take_commands();
  if (now() >= timers_at_) {
    timers();
  }
}

}  // namespace mserve::broker
