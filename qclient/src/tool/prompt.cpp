// SPDX-License-Identifier: Apache-2.0
#include "tool/prompt.hpp"

#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <random>
#include <utility>

#include "mserve/client/query.hpp"
#include "mserve/shm/clock.hpp"
#include "tool/command.hpp"

namespace mserve::tool {
namespace {

/// Queries of the timer that may be in flight; a broker that falls behind is not buried.
constexpr std::size_t kInFlightMax = 1000;

/// Longest time that sending may hold up the prompt.
constexpr auto kSendPatience = std::chrono::seconds(1);

/// Longest sleep with a session, and without one (when a new one is tried after it), in
/// milliseconds.
constexpr int kSleepMsMax = 10'000;
constexpr int kSleepMsLost = 250;

volatile sig_atomic_t interrupted = 0;  // lint-allow: volatile, what a signal handler may store to

extern "C" void note_interrupt(int /*signal*/) {
  interrupted = 1;
}

/// Ctrl-C gives up what is in flight while this lives; without SA_RESTART, so that poll() returns.
class InterruptGuard {
 public:
  InterruptGuard() noexcept {
    struct sigaction action {};
    action.sa_handler = note_interrupt;
    (void)sigaction(SIGINT, &action, &before_);
  }
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;
  ~InterruptGuard() { (void)sigaction(SIGINT, &before_, nullptr); }

 private:
  struct sigaction before_ {};
};

}  // namespace

Prompt::Prompt(Client& client, Settings settings)
    : client_(client),
      settings_(std::move(settings)),
      repeater_(std::random_device{}()),
      editor_("mserve)", default_history_file(), [this] { return wait_for_key(); }) {
  settings_.style.with_id = true;
}

ExitCode Prompt::run() {
  const InterruptGuard guard;
  const std::string& version = client_.session().broker_version;  // a gateway tells none
  editor_.above("broker " + client_.endpoint() + (version.empty() ? "" : ", version " + version) +
                "; \\? for help, \\\\ to quit\n");
  for (;;) {
    const auto line = editor_.read();
    if (!line) {
      editor_.above("\n");
      return ExitCode::ok;
    }
    if (!handle(*line)) {
      return ExitCode::ok;
    }
  }
}

bool Prompt::handle(const std::string& line) {
  const Command command = parse_command(line);
  switch (command.kind) {
    case Command::Kind::query:
      send(line);
      break;
    case Command::Kind::quit:
      return false;
    case Command::Kind::help:
      editor_.above(command_help());
      break;
    case Command::Kind::timer_set:
      repeater_.set(command.first, shm::steady_now());
      skipped_ticks_ = 0;
      break;
    case Command::Kind::timer_show:
      show_timer();
      break;
    case Command::Kind::console_set:
      settings_.style.rows = command.first;
      settings_.style.columns = command.second;
      break;
    case Command::Kind::console_show: {
      const kdb::Console console = console_of(settings_.style);
      editor_.above(std::to_string(console.height) + " " + std::to_string(console.width) + "\n");
      break;
    }
    case Command::Kind::console_refused:
      editor_.above(console_refusal());
      break;
    case Command::Kind::unknown:
      editor_.above("'no such command, or not with that; \\? lists them\n");
      break;
    case Command::Kind::nothing:
      break;
  }
  return true;
}

void Prompt::send(const std::string& text) {
  const Query made = make_query(text, client_);
  const QueryOptions options{.want_info = !settings_.style.quiet,
                             .repeatable = settings_.repeatable};
  const auto sent = send_query(client_, made, options, deadline_after(kSendPatience));
  if (!sent) {
    const bool lost = !client_.attached();
    print(show_failure(0, sent.error().code, lost ? client_.last_failure() : "", settings_.style));
    return;
  }
  sent_.emplace(sent.value(), Sent{made.route_text, settings_.deadline_ns()});
}

void Prompt::show_timer() {
  std::string text = repeater_.running() ? "every " + std::to_string(repeater_.period_ms()) + " ms"
                                         : std::string("off");
  text += ", " + std::to_string(sent_.size()) + " in flight";
  if (skipped_ticks_ != 0) {
    text += ", " + std::to_string(skipped_ticks_) + " skipped because the broker is behind";
  }
  editor_.above(text + "\n");
}

/// Everything that goes on while the user thinks.
bool Prompt::wait_for_key() {
  for (;;) {
    if (std::exchange(interrupted, 0) != 0) {
      give_up_all();
      return false;
    }
    pump();
    const std::uint64_t now = shm::steady_now();
    const bool may_sleep = client_.prepare_sleep();
    pollfd watched[2] = {{STDIN_FILENO, POLLIN, 0}, {client_.fd(), POLLIN, 0}};
    const int ready = ::poll(watched, 2, may_sleep ? sleep_ms(now) : 0);
    client_.finish_sleep();
    if (ready > 0 && watched[0].revents != 0) {
      return true;
    }
  }
}

void Prompt::pump() {
  const std::uint64_t now = shm::steady_now();
  if (repeater_.due(now)) {
    if (sent_.size() < kInFlightMax) {
      send(repeater_.next_query());
    } else {
      ++skipped_ticks_;
    }
  }
  (void)client_.poll_each([this](const Reply& reply) {
    const auto at = sent_.find(reply.id);
    const auto answer = answer_of(reply, at != sent_.end() ? at->second.route_text : "");
    if (at != sent_.end()) {
      sent_.erase(at);
    }
    if (answer) {
      print(show_answer(answer.value(), settings_.style));
    } else {
      print(show_failure(reply.id, answer.error().code, "", settings_.style));
    }
  });
  expire(now);
}

void Prompt::expire(std::uint64_t now_ns) {
  while (!sent_.empty() && sent_.begin()->second.deadline_ns != 0 &&
         sent_.begin()->second.deadline_ns <= now_ns) {
    const std::uint64_t id = sent_.begin()->first;
    sent_.erase(sent_.begin());
    (void)client_.cancel(id);
    print(show_failure(id, Errc::timed_out, "", settings_.style));
  }
}

void Prompt::give_up_all() {
  std::string said;
  if (sent_.size() == 1) {
    said = "given up: ID " + std::to_string(sent_.begin()->first) + "\n";
  } else if (!sent_.empty()) {
    said = "given up: " + std::to_string(sent_.size()) + " queries\n";
  }
  said += repeater_.running() ? "\\t is off\n" : "";
  editor_.above(said);
  repeater_.set(0, 0);
  for (const auto& [id, sent] : sent_) {
    (void)client_.cancel(id);
  }
  sent_.clear();
}

int Prompt::sleep_ms(std::uint64_t now_ns) const noexcept {
  int ms = client_.attached() ? kSleepMsMax : kSleepMsLost;
  const auto at_most = [&ms, now_ns](std::uint64_t due_ns) {
    const std::uint64_t left = (due_ns - std::min(due_ns, now_ns) + 999'999) / 1'000'000;
    ms = static_cast<int>(std::min(static_cast<std::uint64_t>(ms), left));
  };
  if (repeater_.running()) {
    at_most(repeater_.due_ns());
  }
  if (!sent_.empty() && sent_.begin()->second.deadline_ns != 0) {
    at_most(sent_.begin()->second.deadline_ns);
  }
  return ms;
}

void Prompt::print(const Shown& shown) {
  editor_.above(shown.out + shown.err);
}

}  // namespace mserve::tool
