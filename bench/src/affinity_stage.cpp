// SPDX-License-Identifier: Apache-2.0
#include "affinity_stage.hpp"

#include <sys/prctl.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <exception>
#include <iterator>
#include <memory>
#include <span>
#include <stdexcept>
#include <thread>

#include "child.hpp"
#include "interrupt.hpp"
#include "mserve/servant/servant.hpp"
#include "mserve/shm/attachment.hpp"
#include "mserve/shm/clock.hpp"
#include "mserve/shm/histogram.hpp"
#include "mserve/shm/message.hpp"
#include "mserve/shm/parking.hpp"
#include "trips.hpp"

namespace mserve::bench {
namespace {

/// Clients and servants are all there before the first request is due.
constexpr std::uint64_t kStartNs = 5'000'000;
/// Longest time without an answer that is still owed.
constexpr std::uint64_t kOwedNsMax = 30'000'000'000;

/// What travels: the client fills in the route, the servant the rest.
struct Note {
  std::uint32_t route = 0;
  std::uint32_t warm = 0;
  std::uint64_t took_ns = 0;
};

/// Sleeps end when they are due, not up to 50 us later.
void be_punctual() noexcept {
  (void)prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
}

void sleep_until(std::uint64_t at_ns) noexcept {
  const timespec at{static_cast<time_t>(at_ns / 1'000'000'000),
                    static_cast<long>(at_ns % 1'000'000'000)};
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, nullptr) == EINTR) {
  }
}

/// A servant with a warm set, serving on a thread of its own.
class LoadingServant {
 public:
  LoadingServant(const AffinityStage& stage, const std::string& directory)
      : stage_(stage), warm_(stage.warm_routes), servant_(options(directory)) {
    servant_.set_opaque([this](std::vector<std::byte>& message) { serve(message); });
    const std::uint64_t until = shm::steady_now() + kOwedNsMax;
    while (!servant_.attached()) {
      const Errc code = servant_.poll_once();
      if (code != Errc::ok && (shm::steady_now() > until || interrupted())) {
        throw std::runtime_error(std::string("a servant cannot attach: ") + to_string(code));
      }
    }
    thread_ = std::thread([this] {
      be_punctual();
      (void)servant_.run();
    });
  }
  ~LoadingServant() {
    servant_.stop();
    thread_.join();
  }
  LoadingServant(const LoadingServant&) = delete;
  LoadingServant& operator=(const LoadingServant&) = delete;

 private:
  static servant::Options options(const std::string& directory) {
    servant::Options o;
    o.broker = kBrokerName;
    o.directory = directory;
    o.idle = shm::IdleStrategy::park;
    o.reconnect = false;
    return o;
  }
  void serve(std::vector<std::byte>& message) {
    const std::uint64_t begin = shm::steady_now();
    Note note;
    if (message.size() != sizeof(note)) {
      return;
    }
    std::memcpy(&note, message.data(), sizeof(note));
    note.warm = warm_.use(note.route) ? 1 : 0;
    sleep_until(begin + (note.warm != 0 ? stage_.warm_ns : stage_.cold_ns));
    note.took_ns = shm::steady_now() - begin;
    std::memcpy(message.data(), &note, sizeof(note));
  }

  const AffinityStage& stage_;
  WarmSet warm_;
  Servant servant_;
  std::thread thread_;
};

/// Sends its share of the arrivals when they are due and takes the answers as they come.
class OpenLoopClient {
 public:
  OpenLoopClient(shm::Attachment attachment, std::vector<Arrival> arrivals,
                 std::uint64_t warm_up_ns)
      : attachment_(std::move(attachment)),
        arrivals_(std::move(arrivals)),
        warm_up_ns_(warm_up_ns) {}

  void run(std::uint64_t start_ns) {
    start_ns_ = last_sign_ns_ = start_ns;
    while (answered_ < arrivals_.size() && !interrupted()) {
      send_what_is_due();
      if (!take_answers() && !is_due()) {
        sleep();
      }
    }
  }

  std::uint64_t hits = 0;
  std::uint64_t busy_ns = 0;
  shm::Histogram latencies;

 private:
  [[nodiscard]] std::uint64_t due_ns() const noexcept { return start_ns_ + arrivals_[sent_].at_ns; }
  [[nodiscard]] bool is_due() const noexcept {
    return sent_ < arrivals_.size() && due_ns() <= shm::steady_now();
  }

  void send_what_is_due() {
    for (; is_due(); ++sent_) {
      const Note note{arrivals_[sent_].route, 0, 0};
      shm::FrameHeader header;
      header.kind = shm::Kind::request;
      header.flags = shm::kFlagOpaque;
      header.id = sent_ + 1;
      header.aux = route_hash(note.route);
      if (!shm::try_send_whole(attachment_.outgoing(), header, {},
                               std::as_bytes(std::span(&note, 1)))) {
        throw std::runtime_error("the ring towards the broker is full: the load is too high");
      }
      attachment_.wake_broker();
      last_sign_ns_ = shm::steady_now();
    }
  }

  /// Different for each route, never 0, which would be no route.
  static std::uint64_t route_hash(std::uint32_t route) noexcept {
    return (std::uint64_t{route} + 1) * 0x9e3779b97f4a7c15;
  }

  bool take_answers() {
    shm::FrameView view;
    bool any = false;
    Errc code = Errc::empty;
    while ((code = attachment_.incoming().front(view)) == Errc::ok) {
      take(view, shm::steady_now());
      attachment_.incoming().release();
      any = true;
    }
    if (code != Errc::empty) {
      throw std::runtime_error("the broker sent a frame that is none");
    }
    return any;
  }

  void take(const shm::FrameView& view, std::uint64_t now) {
    const shm::ReplyAux aux = shm::unpack_reply(view.header.aux);
    Note note;
    if (view.header.kind != shm::Kind::reply || aux.status != 0 ||
        view.payload.size() != sizeof(note) || view.header.id - 1 >= sent_) {
      throw std::runtime_error(std::string("the answer is not the expected one: ") +
                               to_string(static_cast<Errc>(aux.status)));
    }
    std::memcpy(&note, view.payload.data(), sizeof(note));
    const Arrival& arrival = arrivals_[view.header.id - 1];
    ++answered_;
    last_sign_ns_ = now;
    if (arrival.at_ns >= warm_up_ns_) {
      latencies.record(now - (start_ns_ + arrival.at_ns));
      hits += note.warm;
      busy_ns += note.took_ns;
    }
  }

  void sleep() {
    const std::uint64_t latest = shm::steady_now() + shm::kSleepNsMax;
    const Errc code = attachment_.wait(
        sent_ < arrivals_.size() ? std::min(due_ns(), latest) : latest, shm::SleepOn::futex);
    if (code == Errc::disconnected) {
      throw std::runtime_error("the broker went away: " + attachment_.closing_reason());
    }
    if (answered_ < sent_ && latest > last_sign_ns_ + kOwedNsMax) {
      throw std::runtime_error("no answer for 30 s");
    }
  }

  shm::Attachment attachment_;
  std::vector<Arrival> arrivals_;
  std::uint64_t warm_up_ns_;
  std::uint64_t start_ns_ = 0;
  std::uint64_t last_sign_ns_ = 0;
  std::size_t sent_ = 0;
  std::size_t answered_ = 0;
};

std::vector<std::string> broker_command(const AffinityStage& stage, const std::string& directory) {
  // Small tables: the broker takes its memory when it starts, and is started for every figure.
  std::vector<std::string> command = {stage.broker_path,
                                      "--name",
                                      kBrokerName,
                                      "--dir",
                                      directory,
                                      "--log-level",
                                      "warning",
                                      "--max-queue",
                                      "4096",
                                      "--max-sessions",
                                      "256",
                                      "--max-queue-bytes",
                                      "1m",
                                      "--max-pending-bytes",
                                      "1m"};
  command.insert(command.end(), stage.broker_options.begin(), stage.broker_options.end());
  return command;
}

using Clients = std::vector<std::unique_ptr<OpenLoopClient>>;

Clients attach_clients(const AffinityStage& stage, const std::string& directory,
                       const std::vector<Arrival>& arrivals, std::uint64_t warm_up_ns) {
  TripOptions options;
  options.broker = kBrokerName;
  options.directory = directory;
  options.payload_bytes = sizeof(Note);
  Clients clients;
  for (std::uint32_t c = 0; c < stage.clients; ++c) {
    std::vector<Arrival> own;
    std::copy_if(arrivals.begin(), arrivals.end(), std::back_inserter(own),
                 [c](const Arrival& a) { return a.client == c; });
    clients.push_back(std::make_unique<OpenLoopClient>(attach(options, shm::Role::client),
                                                       std::move(own), warm_up_ns));
  }
  return clients;
}

/// Each on a thread of its own; the first failure is thrown when all have ended.
void run_all(Clients& clients) {
  const std::uint64_t start_ns = shm::steady_now() + kStartNs;
  std::vector<std::exception_ptr> failures(clients.size());
  std::vector<std::thread> threads;
  for (std::size_t c = 0; c < clients.size(); ++c) {
    threads.emplace_back([&client = *clients[c], &failure = failures[c], start_ns] {
      be_punctual();
      try {
        client.run(start_ns);
      } catch (...) {
        failure = std::current_exception();
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  for (const std::exception_ptr& failure : failures) {
    if (failure) {
      std::rethrow_exception(failure);
    }
  }
}

AffinityResult sum_up(const AffinityStage& stage, const Clients& clients, std::uint64_t span_ns) {
  const auto all = std::make_unique<shm::Histogram>();
  double hits = 0;
  double busy_ns = 0;
  for (const auto& client : clients) {
    all->merge(client->latencies);
    hits += static_cast<double>(client->hits);
    busy_ns += static_cast<double>(client->busy_ns);
  }
  AffinityResult result;
  result.requests = all->count();
  if (result.requests > 0 && span_ns > 0) {
    result.hit_share = hits / static_cast<double>(result.requests);
    result.busy_share = busy_ns / static_cast<double>(span_ns) / stage.servants;
  }
  result.mean_ns = all->mean();
  result.p50_ns = static_cast<double>(all->percentile(50));
  result.p99_ns = static_cast<double>(all->percentile(99));
  result.quantiles = quantiles_of(*all);
  return result;
}

}  // namespace

AffinityResult run_affinity(const AffinityStage& stage, const std::vector<Arrival>& arrivals,
                            std::uint64_t warm_up_ns) {
  const TempDir dir;
  const Child broker(broker_command(stage, dir.path()), dir.path() + "/log");
  if (interrupted()) {
    return {};
  }
  std::vector<std::unique_ptr<LoadingServant>> servants;
  for (std::uint32_t s = 0; s < stage.servants; ++s) {
    servants.push_back(std::make_unique<LoadingServant>(stage, dir.path()));
  }
  Clients clients = attach_clients(stage, dir.path(), arrivals, warm_up_ns);
  run_all(clients);
  const std::uint64_t end_ns = arrivals.empty() ? 0 : arrivals.back().at_ns;
  return sum_up(stage, clients, end_ns > warm_up_ns ? end_ns - warm_up_ns : 0);
}

}  // namespace mserve::bench
