// SPDX-License-Identifier: Apache-2.0
// mserve-stat: what a running broker does, and the orders of whoever operates it.
#include <sys/ioctl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cmath>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <map>
#include <string>

#include "control/servant_target.hpp"
#include "mserve/kdb/json.hpp"
#include "mserve/kdb/print.hpp"
#include "mserve/shm/standard_descriptors.hpp"
#include "stat/control_call.hpp"
#include "stat/counters_call.hpp"
#include "version.hpp"

namespace {

using mserve::Errc;
using mserve::shm::Verb;
using mserve::stat::ControlAnswer;

constexpr const char* kAbout =
    "Shows what a running broker does, and tells it what to do with its servants.\n\n"
    "  mserve-stat servants                  who serves, in which state, how much each runs\n"
    "  mserve-stat queries -n 50             the last queries of kdb+ clients, with LBT's columns\n"
    "  mserve-stat counters                  what the broker counts: requests, faults, time-outs\n"
    "  mserve-stat ctl drain 3               servant 3 gets nothing new; returns when it runs dry\n"
    "  mserve-stat ctl resume 3              and serves again\n"
    "  mserve-stat ctl retire group:old      the whole group ends when it has run dry, for good";

constexpr const char* kFooter =
    "Only the user who runs the broker and root may ask, but for counters.\n"
    "Environment: MSERVE_NAME and MSERVE_DIR are the defaults of --name and --dir.\n"
    "Exit status: 0 done, 1 the broker refused (nothing matched, resumed meanwhile, shutting "
    "down),\n"
    "2 wrong usage, 3 no broker there, it does not take this user, does not answer or went away,\n"
    "4 --timeout passed.";

constexpr const char* kCtlAbout =
    "Takes servants out of service and back, without losing a request.\n\n"
    "  pause   the target gets no new requests; what it runs goes on, what waits goes to others\n"
    "  resume  takes pause and drain back\n"
    "  drain   pauses, and returns when the target runs nothing any more: then it can be updated,\n"
    "          reloaded, or killed\n"
    "  retire  drains and ends the target for good: its session is closed, its program ends by\n"
    "          itself, and a broker that launched it does not start it again (q and shim "
    "likewise,\n"
    "          and those that wait to be started again too): SIGTERM, and SIGKILL after the "
    "broker's\n"
    "          --drain-timeout. A program that started several servants ends with the last of "
    "them\n\n"
    "The target is the number in `mserve-stat servants` (not the N of a name such as "
    "mserve-servant-N),\n"
    "or name:NAME, or all, or group:NAME or tag:NAME=VALUE for those with that word among their "
    "--tags\n"
    "(group:NAME is tag:group=NAME). The answer names those that were meant.";

constexpr const char* kCtlFooter =
    "A pause belongs to the session: a servant that attaches later, or again, serves. It does not\n"
    "undo that a stopped process (SIGSTOP) gets nothing, nor is it undone when that goes on.\n"
    "With nobody left to serve, requests wait, as far as --queue-timeout lets them.\n"
    "After --timeout, or Ctrl-C, the servants stay paused, and those of a retire that did not run\n"
    "dry are not ended: ask again, or resume them.";

/// Scripts test these; --help lists them.
enum class ExitCode : int { ok = 0, refused = 1, usage = 2, no_broker = 3, timed_out = 4 };

struct Settings {
  mserve::stat::BrokerName broker;
  mserve::shm::Control request;
  std::string verb;  ///< Of ctl.
  std::string target;
  double timeout_s = 0;
  bool json = false;
  bool counters = false;
};

void describe_ctl(CLI::App& app, Settings& s) {
  CLI::App* const ctl = app.add_subcommand("ctl", kCtlAbout);
  ctl->footer(kCtlFooter);
  ctl->add_option("verb", s.verb, "What to do")
      ->required()
      ->check(CLI::IsMember({"pause", "resume", "drain", "retire"}))
      ->option_text("pause|resume|drain|retire");
  ctl->add_option("target", s.target, "To which servants")
      ->required()
      ->option_text("all|NUMBER|name:NAME|group:NAME|tag:NAME=VALUE");
  constexpr double kSecondsMax = 1e9;
  ctl->add_option("--timeout", s.timeout_s, "drain, retire: the longest to wait")
      ->check(CLI::Range(0.0, kSecondsMax))
      ->option_text("SECONDS [for ever]");
}

void describe_queries(CLI::App& app, Settings& s) {
  constexpr std::uint32_t kShown = 20;
  s.request.count = kShown;
  CLI::App* const queries = app.add_subcommand(
      "queries",
      "The last queries of kdb+ clients (of a broker with -p) that were answered, oldest first, "
      "as\n"
      "far as its --query-log and --purge remember them. LBT's columns come first; slave_handle "
      "is\n"
      "the servant's number. time_sent, backlog and execution are known of lbt queries only.\n"
      "On a terminal lines are cut at its width, and 2000 lines are the most: --json has it all.");
  queries->add_option("-n", s.request.count, "How many at most")->option_text("N [20]");
  queries->callback([&s] { s.request.verb = Verb::queries; });
}

void describe(CLI::App& app, Settings& s) {
  app.footer(kFooter);
  app.set_version_flag("--version", std::string("mserve-stat ") + mserve::kVersion);
  app.require_subcommand(1);
  app.fallthrough();  // --name, --dir and --json may stand behind the subcommand
  app.add_option("--name", s.broker.name, "The broker's --name")
      ->envname("MSERVE_NAME")
      ->option_text("NAME [$MSERVE_NAME, else default]");
  app.add_option("--dir", s.broker.directory, "Rendezvous directory of the broker")
      ->transform([](const std::string& dir) { return std::filesystem::absolute(dir).string(); })
      ->option_text("DIR [$MSERVE_DIR, else as mserve-broker]");
  app.add_flag("--json", s.json, "One line of JSON: an array of rows, or an object for ctl");
  describe_ctl(app, s);
  app.add_subcommand(
         "servants",
         "The servants that are attached: number, name, pid, state (attached, paused, draining,\n"
         "stopped, stopped+paused, stopped+draining; reserve, ending: of mserve-broker "
         "--reserve),\n"
         "requests that run, credit, tier, tags, uid, and since when (UTC).")
      ->callback([&s] { s.request.verb = Verb::servants; });
  describe_queries(app, s);
  app.add_subcommand(
         "counters",
         "The broker's counters: name and value, since its start or (sessions, queued,\n"
         "running, ...) now. Whoever may attach to the broker may read them.")
      ->callback([&s] { s.counters = true; });
}

/// Completes a request of ctl. @return what is wrong with it; empty: nothing.
std::string complete(Settings& s, const CLI::App& ctl) {
  const std::map<std::string, Verb> verbs{{"pause", Verb::pause},
                                          {"resume", Verb::resume},
                                          {"drain", Verb::drain},
                                          {"retire", Verb::retire}};
  s.request.verb = verbs.at(s.verb);
  if (ctl.get_option("--timeout")->count() > 0) {
    if (s.request.verb != Verb::drain && s.request.verb != Verb::retire) {
      return "--timeout is for drain and retire; " + s.verb + " does not wait for servants";
    }
    if (!std::isfinite(s.timeout_s)) {
      return "--timeout: nan is no time";  // which is beyond no bound
    }
    constexpr double kNsPerSecond = 1e9;
    s.request.timeout_ns = static_cast<std::uint64_t>(s.timeout_s * kNsPerSecond);
  }
  if (!mserve::shm::set_text(s.request.target, s.target)) {
    return "the target is too long";
  }
  if (!mserve::broker::ServantTarget::parse(s.target)) {
    return "'" + s.target + "' is none of " + std::string(mserve::broker::kTargetForms);
  }
  return {};
}

ExitCode exit_code_of(Errc status) noexcept {
  switch (status) {
    case Errc::ok:
      return ExitCode::ok;
    case Errc::timed_out:
      return ExitCode::timed_out;
    case Errc::access:
      return ExitCode::no_broker;
    default:
      return ExitCode::refused;
  }
}

/// As wide as the terminal; into files and pipes, whole lines.
mserve::kdb::Console console() noexcept {
  constexpr std::size_t kWhole = 2000;
  mserve::kdb::Console console;
  console.height = console.width = kWhole;
  winsize size{};
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
    console.width = size.ws_col;
  }
  return console;
}

void show_table(const mserve::kdb::Value& table, bool json) {
  const std::string text =
      json ? mserve::kdb::to_json(table) + "\n" : mserve::kdb::show(table, console());
  (void)std::fwrite(text.data(), 1, text.size(), stdout);
}

void show(const ControlAnswer& answer, bool json) {
  using mserve::kdb::Value;
  if (answer.table) {
    show_table(*answer.table, json);
    if (!answer.text.empty()) {
      (void)std::fprintf(stderr, "mserve-stat: %s\n", answer.text.c_str());
    }
  } else if (json) {
    (void)std::printf("{\"status\":%s,\"count\":%llu,\"text\":%s}\n",
                      mserve::kdb::to_json(Value::chars(to_string(answer.status))).c_str(),
                      static_cast<unsigned long long>(answer.count),
                      mserve::kdb::to_json(Value::chars(answer.text)).c_str());
  } else if (answer.status == Errc::ok) {
    (void)std::printf("%s\n", answer.text.c_str());
  }
  if (answer.status != Errc::ok) {
    (void)std::fprintf(stderr, "mserve-stat: %s: %s\n", to_string(answer.status),
                       answer.text.c_str());
  }
}

ExitCode tell_fault(Errc code, const std::string& reason) {
  const bool gone = code == Errc::no_broker && !reason.empty();  // that says the code's words too
  (void)std::fprintf(stderr, "mserve-stat: %s%s%s\n", gone ? "" : to_string(code), gone ? "" : ": ",
                     reason.empty() ? advice(code) : reason.c_str());
  if (gone) {
    (void)std::fprintf(stderr, "%s\n", advice(code));
  }
  return code == Errc::invalid ? ExitCode::usage : ExitCode::no_broker;
}

/// It was called without a command, or with one that it has not.
void tell_commands(const CLI::App& app) {
  std::string commands;
  for (const CLI::App* const command : app.get_subcommands([](const CLI::App*) { return true; })) {
    commands += (commands.empty() ? "" : ", ") + command->get_name();
  }
  const std::vector<std::string> others = app.remaining();
  const std::string what = others.empty() ? "a command is missing"
                           : others.front().starts_with('-')
                               ? "there is no option " + others.front()
                               : "there is no command '" + others.front() + "'";
  (void)std::fprintf(stderr,
                     "mserve-stat: %s; commands are: %s\nRun with --help for more information.\n",
                     what.c_str(), commands.c_str());
}

ExitCode run_counters(const Settings& settings) {
  std::string reason;
  const auto counters = mserve::stat::read_counters(settings.broker, reason);
  if (!counters) {
    return tell_fault(counters.error().code, reason);
  }
  show_table(mserve::stat::counters_table(counters.value()), settings.json);
  return ExitCode::ok;
}

/// What waits for the servants shown, and what they run.
void show_load(const Settings& settings) {
  using mserve::stat::value_of;
  std::string reason;
  if (const auto counters = mserve::stat::read_counters(settings.broker, reason)) {
    (void)std::printf("queued %llu, running %llu\n", value_of(counters.value(), "queued"),
                      value_of(counters.value(), "running"));
  }
}

ExitCode run(const Settings& settings) {
  if (settings.counters) {
    return run_counters(settings);
  }
  std::string reason;
  const auto answer = call_control(settings.broker, settings.request, reason);
  if (!answer) {
    return tell_fault(answer.error().code, reason);
  }
  show(answer.value(), settings.json);
  if (settings.request.verb == Verb::servants && answer.value().table && !settings.json) {
    show_load(settings);
  }
  return exit_code_of(answer.value().status);
}

}  // namespace

int main(int argc, char** argv) try {
  if (!mserve::shm::hold_standard_descriptors()) {
    return 1;
  }
  Settings settings;
  CLI::App app(kAbout, "mserve-stat");
  describe(app, settings);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    if (e.get_exit_code() != 0 && app.get_subcommands().empty()) {
      tell_commands(app);
      return static_cast<int>(ExitCode::usage);
    }
    return app.exit(e) == 0 ? 0 : static_cast<int>(ExitCode::usage);
  }
  if (const CLI::App* const ctl = app.get_subcommand("ctl"); ctl->parsed()) {
    if (const std::string fault = complete(settings, *ctl); !fault.empty()) {
      (void)std::fprintf(stderr, "mserve-stat: %s\n", fault.c_str());
      return static_cast<int>(ExitCode::usage);
    }
  }
  return static_cast<int>(run(settings));
} catch (const std::exception& e) {
  std::fprintf(stderr, "mserve-stat: %s\n", e.what());
  return 1;
}
