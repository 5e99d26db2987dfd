// SPDX-License-Identifier: Apache-2.0
#include "control/broker.hpp"

#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/signalfd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <optional>
#include <system_error>
#include <thread>

#include "control/control_plane.hpp"
#include "control/log.hpp"
#include "control/monitor_board.hpp"
#include "control/waker.hpp"
#include "core_list.hpp"
#include "data/data_loan.hpp"
#include "gateway/gateway.hpp"
#include "mserve/shm/clock.hpp"
#include "mserve/shm/counters.hpp"
#include "mserve/shm/membarrier.hpp"
#include "sandbox.hpp"
#include "version.hpp"
#include "wall_clock.hpp"

namespace mserve::broker {

namespace {

void raise_descriptor_limit(const BrokerOptions& options) {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
    return;
  }
  limit.rlim_cur = limit.rlim_max;
  (void)setrlimit(RLIMIT_NOFILE, &limit);
  // A session takes a socket and a pidfd, a kdb+ connection a socket.
  const std::uint64_t connections = options.gateway.enabled ? options.max_connections : 0;
  if (limit.rlim_cur < 2ULL * options.max_sessions + connections + 64) {
    log(LogLevel::warning, "descriptors",
        {{"limit", limit.rlim_cur},
         {"max_sessions", options.max_sessions},
         {"max_connections", connections != 0 ? LogValue(connections) : LogValue(std::nullopt)},
         {"note", LogText{"the limit is below what these need; raise `ulimit -n`"}}});
  }
}

void check_memlock_limit(const BrokerOptions& options) {
  rlimit limit{};
  if (options.lock_memory && getrlimit(RLIMIT_MEMLOCK, &limit) == 0 &&
      limit.rlim_cur != RLIM_INFINITY && limit.rlim_cur < options.max_shared_bytes) {
    log(LogLevel::warning, "memlock",
        {{"limit", limit.rlim_cur},
         {"note", LogText{"it is below --max-shared-bytes; raise `ulimit -l`"}}});
  }
}

shm::UniqueFd watch_stop_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) {
    sigaddset(&set, signal);
  }
  // Before any thread: they inherit the mask, so the signals arrive at the descriptor alone.
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  return shm::UniqueFd(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
}

/// How many cores this process's threads and its servants have together: those that are pinned to
/// isolated ones are not in the mask of this thread.
int cores_at_hand(const BrokerOptions& options) {
  CoreList cores = joined(allowed_cores(), options.pinned_cores());
  for (const ServantCores& servant : options.servant_cores) {
    cores = joined(cores, joined(servant.cores, servant.shim));
  }
  return std::max(1, static_cast<int>(cores.size()));
}

void log_start(const BrokerOptions& options, bool seq_cst_wakes, const std::string& socket,
               const std::string& counters) {
  log(LogLevel::info, "start",
      {{"name", options.name},
       {"version", kVersion},
       {"socket", socket},
       {"counters", counters},
       {"idle", shm::to_string(options.idle)},
       {"core", options.core < 0 ? LogValue("any") : LogValue(options.core)},
       {"cores", cores_at_hand(options)},
       {"servants", options.servant_count}});
  if (const auto& access = options.gateway.access; access && access->user_count() == 0) {
    log(LogLevel::warning, "no_users",
        {{"note", LogText{"the users file has none, so nobody may connect with a password"}}});
  }
  const auto told = [](const char* kind, const char* name, const std::string& file) {
    log(LogLevel::info, "plugin", {{"kind", kind}, {"name", name}, {"file", file}});
  };
  if (options.plugins.policy != nullptr) {
    told("policy", options.plugins.policy->name, options.policy_plugin_file);
  }
  if (options.plugins.route != nullptr) {
    told("route", options.plugins.route->name, options.route_plugin_file);
  }
  if (seq_cst_wakes) {
    log(LogLevel::warning, "no_membarrier",
        {{"note", LogText{"it is missing here: every commit pays for sleepers"}}});
  }
  if (options.idle == shm::IdleStrategy::spin && cores_at_hand(options) < 2) {
    log(LogLevel::warning, "one_core",
        {{"idle", "spin"}, {"note", LogText{"starves everybody else; use --idle auto"}}});
  }
  if (options.gateway.core >= 0 && !options.gateway.enabled) {
    log(LogLevel::warning, "core_unused",
        {{"gateway_core", options.gateway.core},
         {"note", LogText{"it is for kdb+ clients; without -p there is no such thread"}}});
  }
}

/// Returns when control has told the data thread to stop and it has.
void run_threads(const BrokerOptions& options, DataPlane& data, Gateway* gateway,
                 ControlPlane& control, DataLoan* loan) {
  std::thread data_thread([&] {
    pthread_setname_np(pthread_self(), "mserve-data");
    if (options.core >= 0 && !stay_on({options.core})) {
      log(LogLevel::error, "core_refused",
          {{"core", options.core}, {"reason", LogText{"not one this process may use"}}});
    }
    if (options.sandbox && enter_compute_cell().code != Errc::ok) {
      log(LogLevel::error, "sandbox_incomplete",
          {{"note", LogText{"the data thread may do what all threads may"}}});
    }
    loan != nullptr ? loan->run() : data.run();
  });
  if (gateway != nullptr) {
    gateway->start();
  }
  control.run();
  data_thread.join();
}

/// What makes a broker reachable; removed with it.
struct Entrance {
  std::optional<gid_t> group;
  std::optional<shm::NameLock> lock;
  shm::UniqueFd listener;
};

Error open_entrance(const BrokerOptions& options, Entrance& entrance, std::string& reason) {
  const std::string directory =
      options.directory.empty() ? shm::default_directory() : options.directory;
  std::vector<std::string> faults;
  entrance.group = RingAccess::socket_group(options.socket_group, faults);
  if (!faults.empty()) {
    reason = faults.front();
    return {Errc::invalid, 0, "socket group"};
  }
  if (const Error e = shm::prepare_directory(directory, entrance.group, &reason);
      e.code != Errc::ok) {
    return e;
  }
  auto lock = shm::NameLock::take(directory, options.name, &reason);
  if (!lock) {
    return lock.error();
  }
  auto listener = shm::listen_at(lock.value().socket(), {.group = entrance.group});
  if (!listener) {
    const int why = listener.error().os_errno;
    reason = "cannot listen at " + lock.value().socket() + ": " +
             (why == EADDRINUSE ? "what lies there is no socket; remove it or choose another name"
                                : std::generic_category().message(why));
    return listener.error();
  }
  entrance.lock.emplace(std::move(lock).value());
  entrance.listener = std::move(listener).value();
  return {};
}

/// What wakes the data thread and the control thread.
struct Bells {
  Bells() {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = DataPlane::kCommandMark;
    (void)epoll_ctl(data_epoll.get(), EPOLL_CTL_ADD, command_fd.get(), &event);
  }
  [[nodiscard]] bool there() const {
    return data_epoll && control_epoll && command_fd && report_fd;
  }

  shm::UniqueFd data_epoll{epoll_create1(EPOLL_CLOEXEC)};
  shm::UniqueFd control_epoll{epoll_create1(EPOLL_CLOEXEC)};
  shm::UniqueFd command_fd{eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
  shm::UniqueFd report_fd{eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
};

/// Whether the gateway's thread runs the data plane as well.
bool shares_data_thread(const BrokerOptions& options) {
  // On the way of a query through TCP: gateway, data plane, shim.
  constexpr int kThreadsOnTheWay = 3;
  const bool crowded = options.idle == shm::IdleStrategy::automatic && options.core < 0 &&
                       shm::usable_cores() < kThreadsOnTheWay;
  const GatewayThread wanted = options.gateway.thread;
  return options.gateway.enabled &&
         (wanted == GatewayThread::data || (wanted == GatewayThread::automatic && crowded));
}

/// Binds what -p asks for; without it `gateway` stays null.
Error open_gateway(const BrokerOptions& options, shm::CountersWriter& counters,
                   const shm::MonitorSegment& monitor, const SessionBoard& board, LogQueue& log,
                   DataLoan* loan, int data_epoll_fd, std::unique_ptr<Gateway>& gateway,
                   std::string& reason) {
  if (!options.gateway.enabled) {
    return {};
  }
  auto opened = Gateway::open({.options = options,
                               .counters = GatewayCounters::add_to(counters),
                               .board = &board,
                               .counters_name = counters.name(),
                               .route_names = monitor.names().data(),
                               .log = &log,
                               .loan = loan,
                               .data_epoll_fd = data_epoll_fd},
                              reason);
  if (!opened) {
    return opened.error();
  }
  gateway = std::move(opened).value();
  return {};
}

}  // namespace

Error run_broker(const BrokerOptions& options, Launcher launcher, Reload reload,
                 std::string& reason) {
  const shm::UniqueFd signals = watch_stop_signals();
  raise_descriptor_limit(options);
  check_memlock_limit(options);
  Entrance entrance;
  if (const Error e = open_entrance(options, entrance, reason); e.code != Errc::ok) {
    return e;
  }
  std::unique_ptr<TraceFile> trace;  // behind the lock: not the file of another broker of this name
  if (!options.trace.empty()) {
    trace = TraceFile::create(options.trace, options.trace_max, reason);
    if (trace == nullptr) {
      return {Errc::os, 0, "--trace"};
    }
  }
  const std::uint64_t epoch = static_cast<std::uint64_t>(wall_now());
  auto counters = shm::CountersWriter::create(
      shm::CountersOptions{.broker = options.name, .broker_epoch = epoch, .group = entrance.group});
  if (!counters) {
    reason = "cannot create the counters segment in /dev/shm: " +
             std::generic_category().message(counters.error().os_errno);
    return counters.error();
  }
  auto monitor = shm::MonitorSegment::create({.counters_name = counters.value().name(),
                                              .broker_epoch = epoch,
                                              .sessions = options.max_sessions});
  if (!monitor) {
    reason = "cannot create the monitor segment in /dev/shm: " +
             std::generic_category().message(monitor.error().os_errno);
    return monitor.error();
  }
  counters.value().tell_monitor(monitor.value().suffix());
  const bool seq_cst_wakes =
      !shm::membarrier_available() || shm::membarrier_register_global_expedited().code != Errc::ok;
  log_start(options, seq_cst_wakes, entrance.lock->socket(), counters.value().name());

  const Bells bells;
  if (!signals || !bells.there()) {
    reason = "cannot create descriptors";
    return os_error("descriptors");
  }
  constexpr int kSpinners = 3;  // client, data thread, servant
  const bool spins = options.idle == shm::IdleStrategy::spin;
  Queue<Command> commands(256);
  Queue<Report> reports(256);
  // One explicit producer, the data thread; room for a wake and a report of every session.
  Queue<Wake> wakes(4ULL * options.max_sessions, 1, 0);
  SpscQueue<RequestStamps> stamps(RequestLog::queue_size(!options.trace.empty()));
  const DataCounters data_counters = DataCounters::add_to(counters.value());
  DataPlane data(options, seq_cst_wakes,
                 {.commands = &commands,
                  .reports = &reports,
                  .wakes = spins ? &wakes : nullptr,
                  .epoll_fd = bells.data_epoll.get(),
                  .command_fd = bells.command_fd.get(),
                  .report_fd = bells.report_fd.get(),
                  .monitor = &monitor.value(),
                  .stamps = &stamps},
                 data_counters,
                 shm::Idler(shm::idle_budget(options.idle, cores_at_hand(options), kSpinners)));
  log(LogLevel::info, "clock", {{"source", data.reads_tsc() ? "tsc" : "system"}});
  SessionBoard board;
  MonitorBoard monitor_board(monitor.value());
  monitor_board.tell(shm::MonitorEventKind::started,
                     std::string("version ") + kVersion + " name " + options.name);
  std::optional<DataLoan> loan;
  if (shares_data_thread(options)) {
    loan.emplace(data, commands, bells.command_fd.get());
  }
  DataLoan* const lent = loan ? &*loan : nullptr;
  LogQueue gateway_log;  // outlives the thread of the gateway
  std::unique_ptr<Gateway> gateway;
  if (const Error e = open_gateway(options, counters.value(), monitor.value(), board, gateway_log,
                                   lent, bells.data_epoll.get(), gateway, reason);
      e.code != Errc::ok) {
    return e;
  }
  shm::Counter* const refused_calls =
      options.sandbox ? &counters.value().add("sandbox_refused") : nullptr;
  RequestLog requests({.stamps = &stamps,
                       .names = monitor.value().names(),
                       .trace = std::move(trace),
                       .trace_every = options.trace_every});
  ControlPlane control(options,
                       {.commands = &commands,
                        .reports = &reports,
                        .data = &data,
                        .gateway = gateway.get(),
                        .board = &board,
                        .monitor = &monitor_board,
                        .gateway_log = &gateway_log,
                        .requests = &requests,
                        .refused_calls = refused_calls,
                        .data_epoll_fd = bells.data_epoll.get(),
                        .control_epoll_fd = bells.control_epoll.get(),
                        .command_fd = bells.command_fd.get(),
                        .report_fd = bells.report_fd.get(),
                        .signal_fd = signals.get()},
                       SessionMaker(options, epoch, seq_cst_wakes, counters.value().name()),
                       std::move(entrance.listener), std::move(launcher), std::move(reload));
  // Behind all that counts the cores of this thread, before the threads that shall stay here too.
  if (!options.control_cores.empty() && !stay_on(options.control_cores)) {
    log(LogLevel::error, "core_refused",
        {{"control_cores", cores_text(options.control_cores)},
         {"reason", LogText{"not all for this process to use"}}});
  }
  if (options.sandbox) {  // before strangers are served, and before any thread
    if (const Error e = enter_sandbox(reason); e.code != Errc::ok) {
      return e;
    }
    log(LogLevel::info, "sandbox_entered");
  }
  {
    std::optional<Waker> waker;
    if (spins) {
      waker.emplace(wakes, reports, bells.report_fd.get(), *data_counters.requests);
    }
    run_threads(options, data, gateway.get(), control, lent);
  }
  control.finish();
  return {};
}

}  // namespace mserve::broker
