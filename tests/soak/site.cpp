// SPDX-License-Identifier: Apache-2.0
#include "soak/site.hpp"

#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <stdexcept>

#include "mserve/shm/clock.hpp"
#include "mserve/shm/socket.hpp"
#include "support/wait.hpp"

namespace mserve::test {

namespace {

constexpr std::uint64_t kMs = 1'000'000;
constexpr std::uint64_t kHostileNs = 300 * kMs;
constexpr std::size_t kHostileMax = 4;
/// One stop in so many lasts longer than the broker's --timeout.
constexpr std::uint64_t kLongStops = 6;
constexpr std::uint64_t kLongStopNs = 3'000 * kMs;
constexpr std::size_t kStoppedMax = 2;

BrokerSetup setup_of(std::uint16_t port, std::mt19937_64& random) {
  BrokerSetup setup;
  setup.args = {"--policy",
                random() % 2 == 0 ? "match" : "even",
                "-p",
                std::to_string(port),
                "--log-level",
                "warning",
                "--timeout",
                "2s",
                "--queue-timeout",
                "20s",
                "--stall-timeout",
                "20s",
                "--drain-timeout",
                "2s",
                "--max-pending-bytes",
                "64m",
                "--max-queue-bytes",
                "64m"};
  setup.servants = kLaunchedServants;
  setup.servant_args = "--rows 0";
  return setup;
}

/// To the very process that was meant, whoever has its pid by now.
void signal_by(const shm::UniqueFd& pidfd, int number) {
  (void)syscall(SYS_pidfd_send_signal, pidfd.get(), number, nullptr, 0);
}

}  // namespace

Site::Site(std::uint16_t port, std::mt19937_64& random)
    : port_(port), random_(random), broker_(std::make_unique<Broker>(setup_of(port, random))) {
  for (std::size_t i = 0; i < kShims; ++i) {
    served_.push_back({std::make_unique<StandinProcess>(), nullptr});
    serve(i);
  }
  broker_->wait_for_counter("servants", kLaunchedServants + kShims);
  own_sessions_ = broker_->counter("sessions").value_or(0) - kLaunchedServants - kShims;
}

void Site::serve(std::size_t index) {
  served_[index].shim = std::make_unique<ShimProcess>(
      *broker_, served_[index].q->port(),
      std::vector<std::string>{"--servant-protocol", "plain", "--probe", "1"});
}

Client Site::connect(ClientOptions options, bool also_by_tcp) const {
  options.broker = broker_->name();
  if (also_by_tcp) {
    options.broker += ",tcp://bob:pw@127.0.0.1:" + std::to_string(port_);
  }
  options.directory = broker_->directory();
  std::string reason;
  auto made = Client::connect(options, &reason);
  if (!made) {
    throw std::runtime_error("no client: " + reason);
  }
  return std::move(made).value();
}

Process Site::visit(const char* role) {
  return Process(
      Spawn{.argv = {program("mserve-test-soak"), "--victim", role, "--dir", broker_->directory(),
                     "--broker", broker_->name(), "--seed", std::to_string(random_() >> 1)}});
}

void Site::replace(std::vector<Visitor>& visitors, const char* role) {
  if (visitors.size() >= kVictims) {
    visitors.front().process.end();
    visitors.erase(visitors.begin());
  }
  visitors.push_back({visit(role)});
}

pid_t Site::some_launched_servant() {
  const std::vector<pid_t> servants = broker_->launched();
  return servants.empty() ? -1 : servants[random_() % servants.size()];
}

void Site::stop_somebody() {
  const std::size_t which = random_() % 3;
  Served& served = served_[random_() % kShims];
  const pid_t pid = which == 0   ? some_launched_servant()
                    : which == 1 ? served.shim->pid()
                                 : served.q->process().pid();
  auto pidfd = shm::open_pidfd(pid);
  if (pid <= 0 || !pidfd || stopped_.size() >= kStoppedMax) {
    return;
  }
  const bool for_long = random_() % kLongStops == 0;
  signal_by(pidfd.value(), SIGSTOP);
  stopped_.push_back({std::move(pidfd).value(),
                      shm::steady_now() + (for_long ? kLongStopNs : random_() % (500 * kMs))});
}

void Site::restart_broker(bool kill) {
  kill ? broker_->kill() : broker_->stop();
  broker_->start();
}

void Site::inject(Fault fault, SoakBooks& books) {
  Served& served = served_[random_() % kShims];
  switch (fault) {
    case Fault::kill_client:
      replace(clients_, "client");
      break;
    case Fault::kill_servant:
      if (const pid_t pid = random_() % 2 == 0 ? some_launched_servant() : -1; pid > 0) {
        (void)::kill(pid, SIGKILL);
      } else {
        replace(servants_, "servant");
      }
      break;
    case Fault::term_servant:
      if (const pid_t pid = some_launched_servant(); pid > 0) {
        (void)::kill(pid, SIGTERM);
      }
      break;
    case Fault::kill_shim:
      served.shim->process().end();
      serve(static_cast<std::size_t>(&served - served_.data()));
      break;
    case Fault::kill_q: {
      const std::uint16_t port = served.q->port();
      served.q->process().end();
      served.q = std::make_unique<StandinProcess>(std::vector<std::string>{}, port);
      break;
    }
    case Fault::stop_and_go:
      stop_somebody();
      break;
    case Fault::hostile_client:
    case Fault::hostile_servant:
      if (hostile_.size() < kHostileMax) {
        hostile_.push_back(
            {visit(fault == Fault::hostile_client ? "hostile-client" : "hostile-servant"),
             shm::steady_now() + kHostileNs});
      }
      break;
    case Fault::kill_broker:
    case Fault::stop_broker:
      restart_broker(fault == Fault::kill_broker);
      break;
    case Fault::hang_up:
      return;
  }
  books.injected(fault);
}

void Site::tend() {
  const std::uint64_t now = shm::steady_now();
  std::erase_if(stopped_, [now](const Stopped& one) {
    if (now >= one.until) {
      signal_by(one.pidfd, SIGCONT);
    }
    return now >= one.until;
  });
  std::erase_if(hostile_, [now](const Visitor& one) { return now >= one.until; });
}

void Site::calm_down() {
  for (const Stopped& one : stopped_) {
    signal_by(one.pidfd, SIGCONT);
  }
  stopped_.clear();
  clients_.clear();
  servants_.clear();
  hostile_.clear();
}

void Site::wait_until_whole(std::uint64_t clients) {
  const std::uint64_t servants = kLaunchedServants + kShims;
  broker_->wait_for_counter("servants", servants);
  broker_->wait_for_counter("sessions", own_sessions_ + servants + clients);
  broker_->wait_for_counter("gateway_connections", 0);
  broker_->wait_for_counter("queued", 0);
  broker_->wait_for_counter("running", 0);
}

std::uint64_t Site::unaccounted() const {
  const auto count = [this](const char* name) { return broker_->counter(name).value_or(0); };
  const std::uint64_t ended = count("replies") + count("errors") + count("discarded");
  return std::max(count("requests"), ended) - std::min(count("requests"), ended);
}

std::vector<Holdings> Site::holdings() const {
  std::vector<Holdings> all = {holdings_of(broker_->pid())};
  for (const Served& served : served_) {
    all.push_back(holdings_of(served.shim->pid()));
  }
  return all;
}

}  // namespace mserve::test
