// SPDX-License-Identifier: Apache-2.0
#include "cluster/membership.hpp"

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <optional>
#include <random>
#include <utility>
#include <vector>

#include "cluster/broker_record.hpp"
#include "cluster/etcd_calls.hpp"
#include "cluster/etcd_connection.hpp"
#include "cluster/key_holder.hpp"
#include "cluster/lister.hpp"
#include "cluster/watch_check.hpp"
#include "mserve/shm/clock.hpp"
#include "wall_clock.hpp"

namespace mserve::cluster {

namespace asio = boost::asio;

namespace {

constexpr std::int64_t kNsPerSecond = 1'000'000'000;
/// So often in a row a watch may break off before it has told anything.
constexpr int kResumesMax = 5;
/// Whoever ends us kills us two seconds later.
constexpr std::uint64_t kLeaveNs = 1'000'000'000;

}  // namespace

// Lives on until the last handler of asio that holds it has run.
struct Membership::Parts : std::enable_shared_from_this<Membership::Parts> {
  using Handler = EtcdCalls::Handler;

  Parts(asio::io_context& io, const ClusterOptions& given, std::string secret,
        std::shared_ptr<TlsContext> tls_context, Events to_tell, const Patience& how_long)
      : context(io),
        options(given),
        password(std::move(secret)),
        tls(std::move(tls_context)),
        events(std::move(to_tell)),
        patience(how_long),
        backoff_ns_max(
            std::max(how_long.backoff_min_ns, std::min(how_long.backoff_max_ns, given.ttl_ns / 3))),
        backoff_ns(how_long.backoff_min_ns),
        again(io),
        beat(io),
        resume(io),
        check(io) {
    for (const std::string& url : options.endpoints) {
      endpoints.push_back(parse_etcd_url(url).value_or(EtcdEndpoint{}));
    }
    status.stale_since = broker::wall_now();
  }

  /// An endpoint that is silent for longer than half of the lease would cost it.
  [[nodiscard]] std::uint64_t call_ns() const {
    constexpr std::uint64_t kLeast = 1'000'000'000;
    return std::min(patience.call_ns, std::max(kLeast, options.ttl_ns / 2));
  }

  // ---- One session: from connecting to the first fault.

  void begin() {
    const EtcdEndpoint& endpoint = endpoints[at];
    status.endpoint = endpoint.text();
    calls.open(connection_to(context, endpoint, tls, call_ns(), patience.resolver));
    token.clear();
    if (!options.user.empty()) {
      calls.call(kAuthenticatePath, authenticate_request(options.user, password),
                 [this](const std::string& body) {
                   std::string fault;
                   if (auto got = read_token(body, fault)) {
                     token = std::move(*got);
                   } else {
                     lose("logging in: " + fault);
                   }
                 });
    }
    lease_id != 0 ? keep_alive() : put();  // it may have outlived the fault
    list();
  }

  /// Ends the session; another one begins after a while.
  void lose(const std::string& why) {
    if (over) {
      return;
    }
    hang_up();
    if (status.stale_since == 0) {
      status.stale_since = broker::wall_now();
    }
    status.reached = false;
    status.fault = why;
    at = (at + 1) % endpoints.size();
    ++faults_in_row;
    std::uint64_t pause = 0;
    if (faults_in_row % endpoints.size() == 0) {
      pause = backoff_ns;
      backoff_ns = std::min(backoff_ns * 2, backoff_ns_max);
    }
    again.expires_after(std::chrono::nanoseconds(pause));
    again.async_wait([self = shared_from_this()](const auto& canceled) {
      if (!canceled && !self->over) {
        self->begin();
      }
    });
    events.status();
  }

  /// What may happen now and then, but not again and again without a pause.
  bool futile(const char* why) {
    if (++futile_in_row <= kResumesMax) {
      return false;
    }
    futile_in_row = 0;
    lose(why);
    return true;
  }

  void hang_up() {
    calls.close();
    close_watch();
    beating = false;
    if (std::exchange(putting, false)) {
      written.clear();  // nobody knows
    }
    // A page may have been too much for the time that a call has.
    page_keys = lister ? std::max<std::size_t>(lister->page_keys() / 2, 1) : page_keys;
    lister.reset();
    (void)beat.cancel();
    (void)resume.cancel();
    (void)check.cancel();
  }

  void close_watch() {
    if (const auto closed = std::exchange(watch, nullptr)) {
      closed->close();
    }
  }

  // ---- Calls, one after the other.

  void take_answer(const std::string& path, const HttpAnswer& answer, const Handler& handler) {
    constexpr unsigned kOk = 200;
    if (answer.too_large && path == kRangePath) {
      handler("");
    } else if (!answer.fault.empty()) {
      lose(answer.fault);
    } else if (answer.status == kOk && !answer.body.empty()) {
      handler(answer.body);
    } else if (const std::string refusal = read_refusal(answer.body); is_lease_refusal(refusal)) {
      drop_lease();
      handler("");
    } else {
      lose("etcd refuses " + path + " with status " + std::to_string(answer.status) + ": " +
           refusal);
    }
  }

  // ---- Lease and own key.

  void drop_lease() {
    holder.lost(lease_id);
    lease_id = status.lease = 0;
    putting = false;
  }

  /// The own key as etcd has it last. @param kv  null: there is none.
  void take_own(const KeyValue* kv) {
    holder.seen(kv, lease_id);
    tell_contest();
  }

  void tell_contest() {
    const KeyValue* const other = value ? holder.other(*value) : nullptr;
    const std::string by = other != nullptr ? holder.whose(*other) : "";
    if (by == status.contested_by) {
      return;
    }
    status.contested_by = by;
    if (other != nullptr) {
      if (calls.forget(kPutPath)) {
        putting = false;
      }
      written.clear();
      events.contested(*other);
    }
    events.status();
  }

  /// Writes the own key if there is something to write and nobody else holds it, with a lease first
  /// if there is none.
  void put() {
    if (!value || putting || !calls.is_open()) {
      return;
    }
    tell_contest();
    if (!status.contested_by.empty()) {
      return;
    }
    putting = true;
    if (lease_id == 0) {
      const auto ns = static_cast<std::int64_t>(options.ttl_ns);
      calls.call(kGrantPath, grant_request((ns + kNsPerSecond - 1) / kNsPerSecond),
                 [this](const std::string& body) { take_grant(body); });
      return;
    }
    written = *value;
    taken_away = false;
    put_at = shm::steady_now();
    calls.call(kPutPath, put_request(broker_key(options.name, options.id), *value, lease_id),
               [this](const std::string& body) { take_put(body); });
  }

  /// Somebody took the own key away, and may do so again: once a second, or with the next beat.
  void put_back() {
    if (shm::steady_now() - put_at >= std::uint64_t{kNsPerSecond}) {
      put();
    } else {
      taken_away = true;
    }
  }

  void take_grant(const std::string& body) {
    putting = false;
    std::string fault;
    const auto lease = read_grant(body, fault);
    if (!lease) {
      return lose("a lease: " + fault);
    }
    lease_id = status.lease = lease->id;
    status.lease_ttl_s = lease->ttl_s;
    value ? put() : revoke();  // it was taken away meanwhile
    schedule_beat();
  }

  void take_put(const std::string& body) {
    putting = false;
    std::string fault;
    if (body.empty()) {  // the lease is gone: with another one
      return futile("the leases that it grants are gone at once") ? void() : put();
    }
    const auto revision = read_revision(body, fault);
    if (!revision) {
      written.clear();
      return lose("writing the own key: " + fault);
    }
    holder.wrote();
    if (value && *value != written) {
      put();
    }
  }

  void keep_alive() {
    beating = true;
    calls.call_first(kKeepAlivePath, lease_request(lease_id), [this](const std::string& body) {
      beating = false;
      std::string fault;
      const auto ttl = body.empty() ? std::optional<std::int64_t>(0) : read_keep_alive(body, fault);
      if (!ttl) {
        return lose("keeping the lease alive: " + fault);
      }
      if (*ttl == 0) {  // it took too long, or this is not what it was
        drop_lease();
        list_anew();
      }
      if (*ttl == 0 || (value && (taken_away || *value != written))) {
        put();
      }
      schedule_beat();
    });
  }

  /// Shows that etcd is there while there is no lease to keep alive.
  void look() {
    beating = true;
    calls.call(kRangePath, count_request(brokers_prefix(options.name)),
               [this](const std::string& body) {
                 beating = false;
                 std::string fault;
                 if (!read_revision(body, fault)) {
                   return lose("counting the brokers: " + fault);
                 }
                 schedule_beat();
               });
  }

  /// A third of what was granted: two may be lost.
  void schedule_beat() {
    const std::int64_t ttl_ns = status.lease_ttl_s > 0 ? status.lease_ttl_s * kNsPerSecond
                                                       : static_cast<std::int64_t>(options.ttl_ns);
    beat.expires_after(std::chrono::nanoseconds(std::min(ttl_ns / 3, 10 * kNsPerSecond)));
    beat.async_wait([self = shared_from_this()](const auto& canceled) {
      if (canceled || self->over || !self->calls.is_open() || self->beating) {
        return;
      }
      // It has lasted. One that lists and then refuses to write has not.
      self->faults_in_row = 0;
      self->futile_in_row = 0;
      self->backoff_ns = self->patience.backoff_min_ns;
      self->lease_id != 0 ? self->keep_alive() : self->look();
    });
  }

  void revoke() {
    if (lease_id != 0 && calls.is_open()) {
      calls.call(kRevokePath, lease_request(lease_id), [](const std::string&) {});
    }
    drop_lease();
  }

  // ---- What there is, and what changes.

  void list() {
    if (!lister) {
      lister.emplace(options.name, page_keys);
      ask_for_page();
    }
  }

  void list_anew() {
    close_watch();
    list();
  }

  void ask_for_page() {
    calls.call(kRangePath, lister->request(), [this](const std::string& body) {
      std::string fault;
      const Lister::Step step = lister->take(body, fault);
      if (step == Lister::Step::more) {
        return ask_for_page();
      }
      const Listing all = std::exchange(lister, std::nullopt)->take_all();
      if (step == Lister::Step::failed) {
        return lose("listing the brokers: " + fault);
      }
      page_keys = std::min(page_keys * 2, Lister::kPageKeys);
      take_listing(all);
    });
  }

  void take_listing(const Listing& all) {
    const bool news = !status.reached || all.skipped != 0 || all.left_out() != status.left_out;
    status.skipped += all.skipped;
    status.left_out = all.left_out();
    status.revision = all.revision;
    status.reached = true;
    status.stale_since = 0;
    status.fault.clear();
    watched.listed(all);
    look_at_own(all);
    events.listed(all);
    if (news) {
      events.status();
    }
    open_watch();
    schedule_beat();
    schedule_check(patience.check_ns);
  }

  /// Somebody may have deleted our key, or it is that of a former life.
  void look_at_own(const Listing& all) {
    const std::string key = broker_key(options.name, options.id);
    const auto own = std::find_if(all.all.begin(), all.all.end(),
                                  [&key](const KeyValue& kv) { return kv.key == key; });
    const bool there = own != all.all.end();
    take_own(there ? &*own : nullptr);
    if (!there || own->lease != lease_id) {
      put();
    }
  }

  void open_watch() {
    watch = connection_to(context, endpoints[at], tls, patience.call_ns, patience.resolver);
    watch->stream(
        kWatchPath, watch_request(watched_keys(options.name), status.revision + 1), token,
        [this, self = shared_from_this()](std::string_view line) { take_line(line); },
        [this, self = shared_from_this()](const std::string& fault) { resume_watch(fault); });
  }

  void take_line(std::string_view line) {
    std::string fault;
    const auto answer = read_watch_line(line, fault);
    if (!answer) {
      return lose("the watch: " + fault);
    }
    if (answer->canceled) {
      close_watch();
      if (answer->compact_revision == 0) {
        return lose("etcd ended the watch: " + answer->reason);
      }
      ++status.relists;
      events.status();
      return futile("it has compacted what it listed") ? void() : list();
    }
    const std::string key = broker_key(options.name, options.id);
    watched.told(*answer);
    if (answer->newest != 0) {
      broken_in_row = 0;
      status.revision = std::max(status.revision, answer->newest);
    }
    if (answer->skipped != 0) {
      status.skipped += answer->skipped;
      events.status();
    }
    for (const WatchEvent& event : answer->events) {
      if (event.kv.key != key) {
        events.changed(event);
        continue;
      }
      take_own(event.removed ? nullptr : &event.kv);
      if (event.removed || event.kv.lease == 0) {
        put_back();
      }
    }
  }

  void resume_watch(const std::string& fault) {
    watch.reset();
    if (++broken_in_row > kResumesMax) {
      broken_in_row = 0;
      return lose(fault);
    }
    ++status.resumes;
    events.status();
    resume.expires_after(std::chrono::nanoseconds(patience.backoff_min_ns << (broken_in_row - 1)));
    resume.async_wait([self = shared_from_this()](const auto& canceled) {
      if (!canceled && !self->over && self->calls.is_open() && !self->watch) {
        self->open_watch();
      }
    });
  }

  // ---- Whether the watch tells what changes.

  /// In so long, a fifth more or less: not all brokers shall look at once.
  void schedule_check(std::uint64_t ns) {
    const double scattered =
        static_cast<double>(ns) * std::uniform_real_distribution(0.8, 1.2)(random);
    check.expires_after(std::chrono::nanoseconds(static_cast<std::int64_t>(scattered)));
    check.async_wait([self = shared_from_this()](const auto& canceled) {
      if (!canceled && !self->over && self->calls.is_open()) {
        self->ask_for_newest();
      }
    });
  }

  void ask_for_newest() {
    calls.call(kRangePath, newest_request(watched_keys(options.name)),
               [this](const std::string& body) {
                 std::string fault;
                 const auto newest = read_newest(body, fault);
                 if (!newest) {
                   return lose("looking for what is new: " + fault);
                 }
                 if (lister || !watch) {  // it is about to be another
                   watched.forget();
                   return schedule_check(patience.check_ns);
                 }
                 take_newest(*newest);
               });
  }

  void take_newest(const Newest& newest) {
    if (newest.store < status.revision) {
      return lose("it was at revision " + std::to_string(status.revision) + " and is at " +
                  std::to_string(newest.store) + ": it was set back, or is another one");
    }
    switch (watched.judge(newest, status.revision)) {
      case WatchCheck::Verdict::fine:
        return schedule_check(patience.check_ns);
      case WatchCheck::Verdict::late:
        return schedule_check(patience.late_ns);
      case WatchCheck::Verdict::silent:
        break;
    }
    ++status.silences;
    events.status();
    list_anew();
  }

  void leave(std::function<void()> done) {
    auto told = std::make_shared<std::function<void()>>(std::move(done));
    const auto finish = [self = shared_from_this(), told] {
      if (const auto call = std::exchange(*told, nullptr)) {
        self->stop();
        call();
      }
    };
    value.reset();
    if (lease_id == 0 || !calls.is_open() || !status.reached) {
      return finish();
    }
    calls.forget();
    calls.call(kRevokePath, lease_request(lease_id), [finish](const std::string&) { finish(); });
    again.expires_after(std::chrono::nanoseconds(std::min(patience.call_ns, kLeaveNs)));
    again.async_wait([finish](const auto&) { finish(); });
  }

  void stop() {
    over = true;
    hang_up();
    (void)again.cancel();
  }

  asio::io_context& context;
  const ClusterOptions options;
  const std::string password;
  const std::shared_ptr<TlsContext> tls;
  const Events events;
  const Patience patience;
  const std::uint64_t backoff_ns_max;
  std::vector<EtcdEndpoint> endpoints{};
  EtcdStatus status{};

  std::size_t at = 0;  // of endpoints
  std::uint64_t faults_in_row = 0;
  std::uint64_t backoff_ns;
  EtcdCalls calls{
      {.held = [this] { return shared_from_this(); },
       .token = [this]() -> const std::string& { return token; },
       .answered = [this](const auto& path, const auto& answer,
                          const auto& handler) { take_answer(path, answer, handler); }}};
  std::shared_ptr<EtcdConnection> watch{};
  bool beating = false;            // a keep-alive, or what stands in for one, is under way
  bool putting = false;            // a lease or a put is under way
  std::optional<Lister> lister{};  // what is listed now
  std::size_t page_keys = Lister::kPageKeys;
  bool over = false;
  int broken_in_row = 0;
  int futile_in_row = 0;
  bool taken_away = false;   // the own key, and it is to be written again
  std::uint64_t put_at = 0;  // when the own key was written last, on the steady clock
  std::string token{};
  std::int64_t lease_id = 0;
  std::optional<std::string> value{};  // of the own key; none: there is to be none
  std::string written{};               // what was put last
  KeyHolder holder{options.id};
  asio::steady_timer again;
  asio::steady_timer beat;
  asio::steady_timer resume;
  asio::steady_timer check;
  WatchCheck watched{};
  std::minstd_rand random{std::random_device{}()};
};

Membership::Membership(asio::io_context& context, const ClusterOptions& options,
                       std::string password, std::shared_ptr<TlsContext> tls, Events events)
    : Membership(context, options, std::move(password), std::move(tls), std::move(events),
                 Patience{}) {}

Membership::Membership(asio::io_context& context, const ClusterOptions& options,
                       std::string password, std::shared_ptr<TlsContext> tls, Events events,
                       const Patience& patience)
    : parts_(std::make_shared<Parts>(context, options, std::move(password), std::move(tls),
                                     std::move(events), patience)) {}

Membership::~Membership() {
  parts_->stop();
}

void Membership::start() {
  parts_->begin();
}

void Membership::publish(std::string value) {
  parts_->value = std::move(value);
  parts_->put();
}

void Membership::withdraw() {
  parts_->value.reset();
  parts_->revoke();
}

void Membership::leave(std::function<void()> done) {
  parts_->leave(std::move(done));
}

const EtcdStatus& Membership::status() const noexcept {
  return parts_->status;
}

const std::string& Membership::token() const noexcept {
  return parts_->token;
}

}  // namespace mserve::cluster
