// SPDX-License-Identifier: Apache-2.0
#include "gateway/gateway_loop.hpp"

#include <pthread.h>
#include <pwd.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <new>
#include <utility>

#include "mserve/shm/clock.hpp"
#include "mserve/shm/parking.hpp"

namespace mserve::broker {

namespace {

constexpr std::uint64_t kTickNs = 100 * kMillisecond;
constexpr std::uint64_t kFlushNs = 2 * kSecond;  // for unsent answers at the end
constexpr std::uint64_t kRetryNs = 200 * kMillisecond;
constexpr int kEventsPerPass = 64;
constexpr std::size_t kHandlersPerPass = 8;
constexpr int kDataPassesMax = 8;
constexpr std::uint32_t kSocketSkipsMax = 5;
constexpr const char* kUsersAwaited =
    "no users are known, so nobody may connect (--require-users) but for --admin-users over the "
    "Unix socket";

std::vector<uid_t> admin_uids_of(const GatewayOptions& options) {
  if (options.admin_users.empty()) {
    return {geteuid()};
  }
  std::vector<uid_t> uids;
  for (const std::string& name : options.admin_users) {
    if (const passwd* const user = getpwnam(name.c_str())) {  // before any thread exists
      uids.push_back(user->pw_uid);
    }
  }
  return uids;
}

ConnectionSettings settings_of(const BrokerOptions& options) {
  const GatewayOptions& gateway = options.gateway;
  ConnectionSettings settings;
  settings.rules = {gateway.protocol, gateway.protocol_default};
  settings.reader.message_bytes_max =
      std::min(options.max_message + kdb::kHeaderBytes, kdb::kMessageBytesMax);
  settings.reader.gather_bytes_max = options.gather_max;
  settings.reader.held_bytes_max =
      std::max<std::uint64_t>(gateway.max_gathered, options.gather_max);
  settings.async_reply = gateway.async_reply;
  settings.sync_window = gateway.sync_window;
  settings.max_pending_bytes = options.max_pending_bytes;
  settings.gather_max = options.gather_max;
  settings.max_gathered = gateway.max_gathered;
  settings.route_plugin = options.plugins.route;
  settings.placing = options.places();
  settings.wrap = gateway.wrap;
  settings.peer_user = gateway.peer_user;
  settings.admin_uids = admin_uids_of(gateway);
  settings.users_required = gateway.users_required;
  settings.query_log = gateway.query_log;
  settings.purge_ns = gateway.purge;
  return settings;
}

std::uint64_t key_of(std::uint32_t subject) noexcept {
  return std::uint64_t{subject} << 32;
}

/// Never `spin`: a spinning data thread has a core of its own, and this one takes no other.
shm::IdleStrategy idle_of(shm::IdleStrategy strategy) noexcept {
  return strategy == shm::IdleStrategy::spin ? shm::IdleStrategy::yield : strategy;
}

}  // namespace

Gateway::Loop::Loop(Setup setup, Listeners listeners)
    : setup_(std::move(setup)),
      listeners_(std::move(listeners)),
      context_(settings_of(setup_.options), setup_.counters, *this),
      idler_(idle_of(setup_.options.idle)),
      ready_([this](std::uint64_t key, Readiness::What what) { on_ready(key, what); }),
      signal_fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  context_.route_names = RouteNames(setup_.route_names);
  context_.access = setup_.options.gateway.access;
}

Gateway::Loop::~Loop() {
  stop();
}

void Gateway::Loop::start() {
  if (context_.access != nullptr || setup_.options.gateway.users_may_come) {
    checker_ = std::make_unique<PasswordChecker>(
        PasswordChecker::Setup{.threads = shm::usable_cores() > 2 ? 2U : 1U,
                               .avoid_core = setup_.options.core,
                               .cores = setup_.options.control_cores,
                               .sandbox = setup_.options.sandbox,
                               .ready = [this] { wake(); }});
  }
  thread_ = std::thread([this] { run(); });
}

void Gateway::Loop::drain() noexcept {
  drain_.store(true, std::memory_order_relaxed);  // the write below wakes its reader
  wake();
}

void Gateway::Loop::set_access(std::shared_ptr<const AccessRules> access) {
  {
    const std::lock_guard lock(access_mutex_);
    next_access_ = std::move(access);
  }
  wake();
}

void Gateway::Loop::wake() noexcept {
  const std::uint64_t one = 1;
  (void)!write(signal_fd_.get(), &one, sizeof(one));
}

void Gateway::Loop::stop() noexcept {
  stop_.store(true, std::memory_order_relaxed);  // the write in drain() wakes its reader
  drain();
  if (thread_.joinable()) {
    thread_.join();
  }
}

void Gateway::Loop::run() {
  pthread_setname_np(pthread_self(), "mserve-gateway");
  if (setup_.log != nullptr) {
    setup_.log->take_lines_of_this_thread();
  }
  pin();
  signal_watch_ =
      ready_.add_duplicate(signal_fd_.get(), key_of(static_cast<std::uint32_t>(Subject::signal)));
  if (signal_watch_ == nullptr) {
    log(LogLevel::error, "gateway_failed", {{"reason", LogText{"out of descriptors"}}});
    return;
  }
  ready_.watch(*signal_watch_, Readiness::What::readable);
  if (awaits_users()) {
    log(LogLevel::warning, "users_awaited", {{"note", LogText{kUsersAwaited}}});
  }
  while (!stop_.load(std::memory_order_relaxed)) {  // a flag: pause() wakes up for it
    if (draining_ || !attach()) {
      pause(kRetryNs);
      continue;
    }
    serve();
    drop_all();
    close_listeners();  // they wait in the kernel until there is a session again
    session_watch_.reset();
    context_.link = nullptr;
    link_.reset();
  }
  listeners_.close();
}

/// Puts this thread on its own core; or keeps it off the data thread's, if there is another one; or
/// on that, to be the data thread.
void Gateway::Loop::pin() const {
  const int core = setup_.options.core;
  if (setup_.loan != nullptr) {
    if (core >= 0) {
      (void)stay_on({core});
    }
    return;
  }
  if (setup_.options.gateway.core >= 0) {
    if (!stay_on({setup_.options.gateway.core})) {
      log(LogLevel::error, "core_refused",
          {{"gateway_core", setup_.options.gateway.core},
           {"reason", LogText{"not one this process may use"}}});
    }
    return;
  }
  (void)stay_on(avoiding(allowed_cores(), {core}));
}

bool Gateway::Loop::attach() {
  shm::AttachOptions options;
  options.broker = setup_.options.name;
  options.directory = setup_.options.directory;
  options.role = shm::Role::gateway;
  options.name = "gateway";
  options.ring_bytes = setup_.options.gateway_ring;
  options.lock_memory = setup_.options.lock_memory;
  std::string reason;
  auto session = attach_gateway(options, reason);
  if (!session) {
    const std::string why = std::string(to_string(session.error().code)) + ": " + reason;
    arrivals_.log("gateway_not_attached", LogLevel::warning, shm::steady_now(),
                  "gateway_not_attached", {{"reason", LogText{why}}});
    return false;
  }
  link_ = std::make_unique<GatewayLink>(std::move(session).value());
  context_.link = link_.get();
  if (const auto rule = kdb::parse_rule(link_->info().route_rule)) {
    context_.settings.route_rule = *rule;
  }
  session_watch_ = ready_.add_duplicate(link_->session().fd(),
                                        key_of(static_cast<std::uint32_t>(Subject::session)));
  if (session_watch_ == nullptr) {
    return false;
  }
  ready_.watch(*session_watch_, Readiness::What::readable);
  lost_ = false;
  session_ready_ = false;
  return true;
}

/// One session's life.
void Gateway::Loop::serve() {
  open_listeners();
  borrow_data();
  const LogValue path = listeners_.path().empty() ? LogValue(std::nullopt) : listeners_.path();
  log(LogLevel::info, "gateway",
      {{"port", listeners_.port()},
       {"sockets", listeners_.sockets().size()},
       {"path", path},
       {"thread", data_ != nullptr ? "data" : "own"}});
  while (!finished()) {
    if (data_ != nullptr && data_->stopped()) [[unlikely]] {
      return_data();
    }
    if (pass()) {
      idler_.reset();
    } else if (idler_.idle() == shm::Idler::Step::park && sleep()) {
      idler_.reset();
    }
  }
  return_data();
}

void Gateway::Loop::borrow_data() {
  if (setup_.loan == nullptr) {
    return;
  }
  data_watch_ =
      ready_.add_duplicate(setup_.data_epoll_fd, key_of(static_cast<std::uint32_t>(Subject::data)));
  if (data_watch_ != nullptr) {
    data_ = setup_.loan->borrow();
  }
}

void Gateway::Loop::return_data() {
  if (data_ != nullptr) {
    data_ = nullptr;
    setup_.loan->give_back();
  }
  data_watch_.reset();
}

bool Gateway::Loop::finished() const {
  const bool over = give_up_at_ != 0 && (client_count_ == 0 || context_.now_ns >= give_up_at_);
  return over || (lost_ && (client_count_ == 0 || !draining_));
}

bool Gateway::Loop::pass() {
  context_.now_ns = shm::steady_now();
  bool worked = data_ != nullptr && pass_data();
  if (worked) {
    context_.now_ns = shm::steady_now();  // servants may have answered in its last pass
  }
  worked |= poll_link();
  worked |= poll_sockets(worked);
  if (!turns_.empty()) [[unlikely]] {
    run_turns();
    worked = true;
  }
  if (session_ready_) [[unlikely]] {
    session_ready_ = false;
    if (link_->session().check() != Errc::ok) {
      lose(link_->session().closing_reason());
    } else {
      ready_.watch(*session_watch_, Readiness::What::readable);
    }
  }
  (void)link_->flush();
  if (context_.now_ns >= tick_at_) [[unlikely]] {
    tick();
  }
  if (!slow_.empty() && context_.now_ns >= patience_at_) [[unlikely]] {
    be_patient();
  }
  if (!beating_.empty() && context_.now_ns >= beat_at_) [[unlikely]] {
    beat();
  }
  return worked;
}

/// The data plane counts its passes, and ours are long: so it gets several, and looks after itself
/// by the clock. @return whether there was work.
bool Gateway::Loop::pass_data() {
  if (context_.now_ns >= upkeep_at_) {
    upkeep_at_ = context_.now_ns + kMillisecond;
    data_->upkeep();
  }
  int worked = 0;
  while (worked < kDataPassesMax && data_->pass()) {
    ++worked;
  }
  return worked != 0;
}

/// Asking the sockets is a system call, and while a query is on its way through the rings there is
/// rarely something. So they are asked in passes whose rings were silent, and in every fifth
/// anyway. A single connection mostly waits for its answer: then the pass before must have been
/// silent, too.
bool Gateway::Loop::poll_sockets(bool rings_worked) {
  const bool worked_before = std::exchange(rings_worked_, rings_worked) && client_count_ <= 1;
  if ((rings_worked || worked_before) && ++socket_skips_ < kSocketSkipsMax) {
    return false;
  }
  socket_skips_ = 0;
  // With one connection a second look finds nothing.
  const std::size_t handlers_max = std::clamp<std::size_t>(client_count_, 1, kHandlersPerPass);
  std::size_t handled = 0;
  while (handled < handlers_max && ready_.poll()) {
    ++handled;
  }
  return handled != 0;
}

bool Gateway::Loop::poll_link() {
  bool worked = false;
  for (int i = 0; i < kEventsPerPass; ++i) {
    LinkEvent event;
    const Errc code = link_->next(event);
    if (code == Errc::empty) [[likely]] {
      break;
    }
    if (code != Errc::ok) [[unlikely]] {
      lose("the data plane sent what the protocol does not know");
      return true;
    }
    (void)take_event(event);
    link_->release();
    worked = true;
  }
  if (link_->poisoned()) [[unlikely]] {
    lose("impossible cursor of the data plane");
  }
  return worked;
}

/// Who asks for more than there is goes; the others hold what they have.
void Gateway::Loop::out_of_memory(std::uint32_t index) {
  if (clients_[index] != nullptr) {
    clients_[index]->connection.close("the broker has no memory left for it");
    settle(index);
  }
}

/// @return false when nobody waits for it any more.
bool Gateway::Loop::take_event(const LinkEvent& event) {
  if (event.kind == LinkEvent::Kind::gone) {
    Client* const client = client_at(event.origin.index, event.origin.generation);
    if (client != nullptr) {
      client->connection.close(to_string(event.status));
      settle(event.origin.index);
    }
    return client != nullptr;
  }
  Pending* const pending = context_.pendings.find(event.id);
  if (pending == nullptr) {
    return false;
  }
  Connection& connection = *pending->owner;
  const std::uint32_t index = connection.origin().index;
  try {
    if (event.kind == LinkEvent::Kind::window) {
      connection.on_grant(*pending, event.granted);
    } else {
      connection.on_answer(*pending, event);
    }
    settle(index);
  } catch (const std::bad_alloc&) {
    out_of_memory(index);
  }
  return true;
}

/// False after a sleep in which nobody rang: one look is enough before the next.
bool Gateway::Loop::sleep() {
  if (data_ == nullptr) {
    return sleep_on_link(sleep_ns());
  }
  if (!data_->prepare_sleep()) {
    return true;
  }
  ready_.watch(*data_watch_, Readiness::What::readable);
  const bool rang = sleep_on_link(std::min(sleep_ns(), data_->sleep_ns()));
  return data_->finish_sleep(0) || rang;
}

bool Gateway::Loop::sleep_on_link(std::uint64_t ns) {
  if (!link_->session().prepare_sleep()) {
    return true;
  }
  asleep_ = true;
  const bool rang = ready_.wait(ns);
  asleep_ = false;
  context_.now_ns = shm::steady_now();
  session_ready_ = false;
  if (link_->session().finish_sleep() != Errc::ok) {
    lose(link_->session().closing_reason());
  } else {
    ready_.watch(*session_watch_, Readiness::What::readable);
  }
  return rang;
}

std::uint64_t Gateway::Loop::sleep_ns() const {
  const std::uint64_t now = context_.now_ns;
  const std::uint64_t beat_ns = beating_.empty() ? kSecond : beat_at_ > now ? beat_at_ - now : 0;
  return std::min(idle_ns(), std::max(beat_ns, kMillisecond));
}

/// How long nothing is to be done but by those who ring, and signs of life.
std::uint64_t Gateway::Loop::idle_ns() const {
  if (!turns_.empty() || link_->waiting()) {
    return kMillisecond;  // who makes room in a ring does not ring
  }
  if (context_.pendings.used() != 0 || give_up_at_ != 0) {
    return shm::kSleepNsMax;
  }
  const bool timed = !openings_.empty() || accept_paused_ ||
                     (client_count_ != 0 && setup_.options.gateway.idle_timeout != kForever);
  return timed ? kTickNs : kSecond;
}

/// Without a session: sleeps until told to stop, or `ns` passed.
void Gateway::Loop::pause(std::uint64_t ns) {
  const std::uint64_t until = shm::steady_now() + ns;
  for (std::uint64_t now = shm::steady_now();
       now < until && !stop_.load(std::memory_order_relaxed);  // a flag: the descriptor wakes us
       now = shm::steady_now()) {
    ready_.wait(until - now);
  }
}

void Gateway::Loop::on_ready(std::uint64_t key, Readiness::What what) {
  if (asleep_) {  // what comes now did not come when the sleep began
    context_.now_ns = shm::steady_now();
  }
  const auto index = static_cast<std::uint32_t>(key);
  switch (static_cast<Subject>(key >> 32)) {
    case Subject::client:
      try {
        client_ready(index, what);
      } catch (const std::bad_alloc&) {
        out_of_memory(index);
      }
      break;
    case Subject::listener:
      accept_from(index);
      break;
    case Subject::session:
      session_ready_ = true;
      break;
    case Subject::signal:
      take_signals();
      break;
    case Subject::data:  // sleep() looks what there is
      break;
  }
}

void Gateway::Loop::take_signals() {
  std::uint64_t ignored = 0;
  (void)!read(signal_fd_.get(), &ignored, sizeof(ignored));
  ready_.watch(*signal_watch_, Readiness::What::readable);
  take_access();
  answer_operators();
  if (drain_.load(std::memory_order_relaxed) && !draining_) {  // set before the descriptor told
    begin_drain();
  }
  if (stop_.load(std::memory_order_relaxed) && give_up_at_ == 0) {  // set before, too
    give_up_at_ = shm::steady_now() + kFlushNs;
  }
}

/// New rules, and what became of logins.
void Gateway::Loop::take_access() {
  if (checker_ == nullptr) {
    return;
  }
  std::optional<std::shared_ptr<const AccessRules>> next;
  {
    const std::lock_guard lock(access_mutex_);
    next.swap(next_access_);
  }
  if (next) {
    const bool asked_before = context_.access != nullptr;
    const bool asks_now = !asked_before && *next != nullptr;
    context_.access = *std::move(next);
    if (asks_now) {
      drain_unasked();
    }
    if (asked_before && awaits_users()) {
      log(LogLevel::warning, "users_awaited", {{"note", LogText{kUsersAwaited}}});
    }
  }
  for (LoginAnswer answer; checker_->next(answer);) {
    if (Client* const client = client_at(answer.index, answer.generation)) {
      client->connection.on_login(std::move(answer.role));
      settle(answer.index);
    }
  }
}

/// The session is over. What had arrived is given out; then, in a drain, connections may still get
/// what was written for them, and otherwise all are closed.
void Gateway::Loop::lose(std::string_view reason) {
  if (lost_) {
    return;
  }
  lost_ = true;
  for (LinkEvent event; link_->next(event) == Errc::ok;) {
    (void)take_event(event);
    link_->release();
  }
  if (!draining_) {
    log(LogLevel::warning, "gateway_lost",
        {{"connections", client_count_}, {"reason", LogText{reason}}});
  }
  for (std::uint32_t index = 0; index < clients_.size(); ++index) {
    if (clients_[index] != nullptr && !clients_[index]->connection.idle()) {
      clients_[index]->connection.abandon();
      settle(index);
    }
  }
}

void Gateway::Loop::tick() {
  tick_at_ = context_.now_ns + kTickNs;
  expire_openings();
  expire_idle();
  context_.queries.purge(context_.now_ns);
  context_.tell_swallowed();
  arrivals_.tell_swallowed(context_.now_ns);
  spare_.take_back();
  if (accept_paused_) {
    accept_paused_ = false;
    for (const Readiness::Handle& listener : listener_watches_) {
      ready_.watch(*listener, Readiness::What::readable);
    }
  }
}

}  // namespace mserve::broker
