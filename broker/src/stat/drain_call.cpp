// SPDX-License-Identifier: Apache-2.0
#include "stat/drain_call.hpp"

#include <poll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <utility>

#include "mserve/shm/clock.hpp"
#include "mserve/shm/socket.hpp"

namespace mserve::stat {

namespace {

/// SIGINT and SIGTERM as something to wait for, while it lives.
class Signals {
 public:
  Signals() {
    sigset_t held;
    sigemptyset(&held);
    sigaddset(&held, SIGINT);
    sigaddset(&held, SIGTERM);
    ::sigprocmask(SIG_BLOCK, &held, &before_);
    fd_.reset(::signalfd(-1, &held, SFD_CLOEXEC | SFD_NONBLOCK));
  }
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;
  ~Signals() { ::sigprocmask(SIG_SETMASK, &before_, nullptr); }

  [[nodiscard]] int fd() const noexcept { return fd_.get(); }
  /// The one that came; 0: none.
  [[nodiscard]] int take() const noexcept {
    signalfd_siginfo info{};
    const ssize_t got = ::read(fd_.get(), &info, sizeof(info));
    return got == sizeof(info) ? static_cast<int>(info.ssi_signo) : 0;
  }

 private:
  sigset_t before_{};
  shm::UniqueFd fd_;
};

/// Whether a broker answers, asked while something else is waited for.
class Pulse {
 public:
  explicit Pulse(const BrokerName& broker) : broker_(broker) {}

  [[nodiscard]] int fd() const noexcept { return question_.get(); }
  [[nodiscard]] bool silent() const noexcept { return silent_; }
  /// When to call look() again.
  [[nodiscard]] std::uint64_t next() const noexcept { return next_; }
  /// It answered, or hung up, which whoever waits hears as well.
  void answered() {
    question_.reset();
    silent_ = false;
    next_ = shm::add_capped(shm::steady_now(), kPatienceNs);
  }
  /// Asks, or notes that it does not answer. @return what to say of it; empty: nothing new.
  [[nodiscard]] std::string look() {
    next_ = shm::add_capped(shm::steady_now(), kPatienceNs);
    std::string text;
    if (question_) {
      text = silent_ ? "" : shm::silence_text(question_.get());
      silent_ = true;
    } else if (auto asked = send_control(broker_, {.verb = shm::Verb::servants}, reason_, 0)) {
      question_ = std::move(asked).value();
    }
    return text;
  }

 private:
  const BrokerName& broker_;
  shm::UniqueFd question_;
  std::string reason_;
  std::uint64_t next_ = shm::add_capped(shm::steady_now(), kPatienceNs);
  bool silent_ = false;
};

DrainOutcome failed(const Error& error, std::string reason) {
  return {error, std::move(reason)};
}

}  // namespace

DrainOutcome call_drain(const BrokerName& broker, const shm::Control& request,
                        const std::function<void(const std::string&)>& tell) {
  std::string reason;
  if (const auto there = call_control(broker, {.verb = shm::Verb::servants}, reason); !there) {
    return failed(there.error(), reason);
  }
  const Signals signals;
  const std::uint64_t until_ns = shm::add_capped(shm::steady_now(), kPatienceNs);
  const std::uint64_t answer_ns = shm::add_capped(until_ns, request.timeout_ns);
  const auto socket = send_control(broker, request, reason, until_ns);
  if (!socket) {
    return failed(socket.error(), reason);
  }
  Pulse pulse(broker);
  for (;;) {
    std::array<pollfd, 3> fds{
        {{socket.value().get(), POLLIN, 0}, {signals.fd(), POLLIN, 0}, {pulse.fd(), POLLIN, 0}}};
    (void)shm::wait_any(fds, std::min(answer_ns, pulse.next()));
    const std::uint64_t now = shm::steady_now();
    if (fds[0].revents != 0 || now >= answer_ns) {
      DrainOutcome outcome = failed({}, {});
      outcome.answer = receive_control(socket.value().get(), outcome.reason, 0);
      return outcome;
    }
    if (const int signal = fds[1].revents != 0 ? signals.take() : 0; signal != 0) {
      return {Error{Errc::cancelled, 0, "signal"}, {}, signal, pulse.silent()};
    }
    if (fds[2].revents != 0) {
      pulse.answered();
    } else if (now >= pulse.next()) {
      if (const std::string text = pulse.look(); !text.empty()) {
        tell(text);
      }
    }
  }
}

}  // namespace mserve::stat
