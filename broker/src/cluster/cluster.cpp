// SPDX-License-Identifier: Apache-2.0
#include "cluster/cluster.hpp"

#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <csignal>
#include <cstring>
#include <functional>

#include "cluster/cluster_document.hpp"
#include "cluster/json_fields.hpp"
#include "cluster/membership.hpp"
#include "cluster/own_record.hpp"
#include "cluster/peer_table.hpp"
#include "cluster/state_file.hpp"
#include "control/log.hpp"
#include "mserve/shm/clock.hpp"
#include "stat/live_broker.hpp"
#include "wall_clock.hpp"

namespace mserve::cluster {

namespace asio = boost::asio;
using broker::log;
using broker::LogLevel;
using broker::LogText;
using broker::LogValue;

namespace {

constexpr std::uint64_t kSecond = 1'000'000'000;
constexpr std::chrono::milliseconds kLook{200};
/// A broker that is not seen for so long is not there; one look may fail.
constexpr std::uint64_t kGoneNs = kSecond;
constexpr std::uint64_t kStateEveryNs = 2 * kSecond;  // so that who reads it sees that we live
constexpr std::chrono::milliseconds kLinksGrace{700};
constexpr std::uint64_t kDocumentWatchedNs = 10 * kSecond;
constexpr std::uint64_t kDocumentShownNs = kSecond / 50;

Moment moment_now() {
  return {.steady_ns = shm::steady_now(), .wall_ns = broker::wall_now()};
}

class Cluster {
 public:
  explicit Cluster(const ClusterSetup& setup)
      : setup_(setup),
        live_(setup.broker),
        table_(brokers_prefix(setup.options.name), setup.options.id, setup.options.zone,
               setup.options.region),
        links_(
            setup.links, [this] { urgent_ = true; }, [this](pid_t pid) { return number_of(pid); }),
        membership_(context_, setup.options, setup.password, setup.tls, events()),
        document_({.context = context_,
                   .setup = setup,
                   .membership = membership_,
                   .peers = table_,
                   .own = own_,
                   .changed =
                       [this] {
                         publish(shm::steady_now());
                         show_at_once();
                       },
                   .show = [this] { show_at_once(); }}) {
    own_.id = setup.options.id;
    own_.address = setup.options.advertise;
    own_.zone = setup.options.zone;
    own_.region = setup.options.region;
    own_.version = setup.version;
  }

  void run() {
    log(LogLevel::info, "cluster",
        {{"name", setup_.options.name},
         {"id", own_.id},
         {"address", own_.address},
         {"zone", own_.zone},
         {"region", own_.region},
         {"broker", setup_.broker.name}});
    for (const int number : {SIGTERM, SIGINT, SIGCHLD}) {
      (void)signals_.add(number);
    }
    await_signal();
    document_.open();
    membership_.start();
    tick();
    (void)context_.run();
    (void)unlink(state_path(setup_.broker.directory, setup_.broker.name).c_str());
    log(LogLevel::info, "stopped");
  }

 private:
  Membership::Events events() {
    return {.listed =
                [this](const Listing& all) {
                  table_.listed(all, moment_now());
                  take_document(document_.listed(all));
                  follow();
                  show_soon();
                },
            .changed =
                [this](const WatchEvent& event) {
                  table_.told(event, moment_now());
                  take_document(document_.told(event));
                  follow();
                  show_soon();
                },
            .status = [this] { tell_status(); },
            .contested =
                [this](const KeyValue& kv) {
                  const std::string theirs = shown(kv.value);
                  contests_.log(
                      LogLevel::error, shm::steady_now(), "cluster_id_taken",
                      {{"id", own_.id},
                       {"by", LogText{membership_.status().contested_by}},
                       {"reason", LogText{"another broker has the key of this one, which others "
                                          "cannot see now; give one of them another "
                                          "--cluster-id"}},
                       {"value", LogText{theirs}}});
                }};
  }

  /// People look at what brokers make of it.
  void take_document(bool news) {
    if (news) {
      urgent_ = true;
      watched_until_ = shm::steady_now() + kDocumentWatchedNs;
    }
  }

  /// Whoever was told that a document holds looks next: not after a fifth of a second.
  void show_soon() {
    const std::uint64_t now = shm::steady_now();
    if (now < watched_until_ && now >= written_at_ + kDocumentShownNs) {
      show(now);
    }
  }

  void show_at_once() {
    urgent_ = true;
    show(shm::steady_now());
  }

  void tell_status() {
    const EtcdStatus& now = membership_.status();
    urgent_ = true;
    const std::uint64_t at = shm::steady_now();
    if (now.relists != told_.relists) {
      reconnects_.log(
          "etcd_compacted", LogLevel::warning, at, "etcd_compacted",
          {{"note", LogText{"what changed meanwhile is compacted; all brokers are listed anew"}}});
    }
    if (now.silences != told_.silences) {
      reconnects_.log("etcd_silent", LogLevel::warning, at, "etcd_silent",
                      {{"endpoint", now.endpoint},
                       {"note", LogText{"the watch told nothing of what changed; all brokers are "
                                        "listed anew"}}});
    }
    if (now.skipped != told_.skipped) {
      refusals_.log(LogLevel::warning, at, "peer_refused",
                    {{"reason", LogText{"a key below the prefix is longer than any broker's"}},
                     {"so_far", now.skipped}});
    }
    if (now.left_out != told_.left_out && now.left_out != 0) {
      refusals_.log(LogLevel::warning, at, "peer_refused",
                    {{"reason", LogText{"there are more keys below the prefix than are listed"}},
                     {"limit", kKeysMax},
                     {"left_out", now.left_out}});
    }
    if (now.contested_by.empty() && !told_.contested_by.empty() && published_) {
      contests_.log(LogLevel::info, at, "cluster_id_free",
                    {{"id", own_.id}, {"note", LogText{"its key is written again"}}});
    }
    if (now.reached && !told_.reached) {
      reconnects_.log("etcd_reached", LogLevel::info, at, "etcd_reached",
                      {{"endpoint", now.endpoint}, {"revision", now.revision}});
    } else if (!now.reached && (told_.reached || now.fault != told_.fault)) {
      reconnects_.log("etcd_lost", LogLevel::warning, at, "etcd_lost",
                      {{"reason", LogText{now.fault}},
                       {"peers", table_.peers().size()},
                       {"note", LogText{"peers and links stay as they are"}}});
    }
    told_ = now;
  }

  /// What the table has found out becomes log lines and links.
  void follow() {
    const std::uint64_t now = shm::steady_now();
    for (const PeerNote& note : table_.take_notes()) {
      switch (note.kind) {
        case PeerNote::Kind::joined:
          peers_.log("peer_joined", LogLevel::info, now, "peer_joined",
                     {{"peer", note.id}, {"address", note.text}});
          break;
        case PeerNote::Kind::left:
          peers_.log("peer_left", LogLevel::info, now, "peer_left", {{"peer", note.id}});
          break;
        case PeerNote::Kind::state:
          peers_.log("peer_state", LogLevel::info, now, "peer_state",
                     {{"peer", note.id}, {"state", note.text}});
          break;
        case PeerNote::Kind::refused:
          refusals_.log(LogLevel::warning, now, "peer_refused",
                        {{"peer", note.id}, {"reason", LogText{note.text}}});
          break;
      }
      urgent_ = urgent_ || note.kind != PeerNote::Kind::refused;
    }
    if (!leaving_) {
      facts_.ending_in_all = links_.ending();
      for (const LinkAction& action : table_.take_actions(now, facts_)) {
        links_.carry_out(action, now);
      }
    }
  }

  // ---- The local broker.

  void look() {
    const bool another = live_.look();
    const std::uint64_t now = shm::steady_now();
    if (live_.presence() == stat::Presence::there) {
      seen_at_ = now;
      take_view(another);
      there_ = true;
      publish(now);
    } else if (published_ && now >= seen_at_ + kGoneNs) {
      log(LogLevel::warning, "broker_gone",
          {{"broker", setup_.broker.name}, {"reason", LogText{live_.reason()}}});
      membership_.withdraw();
      pacer_.forget();
      published_ = there_ = false;
      urgent_ = true;
    }
    if (!leaving_) {
      document_.tick(live_.presence() == stat::Presence::there, now);
    }
  }

  void publish(std::uint64_t now) {
    if (own_.document != document_.standing()) {
      own_.document = document_.standing();
      urgent_ = true;
    }
    if (there_ && !leaving_ && pacer_.due(own_, now)) {
      membership_.publish(to_json(own_));
      urgent_ = urgent_ || !published_;
      published_ = true;
    }
  }

  [[nodiscard]] std::uint32_t number_of(pid_t link) {
    if (live_.presence() == stat::Presence::there) {
      for (const shm::MonitorSession& session : live_.view()->now.sessions) {
        if (session.is(shm::Role::servant) && session.attached() && session.identity.pid == link) {
          return session.identity.number;
        }
      }
    }
    return 0;
  }

  void take_view(bool another) {
    if (another || own_.epoch != live_.reader()->broker_epoch()) {
      own_.epoch = live_.reader()->broker_epoch();
      own_.draining = false;
      event_ = 0;
    }
    for (const shm::MonitorHappening& event : live_.reader()->events(event_)) {
      event_ = event.number;
      if (event.kind == shm::MonitorEventKind::draining) {
        own_.draining = true;
        urgent_ = true;
      }
    }
    count_servants(live_.view()->now, own_);
  }

  // ---- Timers and signals.

  void tick() {
    look();
    follow();
    const std::uint64_t now = shm::steady_now();
    if (!leaving_) {
      links_.tick(now);
    }
    refusals_.tell_swallowed(now, "peer_refused");
    contests_.tell_swallowed(now, "cluster_id_taken");
    reconnects_.tell_swallowed(now);
    peers_.tell_swallowed(now);
    show(now);
    timer_.expires_after(kLook);
    timer_.async_wait([this](const auto& canceled) {
      if (!canceled) {
        tick();
      }
    });
  }

  /// Writes the state file: what people wait for at once, the rest once a second.
  void show(std::uint64_t now) {
    changed_ = table_.take_changed() || changed_ || !(membership_.status() == shown_);
    const std::uint64_t age = now - written_at_;
    const bool soon = age >= kSecond || now < watched_until_;
    if (!urgent_ && !(changed_ && soon) && age < kStateEveryNs) {
      return;
    }
    const int fault =
        write_state(setup_.broker.directory, setup_.broker.name,
                    state_json({.options = setup_.options,
                                .broker = setup_.broker.name,
                                .own = own_,
                                .published = published_,
                                .document = document_.watch(),
                                .etcd = membership_.status(),
                                .table = table_,
                                .link = [this](const std::string& id) { return links_.view(id); },
                                .written_at = broker::wall_now()}));
    if (fault != 0 && fault != fault_told_) {
      log(LogLevel::warning, "state_not_written",
          {{"file", state_path(setup_.broker.directory, setup_.broker.name)},
           {"error", LogText{std::strerror(fault)}}});
    }
    fault_told_ = fault;
    shown_ = membership_.status();
    urgent_ = changed_ = false;
    written_at_ = now;
  }

  void await_signal() {
    signals_.async_wait([this](const auto& canceled, int number) {
      if (canceled) {
        return;
      }
      if (number == SIGCHLD) {
        links_.reap(shm::steady_now());
        if (left_ && !links_.any()) {
          context_.stop();
        }
      } else if (!leaving_) {
        leave();
      } else {
        context_.stop();  // a second one: at once
      }
      await_signal();
    });
  }

  void leave() {
    leaving_ = true;
    log(LogLevel::info, "leaving", {{"peers", table_.peers().size()}});
    // Links first: what they still get is finished. Then nobody sends us anything new.
    links_.stop_all(shm::steady_now());
    membership_.leave([this] {
      left_ = true;
      if (!links_.any()) {
        context_.stop();
        return;
      }
      grace_.expires_after(kLinksGrace);
      grace_.async_wait([this](const auto& canceled) {
        if (!canceled) {
          context_.stop();
        }
      });
    });
  }

  const ClusterSetup& setup_;
  asio::io_context context_{1};
  asio::signal_set signals_{context_};
  asio::steady_timer timer_{context_};
  asio::steady_timer grace_{context_};
  stat::LiveBroker live_;
  PeerTable table_;
  Links links_;
  LinkFacts facts_{.down = [this](const std::string& id) { return links_.down(id); },
                   .ending = [this](const std::string& id) { return links_.ending(id); }};
  BrokerRecord own_{};
  PublishPacer pacer_{};
  EtcdStatus told_{};
  EtcdStatus shown_{};
  broker::LogLimiter refusals_{};
  broker::LogLimiter contests_{};
  broker::KindLimiter reconnects_{};
  broker::KindLimiter peers_{kPeersMax};  // a cluster that starts is told in full
  std::uint64_t event_ = 0;               // the last one of the broker that was looked at
  std::uint64_t seen_at_ = 0;
  std::uint64_t written_at_ = 0;
  std::uint64_t watched_until_ = 0;  // what changes is shown with the next look
  int fault_told_ = 0;
  bool there_ = false;  // the broker, and `own_` is of it
  bool published_ = false;
  bool urgent_ = true;
  bool changed_ = true;
  bool leaving_ = false;
  bool left_ = false;
  Membership membership_;
  ClusterDocument document_;
};

}  // namespace

void run_cluster(const ClusterSetup& setup) {
  Cluster(setup).run();
}

}  // namespace mserve::cluster
