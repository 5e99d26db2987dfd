// SPDX-License-Identifier: Apache-2.0
// mserve-stat: what a running broker does, and the orders of whoever operates it.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include "control/servant_target.hpp"
#include "mserve/kdb/json.hpp"
#include "mserve/shm/standard_descriptors.hpp"
#include "nearest.hpp"
#include "option_values.hpp"
#include "stat/cluster_order.hpp"
#include "stat/commands.hpp"
#include "usage.hpp"
#include "version.hpp"

namespace {

using mserve::shm::Verb;
using mserve::stat::ExitCode;
using mserve::stat::Settings;
using mserve::stat::Subcommand;

constexpr const char* kAbout =
    "Shows what a running broker does, and tells it what to do with its servants.\n\n"
    "  mserve-stat top                       a live screen of all of it; h there lists the keys\n"
    "  mserve-stat servants                  who serves, in which state, how much each runs\n"
    "  mserve-stat servants -i 5             with rates and latencies of the next 5 seconds\n"
    "  mserve-stat clients                   who asks, how often, and who does not read\n"
    "  mserve-stat routes -n 10              what is asked for most\n"
    "  mserve-stat latency                   percentiles and a plot, since the start\n"
    "  mserve-stat latency 3 -i 10           of servant 3, of the next 10 seconds\n"
    "  mserve-stat events --follow           who came, went and was closed, and why\n"
    "  mserve-stat queries -n 50             the last queries of kdb+ clients, with LBT's columns\n"
    "  mserve-stat counters                  what the broker counts: requests, faults, time-outs\n"
    "  mserve-stat cluster                   brokers on other hosts, and the links to them\n"
    "  mserve-stat ctl cluster apply x.toml  rules, users, limits for all of them, checked first\n"
    "  mserve-stat ctl cluster rollback      and what was there before\n"
    "  mserve-stat serve                     a page for browsers, and metrics for Prometheus\n"
    "  mserve-stat ctl drain 3               servant 3 gets nothing new; returns when it runs dry\n"
    "  mserve-stat ctl resume 3              and serves again\n"
    "  mserve-stat ctl retire group:old      the whole group ends when it has run dry, for good\n"
    "  mserve-stat ctl policy even           another way to choose servants, from now on\n"
    "  mserve-stat ctl reload                the broker reads its configuration again\n\n"
    "Looking costs the broker nothing: it is read from memory that the broker writes anyway.";

constexpr const char* kFooter =
    "--name, --dir, --json and --wide go before a subcommand or behind it.\n"
    "Only the user who runs the broker and root may ask, but for counters.\n"
    "Environment: MSERVE_NAME and MSERVE_DIR are the defaults of --name and --dir.\n"
    "Exit status: 0 done, 1 the broker refused (nothing matched, resumed meanwhile, shutting "
    "down),\n"
    "or serve cannot listen there, 2 wrong usage, 3 no broker there, it does not take this user,\n"
    "does not answer or went away, 4 --timeout passed.";

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
    "(group:NAME is tag:group=NAME). The answer names those that were meant.\n\n"
    "  policy     chooses servants by another --policy from now on: ctl policy even\n"
    "  log-level  shows more or less in the broker's log: ctl log-level warning\n"
    "  reload     has the broker read its configuration again, as a HUP does: ctl reload. Prints "
    "what\n"
    "             changed, or each fault, and then nothing did\n\n"
    "Policy and log level hold until the next one, a reload that changes it, or the end of the "
    "broker.";

constexpr const char* kCtlFooter =
    "A pause belongs to the session: a servant that attaches later, or again, serves. It does not\n"
    "undo that a stopped process (SIGSTOP) gets nothing, nor is it undone when that goes on.\n"
    "With nobody left to serve, requests wait, as far as --queue-timeout lets them.\n"
    "After --timeout, or Ctrl-C, the servants stay paused, and those of a retire that did not run\n"
    "dry are not ended, which mserve-stat says: ask again, or resume them. An order whose asker\n"
    "gave up before the broker read it is not carried out.\n"
    "Exit status: 0 done, 1 the broker refused (nothing matched, resumed meanwhile, shutting "
    "down),\n"
    "2 wrong usage, 3 no broker there, or it does not answer for 3 s, 4 --timeout passed, 130 "
    "Ctrl-C.";

struct NamedVerb {
  const char* name;
  Verb verb;
};
constexpr NamedVerb kVerbs[] = {
    {"pause", Verb::pause},   {"resume", Verb::resume}, {"drain", Verb::drain},
    {"retire", Verb::retire}, {"policy", Verb::policy}, {"log-level", Verb::log_level},
    {"reload", Verb::reload},
};

const NamedVerb* find_verb(const std::string& name) {
  const auto* const found =
      std::find_if(std::begin(kVerbs), std::end(kVerbs),
                   [&name](const NamedVerb& one) { return one.name == name; });
  return found != std::end(kVerbs) ? found : nullptr;
}

/// Their names, with `between` two of them.
std::string verbs_text(const char* between) {
  std::string text;
  for (const NamedVerb& one : kVerbs) {
    text.append(text.empty() ? "" : between).append(one.name);
  }
  return text;
}

/// What is wrong with one; empty: nothing.
std::string verb_fault(const std::string& name) {
  if (find_verb(name) != nullptr) {
    return {};
  }
  std::vector<std::string> words;
  for (const NamedVerb& one : kVerbs) {
    words.emplace_back(one.name);
  }
  words.emplace_back("cluster");  // a subcommand of its own
  return mserve::program::unknown_subcommand({name}, words);
}

constexpr const char* kPolicyForms = "orig|even|match|least|weighted|plugin";
constexpr const char* kLevelForms = "info|warning|error";

/// What is wrong with `word`, which is to be one of `forms`, parted by bars; empty: nothing.
std::string word_fault(const std::string& word, std::string_view forms) {
  std::vector<std::string> words;
  for (std::string_view left = forms; !left.empty();) {
    words.emplace_back(left.substr(0, left.find('|')));
    left.remove_prefix(std::min(words.back().size() + 1, left.size()));
  }
  if (std::find(words.begin(), words.end(), word) != words.end()) {
    return {};
  }
  const std::string nearest = mserve::program::nearest_word(word, words);
  return "'" + word + "' is not one of " + std::string(forms) +
         (nearest.empty() ? "" : "; is it '" + nearest + "'?");
}

void describe_ctl(CLI::App& app, Settings& s) {
  CLI::App* const ctl = app.add_subcommand("ctl", kCtlAbout);
  ctl->footer(kCtlFooter);
  ctl->add_option("verb", s.verb, "What to do")->check(verb_fault)->option_text(verbs_text("|"));
  ctl->add_option("target", s.target, "To which servants, or which policy or level; not of reload")
      ->option_text(std::string("all|NUMBER|name:NAME|group:NAME|tag:NAME=VALUE; of policy ") +
                    kPolicyForms + "; of log-level " + kLevelForms);
  ctl->add_option_function<std::string>(
         "--timeout",
         [&s](const std::string& given) {
           if (!mserve::broker::parse_seconds(given, s.request.timeout_ns)) {
             throw CLI::ValidationError(
                 "--timeout", "'" + given + "' is not a time such as 500ms, 12s, 2m, 0 or inf");
           }
         },
         "drain, retire: the longest to wait; a bare number is seconds")
      ->option_text("TIME [inf]");
  mserve::stat::describe_cluster_order(*ctl, s);
}

/// The option of those that show rates.
void add_interval(CLI::App& app, Settings& s, const char* about) {
  constexpr double kLeast = 0.01;
  constexpr double kMost = 3600;
  app.add_option("-i,--interval", s.interval_s, about)
      ->check(CLI::Range(kLeast, kMost))
      ->option_text("SECONDS");
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
  queries->add_option("-n", s.request.count, "How many at most")
      ->check(CLI::NonNegativeNumber)
      ->option_text("N [20]");
  queries->add_flag("--follow,-f", s.follow,
                    "Goes on with those that follow, also of the next broker, until Ctrl-C");
  queries->callback([&s] { s.request.verb = Verb::queries; });
}

void describe_looks(CLI::App& app, Settings& s) {
  CLI::App* const servants = app.add_subcommand(
      "servants",
      "The servants that are attached: number, name, pid, state (attached, paused, draining,\n"
      "stopped, stopped+paused, stopped+draining; reserve, ending: of mserve-broker "
      "--reserve),\n"
      "requests that run, credit, tier, tags, uid, since when (UTC), and since then: requests "
      "sent\n"
      "to it, answered, answers that were errors, hits (it held the route), overruns, "
      "interrupts,\n"
      "latencies in ns, bytes in its two rings and what these take. A narrow terminal gets the\n"
      "columns that fit, times as 3.42 us, and a line that says how many were left out: see "
      "--wide.");
  add_interval(*servants, s, "Counts for so long; adds requests_per_s and busy");
  servants->callback([&s] { s.request.verb = Verb::servants; });
  CLI::App* const clients = app.add_subcommand(
      "clients",
      "Who asks: programs on rings, and the gateway for all kdb+ connections together. Requests\n"
      "accepted, answered, errors (the broker's own), answers that had to be kept for it because "
      "it\n"
      "did not read, bytes of these now, and bytes in its two rings.");
  add_interval(*clients, s, "Counts for so long; adds requests_per_s");
  clients->callback([&s] { s.what = Subcommand::clients; });
  CLI::App* const routes = app.add_subcommand(
      "routes",
      "The routes used most. 512 are remembered: of a route that took the place of another, up "
      "to\n"
      "`error` of those answered belong to others. hits: the servant held the route. "
      "execution_mean\n"
      "in ns. Names are known of what came through the gateway; else the hash is shown.");
  routes->add_option("-n", s.rows, "How many at most")
      ->check(CLI::NonNegativeNumber)
      ->option_text("N [20]");
  routes->callback([&s] { s.what = Subcommand::routes; });
  CLI::App* const latency = app.add_subcommand(
      "latency",
      "How long requests take, of all that servants answered since the start, or within "
      "--interval:\n"
      "  queue       from taking a request from its client to giving it to a servant\n"
      "  execution   from there to having its answer\n"
      "  round trip  both\n"
      "  broker in   what the broker itself takes to pass a request on (one of 64 is measured)\n"
      "  broker out  and an answer\n"
      "Percentiles are true to a quarter at worst. max<=: none took longer, the longest up to a "
      "fifth\n"
      "less. With --json: nanoseconds.");
  latency->add_option("servant", s.servant, "Of this servant alone")->option_text("NUMBER");
  add_interval(*latency, s, "Looks at the next SECONDS only");
  latency->callback([&s] { s.what = Subcommand::latency; });
  CLI::App* const events = app.add_subcommand(
      "events",
      "What happened, oldest first: started, attached, detached, closed (and why), stopped, "
      "resumed,\n"
      "orders of operators, launched servants, reloads, draining. The last 256 are remembered. A "
      "terminal\n"
      "gets a line for each, wrapped: when (UTC), what, the session's number, and what there is to "
      "say;\n"
      "all columns with --wide.");
  events->add_option("-n", s.rows, "How many at most")
      ->check(CLI::NonNegativeNumber)
      ->option_text("N [20]");
  events->add_flag("--follow,-f", s.follow,
                   "Goes on with those that follow, also of the next broker, until Ctrl-C");
  events->callback([&s] { s.what = Subcommand::events; });
  CLI::App* const top = app.add_subcommand(
      "top",
      "A live screen: servants, clients, routes, latency, events, each sorted as you like; h "
      "there\n"
      "explains keys and columns. It waits for a broker that is not there and finds one that "
      "comes\n"
      "back. NO_COLOR in the environment: no colours. With --json: one line for each interval, a\n"
      "JSON object with everything, until Ctrl-C or --count lines.");
  add_interval(*top, s, "How often it looks [1]");
  top->add_option("--count", s.count, "With --json: ends after so many lines")
      ->check(CLI::NonNegativeNumber)
      ->option_text("N");
  top->callback([&s] { s.what = Subcommand::top; });
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
  app.add_flag(
      "--wide", s.wide,
      "servants, clients, routes, events, queries: all columns, also on a terminal that is too "
      "narrow for them");
  describe_ctl(app, s);
  describe_looks(app, s);
  describe_queries(app, s);
  mserve::stat::describe_serve(app, s.serve)->callback([&s] { s.what = Subcommand::serve; });
  app.add_subcommand(
         "counters",
         "The broker's counters: name and value, since its start or (sessions, queued,\n"
         "running, ...) now. Whoever may attach to the broker may read them.")
      ->callback([&s] { s.what = Subcommand::counters; });
  app.add_subcommand(
         "cluster",
         "The other brokers of its cluster, as mserve-cluster knows them: state, tier (1 same "
         "zone,\n"
         "2 same region, 3 elsewhere), link (running, waiting to be started again, retired by an\n"
         "operator, none) and its pid, zone, region, address, load (0 to 1), requests queued and\n"
         "the age of the oldest, servants free and busy, version, which version of the cluster's "
         "document\n"
         "it has, when it last changed (UTC). With\n"
         "--json an object with everything, what etcd says included. Whoever can reach the "
         "broker's\n"
         "socket may read it.")
      ->callback([&s] { s.what = Subcommand::cluster; });
}

constexpr const char* kOneTarget =
    "an order has one target, of which group:NAME and tag:NAME=VALUE are several servants";

/// Completes a request of ctl. @return what is wrong with it; empty: nothing.
std::string complete(Settings& s, const CLI::App& ctl) {
  if (s.verb.empty()) {
    return "what to do is missing: " + verbs_text(", ") + " or cluster; see mserve-stat ctl --help";
  }
  s.request.verb = find_verb(s.verb)->verb;
  if (s.target.empty() && s.request.verb != Verb::reload) {
    return s.verb + ": say which: " +
           (s.request.verb == Verb::policy      ? std::string(kPolicyForms)
            : s.request.verb == Verb::log_level ? std::string(kLevelForms)
                                                : std::string(mserve::broker::kTargetForms));
  }
  if (!s.target.empty() && s.request.verb == Verb::reload) {
    return "reload takes no target";
  }
  if (ctl.get_option("--timeout")->count() > 0 && s.request.verb != Verb::drain &&
      s.request.verb != Verb::retire) {
    return "--timeout is for drain and retire; " + s.verb + " does not wait for servants";
  }
  if (!mserve::shm::set_text(s.request.target, s.target)) {
    return "the target is too long";
  }
  if (s.request.verb == Verb::policy || s.request.verb == Verb::log_level) {
    return word_fault(s.target, s.request.verb == Verb::policy ? kPolicyForms : kLevelForms);
  }
  const bool of_servants = s.request.verb != Verb::reload;
  if (of_servants && !mserve::broker::ServantTarget::parse(s.target)) {
    const bool number = s.target[0] >= '0' && s.target[0] <= '9';
    const bool bare = !number && s.target.find_first_of(": ,") == std::string::npos;
    return "'" + s.target + "' is none of " + std::string(mserve::broker::kTargetForms) +
           (bare                                      ? "; is it name:" + s.target + "?"
            : s.target.find(',') != std::string::npos ? std::string("; ") + kOneTarget
            : number && s.target.find_first_not_of('0') == std::string::npos
                ? "; numbers begin at 1"
                : "");
  }
  return {};
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
    if (e.get_exit_code() != 0 && argc > 1 && find_verb(argv[1]) != nullptr) {
      std::fprintf(stderr, "mserve-stat: there is no subcommand '%s'; is it 'ctl %s'?\n%s", argv[1],
                   argv[1], "Run with --help for more information.\n");
      return static_cast<int>(ExitCode::usage);
    }
    const bool more = settings.what == Subcommand::control && !settings.target.empty() &&
                      e.get_exit_code() == static_cast<int>(CLI::ExitCodes::ExtrasError);
    return mserve::program::end_parsing(app, e, argc, argv, more ? kOneTarget : "");
  }
  if (const CLI::App* const ctl = app.get_subcommand("ctl");
      ctl->parsed() && settings.what != Subcommand::document) {
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
